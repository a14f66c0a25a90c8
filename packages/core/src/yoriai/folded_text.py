"""The form in which texts are compared (:func:`yoriai.same_text.fold`), fast for many.

For packages that depend on numpy; nothing of core imports it.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from yoriai.same_text import fold

U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]

# In the table, above all code points: gone (white space); depends on its neighbours; and from
# _LONG on, the number of an expansion.
_LONG, _GONE, _BOUND = 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE


@dataclass(frozen=True, slots=True)
class Codes:
    """Code points of texts in one row; text ``i`` is ``points[starts[i]:starts[i + 1]]``."""

    points: U32
    starts: I64

    @classmethod
    def of(cls, texts: Sequence[str]) -> Codes:
        """Half of a surrogate pair, which no file holds, counts as a character."""
        data = "".join(texts).encode("utf-32-le", "surrogatepass")
        points = np.frombuffer(data, "<u4").astype(np.uint32, copy=False)
        starts = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=starts[1:])
        return cls(points, starts)


def folded(texts: Sequence[str]) -> Codes:
    """What :func:`fold` makes of each text, by one look-up a character.

    A text with a character whose form depends on its neighbours (combining marks, half-width
    voicing marks, Hangul letters) takes the way of the definition.
    """
    table, expansions = _table()
    raw = Codes.of(texts)
    points = table[raw.points]
    special = np.flatnonzero(points >= _LONG)
    bound = special[points[special] == _BOUND]
    if len(bound):
        slow = set((np.searchsorted(raw.starts, bound, "right") - 1).tolist())
        quick = folded(["" if i in slow else text for i, text in enumerate(texts)])
        parts = [
            Codes.of([fold(text)]).points
            if i in slow
            else quick.points[quick.starts[i] : quick.starts[i + 1]]
            for i, text in enumerate(texts)
        ]
        starts = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=starts[1:])
        return Codes(np.concatenate(parts), starts)
    starts = raw.starts
    gone = special[points[special] == _GONE]
    long = special[points[special] < _BOUND]
    if len(gone):
        kept = np.ones(len(points), np.bool_)
        kept[gone] = False
        points = points[kept]
        starts = starts - np.searchsorted(gone, starts)
        long = long - np.searchsorted(gone, long)
    if len(long):
        chosen = [expansions[number] for number in (points[long] - np.uint32(_LONG)).tolist()]
        points[long] = [ord(text[0]) for text in chosen]
        rest = "".join(text[1:] for text in chosen)
        places = np.repeat(long + 1, [len(text) - 1 for text in chosen])
        points = np.insert(points, places, Codes.of([rest]).points)
        starts = starts + np.searchsorted(places, starts, "right")
    return Codes(points, starts)


@cache
def _table() -> tuple[U32, list[str]]:
    """What each code point folds to, and the texts that some become.

    A character is folded by itself if its decomposition begins with a character that composes with
    nothing before it: no combining mark, and not the second half of a canonical composition
    (Unicode Standard Annex 15, NFC_Quick_Check=Maybe).
    """
    table = np.arange(sys.maxunicode + 1, dtype=np.uint32)
    seconds = _seconds()
    expansions: dict[str, int] = {}
    # Han, Hangul syllables and the planes behind the second but for its compatibility block fold
    # to themselves; Hangul letters behind a syllable are bound.
    ranges = ((0, 0x3400), (0x4DC0, 0x4E00), (0xA000, 0xAC00), (0xD7A4, 0xD800), (0xE000, 0x20000))
    codes = [c for a, b in (*ranges, (0x2F800, 0x2FA20), (0xE0000, 0xE0200)) for c in range(a, b)]
    for code in codes:
        character = chr(code)
        form = fold(character)
        head = unicodedata.normalize("NFKD", character)[0]
        if unicodedata.combining(head) or head in seconds:
            table[code] = _BOUND
        elif not form:
            table[code] = _GONE
        elif len(form) == 1:
            table[code] = ord(form)
        else:
            table[code] = _LONG + expansions.setdefault(form, len(expansions))
    return table, list(expansions)


def _seconds() -> frozenset[str]:
    """Characters that compose with the one before them."""
    found = {chr(c) for c in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    for code in range(0x20000):
        pair = unicodedata.decomposition(chr(code)).split()
        if len(pair) == 2 and not pair[0].startswith("<"):
            found.add(chr(int(pair[1], 16)))
    return frozenset(found)
