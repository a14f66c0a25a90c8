"""The forms personal data has: which numbers are what, by check digit, grouping and context.

Each ``look`` function is handed a place that the kernel of :mod:`yoriai_corpus.rules.pii` found
and says what personal data is there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Kind = Literal[
    "email", "phone", "my-number", "card", "bank-account", "postal-code", "address",
    "licence-plate", "passport", "driving-licence", "ip-address",
]  # fmt: skip
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]


class PersonalDatum(NamedTuple):
    """A piece of a text, ``text[begin:end]``."""

    begin: int
    end: int
    kind: Kind


# --- check digits -------------------------------------------------------------------------


def my_number_check(digits: str) -> int:
    """The check digit of the eleven digits before it (総務省令平成26年第85号第5条)."""
    total = 0
    for n, digit in enumerate(reversed(digits), 1):
        total += int(digit) * (n + 1 if n <= 6 else n - 5)
    rest = total % 11
    return 0 if rest <= 1 else 11 - rest


def is_my_number(digits: str) -> bool:
    return len(digits) == 12 and digits.strip("0") != "" and (
        my_number_check(digits[:11]) == int(digits[11])
    )  # fmt: skip


def luhn_check(digits: str) -> int:
    """The check digit of the digits before it (ISO/IEC 7812-1, annex B)."""
    total = 0
    for n, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if n % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return -total % 10


# Prefixes of issuers (first, last) and the lengths of their numbers.
_ISSUERS = (
    ("4", "4", (16, 19)),  # Visa
    ("51", "55", (16,)),  # Mastercard
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("3528", "3589", (16, 17, 18, 19)),  # JCB
    ("300", "305", (14, 16, 17, 18, 19)),  # Diners Club
    ("3095", "3095", (14, 16, 17, 18, 19)),
    ("36", "36", (14, 15, 16, 17, 18, 19)),
    ("38", "39", (14, 16, 17, 18, 19)),
    ("6011", "6011", (16, 17, 18, 19)),  # Discover
    ("644", "659", (16, 17, 18, 19)),
    ("62", "62", (16, 17, 18, 19)),  # UnionPay
)


def is_card(digits: str, thirteen: bool = False) -> bool:
    """Whether an issuer gives out such a number; one of 13 digits only if ``thirteen``."""
    issued = (thirteen and len(digits) == 13 and digits[0] == "4") or any(
        first <= digits[: len(first)] <= last and len(digits) in lengths
        for first, last, lengths in _ISSUERS
    )
    return issued and luhn_check(digits[:-1]) == int(digits[-1])


# --- numbers ------------------------------------------------------------------------------

HYPHENS = "-‐‑‒–—―−－﹣ーｰ"
# Numbers are compared in one form; every character keeps its place.
_PLAIN = str.maketrans(
    "０１２３４５６７８９（）＋．　" + HYPHENS, "0123456789()+. " + "-" * len(HYPHENS)
)
_AROUND = 40  # characters of context
_LEFT, _RIGHT = r"(?<![0-9A-Za-z_/=%])(?<![0-9A-Za-z][-.])", r"(?![0-9A-Za-z_])(?![-.][0-9])"
_LONG = re.compile(
    rf"{_LEFT}(?:[0-9]{{12,19}}|[0-9]{{4}}([- ])[0-9]{{4}}\1[0-9]{{4}}(?:\1[0-9]{{1,7}})?"
    rf"|[0-9]{{4}}([- ])[0-9]{{6}}\2[0-9]{{4,5}}){_RIGHT}"
)
_CARD_CONTEXT = re.compile(r"カード|クレジット|card|visa", re.IGNORECASE)
_LICENCE_CONTEXT = re.compile(r"免許[^0-9。\n]{0,16}$")
_PHONE = re.compile(
    r"(?<![0-9])(?<![0-9][-.])(?:"
    r"\+81[-. ]?(?:\(0\)|0)?[-. ]?\(?[1-9][0-9]{0,3}\)?[-. ]?[0-9]{1,4}[-. ]?[0-9]{3,4}"
    r"|\(?0[0-9]{1,4}(?:\) ?-?|[-. ]?\(|[-. ])[0-9]{1,4}(?:\)[-. ]?|[-. ])[0-9]{3,4}"
    r"|0[0-9]{2,3}[- ][0-9]{6,8}"
    r"|0[0-9]{9,10}"
    r")(?![0-9A-Za-z_])(?![-.][0-9])"
)
_PHONE_CONTEXT = re.compile(
    r"(?:電話|でんわ|TEL|FAX|ファックス|ファクス|連絡先|携帯|phone|℡|☎|📞|📱)[^0-9\n]{0,12}$",
    re.IGNORECASE,
)
_ACCOUNT = re.compile(r"(?<![0-9A-Za-z])(?<![0-9][-.,])[0-9]{7,8}(?![0-9A-Za-z])(?![-.,][0-9])")
_ACCOUNT_CONTEXT = re.compile(
    r"(?:口座(?:番号|No\.?|:|：)?|(?:普通|当座|貯蓄)(?:預金|口座|預金口座)?"
    r"|記号[ :：]?[0-9０-９]{5}[^0-9\n]{0,4}番号)[ 　:：()（）番号No.]{0,8}$",
    re.IGNORECASE,
)
_PASSPORT = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2} ?[0-9]{7}(?![0-9A-Za-z])")
_PASSPORT_CONTEXT = re.compile(r"旅券|パスポート|passport", re.IGNORECASE)
_POSTAL = re.compile(
    r"(?<![0-9A-Za-z])(?<![0-9][-.,])(?:[0-9]{3}-[0-9]{4}|[0-9]{7})(?![0-9A-Za-z])(?!-[0-9])"
)
_POSTAL_MARK = re.compile(r"(?:〒|郵便番号)[ 　:：]{0,3}$")
_IPV4 = re.compile(
    r"(?<![0-9A-Za-z_])(?<![0-9][-.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9A-Za-z_])(?!\.[0-9])"
)
_IP_CONTEXT = re.compile(
    r"(?:\bIPs?\b|IPv4|アドレス|address|host|ホスト|server|サーバ)[^\n]{0,24}$", re.IGNORECASE
)
_VERSION_CONTEXT = re.compile(
    r"(?:\bv|\bver\.?|version|バージョン|release|§|第|section)[ :：]{0,2}$", re.IGNORECASE
)


def look_at_numbers(text: str, begin: int, end: int) -> Iterator[PersonalDatum]:
    """What the numbers of a group are; ``begin`` and ``end`` are its first and last digit."""
    base = max(0, begin - _AROUND)
    raw = text[base : end + _AROUND]
    plain = raw.translate(_PLAIN)
    low, high = begin - base, end - base
    near = max(0, low - 3)  # + ( and two letters before the first digit belong to a number
    taken: list[tuple[int, int]] = []

    def take(match: re.Match[str], kind: Kind) -> PersonalDatum:
        taken.append(match.span())
        return PersonalDatum(base + match.start(), base + match.end(), kind)

    def spans(pattern: re.Pattern[str], start: int = low) -> Iterator[re.Match[str]]:
        for match in pattern.finditer(plain, start, min(len(plain), high + 1)):
            if not any(a < match.end() and match.start() < b for a, b in taken):
                yield match

    # Patterns see one character after the group at most, so that an edge is an edge.
    for match in spans(_LONG):
        digits = _digits(match.group())
        before = raw[max(0, match.start() - 24) : match.start()]
        if len(digits) == 12 and _LICENCE_CONTEXT.search(before):
            yield take(match, "driving-licence")
        elif is_my_number(digits):
            yield take(match, "my-number")
        elif len(digits) > 12 and is_card(digits, bool(_CARD_CONTEXT.search(before))):
            yield take(match, "card")
    for match in spans(_PHONE, near):
        if _is_phone(match.group(), raw[: match.start()]):
            yield take(match, "phone")
    for match in spans(_POSTAL):
        mark = _POSTAL_MARK.search(raw, 0, match.start())
        after = base + match.end()
        address = _ADDRESS_AFTER_CODE.match(text, after)
        if mark or (address and "-" in match.group()):
            if mark and raw[mark.start()] == "〒":
                yield PersonalDatum(base + mark.start(), after, "postal-code")
            else:
                yield PersonalDatum(base + match.start(), after, "postal-code")
            taken.append(match.span())
            if address:
                yield PersonalDatum(address.start("address"), address.end(), "address")
    for match in spans(_ACCOUNT):
        if _ACCOUNT_CONTEXT.search(raw, 0, match.start()):
            yield take(match, "bank-account")
    for match in spans(_PASSPORT, near):
        if _PASSPORT_CONTEXT.search(raw, max(0, match.start() - 30), match.end() + 20):
            yield take(match, "passport")
    for match in spans(_IPV4):
        if _is_public_ipv4(match.group(), raw[: match.start()], raw[match.end() :]):
            yield take(match, "ip-address")


def _digits(text: str) -> str:
    return "".join(c for c in text if "0" <= c <= "9")


def _is_phone(number: str, before: str) -> bool:
    """Whether digits, hyphens and brackets are the telephone number they look like."""
    parts = re.findall("[0-9]+", number)
    digits = "".join(parts)
    if number.startswith("+"):
        national = digits[2:].removeprefix("0")
        return len(national) in (9, 10) and national[:1] != "0"
    if not before or not before[-1:].isascii() or not before[-1:].isalnum():
        said = bool(_PHONE_CONTEXT.search(before))
    else:  # letters right before a number are part of it, unless they say "telephone"
        said = bool(re.search(r"(?:tel|fax|phone)$", before, re.IGNORECASE))
        if not said:
            return False
    lengths = [len(part) for part in parts]
    joined = re.search(r"[. ]", number) is None
    if len(digits) == 11:
        mobile = digits[2] == "0" and digits[1] in "56789"
        if mobile and lengths in ([3, 4, 4], [11], [3, 8]):
            return True
        return digits.startswith("0800") and lengths in ([4, 3, 4], [11])
    if len(digits) != 10 or digits[1] == "0":
        return False
    if digits.startswith(("0120", "0570", "0990")) and lengths in ([4, 3, 3], [4, 6], [4, 2, 4]):
        return joined or said
    if len(lengths) == 3 and lengths[2] == 4 and 2 <= lengths[0] <= 5:
        return joined or said
    return said


def _is_public_ipv4(number: str, before: str, after: str) -> bool:
    """Whether four numbers are an address that the public net may know, and no version."""
    try:
        address = ipaddress.IPv4Address(number)
    except ValueError:
        return False
    if not address.is_global or address.is_multicast or _VERSION_CONTEXT.search(before):
        return False
    line_start = not before or before[-1] == "\n"
    if line_start and max(address.packed) < 100 and re.match(r"\.?[ 　\n]", after):
        return False  # "7.3.52.2. Syntax": the number of a section
    # Numbers of sections and versions are small; of public addresses one in 5,000 is so.
    small = all(part < 30 for part in address.packed)
    return not small or bool(_IP_CONTEXT.search(before))


# --- addresses, plates, e-mail, IPv6 ------------------------------------------------------

PREFECTURES = frozenset({
    "北海道", "青森県", "岩手県", "宮城県", "秋田県", "山形県", "福島県", "茨城県",
    "栃木県", "群馬県", "埼玉県", "千葉県", "東京都", "神奈川県", "新潟県", "富山県",
    "石川県", "福井県", "山梨県", "長野県", "岐阜県", "静岡県", "愛知県", "三重県",
    "滋賀県", "京都府", "大阪府", "兵庫県", "奈良県", "和歌山県", "鳥取県", "島根県",
    "岡山県", "広島県", "山口県", "徳島県", "香川県", "愛媛県", "高知県", "福岡県",
    "佐賀県", "長崎県", "熊本県", "大分県", "宮崎県", "鹿児島県", "沖縄県",
})  # fmt: skip
_NUMBER = "[0-9０-９一二三四五六七八九十百〇]{1,5}"
_PLACE = r"[^\s0-9０-９、。，．,.「」『』（）()・:：;；!！?？はをで]"
_BLOCK = (
    rf"(?:(?:{_NUMBER}[ 　]?(?:丁目|番地|番|号|[{HYPHENS}]|の)[ 　]?){{1,3}}{_NUMBER}"
    r"(?:番地|番|号室|号)?"
    rf"|{_NUMBER}番地)"
    r"(?![0-9０-９])(?![ 　]?(?:年|月|日|時|分|人|円|％|%|割|倍|個|件|回|位|対|代|世帯"
    r"|km|㎞|m|cm|kg|ha))"
)
_CITY = rf"{_PLACE}{{1,7}}?[市区町村郡]"
_ROOM = r"(?:[ 　][^\s、。]{1,20}[ 　]?[0-9０-９]{1,4}(?:号室|号|階|F))?"
_REST = rf"(?:{_CITY}[ 　]?){{1,3}}{_PLACE}{{0,14}}?[ 　]?{_BLOCK}{_ROOM}"
_ADDRESS_REST = re.compile(rf"[ 　]?{_REST}")
_ADDRESS_AFTER_CODE = re.compile(
    rf"[ 　)）\n]{{0,3}}(?P<address>(?:(?:{'|'.join(sorted(PREFECTURES))})[ 　]?)?"
    rf"(?:{_REST}|{_CITY}))"
)


def look_at_address(text: str, _begin: int, end: int) -> Iterator[PersonalDatum]:
    """An address that begins with the prefecture whose last character is ``text[end - 1]``."""
    for length in (3, 4):
        start = end - length
        if start >= 0 and text[start:end] in PREFECTURES:
            rest = _ADDRESS_REST.match(text, end)
            if rest:
                yield PersonalDatum(start, rest.end(), "address")


_PLATE_KANA = "あいうえかきくけこさすせそたちつてとなにぬねのはひふほまみむめもやゆよらりるれろわを"
_DIGIT = "[0-9０-９]"
_PLATE = re.compile(
    rf"(?<![第一-鿿])(?P<place>[一-鿿ぁ-んァ-ヶ]{{1,4}})[ 　]?"
    rf"(?P<class>[1-9１-９](?:{_DIGIT}[0-9０-９A-Z]|{_DIGIT}))[ 　]?[{_PLATE_KANA}][ 　]?"
    rf"(?P<number>(?:[・.･]{{1,3}}|{_DIGIT}){_DIGIT}?[{HYPHENS}]?{_DIGIT}{{1,2}})"
    r"(?![0-9０-９])(?!条|項)"
)
_PLATE_CONTEXT = re.compile(r"ナンバー|プレート|車両|登録番号|自動車|乗用車|車種")


def look_at_plate(text: str, begin: int, end: int) -> Iterator[PersonalDatum]:
    """A licence plate whose kana is ``text[begin]``."""
    for match in _PLATE.finditer(text, max(0, begin - 10), min(len(text), end + 8)):
        if not match.start() < begin < match.end():
            continue
        number, said = match["number"], _PLATE_CONTEXT.search(text, max(0, begin - 40), begin)
        formed = bool(re.search(rf"[{HYPHENS}・･]", number)) and len(match["class"]) == 3
        if (formed or said) and "第" not in match["place"]:
            yield PersonalDatum(match.start(), match.end(), "licence-plate")


_LOCAL = re.compile(r"[\w.%+-]{1,64}\Z", re.ASCII)
_DOMAIN = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])")


def look_at_email(text: str, begin: int, end: int) -> Iterator[PersonalDatum]:
    """An e-mail address around its ``@`` (as :class:`yoriai_corpus.rules.general.MaskEmail`)."""
    start = begin
    while start > 0 and begin - start < 64 and _LOCAL.match(text[start - 1]):
        start -= 1
    domain = _DOMAIN.match(text, end)
    if domain and start < begin:
        yield PersonalDatum(start, domain.end(), "email")


def look_at_ipv6(text: str, begin: int, end: int) -> Iterator[PersonalDatum]:
    """A run of hex digits and colons that is a global unicast address (2000::/3)."""
    if (begin and text[begin - 1].isalnum()) or text[end : end + 1].isalnum():
        return
    run = text[begin:end].rstrip(":") if not text[begin:end].endswith("::") else text[begin:end]
    try:
        address = ipaddress.IPv6Address(run)
    except ValueError:
        return
    if address.is_global and address.packed[0] >> 5 == 1:
        yield PersonalDatum(begin, begin + len(run), "ip-address")
