"""HojiChar's filters for documents, with its thresholds.

``HojiChar/HojiChar`` 0.18.1 (Apache-2.0), ``hojichar/filters/document_filters.py``, decision for
decision where a docstring names no difference. A "dropped from" threshold is one at which a
document goes (HojiChar's ``>=``). Its lists of words are in :mod:`yoriai_corpus.rules.words`, its
``AcceptJapanese`` is in :mod:`yoriai_corpus.rules.japanese`.
"""

from __future__ import annotations

import string
from collections import Counter
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numba import njit
from pydantic import Field

from yoriai import Document, Filter, UsageError, Verdict, files
from yoriai_corpus.rules.base import Limit
from yoriai_corpus.rules.words import WordTrie, find_list, find_words, load, trie_of
from yoriai_corpus.text.batch import F64, I64, U8, U32, Batch
from yoriai_corpus.text.characters import Class, class_table, ratio

JAPANESE = ("ja",)


def below(threshold: float) -> float:
    """The largest number that is smaller: the limit of a rule that drops from ``threshold`` on."""
    return float(np.nextafter(threshold, -np.inf))


class Kuten(Limit):
    """Drop documents with fewer 。 than one for ``max_sentence_characters`` characters.

    HojiChar's ``DiscardRareKuten``: a mean sentence of at most 100 characters; LLM-jp-13B v1
    took 250 (``llm-jp-corpus:scripts/filters.py``). Measured is 。 over characters. An empty
    document is kept.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(JAPANESE, description="languages it judges; empty: all")
    max_sentence_characters: int = Field(100, ge=1, description="longest mean sentence, by 。")

    def measure(self, batch: Batch) -> F64:
        found = np.array([text.count("。") for text in batch.texts], dtype=np.float64)
        whole = batch.lengths
        return np.divide(found, whole, out=np.full(len(batch), np.nan), where=whole > 0)

    def limits(self) -> tuple[float, float]:
        return 1 / self.max_sentence_characters, np.inf


class Comments(Limit):
    """Drop documents with more than ``max_hits`` signs of comments, lists and shops.

    HojiChar's ``DiscardBBSComments``: dates in digits, 12話, コメント, レビュー, 投稿, ページ,
    質問, (月), SOLD OUT, 楽天市場 and every hyphen, at most 14. So English text and lists of
    numbers go too.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(JAPANESE, description="languages it judges; empty: all")
    max_hits: int = Field(14, ge=0, description="most occurrences that are kept")

    def measure(self, batch: Batch) -> F64:
        words = find_words(_comment_words(), *batch.codes).counts
        return (words + _dates(*batch.codes, class_table())).astype(np.float64)

    def limits(self) -> tuple[float, float]:
        return -np.inf, self.max_hits


class CharacterRepetition(Limit):
    """Drop documents that consist of few different runs of ``ngram`` characters.

    HojiChar's ``CharRepetitionRatioFilter``, after BigScience's: of all n-grams the share that
    the √N most frequent of N different ones make up, counting no n-gram that occurs once;
    dropped from 0.33 on. N-grams are compared by 64-bit hashes.
    """

    version: ClassVar[str] = "1"
    threshold: float = Field(0.33, ge=0, description="dropped from this share on")
    ngram: int = Field(5, ge=1, description="characters in an n-gram")

    def measure(self, batch: Batch) -> F64:
        return _character_repetition(*batch.codes, self.ngram)

    def limits(self) -> tuple[float, float]:
        return -np.inf, below(self.threshold)


class CharacterRun(Limit):
    """Drop documents with a run of one character, of ``threshold`` and more.

    HojiChar's ``SingleCharacterRepetitionFilter``: from 200 on.
    """

    version: ClassVar[str] = "1"
    threshold: int = Field(200, ge=1, description="dropped from a run of so many characters on")

    def measure(self, batch: Batch) -> F64:
        return _longest_run(*batch.codes)[0].astype(np.float64)

    def limits(self) -> tuple[float, float]:
        return -np.inf, self.threshold - 1

    def span(self, text: str) -> str:
        place = int(_longest_run(*Batch([Document("", "", text)]).codes)[1][0])
        return text[place : place + 40]


