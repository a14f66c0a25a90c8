"""What ``nox -s near`` chooses, and what is said of tests that take long."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import near
import pytest
from near import Tree

ROOT = Path(__file__).parent.parent
SRC = "packages/corpus/src/yoriai_corpus/"
TESTS = "packages/corpus/tests/"
FILES = {
    f"{SRC}__init__.py": "",
    f"{SRC}_plugin.py": '[_entry("tokens", "shards.tokens:Tokens", "Encode.")]',
    f"{SRC}text/__init__.py": "",
    f"{SRC}text/fold.py": "",
    f"{SRC}rules/length.py": "from yoriai_corpus.text.fold import fold",
    f"{SRC}shards/tokens.py": "def run():\n    from ..rules import length",
    f"{TESTS}conftest.py": "",
    f"{TESTS}text/test_fold.py": "def test_a(): pass\ndef test_b(): pass",
    f"{TESTS}text/test_lines.py": "def test_c(): pass",
    f"{TESTS}rules/test_length.py": "from yoriai_corpus.rules.length import Rule\ndef test_d(): 0",
    f"{TESTS}shards/test_order.py": 'def test_e(run): run("corpus/tokens")',
    f"{TESTS}sources/test_html.py": "def test_f(): pass",
    "tests/test_docs.py": "def test_g(): pass",
    "plugins/acme/tests/test_acme.py": "def test_h(): pass",
}


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    for path, text in FILES.items():
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return near.read_tree(tmp_path)


def test_the_namesake_comes_first_then_the_room_then_those_above_by_steps(tree: Tree) -> None:
    ranks, unknown = near.rank_tests([f"{SRC}text/fold.py"], tree)
    assert ranks == {
        f"{TESTS}text/test_fold.py": 1,
        f"{TESTS}text/test_lines.py": 2,
        f"{TESTS}rules/test_length.py": 3,
        f"{TESTS}shards/test_order.py": 4,
    }
    assert unknown == []


def test_a_room_below_is_not_reached_by_a_change_above_it(tree: Tree) -> None:
    choice = near.choose([f"{SRC}shards/tokens.py"], tree)
    assert choice.run == (f"{TESTS}shards/test_order.py",)
    assert choice.unreached == 6


def test_a_test_that_names_an_entry_reaches_its_module(tree: Tree) -> None:
    assert tree.uses[f"{TESTS}shards/test_order.py"] == {"yoriai_corpus.shards.tokens"}


def test_a_changed_test_file_comes_before_all_others(tree: Tree) -> None:
    changed = [f"{SRC}text/fold.py", f"{TESTS}sources/test_html.py"]
    assert near.choose(changed, tree).run[0] == f"{TESTS}sources/test_html.py"


def test_what_is_beyond_the_limit_is_counted_in_files_and_functions(tree: Tree) -> None:
    choice = near.choose([f"{SRC}text/fold.py"], tree, most_files=2)
    assert choice.left == (f"{TESTS}rules/test_length.py", f"{TESTS}shards/test_order.py")
    lines = near.told(choice, tree)
    assert "2 test files with 3 test functions" in lines[0]
    assert "2 files with 2 functions" in lines[1]
    assert "3 files" in lines[2]
    assert "marked slow" in lines[2]


def test_a_changed_conftest_concerns_every_test_of_its_package(tree: Tree) -> None:
    run = near.choose([f"{TESTS}conftest.py"], tree).run
    assert set(run) == {path for path in tree.counts if path.startswith(TESTS)}


def test_a_changed_plugin_or_page_has_its_own_tests(tree: Tree) -> None:
    assert near.choose(["plugins/acme/src/acme/rule.py"], tree).run == (
        "plugins/acme/tests/test_acme.py",
    )
    assert near.choose(["docs/en/tour.md"], tree).run == ("tests/test_docs.py",)


def test_a_file_without_a_known_test_is_named(tree: Tree) -> None:
    choice = near.choose(["LICENSE"], tree)
    assert choice.run == ()
    assert "no test is known for: LICENSE" in near.told(choice, tree)


def test_a_module_and_a_test_that_are_gone_break_nothing_here(tree: Tree) -> None:
    changed = [f"{SRC}text/gone.py", f"{TESTS}text/test_gone.py"]
    assert set(near.choose(changed, tree).run) == {
        f"{TESTS}text/test_fold.py",
        f"{TESTS}text/test_lines.py",
    }


def test_a_file_that_does_not_parse_is_still_chosen(tmp_path: Path) -> None:
    place = tmp_path / TESTS / "text" / "test_fold.py"
    place.parent.mkdir(parents=True)
    place.write_text("def test_(:")
    tree = near.read_tree(tmp_path)
    assert near.choose([f"{SRC}text/fold.py"], tree).run == (f"{TESTS}text/test_fold.py",)


def test_modules_that_import_one_another_end_the_search() -> None:
    assert near.steps_from(["a"], {"b": ["a", "c"], "c": ["b"], "d": []}) == {
        "a": 0,
        "b": 1,
        "c": 2,
    }


@pytest.mark.parametrize(
    ("code", "package", "found"),
    [
        ("import a.b", "", {"a.b"}),
        ("from a import b, missing", "", {"a", "a.b"}),
        ("from a.b import name", "", {"a.b"}),
        ("from . import b", "a", {"a.b"}),
        ("from .b import name", "a", {"a.b"}),
        ("from ..b import name", "a.c", {"a.b"}),
        ("def f():\n    import a.b", "", {"a.b"}),
        ("import os", "", set()),
    ],
)
def test_an_import_in_any_form_is_seen(code: str, package: str, found: set[str]) -> None:
    assert near.imports_of(ast.parse(code), {"a", "a.b", "a.c"}, package) == found


def test_every_step_of_the_four_packages_is_found_in_the_real_plugins() -> None:
    from yoriai.plugins import load_registry

    paths = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("packages/*/src/**/*.py")]
    modules = {near.module_of(path) for path in paths}
    found: dict[str, set[str]] = {}
    for package in ("corpus", "train", "eval", "domain_adapt"):
        path = ROOT / f"packages/{package}/src/yoriai_{package}/_plugin.py"
        code = ast.parse(path.read_text(encoding="utf-8"))
        found |= near.entries_of(code, f"yoriai_{package}", modules)
    registry = load_registry()
    for entry in registry.found("steps"):
        if entry.plugin in ("corpus", "train", "eval", "domain-adapt"):
            module = entry.entry.target.partition(":")[0]
            assert module in found[f"{entry.plugin}/{entry.entry.name}"]


def test_every_file_beside_the_packages_has_tests_that_exist() -> None:
    for tests in near.BESIDE.values():
        assert all((ROOT / test).is_file() for test in tests)


class Terminal:
    """Stands in for pytest's terminal reporter."""

    def __init__(self, *reports: pytest.TestReport) -> None:
        self.stats = {"passed": list(reports)}
        self.lines: list[str] = []

    def section(self, title: str, **_: bool) -> None:
        self.lines.append(title)

    def line(self, text: str) -> None:
        self.lines.append(text)


def report(name: str, when: str, seconds: float, *marks: str) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=name,
        location=(name, 0, name),
        keywords=dict.fromkeys(marks, 1),
        outcome="passed",
        longrepr=None,
        when=when,  # type: ignore[arg-type]
        duration=seconds,
    )


def test_a_long_test_without_the_mark_is_named_and_one_with_it_is_not() -> None:
    spec = importlib.util.spec_from_file_location("root_conftest", ROOT / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    terminal = Terminal(
        report("quick", "call", 9.0),
        report("marked", "call", 60.0, "slow"),
        report("long", "setup", 4.0),
        report("long", "call", 8.0),
        report("longer", "call", 30.0),
    )
    module.pytest_terminal_summary(terminal)
    assert terminal.lines[0] == "took over ten seconds and is not marked slow"
    assert [line.split()[2] for line in terminal.lines[1:]] == ["longer", "long"]
    assert "(setup 4.0 s)" in terminal.lines[2]
    quiet = Terminal(report("quick", "call", 9.0))
    module.pytest_terminal_summary(quiet)
    assert quiet.lines == []
