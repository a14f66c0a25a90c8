"""FineWeb's own quality rules for English.

Source: Penedo et al., *The FineWeb Datasets* (arXiv 2406.17557), section 3.6, with the figures of
datatrove (``src/datatrove/pipeline/filters/fineweb_quality_filter.py``). FineWeb runs them after
Gopher's and C4's rules (without C4's on terminal punctuation).

Where this differs from datatrove 0.10.1, on purpose: words stand between spaces (datatrove asks
spaCy, which counts more words, so that fewer documents have too many line breaks), and a line
ends a sentence by Unicode 17's whole ``Sentence_Terminal`` property, of which datatrove has all
but 16 code points of rarer scripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from typing import ClassVar, Literal

import numpy as np
from numba import njit
from pydantic import Field

from yoriai import Filter
from yoriai_corpus.rules.base import Chain, Limit
from yoriai_corpus.rules.english import word_counts
from yoriai_corpus.text.batch import F64, I64, U8, U32, Batch
from yoriai_corpus.text.characters import class_table, measured, ratio
from yoriai_corpus.text.repetition import add_to_hash, count_repeated

# Unicode Character Database, PropList.txt, Sentence_Terminal: first code point, last one.
_SENTENCE_TERMINAL = (
    (0x0021, 0x0021), (0x002E, 0x002E), (0x003F, 0x003F), (0x0589, 0x0589), (0x061D, 0x061F),
    (0x06D4, 0x06D4), (0x0700, 0x0702), (0x07F9, 0x07F9), (0x0837, 0x0837), (0x0839, 0x0839),
    (0x083D, 0x083E), (0x0964, 0x0965), (0x104A, 0x104B), (0x1362, 0x1362), (0x1367, 0x1368),
    (0x166E, 0x166E), (0x1735, 0x1736), (0x17D4, 0x17D5), (0x1803, 0x1803), (0x1809, 0x1809),
    (0x1944, 0x1945), (0x1AA8, 0x1AAB), (0x1B4E, 0x1B4F), (0x1B5A, 0x1B5B), (0x1B5E, 0x1B5F),
    (0x1B7D, 0x1B7F), (0x1C3B, 0x1C3C), (0x1C7E, 0x1C7F), (0x2024, 0x2024), (0x203C, 0x203D),
    (0x2047, 0x2049), (0x2CF9, 0x2CFB), (0x2E2E, 0x2E2E), (0x2E3C, 0x2E3C), (0x2E53, 0x2E54),
    (0x2E60, 0x2E61), (0x3002, 0x3002), (0xA4FF, 0xA4FF), (0xA60E, 0xA60F), (0xA6F3, 0xA6F3),
    (0xA6F7, 0xA6F7), (0xA876, 0xA877), (0xA8CE, 0xA8CF), (0xA92F, 0xA92F), (0xA9C8, 0xA9C9),
    (0xAA5D, 0xAA5F), (0xAAF0, 0xAAF1), (0xABEB, 0xABEB), (0xFE12, 0xFE12), (0xFE15, 0xFE16),
    (0xFE52, 0xFE52), (0xFE56, 0xFE57), (0xFF01, 0xFF01), (0xFF0E, 0xFF0E), (0xFF1F, 0xFF1F),
    (0xFF61, 0xFF61), (0x10A56, 0x10A57), (0x10F55, 0x10F59), (0x10F86, 0x10F89),
    (0x11047, 0x11048), (0x110BE, 0x110C1), (0x11141, 0x11143), (0x111C5, 0x111C6),
    (0x111CD, 0x111CD), (0x111DE, 0x111DF), (0x11238, 0x11239), (0x1123B, 0x1123C),
    (0x112A9, 0x112A9), (0x113D4, 0x113D5), (0x1144B, 0x1144C), (0x115C2, 0x115C3),
    (0x115C9, 0x115D7), (0x11641, 0x11642), (0x1173C, 0x1173E), (0x11944, 0x11944),
    (0x11946, 0x11946), (0x11A42, 0x11A43), (0x11A9B, 0x11A9C), (0x11C41, 0x11C42),
    (0x11EF7, 0x11EF8), (0x11F43, 0x11F44), (0x16A6E, 0x16A6F), (0x16AF5, 0x16AF5),
    (0x16B37, 0x16B38), (0x16B44, 0x16B44), (0x16D6E, 0x16D6F), (0x16E98, 0x16E98),
    (0x1BC9F, 0x1BC9F), (0x1DA88, 0x1DA88),
)  # fmt: skip


class FineWebCount(IntEnum):
    """What is counted of the lines that are not blank."""

    LINES = 0
    ENDED_LINES = 1
    """Lines whose last character (space counts as one) ends a sentence."""
    SHORT_LINES = 2
    REPEATED_CHARACTERS = 3
    """Characters in lines that were there before."""
    CHARACTERS = 4
    """Of the whole text, without newlines."""
    NEWLINES = 5


def fineweb_counts(batch: Batch, short_line: int) -> I64:
    """``[documents, len(FineWebCount)]``, computed once a batch."""
    return measured(
        batch,
        f"fineweb {short_line}",
        lambda: _count(*batch.codes, class_table(), _terminals(), short_line),
    )


@cache
def _terminals() -> U8:
    """1 for each code point that ends a sentence."""
    table = np.zeros(0x110000, dtype=np.uint8)
    for first, last in _SENTENCE_TERMINAL:
        table[first : last + 1] = 1
    return table


Measure = Literal["ended-lines", "short-lines", "repeated-characters", "newlines"]


class FineWebMeasure(Limit):
    """One of FineWeb's numbers between two limits; :class:`FineWebQuality` holds them all."""

    version: ClassVar[str] = "1"
    measure_of: Measure = Field(description="which number")
    short_line: int = Field(30, ge=0, description="characters of the longest short line")
    least: float = Field(-np.inf, description="smallest value that is kept")
    most: float = Field(np.inf, description="largest value that is kept")

    def measure(self, batch: Batch) -> F64:
        counts = fineweb_counts(batch, self.short_line)
        lines = counts[:, FineWebCount.LINES]
        if self.measure_of == "ended-lines":
            return ratio(counts[:, FineWebCount.ENDED_LINES], lines)
        if self.measure_of == "short-lines":
            return ratio(counts[:, FineWebCount.SHORT_LINES], lines)
        if self.measure_of == "repeated-characters":
            return ratio(
                counts[:, FineWebCount.REPEATED_CHARACTERS], counts[:, FineWebCount.CHARACTERS]
            )
        return ratio(counts[:, FineWebCount.NEWLINES], word_counts(batch))

    def limits(self) -> tuple[float, float]:
        return self.least, self.most


