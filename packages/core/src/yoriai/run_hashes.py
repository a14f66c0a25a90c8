"""Runs of characters found by hash in many texts at once, and compared character by character.

For packages that depend on numpy; nothing of core imports it.
"""

from __future__ import annotations

import numpy as np

from yoriai.folded_text import I64, U32, Codes

_BASE = 0x9E3779B1  # odd, 2^32 / golden ratio (Knuth's multiplicative constant)
_BLOCK = 1 << 16  # characters whose hashes lie in the processor's cache together
_MOST_BITS = 24  # of a hash that the first look-up takes


def run_hashes(points: U32, size: int) -> U32:
    """A 32-bit polynomial hash of each run of ``size`` code points (Karp and Rabin 1987).

    Runs are doubled, ``h(a + b) = h(a) * base^len(b) + h(b)``, so there is no loop over characters.
    """
    count = len(points) - size + 1
    if count <= 0:
        return np.zeros(0, np.uint32)
    block, length = points, 1  # hashes of runs of `length`
    whole: U32 | None = None
    done = 0
    rest = size
    while rest:
        if rest & 1:
            if whole is None:
                whole = block
            else:
                whole = whole[: len(points) - done - length + 1] * _power(length)
                whole += block[done : done + len(whole)]
            done += length
        rest >>= 1
        if rest:
            longer = block[:-length] * _power(length)
            longer += block[length:]
            block, length = longer, 2 * length
    assert whole is not None
    return whole[:count]


def _power(exponent: int) -> np.uint32:
    return np.uint32(pow(_BASE, exponent, 1 << 32))


def spread(starts: I64, counts: I64) -> tuple[I64, I64]:
    """The elements of ranges of ``counts`` from ``starts``: the range of each, and each itself."""
    owners = np.repeat(np.arange(len(counts)), counts)
    ends = np.cumsum(counts)
    return owners, np.arange(len(owners)) - np.repeat(ends - counts, counts) + starts[owners]


class RunTable:
    """Runs of one size, found by hash. ``places`` are where they begin in ``text``."""

    def __init__(self, text: U32, places: I64, size: int) -> None:
        self.text, self.size = text, size
        windows = text[places[:, None] + np.arange(size)]
        hashes = hash_rows(windows, size)
        self.order = np.argsort(hashes, kind="stable")
        self.values = hashes[self.order]
        bits = min(_MOST_BITS, max(12, (len(places) * 64).bit_length()))
        self.shift = np.uint32(32 - bits)
        self.seen = np.zeros(1 << bits, np.bool_)
        self.seen[self.values >> self.shift] = True
        self.places = places

    def __len__(self) -> int:
        return len(self.values)

    def find(self, codes: Codes) -> tuple[I64, I64, I64]:
        """(document, place in it, number of the run) of all that is the same, by comparison."""
        at, hashes = self._suspects(codes.points)
        documents = np.searchsorted(codes.starts, at, "right") - 1
        inside = at + self.size <= codes.starts[documents + 1]
        at, hashes, documents = at[inside], hashes[inside], documents[inside]
        first = np.searchsorted(self.values, hashes, "left")
        which, ranks = spread(first, np.searchsorted(self.values, hashes, "right") - first)
        runs = self.order[ranks]
        same = np.zeros(len(runs), np.bool_)
        steps = np.arange(self.size)
        for begin in range(0, len(runs), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            left = codes.points[at[which[part], None] + steps]
            same[part] = (left == self.text[self.places[runs[part], None] + steps]).all(axis=1)
        which, runs = which[same], runs[same]
        return documents[which], at[which] - codes.starts[documents[which]], runs

    def _suspects(self, points: U32) -> tuple[I64, U32]:
        """Places whose hash may be one of ours. Nearly all characters of a clean text end here."""
        found, values = [], []
        for begin in range(0, max(0, len(points) - self.size + 1), _BLOCK):
            hashes = run_hashes(points[begin : begin + _BLOCK + self.size - 1], self.size)
            near = np.flatnonzero(self.seen[hashes >> self.shift])
            found.append(near + begin)
            values.append(hashes[near])
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.uint32)
        return np.concatenate(found), np.concatenate(values)


def hash_rows(windows: U32, size: int) -> U32:
    """The hash of :func:`run_hashes` for each row of ``size`` code points."""
    value = np.zeros(len(windows), np.uint32)
    for column in range(size):
        value *= np.uint32(_BASE)
        value += windows[:, column]
    return value
