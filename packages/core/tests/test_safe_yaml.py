"""The safe loader of YAML: hostile texts end at once, and honest ones mean what PyYAML says."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from yoriai import safe_yaml
from yoriai.safe_yaml import BadYaml, load

ROOT = Path(__file__).parents[3]


def _bomb(form: str) -> str:
    rows = ["a0: &a0 {k: v}"]
    for n in range(1, 12):
        uses = ", ".join([f"*a{n - 1}"] * 9)
        rows.append(f"a{n}: &a{n} " + form.format(uses=uses, n=n))
    return "\n".join(rows)


def _chain(length: int) -> str:
    return "\n".join(["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, length))])


HOSTILE = {
    "merges of merges": _bomb("{{<<: [{uses}], k{n}: v}}"),
    "aliases of aliases": _bomb("[{uses}]"),
    "aliases in keys of mappings": _bomb("{{k{n}: [{uses}]}}"),
    "an alias inside itself": "a: &a [*a]",
    "a mapping that merges itself": "a: &a {<<: *a}",
    "brackets without end": "[" * 200_000,
    "braces without end": "{a: " * 100_000,
    "dashes without end": "- " * 100_000,
    "question marks without end": "? " * 100_000,
    "a chain of aliases": _chain(5_000),
    "a number in base sixty": "a: " + ":".join(["1"] * 1_000_000),
    "a number of many digits": "a: " + "9" * 1_000_000,
    "a hexadecimal number": "a: 0x" + "f" * 1_000_000,
    "too many values": "[" + "1," * 300_000 + "]",
    "too many characters": "a: " + "x" * 5_000_000,
    "a key twice": "a: 1\na: 2",
    "a key twice, far inside": "a: [{b: {c: 1, c: 2}}]",
    "a list as key": "? [a]\n: 1",
    "code": "!!python/object/apply:os.getcwd []",
    "an unknown tag": "a: !mine 1",
    "an unknown alias": "a: *b",
    "two documents": "a: 1\n---\nb: 2",
    "no UTF-8": b"a: \xff",
    "a zero byte": "a: \x00",
    "a date that is none": "a: 2026-13-45",
    "a set of lists": "!!set {? [a]}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_is_refused_in_one_short_line(text: str | bytes) -> None:
    with pytest.raises(BadYaml) as raised:
        load(text, "f.yaml")
    assert raised.value.message.startswith("f.yaml")
    assert "\n" not in raised.value.message
    assert len(raised.value.message) < 300
    assert raised.value.exit_code == 2


def test_the_line_of_the_fault_is_named() -> None:
    with pytest.raises(BadYaml, match=r"f\.yaml:3: the key 'b' is given twice"):
        load("a: 1\nb: 2\nb: 3", "f.yaml")


def test_merges_and_aliases_of_honest_size_are_read_and_share_nothing() -> None:
    value = load("base: &b {x: 1, l: [1]}\none: {<<: *b, y: 2}\ntwo: *b", "f")
    assert value["one"] == {"x": 1, "l": [1], "y": 2}
    value["two"]["l"].append(2)
    assert value["base"]["l"] == [1]
    assert value["one"]["l"] == [1]


def test_an_empty_text_is_nothing() -> None:
    assert load("", "f") is None
    assert load("# words\n", "f") is None


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES)
def test_what_pyyaml_wrote_is_read_as_pyyaml_reads_it(value: object) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert load(text, "f") == yaml.safe_load(text)


@given(st.text(alphabet="ab:-[]{},&*<!?|>'\"# \n0123.~%@`\t") | st.binary())
def test_any_text_gives_a_value_or_a_refusal(text: str | bytes) -> None:
    with contextlib.suppress(BadYaml):
        load(text, "f")


def test_nothing_else_in_the_project_loads_yaml() -> None:
    other = re.compile(r"\byaml\.(safe_|full_|unsafe_)?load(_all)?\(|\byaml\.(compose|parse)\(")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted([*ROOT.glob("packages/*/src/**/*.py"), *ROOT.glob("plugins/**/*.py")])
        if path != Path(safe_yaml.__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if other.search(line)
    ]
    assert found == []


def test_what_is_not_utf8_is_told_with_the_byte(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes("a: 寄合".encode("euc-jp"))
    with pytest.raises(BadYaml, match=r"x\.yaml: is not UTF-8 \(byte 3\)$"):
        safe_yaml.read(tmp_path / "x.yaml")
