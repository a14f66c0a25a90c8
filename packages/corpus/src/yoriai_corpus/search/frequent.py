"""Counts made beforehand of what occurs so often that looking up every place takes too long.

An FM-index says at once how often a pattern occurs, but of which documents only by looking up
each place. The patterns that occur at least :data:`LEAST` times in a part are few (as many as the
nodes of a suffix tree with so many leaves), so their documents are counted when the part is made:
for each group of documents that agree in all that can be filtered, how often and in how many. The
same for patterns in any width and case, where these join several ranges of rows.

Short patterns come first, and after :data:`MOST_PASSES` passes over the rows no more are counted
(a text of one character repeated would have as many as it is long): those are looked up.

A pattern is known by its first row and its number of rows: of two patterns that share a row one
begins with the other, and then the rows of the longer are among those of the shorter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from yoriai_corpus.search import folded
from yoriai_corpus.search.fm_index import FmIndex, extend
from yoriai_corpus.search.wavelet import I64, U32, U64, Wavelet, rank_ones

LEAST = 512
SCANNED = 32  # rows that are sooner looked through than found in the tree
MOST_PASSES = 40  # rows seen in all, as a multiple of the rows: what repeats for ever ends here
TYPES: dict[str, type] = {
    "keys": np.uint64, "ends": np.uint32, "groups": np.uint32,
    "occurrences": np.uint32, "documents": np.uint32,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FrequentCounts:
    """Of each frequent pattern (``keys``, ascending) the rows of counts that end at ``ends``."""

    keys: U64
    ends: U32
    groups: U32
    occurrences: U32
    documents: U32

    def get(self, ranges: Sequence[tuple[int, int]]) -> tuple[U32, U32, U32] | None:
        """Groups, occurrences and documents of a pattern's rows; None if it is not known."""
        key = np.uint64(_key(min(low for low, _ in ranges), sum(h - low for low, h in ranges)))
        at = int(np.searchsorted(self.keys, key))
        if at == len(self.keys) or self.keys[at] != key:
            return None
        rows = slice(int(self.ends[at - 1]) if at else 0, int(self.ends[at]))
        return self.groups[rows], self.occurrences[rows], self.documents[rows]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {name: getattr(self, name) for name in TYPES}

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]], groups: int) -> FrequentCounts:
        """Of the arrays of a file. Raises ValueError where they cannot belong together."""
        found = cls(**{name: arrays[name] for name in TYPES})
        rows = len(found.groups)
        if not (
            len(found.keys) == len(found.ends)
            and rows == len(found.occurrences) == len(found.documents)
            and (int(found.ends[-1]) if len(found.ends) else 0) == rows
            and not np.any(found.ends[1:] < found.ends[:-1])
            and not np.any(found.keys[1:] <= found.keys[:-1])
            and not np.any(found.groups >= groups)
        ):
            raise ValueError("its counts do not fit together")
        return found


def count(
    index: FmIndex, documents: U32, before: U32, group_of: U32, *, fold: bool
) -> FrequentCounts:
    """The counts of an index, of which each row's document and the symbol before it are known.

    ``group_of`` names the group of each document. With ``fold`` patterns in any width and case,
    only those that join several ranges.
    """
    symbols = len(index.alphabet) + 1
    if fold:
        known = folded.forms(index)
        order = np.argsort(known, kind="stable")
        classes = np.empty(symbols, dtype=np.int64)
        _, classes[1:] = np.unique(known, return_inverse=True)
        members = order + 1
    else:
        classes = np.arange(symbols, dtype=np.int64) - 1
        members = np.arange(1, symbols, dtype=np.int64)
    end = int(classes[-1])  # the mark of a document's end is the last code point
    starts = np.searchsorted(classes[members], np.arange(end + 2)).astype(np.int64)
    classes[0] = end  # as if the text were a document's end
    found = _count(
        index.tree, index.first, classes, members.astype(np.int64), starts, end,
        documents, before, group_of, int(group_of.max(initial=0)) + 1, LEAST,
        int(np.diff(starts).max(initial=1)), fold,
    )  # fmt: skip
    keys, ends, *rows = found
    by_key = np.argsort(keys, kind="stable")
    begins = np.concatenate([np.zeros(1, np.int64), ends[:-1].astype(np.int64)])
    lengths = ends.astype(np.int64) - begins
    sorted_lengths = lengths[by_key]
    sorted_ends = np.cumsum(sorted_lengths)
    take = np.repeat(begins[by_key] - (sorted_ends - sorted_lengths), sorted_lengths)
    take += np.arange(len(take))
    return FrequentCounts(
        keys[by_key], sorted_ends.astype(np.uint32), *(row[take].astype(np.uint32) for row in rows)
    )


