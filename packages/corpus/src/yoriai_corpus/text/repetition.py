"""How much of a document says the same thing twice.

=============================  ==============================================================
``top_ngram_share``            how much of a text is its most frequent n-gram
``duplicate_ngram_share``      how much of a text is n-grams that were there before
``duplicate_line_share``       lines that were there before: of the lines, of the characters
``duplicate_paragraph_share``  the same for paragraphs, which blank lines part
=============================  ==============================================================

All take a batch and give one number a document (0 where there is nothing to count). The idea is
Gopher's (arXiv 2112.11446, appendix A1.1), which does not say everything; ``unit`` chooses between
the two implementations that corpora were made with. They count differently:

* ``"words"`` (between spaces, as ``str.split``): characters, as datatrove
  (``gopher_repetition_filter.py``), which FineWeb used. Top: occurrences (overlapping ones too)
  times the length of the n-gram with its inner spaces, over the length of the text; of equally
  frequent n-grams the one that comes first. Duplicate: going from left to right, an n-gram met
  before counts its characters without spaces and is jumped over, any other moves on by one
  word; so no character counts twice and first occurrences do not count. (datatrove splits words
  with spaCy; and it takes "ab c" and "a bc" for the same, which is not so here.)
* ``"characters"``: n-grams, as Swallow (swallow-corpus ``quality.py``). Top: occurrences of the
  most frequent n-gram (overlapping ones too) over all occurrences. Duplicate: distinct
  n-grams that occur more than once over distinct n-grams.

N-grams are told apart exactly: an n-gram is numbered by the number of its first n-1 units
and its last unit, and one whose shorter n-gram occurs once needs no look-up. Lines, paragraphs
and words are compared by 64-bit hashes.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from numba import njit

from yoriai_corpus.text.batch import F64, I64, U8, U32, Batch
from yoriai_corpus.text.characters import class_table, measured, ratio

Unit = Literal["characters", "words"]
U64 = npt.NDArray[np.uint64]
LONGEST = 10  # units in the longest n-gram


def top_ngram_share(batch: Batch, n: int, unit: Unit) -> F64:
    """How much of each text is its most frequent n-gram (n from 2 to 10)."""
    _check(n)
    if unit == "characters":
        table = _character_ngrams(batch)
        return ratio(table[:, n, 0], np.maximum(0, batch.lengths - n + 1))
    return ratio(_word_ngrams(batch)[:, n, 0], batch.lengths)


def duplicate_ngram_share(batch: Batch, n: int, unit: Unit) -> F64:
    """How much of each text is n-grams that it repeats (n from 2 to 10)."""
    _check(n)
    if unit == "characters":
        table = _character_ngrams(batch)
        return ratio(table[:, n, 1], table[:, n, 2])
    return ratio(_word_ngrams(batch)[:, n, 1], batch.lengths)


def duplicate_line_share(batch: Batch) -> tuple[F64, F64]:
    """Share of the lines that occurred before, and of the text's characters that are in them.

    Lines are what newlines part; empty ones are none (datatrove parts at runs of newlines).
    """
    table = measured(
        batch, "duplicate lines", lambda: _duplicate_pieces(*batch.codes, class_table(), 1)
    )
    return ratio(table[:, 1], table[:, 0]), ratio(table[:, 2], batch.lengths)


def duplicate_paragraph_share(batch: Batch) -> tuple[F64, F64]:
    """Share of the paragraphs that occurred before, and of the characters that are in them.

    Paragraphs are what two or more newlines part, without space around the text (datatrove).
    """
    table = measured(
        batch, "duplicate paragraphs", lambda: _duplicate_pieces(*batch.codes, class_table(), 2)
    )
    return ratio(table[:, 1], table[:, 0]), ratio(table[:, 2], batch.lengths)


def _duplicate_share(batch: Batch, name: str, newlines: int) -> tuple[F64, F64]:
    table = measured(batch, name, lambda: _duplicate_pieces(*batch.codes, class_table(), newlines))
    return ratio(table[:, 1], table[:, 0]), ratio(table[:, 2], batch.lengths)


def _check(n: int) -> None:
    if not 2 <= n <= LONGEST:
        raise ValueError(f"n-grams of 2 to {LONGEST} units are counted, not of {n}")


def _character_ngrams(batch: Batch) -> I64:
    """``[documents, n, 3]``: occurrences of the top n-gram, distinct repeated, distinct n-grams."""
    return measured(batch, "character n-grams", lambda: _count_ngrams(*batch.codes))


def _word_ngrams(batch: Batch) -> I64:
    """``[documents, n, 2]``: characters of the top n-gram, characters of repeated n-grams."""
    return measured(
        batch, "word n-grams", lambda: _cover_ngrams(*_words(*batch.codes, class_table()))
    )


# --- kernels ------------------------------------------------------------------------------

_MIX = np.uint64(0x9E3779B97F4A7C15)
_START = np.uint64(0x243F6A8885A308D3)
_SHIFT = np.uint64(29)


@njit(cache=True, nogil=True, inline="always")
def add_to_hash(value: np.uint64, point: np.uint32) -> np.uint64:
    """The hash of a text and one more character. Not a polynomial: those are easy to collide."""
    value = (value ^ np.uint64(point)) * _MIX
    return value ^ (value >> _SHIFT)


@njit(cache=True, nogil=True)
def count_repeated(hashes: U64, lengths: I64, begin: int, end: int) -> tuple[int, int]:
    """How many of the pieces occurred before, and their lengths added up."""
    size = 8
    while size < 2 * (end - begin):
        size *= 2
    table = np.full(size, -1, dtype=np.int64)  # the first piece with that hash
    pieces = 0
    characters = 0
    for index in range(begin, end):
        slot = np.int64(hashes[index] >> np.uint64(1)) & (size - 1)
        while table[slot] >= 0 and hashes[table[slot]] != hashes[index]:
            slot = (slot + 1) & (size - 1)
        if table[slot] < 0:
            table[slot] = index
        else:
            pieces += 1
            characters += lengths[index]
    return pieces, characters


@njit(cache=True, nogil=True)
def _duplicate_pieces(points: U32, starts: I64, table: U8, newlines: int) -> I64:
    """``[documents, 3]``: pieces, repeated pieces, characters in these.

    Pieces are parted by at least so many newlines; if more than one, space around the text is
    taken off first.
    """
    found = np.zeros((len(starts) - 1, 3), dtype=np.int64)
    for document in range(len(starts) - 1):
        begin = starts[document]
        end = starts[document + 1]
        if newlines > 1:
            while begin < end and table[points[begin]] <= 1:
                begin += 1
            while begin < end and table[points[end - 1]] <= 1:
                end -= 1
        room = 1
        for index in range(begin, end):
            room += points[index] == 10
        hashes = np.empty(room, dtype=np.uint64)
        lengths = np.empty(room, dtype=np.int64)
        pieces = 0
        piece = begin
        index = begin
        while index <= end:
            run = 0
            while index + run < end and points[index + run] == 10:
                run += 1
            if index < end and run < newlines:
                index += max(run, 1)
                continue
            if index > piece:
                value = _START
                for at in range(piece, index):
                    value = add_to_hash(value, points[at])
                hashes[pieces] = value
                lengths[pieces] = index - piece
                pieces += 1
            index += max(run, 1)
            piece = index
        found[document, 0] = pieces
        found[document, 1], found[document, 2] = count_repeated(hashes, lengths, 0, pieces)
    return found


@njit(cache=True, nogil=True)
def _words(points: U32, starts: I64, table: U8) -> tuple[I64, I64, I64]:
    """Words of all documents: a number for each (equal words of a document share it), its
    characters, and where each document's words start."""
    room = 0
    inside = False
    for index in range(len(points)):
        space = table[points[index]] <= 1  # SPACE, NEWLINE
        room += inside and space
        inside = not space
    room += len(starts)
    numbers = np.empty(room, dtype=np.int64)
    lengths = np.empty(room, dtype=np.int64)
    hashes = np.empty(room, dtype=np.uint64)
    offsets = np.zeros(len(starts), dtype=np.int64)
    words = 0
    for document in range(len(starts) - 1):
        first = words
        value = _START
        begin = starts[document]
        end = starts[document + 1]
        for index in range(begin, end + 1):
            if index < end and table[points[index]] > 1:
                value = add_to_hash(value, points[index])
                continue
            if index > begin:
                hashes[words] = value
                lengths[words] = index - begin
                words += 1
            value = _START
            begin = index + 1
        size = 8
        while size < 2 * (words - first):
            size *= 2
        slots = np.full(size, -1, dtype=np.int64)
        for word in range(first, words):
            slot = np.int64(hashes[word] >> np.uint64(1)) & (size - 1)
            while slots[slot] >= 0 and hashes[slots[slot]] != hashes[word]:
                slot = (slot + 1) & (size - 1)
            if slots[slot] < 0:
                slots[slot] = word
            numbers[word] = slots[slot] - first
        offsets[document + 1] = words
    return numbers[:words], lengths[:words], offsets


