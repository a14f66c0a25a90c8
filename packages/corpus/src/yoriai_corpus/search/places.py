"""Where a query stands in one part: every place looked up, or only as many as are shown.

Up to :data:`yoriai_corpus.search.frequent.LEAST` places, or if the query joins several texts, all
are looked up, and stand in the order of the documents. Of more, how many there are and in how many
documents is known beforehand; they are looked up as they are needed, in an order that goes evenly
through all of them and is the same every time.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from yoriai_corpus.search import folded
from yoriai_corpus.search.part import FILTERS, NAME_FIELDS, IndexedTexts, IndexPart
from yoriai_corpus.search.query import Check, SearchQuery, unchecked

I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
AT_A_TIME = 2**15  # places looked up between two looks at the clock: a third of a second
STRIDE = 0.6180339887498949  # the golden ratio's: any number of steps is spread evenly
Ranges = list[tuple[int, int, int]]


@dataclass(frozen=True, slots=True)
class PlacesInPart:
    """What a query found in a part.

    ``times`` and ``documents`` count by group of documents. ``positions`` and ``lengths``: every
    place, ascending; None where they are not looked up yet, and then ``ranges`` has their rows
    and how many characters each spelling has.
    """

    part: IndexPart
    query: SearchQuery
    times: I64
    documents: I64
    allowed: Mask
    positions: I64 | None
    lengths: I64
    ranges: Ranges

    @property
    def occurrences(self) -> int:
        return int(self.times.sum())

    def hits(self, first: int, count: int, check: Check) -> Iterator[tuple[int, int]]:
        """``count`` places from the ``first`` on: position and length."""
        if self.positions is not None:
            stop = first + count
            pairs = (self.positions[first:stop].tolist(), self.lengths[first:stop].tolist())
            yield from zip(*pairs, strict=True)
            return
        total = sum(high - low for low, high, _ in self.ranges)
        step = _stride(total)
        if self.occurrences == total:  # nothing is filtered out: go there at once
            numbers = [(number * step) % total for number in range(first, first + count)]
            yield from self._at(np.array(numbers, dtype=np.int64))
            return
        passed = 0
        for begin in range(0, total, 256):
            check()
            numbers = [(n * step) % total for n in range(begin, min(total, begin + 256))]
            for place in self._at(np.array(numbers, dtype=np.int64)):
                passed += 1
                if passed > first + count:
                    return
                if passed > first:
                    yield place

    def sample(self, count: int, chance: random.Random, check: Check) -> list[tuple[int, int]]:
        """So many places, each as likely as any other."""
        total = self.occurrences
        count = min(count, total)
        if self.positions is not None:
            chosen = sorted(chance.sample(range(total), count))
            return [(int(self.positions[n]), int(self.lengths[n])) for n in chosen]
        rows = sum(high - low for low, high, _ in self.ranges)
        if total == rows:
            numbers = np.array(chance.sample(range(rows), count), dtype=np.int64)
            return sorted(self._at(numbers))
        found: list[tuple[int, int]] = []
        drawn = iter(_shuffled(rows, chance))
        while len(found) < count:
            check()
            numbers = np.array([n for n, _ in zip(drawn, range(256), strict=False)], dtype=np.int64)
            if not len(numbers):
                break
            found += self._at(numbers)
        return sorted(found[:count])

    def _at(self, numbers: I64) -> list[tuple[int, int]]:
        """Places of rows, numbered through all ranges; those filtered out are passed over."""
        lows, highs, spelled = np.array(self.ranges, dtype=np.int64).T
        sizes = highs - lows
        ends = np.cumsum(sizes)
        which = np.searchsorted(ends, numbers, side="right")
        rows = lows[which] + numbers - (ends - sizes)[which]
        field = field_of(self.part, self.query)
        positions = field.index.locate(rows)
        held = documents_of(field, positions, self.query)
        keep = self.allowed[field.groups[held]]
        lengths = spelled[which][keep].tolist()
        return list(zip(positions[keep].tolist(), lengths, strict=True))


def find(part: IndexPart, query: SearchQuery, check: Check = unchecked) -> PlacesInPart:
    """What a query finds in a part."""
    field = field_of(part, query)
    allowed = _allowed(part, query)
    if query.is_plain:
        ranges = folded.ranges(field.index, query.text, exact=query.exact)
        table = field.folded if len(ranges) > 1 else field.exact
        alike = len({length for _, _, length in ranges}) == 1  # else nothing is counted
        known = table.get([(low, high) for low, high, _ in ranges]) if alike else None
        if known:
            groups, times, documents = (row.astype(np.int64) for row in known)
            by_group = np.zeros((2, len(allowed)), dtype=np.int64)
            by_group[0, groups], by_group[1, groups] = times, documents
            by_group[:, ~allowed] = 0
            empty = np.zeros(0, dtype=np.int64)
            positions = None if by_group[0].any() else empty
            return PlacesInPart(
                part, query, by_group[0], by_group[1], allowed, positions, empty, ranges
            )
    found = [locate(field, text, exact=query.exact, check=check) for text in query.texts]
    positions, lengths = (np.concatenate(rows) for rows in zip(*found, strict=True))
    order = np.lexsort((lengths, positions))
    positions, lengths = positions[order], lengths[order]
    if len(found) > 1:  # two spellings of one text stand at the same places
        new = np.ones(len(positions), dtype=np.bool_)
        new[1:] = (positions[1:] != positions[:-1]) | (lengths[1:] != lengths[:-1])
        positions, lengths = positions[new], lengths[new]
    held = documents_of(field, positions, query)
    keep = (allowed[field.groups] & _in_time(part, query))[held] if len(held) else held > 0
    for text in query.also:
        keep &= np.isin(held, _holders(field, text, query, check))
    for text in query.without:
        keep &= ~np.isin(held, _holders(field, text, query, check))
    positions, lengths, held = positions[keep], lengths[keep], held[keep]
    names, counts = np.unique(held, return_counts=True)
    held_groups = field.groups[names]
    times = np.bincount(held_groups, counts, len(allowed)).astype(np.int64)
    documents = np.bincount(held_groups, minlength=len(allowed)).astype(np.int64)
    return PlacesInPart(part, query, times, documents, allowed, positions, lengths, [])


def field_of(part: IndexPart, query: SearchQuery) -> IndexedTexts:
    return part.names if query.names else part.texts


def documents_of(field: IndexedTexts, positions: I64, query: SearchQuery) -> I64:
    held = field.documents(positions)
    return held // NAME_FIELDS if query.names else held


def locate(
    field: IndexedTexts, text: str, *, exact: bool, check: Check = unchecked
) -> tuple[I64, I64]:
    """Every place of a text, and how many characters it has there."""
    found = [np.zeros(0, dtype=np.int64)]
    lengths = [np.zeros(0, dtype=np.int64)]
    for low, high, length in folded.ranges(field.index, text, exact=exact):
        lengths.append(np.full(high - low, length, dtype=np.int64))
        for begin in range(low, high, AT_A_TIME):
            check()
            rows = np.arange(begin, min(high, begin + AT_A_TIME), dtype=np.int64)
            found.append(field.index.locate(rows))
    return np.concatenate(found), np.concatenate(lengths)


def _holders(field: IndexedTexts, text: str, query: SearchQuery, check: Check) -> I64:
    positions, _ = locate(field, text, exact=query.exact, check=check)
    return documents_of(field, positions, query)


def _allowed(part: IndexPart, query: SearchQuery) -> Mask:
    """Which groups of documents pass the filters."""
    allowed = np.ones(max(1, len(part.groups)), dtype=np.bool_)
    for name in FILTERS:
        value = getattr(query, name)
        if value:
            passes = [group[name] == value for group in part.groups]
            allowed &= np.array(passes or [False], dtype=np.bool_)
    return allowed


def _in_time(part: IndexPart, query: SearchQuery) -> Mask:
    if not (query.since or query.until) or not part.table.num_rows:
        return np.ones(max(1, part.table.num_rows), dtype=np.bool_)
    column: pa.DictionaryArray = part.table["date"].combine_chunks()
    size = len(query.until)
    known = np.array(
        [bool(date) and date >= query.since and (not size or date[:size] <= query.until)
         for date in column.dictionary.to_pylist()]
    )  # fmt: skip
    found: Mask = known[column.indices.to_numpy()]
    return found


def _stride(total: int) -> int:
    """A step that has no divisor in common with the total, so that it comes by every number."""
    step = max(1, int(total * STRIDE))
    while math.gcd(step, total) > 1:
        step += 1
    return step


def _shuffled(total: int, chance: random.Random) -> Iterator[int]:
    """All numbers below the total in a random order, drawn one by one (Fisher and Yates)."""
    moved: dict[int, int] = {}
    for left in range(total, 0, -1):
        at = chance.randrange(left)
        yield moved.get(at, at)
        moved[at] = moved.pop(left - 1, left - 1)
