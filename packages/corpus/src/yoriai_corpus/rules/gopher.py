"""Gopher's rules for English: quality and repetition.

Source: Rae et al., *Scaling Language Models* (arXiv 2112.11446), appendix A1.1, in the reading
of datatrove (``src/datatrove/pipeline/filters/gopher_quality_filter.py``), which FineWeb used.

Where this differs from datatrove 0.10.1, on purpose:

* Words stand between spaces, as in the paper; datatrove's default parts punctuation from words
  with spaCy, so that its counts are higher, its mean length is lower, and of ordinary technical
  prose every second page has fewer than 80 % of "words" with a letter.
* A word counts for length if it holds anything but punctuation, symbols and marks as Unicode
  has them; datatrove has a list of its own (in which ``•`` is none of them and ``１`` is one).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar, Literal

import numpy as np
from numba import njit
from pydantic import Field

from yoriai import Filter
from yoriai_corpus.rules.base import Chain, Limit
from yoriai_corpus.rules.english import line_break, packed, words
from yoriai_corpus.text.batch import F64, I64, U8, U32, Batch
from yoriai_corpus.text.characters import class_table, measured, ratio
from yoriai_corpus.text.repetition import (
    duplicate_line_share,
    duplicate_ngram_share,
    duplicate_paragraph_share,
    top_ngram_share,
)

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
"""The eight of the paper; a document must hold two of them."""


class GopherCount(IntEnum):
    """What Gopher counts in each document."""

    WORDS = 0
    PLAIN_WORDS = 1
    """Words that are not made of punctuation and symbols alone."""
    PLAIN_CHARACTERS = 2
    """Characters in those."""
    LETTER_WORDS = 3
    """Words that hold a letter."""
    HASHES = 4
    ELLIPSES = 5
    """``...`` and ``…``."""
    LINES = 6
    """As ``str.splitlines`` parts them, empty ones too."""
    BULLET_LINES = 7
    """Lines that begin with ``•`` or ``-`` after space."""
    ELLIPSIS_LINES = 8
    """Lines that end in an ellipsis before space."""


def gopher_counts(batch: Batch) -> I64:
    """``[documents, len(GopherCount)]``, computed once a batch."""

    def count() -> I64:
        spans, table = words(batch), class_table()
        by_word = _count_words(batch.codes.points, *spans, table)
        by_line = _count_lines(*batch.codes, table)
        return np.column_stack((by_word, by_line))

    return measured(batch, "gopher", count)


Measure = Literal[
    "words", "word-length", "hashes", "ellipses", "bullet-lines", "ellipsis-lines", "letter-words"
]
_SHARES: dict[Measure, tuple[GopherCount, GopherCount | None]] = {
    "words": (GopherCount.PLAIN_WORDS, None),
    "word-length": (GopherCount.PLAIN_CHARACTERS, GopherCount.PLAIN_WORDS),
    "hashes": (GopherCount.HASHES, GopherCount.WORDS),
    "ellipses": (GopherCount.ELLIPSES, GopherCount.WORDS),
    "bullet-lines": (GopherCount.BULLET_LINES, GopherCount.LINES),
    "ellipsis-lines": (GopherCount.ELLIPSIS_LINES, GopherCount.LINES),
    "letter-words": (GopherCount.LETTER_WORDS, GopherCount.WORDS),
}


class GopherMeasure(Limit):
    """One of Gopher's numbers between two limits; :class:`GopherQuality` holds them all."""

    version: ClassVar[str] = "1"
    measure_of: Measure = Field(description="which number")
    least: float = Field(-np.inf, description="smallest value that is kept")
    most: float = Field(np.inf, description="largest value that is kept")

    def measure(self, batch: Batch) -> F64:
        counts, (part, whole) = gopher_counts(batch), _SHARES[self.measure_of]
        if whole is None:
            return counts[:, part].astype(np.float64)
        return ratio(counts[:, part], counts[:, whole])

    def limits(self) -> tuple[float, float]:
        return self.least, self.most


class StopWords(Limit):
    """Drop documents that hold few of the commonest words of their language.

    Gopher (A1.1): at least two of eight English words, each counted once. Case matters, as in
    datatrove.
    """

    version: ClassVar[str] = "1"
    words: tuple[str, ...] = Field(STOP_WORDS, description="the common words")
    min_words: int = Field(2, ge=1, description="how many different ones a document must hold")

    def measure(self, batch: Batch) -> F64:
        spans = words(batch)
        listed = packed(tuple(dict.fromkeys(self.words)))
        return _stop_words(batch.codes.points, *spans, *listed).astype(np.float64)

    def limits(self) -> tuple[float, float]:
        return self.min_words, np.inf


