"""The pages on contracts are whole: what they promise is said, in both languages, by example."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest

from yoriai.entry import KINDS
from yoriai.plugins import MOMENTS, load_registry

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
try:
    from sitemaker import contracts, signatures
finally:
    sys.path.remove(str(ROOT / "docs"))

ALL = contracts.list_contracts()
NAMES = [one.name for one in ALL]
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return contracts.contract_pages(load_registry(), ROOT)


def test_every_kind_and_every_moment_hook_has_a_page_and_every_kind_its_class():
    assert {one.kind for one in ALL if one.kind} == set(KINDS)
    assert set(MOMENTS) <= {one.hook for one in ALL}
    assert [one.kind for one in ALL if one.kind and one.target is None] == ["commands"]


@pytest.mark.parametrize("contract", [c for c in ALL if c.name != "fixture"], ids=lambda c: c.name)
def test_a_contract_says_when_it_is_called_on_which_ranks_and_what_it_may_raise(contract):
    told = contracts.split_labels(contracts._text_of(contract))[1]
    assert set(told) == set(contracts.LABELS)


@pytest.mark.parametrize("contract", [c for c in ALL if c.target], ids=lambda c: c.name)
def test_every_method_of_a_contract_has_a_docstring(contract):
    silent = [n for n, f in signatures.methods_of(contract.target) if not inspect.getdoc(f)]
    assert silent == []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_an_example_that_is_python(pages, name):
    text = pages[f"en/contracts/{name}.md"].partition("\n## Example\n")[2]
    [example] = PYTHON.findall(text)
    ast.parse(example)
    contract = next(one for one in ALL if one.name == name)
    if contract.target is not None:
        assert f"({contract.target.__name__})" in example


@pytest.mark.parametrize("name", ["index", *NAMES])
def test_a_page_has_the_same_parts_in_english_and_japanese(pages, name):
    one, other = (pages[f"{language}/contracts/{name}.md"] for language in ("en", "ja"))
    assert PYTHON.findall(one) == PYTHON.findall(other)
    parts = [re.findall(r"^(#+) |^(\|)", text, re.MULTILINE) for text in (one, other)]
    assert parts[0] == parts[1]


def test_the_japanese_lags_behind_by_a_few_passages_at_most_and_each_is_marked(pages):
    japanese = [text for name, text in pages.items() if name.startswith("ja/")]
    assert sum(text.count("（英語）") for text in japanese) <= 3


def test_what_is_not_told_in_japanese_stands_in_english_and_is_marked():
    page = contracts._Page("ja", {"labels": {"untold": "（英語）"}}, load_registry("none"), ROOT)
    assert page._told("about", "source", "Text in.") == "Text in.（英語）"


def test_every_hook_links_to_its_contract(pages):
    from sitemaker.reference import hooks_page

    text = hooks_page()
    for one in ALL:
        if one.hook and one.name != "metric":
            part = text.partition(f"### {one.hook}\n")[2].partition("### ")[0]
            assert f"(../en/contracts/{one.name}.md)" in part


def test_labels_are_cut_out_of_a_docstring():
    text = "Does it.\n\nMore.\n\nCalled: once, in a\nworker.\nRanks: none.\nErrors: none.\n"
    body, told = contracts.split_labels(text)
    assert body == "Does it.\n\nMore."
    assert told == {"Called": "once, in a worker.", "Ranks": "none.", "Errors": "none."}


def test_what_is_handed_over_says_what_each_of_its_methods_does(pages):
    page = pages["en/contracts/backend.md"]
    assert "Natural-log probability of each continuation after its context." in page
    assert "    @property\n    def context(self) -> int:\n" in page
    assert "class Artifact:" in pages["en/contracts/step.md"]
    assert "class Artifact:" in pages["en/contracts/section.md"]


def test_a_signature_is_what_python_would_read(pages):
    for name, page in pages.items():
        for block in PYTHON.findall(page):
            ast.parse(block)
        assert " at 0x" not in page, name
    assert 'prefix: str = ""' in pages["en/contracts/backend.md"].replace("''", '""')


def test_a_choice_of_words_is_spelt_out(pages):
    assert "'optimizer', 'gradients', 'parameters'" in pages["en/contracts/strategy.md"]
    assert "'likelihoods'" in pages["en/contracts/probe.md"]


def test_the_index_says_what_an_entry_is_and_what_to_raise(pages):
    for language in ("en", "ja"):
        page = pages[f"{language}/contracts/index.md"]
        assert "class Entry:" in page
        assert "| `UsageError` | 2 |" in page


def test_no_passage_of_the_japanese_stands_twice():
    import yaml

    path = ROOT / "docs" / "sitemaker" / "contracts_ja.yaml"

    def twice(node):
        if not isinstance(node, yaml.MappingNode):
            return []
        keys = [key.value for key, _ in node.value]
        below = [line for _, value in node.value for line in twice(value)]
        return [*(key for key in set(keys) if keys.count(key) > 1), *below]

    assert twice(yaml.compose(path.read_text("utf-8"), yaml.SafeLoader)) == []