class SpecialCharacters(Limit):
    """Drop documents that are mostly punctuation, space, emoji and unusual characters.

    HojiChar's ``DiscardTooManySpecialToken``: more than 0.4 of the characters. The set is
    BigScience's (``01b_oscar_cleaning_and_filtering/parameters_filtering.py``), in which 士 and １
    stand as well, and Emoji 17 (the single code points of ``emoji`` 2.16). Digits are not in it.
    """

    version: ClassVar[str] = "1"
    max_share: float = Field(0.4, ge=0, le=1, description="largest share that is kept")

    def measure(self, batch: Batch) -> F64:
        return ratio(_marked(*batch.codes, special_table()), batch.lengths)

    def limits(self) -> tuple[float, float]:
        return -np.inf, self.max_share


class EndingEllipsis(Limit):
    r"""Drop documents of whose lines too many end with ``...`` or ``…``.

    HojiChar's ``DiscardTooManyEndingEllipsis``, after RedPajama v2: more than 0.7 of the
    newlines. A last line without a newline does not count.
    """

    version: ClassVar[str] = "1"
    max_share: float = Field(0.7, ge=0, description="largest share that is kept")

    def measure(self, batch: Batch) -> F64:
        ends = [text.count("...\n") + text.count("…\n") for text in batch.texts]
        newlines = [max(text.count("\n"), 1) for text in batch.texts]
        return np.array(ends, dtype=np.float64) / np.array(newlines, dtype=np.float64)

    def limits(self) -> tuple[float, float]:
        return -np.inf, self.max_share


class ShortLines(Limit):
    """Drop documents of whose lines more than ``max_share`` have ``characters`` or fewer.

    HojiChar's ``DiscardTooShortLines``: half, 10 characters. Blank lines are short lines, and
    so is the nothing after a last newline.
    """

    version: ClassVar[str] = "1"
    max_share: float = Field(0.5, ge=0, le=1, description="largest share that is kept")
    characters: int = Field(10, ge=0, description="characters of the longest short line")

    def measure(self, batch: Batch) -> F64:
        return ratio(*_short_lines(*batch.codes, self.characters))

    def limits(self) -> tuple[float, float]:
        return -np.inf, self.max_share


class HeaderFooter(Filter):
    """Take off the first and last lines that begin with a word of navigation.

    HojiChar's ``HeaderFooterTagsRemover``: of six and more lines the first and last three are
    looked at, of four and more two, of fewer one. Differences: lines take the place of its
    sentence tokens, and a footer removes the footer (upstream removes the header in its place).
    The default list is our own.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(JAPANESE, description="languages it judges; empty: all")
    words: str = Field("navigation", description="path of a word list, package:file, or ours")

    def fingerprint(self) -> str:
        return files.digest_bytes(find_list(self.words).read_bytes())

    def judge(self, document: Document) -> Verdict:
        lines = document.text.split("\n")
        look = 1 if len(lines) < 4 else 2 if len(lines) < 6 else 3
        at_ends = sorted({*range(look), *range(len(lines) - look, len(lines))})
        ends = Batch(Document("", "", lines[index]) for index in at_ends)
        hits = find_words(load(self.words, guard=False), *ends.codes)
        gone = {index for index, begin in zip(at_ends, hits.begin, strict=True) if begin == 0}
        if not gone:
            return self.KEEP
        text = "\n".join(line for index, line in enumerate(lines) if index not in gone)
        return Verdict("edit", text=text, value=len(gone), span=lines[min(gone)][:40])


# --- with a morphological analyser ----------------------------------------------------------


class NounShare(Limit):
    """Drop documents whose words are nearly all nouns, such as lists of key words.

    HojiChar's ``DiscardTooManyNouns``: from 0.80 of the words on, supplementary symbols not
    counted. Needs fugashi and a UniDic dictionary (``fugashi[unidic-lite]``).
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(JAPANESE, description="languages it judges; empty: all")
    threshold: float = Field(0.8, ge=0, description="dropped from this share on")

    def measure(self, batch: Batch) -> F64:
        shares = []
        for text in batch.texts:
            kinds = [word.feature.pos1 for piece in _words(text) for word in piece]
            words = len(kinds) - kinds.count("補助記号")
            shares.append(kinds.count("名詞") / words if words else 0.0)
        return np.array(shares)

    def limits(self) -> tuple[float, float]:
        return -np.inf, below(self.threshold)


