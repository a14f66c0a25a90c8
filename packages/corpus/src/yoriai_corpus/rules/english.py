"""Rules for English, and the words that English rules count."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit
from pydantic import Field

from yoriai_corpus.rules.base import Limit
from yoriai_corpus.text.batch import F64, I64, U8, U32, Batch
from yoriai_corpus.text.characters import LETTERS, Class, class_table, counts, measured, ratio


class Latin(Limit):
    """Drop English documents of whose letters more than ``max_other`` are outside ASCII.

    One held-out wiki page that shows off a hundred scripts cost a tiny model 8.9 bits a byte
    and lifted the score of all English above the floor (record 0003).
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("en",), description="languages it judges; empty: all")
    max_other: float = Field(0.1, ge=0, le=1, description="largest share of letters beyond ASCII")

    def measure(self, batch: Batch) -> F64:
        table = counts(batch)
        letters = table[:, list(LETTERS)].sum(axis=1)
        other = letters - table[:, Class.LATIN]
        return ratio(other, letters)

    def limits(self) -> tuple[float, float]:
        return 0, self.max_other


class Words(NamedTuple):
    """Words of all documents as ``points[starts[k]:ends[k]]`` of the batch's code points.

    Those of document ``i`` are ``first[i]`` to ``first[i + 1]``. A word is what stands between
    spaces of any kind (``str.split()``), as in the Gopher paper and in dolma.
    """

    starts: I64
    ends: I64
    first: I64


def words(batch: Batch) -> Words:
    """The words of a batch, found once for all rules."""
    found: Words | None = batch.__dict__.get("_words")
    if found is None:
        found = Words(*_words(batch.codes.points, batch.codes.starts, class_table()))
        batch.__dict__["_words"] = found
    return found


def word_counts(batch: Batch) -> I64:
    """Words in each document, counted once a batch."""
    return measured(batch, "words", lambda: np.diff(words(batch).first))


@njit(cache=True, nogil=True)
def _words(points: U32, starts: I64, table: U8) -> tuple[I64, I64, I64]:
    documents = len(starts) - 1
    first = np.zeros(documents + 1, dtype=np.int64)
    begins = np.empty(len(points) // 2 + documents + 1, dtype=np.int64)
    ends = np.empty(len(begins), dtype=np.int64)
    count = 0
    for document in range(documents):
        inside = False
        for index in range(starts[document], starts[document + 1]):
            space = table[points[index]] <= 1  # SPACE, NEWLINE
            if inside == space:
                if space:
                    ends[count] = index
                    count += 1
                else:
                    begins[count] = index
                inside = not space
        if inside:
            ends[count] = starts[document + 1]
            count += 1
        first[document + 1] = count
    return begins[:count], ends[:count], first


@njit(cache=True, nogil=True)
def line_break(point: int) -> bool:
    """Whether a code point ends a line for ``str.splitlines`` (``\\r\\n`` ends one, not two)."""
    return (
        10 <= point <= 13
        or 0x1C <= point <= 0x1E
        or point == 0x85
        or point == 0x2028
        or point == 0x2029
    )


def packed(texts: tuple[str, ...]) -> tuple[npt.NDArray[np.uint32], I64]:
    """Short strings as one array of code points and where each starts, for kernels."""
    from yoriai_corpus.text.batch import codes_of

    codes = codes_of(texts)
    return codes.points, codes.starts
