"""The rules of the Swallow Corpus, version 1 (Okazaki et al. 2024, arXiv 2404.17733).

What the published code does (``swallow-llm/swallow-corpus`` at 2d03507: ``quality.py`` with its
``apply_v1``), decision for decision, in kernels over batches. Things
to know that the numbers do not show:

* a paragraph is a line, and *blank lines are paragraphs*: text with a blank line after
  each paragraph counts as half repeated and is dropped. The corpus had none, because
  trafilatura writes none. ``blank_lines=False`` leaves them out;
* a sentence ends with one of 。．！？!?, further ones in a row are lost;
* the long vowel mark ー and kanji outside the first plane are no Japanese letters;
* n-gram shares are over n-grams, not over characters (see :mod:`yoriai_corpus.text.repetition`);
* where the published code raises (no sentence in the text), the measure is 0 here.

Not covered: the lists of words and hosts (``ngword.py``, ``ngurl.py``), not published in full.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from typing import ClassVar, Literal

import numpy as np
from numba import njit
from pydantic import Field

from yoriai import Filter
from yoriai_corpus.rules.base import Chain, Limit
from yoriai_corpus.rules.swallow_edits import NormalizePunctuation, TrimFooter
from yoriai_corpus.text.batch import F64, I64, U8, U32, Batch
from yoriai_corpus.text.characters import class_table, measured, ratio
from yoriai_corpus.text.repetition import (
    add_to_hash,
    count_repeated,
    duplicate_ngram_share,
    top_ngram_share,
)

JAPANESE = ("ja",)
INFINITE = math.inf


class RepeatedParagraphs(Limit):
    """Drop documents whose lines occurred before in them (Swallow's limits).

    ``of``: the share of the lines, or of the characters in them.
    """

    version: ClassVar[str] = "1"
    of: Literal["paragraphs", "characters"] = Field("paragraphs", description="what is shared")
    max_share: float = Field(0.3, ge=0, le=1, description="largest share that is repeated")
    blank_lines: bool = Field(True, description="count blank lines as paragraphs, as published")

    def measure(self, batch: Batch) -> F64:
        lines, repeated, characters, all_characters, blank = sentences(batch).T[:5]
        if self.of == "characters":
            return ratio(characters, all_characters)
        if self.blank_lines:
            return ratio(repeated, lines)
        return ratio(repeated - np.maximum(0, blank - 1), lines - blank)

    def limits(self) -> tuple[float, float]:
        return -INFINITE, self.max_share

    def span(self, text: str) -> str:
        return _first_repeated(text.split("\n"))


class RepeatedSentences(Limit):
    """Drop documents whose sentences occurred before in them (Swallow's limits)."""

    version: ClassVar[str] = "1"
    of: Literal["sentences", "characters"] = Field("sentences", description="what is shared")
    max_share: float = Field(0.3, ge=0, le=1, description="largest share that is repeated")

    def measure(self, batch: Batch) -> F64:
        number, repeated, characters, all_characters = sentences(batch).T[5:9]
        if self.of == "characters":
            return ratio(characters, all_characters)
        return ratio(repeated, number)

    def limits(self) -> tuple[float, float]:
        return -INFINITE, self.max_share

    def span(self, text: str) -> str:
        return _first_repeated(_SENTENCE.findall(text))


class TopNgram(Limit):
    """Drop documents of which one n-gram is too large a part (Swallow, after Gopher)."""

    version: ClassVar[str] = "1"
    n: int = Field(2, ge=2, le=10, description="units in an n-gram")
    unit: Literal["characters", "words"] = Field("characters", description="what n-grams are of")
    max_share: float = Field(0.2, ge=0, le=1, description="largest share of one n-gram")

    def measure(self, batch: Batch) -> F64:
        return top_ngram_share(batch, self.n, self.unit)

    def limits(self) -> tuple[float, float]:
        return -INFINITE, self.max_share


class RepeatedNgrams(Limit):
    """Drop documents of which repeated n-grams are too large a part (Swallow, after Gopher)."""

    version: ClassVar[str] = "1"
    n: int = Field(5, ge=2, le=10, description="units in an n-gram")
    unit: Literal["characters", "words"] = Field("characters", description="what n-grams are of")
    max_share: float = Field(0.15, ge=0, le=1, description="largest share of repeated n-grams")

    def measure(self, batch: Batch) -> F64:
        return duplicate_ngram_share(batch, self.n, self.unit)

    def limits(self) -> tuple[float, float]:
        return -INFINITE, self.max_share


class JapaneseLetters(Limit):
    """Drop documents with few Japanese letters: kana, kanji of the first plane, 、。，．！？."""

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(JAPANESE, description="languages it judges; empty: all")
    min_letters: int = Field(400, ge=0, description="fewest Japanese letters")

    def measure(self, batch: Batch) -> F64:
        return japanese(batch).sum(axis=1).astype(np.float64)

    def limits(self) -> tuple[float, float]:
        return self.min_letters, INFINITE


class JapaneseShare(Limit):
    """Drop documents by a share of their letters.

    ``of``: hiragana or katakana among the Japanese letters, or these among all characters.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(JAPANESE, description="languages it judges; empty: all")
    of: Literal["hiragana", "katakana", "japanese"] = Field("japanese", description="which letters")
    min_share: float = Field(0.0, ge=0, le=1, description="smallest share")
    max_share: float = Field(1.0, ge=0, le=1, description="largest share")

    def measure(self, batch: Batch) -> F64:
        table = japanese(batch)
        if self.of == "japanese":
            return ratio(table.sum(axis=1), batch.lengths)
        return ratio(table[:, ("hiragana", "katakana").index(self.of)], table.sum(axis=1))

    def limits(self) -> tuple[float, float]:
        return self.min_share, self.max_share


class SentenceLength(Limit):
    """Drop documents whose sentences are too short or too long (Swallow: mean 20 to 90)."""

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(JAPANESE, description="languages it judges; empty: all")
    of: Literal["mean", "longest"] = Field("mean", description="which length")
    min_characters: float = Field(0, ge=0, description="shortest, in characters")
    max_characters: float = Field(90, ge=0, description="longest, in characters")

    def measure(self, batch: Batch) -> F64:
        table = sentences(batch)
        if self.of == "longest":
            return table[:, 9].astype(np.float64)
        return ratio(table[:, 8], table[:, 5])

    def limits(self) -> tuple[float, float]:
        return self.min_characters, self.max_characters

    def span(self, text: str) -> str:
        found = _SENTENCE.findall(text)
        return max(found, key=len)[:40] if found else ""


class Ellipsis(Limit):
    """Drop documents of whose sentences too many end with ・ or … (Swallow: a fifth)."""

    version: ClassVar[str] = "1"
    max_share: float = Field(0.2, ge=0, le=1, description="largest share of such sentences")

    def measure(self, batch: Batch) -> F64:
        table = sentences(batch)
        return ratio(table[:, 10], table[:, 5])

    def limits(self) -> tuple[float, float]:
        return -INFINITE, self.max_share


class Length(Limit):
    """Drop documents by their number of characters, space and newlines among them."""

    version: ClassVar[str] = "1"
    min_characters: int = Field(400, ge=0, description="fewest characters")

    def measure(self, batch: Batch) -> F64:
        return batch.lengths.astype(np.float64)

    def limits(self) -> tuple[float, float]:
        return self.min_characters, INFINITE


class SwallowV1(Chain):
    """All rules of ``apply_v1`` in the published order, then punctuation and footers.

    Swallow removed duplicates between the rules and the two edits (its README, phases 2 to 4).
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(JAPANESE, description="languages it judges; empty: all")
    blank_lines: bool = Field(True, description="count blank lines as paragraphs, as published")
    clean: bool = Field(True, description="normalise punctuation and trim footers at the end")

    def chain(self) -> Sequence[tuple[str, Filter]]:
        blank = self.blank_lines
        rules: list[tuple[str, Filter]] = [
            ("length", Length()),
            ("repeated-paragraphs", RepeatedParagraphs(blank_lines=blank)),
            ("repeated-sentences", RepeatedSentences()),
            ("paragraph-characters", RepeatedParagraphs(of="characters", max_share=0.2)),
            ("sentence-characters", RepeatedSentences(of="characters", max_share=0.2)),
        ]
        for n, share in ((2, 0.2), (3, 0.18), (4, 0.16)):
            rules.append((f"top-{n}-gram", TopNgram(n=n, max_share=share)))
        for n, share in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)):
            rules.append((f"repeated-{n}-grams", RepeatedNgrams(n=n, max_share=share)))
        rules += [
            ("hiragana", JapaneseShare(of="hiragana", min_share=0.2)),
            ("katakana", JapaneseShare(of="katakana", max_share=0.5)),
            ("japanese", JapaneseShare(of="japanese", min_share=0.5)),
            ("japanese-letters", JapaneseLetters()),
            ("mean-sentence", SentenceLength(min_characters=20, max_characters=90)),
            ("longest-sentence", SentenceLength(of="longest", max_characters=200)),
            ("ellipsis", Ellipsis()),
        ]
        if self.clean:
            rules += [("punctuation", NormalizePunctuation()), ("footer", TrimFooter())]
        return rules


