"""C4's rules for English: lines are taken out, then documents.

Source: Raffel et al., *Exploring the Limits of Transfer Learning* (T5, arXiv 1910.10683), section
2.2, and TensorFlow Datasets (``tensorflow_datasets/text/c4_utils.py``), in the reading of
datatrove (``src/datatrove/pipeline/filters/c4_filters.py``).

Where this differs from datatrove 0.10.1, on purpose:

* sentences are counted by their end marks and closing quotes (:class:`Sentences`), not by spaCy;
* the list of bad words is the user's own file, nothing is downloaded, blank lines in it are
  no words, and no share of the documents with bad words is kept at random.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numba import njit
from pydantic import Field

from yoriai import Document, Filter, Verdict, files
from yoriai_corpus.rules.base import Chain, Limit
from yoriai_corpus.rules.english import line_break
from yoriai_corpus.text.batch import F64, I64, U8, U32, Batch, batch_of
from yoriai_corpus.text.characters import class_table

_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
POLICY = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
"""Phrases of notices on cookies and policies (``c4_utils.py``)."""


class ProseLines(Filter):
    """Take out lines that do not read as sentences, and Wikipedia's marks of citations.

    A line stays if it ends in ``. ? ! " '`` (not in an ellipsis), has three words at least and
    none of more than 1,000 characters. Space around lines goes too.
    """

    version: ClassVar[str] = "1"
    end_marks: bool = Field(True, description="whether a line must end in an end mark")
    min_words: int = Field(3, ge=0, description="fewest words in a line")
    max_word: int = Field(1000, ge=1, description="longest word in characters")
    citations: bool = Field(True, description="whether [1], [edit], [citation needed] go")

    def judge(self, document: Document) -> Verdict:
        return self.judge_batch([document])[0]

    def judge_batch(self, documents: Sequence[Document]) -> list[Verdict]:
        batch = batch_of(documents)
        begins, ends, first = _prose_lines(
            *batch.codes, class_table(), self.end_marks, self.min_words, self.max_word,
            self.citations,
        )  # fmt: skip
        spans = np.column_stack((begins, ends))
        verdicts = []
        for index, text in enumerate(batch.texts):
            own = spans[first[index] : first[index + 1]] - batch.codes.starts[index]
            lines = [text[begin:end] for begin, end in own.tolist()]
            kept = "\n".join(lines)
            if self.citations and "[" in kept:
                kept = "\n".join(_CITATION.sub("", line) for line in lines)
            kept = kept.strip()
            verdicts.append(self.KEEP if kept == text else Verdict("edit", text=kept))
        return verdicts


class LinesWithout(Filter):
    """Take out lines that hold one of some phrases, in capitals or not."""

    version: ClassVar[str] = "1"
    phrases: tuple[str, ...] = Field(min_length=1, description="phrases in lower case")

    def judge(self, document: Document) -> Verdict:
        text = document.text
        lower = text.lower()
        if not any(phrase in lower for phrase in self.phrases):
            return self.KEEP
        kept = [
            line
            for line in text.splitlines()
            if not any(phrase in line.lower() for phrase in self.phrases)
        ]
        left = "\n".join(kept).strip()
        return self.KEEP if left == text else Verdict("edit", text=left)


class Without(Limit):
    """Drop documents that hold a phrase, in capitals or not."""

    version: ClassVar[str] = "1"
    phrase: str = Field(min_length=1, description="the phrase in lower case")

    def measure(self, batch: Batch) -> F64:
        cased = self.phrase.upper() != self.phrase
        texts = (text.lower() if cased else text for text in batch.texts)
        return np.array([text.count(self.phrase) for text in texts], dtype=np.float64)

    def limits(self) -> tuple[float, float]:
        return 0, 0

    def span(self, text: str) -> str:
        at = max(0, text.lower().find(self.phrase))
        return text[max(0, at - 20) : at + 20]


class Sentences(Limit):
    """Drop documents of fewer than five sentences.

    A sentence ends with a run of ``. ! ?``, closing quotes or brackets after it, before a space
    or the end of the line; what is left of a line after that is one sentence more. A full stop
    after a single letter, as in initials, ends none.
    """

    version: ClassVar[str] = "1"
    min_sentences: int = Field(5, ge=0, description="fewest sentences")

    def measure(self, batch: Batch) -> F64:
        return _sentences(*batch.codes, class_table()).astype(np.float64)

    def limits(self) -> tuple[float, float]:
        return self.min_sentences, np.inf


class BadWords(Limit):
    """Drop documents that hold a word of a list, in capitals or not, between other characters.

    C4 used the "List of Dirty, Naughty, Obscene or Otherwise Bad Words". A word counts where
    no letter, digit or ``_`` touches it; with ``anywhere`` (Japanese, Chinese, Thai) inside
    others too. A word of one line of the file may hold spaces.
    """

    version: ClassVar[str] = "1"
    words: Path = Field(description="a text file, one word a line, UTF-8")
    anywhere: bool = Field(False, description="whether a word counts inside another")
    max_words: int = Field(0, ge=0, description="most hits that are kept")

    def fingerprint(self) -> str:
        return files.digest_file(self.words)

    def measure(self, batch: Batch) -> F64:
        found, words = _automaton(self.words, self.fingerprint())
        return np.array([self._hits(found, words, t.lower())[0] for t in batch.texts], np.float64)

    def limits(self) -> tuple[float, float]:
        return 0, self.max_words

    def span(self, text: str) -> str:
        return self._hits(*_automaton(self.words, self.fingerprint()), text.lower())[1]

    def _hits(self, automaton: Any, words: tuple[str, ...], text: str) -> tuple[int, str]:
        """How many hits, and the first."""
        number, first = 0, ""
        if automaton is None:
            return 0, ""
        for index, begin, end in automaton.find_matches_as_indexes(text, overlapping=True):
            if self.anywhere or not (_word(text[begin - 1 : begin]) or _word(text[end : end + 1])):
                number += 1
                first = first or words[index]
        return number, first


def _word(character: str) -> bool:
    return character.isalnum() or character == "_"


@cache
def _automaton(path: Path, _fingerprint: str) -> tuple[Any, tuple[str, ...]]:
    """The words of the file with that fingerprint, ready to be found; None if there are none."""
    import ahocorasick_rs

    lines = path.read_text(encoding="utf-8").splitlines()
    words = tuple(sorted({line.strip().lower() for line in lines} - {""}))
    return ahocorasick_rs.AhoCorasick(words) if words else None, words


class C4(Chain):
    """C4's rules (arXiv 1910.10683, section 2.2), in datatrove's order.

    Lines that do not read as sentences go; a document with "lorem ipsum" is dropped; lines with
    "javascript" go; a document with a curly bracket is dropped; lines on cookies and policies
    go; a document left with fewer than five sentences is dropped, and so is one with a bad
    word, if a list is given. The rules look at what the ones before have left, so a curly
    bracket in a line that goes first drops nothing.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("en",), description="languages it judges; empty: all")
    end_marks: bool = Field(True, description="whether a line must end in an end mark")
    min_line_words: int = Field(3, ge=0, description="fewest words in a line")
    max_word: int = Field(1000, ge=1, description="longest word in characters")
    citations: bool = Field(True, description="whether [1], [edit], [citation needed] go")
    lorem_ipsum: bool = Field(True, description="whether that phrase drops a document")
    javascript: bool = Field(True, description="whether lines with that word go")
    curly_bracket: bool = Field(True, description="whether { drops a document")
    policy: tuple[str, ...] = Field(POLICY, description="lines with these phrases go")
    min_sentences: int = Field(5, ge=0, description="fewest sentences; 0: any number")
    bad_words: Path | None = Field(None, description="a text file, one word a line")

    def fingerprint(self) -> str:
        return files.digest_file(self.bad_words) if self.bad_words else ""

    def chain(self) -> Sequence[tuple[str, Filter]]:
        prose = ProseLines(
            end_marks=self.end_marks,
            min_words=self.min_line_words,
            max_word=self.max_word,
            citations=self.citations,
        )
        rules: list[tuple[str, Filter]] = [("lines", prose)]
        if self.lorem_ipsum:
            rules.append(("lorem-ipsum", Without(phrase="lorem ipsum")))
        if self.javascript:
            rules.append(("javascript", LinesWithout(phrases=("javascript",))))
        if self.curly_bracket:
            rules.append(("curly-bracket", Without(phrase="{")))
        if self.policy:
            rules.append(("policy", LinesWithout(phrases=self.policy)))
        if self.min_sentences:
            rules.append(("sentences", Sentences(min_sentences=self.min_sentences)))
        if self.bad_words:
            rules.append(("bad-words", BadWords(words=self.bad_words)))
        return rules


