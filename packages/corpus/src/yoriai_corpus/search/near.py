"""Which stretches of documents are nearly what a text says: copies with a few characters changed.

A near span is a local alignment (Smith and Waterman 1981) of the text with a document: the
characters that agree count one each, and every edit (a character replaced, left out or put in)
costs :data:`SEED`. So an edit is bridged only where more than :data:`SEED` characters agree on
both sides of it. The price makes the search complete: pieces of fewer than :data:`SEED` equal
characters never pay for the edits between them, so whatever scores :data:`SEED` or more holds a
seed, a run of :data:`SEED` characters that stand in the document word for word, and seeds are
found in the index (as by BLAST, Altschul et al. 1990). Alignments are looked for within
:data:`BAND` diagonals of their seeds (Ukkonen 1985). Of one document the best is taken, then the
best before and after it in the text.

What is left out is counted: seeds that occur more than :data:`MOST_PLACES` times, and
stretches of documents beyond :data:`MOST_STRETCHES`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numba
import numpy as np

from yoriai import UsageError
from yoriai_corpus.search.fm_index import extend, points_of
from yoriai_corpus.search.part import IndexPart
from yoriai_corpus.search.query import Check, unchecked
from yoriai_corpus.search.search import SearchIndex
from yoriai_corpus.search.trace import SpanPlace, place_in
from yoriai_corpus.search.wavelet import I64, U32, Wavelet

SEED = 8  # characters, and the price of an edit in characters
BAND = 32  # characters that a stretch may be longer or shorter than the text, from a seed on
WIDEST = 512  # diagonals of one stretch
REACH = SEED * SEED  # no alignment goes on so far without a seed: each edit there costs one or more
MOST_CHARACTERS = 20_000
MOST_PLACES = 64
MOST_STRETCHES = 500


@dataclass(frozen=True, slots=True)
class NearSpan:
    """Characters ``begin`` to ``end`` of the text, and what a document has in their place.

    ``edits`` are those of the alignment; ``score`` is the characters that agree less
    :data:`SEED` for each edit.
    """

    begin: int
    end: int
    text: str
    stands: str
    edits: int
    score: int
    place: SpanPlace

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class NearSpans:
    """Near spans, the best first, and how much was not looked at."""

    spans: Sequence[NearSpan]
    frequent_seeds: int
    stretches_left_out: int


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Where a document may agree: rows of the text, diagonals (place less row), and its seeds."""

    part: IndexPart
    document: int
    first: int
    last: int
    low: int
    high: int
    seeds: int


def near_spans(index: SearchIndex, text: str, *, check: Check = unchecked) -> NearSpans:
    """Every near span with an edit or more; what stands word for word is :func:`.trace`'s.

    Raises :class:`UsageError` for a text that is too long.
    """
    if len(text) > MOST_CHARACTERS:
        raise UsageError(
            f"{len(text):,} characters to look for what is near",
            hint=f"at most {MOST_CHARACTERS:,}",
        )
    points = points_of(text)
    frequent, stretches = 0, list[_Stretch]()
    for part in index.parts:
        check()
        here, passed = _stretches(part, points, check)
        frequent += passed
        stretches += here
    stretches.sort(key=lambda s: -s.seeds)
    found = {}
    for stretch in stretches[:MOST_STRETCHES]:
        check()
        for span in _align_all(stretch, text, points):
            found[span.begin, span.end, span.place] = span
    spans = sorted(found.values(), key=lambda s: (-s.score, s.begin, s.end, s.place.name))
    return NearSpans(spans, frequent, max(0, len(stretches) - MOST_STRETCHES))