@njit(cache=True, nogil=True)
def _lengthen(
    units: U32 | I64, n: int, ids: I64, keys: I64, values: I64, numbers: I64
) -> tuple[int, int, int]:
    """From the numbers of a text's (n-1)-grams to those of its n-grams, in place.

    ``ids[i]`` is the number of the n-gram that starts at unit ``i``, -1 if it occurs once;
    numbers follow the order of first occurrence. ``numbers`` then holds the occurrences of each
    number. Returns the number of n-grams that occur once, that of the others, and the number of
    the (first) most frequent, -1 if there is none.
    """
    total = len(units) - n + 1
    candidates = 0
    for index in range(total):
        # A number n-1 of either half that occurs once makes the whole occur once.
        if ids[index] >= 0 and ids[index + 1] >= 0:
            candidates += 1
    size = 8
    bits = 3
    while size < 2 * candidates:
        size *= 2
        bits += 1
    shift = np.uint64(64 - bits)
    keys[:size] = -1
    found = 0
    for index in range(total):
        if ids[index] < 0 or ids[index + 1] < 0:
            ids[index] = -1
            continue
        key = (ids[index] << 32) | np.int64(units[index + n - 1])
        slot = np.int64((np.uint64(key) * _MIX) >> shift)
        while keys[slot] >= 0 and keys[slot] != key:
            slot = (slot + 1) & (size - 1)
        if keys[slot] < 0:
            keys[slot] = key
            values[slot] = found
            numbers[found] = 0
            found += 1
        number = values[slot]
        numbers[number] += 1
        ids[index] = number
    top = -1
    repeated = 0
    for number in range(found):
        if numbers[number] > 1:
            repeated += 1
            if top < 0 or numbers[number] > numbers[top]:
                top = number
    for index in range(total):
        if ids[index] >= 0 and numbers[ids[index]] == 1:
            ids[index] = -1
    once = total - candidates + found - repeated
    return once, repeated, top


