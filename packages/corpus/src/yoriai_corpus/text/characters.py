"""Classes of characters, and what is counted of them once for a batch.

Every code point belongs to exactly one :class:`Class`, by one look-up in a table that is built
from the ``unicodedata`` of the running Python (the code points that a newer Unicode adds move
from ``OTHER`` to their class with it). Shared by all rules: counts are kept on the batch.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from numba import njit

from yoriai_corpus.text.batch import F64, I64, U8, U32, Batch

Array = TypeVar("Array", bound=npt.NDArray[Any])


class Class(IntEnum):
    """The class of a code point.

    ``letters`` are ``LATIN`` to ``OTHER_LETTER``: what ``str.isalpha`` says, and 〇 (U+3007),
    which Unicode calls a number of the Han script.
    """

    SPACE = 0
    """``str.isspace``, without the newline. The ideographic space is one."""
    NEWLINE = 1
    """U+000A only."""
    DIGIT = 2
    """Decimal digits of any script and width (category Nd)."""
    LATIN = 3
    """ASCII letters."""
    HIRAGANA = 4
    """Letters of hiragana with the iteration marks ゝゞ; not the free-standing ゛゜."""
    KATAKANA = 5
    """Letters of katakana with ー ヽ ヾ and the half-width forms ｦ to ﾟ; not the dot ・."""
    HAN = 6
    """Kanji in all blocks, 々 〇 〻 among them."""
    OTHER_LETTER = 7
    """Any other letter: accented and full-width Latin, Hangul, Cyrillic and so on."""
    PUNCTUATION = 8
    """Category P: 、。「」・ as well as ``.,!?``."""
    SYMBOL = 9
    """Category S, and the numbers that are no decimal digits (①, ½, Ⅷ)."""
    OTHER = 10
    """Marks that combine, controls, format characters, private use, not assigned."""


LETTERS = (Class.LATIN, Class.HIRAGANA, Class.KATAKANA, Class.HAN, Class.OTHER_LETTER)
JAPANESE = (Class.HIRAGANA, Class.KATAKANA, Class.HAN)

_POINTS = 0x110000
# Ranges of one class each, half open, that are not asked code point by code point. Where they
# hold unassigned code points at their ends, the class is what Unicode reserves them for.
_RANGES = (
    (0x3400, 0x4DC0, Class.HAN),
    (0x4E00, 0xA000, Class.HAN),
    (0xAC00, 0xD7A4, Class.OTHER_LETTER),  # Hangul
    (0xD800, 0xF900, Class.OTHER),  # surrogates, private use
    (0x20000, 0x3FFFE, Class.HAN),  # planes 2 and 3
    (0x40000, _POINTS, Class.OTHER),
)
_KANA = (
    (0x3041, 0x30A0, Class.HIRAGANA),
    (0x30A1, 0x3100, Class.KATAKANA),
    (0x31F0, 0x3200, Class.KATAKANA),
    (0xFF66, 0xFFA0, Class.KATAKANA),
    (0x1AFF0, 0x1B000, Class.KATAKANA),
    (0x1B000, 0x1B001, Class.KATAKANA),
    (0x1B001, 0x1B120, Class.HIRAGANA),
    (0x1B120, 0x1B123, Class.KATAKANA),
    (0x1B132, 0x1B133, Class.HIRAGANA),
    (0x1B150, 0x1B153, Class.HIRAGANA),
    (0x1B155, 0x1B168, Class.KATAKANA),
)
_HAN_LETTERS = (  # 々; 〇; 〡 to 〩; 〸 to 〻; compatibility ideographs
    (0x3005, 0x3006),
    (0x3007, 0x3008),
    (0x3021, 0x302A),
    (0x3038, 0x303C),
    (0xF900, 0xFB00),
)


@cache
def class_table() -> U8:
    """The class of each code point: uint8, shape ``(0x110000,)``, read only."""
    table = np.full(_POINTS, Class.OTHER, dtype=np.uint8)
    for first, end, kind in _RANGES:
        table[first:end] = kind
    asked = (
        range(0x3400),
        range(0x4DC0, 0x4E00),
        range(0xA000, 0xAC00),
        range(0xD7A4, 0xD800),
        range(0xF900, 0x20000),
    )
    by_category = {
        "Nd": Class.DIGIT,
        "Nl": Class.SYMBOL,
        "No": Class.SYMBOL,
        **dict.fromkeys(("Lu", "Ll", "Lt", "Lm", "Lo"), Class.OTHER_LETTER),
        **dict.fromkeys(("Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"), Class.PUNCTUATION),
        **dict.fromkeys(("Sm", "Sc", "Sk", "So"), Class.SYMBOL),
        **dict.fromkeys(("Zs", "Zl", "Zp"), Class.SPACE),
    }
    for points in asked:
        table[points.start : points.stop] = [
            by_category.get(unicodedata.category(chr(point)), Class.OTHER) for point in points
        ]
    for point in (*range(0x09, 0x0E), *range(0x1C, 0x20), 0x85):  # controls that are spaces
        table[point] = Class.SPACE
    table[0x0A] = Class.NEWLINE
    table[ord("A") : ord("Z") + 1] = table[ord("a") : ord("z") + 1] = Class.LATIN
    for first, end, kind in _KANA:
        part = table[first:end]
        part[part == Class.OTHER_LETTER] = kind
    for first, end in _HAN_LETTERS:
        part = table[first:end]
        part[(part == Class.OTHER_LETTER) | (part == Class.SYMBOL)] = Class.HAN
    table.flags.writeable = False
    return table


def measured(batch: Batch, name: str, compute: Callable[[], Array]) -> Array:
    """The array ``compute()`` gives, kept on the batch under ``name``; its rows are documents.

    Everything kept so has one row a document, so that a batch made of some documents of
    another can take their rows over.
    """
    kept: dict[str, Any] = batch.__dict__.setdefault("_measured", {})
    if name not in kept:
        kept[name] = compute()
    found: Array = kept[name]
    return found


def carry(whole: Batch, part: Batch, rows: Sequence[int]) -> None:
    """Hand what was measured of ``whole`` to ``part``, which is its documents at ``rows``.

    Only while their texts are unchanged.
    """
    for name, table in whole.__dict__.get("_measured", {}).items():
        part.__dict__.setdefault("_measured", {})[name] = table[list(rows)]


def counts(batch: Batch) -> I64:
    """How many characters of each class: ``[documents, len(Class)]``, computed once a batch.

    The columns of a row add up to the document's length.
    """
    return measured(batch, "characters", lambda: _count(*batch.codes, class_table(), len(Class)))


def share(batch: Batch, classes: Iterable[Class], of: Iterable[Class] = Class) -> F64:
    """Characters of ``classes`` over those of ``of``; 0 where there are none."""
    table = counts(batch)
    return ratio(table[:, list(classes)].sum(axis=1), table[:, list(of)].sum(axis=1))


def ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> F64:
    """``part / whole``, and 0 where the whole is nothing."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


