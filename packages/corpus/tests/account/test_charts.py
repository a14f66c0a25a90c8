"""Tables and figures of an account add up, whatever the ledger holds or lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact, page
from yoriai_corpus.account import charts
from yoriai_corpus.account.sections import describe

Make = Callable[..., Artifact]
COUNTS = st.dictionaries(st.sampled_from("rstuvw"), st.integers(1, 99))


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), COUNTS, max_size=12))
def test_bars_by_rule_and_source_hold_every_dropped_document(
    by_source: dict[str, dict[str, int]],
) -> None:
    drops: Counter[str] = Counter()
    for counts in by_source.values():
        drops.update(counts)
    facts = {
        "dropped_by_rule": dict(drops),
        "by_source": {source: {"dropped_by_rule": c} for source, c in by_source.items()},
    }
    drawn: Counter[str] = Counter()
    for figure in charts.dropped_by_rule(facts):
        assert len(figure.series) <= charts.MOST_SERIES
        for points in figure.series.values():
            drawn.update({rule: int(count) for rule, count in points})
    assert drawn == drops


@given(
    st.lists(st.floats(0.001, 1e6), min_size=1, max_size=50),
)
def test_every_value_is_in_one_bin(values: list[float]) -> None:
    bins = charts._bins(values, min(values), max(values))
    assert sum(count for _, count in bins) == len(values)
    assert len({name for name, _ in bins}) == len(bins) <= 6


def test_values_and_lengths_are_those_of_the_tables(make_corpus: Make) -> None:
    rows = [{"id": str(n), "text": "あ" * n + "。"} for n in range(1, 40)]
    corpus = make_corpus(rows, rules=[{"use": "corpus/min-length", "characters": 21}])
    (values,) = charts.measured_values(corpus)
    assert values.title == "corpus/min-length: dropped below 21"
    bars = values.series["dropped"]
    assert sum(count for _, count in bars) == corpus.facts["dropped"] == 19
    assert bars[-1] == ("(kept)", 0.0)
    (lengths,) = charts.lengths(corpus)
    expected: Counter[str] = Counter()
    for row in rows:
        size = next(s for s in (8, 16, 32, 64) if len(row["text"]) <= s)
        expected[str(size)] += 1
    drawn: Counter[str] = Counter()
    for points in lengths.series.values():
        drawn.update({size: int(count) for size, count in points})
    assert drawn == expected


def with_facts(facts: dict[str, Any]) -> Artifact:
    manifest = {"kind": "corpus", "name": "a/b@1", "step": "acme/x", "facts": facts, "files": {}}
    return Artifact(None, manifest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"in": 3, "kept": 3},
        {"in": 0, "by_source": {"s": {}}, "dropped_by_rule": {"r": 1}},
        {"edited_by_rule": {"r": 5}, "by_language": {"": {}}, "by_licence": {"MIT": {"bytes": 1}}},
    ],
)
def test_a_page_is_drawn_of_an_account_that_lacks_keys(facts: dict[str, Any]) -> None:
    (section,) = describe(with_facts(facts))
    assert "b" in section.title
    assert page.render("t", [section]).startswith("<!doctype html>")
    charts.section(with_facts(facts), with_tables=True)


def test_a_page_of_a_corpus_shows_sources_and_rules(make_corpus: Make) -> None:
    rules = [{"use": "corpus/min-length", "characters": 5}]
    corpus = make_corpus(["長い文章です。", "短い"], rules=rules)
    (section,) = describe(corpus)
    text = page.render("t", [section])
    for word in ("mine", "corpus/min-length", "50.0%", "What was dropped, by rule"):
        assert word in text