def _stretches(part: IndexPart, points: U32, check: Check) -> tuple[list[_Stretch], int]:
    """Stretches of a part's documents that hold seeds, and how many seeds are too frequent."""
    index = part.texts.index
    lows, highs = _seeds(index.tree, index.first, index.symbols(points), SEED)
    frequent = int(np.count_nonzero(highs - lows > MOST_PLACES))
    rows = np.flatnonzero((highs > lows) & (highs - lows <= MOST_PLACES))
    if not len(rows):
        return [], frequent
    counts = highs[rows] - lows[rows]
    at = np.repeat(rows, counts)
    within = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
    check()
    positions = index.locate(lows[at] + within)
    documents = part.texts.documents(positions)
    diagonals = positions - at
    order = np.lexsort((diagonals, documents))
    at, documents, diagonals = at[order], documents[order], diagonals[order]
    apart = (np.diff(documents) != 0) | (np.diff(diagonals) > 2 * BAND)
    cuts = [0, *(np.flatnonzero(apart) + 1).tolist(), len(order)]
    before = np.concatenate(([0], np.cumsum(highs - lows > MOST_PLACES)))
    found: list[_Stretch] = []
    for begin, end in itertools.pairwise(cuts):
        for head, last in _narrow(diagonals, begin, end):
            from_row, to_row = int(at[head:last].min()), int(at[head:last].max()) + SEED
            reach = (max(0, from_row - REACH), min(len(points), to_row + REACH))
            if before[min(reach[0], len(before) - 1)] != before[min(reach[1], len(before) - 1)]:
                from_row, to_row = reach  # seeds that are too frequent may belong to it
            elif last - head < 4 or (
                diagonals[head] == diagonals[last - 1] and _is_one_run(at[head:last])
            ):  # an edit pays only between two runs of more than a seed, which have two seeds each
                continue
            found.append(_Stretch(
                part, int(documents[head]), from_row, to_row,
                int(diagonals[head]) - BAND, int(diagonals[last - 1]) + BAND, last - head,
            ))  # fmt: skip
    return found, frequent


def _is_one_run(places: I64) -> bool:
    """Whether seeds on one diagonal leave no character between them."""
    return int(np.diff(np.sort(places)).max()) <= SEED


