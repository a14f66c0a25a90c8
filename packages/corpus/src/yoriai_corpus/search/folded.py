"""Looking for a text in any width and case, in an index of the text as it stands.

Two characters are the same when :func:`yoriai_corpus.text.folding.fold_table` gives the same for
both, as where duplicates are looked for. A backward search keeps all ranges of rows that begin
with some spelling of what was looked at; spellings that do not occur fall away at once.
"""

from __future__ import annotations

import functools

import numba
import numpy as np
import numpy.typing as npt

from yoriai_corpus.search.fm_index import FmIndex, extend, points_of
from yoriai_corpus.search.wavelet import I64, U32, Wavelet
from yoriai_corpus.text.folding import fold_table


@functools.cache
def table() -> U32:
    return fold_table()


def fold(text: str) -> str:
    """The text in the form in which two are compared; as long as it was."""
    folded: npt.NDArray[np.uint32] = table()[points_of(text)]
    return folded.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def forms(index: FmIndex) -> U32:
    """What each character of an index's alphabet folds to; the mark folds to itself."""
    known: U32 = np.append(table(), np.uint32(0x110000))[index.alphabet]
    return known


@functools.lru_cache(maxsize=4096)
def _by_form(alphabet: bytes) -> tuple[I64, U32]:
    """Characters of an alphabet in order of what they fold to, and that."""
    known = np.append(table(), np.uint32(0x110000))[np.frombuffer(alphabet, dtype=np.uint32)]
    by_form = np.argsort(known, kind="stable")
    return by_form.astype(np.int64), known[by_form]


def ranges(index: FmIndex, text: str, *, exact: bool) -> list[tuple[int, int]]:
    """The ranges of rows that begin with a text, or with any spelling of it; they never overlap."""
    if exact:
        low, high = index.range_of(text)
        return [(low, high)] if high > low else []
    by_form, known = _by_form(index.alphabet.tobytes())
    wanted = table()[points_of(text)]
    begins = np.searchsorted(known, wanted, side="left")
    ends = np.searchsorted(known, wanted, side="right")
    lows, highs = _search(index.tree, index.first, by_form + 1, begins, ends)
    return list(zip(lows.tolist(), highs.tolist(), strict=True))


@numba.njit(cache=True, nogil=True)
def _search(tree: Wavelet, first: I64, symbols: I64, begins: I64, ends: I64) -> tuple[I64, I64]:
    low = np.zeros(1, dtype=np.int64)
    high = np.full(1, first[-1], dtype=np.int64)
    for place in range(len(begins) - 1, -1, -1):
        most = len(low) * (ends[place] - begins[place])
        new_low, new_high = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
        count = 0
        for index in range(len(low)):
            for number in range(begins[place], ends[place]):
                begin, end = extend(tree, first, symbols[number], low[index], high[index])
                if end > begin:
                    new_low[count], new_high[count] = begin, end
                    count += 1
        low, high = new_low[:count].copy(), new_high[:count].copy()
    return low, high
