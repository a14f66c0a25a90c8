"""corpus/index and what searches it, checked against looking through every text."""

from __future__ import annotations

import collections
import re
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yoriai import Artifact, NotFound, UsageError, YoriaiError
from yoriai.artifact import open_artifact
from yoriai_corpus import tables
from yoriai_corpus.account.audit import paths_of
from yoriai_corpus.search import folded, step
from yoriai_corpus.search.query import SearchQuery
from yoriai_corpus.search.search import SearchIndex

Make = Callable[..., Artifact]
TEXTS = [
    "これは日本語の検索です。",
    "検索できない文章はない",
    'He said "100% sure", it\'s OK; DROP TABLE document; -- \\ *',
    "under_score and per%cent AND OR NOT NEAR(x)",
    "UPPER lower MiXeD Ärger ÖL Привет",
    "ﾘﾎﾟｼﾞﾄﾘ リポジトリ ＡＢＣ abc e\u0301té",
    "two\nlines\tand   spaces",
    "𠮷野家と😀の絵文字",
    "a",
    "ab",
    "aaaaaa",
    "",
]
WORDS = "検索日本語aAbBäÄПп\"'%_*-()\\.; \n😀𠮷はｱｶﾞ"


@pytest.fixture(scope="module")
def corpus(make_corpus: Make) -> Artifact:
    rows = [
        {"id": f"n/{n}", "text": text, "licence": "MIT", "date": f"20{n:02d}-01-01",
         "url": f"https://example.jp/{n}"}
        for n, text in enumerate(TEXTS)
    ]  # fmt: skip
    return make_corpus(
        [*rows, {"id": "n/0", "text": "taken"}],
        rules=[{"use": "corpus/min-length", "characters": 2}],
        heldout=0.3,
    )


@pytest.fixture(scope="module")
def index(corpus: Artifact, run_step: Make) -> SearchIndex:
    return SearchIndex(run_step("corpus/index", [corpus]))


def spelled(query: str) -> str:
    """A pattern for any spelling of a query, in folded text: marks joined, or on their own."""
    pattern = ""
    for character in folded.fold(unicodedata.normalize("NFC", folded.fold(query))):
        pair = unicodedata.normalize("NFD", character)
        pattern += f"(?:{re.escape(character)}|{re.escape(pair)})"
    return pattern


def by_hand(query: str, *, exact: bool) -> dict[str, int]:
    """How often each document holds the query; none that does not."""
    same = (lambda text: text) if exact else folded.fold
    pattern = re.compile(f"(?={re.escape(query) if exact else spelled(query)})", re.DOTALL)
    counts = {f"n/{n}": len(pattern.findall(same(text))) for n, text in enumerate(TEXTS)}
    return {name: count for name, count in counts.items() if count}


def found(index: SearchIndex, query: str, **options: Any) -> dict[str, int]:
    answer = index.find(SearchQuery(text=query, **options))
    hits = list(index.page(answer, limit=None))
    assert answer.occurrences == len(hits)
    counts = collections.Counter(hit.id for hit in hits)
    assert answer.documents == len(counts)
    assert sum(row["occurrences"] for row in answer.by_source.values()) == len(hits)
    for hit in hits:
        text = TEXTS[int(hit.id[2:])]
        assert text[hit.offset : hit.offset + len(hit.match)] == hit.match
        assert exact_or_spelled(hit.match, query, options)
    return dict(counts)


def exact_or_spelled(match: str, query: str, options: dict[str, Any]) -> bool:
    if options.get("exact"):
        return match == query
    return folded.composed(match) == folded.composed(query)


@st.composite
def queries(draw: st.DrawFn) -> str:
    """Pieces of the texts, in any case, and strings that may stand nowhere."""
    text = draw(st.sampled_from([text for text in TEXTS if text]))
    start = draw(st.integers(0, len(text) - 1))
    piece = text[start : start + draw(st.integers(1, 12))]
    piece = draw(st.sampled_from([piece, piece.upper(), piece.lower(), piece.swapcase()]))
    return draw(st.sampled_from([piece, draw(st.text(WORDS, min_size=1, max_size=6))]))


