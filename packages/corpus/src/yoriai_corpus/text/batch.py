"""Many documents at once, with the columns that kernels work on.

Rules are handed a :class:`Batch`. Whatever several rules need (code points, classes of
characters, lines) is computed once for the batch and shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from yoriai import Document

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


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
