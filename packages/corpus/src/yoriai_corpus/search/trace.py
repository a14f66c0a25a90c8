"""Which pieces of a text stand in the corpus word for word, and in which documents.

After OLMoTrace (Liu et al. 2025): the maximal spans, those that occur and would not if they were
one character longer at either end, with exact counts. How rare a span is, is said as the bits
that its characters cost at their frequencies in the whole index: a long run of common characters
may be rarer than a short name.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numba
import numpy as np

from yoriai import UsageError
from yoriai_corpus.search import places as finding
from yoriai_corpus.search.fm_index import NO_SYMBOL, extend, points_of
from yoriai_corpus.search.part import IndexPart
from yoriai_corpus.search.query import Check, SearchQuery, unchecked
from yoriai_corpus.search.search import SearchIndex
from yoriai_corpus.search.wavelet import I64, U32, Wavelet

MOST_CHARACTERS = 100_000
SHORTEST = 8  # characters; shorter spans of Japanese occur by chance in a few megabytes


@dataclass(frozen=True, slots=True)
class SpanPlace:
    """One document that holds a span, and at which of its characters."""

    source: str
    id: str
    state: str
    licence: str
    url: str
    corpus: str
    offset: int

    @property
    def name(self) -> str:
        return f"{self.source}/{self.id}"


@dataclass(frozen=True, slots=True)
class TracedSpan:
    """Characters ``begin`` to ``end`` of the text: how often they occur, and some of the places.

    ``documents`` hold it, and ``licences`` counts them by licence (empty: unstated).
    """

    begin: int
    end: int
    text: str
    occurrences: int
    documents: int
    licences: dict[str, int]
    bits: float
    places: Sequence[SpanPlace]

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def trace(
    index: SearchIndex,
    text: str,
    *,
    shortest: int = SHORTEST,
    places: int = 10,
    check: Check = unchecked,
) -> list[TracedSpan]:
    """The maximal spans of at least ``shortest`` characters, in order, each with some places.

    ``check`` is called now and then, and may raise to give up. Raises :class:`UsageError` for a
    text that is too long or no text.
    """
    if len(text) > MOST_CHARACTERS:
        raise UsageError(f"{len(text):,} characters to trace", hint=f"at most {MOST_CHARACTERS:,}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError("what to trace is no UTF-8", hint="give it as text") from error
    wanted = _maximal(index, text, shortest, check)
    costs = _costs(index, text) if wanted else []
    found = []
    for begin, end in wanted:
        check()
        piece = text[begin:end]
        bits = math.fsum(costs[begin:end])
        where = list(_where(index, piece, places))
        times, documents, licences = _counts(index, piece, check)
        found.append(TracedSpan(begin, end, piece, times, documents, licences, bits, where))
    return found


def _maximal(index: SearchIndex, text: str, shortest: int, check: Check) -> list[tuple[int, int]]:
    """The maximal spans of all parts: one that lies in a longer one of another part is none."""
    points = points_of(text)
    known = np.zeros(len(points), dtype=np.int64)
    spans: list[tuple[int, int]] = []
    for part in index.parts:
        check()
        texts = part.texts.index
        found = _spans(texts.tree, texts.first, texts.symbols(points), max(1, shortest), known)
        np.maximum.at(known, found[:, 0], found[:, 1])
        np.maximum.accumulate(known, out=known)
        spans += map(tuple, found.tolist())
    return maximal(spans)


def maximal(spans: Any) -> list[tuple[int, int]]:
    """Those that lie in no other, in order."""
    found: list[tuple[int, int]] = []
    for begin, end in sorted(set(spans), key=lambda span: (span[0], -span[1])):
        if not found or end > found[-1][1]:
            found.append((begin, end))
    return found


def covered(spans: Sequence[TracedSpan]) -> int:
    """Characters of the text that lie in any of the spans."""
    total = last = 0
    for span in spans:
        total += max(0, span.end - max(span.begin, last))
        last = max(last, span.end)
    return total


def _costs(index: SearchIndex, text: str) -> list[float]:
    """Bits of each character at its frequency in the index; one that is not there costs none."""
    points, total = points_of(text), sum(part.texts.index.length for part in index.parts)
    counts = np.zeros(len(points), dtype=np.int64)
    for part in index.parts:
        symbols = part.texts.index.symbols(points)
        known = symbols != NO_SYMBOL
        counts[known] += np.diff(part.texts.index.first)[symbols[known]]
    return [math.log2(total / count) if count else 0.0 for count in counts.tolist()]


def _counts(index: SearchIndex, text: str, check: Check) -> tuple[int, int, dict[str, int]]:
    """How often a text occurs, in how many documents, and in how many of each licence."""
    times, licences = 0, dict[str, int]()
    for part in index.parts:
        here = finding.find(part, SearchQuery(text=text, exact=True), check)
        times += here.occurrences
        for group in np.flatnonzero(here.documents).tolist():
            licence = part.groups[group]["licence"]
            licences[licence] = licences.get(licence, 0) + int(here.documents[group])
    return times, sum(licences.values()), dict(sorted(licences.items()))


def _where(index: SearchIndex, text: str, most: int) -> Any:
    """Places of some documents that hold a text, part after part, over all its places evenly."""
    return itertools.islice(_all_places(index, text, most), most)


def _all_places(index: SearchIndex, text: str, most: int) -> Any:
    for part in index.parts:
        low, high = part.texts.index.range_of(text)
        # Rows beside one another are often of one document that repeats itself.
        rows = np.linspace(low, high - 1, min(high - low, 4 * most)).astype(np.int64)
        positions = np.sort(part.texts.index.locate(rows))
        last = -1
        for position, document in zip(
            positions.tolist(), part.texts.documents(positions).tolist(), strict=True
        ):
            if document == last:
                continue
            last = document
            yield place_in(part, document, position)


def place_in(part: IndexPart, document: int, position: int) -> SpanPlace:
    """A position in the texts of a part as a place in one of its documents."""
    (row,) = part.named(np.array([document]))
    return SpanPlace(
        row["source"], row["id"], row["state"], row["licence"], row["url"], row["corpus"],
        position - int(part.texts.starts[document]),
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def _missing(tree: Wavelet, first: I64, symbols: U32, begin: int, end: int) -> int:
    """Where the longest piece that does not occur and ends here begins, from ``begin`` on.

    ``begin - 1`` if all of it occurs. Looked for from the end, as the index grows pieces.
    """
    low: Any = np.int64(0)
    high: Any = first[-1]
    for at in range(end - 1, begin - 1, -1):
        low, high = extend(tree, first, symbols[at], low, high)
        if high <= low:
            return at
    return begin - 1


@numba.njit(cache=True, nogil=True)
def _spans(tree: Wavelet, first: I64, symbols: U32, shortest: int, known: I64) -> I64:
    """The maximal pieces that occur: rows of begin and end, ascending.

    Only those of at least ``shortest`` characters, and none that lies in a piece that is known:
    ``known`` has the furthest end of those that begin at each place or before it.

    A piece that begins at ``begin`` has to reach ``least``, and so has any later one, at the least.
    If what stands between does not occur from ``at`` on, then none begins there or before, and
    the search goes on behind it, as that of Boyer and Moore (1977) does.
    """
    found = np.empty((len(symbols), 2), dtype=np.int64)
    count, begin, last = 0, 0, 0
    while begin < len(symbols):
        least = max(begin + shortest, known[begin] + 1, last + 1)
        if least > len(symbols):
            break
        at = _missing(tree, first, symbols, begin, least)
        if at >= begin:
            begin = at + 1
            continue
        last, more = least, 1  # it occurs up to here; how far, is found by doubling and halving
        while last + more <= len(symbols) and (
            _missing(tree, first, symbols, begin, last + more) < begin
        ):
            last += more
            more *= 2
        while more > 1:
            more //= 2
            if last + more <= len(symbols) and (
                _missing(tree, first, symbols, begin, last + more) < begin
            ):
                last += more
        found[count, 0], found[count, 1] = begin, last
        count += 1
        begin += 1
    return found[:count]
