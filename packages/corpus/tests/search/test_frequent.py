"""Counts made beforehand, and hits looked up as they are needed, against looking up every place."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact, YoriaiError
from yoriai_corpus.search import folded, frequent
from yoriai_corpus.search.query import SearchQuery
from yoriai_corpus.search.search import SearchIndex

Make = Callable[..., Artifact]
TEXTS = ["aAbＡa猫", "AAb", "ねこ猫aＢ", "bbbbbb", "a猫b猫A猫", "BaＡab", "xyz"]


@pytest.fixture(scope="module")
def index(make_corpus: Make, run_step: Make) -> SearchIndex:
    """Everything that occurs twice is frequent; half of the documents are dropped."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frequent, "LEAST", 2)
        rows = [
            {"id": f"{n}", "text": text * (1 + n % 3), "licence": ["MIT", "CC0-1.0"][n % 2]}
            for n, text in enumerate(TEXTS)
        ]
        corpus = make_corpus(rows, rules=[{"use": "corpus/min-length", "characters": 6}])
        return SearchIndex(run_step("corpus/index", [corpus]))


def rows_by_hand(index: SearchIndex, query: str, exact: bool) -> list[dict[str, Any]]:
    """Every place, looked for in the texts that the index gives back."""
    same = (lambda text: text) if exact else folded.fold
    found = []
    for part in index.parts:
        for number in range(part.table.num_rows):
            text = part.text(number)
            found += [
                {**part.row(number), "offset": at}
                for at in range(len(text))
                if same(text).startswith(same(query), at)
            ]
    return found


LETTERS = "aAbBＡＢ猫ねこ"
PIECES = st.text(LETTERS, min_size=1, max_size=4)


@given(query=PIECES, exact=st.booleans(), state=st.sampled_from(["", "kept", "dropped"]),
       licence=st.sampled_from(["", "MIT"]))  # fmt: skip
def test_counts_and_hits_are_those_of_looking_up_every_place(
    index: SearchIndex, query: str, exact: bool, state: str, licence: str
) -> None:
    rows = [
        row for row in rows_by_hand(index, query, exact)
        if state in ("", row["state"]) and licence in ("", row["licence"])
    ]  # fmt: skip
    found = index.find(SearchQuery(text=query, exact=exact, state=state, licence=licence))
    assert found.occurrences == len(rows)
    assert found.documents == len({row["id"] for row in rows})
    for name, facet in found.facets.items():
        held = collections.Counter(row[name] for row in rows)
        assert {value: row["occurrences"] for value, row in facet.items()} == held
        documents = {value: {r["id"] for r in rows if r[name] == value} for value in held}
        assert {v: row["documents"] for v, row in facet.items()} == {
            v: len(ids) for v, ids in documents.items()
        }
    hits = list(index.page(found, limit=None))
    places = {(row["id"], row["offset"]) for row in rows}
    assert {(hit.id, hit.offset) for hit in hits} == places
    assert len(hits) == len(places)
    pages = [hit for at in range(0, len(hits), 3) for hit in index.page(found, offset=at, limit=3)]
    assert pages == hits
    sample = list(index.sample(found, 4, seed=7))
    assert len(sample) == min(4, len(hits))
    assert len({(hit.id, hit.offset) for hit in sample}) == len(sample)
    assert all(hit in hits for hit in sample)


def test_every_frequent_pattern_is_counted_beforehand(index: SearchIndex) -> None:
    texts = index.parts[0].texts
    for query, table in (("a", texts.folded), ("A", texts.exact), ("猫", texts.exact)):
        ranges = folded.ranges(texts.index, query, exact=table is texts.exact)
        assert table.get([(low, high) for low, high, _ in ranges]) is not None
    ((low, high, _),) = folded.ranges(texts.index, "x", exact=True)
    assert texts.exact.get([(low, high)]) is None


def test_a_sample_of_what_is_filtered_is_fair(index: SearchIndex) -> None:
    found = index.find(SearchQuery(text="b", state="kept"))
    drawn = collections.Counter(
        (hit.id, hit.offset) for seed in range(400) for hit in index.sample(found, 1, seed=seed)
    )
    assert len(drawn) == found.occurrences
    assert max(drawn.values()) < 4 * 400 / found.occurrences


@given(first=PIECES, second=PIECES, also=PIECES)
def test_or_finds_places_of_either_and_joins_with_and(
    index: SearchIndex, first: str, second: str, also: str
) -> None:
    places = {
        (row["id"], row["offset"], len(query))
        for query in (first, second)
        for row in rows_by_hand(index, query, False)
    }
    holders = {row["id"] for row in rows_by_hand(index, also, False)}
    found = index.find(SearchQuery(text=first, either=(second,), also=(also,)))
    hits = list(index.page(found, limit=None))
    wanted = {place for place in places if place[0] in holders}
    assert {(hit.id, hit.offset, len(hit.match)) for hit in hits} == wanted
    assert found.occurrences == len(hits) == len(wanted)


def test_a_search_ends_where_its_time_is_over(index: SearchIndex) -> None:
    def over() -> None:
        raise YoriaiError("too long")

    with pytest.raises(YoriaiError, match="too long"):
        index.find(SearchQuery(text="a", also=("b",)), check=over)