@given(query=queries(), exact=st.booleans())
@example(query="検", exact=True)
@example(query="aa", exact=True)
@example(query="ﾘﾎﾟｼﾞﾄﾘ", exact=False)
@example(query="ａｂｃ", exact=False)
@example(query="リポジトリ", exact=False)
@example(query="été", exact=False)
@example(query="%", exact=True)
@example(query='"100', exact=True)
@example(query="-- \\ *", exact=False)
@example(query="\0", exact=True)
@example(query="öl", exact=False)
@example(query="привет", exact=False)
@example(query="😀", exact=True)
def test_search_counts_what_looking_through_every_text_counts(
    index: SearchIndex, query: str, exact: bool
) -> None:
    if query.strip():
        assert found(index, query, exact=exact) == by_hand(query, exact=exact)
        assert index.count(query, exact=exact) == sum(by_hand(query, exact=exact).values())


@given(one=queries(), other=queries(), third=queries())
def test_and_and_not_join_documents(index: SearchIndex, one: str, other: str, third: str) -> None:
    if not (one.strip() and other.strip() and third.strip()):
        return
    counts, also, without = (set(by_hand(text, exact=True)) for text in (one, other, third))
    answer = found(index, one, also=(other,), without=(third,), exact=True)
    assert set(answer) == (counts & also) - without


@pytest.mark.parametrize("query", ["", " ", "\n  "])
def test_an_empty_query_is_refused(query: str, index: SearchIndex) -> None:
    with pytest.raises(NotFound, match="empty query"):
        index.find(SearchQuery(text=query))


@pytest.mark.parametrize(("query", "said"), [("abc\udcff", "no UTF-8"), ("x" * 10_001, "10,001")])
def test_a_query_that_is_no_text_or_too_long_is_refused(
    query: str, said: str, index: SearchIndex
) -> None:
    with pytest.raises(UsageError, match=said):
        index.find(SearchQuery(text=query))


def test_filters_part_what_is_found(index: SearchIndex) -> None:
    everything = by_hand("a", exact=False)
    parts = [found(index, "a", state=state) for state in ("kept", "held out", "dropped")]
    assert {name: n for part in parts for name, n in part.items()} == everything
    assert "n/8" in parts[2]
    assert found(index, "a", licence="MIT") == everything
    assert found(index, "a", licence="GPL") == found(index, "a", source="other") == {}
    early = found(index, "a", until="2004")
    assert early
    assert set(early) < set(everything)
    assert {**early, **found(index, "a", since="2005")} == everything


def test_names_addresses_and_reasons_are_found(index: SearchIndex) -> None:
    def names(query: str) -> list[str]:
        answer = index.find(SearchQuery(text=query, names=True))
        return [hit.id for hit in index.page(answer, limit=None)]

    assert names("EXAMPLE.jp/3") == ["n/3"]
    assert names("min-length") == ["n/8"]
    assert "n/0" in names("duplicate id")
    assert names("検索") == []


def test_pages_join_to_all_hits_and_a_sample_is_some_of_them(index: SearchIndex) -> None:
    answer = index.find(SearchQuery(text="a"))
    hits = list(index.page(answer, limit=None))
    pages = [hit for at in range(0, len(hits), 3) for hit in index.page(answer, offset=at, limit=3)]
    assert pages == hits
    sample = list(index.sample(answer, 5, seed=1))
    assert sample == list(index.sample(answer, 5, seed=1))
    assert len(sample) == 5
    assert all(hit in hits for hit in sample)
    drawn = collections.Counter(
        hit.offset for seed in range(600) for hit in index.sample(answer, 1, seed=seed)
        if hit.id == "n/10"
    )  # fmt: skip
    assert set(drawn) == set(range(6))  # 600 draws: each of 6 of about 17 hits is missed never


def test_around_a_hit_stands_its_text_with_dots_where_it_was_cut(
    make_corpus: Make, run_step: Make
) -> None:
    text = "ﬁ" * 100 + "The Needle\nhere" + "z" * 100
    index = SearchIndex(run_step("corpus/index", [make_corpus([text, "needle"])]))
    cut, whole = index.page(index.find(SearchQuery(text="needle")))
    assert cut.around == "…" + "ﬁ" * 36 + "The Needle here" + "z" * 35 + "…"
    assert whole.around == "needle"