@numba.njit(cache=True, nogil=True)
def _key(low: int, rows: int) -> int:
    return (low << 32) | rows


@numba.njit(cache=True, nogil=True)
def _more(array: I64) -> I64:
    grown = np.empty(2 * len(array), dtype=np.int64)
    grown[: len(array)] = array
    return grown


@numba.njit(cache=True, nogil=True)
def _holds(before: U32, low: int, high: int, symbol: int) -> bool:
    found = False
    for row in range(low, high):
        found |= before[row] == symbol
    return found


@numba.njit(cache=True, nogil=True)
def _before(
    tree: Wavelet, classes: I64, low: int, high: int, few: int, times: I64, touched: I64, stack: I64
) -> int:
    """Count in ``times`` the classes of symbols before rows, of symbols that are there so often.

    The classes go into ``touched``; how many is returned. Only branches of the tree that so many
    rows go through are looked into.
    """
    touches, held = 0, 3
    stack[0], stack[1], stack[2] = 0, low, high
    while held:
        held -= 3
        node, low, high = stack[held], stack[held + 1], stack[held + 2]
        start, ones = tree.starts[node], tree.ones[node]
        one_low = rank_ones(tree.lines, start + low) - ones
        one_high = rank_ones(tree.lines, start + high) - ones
        for turn in range(2):
            if turn:
                low, high = one_low, one_high
            else:
                low, high = low - one_low, high - one_high
            if high - low < few:
                continue
            child = tree.children[2 * node + turn]
            if child >= 0:
                stack[held], stack[held + 1], stack[held + 2] = child, low, high
                held += 3
                continue
            kind = classes[-1 - child]
            touched[touches] = kind
            touches += times[kind] == 0
            times[kind] += high - low
    return touches