class FineWebQuality(Chain):
    """FineWeb's three rules and the one on lists (arXiv 2406.17557, section 3.6; datatrove).

    At least 12 % of the lines end a sentence, at most 67 % have 30 characters or fewer, at most
    1 % of the characters are in lines that were there before, and at most three newlines come
    to ten words.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("en",), description="languages it judges; empty: all")
    min_ended_lines: float = Field(
        0.12, ge=0, le=1, description="smallest share of lines that end a sentence"
    )
    max_short_lines: float = Field(0.67, ge=0, le=1, description="largest share of short lines")
    short_line: int = Field(30, ge=0, description="characters of the longest short line")
    max_repeated_characters: float = Field(
        0.01, ge=0, le=1, description="largest share of characters in lines seen before"
    )
    max_newlines: float = Field(0.3, ge=0, description="most newlines to a word")

    def chain(self) -> Sequence[tuple[str, Filter]]:
        limits: list[tuple[Measure, float, float]] = [
            ("ended-lines", self.min_ended_lines, np.inf),
            ("short-lines", -np.inf, self.max_short_lines),
            ("repeated-characters", -np.inf, self.max_repeated_characters),
            ("newlines", -np.inf, self.max_newlines),
        ]
        return [
            (
                name,
                FineWebMeasure(measure_of=name, least=least, most=most, short_line=self.short_line),
            )
            for name, least, most in limits
        ]


@njit(cache=True, nogil=True)
def _count(points: U32, starts: I64, table: U8, terminals: U8, short_line: int) -> I64:
    """The columns of :class:`FineWebCount`."""
    found = np.zeros((len(starts) - 1, 6), dtype=np.int64)
    for document in range(len(starts) - 1):
        row = found[document]
        begin = starts[document]
        end = starts[document + 1]
        room = 1
        for index in range(begin, end):
            room += points[index] == 10
        row[4] = end - begin - (room - 1)
        row[5] = room - 1
        hashes = np.empty(room, dtype=np.uint64)
        lengths = np.empty(room, dtype=np.int64)
        lines = 0
        value = np.uint64(0)
        blank = True
        for index in range(begin, end + 1):
            if index < end and points[index] != 10:
                value = add_to_hash(value, points[index])
                blank = blank and table[points[index]] == 0  # SPACE
                continue
            if not blank:
                hashes[lines] = value
                lengths[lines] = index - begin
                lines += 1
                row[1] += terminals[points[index - 1]]
                row[2] += index - begin <= short_line
            begin = index + 1
            value = np.uint64(0)
            blank = True
        row[0] = lines
        _, row[3] = count_repeated(hashes, lengths, 0, lines)
    return found