# --- kernels ------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _citation_before(points: U32, begin: int, end: int, table: U8) -> int:
    """Where a mark of citation that ends at ``end`` begins; ``end`` if none does."""
    if end <= begin or points[end - 1] != 93:  # ]
        return end
    left = end - 2
    while left >= begin and points[left] != 91:  # [
        if points[left] == 93:
            return end
        left -= 1
    if left < begin:
        return end
    digits = True
    for index in range(left + 1, end - 1):
        digits = digits and table[points[index]] == 2
    if digits:
        return left
    length = end - left - 2
    for words in ("edit", "citation needed"):
        if len(words) == length:
            same = True
            for index in range(length):
                same = same and points[left + 1 + index] == ord(words[index])
            if same:
                return left
    return end


@njit(cache=True, nogil=True)
def _ends_well(points: U32, begin: int, end: int, table: U8, citations: bool) -> bool:
    """Whether a line ends in an end mark and in no ellipsis, citations not counted."""
    dots = 0
    while True:
        if citations:
            before = _citation_before(points, begin, end, table)
            if before < end:
                end = before
                continue
        if end <= begin:
            return dots > 0
        last = points[end - 1]
        if last != 46:
            return dots > 0 or last == 63 or last == 33 or last == 34 or last == 39
        dots += 1
        if dots == 3:
            return False
        end -= 1