class Lines(NamedTuple):
    """Of each document: how many lines, the characters of the longest one and of all together."""

    number: I64
    longest: I64
    characters: I64

    @property
    def mean(self) -> F64:
        """Characters in a line on average; 0 where there is no line."""
        return ratio(self.characters, self.number)


def lines(batch: Batch) -> Lines:
    r"""The shape of the lines, computed once a batch.

    A newline ends a line and begins none: ``"a\n"`` has one line, ``""`` has none. Newlines
    are not counted as characters of a line; ``\r`` is.
    """
    return Lines(*measured(batch, "lines", lambda: _lines(*batch.codes)).T)


def sentence_ends(batch: Batch) -> I64:
    """How many sentences end in each document, computed once a batch.

    A run of 。｡．！？!? ends one sentence, and so does ``.`` before a space or the end (so that
    3.14 and names of files end none).
    """
    return measured(batch, "sentence ends", lambda: _sentence_ends(*batch.codes, class_table()))


@njit(cache=True, nogil=True)
def _count(points: U32, starts: I64, table: U8, classes: int) -> I64:
    found = np.zeros((len(starts) - 1, classes), dtype=np.int64)
    for document in range(len(starts) - 1):
        row = found[document]
        for index in range(starts[document], starts[document + 1]):
            row[table[points[index]]] += 1
    return found


@njit(cache=True, nogil=True)
def _lines(points: U32, starts: I64) -> I64:
    found = np.zeros((len(starts) - 1, 3), dtype=np.int64)
    for document in range(len(starts) - 1):
        begin = starts[document]
        end = starts[document + 1]
        row = found[document]
        for index in range(begin, end + 1):
            if index < end and points[index] != 10:
                continue
            if index < end or index > begin:  # no line begins at the very end
                row[0] += 1
                row[1] = max(row[1], index - begin)
                row[2] += index - begin
            begin = index + 1
    return found


@njit(cache=True, nogil=True)
def _sentence_ends(points: U32, starts: I64, table: U8) -> I64:
    found = np.zeros(len(starts) - 1, dtype=np.int64)
    for document in range(len(starts) - 1):
        end = starts[document + 1]
        inside = False  # a run of end marks
        for index in range(starts[document], end):
            point = points[index]
            mark = (
                point == 0x3002
                or point == 0xFF61
                or point == 0xFF0E
                or point == 0xFF01
                or point == 0xFF1F
                or point == 0x21
                or point == 0x3F
            )
            if point == 0x2E:
                after = table[points[index + 1]] if index + 1 < end else 0
                mark = after <= 1 or inside  # SPACE, NEWLINE
            if mark and not inside:
                found[document] += 1
            inside = mark
    return found
