"""Lines and paragraphs as units that may repeat from document to document."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numba
import numpy as np

from yoriai_corpus.text.batch import I64, U32, CodePoints
from yoriai_corpus.text.folding import SPACE, fold_table
from yoriai_corpus.text.minhash import U64, _mix

Unit = Literal["line", "paragraph"]
# Shorter ones ("おわり", "* * *", "目次") repeat without being copies.
MIN_CHARACTERS = 20
_NEWLINE = 10


def unit_hashes(codes: CodePoints, unit: Unit) -> tuple[U64, I64, I64]:
    """Hash, document and first line of every unit of at least :data:`MIN_CHARACTERS`.

    Units are compared folded and without space, by 64 bits (as in CCNet, arXiv 1911.00359,
    section 3.1, which takes the first 64 bits of SHA-1). A paragraph ends at an empty line.
    """
    return _unit_hashes(codes.points, codes.starts, fold_table(), unit == "paragraph")


@numba.njit(cache=True, nogil=True)
def _unit_hashes(points: U32, starts: I64, table: U32, paragraphs: bool) -> tuple[U64, I64, I64]:
    most = 0
    for point in points:
        most += point == _NEWLINE
    most += len(starts)
    hashes = np.empty(most, dtype=np.uint64)
    documents = np.empty(most, dtype=np.int64)
    lines = np.empty(most, dtype=np.int64)
    found = 0
    for text in range(len(starts) - 1):
        value, length, first = np.uint64(0), 0, 0
        line, empty = 0, True
        for index in range(starts[text], starts[text + 1] + 1):
            end = index == starts[text + 1]
            if end or points[index] == _NEWLINE:
                if end or not paragraphs or empty:
                    if length >= MIN_CHARACTERS:
                        hashes[found] = _mix(value)
                        documents[found] = text
                        lines[found] = first
                        found += 1
                    value, length, first = np.uint64(0), 0, line + 1
                line += 1
                empty = True
                continue
            point = table[points[index]]
            if point != SPACE:
                empty = False
                length += 1
                value = (value + np.uint64(point)) * np.uint64(0x9E3779B97F4A7C15)
    return hashes[:found], documents[:found], lines[:found]


def remove_units(text: str, first_lines: Collection[int], unit: Unit) -> str:
    """The text without the units that begin at these lines."""
    lines = text.split("\n")
    kept: list[str] = []
    removing = False
    begin = 0  # where the present unit began
    for number, line in enumerate(lines):
        if unit == "line":
            removing = number in first_lines
        else:
            removing = begin in first_lines
            if not line.strip():
                begin = number + 1
        if not removing:
            kept.append(line)
    return "\n".join(kept)
