"""Counts of bytes and of what comes next, against looking through the texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact, UsageError
from yoriai_corpus.search.byte_ngrams import ByteNgrams
from yoriai_corpus.search.search import SearchIndex

Make = Callable[..., Artifact]
TEXTS = [
    "吾輩は猫である。ああ",
    "abcabcab",
    "é€😀ébé😁",
    "はははは猫",
    "猫はあ😀😀a",
    "\x00\x7f\x80ÿ",
]
DATA = b"".join(text.encode() + b"\xff" for text in TEXTS)


@pytest.fixture(scope="module")
def ngrams(make_corpus: Make, run_step: Make) -> ByteNgrams:
    return ByteNgrams(SearchIndex(run_step("corpus/index", [make_corpus(TEXTS)])))


def by_hand(context: bytes) -> Counter[int]:
    """The bytes after each place of a context; one that holds a document's end has none."""
    return Counter(
        DATA[at + len(context)]
        for at in range(len(DATA) - len(context))
        if DATA.startswith(context, at)
    )


def as_index(counts: Counter[int], context: bytes) -> dict[int, int]:
    """As the index counts: before the first byte of a document nothing stands."""
    return dict(counts) if context else dict(Counter(DATA))


@st.composite
def contexts(draw: st.DrawFn) -> bytes:
    text = draw(st.sampled_from(TEXTS)).encode()
    begin = draw(st.integers(0, len(text) - 1))
    piece = text[begin : begin + draw(st.integers(0, 12))]
    return draw(st.one_of(st.just(b""), st.binary(max_size=3))) + piece


@given(context=contexts())
def test_bytes_are_counted_as_they_stand_and_so_is_what_comes_next(
    ngrams: ByteNgrams, context: bytes
) -> None:
    if b"\xff" in context:  # no text holds it
        assert ngrams.count(context) == 0
        return
    expected = as_index(by_hand(context), context)
    found = ngrams.following(context)
    assert found.following == expected
    assert ngrams.count(context) == found.occurrences == sum(expected.values())
    longest = next(n for n in range(len(context), -1, -1) if by_hand(context[len(context) - n :]))
    assert ngrams.infinite(context).length == longest
    assert ngrams.infinite(context) == ngrams.following(context[len(context) - longest :])


@pytest.mark.parametrize("text", TEXTS)
def test_every_run_of_up_to_five_bytes_of_a_text(ngrams: ByteNgrams, text: str) -> None:
    data = text.encode()
    for begin in range(len(data)):
        for length in range(1, 6):
            context = data[begin : begin + length]
            assert ngrams.following(context).following == by_hand(context), context


def test_a_context_that_is_too_long_is_refused(ngrams: ByteNgrams) -> None:
    with pytest.raises(UsageError, match="30,001"):
        ngrams.count(b"a" * 30_001)
