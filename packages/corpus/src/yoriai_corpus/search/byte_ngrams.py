"""How often a run of bytes stands in an index, and which byte comes next: the ∞-gram over bytes.

As :mod:`.ngrams`, but of the texts themselves as UTF-8, so that no tokenizer is needed. The index
is over characters; a run of bytes is the end of one character, whole characters and the beginning
of another, any of which may be missing, and it occurs where characters stand that begin and end
so. A document is followed by :data:`~.sortable.END_BYTE`, as in infini-gram's indexes over bytes.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from yoriai import UsageError
from yoriai_corpus.search.fm_index import FmIndex, extend, points_of
from yoriai_corpus.search.ngrams import NextTokens
from yoriai_corpus.search.search import SearchIndex
from yoriai_corpus.search.sortable import END, END_BYTE
from yoriai_corpus.search.wavelet import I64, U8, U32, Wavelet

MOST_BYTES = 30_000  # of a context
LONGEST = 4  # bytes of a character


@dataclass(frozen=True, slots=True)
class _Context:
    """A run of bytes: the end of a character, whole ones, and the beginning of one."""

    ending: bytes
    whole: U32
    beginning: bytes

    @classmethod
    def of(cls, data: bytes) -> _Context | None:
        """None for bytes that no text holds."""
        cut = 0
        while cut < len(data) and data[cut] & 0xC0 == 0x80:
            cut += 1
        decoder: Any = codecs.getincrementaldecoder("utf-8")()
        try:
            text = decoder.decode(data[cut:])
        except UnicodeDecodeError:
            return None
        beginning, _ = decoder.getstate()
        return cls(data[:cut], points_of(text), beginning) if cut < LONGEST else None


class ByteNgrams:
    """The texts of an index, kept and not, as bytes."""

    def __init__(self, index: SearchIndex) -> None:
        self._parts = [_PartBytes(part.texts.index) for part in index.parts]

    def count(self, context: bytes) -> int:
        """How often bytes stand there, overlapping occurrences counted each."""
        return sum(self.following(context).following.values()) if context else self._all

    def following(self, context: bytes) -> NextTokens:
        """What comes next after exactly these bytes (the n-gram estimate).

        ``by_shard`` is empty: an index has none. Raises :class:`UsageError` for too many bytes.
        """
        if len(context) > MOST_BYTES:
            raise UsageError(f"{len(context):,} bytes", hint=f"at most {MOST_BYTES:,}")
        cut = _Context.of(context)
        found = np.zeros(256, dtype=np.int64)
        if cut is not None:
            for part in self._parts:
                found += part.following(cut)
        order = np.lexsort((np.arange(256), -found))
        following = {int(byte): int(found[byte]) for byte in order if found[byte]}
        return NextTokens(len(context), int(found.sum()), following, {})

    def infinite(self, context: bytes) -> NextTokens:
        """What comes next after the longest end of a context that occurs (the ∞-gram)."""
        shortest, longest = 0, min(len(context), MOST_BYTES)
        while shortest < longest:  # an end that occurs has shorter ends that occur
            middle = (shortest + longest + 1) // 2
            if self.following(context[len(context) - middle :]).occurrences:
                shortest = middle
            else:
                longest = middle - 1
        return self.following(context[len(context) - shortest :])

    @property
    def _all(self) -> int:
        return self.following(b"").occurrences


class _PartBytes:
    """The characters of a part and how each is written."""

    def __init__(self, index: FmIndex) -> None:
        self._index = index
        self._times = np.diff(index.first)[1:]
        self._bytes, self._lengths = _encoded(index.alphabet)

    def following(self, context: _Context) -> npt.NDArray[np.int64]:
        """How often each byte comes next."""
        found = np.zeros(256, dtype=np.int64)
        index, ending = self._index, context.ending
        inside = not len(context.whole) and not context.beginning
        if inside:  # it may also lie within one character, or be nothing at all
            for begin in range(1 if ending else 0, LONGEST - len(ending)):
                stop = begin + len(ending)
                here = self._agree(begin, ending) & (self._lengths > stop)
                if not ending and begin == 0:
                    here[:] = False  # a character's first byte follows the character before
                np.add.at(found, self._bytes[here, stop], self._times[here])
        heads = np.flatnonzero(self._ends(ending)) if ending else np.zeros(0, dtype=np.int64)
        if ending and not len(heads):
            return found
        beginning = context.beginning
        tails = np.flatnonzero(
            self._agree(0, beginning) & (self._lengths > len(beginning))
            if beginning
            else np.ones(len(self._lengths), dtype=np.bool_)
        )
        counts = _counts(
            index.tree, index.first, heads + 1, index.symbols(context.whole), tails + 1
        )
        np.add.at(found, self._bytes[tails, len(beginning)], counts)
        return found

    def _agree(self, begin: int, piece: bytes) -> npt.NDArray[np.bool_]:
        """Which characters have a piece at their byte ``begin``."""
        stop = begin + len(piece)
        wanted = np.frombuffer(piece, dtype=np.uint8)
        same = np.all(self._bytes[:, begin:stop] == wanted, axis=1)
        found: npt.NDArray[np.bool_] = same & (self._lengths >= stop)
        return found

    def _ends(self, piece: bytes) -> npt.NDArray[np.bool_]:
        """Which characters end with a piece, and begin before it."""
        found = np.zeros(len(self._lengths), dtype=np.bool_)
        for length in range(len(piece) + 1, LONGEST + 1):
            found |= self._agree(length - len(piece), piece) & (self._lengths == length)
        return found


def _encoded(alphabet: U32) -> tuple[U8, I64]:
    """The bytes of each character, one row each, and how many there are."""
    rows = np.zeros((len(alphabet), LONGEST), dtype=np.uint8)
    lengths = np.zeros(len(alphabet), dtype=np.int64)
    for number, point in enumerate(alphabet.tolist()):
        data = bytes([END_BYTE]) if point == END else chr(point).encode("utf-8", "surrogatepass")
        rows[number, : len(data)], lengths[number] = list(data), len(data)
    return rows, lengths


@numba.njit(cache=True, nogil=True)
def _counts(tree: Wavelet, first: I64, heads: I64, whole: U32, tails: I64) -> I64:
    """How often each of ``tails`` stands after whole symbols, and these after any of ``heads``."""
    found = np.zeros(len(tails), dtype=np.int64)
    for number in range(len(tails)):
        low, high = first[tails[number]], first[tails[number] + 1]
        for place in range(len(whole) - 1, -1, -1):
            if high <= low:
                break
            low, high = extend(tree, first, whole[place], low, high)
        if high <= low:
            continue
        if not len(heads):
            found[number] = high - low
            continue
        for head in heads:
            begin, end = extend(tree, first, head, low, high)
            found[number] += max(0, end - begin)
    return found
