"""Personal data in Japanese texts: found by form, check digit and context, masked or dropped.

One pass of a kernel over a batch finds the places to look at (numbers of seven digits and more,
``@``, prefectures, kana between digits, colons between hex digits); only these are looked at
with patterns. Sources:

* My Number: 12 digits, the last a check digit: 総務省令 (平成26年第85号) 第5条;
* cards: Luhn's check digit (ISO/IEC 7812-1, annex B) and the prefixes of the issuers;
* telephone numbers: 電気通信番号計画 (令和元年総務省告示第6号): 0AB to J in ten digits, mobile and
  IP telephones in eleven, 0120, 0800, 0570;
* corporate numbers (法人番号, 13 digits) are public and never masked.

Not found: names, addresses without prefecture or postal code, bank accounts and licence numbers
without a word that says what they are, 13-digit Visa cards without such a word (JAN codes of
Japanese goods have 13 digits and begin with 4 too). One 12-digit number in eleven that is no
My Number has the check digit of one and is masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import ClassVar, Literal

import numpy as np
from numba import njit
from pydantic import Field

from yoriai import Document, Filter, Verdict
from yoriai_corpus.rules.pii_forms import (
    HYPHENS,
    KINDS,
    Kind,
    PersonalDatum,
    look_at_address,
    look_at_email,
    look_at_ipv6,
    look_at_numbers,
    look_at_plate,
)
from yoriai_corpus.text.batch import I64, U8, U32, Batch, batch_of

# In the order of the kernel's roles of characters.
_LOOK = (look_at_numbers, look_at_email, look_at_address, look_at_plate, look_at_ipv6)


class PersonalData(Filter):
    """Mask personal data, or drop the documents that hold it.

    A mask is ``<`` prefix, kind ``>``, such as ``<pii:phone>``. Neither spans nor values repeat
    what was found: a drop says kind and place (``phone at 120``; places in characters), and
    hands over the masked text. Masking what is masked changes nothing.
    """

    version: ClassVar[str] = "1"
    action: Literal["mask", "drop"] = Field("mask", description="mask or drop")
    kinds: tuple[Kind, ...] = Field(KINDS, description="what is looked for")
    # Nothing that could be found itself, or masking would not end.
    prefix: str = Field("pii:", pattern=r"^[A-Za-z_:.-]*$", description="what a mask begins with")

    def judge(self, document: Document) -> Verdict:
        return self.judge_batch([document])[0]

    def judge_batch(self, documents: Sequence[Document]) -> list[Verdict]:
        batch = batch_of(documents)
        verdicts = [self.KEEP] * len(batch)
        for index, found in find(batch, self.kinds).items():
            text = self._masked(batch[index].text, found)
            if self.action == "mask":
                verdicts[index] = Verdict("edit", text=text, value=len(found))
                continue
            span = ", ".join(f"{one.kind} at {one.begin}" for one in found[:5])
            verdicts[index] = Verdict("drop", text=text, value=len(found), threshold=0, span=span)
        return verdicts

    def _masked(self, text: str, found: list[PersonalDatum]) -> str:
        """The text with masks. Again until nothing is found: a mask can free its neighbour."""
        while found:
            pieces, end = [], 0
            for one in found:
                pieces += [text[end : one.begin], f"<{self.prefix}{one.kind}>"]
                end = one.end
            text = "".join([*pieces, text[end:]])
            found = find(Batch([Document("", "", text)]), self.kinds).get(0, [])
        return text


def find(batch: Batch, kinds: Sequence[Kind] = KINDS) -> dict[int, list[PersonalDatum]]:
    """What is found in each document that holds anything, in order and without overlap."""
    wanted = frozenset(kinds)
    found: dict[int, list[PersonalDatum]] = {}
    events = _places(*batch.codes, _roles())
    first = batch.codes.starts
    for document, sort, begin, end in events.tolist():
        text, start = batch[document].text, int(first[document])
        for one in _LOOK[sort](text, begin - start, end - start):
            if one.kind in wanted:
                found.setdefault(document, []).append(one)
    return {document: _apart(pieces) for document, pieces in found.items()}


def _apart(pieces: list[PersonalDatum]) -> list[PersonalDatum]:
    """Without what overlaps an earlier or, from the same place, a longer piece."""
    kept: list[PersonalDatum] = []
    for one in sorted(pieces, key=lambda one: (one.begin, -one.end)):
        if not kept or one.begin >= kept[-1].end:
            kept.append(one)
    return kept


# --- kernel -------------------------------------------------------------------------------

_NONE, _DIGITS, _AT, _AREA, _KANA, _COLON, _JOIN = range(7)  # what a character may be part of


@cache
def _roles() -> U8:
    table = np.zeros(0x10000, dtype=np.uint8)
    for characters, role in (
        ("0123456789０１２３４５６７８９", _DIGITS),
        ("@＠", _AT),
        ("都道府県", _AREA),
        ("".join(map(chr, range(0x3042, 0x3094))), _KANA),
        (":", _COLON),
        (HYPHENS + " .()　（）．", _JOIN),
    ):
        for character in characters:
            table[ord(character)] = role
    return table


@njit(cache=True, nogil=True)
def _hex(point: int) -> bool:
    return 48 <= point <= 57 or 65 <= point <= 70 or 97 <= point <= 102


@njit(cache=True, nogil=True)
def _number_end(points: U32, begin: int, end: int, roles: U8) -> tuple[int, int, int]:
    """Where a group of digits ends (at most two characters between), its digits and dots."""
    last = begin
    digits = dots = 0
    index = begin
    while index < end and index - last <= 3:
        point = points[index]
        role = roles[point] if point < 0x10000 else _NONE
        if role == _DIGITS:
            digits += 1
            last = index
        elif role == _JOIN:
            dots += point == 46
        else:
            break
        index += 1
    return last + 1, digits, dots


@njit(cache=True, nogil=True)
def _between_digits(points: U32, index: int, first: int, end: int, roles: U8) -> bool:
    """Whether a kana has digits or a capital before it, and a digit or dot after: a plate."""
    left = index - 1
    if left > first and (points[left] == 32 or points[left] == 0x3000):
        left -= 1
    if left < first or points[left] > 0xFFFF:
        return False
    if roles[points[left]] != _DIGITS and not 65 <= points[left] <= 90:
        return False
    right = index + 1
    if right + 1 < end and (points[right] == 32 or points[right] == 0x3000):
        right += 1
    if right >= end or points[right] > 0xFFFF:
        return False
    return roles[points[right]] == _DIGITS or points[right] == 0x30FB or points[right] == 46


@njit(cache=True, nogil=True)
def _places(points: U32, starts: I64, roles: U8) -> I64:
    """``[places, 4]``: document, index into ``_LOOK``, where the place begins and ends."""
    found = np.empty((256, 4), dtype=np.int64)
    count = 0
    for document in range(len(starts) - 1):
        first = starts[document]
        end = starts[document + 1]
        seen = first  # digits and colons before this have been looked at
        for index in range(first, end):
            point = points[index]
            if point > 0xFFFF:
                continue
            role = roles[point]
            if role in (_NONE, _JOIN):
                continue
            begin = index
            until = index + 1
            wanted = role in (_AT, _AREA)
            if role == _DIGITS:
                if index < seen:
                    continue
                until, digits, dots = _number_end(points, index, end, roles)
                seen = until
                wanted = digits >= 7 or (dots >= 3 and digits >= 4)
            elif role == _KANA:
                wanted = _between_digits(points, index, first, end, roles)
            elif role == _COLON and index >= seen:
                while begin > first and _hex(points[begin - 1]):
                    begin -= 1
                colons = 0
                until = index
                while until < end and (points[until] == 58 or _hex(points[until])):
                    colons += points[until] == 58
                    until += 1
                # The digits of the run are numbers too: "電話:03-1234-5678".
                wanted = colons >= 2 and begin < index
                if wanted:
                    seen = until
            if not wanted:
                continue
            if count == len(found):
                more = np.empty((2 * count, 4), dtype=np.int64)
                more[:count] = found
                found = more
            found[count, 0] = document
            found[count, 1] = role - 1
            found[count, 2] = begin
            found[count, 3] = until
            count += 1
    return found[:count]