@njit(cache=True, nogil=True)
def _work(starts: I64) -> tuple[I64, I64, I64, I64]:
    """Room for :func:`_lengthen` on the longest text: ids, keys, values, numbers."""
    longest = 1
    for document in range(len(starts) - 1):
        longest = max(longest, starts[document + 1] - starts[document])
    size = 8
    while size < 2 * longest:
        size *= 2
    return (
        np.empty(longest + 1, dtype=np.int64),
        np.empty(size, dtype=np.int64),
        np.empty(size, dtype=np.int64),
        np.empty(longest, dtype=np.int64),
    )


@njit(cache=True, nogil=True)
def _count_ngrams(points: U32, starts: I64) -> I64:
    found = np.zeros((len(starts) - 1, LONGEST + 1, 3), dtype=np.int64)
    ids, keys, values, numbers = _work(starts)
    for document in range(len(starts) - 1):
        units = points[starts[document] : starts[document + 1]]
        for index in range(len(units)):
            ids[index] = units[index]
        for n in range(2, min(LONGEST, len(units)) + 1):
            once, repeated, top = _lengthen(units, n, ids, keys, values, numbers)
            found[document, n, 0] = numbers[top] if top >= 0 else 1
            found[document, n, 1] = repeated
            found[document, n, 2] = once + repeated
    return found


@njit(cache=True, nogil=True)
def _cover_ngrams(words: I64, lengths: I64, starts: I64) -> I64:
    found = np.zeros((len(starts) - 1, LONGEST + 1, 2), dtype=np.int64)
    ids, keys, values, numbers = _work(starts)
    seen = np.empty(len(ids), dtype=np.bool_)
    for document in range(len(starts) - 1):
        first = starts[document]
        units = words[first : starts[document + 1]]
        for index in range(len(units)):
            ids[index] = units[index]
        for n in range(2, min(LONGEST, len(units)) + 1):
            _, repeated, top = _lengthen(units, n, ids, keys, values, numbers)
            at = 0
            while top >= 0 and ids[at] != top:
                at += 1
            length = n - 1  # the spaces between
            for index in range(at, at + n):
                length += lengths[first + index]
            found[document, n, 0] = length * (numbers[top] if top >= 0 else 1)
            if repeated == 0:
                continue
            seen[: len(units)] = False
            index = 0
            while index <= len(units) - n:
                if ids[index] >= 0 and seen[ids[index]]:
                    for inner in range(index, index + n):
                        found[document, n, 1] += lengths[first + inner]
                    index += n
                else:
                    if ids[index] >= 0:
                        seen[ids[index]] = True
                    index += 1
    return found
