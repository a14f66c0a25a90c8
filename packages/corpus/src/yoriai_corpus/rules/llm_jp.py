"""The filters of LLM-jp-13B v1.0, as published.

``llm-jp/llm-jp-corpus`` (Apache-2.0), ``scripts/filters.py`` at c58e94f and
``scripts/filter_data.py`` at eedecb5 (the state that dropped Books3 for corpus v1.0.1), decision
for decision and, of what is kept, character for character. Things to know:

* filters see the text as it was read; what edits comes after them, and then empty texts go;
* the lines of web pages are joined again *without* newlines: all line breaks vanish;
* a URL that is cut takes along whatever letters follow it without a space, kana and kanji too;
* there is no removal of duplicates, no masking of personal data and no decontamination;
* upstream's word lists are not copied here. Name copies of them to repeat its results
  (``scripts/dict/ja_adult_keywords.txt`` and so on, and HojiChar's
  ``dict/advertisement_keywords_ja.txt``); our own small lists are the default.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np
from numba import njit
from pydantic import Field

from yoriai import Document, Filter, Verdict, files
from yoriai_corpus.rules.base import Chain
from yoriai_corpus.rules.code import CodeShape, StackQuality
from yoriai_corpus.rules.general import Compression, MinLength
from yoriai_corpus.rules.hojichar import Kuten
from yoriai_corpus.rules.japanese import Kana
from yoriai_corpus.rules.words import Advertising, NgWords
from yoriai_corpus.text.batch import I64, U8, U32, batch_of

# scripts/dict/ja_valid_domains.txt
DOMAINS = (
    "jp", "com", "net", "org", "work", "info", "xyz", "biz", "me", "tv", "site", "tokyo", "cc"
)  # fmt: skip
# remove_wikipedia_footnote in scripts/filters.py
FOOTNOTES = (
    "脚注", "関連項目", "日本国内の関連項目", "出典", "出典・脚注", "参照", "外部リンク",
    "参考文献", "その他関連事項", "Footnotes", "See also", "Further reading", "Bibliography",
    "References", "Notes", "Citations", "Sources", "External links",
)  # fmt: skip
# White_Space of Unicode, which is what \s means to the module ``regex`` that upstream uses
# (``re`` and ``str.isspace`` count U+001C to U+001F as well).
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


# --- rules of their own -------------------------------------------------------------------


class Domain(Filter):
    """Drop pages outside the top-level ``domains``, or under one of the addresses ``except_under``.

    LLM-jp's ``has_valid_domain``: 13 top-level domains, and not the Japanese Wikipedia, which it
    has from the dump. A document without an address is kept (upstream stops with an error); one
    whose address names no host is dropped.
    """

    version: ClassVar[str] = "1"
    domains: tuple[str, ...] = Field(DOMAINS, description="ends of host names that are kept")
    except_under: tuple[str, ...] = Field(
        ("https://ja.wikipedia.org/",), description="beginnings of addresses that are dropped"
    )

    def judge(self, document: Document) -> Verdict:
        if not document.url:
            return self.KEEP
        if document.url.startswith(self.except_under):
            return Verdict("drop", span=document.url[:80])
        try:
            host = urlsplit(document.url).hostname or ""
        except ValueError:  # such as "http://[half"
            host = ""
        if host.rpartition(".")[2] in self.domains:
            return self.KEEP
        return Verdict("drop", span=(host or document.url)[:80])


class JapaneseLines(Filter):
    """Leave only lines with kana, cut URLs and long runs of ASCII, join without newlines.

    LLM-jp's ``extract_japanese_text``, with ``join`` for those who want the line breaks back.
    Kana are the code points of the scripts Hiragana and Katakana, and ー. A URL is ``http://`` or
    ``https://`` and all that follows of letters (of any script), digits and ``/:%#$&?()~.=+-_``.
    After URLs are cut, runs of ``max_ascii`` characters of ASCII and more go.
    """

    version: ClassVar[str] = "1"
    max_ascii: int = Field(99, ge=0, description="longest run of ASCII that is left")
    join: str = Field("", max_length=1, description='what joins the lines; "\\n" keeps them')

    def judge(self, document: Document) -> Verdict:
        return self.judge_batch([document])[0]

    def judge_batch(self, documents: Sequence[Document]) -> list[Verdict]:
        if not documents:
            return []
        batch = batch_of(documents)
        joint = ord(self.join) if self.join else -1
        points, starts = _japanese_lines(*batch.codes, _flags(), self.max_ascii, joint)
        joined = points.tobytes().decode("utf-32-le")
        verdicts = []
        for text, begin, end in zip(batch.texts, starts, starts[1:], strict=False):
            cut = joined[begin:end]
            edit = cut != text
            verdicts.append(
                Verdict("edit", text=cut, value=len(text) - len(cut)) if edit else self.KEEP
            )
        return verdicts


class Footnotes(Filter):
    """Cut an article at the first line that is just a heading of notes, links or references.

    LLM-jp's ``remove_wikipedia_footnote``, 18 headings in Japanese and English. The heading must
    have a line before it and one after it; the newline before it goes too.
    """

    version: ClassVar[str] = "1"
    headings: tuple[str, ...] = Field(FOOTNOTES, min_length=1, description="lines to cut at")

    def judge(self, document: Document) -> Verdict:
        found = _headings(self.headings).search(document.text)
        if not found:
            return self.KEEP
        text = document.text[: found.start()]
        return Verdict("edit", text=text, value=len(document.text) - len(text), span=found[1])


class EmptyParentheses(Filter):
    """Remove parentheses that hold nothing, and space and commas at the ends inside others.

    LLM-jp's ``remove_empty_parenthesis``: 京（きょう、 ）becomes 京（きょう）, and 京（、） becomes
    京. Half-width ones take one space before them along.
    """

    version: ClassVar[str] = "1"
    _wide: ClassVar[str] = WHITE_SPACE + ",，、;；"
    _narrow: ClassVar[str] = WHITE_SPACE + ",;"
    _empty: ClassVar[re.Pattern[str]] = re.compile(f"[{WHITE_SPACE}]?\\(\\)")

    def judge(self, document: Document) -> Verdict:
        text = _trim_inside(document.text, "（", "）", self._wide).replace("（）", "")
        text = _trim_inside(text, "(", ")", self._narrow)
        if "()" in text:
            text = self._empty.sub("", text)
        if text == document.text:
            return self.KEEP
        return Verdict("edit", text=text, value=len(document.text) - len(text))


class IdPrefix(Filter):
    """Drop documents whose id begins with one of ``prefixes``.

    In the Pile the set of a document is the beginning of its id (``Books3/…``).
    """

    version: ClassVar[str] = "1"
    prefixes: tuple[str, ...] = Field(description="beginnings of ids that are dropped")

    def judge(self, document: Document) -> Verdict:
        for prefix in self.prefixes:
            if document.id.startswith(prefix):
                return Verdict("drop", span=prefix)
        return self.KEEP


# --- chains -------------------------------------------------------------------------------


class JapaneseWeb(Chain):
    """LLM-jp-13B v1's rules for Japanese web pages (``ja_cc``, which was mC4).

    In order: top-level domain; not empty; kana in the first 50 characters; at most 10 words of
    advertising; at most 3 adult, 3 discriminating, 3 violent words (strict: 2), katakana guarded;
    mean sentence of at most 250 characters by 。 (strict: 80); deflate 9 leaves 0.30 (strict:
    0.375) to 0.70 of the bytes. Then :class:`JapaneseLines`, and not empty once more.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("ja",), description="languages it judges; empty: all")
    strict: bool = Field(False, description="the strict variant of filter_data.py --strict")
    advertising: str = Field("advertising", description="word list, see corpus/ng-words")
    adult: str = Field("adult", description="word list, see corpus/ng-words")
    discrimination: str = Field("discrimination", description="word list, see corpus/ng-words")
    violence: str = Field("violence", description="word list, see corpus/ng-words")

    def fingerprint(self) -> str:
        return files.digest_json(
            [rule.fingerprint() for _, rule in self.chain() if isinstance(rule, NgWords)]
        )

    def chain(self) -> Sequence[tuple[str, Filter]]:
        hits, sentence, ratio = (2, 80, 0.375) if self.strict else (3, 250, 0.30)
        return [
            ("domain", Domain()),
            ("empty", MinLength(characters=1)),
            ("kana", Kana(within=50)),
            ("advertising", Advertising(words=self.advertising, max_hits=10)),
            ("adult", NgWords(words=self.adult, max_hits=hits)),
            ("discrimination", NgWords(words=self.discrimination, max_hits=hits)),
            ("violence", NgWords(words=self.violence, max_hits=hits)),
            ("kuten", Kuten(max_sentence_characters=sentence)),
            ("compression", Compression(min_ratio=ratio, max_ratio=0.70, min_bytes=0)),
            ("lines", JapaneseLines()),
            ("rest", MinLength(characters=1)),
        ]


