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
    found: list[_Stretch] = []
    begin = 0
    for end in range(1, len(order) + 1):
        if end < len(order):
            now, before, head = order[end], order[end - 1], order[begin]
            step = diagonals[now] - diagonals[before]
            width = diagonals[now] - diagonals[head]
            if documents[now] == documents[before] and step <= 2 * BAND and width <= WIDEST:
                continue
        group = order[begin:end]
        begin = end
        if len(group) < 2:  # an edit pays only between two runs, each with a seed of its own
            continue
        found.append(_Stretch(
            part, int(documents[group[0]]), int(at[group].min()), int(at[group].max()) + SEED,
            int(diagonals[group[0]]) - BAND, int(diagonals[group[-1]]) + BAND, len(group),
        ))  # fmt: skip
    return found, frequent


def _align_all(stretch: _Stretch, text: str, points: U32) -> Iterator[NearSpan]:
    """The best alignment of a stretch, then the best before and after it."""
    texts = stretch.part.texts
    first = max(0, stretch.first - REACH)
    last = min(len(points), stretch.last + REACH)
    begin = max(int(texts.starts[stretch.document]), first + stretch.low)
    end = min(int(texts.starts[stretch.document + 1]) - 1, last + stretch.high)
    held = texts.index.extract(begin, end)
    there = points_of(held)
    waiting = [(first, last)]
    while waiting:
        low, high = waiting.pop()
        if high - low < SEED:
            continue
        score, row, row_end, place, place_end, edits = _align(
            points[low:high], there, stretch.low + low - begin, stretch.high + low - begin, SEED
        )
        if score < SEED:
            continue
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

    They are none where every one of them goes on as the text does: the next seed finds the same.
    """
    count = max(0, len(symbols) - length + 1)
    lows, highs = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for place in range(count):
        low, high = _range(tree, first, symbols, place, place + length)
        if high > low and place + 1 < count:
            further, end = _range(tree, first, symbols, place, place + length + 1)
            if end - further == high - low:
                continue
        lows[place], highs[place] = low, high
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
