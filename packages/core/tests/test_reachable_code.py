"""Which code decides an artifact, and which does not."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import reachable_code
from yoriai.reachable_code import code_identities, reach, read_form


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A package of five modules: step -> kernel (lazily) -> tables; tool and types are apart."""
    folder = tmp_path / "shop"
    (folder / "room").mkdir(parents=True)
    (folder / "__init__.py").write_text('"""A shop."""\n')
    (folder / "room" / "__init__.py").write_text("")
    (folder / "step.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from shop import types_only\n"
        "def run():\n    from .room.kernel import work\n    return work()\n"
    )
    (folder / "room" / "kernel.py").write_text(
        'WORKER = "shop.worker"\nfrom .. import tables\ndef work():\n    return tables.LIMIT\n'
    )
    (folder / "tables.py").write_text("LIMIT = 3\n")
    for name in ("worker", "tool", "types_only"):
        (folder / f"{name}.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    reachable_code.forget()
    yield folder
    reachable_code.forget()


def again(*modules):
    reachable_code.forget()
    return code_identities(modules)


def test_imports_are_followed_wherever_they_stand_and_names_of_modules_too(shop):
    assert sorted(reach(["shop.step"])) == [
        "shop",
        "shop.room",
        "shop.room.kernel",
        "shop.step",
        "shop.tables",
        "shop.worker",
    ]


@pytest.mark.parametrize("name", ["room/kernel.py", "tables.py", "worker.py", "__init__.py"])
def test_what_is_reached_counts(shop, name):
    before = code_identities(["shop.step"])
    with (shop / name).open("a") as stream:
        stream.write("LIMIT = 4\n")
    assert again("shop.step") != before


@pytest.mark.parametrize("name", ["tool.py", "types_only.py", "new.py"])
def test_what_is_not_reached_does_not(shop, name):
    before = code_identities(["shop.step"])
    (shop / name).write_text("LIMIT = 4\n")
    assert again("shop.step") == before


def test_a_change_of_a_format_of_core_counts_and_one_of_a_command_does_not():
    found = reach(["yoriai_corpus.shards.tokens"]) if _has("yoriai_corpus") else None
    if found is None:
        pytest.skip("yoriai-corpus is not installed")
    assert "yoriai.shards" in found
    assert not [n for n in found if n.startswith("yoriai.") and n not in reachable_code.FORMATS]
    assert not [n for n in found if n.startswith("yoriai_corpus.commands")]


def _has(package):
    from importlib import util

    return util.find_spec(package) is not None


def test_broken_source_counts_by_its_bytes():
    assert read_form(b"def f(:\n").digest != read_form(b"def g(:\n").digest


NAMES = st.sampled_from(["a", "b", "text"])
VALUES = st.one_of(st.integers(0, 9), st.text("ab \\'\"#", max_size=4), st.none(), st.floats(0, 1))


@given(st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=5), st.integers(0, 2**16))
def test_layout_and_comments_never_count_and_a_value_always_does(pairs, seed):
    plain = "".join(f"{name} = {value!r}\n" for name, value in pairs)
    spread = "# x\n\n" + "".join(f"{name}  =  ({value!r}\n)  # {seed}\n\n" for name, value in pairs)
    assert read_form(plain.encode()).digest == read_form(spread.encode()).digest
    (name, value), rest = pairs[0], pairs[1:]
    changed = f"{name} = {[value]!r}\n" + "".join(f"{n} = {v!r}\n" for n, v in rest)
    assert read_form(plain.encode()).digest != read_form(changed.encode()).digest


@given(st.sampled_from(["f(x)", "x if y else z", "[i for i in x]", "lambda a, *b: a", "-x"]))
def test_two_sources_have_one_form_where_their_trees_are_the_same(source):
    again = ast.unparse(ast.parse(source))
    assert read_form(source.encode()).digest == read_form(again.encode()).digest
