"""MinHash signatures of character n-grams, and the true similarity of two texts.

Broder 1997; banding as in Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", 3.4.
Characters, because words would need a tokenizer and miss Japanese. A text is compared in the
form that :func:`fold` gives; one shorter than the n-gram is a single n-gram.
"""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from yoriai_corpus.text.batch import I64, U32, CodePoints, codes_of
from yoriai_corpus.text.folding import SPACE, fold_table

U64 = npt.NDArray[np.uint64]
NGRAM = 5
HASHES = 128
_BLOCK = 512  # n-grams whose hashes lie in the processor's cache while 128 minima are taken


def fold(codes: CodePoints) -> CodePoints:
    """Texts as they are compared: NFKC, case folded, runs of space as one, none at the ends."""
    return CodePoints(*_fold(codes.points, codes.starts, fold_table()))


@numba.njit(cache=True, nogil=True)
def _fold(points: U32, starts: I64, table: U32) -> tuple[U32, I64]:
    folded = np.empty(len(points), dtype=np.uint32)
    places = np.zeros(len(starts), dtype=np.int64)
    length = 0
    for text in range(len(starts) - 1):
        begin = length
        space = False
        for index in range(starts[text], starts[text + 1]):
            point = table[points[index]]
            if point == SPACE:
                space = True
                continue
            if space and length > begin:
                folded[length] = SPACE
                length += 1
            space = False
            folded[length] = point
            length += 1
        places[text + 1] = length
    return folded[:length], places


def permutations(seed: int) -> tuple[U32, U32]:
    """Multipliers (odd) and addends of :data:`HASHES` hash functions ``a*x + b mod 2^32``.

    Multiply-shift hashing (Dietzfelbinger et al. 1997) of n-grams that were mixed before.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    multipliers = random.integers(0, 2**31, HASHES, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return multipliers, random.integers(0, 2**32, HASHES, dtype=np.uint32)


def signatures(folded: CodePoints, seed: int) -> npt.NDArray[np.uint32]:
    """One row of :data:`HASHES` minima for each text."""
    return _signatures(folded.points, folded.starts, *permutations(seed))


@numba.njit(cache=True, nogil=True)
def _mix(value: np.uint64) -> np.uint64:
    """The finaliser of MurmurHash3 (Appleby): every bit of the n-gram reaches every bit."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@numba.njit(cache=True, nogil=True)
def ngram_hashes(points: U32, n: int) -> U64:
    """A 64-bit hash of each n-gram, in order; a text of fewer characters is one n-gram.

    A polynomial hash that rolls on by one character (Karp, Rabin 1987), then mixed.
    """
    n = min(n, len(points))
    hashes = np.empty(len(points) - n + 1 if n else 0, dtype=np.uint64)
    if n == 0:
        return hashes
    base = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, Knuth's multiplicative constant
    power = np.uint64(1)
    for _ in range(n - 1):
        power *= base
    rolled = np.uint64(0)
    for index in range(len(points)):
        if index >= n:
            rolled -= np.uint64(points[index - n]) * power
        rolled = rolled * base + np.uint64(points[index])
        if index >= n - 1:
            hashes[index - n + 1] = _mix(rolled)
    return hashes


@numba.njit(cache=True, nogil=True)
def _signatures(points: U32, starts: I64, multipliers: U32, addends: U32) -> U32:
    rows = np.full((len(starts) - 1, HASHES), np.uint32(0xFFFFFFFF), dtype=np.uint32)
    block = np.empty(_BLOCK, dtype=np.uint32)
    for text in range(len(starts) - 1):
        hashes = ngram_hashes(points[starts[text] : starts[text + 1]], NGRAM)
        row = rows[text]
        for begin in range(0, len(hashes), _BLOCK):
            size = min(_BLOCK, len(hashes) - begin)
            for index in range(size):
                block[index] = np.uint32(hashes[begin + index] >> np.uint64(32))
            for number in range(HASHES):
                a, b, least = multipliers[number], addends[number], row[number]
                for index in range(size):
                    least = min(least, np.uint32(a * block[index] + b))
                row[number] = least
    return rows


def rows_for(threshold: float) -> int:
    """Hashes in a band: as many as leave a pair at the threshold a chance of 1e-4 to be missed.

    4 from 0.71 upwards (32 bands), 2 from 0.37 (64 bands), else 1.
    """
    missed = {rows: (1 - threshold**rows) ** (HASHES // rows) for rows in (4, 2)}
    return next((rows for rows, share in missed.items() if share <= 1.01e-4), 1)


def least_bands(threshold: float) -> int:
    """How many bands a pair must share to be worth comparing.

    As many as leave a pair at the threshold a chance of 1e-4 to share fewer. Texts that are
    much less alike share one band often, four hardly ever: at 0.8 (four of 32 bands) a pair
    with a similarity of 0.3 is compared once in 8,000 times, instead of once in four.
    """
    rows = rows_for(threshold)
    bands, chance = HASHES // rows, threshold**rows
    fewer, least = (1 - chance) ** bands, 1
    while least < bands:
        fewer += math.comb(bands, least) * chance**least * (1 - chance) ** (bands - least)
        if fewer > 1.01e-4:
            break
        least += 1
    return least


@numba.njit(cache=True, nogil=True)
def band_keys(rows: U32, size: int) -> U64:
    """One 64-bit key for each band of ``size`` hashes: texts that share one are candidates."""
    bands = HASHES // size
    keys = np.empty((len(rows), bands), dtype=np.uint64)
    for text in range(len(rows)):
        for band in range(bands):
            key = np.uint64(band + 1)
            for index in range(band * size, (band + 1) * size):
                key = _mix(key * np.uint64(0x9E3779B97F4A7C15) + np.uint64(rows[text, index]))
            keys[text, band] = key
    return keys


def shingles(text: str) -> U64:
    """The distinct n-grams of a text as sorted hashes."""
    hashes = ngram_hashes(fold(codes_of([text])).points, NGRAM)
    hashes.sort()
    return _once(hashes)


@numba.njit(cache=True, nogil=True)
def _once(values: U64) -> U64:
    """Sorted values without repetition (``np.unique`` takes several times as long)."""
    found = np.empty_like(values)
    length = 0
    for index in range(len(values)):
        if index == 0 or values[index] != values[index - 1]:
            found[length] = values[index]
            length += 1
    return found[:length]


@numba.njit(cache=True, nogil=True)
def jaccard(a: U64, b: U64) -> float:
    """True similarity of two sorted sets; 1 for two empty ones."""
    i = j = common = 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            common += 1
            i += 1
            j += 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    total = len(a) + len(b) - common
    return common / total if total else 1.0