@njit(cache=True, nogil=True)
def _prose_lines(
    points: U32,
    starts: I64,
    table: U8,
    end_marks: bool,
    min_words: int,
    max_word: int,
    citations: bool,
) -> tuple[I64, I64, I64]:
    """Lines that stay, without space around: where they begin, end; the first of each document."""
    room = len(starts)
    for point in points:
        room += line_break(point)
    begins = np.empty(room, dtype=np.int64)
    ends = np.empty(room, dtype=np.int64)
    first = np.zeros(len(starts), dtype=np.int64)
    lines = 0
    for document in range(len(starts) - 1):
        end = starts[document + 1]
        left = right = starts[document]  # the line without space around
        words = longest = length = 0
        for index in range(starts[document], end + 1):
            if index < end and table[points[index]] > 1:
                if length == 0:
                    words += 1
                    if words == 1:
                        left = index
                length += 1
                longest = max(longest, length)
                right = index + 1
                continue
            length = 0
            if index < end and not line_break(points[index]):
                continue
            if (
                words > 0
                and words >= min_words
                and longest <= max_word
                and (not end_marks or _ends_well(points, left, right, table, citations))
            ):
                begins[lines] = left
                ends[lines] = right
                lines += 1
            words = longest = 0
        first[document + 1] = lines
    return begins[:lines], ends[:lines], first


@njit(cache=True, nogil=True)
def _sentences(points: U32, starts: I64, table: U8) -> I64:
    found = np.zeros(len(starts) - 1, dtype=np.int64)
    for document in range(len(starts) - 1):
        end = starts[document + 1]
        open_ = False  # inside a sentence
        closing = False  # after an end mark, spaces not yet seen
        for index in range(starts[document], end + 1):
            if index == end or points[index] == 10 or (closing and table[points[index]] <= 1):
                found[document] += open_
                open_ = closing = False
                continue
            point = points[index]
            if table[point] <= 1:
                continue
            if point == 33 or point == 63 or point == 46 or point == 0x3002:
                initial = (
                    point == 46
                    and index - 1 >= starts[document]
                    and 3 <= table[points[index - 1]] <= 7
                    and (index - 2 < starts[document] or table[points[index - 2]] <= 1)
                )
                closing = open_ and not initial
            elif not (closing and table[point] == 8):  # PUNCTUATION: quotes, brackets
                closing = False
                open_ = True
    return found