class GopherQuality(Chain):
    """Gopher's rules on the words and lines of a document (arXiv 2112.11446, A1.1).

    50 to 100,000 words, of 3 to 10 characters on average; at most one hash and one ellipsis to
    ten words; at most 90 % of lines that begin with a bullet and 30 % that end in an ellipsis;
    80 % of words with a letter; two of eight stop words.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("en",), description="languages it judges; empty: all")
    min_words: int = Field(50, ge=0, description="fewest words")
    max_words: int = Field(100_000, ge=1, description="most words")
    min_word_length: float = Field(3, ge=0, description="shortest words on average, in characters")
    max_word_length: float = Field(10, ge=0, description="longest words on average, in characters")
    max_hashes: float = Field(0.1, ge=0, description="most # to a word")
    max_ellipses: float = Field(0.1, ge=0, description="most ellipses to a word")
    max_bullet_lines: float = Field(0.9, ge=0, le=1, description="largest share of bulleted lines")
    max_ellipsis_lines: float = Field(
        0.3, ge=0, le=1, description="largest share of lines that end in an ellipsis"
    )
    min_letter_words: float = Field(
        0.8, ge=0, le=1, description="smallest share of words that hold a letter"
    )
    stop_words: tuple[str, ...] = Field(STOP_WORDS, description="common words of the language")
    min_stop_words: int = Field(2, ge=0, description="different stop words asked for; 0: none")

    def chain(self) -> Sequence[tuple[str, Filter]]:
        limits: list[tuple[Measure, float, float]] = [
            ("words", self.min_words, self.max_words),
            ("word-length", self.min_word_length, self.max_word_length),
            ("hashes", -np.inf, self.max_hashes),
            ("ellipses", -np.inf, self.max_ellipses),
            ("bullet-lines", -np.inf, self.max_bullet_lines),
            ("ellipsis-lines", -np.inf, self.max_ellipsis_lines),
            ("letter-words", self.min_letter_words, np.inf),
        ]
        rules: list[tuple[str, Filter]] = [
            (name, GopherMeasure(measure_of=name, least=least, most=most))
            for name, least, most in limits
        ]
        if self.min_stop_words:
            rules.append(
                ("stop-words", StopWords(words=self.stop_words, min_words=self.min_stop_words))
            )
        return rules


Piece = Literal["line", "paragraph"]


class DuplicatePieces(Limit):
    """Drop documents of which too much is lines or paragraphs that were there before.

    Gopher (A1.1, table A1): 0.30 of them in number, 0.20 of the text's characters.
    """

    version: ClassVar[str] = "1"
    piece: Piece = Field(description="what is compared")
    characters: bool = Field(False, description="whether characters are counted, not pieces")
    max_share: float = Field(ge=0, le=1, description="largest share that is kept")

    def measure(self, batch: Batch) -> F64:
        share = duplicate_line_share if self.piece == "line" else duplicate_paragraph_share
        return share(batch)[self.characters]

    def limits(self) -> tuple[float, float]:
        return 0, self.max_share


class NgramShare(Limit):
    """Drop documents of which too much is one n-gram of words, or n-grams seen before.

    Gopher (A1.1, table A1), counted as :mod:`yoriai_corpus.text.repetition` says for words.
    """

    version: ClassVar[str] = "1"
    count: Literal["top", "duplicate"] = Field(description="the most frequent, or all repeated")
    words: int = Field(ge=2, le=10, description="words in an n-gram")
    max_share: float = Field(ge=0, description="largest share of the text's characters")

    def measure(self, batch: Batch) -> F64:
        share = top_ngram_share if self.count == "top" else duplicate_ngram_share
        return share(batch, self.words, "words")

    def limits(self) -> tuple[float, float]:
        return 0, self.max_share


class GopherRepetition(Chain):
    """Gopher's rules on repetition within a document (arXiv 2112.11446, A1.1, table A1).

    Duplicate lines and paragraphs, the most frequent 2- to 4-gram, and all repeated 5- to
    10-grams of words. The order and the ways of counting are datatrove's
    (``gopher_repetition_filter.py``), except that empty pieces at the ends of a text are no
    lines, that n-grams are compared word by word (for datatrove "ab c" repeats "a bc"), and
    that words stand between spaces.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("en",), description="languages it judges; empty: all")
    max_duplicate_paragraphs: float = Field(0.3, ge=0, le=1, description="share of the paragraphs")
    max_duplicate_paragraph_characters: float = Field(
        0.2, ge=0, le=1, description="characters of duplicate paragraphs over all"
    )
    max_duplicate_lines: float = Field(0.3, ge=0, le=1, description="share of the lines")
    max_duplicate_line_characters: float = Field(
        0.2, ge=0, le=1, description="characters of duplicate lines over all"
    )
    max_top_ngram: dict[int, float] = Field(
        {2: 0.2, 3: 0.18, 4: 0.16}, description="by words: share of the most frequent n-gram"
    )
    max_duplicate_ngrams: dict[int, float] = Field(
        {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1},
        description="by words: share of characters in n-grams that repeat an earlier one",
    )

    def chain(self) -> Sequence[tuple[str, Filter]]:
        rules: list[tuple[str, Filter]] = []
        pieces: list[tuple[str, Piece, bool, float]] = [
            ("paragraphs", "paragraph", False, self.max_duplicate_paragraphs),
            ("paragraph-characters", "paragraph", True, self.max_duplicate_paragraph_characters),
            ("lines", "line", False, self.max_duplicate_lines),
            ("line-characters", "line", True, self.max_duplicate_line_characters),
        ]
        for name, piece, characters, most in pieces:
            rule = DuplicatePieces(piece=piece, characters=characters, max_share=most)
            rules.append((name, rule))
        for words_, most in self.max_top_ngram.items():
            top = NgramShare(count="top", words=words_, max_share=most)
            rules.append((f"top-{words_}-gram", top))
        for words_, most in self.max_duplicate_ngrams.items():
            repeated = NgramShare(count="duplicate", words=words_, max_share=most)
            rules.append((f"duplicate-{words_}-gram", repeated))
        return rules


