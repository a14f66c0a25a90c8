"""Near copies in documents, checked against aligning the text with every document in full."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai import Artifact, UsageError
from yoriai_corpus.search import near
from yoriai_corpus.search.near import SEED, near_spans
from yoriai_corpus.search.search import SearchIndex

Make = Callable[..., Artifact]
TEXTS = [
    "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。",
    "何でも薄暗いじめじめした所でニャーニャー泣いていた事だけは記憶している。",
    "abababababababababababababcdcdcdcdcdcdcd",
    "the quick brown fox jumps over the lazy dog and runs away from it",
]


@pytest.fixture(scope="module")
def index(make_corpus: Make, run_step: Make) -> SearchIndex:
    rows = [{"id": str(n), "text": text} for n, text in enumerate(TEXTS)]
    return SearchIndex(run_step("corpus/index", [make_corpus(rows)]))


def best_by_hand(text: str, document: str) -> int:
    """The best score of any local alignment, by the textbook: all cells, no bands, no seeds."""
    table = np.zeros((len(text) + 1, len(document) + 1), dtype=int)
    for i, ours in enumerate(text, 1):
        for j, theirs in enumerate(document, 1):
            table[i, j] = max(
                0,
                table[i - 1, j - 1] + (1 if ours == theirs else -SEED),
                table[i - 1, j] - SEED,
                table[i, j - 1] - SEED,
            )
    return int(table.max())


def distance(one: str, other: str) -> int:
    row = list(range(len(other) + 1))
    for i, ours in enumerate(one, 1):
        corner, row[0] = row[0], i
        for j, theirs in enumerate(other, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (ours != theirs))
    return row[-1]


@st.composite
def edited(draw: st.DrawFn) -> str:
    """Pieces of the documents with some characters changed, left out and put in."""
    out = []
    for _ in range(draw(st.integers(1, 3))):
        text = draw(st.sampled_from(TEXTS))
        begin = draw(st.integers(0, len(text)))
        piece = list(text[begin : begin + draw(st.integers(0, 40))])
        for _ in range(draw(st.integers(0, 3))):
            at = draw(st.integers(0, max(0, len(piece) - 1)))
            piece[at : at + draw(st.integers(0, 2))] = draw(st.text("ab猫。z", max_size=2))
        out.append("".join(piece))
    return draw(st.text("xyz", max_size=3)).join(out)


@settings(max_examples=40)
@given(text=edited())
def test_the_best_of_each_document_is_that_of_aligning_all_of_it(
    index: SearchIndex, text: str
) -> None:
    found = near_spans(index, text)
    assert (found.frequent_seeds, found.stretches_left_out) == (0, 0)
    for number, document in enumerate(TEXTS):
        here = [span for span in found.spans if span.place.id == str(number)]
        best = best_by_hand(text, document)
        exact = max(
            (e - b for b in range(len(text)) for e in range(b, len(text) + 1)
             if text[b:e] in document), default=0,
        )  # fmt: skip
        if best >= SEED and best > exact:
            assert max(span.score for span in here) == best
        for span in here:
            assert SEED <= span.score <= best
            assert text[span.begin : span.end] == span.text
            assert document.startswith(span.stands, span.place.offset)
            assert distance(span.text, span.stands) == span.edits > 0


def test_a_copy_with_a_changed_character_is_one_span_with_its_edits(index: SearchIndex) -> None:
    text = "昔、吾輩は猫である。名前はまた無い。どこで生れたかとんと見当がつかぬ。と書いた。"
    [span] = near_spans(index, text).spans
    assert (span.begin, span.stands, span.edits) == (2, TEXTS[0], 1)
    assert (span.place.name, span.place.offset) == ("mine/0", 0)


def test_two_near_copies_of_one_document_are_both_found(index: SearchIndex) -> None:
    one, two = TEXTS[3][:28], TEXTS[3][36:]
    text = f"{one[:14]}X{one[15:]}{'。' * 30}{two[:14]}Y{two[15:]}"
    spans = near_spans(index, text).spans
    assert sorted((span.place.offset, span.edits) for span in spans) == [(0, 1), (36, 1)]


def test_what_is_not_looked_at_is_counted(
    index: SearchIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TEXTS[2].replace("bcd", "bXd")
    monkeypatch.setattr(near, "MOST_PLACES", 1)
    assert near_spans(index, text).frequent_seeds > 0
    monkeypatch.setattr(near, "MOST_STRETCHES", 0)
    changed = TEXTS[0].replace("まだ", "まあ")
    monkeypatch.setattr(near, "MOST_PLACES", 64)
    assert near_spans(index, changed).stretches_left_out == 1
    with pytest.raises(UsageError, match="20,001"):
        near_spans(index, "a" * 20_001)


def test_a_long_copy_is_near_to_both_its_ends(make_corpus: Make, run_step: Make) -> None:
    chance = np.random.default_rng(1)
    document = "".join(chance.choice(list("あいうえおかきくけこabcdefghij"), 300).tolist())
    text = f"{document[:150]}×{document[151:]}"
    rows = [{"id": "0", "text": document}, {"id": "1", "text": document[20:90]}]
    [span] = near_spans(SearchIndex(run_step("corpus/index", [make_corpus(rows)])), text).spans
    assert (span.begin, span.end, span.edits) == (0, 300, 1)
    assert span.score == best_by_hand(text, document)