# --- what is measured ---------------------------------------------------------------------

_SENTENCE = re.compile("[^。．！？!?\n]+[。．！？!?]?")


def _first_repeated(pieces: Sequence[str]) -> str:
    seen: set[str] = set()
    for piece in pieces:
        if piece in seen and piece.strip():
            return piece[:40]
        seen.add(piece)
    return ""


def sentences(batch: Batch) -> I64:
    """``[documents, 11]``, computed once a batch.

    Lines, repeated lines, characters in these, characters of all lines, blank lines; sentences,
    repeated sentences, characters in these, characters of all sentences, characters of the
    longest, sentences that end with an ellipsis. Characters are those inside sentences.
    """
    return measured(batch, "swallow sentences", lambda: _sentences(*batch.codes, class_table()))


def japanese(batch: Batch) -> I64:
    """``[documents, 5]``: hiragana, katakana, kanji, stops, commas; computed once a batch."""
    return measured(batch, "swallow letters", lambda: _japanese(*batch.codes, _letter_table()))


@cache
def _letter_table() -> U8:
    """1 to 5 for the letters that Swallow calls Japanese, 0 for all others of the first plane."""
    table = np.zeros(0x10000, dtype=np.uint8)
    table[0x3041:0x3097] = 1
    table[0x30A1:0x30FB] = 2
    table[0x3400:0xA000] = table[0xF900:0xFB00] = 3
    for kind, members in ((3, "々〇〻"), (4, "。．！？"), (5, "、，")):
        table[[ord(member) for member in members]] = kind
    return table