@numba.njit(cache=True, nogil=True)
def _count(
    tree: Wavelet, first: I64, classes: I64, members: I64, starts: I64, end: int,
    documents: U32, before: U32, group_of: U32, groups: int, least: int, largest: int, fold: bool,
) -> tuple[U64, I64, I64, I64, I64]:  # fmt: skip
    """Go from each frequent pattern to those one character longer at the front.

    What stands before the rows of one range is seen in the tree, before those of several row by
    row. Ranges of patterns lie one after another: lows and highs, and of each pattern where its
    ranges end. ``largest``: characters in the largest class.
    """
    lows, highs = np.empty(1024, dtype=np.int64), np.empty(1024, dtype=np.int64)
    stops = np.zeros(1024, dtype=np.int64)
    known = filled = 0
    left = MOST_PASSES * first[-1]
    keys = np.empty(1024, dtype=np.int64)
    ends = np.empty(1024, dtype=np.int64)
    out_group = np.empty(1024, dtype=np.int64)
    out_times = np.empty(1024, dtype=np.int64)
    out_documents = np.empty(1024, dtype=np.int64)
    nodes = rows = 0
    seen = {np.int64(-1)}
    of_document = np.zeros(len(group_of), dtype=np.int64)
    held = np.empty(len(group_of) + 1, dtype=np.int64)
    group_times = np.zeros(groups, dtype=np.int64)
    group_documents = np.zeros(groups, dtype=np.int64)
    touched_groups = np.empty(groups + 1, dtype=np.int64)
    times = np.zeros(end + 1, dtype=np.int64)  # of each class, the last one of the ends
    touched = np.empty(end + 2, dtype=np.int64)
    here_low, here_high = np.empty(1, dtype=np.int64), np.empty(1, dtype=np.int64)
    stack = np.empty(192, dtype=np.int64)  # a way has at most 62 turns (:mod:`.wavelet`)
    few = (least + largest - 1) // largest  # one of a class that has ``least`` has so many
    visit = -1
    while True:
        count = touches = 0
        enough = least
        if visit < 0:  # the empty pattern: every character
            here_low[0], here_high[0] = 0, first[-1]
            count = 1
            for kind in range(end):
                total = 0
                for at in range(starts[kind], starts[kind + 1]):
                    total += first[members[at] + 1] - first[members[at]]
                times[kind] = total
                touched[touches] = kind
                touches += 1
        elif visit == known or left <= 0:
            break
        else:
            begin = stops[visit - 1] if visit else 0
            here_low = lows[begin : stops[visit]].copy()
            here_high = highs[begin : stops[visit]].copy()
            count = len(here_low)
            lowest, total = here_low.min(), (here_high - here_low).sum()
            left -= total
            if count == 1:
                enough = few
                touches = _before(
                    tree, classes, here_low[0], here_high[0], few, times, touched, stack
                )
            else:
                for index in range(count):
                    for row in range(here_low[index], here_high[index]):
                        kind = classes[before[row]]
                        touched[touches] = kind
                        touches += times[kind] == 0
                        times[kind] += 1
            if not fold or count > 1:
                in_documents = 0
                for index in range(count):
                    for row in range(here_low[index], here_high[index]):
                        document = documents[row]
                        held[in_documents] = document
                        in_documents += of_document[document] == 0
                        of_document[document] += 1
                in_groups = 0
                for document in held[:in_documents]:
                    group = group_of[document]
                    touched_groups[in_groups] = group
                    in_groups += group_documents[group] == 0
                    group_documents[group] += 1
                    group_times[group] += of_document[document]
                    of_document[document] = 0
                if nodes == len(keys):
                    keys, ends = _more(keys), _more(ends)
                keys[nodes] = _key(lowest, total)
                for group in np.sort(touched_groups[:in_groups]):
                    if rows == len(out_group):
                        out_group, out_times = _more(out_group), _more(out_times)
                        out_documents = _more(out_documents)
                    out_group[rows] = group
                    out_times[rows] = group_times[group]
                    out_documents[rows] = group_documents[group]
                    rows += 1
                    group_times[group] = 0
                    group_documents[group] = 0
                ends[nodes] = rows
                nodes += 1
        visit += 1
        for kind in np.sort(touched[:touches]):
            if kind < end and times[kind] >= enough:
                begin, lowest, total = filled, first[-1], 0
                for index in range(count):
                    few_rows = here_high[index] - here_low[index] <= SCANNED
                    for member in range(starts[kind], starts[kind + 1]):
                        if few_rows and not _holds(
                            before, here_low[index], here_high[index], members[member]
                        ):
                            continue
                        low, high = extend(
                            tree, first, members[member], here_low[index], here_high[index]
                        )
                        if high > low:
                            if filled == len(lows):
                                lows, highs = _more(lows), _more(highs)
                            lows[filled], highs[filled] = low, high
                            filled += 1
                            lowest = min(lowest, low)
                            total += high - low
                key = np.int64(_key(lowest, total))
                if total < least or key in seen:
                    filled = begin
                else:
                    seen.add(key)
                    if known == len(stops):
                        stops = _more(stops)
                    stops[known] = filled
                    known += 1
            times[kind] = 0
    return (
        keys[:nodes].astype(np.uint64), ends[:nodes], out_group[:rows],
        out_times[:rows], out_documents[:rows],
    )  # fmt: skip
