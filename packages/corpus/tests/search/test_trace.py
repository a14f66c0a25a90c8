"""Spans of a text that stand in the corpus, checked against trying every piece."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact, UsageError
from yoriai_corpus.search.search import SearchIndex
from yoriai_corpus.search.trace import covered, maximal, trace

Make = Callable[..., Artifact]
TEXTS = ["abracadabra", "吾輩は猫である。名前はまだ無い。", "cab猫", "bbbb", "吾輩は犬である。"]
LICENCES = ["CC0-1.0", "MIT", "CC0-1.0", "", "MIT"]
LETTERS = "abcdr吾輩は猫犬である。名前z"


@pytest.fixture(scope="module")
def index(make_corpus: Make, run_step: Make) -> SearchIndex:
    rows = [{"id": str(n), "text": t, "licence": LICENCES[n]} for n, t in enumerate(TEXTS)]
    return SearchIndex(run_step("corpus/index", [make_corpus(rows)]))


@pytest.fixture(scope="module")
def parts(make_corpus: Make, run_step: Make) -> SearchIndex:
    return SearchIndex(*(run_step("corpus/index", [make_corpus([text])]) for text in TEXTS))


@given(
    text=st.lists(st.one_of(st.text(LETTERS, max_size=5), st.sampled_from(TEXTS)), max_size=4).map(
        "".join
    ),
    shortest=st.integers(1, 6),
)
def test_a_span_that_lies_in_one_of_another_part_is_none(
    parts: SearchIndex, text: str, shortest: int
) -> None:
    assert len(parts.parts) == len(TEXTS)
    spans = trace(parts, text, shortest=shortest)
    assert [(span.begin, span.end) for span in spans] == by_hand(text, shortest)


def by_hand(text: str, shortest: int) -> list[tuple[int, int]]:
    pieces = {
        (begin, end)
        for begin in range(len(text))
        for end in range(begin + 1, len(text) + 1)
        if any(text[begin:end] in each for each in TEXTS)
    }
    return sorted(
        (begin, end)
        for begin, end in pieces
        if end - begin >= shortest
        and (begin - 1, end) not in pieces
        and (begin, end + 1) not in pieces
    )


@given(
    text=st.lists(st.one_of(st.text(LETTERS, max_size=5), st.sampled_from(TEXTS)), max_size=4).map(
        "".join
    ),
    shortest=st.integers(1, 6),
)
def test_spans_are_the_pieces_that_occur_and_cannot_grow(
    index: SearchIndex, text: str, shortest: int
) -> None:
    spans = trace(index, text, shortest=shortest)
    assert [(span.begin, span.end) for span in spans] == by_hand(text, shortest)
    for span in spans:
        assert span.text == text[span.begin : span.end]
        holders = {str(n) for n, each in enumerate(TEXTS) if span.text in each}
        assert {place.id for place in span.places} == holders
        for place in span.places:
            assert TEXTS[int(place.id)].startswith(span.text, place.offset)
            assert place.licence == LICENCES[int(place.id)]
        assert span.documents == len(holders)
        assert span.licences == Counter(LICENCES[int(n)] for n in holders)
        assert span.occurrences == sum(
            each.startswith(span.text, at) for each in TEXTS for at in range(len(each))
        )
    inside = {at for span in spans for at in range(span.begin, span.end)}
    assert covered(spans) == len(inside)


def test_a_rare_span_costs_more_bits_than_a_common_one_of_its_length(index: SearchIndex) -> None:
    (rare, common) = trace(index, "名前はまだzbbbb", shortest=4)
    assert rare.bits / 5 > common.bits / 4 > 0


def test_places_are_named_of_several_documents_though_one_repeats_itself(
    make_corpus: Make, run_step: Make
) -> None:
    corpus = make_corpus(["吾輩は猫である。" * 200, *(f"吾輩は猫である。{n}" for n in range(40))])
    opened = SearchIndex(run_step("corpus/index", [corpus]))
    (span,) = trace(opened, "吾輩は猫である。", places=5)
    assert span.occurrences == 240
    assert len({place.id for place in span.places}) >= 3


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=12))
def test_maximal_spans_lie_in_no_other(pairs: list[tuple[int, int]]) -> None:
    spans = {(begin, begin + size) for begin, size in pairs}
    expected = {
        one for one in spans
        if not any(o != one and o[0] <= one[0] and one[1] <= o[1] for o in spans)
    }  # fmt: skip
    assert maximal(spans) == sorted(expected)


@pytest.mark.parametrize(("text", "said"), [("x" * 100_001, "100,001"), ("\ud800", "no UTF-8")])
def test_what_cannot_be_traced_is_refused(index: SearchIndex, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        trace(index, text)
