"""An FM-index over code points: it counts, finds and gives back any piece of its text.

Ferragina and Manzini 2000: the Burrows-Wheeler transform of a text, with rank, answers how often
a pattern occurs in as many steps as the pattern has characters, whatever the text's size, and
contains the text. Over code points, not bytes: a third of the rows for Japanese, and no piece of
a character is ever found. The transform is a wavelet tree (:mod:`.wavelet`); of the suffix array
every :data:`ROW_STEP`-th row is kept, of its inverse every :data:`TEXT_STEP`-th position.

A text is documents, each followed by :data:`END`, a symbol that no query can hold.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from yoriai_corpus.search import sortable, walks, wavelet
from yoriai_corpus.search.sortable import END, END_BYTE
from yoriai_corpus.search.walks import ROW_STEP, TEXT_STEP
from yoriai_corpus.search.wavelet import I32, I64, U8, U32, U64, Wavelet

NO_SYMBOL = 0xFFFFFFFF
MOST_BYTES = 2**31 - 2  # what 32-bit suffixes can name

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class FmIndex:
    """One index, its arrays in memory or mapped from a file.

    ``alphabet``: the code point of each symbol from 1, ascending (0 is the end of all text).
    ``first``: the first row of each symbol, and the number of rows. ``rows``: the position of
    every :data:`ROW_STEP`-th row. ``places``: the row of every :data:`TEXT_STEP`-th position.
    """

    tree: Wavelet
    alphabet: U32
    first: I64
    rows: U32
    places: U32

    @property
    def length(self) -> int:
        """Code points of the text, ends of documents included."""
        return int(self.first[-1]) - 1

    def symbols(self, points: U32) -> U32:
        """Symbols of code points; :data:`NO_SYMBOL` for those that the text does not hold."""
        where = np.searchsorted(self.alphabet, points)
        known = np.take(self.alphabet, where, mode="clip") == points
        return np.where(known, where + 1, NO_SYMBOL).astype(np.uint32)

    def count(self, text: str) -> int:
        """How often a text occurs, overlapping occurrences counted each."""
        low, high = self.range_of(text)
        return high - low

    def range_of(self, text: str, *, ended: bool = False) -> tuple[int, int]:
        """The rows that begin with a text: first and one past the last, equal for none.

        With ``ended`` only where a document ends behind it.
        """
        points = points_of(text)
        if ended:
            points = np.append(points, np.uint32(END))
        low, high = _search(self.tree, self.first, self.symbols(points))
        return int(low), int(high)

    def locate(self, rows: I64) -> I64:
        """Positions of rows in the text, in the order of the rows."""
        return walks.locate(self.tree, self.first, self.rows, rows)

    def extract(self, begin: int, end: int) -> str:
        """The text between two positions; :data:`END` shows as a newline."""
        return self.extract_all([(begin, end)])[0]

    def extract_all(self, stretches: Sequence[tuple[int, int]]) -> list[str]:
        """The texts between pairs of positions, sooner than one by one."""
        cut = np.array(stretches, dtype=np.int64).reshape(-1, 2)
        begins = np.clip(cut[:, 0], 0, self.length)
        ends = np.clip(cut[:, 1], begins, self.length)
        found = walks.extract(self.tree, self.first, self.places, begins, ends)
        points = np.take(self.alphabet, found.astype(np.int64) - 1, mode="clip")
        points = np.where(points == END, 0x0A, points).astype("<u4")
        text = points.tobytes().decode("utf-32-le")
        stops = np.cumsum(ends - begins).tolist()
        return [text[begin:end] for begin, end in itertools.pairwise([0, *stops])]

    def arrays(self) -> Arrays:
        """What a file of it holds, by name."""
        tree = {f"tree.{name}": array for name, array in self.tree._asdict().items()}
        return {
            **tree, "alphabet": self.alphabet, "first": self.first,
            "rows": self.rows, "places": self.places,
        }  # fmt: skip

    @classmethod
    def of(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> FmIndex:
        """Of the arrays of a file. Raises ValueError where they cannot belong together."""
        tree = Wavelet(*(arrays[f"tree.{name}"] for name in Wavelet._fields))
        index = cls(tree, *(arrays[name] for name in ("alphabet", "first", "rows", "places")))
        _check(index)
        return index


TYPES: dict[str, type] = {
    "tree.lines": np.uint64, "tree.starts": np.int64, "tree.ones": np.int64,
    "tree.children": np.int32, "tree.codes": np.uint64, "tree.lengths": np.uint8,
    "alphabet": np.uint32, "first": np.int64, "rows": np.uint32, "places": np.uint32,
}  # fmt: skip


def points_of(text: str) -> U32:
    """Code points of a text; a lone half of a surrogate pair is one that no text holds."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32)


