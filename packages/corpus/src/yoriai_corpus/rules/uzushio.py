"""Uzushio's ordered levels, which gave LLM-jp corpus v2 its quality tiers.

``WorksApplications/uzushio`` at 23dc7b2: ``scripts/pipeline_03a.conf`` and the filters in
``lib/.../filters``. A document is removed by the first level that it fails, so that the
account of ``corpus/uzushio-levels`` is the table of tiers. Paragraphs are lines, and newlines do
not count (there they are lost when text is split).

Not covered here, because it needs the HTML or the whole corpus: DeduplicateDocumentsPercentile,
LargeFreqParagraphs (paragraph frequencies); LinkCharRatio, MergeListTag, MarkdownizeHeading,
NoContentDOM (DOM); KenLMParagraphPerplexity, which removes runs of paragraphs. Lengths are in
code points, there in UTF-16 units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numba import njit
from pydantic import Field

from yoriai import Filter, files
from yoriai_corpus.rules.base import Chain, Limit
from yoriai_corpus.rules.perplexity import Perplexity
from yoriai_corpus.rules.words import I32, find_list, load, step
from yoriai_corpus.text.batch import F64, I64, U32, Batch
from yoriai_corpus.text.characters import measured

LZ4_BYTES = 2**20  # CompressionRate.INPUT_SIZE: what is beyond is not looked at


class ParagraphLength(Limit):
    """Drop documents by their characters outside newlines (``DocLength``)."""

    version: ClassVar[str] = "1"
    min_characters: int = Field(50, ge=0, description="fewest characters")

    def measure(self, batch: Batch) -> F64:
        return _hiragana_table(batch)[:, 1].astype(np.float64)

    def limits(self) -> tuple[float, float]:
        return self.min_characters, math.inf


class Hiragana(Limit):
    """Drop documents with few characters of the hiragana block (``HiraganaRatio``)."""

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("ja",), description="languages it judges; empty: all")
    min_share: float = Field(0.1, ge=0, le=1, description="smallest share of the characters")

    def measure(self, batch: Batch) -> F64:
        hiragana, characters = _hiragana_table(batch).T
        # 0 / 0 is neither too low nor too high there either.
        return np.divide(
            hiragana, characters, out=np.full(len(batch), np.nan), where=characters > 0
        )

    def limits(self) -> tuple[float, float]:
        return self.min_share, math.inf


class Lz4(Limit):
    """Drop documents that LZ4 shrinks too well or hardly at all (``CompressionRate``).

    Compressed bytes over UTF-8 bytes of the text without newlines, of the first MiB. The block is
    that of ``LZ4_compress_default``, which lz4-java calls there and pyarrow here (python-lz4's
    rates differ by 0.007 in the median). Kept as published: short documents are judged too,
    which compress badly and so are "noise".
    """

    version: ClassVar[str] = "1"
    min_rate: float = Field(0.25, ge=0, description="below this the text repeats itself")
    max_rate: float = Field(5.0, ge=0, description="above this the text is noise")

    def measure(self, batch: Batch) -> F64:
        return measured(batch, "lz4", lambda: np.array([lz4_rate(text) for text in batch.texts]))

    def limits(self) -> tuple[float, float]:
        return self.min_rate, self.max_rate


class WordTypes(Limit):
    """Drop documents that hold many different words of a list (``WordTypes``, kind ``uniq``).

    From left to right the longest word is taken, nothing is guarded; a document with
    ``words_limit`` different ones is dropped. Raises NotFound and UsageError for a list
    that cannot be read. Defaults are our own lists, not HojiChar's, which Uzushio uses.
    """

    version: ClassVar[str] = "1"
    words: str = Field("adult", description="path of a word list, package:file, or a list of ours")
    max_types: int = Field(8, ge=0, description="most different words that are kept")

    def fingerprint(self) -> str:
        return files.digest_bytes(find_list(self.words).read_bytes())

    def measure(self, batch: Batch) -> F64:
        trie = load(self.words, guard=False)
        types = _types(*batch.codes, trie.roots, trie.codes, trie.children, trie.word)
        return types.astype(np.float64)

    def limits(self) -> tuple[float, float]:
        return -math.inf, self.max_types


class UzushioLevels(Chain):
    """The levels of ``pipeline_03a.conf`` that a document alone can be judged by, in order.

    The two levels of perplexity are there if ``model`` names a character model
    (``corpus/character-model``) and ``max_perplexity`` gives its limits, lenient first: the
    published ones are of a word model after Sudachi and mean nothing for another.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("ja",), description="languages it judges; empty: all")
    adult_words: str = Field("adult", description="path of a word list, or a list of ours")
    discrimination_words: str = Field("discrimination", description="the same, for discrimination")
    model: str = Field("", description="a character model; empty: no levels of perplexity")
    max_perplexity: tuple[float, ...] = Field((), description="limits of the perplexity levels")

    def fingerprint(self) -> str:
        parts = [rule.fingerprint() for _, rule in self.chain()]
        return files.digest_bytes("\n".join(parts).encode())

    def chain(self) -> Sequence[tuple[str, Filter]]:
        rules: list[tuple[str, Filter]] = [
            ("length-50", ParagraphLength(min_characters=50)),
            ("hiragana-10", Hiragana(min_share=0.1)),
            ("hiragana-15", Hiragana(min_share=0.15)),
            ("compression-25", Lz4(min_rate=0.25, max_rate=5.0)),
            ("compression-40", Lz4(min_rate=0.4, max_rate=0.75)),
            ("compression-50", Lz4(min_rate=0.5, max_rate=0.75)),
        ]
        if self.model:
            for most in self.max_perplexity:
                rule = Perplexity(model=self.model, max_perplexity=most, outliers=0.1)
                rules.append((f"perplexity-{most:g}", rule))
        return [
            *rules,
            ("adult-9", WordTypes(words=self.adult_words, max_types=8)),
            ("adult-6", WordTypes(words=self.adult_words, max_types=5)),
            ("discrimination-9", WordTypes(words=self.discrimination_words, max_types=8)),
            ("length-200", ParagraphLength(min_characters=200)),
        ]