@njit(cache=True, nogil=True)
def _japanese(points: U32, starts: I64, table: U8) -> I64:
    found = np.zeros((len(starts) - 1, 6), dtype=np.int64)
    for document in range(len(starts) - 1):
        row = found[document]
        for index in range(starts[document], starts[document + 1]):
            if points[index] < 0x10000:
                row[table[points[index]]] += 1
    return found[:, 1:]


@njit(cache=True, nogil=True)
def _is_end(point: int) -> bool:
    return (
        point == 0x3002
        or point == 0xFF0E
        or point == 0xFF01
        or point == 0xFF1F
        or point == 0x21
        or point == 0x3F
    )


@njit(cache=True, nogil=True)
def _sentences(points: U32, starts: I64, table: U8) -> I64:
    found = np.zeros((len(starts) - 1, 11), dtype=np.int64)
    for document in range(len(starts) - 1):
        begin = starts[document]
        end = starts[document + 1]
        row = found[document]
        line_room = 1
        sentence_room = 1
        for index in range(begin, end):
            line_room += points[index] == 10
            sentence_room += points[index] == 10 or _is_end(points[index])
        line_hashes = np.empty(line_room, dtype=np.uint64)
        line_lengths = np.empty(line_room, dtype=np.int64)
        hashes = np.empty(sentence_room, dtype=np.uint64)
        lengths = np.empty(sentence_room, dtype=np.int64)
        lines = 0
        number = 0
        line_hash = np.uint64(1)
        line_length = 0
        value = np.uint64(1)
        length = 0
        last = np.uint32(0)  # last character of the sentence that is no space
        for index in range(begin, end + 1):
            newline = index == end or points[index] == 10
            stop = not newline and _is_end(points[index])
            if not newline and (length > 0 or not stop):
                value = add_to_hash(value, points[index])
                line_hash = add_to_hash(line_hash, points[index])
                length += 1
                line_length += 1
                if table[points[index]] > 1:  # SPACE, NEWLINE
                    last = points[index]
            if length > 0 and (newline or stop):
                hashes[number] = value
                lengths[number] = length
                number += 1
                row[8] += length
                row[9] = max(row[9], length)
                row[10] += last == 0x30FB or last == 0x2026
                value = np.uint64(1)
                length = 0
                last = np.uint32(0)
            if newline:
                line_hashes[lines] = line_hash
                line_lengths[lines] = line_length
                lines += 1
                row[3] += line_length
                row[4] += line_length == 0
                line_hash = np.uint64(1)
                line_length = 0
        row[0] = lines
        row[1], row[2] = count_repeated(line_hashes, line_lengths, 0, lines)
        row[5] = number
        row[6], row[7] = count_repeated(hashes, lengths, 0, number)
    return found