class WordRepetition(Limit):
    """Drop documents in which many runs of ``ngram`` words occur more than once.

    HojiChar's ``WordRepetitionRatioFilter``, after BigScience's: from 0.40 of the 7-grams on.
    Needs fugashi and a dictionary (``fugashi[unidic-lite]``).
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(JAPANESE, description="languages it judges; empty: all")
    threshold: float = Field(0.4, ge=0, description="dropped from this share on")
    ngram: int = Field(7, ge=1, description="words in an n-gram")

    def measure(self, batch: Batch) -> F64:
        shares = []
        for text in batch.texts:
            seen: Counter[tuple[str, ...]] = Counter()
            for piece in _words(text):
                words = [word.surface for word in piece]
                seen.update(zip(*(words[skip:] for skip in range(self.ngram)), strict=False))
            repeated = sum(count for count in seen.values() if count > 1)
            shares.append(repeated / seen.total() if seen else 0.0)
        return np.array(shares)

    def limits(self) -> tuple[float, float]:
        return -np.inf, below(self.threshold)


_PIECE = 100_000  # characters; longer texts can crash MeCab (HojiChar's max_parse_chars)


def _words(text: str) -> list[Any]:
    tagger = _tagger()
    return [tagger(text[begin : begin + _PIECE]) for begin in range(0, len(text), _PIECE)]


@cache
def _tagger() -> Any:
    try:
        from fugashi import Tagger

        return Tagger("-Owakati")
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is no dictionary
        raise UsageError(
            "fugashi with a UniDic dictionary is not installed",
            hint="pip install 'fugashi[unidic-lite]'",
        ) from error


# --- kernels --------------------------------------------------------------------------------


@cache
def _comment_words() -> WordTrie:
    words = ["コメント", "SOLD OUT", "レビュー", "投稿", "ページ", "質問", "楽天市場"]
    return trie_of(words + [f"({day})" for day in "月火水木金土日"])


@njit(cache=True, nogil=True)
def _is_separator(point: int, mark: int) -> bool:
    return point == mark or 0x2D <= point <= 0x2F  # 年 or 月, - . /


@njit(cache=True, nogil=True)
def _date_end(points: U32, index: int, end: int, table: U8) -> int:
    r"""Where ``\d{4}[年.\-/] *\d{1,2}[月.\-/] *\d{1,2}日*`` ends; -1 where it does not match."""
    stop = index
    for width, mark in ((4, 0x5E74), (2, 0x6708), (2, 0)):
        digits = 0
        while stop < end and digits < width and table[points[stop]] == 2:  # Class.DIGIT
            stop += 1
            digits += 1
        if digits == 0 or (width == 4 and digits < 4):
            return -1
        if mark:
            if stop >= end or not _is_separator(points[stop], mark):
                return -1
            stop += 1
            while stop < end and points[stop] == 0x20:
                stop += 1
    while stop < end and points[stop] == 0x65E5:  # 日
        stop += 1
    return stop


@njit(cache=True, nogil=True)
def _dates(points: U32, starts: I64, table: U8) -> I64:
    r"""Dates, ``\d+話`` and hyphens; none shares a character with the words counted beside."""
    counts = np.zeros(len(starts) - 1, dtype=np.int64)
    for document in range(len(starts) - 1):
        end = starts[document + 1]
        index = starts[document]
        digits_end = index  # of the run of digits that index is in
        while index < end:
            point = points[index]
            if point == 0x2D:
                counts[document] += 1
                index += 1
                continue
            if table[point] != 2:  # Class.DIGIT
                index += 1
                continue
            stop = _date_end(points, index, end, table)
            if stop < 0:
                if digits_end <= index:
                    digits_end = index + 1
                    while digits_end < end and table[points[digits_end]] == 2:
                        digits_end += 1
                if digits_end < end and points[digits_end] == 0x8A71:  # 話
                    stop = digits_end + 1
            if stop < 0:
                index += 1
            else:
                counts[document] += 1
                index = stop
    return counts


assert int(Class.DIGIT) == 2


@njit(cache=True, nogil=True)
def _character_repetition(points: U32, starts: I64, ngram: int) -> F64:
    shares = np.zeros(len(starts) - 1)
    for document in range(len(starts) - 1):
        begin = starts[document]
        total = starts[document + 1] - begin - ngram + 1
        if total <= 0:
            continue
        bits = 4  # a table of open addressing, at most half full
        while (1 << bits) < 2 * total:
            bits += 1
        keys = np.empty(1 << bits, dtype=np.uint64)
        counts = np.zeros(1 << bits, dtype=np.int32)
        shift = np.uint64(64 - bits)
        mask = np.uint64((1 << bits) - 1)
        hashes = np.empty(total, dtype=np.uint64)
        for index in range(total):
            value = np.uint64(0)
            for offset in range(ngram):
                value = (value ^ np.uint64(points[begin + index + offset])) * np.uint64(
                    0x9E3779B97F4A7C15
                )
                value ^= value >> np.uint64(29)
            hashes[index] = value * np.uint64(0x9E3779B97F4A7C15)  # the upper bits choose a slot
        occurrences = np.zeros(total + 1, dtype=np.int64)  # how many n-grams occur so often
        different = 0
        for index in range(total):
            slot = hashes[index] >> shift
            while counts[slot] > 0 and keys[slot] != hashes[index]:
                slot = (slot + np.uint64(1)) & mask
            if counts[slot]:
                occurrences[counts[slot]] -= 1
            else:
                keys[slot] = hashes[index]
                different += 1
            counts[slot] += 1
            occurrences[counts[slot]] += 1
        left = min(int(np.sqrt(different)), different - occurrences[1])
        frequent = 0
        often = total
        while left > 0:
            taken = min(left, occurrences[often])
            frequent += taken * often
            left -= taken
            often -= 1
        shares[document] = frequent / total
    return shares


@njit(cache=True, nogil=True)
def _longest_run(points: U32, starts: I64) -> tuple[I64, I64]:
    longest = np.zeros(len(starts) - 1, dtype=np.int64)
    places = np.zeros(len(starts) - 1, dtype=np.int64)
    for document in range(len(starts) - 1):
        run = 0
        for index in range(starts[document], starts[document + 1]):
            run = run + 1 if run and points[index] == points[index - 1] else 1
            if run > longest[document]:
                longest[document] = run
                places[document] = index + 1 - run - starts[document]
    return longest, places


@njit(cache=True, nogil=True)
def _marked(points: U32, starts: I64, table: U8) -> I64:
    counts = np.zeros(len(starts) - 1, dtype=np.int64)
    for document in range(len(starts) - 1):
        for index in range(starts[document], starts[document + 1]):
            counts[document] += table[points[index]]
    return counts


@njit(cache=True, nogil=True)
def _short_lines(points: U32, starts: I64, characters: int) -> tuple[I64, I64]:
    short = np.zeros(len(starts) - 1, dtype=np.int64)
    lines = np.zeros(len(starts) - 1, dtype=np.int64)
    for document in range(len(starts) - 1):
        begin = starts[document]
        end = starts[document + 1]
        for index in range(begin, end + 1):
            if index == end or points[index] == 10:
                lines[document] += 1
                short[document] += index - begin <= characters
                begin = index + 1
    return short, lines


# What BigScience's set holds beyond ASCII, and the emoji of one code point: hexadecimal ranges.
_SPECIAL = (
    "81-85 91-93 95-99 9C-9D A1-A8 AA-AB AD AF-B4 B7-BF D7 F7-F8 131 26A 2BA-2BC 2C8 2CC 2D0 2D8"
    " 2DA 2DC 3C0 413 60C 647 66A 66C 6E9 93E 940 947 94D 97D 9BE E51 2002-2003 2005 2008-200B"
    " 2010-2011 2013-2016 2018-201A 201C-2020 2022 2024 2026 202F-2030 2032-2033 2039-203A 203F"
    " 2043-2044 20A8 20AA 20AC 2103 21D3 2206 2208 2212 221A 221E-221F 2248 2256 2264-2265 2295"
    " 22C5 2550 25A0 25AC 25B2 25B4 25B7 25BA-25BC 25C6 25CF 25E6 2605-2606 261B 263B 2661 266B"
    " 2713 2726 2731 2756 27A4 27A9 2800 3000-3002 300A-300D 3010-3011 309C 58EB FD3E-FD3F FEFF"
    " FF01 FF08-FF09 FF0C FF0E FF11 FF1A-FF1B FF1F FF3E FF5E FFFC-FFFD"
)
_EMOJI = (
    "A9 AE 203C 2049 2122 2139 2194-2199 21A9-21AA 231A-231B 2328 23CF 23E9-23F3 23F8-23FA 24C2"
    " 25AA-25AB 25B6 25C0 25FB-25FE 2600-2604 260E 2611 2614-2615 2618 261D 2620 2622-2623 2626"
    " 262A 262E-262F 2638-263A 2640 2642 2648-2653 265F-2660 2663 2665-2666 2668 267B 267E-267F"
    " 2692-2697 2699 269B-269C 26A0-26A1 26A7 26AA-26AB 26B0-26B1 26BD-26BE 26C4-26C5 26C8"
    " 26CE-26CF 26D1 26D3-26D4 26E9-26EA 26F0-26F5 26F7-26FA 26FD 2702 2705 2708-270D 270F 2712"
    " 2714 2716 271D 2721 2728 2733-2734 2744 2747 274C 274E 2753-2755 2757 2763-2764 2795-2797"
    " 27A1 27B0 27BF 2934-2935 2B05-2B07 2B1B-2B1C 2B50 2B55 3030 303D 3297 3299 1F004 1F0CF"
    " 1F170-1F171 1F17E-1F17F 1F18E 1F191-1F19A 1F201-1F202 1F21A 1F22F 1F232-1F23A 1F250-1F251"
    " 1F300-1F321 1F324-1F393 1F396-1F397 1F399-1F39B 1F39E-1F3F0 1F3F3-1F3F5 1F3F7-1F4FD"
    " 1F4FF-1F53D 1F549-1F54E 1F550-1F567 1F56F-1F570 1F573-1F57A 1F587 1F58A-1F58D 1F590"
    " 1F595-1F596 1F5A4-1F5A5 1F5A8 1F5B1-1F5B2 1F5BC 1F5C2-1F5C4 1F5D1-1F5D3 1F5DC-1F5DE 1F5E1"
    " 1F5E3 1F5E8 1F5EF 1F5F3 1F5FA-1F64F 1F680-1F6C5 1F6CB-1F6D2 1F6D5-1F6D9 1F6DC-1F6E5 1F6E9"
    " 1F6EB-1F6EC 1F6F0 1F6F3-1F6FC 1F7E0-1F7EB 1F7F0 1F90C-1F93A 1F93C-1F945 1F947-1F9FF"
    " 1FA70-1FA7C 1FA80-1FAC6 1FAC8 1FACC-1FADD 1FADF-1FAEB 1FAEF-1FAFA"
)


@cache
def special_table() -> U8:
    """Of each code point, 1 if :class:`SpecialCharacters` counts it."""
    table = np.zeros(0x110000, dtype=np.uint8)
    table[[ord(character) for character in string.punctuation + string.whitespace]] = 1
    for part in f"{_SPECIAL} {_EMOJI}".split():
        first, _, last = part.partition("-")
        table[int(first, 16) : int(last or first, 16) + 1] = 1
    return table
