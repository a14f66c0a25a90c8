"""UTF-8 written in fewer bytes whose order stays that of the code points, to sort suffixes faster.

Sorting takes as long as there are bytes, and UTF-8 has three for a Japanese character. Here the
most frequent characters take one byte and the rest two: a prefix code in which the codes ascend
with the characters (an alphabetic code, as by Hu and Tucker 1971, but over bytes and only of these
two lengths). Then the suffixes that begin with a character stand in the order of the code points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from yoriai_corpus.search.wavelet import I32, I64, U8, U32, U64, ones_of

END = 0x110000  # one above the last code point
END_BYTE = 0xFF  # its place in UTF-8, where this byte never stands


@dataclass(frozen=True, slots=True)
class SortableText:
    """A text to be sorted, in ``data``; ``length`` is how many characters it has.

    ``begins``: for each 32 bytes of data a bit for each at which a character begins (the low
    half) and how many begin before them (the high half). ``base``: for each first byte of a code
    what to add to the number in the bytes that follow to have the symbol, counted from 1.
    """

    data: U8
    begins: U64
    base: U32
    length: int


def tally(text: U8) -> I64:
    """How often each code point stands in UTF-8, :data:`END` for the mark of a document's end."""
    counts = np.zeros(END + 1, dtype=np.int64)
    _tally(text, counts)
    return counts


def encode(text: U8, alphabet: U32, counts: I64) -> SortableText:
    """The text in the code of its alphabet, of which each character stands ``counts`` times."""
    codes, lengths = code(counts)
    symbol_of = np.zeros(END + 1, dtype=np.uint32)
    symbol_of[alphabet] = np.arange(len(alphabet), dtype=np.uint32)
    size = int(counts @ lengths)
    data = np.empty(size, dtype=np.uint8)
    begins = np.zeros(size // 32 + 1, dtype=np.uint64)
    _encode(text, symbol_of, codes, lengths, data, begins)
    base = np.zeros(256, dtype=np.uint32)
    leads, heads = np.unique(codes >> (8 * (lengths - np.uint8(1))), return_index=True)
    base[leads] = heads + 1
    return SortableText(data, begins, base, int(counts.sum()))


@numba.njit(cache=True, nogil=True)
def transform(order: I32, text: tuple[U8, U64, U32], symbols: U32, places: U32) -> None:
    """The Burrows-Wheeler transform of an order of suffixes, and the place where each begins.

    Both have a row more than characters: the first is that of the end of all text.
    """
    data, begins, base = text
    row = np.uint64(1)
    for at in range(len(order)):
        suffix = np.uint64(np.uint32(order[at]))
        low = suffix & np.uint64(31)
        known = begins[suffix >> np.uint64(5)]
        if (known >> low) & np.uint64(1):
            ahead = known & ((np.uint64(1) << low) - np.uint64(1))
            places[row] = (known >> np.uint64(32)) + ones_of(ahead)
            symbols[row] = _before(suffix, data, begins, base)
            row += np.uint64(1)
    symbols[0] = _before(np.uint64(len(data)), data, begins, base)
    places[0] = row - np.uint64(1)


@numba.njit(cache=True, nogil=True, inline="always")
def _before(place: Any, data: U8, begins: U64, base: U32) -> Any:
    """The symbol that ends before a byte; 0 for none. (Unsigned places are twice as fast.)"""
    if place == np.uint64(0):
        return np.uint32(0)
    number, shift, at = np.uint32(0), np.uint32(0), place - np.uint64(1)
    while not (begins[at >> np.uint64(5)] >> (at & np.uint64(31))) & np.uint64(1):
        number |= np.uint32(data[at]) << shift
        shift += np.uint32(8)
        at -= np.uint64(1)
    return base[data[at]] + number


def code(counts: I64) -> tuple[U32, U8]:
    """Codes (big-endian numbers) and their lengths in bytes, of characters in their order.

    As many of the most frequent as find room have a byte of their own; what stands between two
    of them shares as few first bytes as it needs. More than 65,536 characters take three bytes.
    """
    size = len(counts)
    if size > 2**16:
        return np.arange(size, dtype=np.uint32), np.full(size, 3, dtype=np.uint8)
    by_count = np.argsort(-counts, kind="stable")
    for alone in range(min(size, 256), -1, -1):
        single = np.zeros(size, dtype=np.bool_)
        single[by_count[:alone]] = True
        run = np.diff(np.flatnonzero(np.concatenate(([True], single, [True])))) - 1
        if alone + int((-(-run // 256)).sum()) <= 256:
            break
    place = np.arange(size) - np.maximum.accumulate(
        np.where(single, np.arange(size), -1)
    )  # 0 for a byte of its own, then 1, 2, … after it
    first = single | (place % 256 == 1)
    lead = np.cumsum(first) - 1
    codes = np.where(single, lead, lead << 8 | (place - 1) % 256)
    return codes.astype(np.uint32), np.where(single, 1, 2).astype(np.uint8)


@numba.njit(cache=True, nogil=True, inline="always")
def _lead(byte: Any) -> Any:
    """What the first byte of a character says of its code point."""
    if byte < np.uint32(0xC0):
        return byte
    if byte < np.uint32(0xE0):
        return byte & np.uint32(0x1F)
    if byte < np.uint32(0xF0):
        return byte & np.uint32(0x0F)
    if byte == np.uint32(END_BYTE):
        return np.uint32(END)
    return byte & np.uint32(0x07)


@numba.njit(cache=True, nogil=True, inline="always")
def _next(text: U8, place: Any) -> Any:
    """The code point that begins at a place of UTF-8, and the place behind it."""
    point = _lead(np.uint32(text[place]))
    place += 1
    while place < len(text) and text[place] & 0xC0 == 0x80:
        point = (point << np.uint32(6)) | np.uint32(text[place] & 0x3F)
        place += 1
    return point, place


@numba.njit(cache=True, nogil=True)
def _tally(text: U8, counts: I64) -> None:
    place, size = 0, len(text)
    while place < size:
        point, place = _next(text, place)
        counts[point] += 1


@numba.njit(cache=True, nogil=True)
def _encode(text: U8, symbol_of: U32, codes: U32, lengths: U8, data: U8, begins: U64) -> None:
    place, size = 0, len(text)
    filled = number = 0
    while place < size:
        point, place = _next(text, place)
        symbol = symbol_of[point]
        begins[filled >> 5] |= np.uint64(1) << np.uint64(filled & 31)
        coded = codes[symbol]
        for rest in range(np.int64(lengths[symbol]) - 1, -1, -1):
            data[filled] = (coded >> np.uint32(8 * rest)) & np.uint32(0xFF)
            filled += 1
    for word in range(len(begins)):
        bits = begins[word]
        begins[word] |= np.uint64(number) << np.uint64(32)
        number += ones_of(bits)