def test_why_tells_each_fate_of_a_name_and_gives_the_text_back(index: SearchIndex) -> None:
    rows = list(index.explain("mine/n/0"))
    assert rows == list(index.explain("n/0"))
    assert [row["state"] for row in rows][1:] == ["unreadable"]
    assert rows[1]["rule"] == "duplicate id"
    (dropped,) = index.explain("mine/n/8")
    assert (dropped["state"], dropped["rule"]) == ("dropped", "corpus/min-length")
    assert (dropped["value"], dropped["threshold"], dropped["licence"]) == (1, 2, "MIT")
    for name in ("mine/0", "nobody/n/0", "/n/0", "ine/n/0", "xample.jp/3", "n", "\ud800"):
        assert list(index.explain(name)) == [], name
    assert [row["id"] for row in index.explain("https://example.jp/3")] == ["n/3"]
    for number, text in enumerate(TEXTS[:-1]):  # a text of nothing is not read
        assert next(index.explain(f"n/{number}"))["text"] == text


def test_equal_names_in_two_corpora_are_both_in_the_index(
    make_corpus: Make, run_step: Make
) -> None:
    corpora = [
        make_corpus([{"id": "a", "text": f"{name} text"}], name=name) for name in ("one", "two")
    ]
    index = SearchIndex(run_step("corpus/index", corpora))
    assert index.artifacts[0].facts["documents"] == {"kept": 2}
    hits = index.page(index.find(SearchQuery(text="text")))
    assert [hit.around for hit in hits] == ["one text", "two text"]
    assert [row["corpus"] for row in index.explain("mine/a")] == ["test/one@1", "test/two@1"]
    assert index.find(SearchQuery(text="text", corpus="test/two@1")).documents == 1


def test_the_same_corpus_gives_the_same_index(corpus: Artifact, run_step: Make) -> None:
    assert len({run_step("corpus/index", [corpus]).digest for _ in range(2)}) == 1


def test_many_parts_find_what_one_finds(
    make_corpus: Make, run_step: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ROWS_PER_GROUP", 3)
    rows = [{"id": f"n/{n}", "text": text or "-"} for n, text in enumerate(TEXTS * 3)]
    monkeypatch.setattr(step, "MEGABYTE", 100)
    corpus = make_corpus(rows)
    index = SearchIndex(run_step("corpus/index", [corpus], part_mb=1))
    assert len(index.parts) > 3
    assert found_anywhere(index, "検索") == {n for n, t in enumerate(TEXTS * 3) if "検索" in t}


def found_anywhere(index: SearchIndex, query: str) -> set[int]:
    hits = index.page(index.find(SearchQuery(text=query)), limit=None)
    return {int(hit.id[2:]) for hit in hits}


def copies(index: SearchIndex, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    for name in ("00000.text", "00000.names", "00000.documents"):
        folder = tmp_path / name
        shutil.copytree(index.artifacts[0].path, folder)
        yield folder, folder / "parts" / name


def test_a_part_that_is_cut_foreign_or_missing_is_named(index: SearchIndex, tmp_path: Path) -> None:
    for folder, path in copies(index, tmp_path):
        whole = path.read_bytes()
        for data in (b"", b"no index", whole[: len(whole) // 2], whole[:-64]):
            path.write_bytes(data)
            with pytest.raises(YoriaiError, match=path.name):
                SearchIndex(open_artifact(folder))
        path.unlink()
        with pytest.raises(YoriaiError, match=path.name):
            SearchIndex(open_artifact(folder))


@given(place=st.floats(0, 1), byte=st.integers(0, 255))
def test_an_altered_part_is_refused_or_answers_without_harm(
    index: SearchIndex, new_folder: Callable[[], Path], place: float, byte: int
) -> None:
    folder = new_folder() / "index"
    shutil.copytree(index.artifacts[0].path, folder)
    path = folder / "parts/00000.text"
    data = bytearray(path.read_bytes())
    data[min(len(data) - 1, int(place * len(data)))] = byte
    path.write_bytes(data)
    try:
        opened = SearchIndex(open_artifact(folder))
        list(opened.page(opened.find(SearchQuery(text="a")), limit=None))
    except (YoriaiError, UnicodeDecodeError):
        pass


def test_everything_that_was_read_is_in_it(index: SearchIndex, corpus: Artifact) -> None:
    rows = sum(
        1 for table in ("documents", "heldout", "dropped", "unreadable")
        for _ in tables.read_rows(paths_of(corpus, table))
    )  # fmt: skip
    assert sum(index.artifacts[0].facts["documents"].values()) == rows