@njit(cache=True, nogil=True)
def _count_words(points: U32, begins: I64, ends: I64, first: I64, table: U8) -> I64:
    """The first four of :class:`GopherCount`."""
    found = np.zeros((len(first) - 1, 4), dtype=np.int64)
    for document in range(len(first) - 1):
        row = found[document]
        row[0] = first[document + 1] - first[document]
        for word in range(first[document], first[document + 1]):
            plain = letter = False
            for index in range(begins[word], ends[word]):
                kind = table[points[index]]
                if kind < 8:  # neither PUNCTUATION nor SYMBOL nor OTHER; SPACE is in no word
                    plain = True
                    if kind >= 3:  # LATIN to OTHER_LETTER
                        letter = True
                        break
            if plain:
                row[1] += 1
                row[2] += ends[word] - begins[word]
            if letter:
                row[3] += 1
    return found


@njit(cache=True, nogil=True)
def _count_lines(points: U32, starts: I64, table: U8) -> I64:
    """The last five of :class:`GopherCount`."""
    found = np.zeros((len(starts) - 1, 5), dtype=np.int64)
    for document in range(len(starts) - 1):
        row = found[document]
        end = starts[document + 1]
        begin = starts[document]
        dots = 0  # full stops in a row, not yet taken as an ellipsis
        for index in range(begin, end + 1):
            point = points[index] if index < end else 10
            if point == 35:
                row[0] += 1
            dots = dots + 1 if point == 46 else 0
            if dots == 3 or point == 0x2026:
                row[1] += 1
                dots = 0
            if not line_break(point) or (index == end and index == begin):
                continue  # nothing after the last line break is no line
            if point == 13 and index + 1 < end and points[index + 1] == 10:
                continue
            row[2] += 1
            left = begin
            while left < index and table[points[left]] <= 1:
                left += 1
            right = index
            while right > left and table[points[right - 1]] <= 1:
                right -= 1
            if left < right:
                if points[left] == 0x2022 or points[left] == 45:
                    row[3] += 1
                if points[right - 1] == 0x2026 or (
                    right - left >= 3
                    and points[right - 1] == 46
                    and points[right - 2] == 46
                    and points[right - 3] == 46
                ):
                    row[4] += 1
            begin = index + 1
    return found


@njit(cache=True, nogil=True)
def _stop_words(
    points: U32, begins: I64, ends: I64, first: I64, listed: U32, listed_starts: I64
) -> I64:
    """How many different ones of the listed words each document holds."""
    found = np.zeros(len(first) - 1, dtype=np.int64)
    number = len(listed_starts) - 1
    for document in range(len(first) - 1):
        seen = np.zeros(number, dtype=np.bool_)
        for word in range(first[document], first[document + 1]):
            if found[document] == number:
                break
            length = ends[word] - begins[word]
            for one in range(number):
                if seen[one] or listed_starts[one + 1] - listed_starts[one] != length:
                    continue
                same = True
                for offset in range(length):
                    if points[begins[word] + offset] != listed[listed_starts[one] + offset]:
                        same = False
                        break
                if same:
                    seen[one] = True
                    found[document] += 1
    return found