class LlmJpWikipedia(Chain):
    """LLM-jp-13B v1's rules for Wikipedia (``ja_wiki``, ``en_wiki``): notes and parentheses cut."""

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("ja", "en"), description="languages it judges; empty: all")

    def chain(self) -> Sequence[tuple[str, Filter]]:
        return [
            ("empty", MinLength(characters=1)),
            ("footnotes", Footnotes()),
            ("parentheses", EmptyParentheses()),
            ("rest", MinLength(characters=1)),
        ]


class Pile(Chain):
    """LLM-jp-13B v1's rules for the Pile (``en_pile``): not empty, and not Books3.

    The set is the beginning of the id, as ``layout: pile`` of our readers writes it.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field((), description="languages it judges; empty: all")

    def chain(self) -> Sequence[tuple[str, Filter]]:
        return [("empty", MinLength(characters=1)), ("set", IdPrefix(prefixes=("Books3/",)))]


class Stack(Chain):
    """LLM-jp-13B v1's rules for the Stack (``code_stack``): extension, shape, not empty.

    The 66 extensions (``scripts/dict/code_valid_extensions.txt``) are RedPajama's, from the path at
    the end of the id. Upstream reads extension, lengths of lines and share of letters and digits
    from the data set's own fields; here they are computed from the path and the text.
    """

    version: ClassVar[str] = "1"
    languages: tuple[str, ...] = Field(("code",), description="languages it judges; empty: all")

    def chain(self) -> Sequence[tuple[str, Filter]]:
        return [
            ("extension", StackQuality(vendored=())),
            ("shape", CodeShape(max_line=1000, max_average_line=100, min_alphanumeric=0.25)),
            ("empty", MinLength(characters=1)),
        ]


# --- pure functions -----------------------------------------------------------------------

_KANA, _URL = 1, 2
# Scripts.txt of Unicode 17, Hiragana and Katakana, with ー.
_KANA_RANGES = (
    (0x3041, 0x3096), (0x309D, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF),
    (0x32D0, 0x32FE), (0x3300, 0x3357), (0xFF66, 0xFF6F), (0xFF71, 0xFF9D), (0x1AFF0, 0x1AFF3),
    (0x1AFF5, 0x1AFFB), (0x1AFFD, 0x1AFFE), (0x1B000, 0x1B128), (0x1B132, 0x1B132),
    (0x1B150, 0x1B152), (0x1B155, 0x1B155), (0x1B164, 0x1B168), (0x1F200, 0x1F200),
)  # fmt: skip
# Circled and squared letters, symbols that Unicode calls alphabetic.
_ALPHABETIC_SYMBOLS = (
    (0x24B6, 0x24E9), (0x1F130, 0x1F149), (0x1F150, 0x1F169), (0x1F170, 0x1F189)
)  # fmt: skip
_WORD_CATEGORIES = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "Pc"}


@cache
def _flags() -> U8:
    r"""Of each code point: is it kana, may it stand in a URL (``\w`` of ``regex`` and signs)."""
    flags = np.zeros(0x110000, dtype=np.uint8)
    flags[[c for c in range(0x110000) if unicodedata.category(chr(c)) in _WORD_CATEGORIES]] = _URL
    flags[[ord(sign) for sign in "/:%#$&?()~.=+-\u200c\u200d"]] = _URL
    for first, last in _ALPHABETIC_SYMBOLS:
        flags[first : last + 1] |= _URL
    for first, last in _KANA_RANGES:
        flags[first : last + 1] |= _KANA
    return flags


@njit(cache=True, nogil=True)
def _url_end(points: U32, index: int, end: int, flags: U8) -> int:
    """Where the URL that begins at ``index`` ends; ``index`` where none does."""
    stop = index
    for point in (104, 116, 116, 112):  # http
        if stop >= end or points[stop] != point:
            return index
        stop += 1
    if stop < end and points[stop] == 115:  # s
        stop += 1
    for point in (58, 47, 47):  # ://
        if stop >= end or points[stop] != point:
            return index
        stop += 1
    begin = stop
    while stop < end and flags[points[stop]] & _URL:
        stop += 1
    return stop if stop > begin else index


@njit(cache=True, nogil=True)
def _japanese_lines(
    points: U32, starts: I64, flags: U8, max_ascii: int, joint: int
) -> tuple[U32, I64]:
    out = np.empty(len(points), dtype=np.uint32)
    out_starts = np.zeros(len(starts), dtype=np.int64)
    size = 0
    for document in range(len(starts) - 1):
        end = starts[document + 1]
        begin = starts[document]
        first = True
        while begin <= end:
            kana = False
            stop = begin
            while stop < end and points[stop] != 10:
                kana |= flags[points[stop]] & _KANA != 0
                stop += 1
            if kana:
                if joint >= 0 and not first:
                    out[size] = joint
                    size += 1
                first = False
                line = size
                index = begin
                while index < stop:
                    after = index
                    if points[index] == 104:
                        after = _url_end(points, index, stop, flags)
                    if after > index:
                        index = after
                    else:
                        out[size] = points[index]
                        size += 1
                        index += 1
                written = line  # cut runs of ASCII in what was written of the line
                run = line
                for place in range(line, size):
                    out[written] = out[place]
                    written += 1
                    if out[place] >= 128:
                        run = place + 1
                    elif (place + 1 == size or out[place + 1] >= 128) and (
                        place + 1 - run > max_ascii
                    ):
                        written -= place + 1 - run
                size = written
            begin = stop + 1
        out_starts[document + 1] = size
    return out[:size], out_starts


@cache
def _headings(headings: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(map(re.escape, headings))
    return re.compile(f"\n({names})[{WHITE_SPACE}]*\n")


def _trim_inside(text: str, opening: str, closing: str, characters: str) -> str:
    """Take ``characters`` off after each opening and before each closing parenthesis.

    By splitting, since the patterns ``\\([\\s,;]*`` and ``[\\s,;]*\\)`` take quadratic time on a
    long run of spaces.
    """
    if opening in text:
        first, *others = text.split(opening)
        text = opening.join([first, *(part.lstrip(characters) for part in others)])
    if closing in text:
        *others, last = text.split(closing)
        text = closing.join([*(part.rstrip(characters) for part in others), last])
    return text
