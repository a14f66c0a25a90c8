"""Many documents at once, with the columns that kernels work on.

Rules are handed a :class:`Batch`. Whatever several rules need (code points, classes of
characters, lines) is computed once for the batch and shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from yoriai import Document

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

SPACE = 32  # what every kind of space is folded to


class CodePoints(NamedTuple):
    """Code points of all texts in one row; text ``i`` is ``points[starts[i]:starts[i+1]]``."""

    points: U32
    starts: I64


class Batch(list[Document]):
    """Documents, and what is computed from their texts when it is first asked for.

    A batch is not changed once a rule has seen it: edits make a new one.
    """

    @cached_property
    def texts(self) -> list[str]:
        return [document.text for document in self]

    @cached_property
    def codes(self) -> CodePoints:
        return codes_of(self.texts)

    @cached_property
    def lengths(self) -> I64:
        """Characters in each document."""
        return np.diff(self.codes.starts)


def batch_of(documents: Sequence[Document]) -> Batch:
    """The batch itself, or the documents as one."""
    return documents if isinstance(documents, Batch) else Batch(documents)


def codes_of(texts: Iterable[str]) -> CodePoints:
    """Texts as code points. Half a surrogate pair (which no document holds) would raise."""
    texts = list(texts)
    points = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32)
    starts = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in texts], out=starts[1:])
    return CodePoints(points, starts)


# --- folding: the form in which texts are compared ----------------------------------------


@cache
def fold_table() -> U32:
    """For each code point the one it is compared as: NFKC, then case folded.

    Only where both give a single code point, so that a text keeps its length and folding is
    one look-up. Space of any kind becomes :data:`SPACE`.
    """
    import sys
    import unicodedata

    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    codes = []
    for code in range(sys.maxunicode + 1):
        # Surrogates, Han, Hangul, and what lies behind the second plane fold to themselves.
        if 0x3400 <= code < 0xA000 or 0xAC00 <= code < 0xE000 or 0x20000 <= code < 0x2F800:
            continue
        if code >= 0x2FA20:
            break
        codes.append(code)
    # One call for all, parted by what composes with nothing: every worker begins with this.
    text = "\0".join(map(chr, codes))
    forms = unicodedata.normalize("NFKC", text).casefold().split("\0")
    del forms[0]  # NUL itself, which stands first, came out as two empty pieces
    for code, folded in zip(codes, forms, strict=True):
        if folded == " " or chr(code).isspace():
            table[code] = SPACE
        elif len(folded) == 1:
            table[code] = ord(folded)
    return table
