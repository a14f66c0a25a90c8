"""Places and pieces of an FM-index, looked up many at a time, checked against the text itself."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai_corpus.search import fm_index
from yoriai_corpus.search.fm_index import FmIndex
from yoriai_corpus.search.sortable import END_BYTE

PIECES = ("検索", "abra", "cad", "です。", "\n", "é", "😀")


@pytest.fixture(scope="module")
def text() -> str:
    chance = random.Random(5)
    return "".join(chance.choice(PIECES) for _ in range(700))


@pytest.fixture(scope="module")
def index(text: str) -> FmIndex:
    data = text.encode() + bytes([END_BYTE])
    return fm_index.build(np.frombuffer(data, dtype=np.uint8))[0]


@given(stretches=st.lists(st.tuples(st.integers(-5, 2100), st.integers(-5, 2300)), max_size=40))
def test_stretches_come_out_as_they_stand_however_many_are_asked_for(
    stretches: list[tuple[int, int]], text: str, index: FmIndex
) -> None:
    whole = text + "\n"  # the mark of the end
    cut = [whole[max(0, begin) : max(0, begin, end)] for begin, end in stretches]
    assert index.extract_all(stretches) == cut


@pytest.mark.parametrize("pattern", ["検", "a", "索abra", "です。", "abracadです。"])
def test_rows_are_found_at_every_place_where_a_text_stands(
    pattern: str, text: str, index: FmIndex
) -> None:
    low, high = index.range_of(pattern)
    places = [at for at in range(len(text)) if text.startswith(pattern, at)]
    assert places
    assert sorted(index.locate(np.arange(low, high)).tolist()) == places


def test_every_row_has_a_place_of_its_own(text: str, index: FmIndex) -> None:
    rows = np.arange(1, len(text) + 2)
    assert sorted(index.locate(rows).tolist()) == list(range(len(text) + 1))


def test_an_index_without_lines_is_refused(index: FmIndex) -> None:
    arrays = index.arrays() | {"tree.lines": np.zeros(0, dtype=np.uint64)}
    with pytest.raises(ValueError, match="do not fit together"):
        FmIndex.of(arrays)
