"""The code in which suffixes are sorted, against sorting them as Python compares texts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai_corpus.search import sortable
from yoriai_corpus.search.fm_index import suffix_order

MARK = chr(0x10FFFF)  # stands for the end of a document, above all others


def by_hand(documents: list[str]) -> tuple[list[int], list[str]]:
    """Places in order of the suffixes, and what stands before each."""
    text = "".join(document + MARK for document in documents)
    places = sorted(range(len(text) + 1), key=lambda place: text[place:])
    return places, [text[place - 1] if place else "" for place in places]


def by_bytes(documents: list[str]) -> tuple[list[int], list[str]]:
    data = b"".join(document.encode() + b"\xff" for document in documents)
    text = np.frombuffer(data, dtype=np.uint8)
    counts = sortable.tally(text)
    alphabet = np.flatnonzero(counts).astype(np.uint32)
    coded = sortable.encode(text, alphabet, counts[alphabet])
    symbols, places = (np.empty(coded.length + 1, dtype=np.uint32) for _ in range(2))
    order = suffix_order(coded.data)
    sortable.transform(order, (coded.data, coded.begins, coded.base), symbols, places)
    points = np.append(0, alphabet)[symbols].tolist()
    before = ["" if not s else MARK if p == sortable.END else chr(p)
              for s, p in zip(symbols.tolist(), points, strict=True)]  # fmt: skip
    return places.tolist(), before


letters = st.characters(max_codepoint=0x10FFFE, exclude_categories=["Cs"])


@settings(max_examples=60)
@given(st.lists(st.text(st.one_of(letters, st.sampled_from("ab猫。")), max_size=20), min_size=1))
def test_suffixes_stand_in_the_order_of_their_characters(documents: list[str]) -> None:
    assert by_bytes(documents) == by_hand(documents)


@pytest.mark.parametrize("kinds", [256, 257, 3_000])
def test_more_characters_than_bytes_keep_their_order(kinds: int) -> None:
    chance = np.random.default_rng(kinds)
    drawn = np.concatenate([np.arange(kinds), chance.zipf(1.3, 1500) % kinds])
    chance.shuffle(drawn)
    text = "".join(chr(0x3400 + number) for number in drawn.tolist())
    assert by_bytes([text[:500], text[500:]]) == by_hand([text[:500], text[500:]])


@settings(max_examples=60)
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=3000))
def test_codes_ascend_and_none_begins_another(counts: list[int]) -> None:
    codes, lengths = sortable.code(np.array(counts, dtype=np.int64))
    written = [int(c).to_bytes(int(n), "big") for c, n in zip(codes, lengths, strict=True)]
    assert written == sorted(set(written))
    assert not any(b.startswith(a) for a, b in itertools.pairwise(written))


def test_65537_characters_take_three_bytes_each() -> None:
    codes, lengths = sortable.code(np.ones(2**16 + 1, dtype=np.int64))
    assert (codes[-1], set(lengths.tolist())) == (2**16, {3})