def lz4_rate(text: str) -> float:
    """LZ4 bytes over UTF-8 bytes, without newlines; NaN for nothing."""
    import pyarrow

    data = text[:LZ4_BYTES].replace("\n", "").encode()[:LZ4_BYTES]
    if not data:
        return math.nan
    return len(pyarrow.compress(data, codec="lz4_raw", asbytes=True)) / len(data)


def _hiragana_table(batch: Batch) -> I64:
    """``[documents, 2]``: characters of the hiragana block, characters outside newlines."""
    return measured(batch, "uzushio characters", lambda: _hiragana(*batch.codes))


@njit(cache=True, nogil=True)
def _hiragana(points: U32, starts: I64) -> I64:
    found = np.zeros((len(starts) - 1, 2), dtype=np.int64)
    for document in range(len(starts) - 1):
        for index in range(starts[document], starts[document + 1]):
            found[document, 0] += 0x3040 <= points[index] <= 0x309F
            found[document, 1] += points[index] != 10
    return found


@njit(cache=True, nogil=True)
def _types(points: U32, starts: I64, roots: I32, codes: U32, children: I32, word: I32) -> I64:
    """How many different words are in each text, the longest one taken at each place."""
    found = np.zeros(len(starts) - 1, dtype=np.int64)
    seen = np.full(max(1, len(word)), -1, dtype=np.int64)  # the last document with that word
    for document in range(len(starts) - 1):
        end = starts[document + 1]
        index = starts[document]
        while index < end:
            state = roots[points[index]] if points[index] < len(roots) else 0
            best = -1
            stop = index + 1
            best_end = stop
            while state > 0:
                if word[state] >= 0:
                    best, best_end = word[state], stop
                if stop == end:
                    break
                state = step(state, points[stop], codes, children)
                stop += 1
            if best >= 0 and seen[best] != document:
                seen[best] = document
                found[document] += 1
            index = best_end
    return found