def _narrow(diagonals: I64, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """A group of seeds in pieces of at most :data:`WIDEST` diagonals, of two seeds or more."""
    while end - begin > 1:
        cut = begin + int(np.searchsorted(diagonals[begin:end], diagonals[begin] + WIDEST, "right"))
        if cut - begin > 1:
            yield begin, cut
        begin = cut


def _align_all(stretch: _Stretch, text: str, points: U32) -> Iterator[NearSpan]:
    """The best alignment of a stretch, then the best before and after it."""
    texts = stretch.part.texts
    first, last = stretch.first, stretch.last
    begin = max(int(texts.starts[stretch.document]), first + stretch.low)
    end = min(int(texts.starts[stretch.document + 1]) - 1, last + stretch.high)
    held = texts.index.extract(begin, end)
    there = points_of(held)
    waiting = [(first, last)]
    while waiting:
        low, high = waiting.pop()
        if high - low < SEED:
            continue
        near, far = stretch.low + low - begin, stretch.high + low - begin
        piece = points[low:high]
        score, row_end, place_end = _best(piece, there, near, far, SEED)
        if score < SEED:
            continue
        row, place, edits = row_end - score, place_end - score, 0
        if row < 0 or place < 0 or not np.array_equal(piece[row:row_end], there[place:place_end]):
            aligned = _align(piece[:row_end], there, near, far, SEED)
            score, row, row_end, place, place_end, edits = aligned
        row, row_end = row + low, row_end + low
        waiting += [(low, row), (row_end, high)]
        if edits:
            yield NearSpan(
                row, row_end, text[row:row_end], held[place:place_end], edits, score,
                place_in(stretch.part, stretch.document, begin + place),
            )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _seeds(tree: Wavelet, first: I64, symbols: U32, length: int) -> tuple[I64, I64]:
    """For each place of the text the rows that begin with the seed there.

    They are none inside of runs: where every row goes on as the text does to both sides. Each run
    keeps its first seed and its last.
    """
    count = max(0, len(symbols) - length + 1)
    lows, highs = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    longer = np.zeros(count + 1, dtype=np.int64)  # rows of the seed with the character before it
    for place in range(count):
        lows[place], highs[place] = _range(tree, first, symbols, place, place + length)
        if place and highs[place] > lows[place]:
            low, high = extend(tree, first, symbols[place - 1], lows[place], highs[place])
            longer[place] = high - low
    for place in range(count):
        rows = highs[place] - lows[place]
        if rows and longer[place] == rows == longer[place + 1]:
            lows[place] = highs[place] = 0
    return lows, highs


@numba.njit(cache=True, nogil=True)
def _range(tree: Wavelet, first: I64, symbols: U32, begin: int, end: int) -> tuple[int, int]:
    low: Any = np.int64(0)
    high: Any = first[-1]
    for place in range(end - 1, begin - 1, -1):
        low, high = extend(tree, first, symbols[place], low, high)
        if high <= low:
            return 0, 0
    return low, high


@numba.njit(cache=True, nogil=True)
def _best(text: U32, there: U32, low: int, high: int, price: int) -> tuple[int, int, int]:
    """Score of what :func:`_align` finds, and the row and the place where it ends.

    Most alignments are of one run of equal characters, or too short: their score is enough to
    say so. A row is computed from the one before in one go, by vector instructions; only where a
    character there is passed over, from left to right.
    """
    width = high - low + 1
    before, here = np.zeros(width + 2, dtype=np.int32), np.zeros(width + 2, dtype=np.int32)
    best: Any = np.int32(0)
    best_row = best_place = 0
    for row in range(len(text)):
        first, last = max(1, 1 - row - low), min(width, len(there) - row - low)
        if last < 1:
            break
        if last < first:
            continue
        most = _row(
            before[first : last + 2], here[first : last + 1],
            there[row + low + first - 1 : row + low + last], text[row], np.int32(price),
        )  # fmt: skip
        here[first - 1] = here[last + 1] = 0
        if most > price:
            for cell in range(first + 1, last + 1):
                here[cell] = max(here[cell], here[cell - 1] - price)
        if most > best:
            cell = first
            while here[cell] != most:
                cell += 1
            best, best_row, best_place = most, row + 1, row + low + cell
        before, here = here, before
    return best, best_row, best_place


@numba.njit(cache=True, nogil=True)
def _row(before: Any, here: Any, there: U32, character: Any, price: Any) -> Any:
    most: Any = np.int32(0)
    for cell in range(len(here)):
        step = np.int32(1) if there[cell] == character else -price
        value = max(np.int32(0), np.int32(before[cell] + step), np.int32(before[cell + 1] - price))
        here[cell] = value
        most = max(most, value)
    return most


@numba.njit(cache=True, nogil=True)
def _align(
    text: U32, there: U32, low: int, high: int, price: int
) -> tuple[int, int, int, int, int, int]:
    """The best local alignment on diagonals (place less row) ``low`` to ``high``, inclusive.

    Score, rows from and to, places from and to, edits. Of equal ones that which ends first in the
    text, then in the document. Each cell carries where its alignment began: no way back is kept.
    """
    width = high - low + 1
    score = np.zeros(width + 2, dtype=np.int64)  # one cell of nothing on each side
    row_of = np.zeros(width + 2, dtype=np.int64)
    place_of = np.zeros(width + 2, dtype=np.int64)
    edits = np.zeros(width + 2, dtype=np.int64)
    best = (0, 0, 0, 0, 0, 0)
    for row in range(len(text)):
        for cell in range(1, width + 1):
            place = row + low + cell - 1
            if place < 0 or place >= len(there):
                score[cell] = 0
                continue
            same = text[row] == there[place]
            # On the diagonal the cell still holds the row before; 0 there begins a new alignment.
            value = score[cell] + 1 if same else score[cell] - price
            begin_row, begin_place, cost = row_of[cell], place_of[cell], edits[cell]
            if score[cell] == 0:
                begin_row, begin_place, cost = row, place, 0
            cost += 0 if same else 1
            above = score[cell + 1] - price  # a character of the text that is not there
            if above > value:
                value, cost = above, edits[cell + 1] + 1
                begin_row, begin_place = row_of[cell + 1], place_of[cell + 1]
            before = score[cell - 1] - price  # a character there that the text has not
            if before > value:
                value, cost = before, edits[cell - 1] + 1
                begin_row, begin_place = row_of[cell - 1], place_of[cell - 1]
            if value <= 0:
                score[cell] = 0
                continue
            score[cell], edits[cell] = value, cost
            row_of[cell], place_of[cell] = begin_row, begin_place
            if value > best[0]:
                best = (value, begin_row, row + 1, begin_place, place + 1, cost)
    return best
