"""Looking for a text in any width and case, in an index of the text as it stands.

Two characters are the same when :func:`yoriai_corpus.text.folding.fold_table` gives the same for
both, as where duplicates are looked for; a letter with its mark is the same as the two written
one after the other (half-width katakana, decomposed text). A backward search keeps all ranges of
rows that begin with some spelling of what was looked at; spellings that do not occur fall away at
once.
"""

from __future__ import annotations

import functools
import unicodedata

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


def composed(text: str) -> str:
    """The folded form of a query, marks joined with the letters that they belong to."""
    return fold(unicodedata.normalize("NFC", fold(text)))


def ranges(index: FmIndex, text: str, *, exact: bool) -> list[tuple[int, int, int]]:
    """The ranges of rows that begin with a text, or with any spelling of it; they never overlap.

    Each with the characters of its spelling: a letter with a mark may be written as two.
    """
    if exact:
        low, high = index.range_of(text)
        return [(low, high, len(text))] if high > low else []
    by_form, known = _by_form(index.alphabet.tobytes())
    points, single = _wanted(text)
    members = np.empty((6, len(single)), dtype=np.int64)  # where those that fold to it stand
    members[::2] = np.searchsorted(known, points, side="left")
    members[1::2] = np.searchsorted(known, points, side="right")
    members[5, single] = members[4, single]  # no mark to look for
    lows, highs, lengths = _search(index.tree, index.first, by_form + 1, members)
    return list(zip(lows.tolist(), highs.tolist(), lengths.tolist(), strict=True))


@functools.lru_cache(maxsize=64)  # every part is asked for the same
def _wanted(text: str) -> tuple[U32, npt.NDArray[np.bool_]]:
    """Of each character of a query what it folds to: whole, its letter and its mark.

    And which characters are no letter with a mark.
    """
    wanted = composed(text)
    pairs = [unicodedata.normalize("NFD", character) for character in wanted]
    letters, marks = (
        "".join(pair[at] if len(pair) == 2 else "\0" for pair in pairs) for at in (0, 1)
    )
    points = np.stack([table()[points_of(row)] for row in (wanted, letters, marks)])
    return points, np.array([len(pair) != 2 for pair in pairs], dtype=np.bool_)


@numba.njit(cache=True, nogil=True)
def _step(
    tree: Wavelet, first: I64, symbols: I64, begin: int, end: int, low: I64, high: I64
) -> tuple[I64, I64, I64]:
    """Ranges with one of some characters before them; of each the number of what it came from."""
    most = len(low) * (end - begin)
    new_low, new_high = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    origin = np.empty(most, dtype=np.int64)
    count = 0
    for index in range(len(low)):
        for number in range(begin, end):
            start, stop = extend(tree, first, symbols[number], low[index], high[index])
            if stop > start:
                new_low[count], new_high[count], origin[count] = start, stop, index
                count += 1
    return new_low[:count], new_high[:count], origin[:count]


@numba.njit(cache=True, nogil=True)
def _search(tree: Wavelet, first: I64, symbols: I64, members: I64) -> tuple[I64, I64, I64]:
    low = np.zeros(1, dtype=np.int64)
    high = np.full(1, first[-1], dtype=np.int64)
    length = np.zeros(1, dtype=np.int64)
    for place in range(members.shape[1] - 1, -1, -1):
        begin, end, letter, letter_end, mark, mark_end = members[:, place]
        new_low, new_high, origin = _step(tree, first, symbols, begin, end, low, high)
        new_length = length[origin] + 1
        if mark_end > mark:
            with_low, with_high, before = _step(tree, first, symbols, mark, mark_end, low, high)
            marked = length[before]
            with_low, with_high, before = _step(
                tree, first, symbols, letter, letter_end, with_low, with_high
            )
            new_low = np.concatenate((new_low, with_low))
            new_high = np.concatenate((new_high, with_high))
            new_length = np.concatenate((new_length, marked[before] + 2))
        low, high, length = new_low, new_high, new_length
    return low, high, length
