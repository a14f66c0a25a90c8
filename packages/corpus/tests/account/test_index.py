"""corpus/index and search, checked against looking through every text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yoriai import Artifact, NotFound, UsageError
from yoriai_corpus.account.index import explain, search

Make = Callable[..., Artifact]
TEXTS = [
    "これは日本語の検索です。",
    "検索できない文章はない",
    'He said "100% sure", it\'s OK; DROP TABLE document; -- \\ *',
    "under_score and per%cent AND OR NOT NEAR(x)",
    "UPPER lower MiXeD Ärger ÖL Привет",
    "before\0behind the nul",
    "two\nlines\tand   spaces",
    "𠮷野家と😀の絵文字",
    "a",
    "ab",
    "",
]
WORDS = "検索日本語aAbBäÄПп\"'%_*-()\\.; \0\n😀𠮷は"


@pytest.fixture(scope="module")
def corpus(make_corpus: Make) -> Artifact:
    rows = [{"id": f"n/{n}", "text": text, "licence": "MIT"} for n, text in enumerate(TEXTS)]
    return make_corpus(
        [*rows, {"id": "n/0", "text": "taken"}],
        rules=[{"use": "corpus/min-length", "characters": 2}],
        heldout=0.3,
    )


@pytest.fixture(scope="module")
def path(corpus: Artifact, run_step: Make) -> Path:
    return run_step("corpus/index", [corpus]).file("index.sqlite")


def brute_force(query: str) -> list[str]:
    return [f"n/{n}" for n, text in enumerate(TEXTS) if query.lower() in text.lower()]


def found(path: Path, query: str, **options: Any) -> list[str]:
    total, hits = search(path, query, limit=100, **options)
    assert total == len(hits)
    return sorted((hit.id for hit in hits), key=lambda id_: int(id_[2:]))


@st.composite
def queries(draw: st.DrawFn) -> str:
    """Pieces of the texts, in any case, and strings that may stand nowhere."""
    text = draw(st.sampled_from([text for text in TEXTS if text]))
    start = draw(st.integers(0, len(text) - 1))
    piece = text[start : start + draw(st.integers(1, 12))]
    piece = draw(st.sampled_from([piece, piece.upper(), piece.lower(), piece.swapcase()]))
    return draw(st.sampled_from([piece, draw(st.text(WORDS, min_size=1, max_size=6))]))


@given(query=queries())
@example(query="検")
@example(query="検索")
@example(query="検索で")
@example(query="100%")
@example(query="%")
@example(query="_")
@example(query='"')
@example(query='"100')
@example(query="AND OR")
@example(query="-- \\ *")
@example(query="behind")
@example(query="e\0b")
@example(query="ärger")
@example(query="öl")
@example(query="привет")
@example(query="B")
@example(query="😀")
def test_search_finds_what_looking_through_every_text_finds(path: Path, query: str) -> None:
    if query.strip():
        assert found(path, query) == brute_force(query)


@pytest.mark.parametrize("query", ["", " ", "\n  "])
def test_an_empty_query_is_refused(query: str, path: Path) -> None:
    with pytest.raises(NotFound, match="empty query"):
        search(path, query, limit=1)


def test_a_query_that_is_no_text_is_refused(path: Path) -> None:
    with pytest.raises(UsageError, match="no UTF-8"):
        search(path, "abc\udcff", limit=1)


def test_states_part_what_is_found(path: Path) -> None:
    states = ("kept", "held out", "dropped")
    parts = [set(found(path, "a", state=state)) for state in states]
    assert set.union(*parts) == set(brute_force("a"))
    assert sum(map(len, parts)) == len(brute_force("a"))
    assert "n/8" in parts[2]


def test_the_limit_cuts_the_hits_and_not_the_total(path: Path) -> None:
    total, hits = search(path, "a", limit=2)
    assert (total, len(hits)) == (len(brute_force("a")), 2)


def test_around_a_hit_stands_its_text_with_dots_where_it_was_cut(
    make_corpus: Make, run_step: Make
) -> None:
    text = "ﬁ" * 100 + "The Needle\nhere" + "z" * 100
    path = run_step("corpus/index", [make_corpus([text, "needle"])]).file("index.sqlite")
    _, (cut, whole) = search(path, "needle", limit=5)
    assert cut.around == "…" + "ﬁ" * 36 + "The Needle here" + "z" * 35 + "…"
    assert whole.around == "needle"


def test_why_tells_each_fate_of_a_name(path: Path) -> None:
    rows = list(explain(path, "mine/n/0"))
    assert rows == list(explain(path, "n/0"))
    assert [row["state"] for row in rows][1:] == ["unreadable"]
    assert rows[1]["rule"] == "duplicate id"
    (dropped,) = explain(path, "mine/n/8")
    assert (dropped["state"], dropped["rule"]) == ("dropped", "corpus/min-length")
    assert (dropped["value"], dropped["threshold"], dropped["licence"]) == (1, 2, "MIT")
    assert list(explain(path, "mine/0")) == list(explain(path, "nobody/n/0")) == []


def test_equal_names_in_two_corpora_are_both_in_the_index(
    make_corpus: Make, run_step: Make
) -> None:
    corpora = [
        make_corpus([{"id": "a", "text": f"{name} text"}], name=name) for name in ("one", "two")
    ]
    index = run_step("corpus/index", corpora)
    assert index.facts["documents"] == {"kept": 2}
    assert [hit.around for hit in search(index.file("index.sqlite"), "text", limit=9)[1]] == [
        "one text", "two text"
    ]  # fmt: skip
    names = [row["corpus"] for row in explain(index.file("index.sqlite"), "mine/a")]
    assert names == ["test/one@1", "test/two@1"]


def test_the_same_corpus_gives_the_same_index(corpus: Artifact, run_step: Make) -> None:
    assert len({run_step("corpus/index", [corpus]).digest for _ in range(2)}) == 1