def suffix_order(text: U8) -> I32:
    """Where the suffixes of bytes begin, in order of the suffixes (divsufsort, Mori 2005)."""
    import pydivsufsort

    return pydivsufsort.divsufsort(text if text.flags.writeable else text.copy())


def build(text: U8) -> tuple[FmIndex, U32, U32]:
    """The index of UTF-8 text in which each document ends with :data:`END_BYTE`.

    With it, for whoever counts further: of each row where in the text it begins, and the symbol
    before. Raises ValueError for text that is empty or ends without a mark, and OverflowError
    for one of 2 GB.
    """
    if not len(text) or text[-1] != END_BYTE:
        raise ValueError("text ends with the mark of a document's end")
    if len(text) > MOST_BYTES:
        raise OverflowError(f"{len(text):,} bytes in one index")
    known = sortable.tally(text)
    alphabet = np.flatnonzero(known).astype(np.uint32)
    counts = np.concatenate((np.ones(1, dtype=np.int64), known[alphabet]))
    coded = sortable.encode(text, alphabet, counts[1:])
    order = suffix_order(coded.data)
    transform = np.empty(coded.length + 1, dtype=np.uint32)
    places_of_rows = np.empty(coded.length + 1, dtype=np.uint32)
    sortable.transform(order, (coded.data, coded.begins, coded.base), transform, places_of_rows)
    places = np.empty(coded.length // TEXT_STEP + 1, dtype=np.uint32)
    del order, coded
    rows = places_of_rows[::ROW_STEP].copy()
    _sample(places_of_rows, places)
    first = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=first[1:])
    index = FmIndex(wavelet.build(transform, counts), alphabet, first, rows, places)
    return index, places_of_rows, transform


@numba.njit(cache=True, nogil=True)
def _sample(rows: U32, places: U32) -> None:
    """Of every :data:`TEXT_STEP`-th position its row."""
    for row in range(len(rows)):
        if rows[row] % TEXT_STEP == 0:
            places[rows[row] // TEXT_STEP] = row


@numba.njit(cache=True, nogil=True)
def _search(tree: Wavelet, first: I64, symbols: U32) -> tuple[int, int]:
    low: Any = np.int64(0)
    high: Any = first[-1]
    for index in range(len(symbols) - 1, -1, -1):
        low, high = extend(tree, first, symbols[index], low, high)
        if high <= low:
            return 0, 0
    return low, high


@numba.njit(cache=True, nogil=True)
def extend(tree: Wavelet, first: I64, symbol: int, low: int, high: int) -> tuple[int, int]:
    """The rows that begin with a symbol and then what rows ``low`` to ``high`` begin with."""
    if symbol >= len(first) - 1:
        return 0, 0
    begin, end = first[symbol], first[symbol + 1]
    low, high = wavelet.ranks(tree, symbol, low, high)
    low, high = begin + low, begin + high
    if low < begin or high > end or high < low:
        return 0, 0
    return low, high


def _check(index: FmIndex) -> None:
    """Refuse arrays that would send a kernel outside of them, or round for ever."""
    tree, symbols = index.tree, len(index.alphabet) + 1
    nodes = len(tree.starts)
    children = np.asarray(tree.children).reshape(-1, 2)
    above = np.arange(nodes)[:, None]
    sizes = np.diff(index.first)
    sound = (
        nodes >= 1
        and len(tree.ones) == len(children) == nodes
        and len(tree.codes) == len(tree.lengths) == symbols == len(index.first) - 1
        and len(tree.lines) >= wavelet.LINE_WORDS
        and len(tree.lines) % wavelet.LINE_WORDS == 0
        and bool(np.all((children < 0) | ((children > above) & (children < nodes))))
        and bool(np.all(children >= -symbols))
        and bool(np.all(tree.lengths <= 62))
        and bool(np.all(sizes > 0))
        and index.first[0] == 0
        and len(index.rows) == index.length // ROW_STEP + 1
        and len(index.places) == index.length // TEXT_STEP + 1
        and bool(np.all(np.diff(index.alphabet.astype(np.int64)) > 0))
        and index.alphabet[-1] == END
    )
    if sound:
        sound = _ways_end(np.asarray(tree.children), tree.codes, tree.lengths)
    if not sound:
        raise ValueError("its arrays do not fit together")


@numba.njit(cache=True, nogil=True)
def _ways_end(children: I32, codes: U64, lengths: U8) -> bool:
    """Whether each symbol's code leads to it, so that no walk goes on past a leaf."""
    for symbol in range(len(codes)):
        node, code = 0, np.int64(codes[symbol])
        for turn in range(np.int64(lengths[symbol]) - 1, -1, -1):
            if node < 0:
                return False
            node = children[2 * node + ((code >> turn) & 1)]
        if node != -1 - symbol:
            return False
    return True
