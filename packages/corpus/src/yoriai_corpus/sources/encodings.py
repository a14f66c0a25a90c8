"""Bytes to text: which encoding a file or a web page is really in.

Japanese text comes as UTF-8, Shift_JIS (with the additions of Windows, cp932), EUC-JP or
ISO-2022-JP, and what a page says of itself is often wrong. An encoding is therefore taken
when the bytes are valid in it *and* what they say looks like text; a declared one is tried
before others, no more.

Labels and what they stand for follow the WHATWG Encoding Standard (section 4.2), as browsers
do: Shift_JIS is cp932, latin-1 is windows-1252, EUC-JP and ISO-2022-JP know the characters
that NEC and IBM added, and the wave dash of all three is U+FF5E.
"""

from __future__ import annotations

import codecs
import re
from functools import cache

import numpy as np
import numpy.typing as npt

SAMPLE = 1 << 13  # bytes, from the first that is not ASCII, on which an encoding is judged
DAMAGED = 0.01  # share of characters that may be broken in an otherwise sound text

_MARKS = (  # longest first: the mark of UTF-32 begins with that of UTF-16
    (b"\xff\xfe\0\0", "utf-32-le"),
    (b"\0\0\xfe\xff", "utf-32-be"),
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_JAPANESE = ("cp932", "euc_jp", "iso2022_jp")

# Python's name -> what browsers use in its place.
_INSTEAD = {
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874",
    "tis-620": "cp874", "shift_jis": "cp932", "shift_jisx0213": "cp932",
    "shift_jis_2004": "cp932", "euc_jisx0213": "euc_jp", "euc_jis_2004": "euc_jp",
    "iso2022_jp_1": "iso2022_jp", "iso2022_jp_2": "iso2022_jp", "iso2022_jp_3": "iso2022_jp",
    "iso2022_jp_ext": "iso2022_jp", "iso2022_jp_2004": "iso2022_jp", "gb2312": "gb18030",
    "gbk": "gb18030", "euc_kr": "cp949", "big5": "big5hkscs", "utf-16": "utf-16-le",
    "utf-8-sig": "utf-8",
}  # fmt: skip
_LABELS = {
    "x-sjis": "cp932", "windows-31j": "cp932", "ms_kanji": "cp932", "x-euc-jp": "euc_jp",
    "x-gbk": "gb18030", "ks_c_5601-1987": "cp949", "big5-hkscs": "big5hkscs", "none": "",
    "unicode-1-1-utf-8": "utf-8", "x-x-big5": "big5hkscs", "windows-949": "cp949",
    "unicode": "utf-16-le", "windows-874": "cp874", "x-cp1252": "cp1252", "sjis": "cp932",
    "cseucpkdfmtjapanese": "euc_jp", "csiso2022jp": "iso2022_jp", "macintosh": "mac-roman",
}  # fmt: skip
_KNOWN = {
    *_JAPANESE, "utf-8", "utf-16-le", "utf-16-be", "gb18030", "cp949", "big5hkscs", "koi8-r",
    "koi8-u", "cp866", "cp874", "mac-roman", "mac-cyrillic",
    *(f"cp125{n}" for n in range(9)),
    *(f"iso8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
}  # fmt: skip
_MULTIBYTE = {*_JAPANESE, "utf-8", "gb18030", "cp949", "big5hkscs"}

# The six characters of JIS X 0208 that Unicode's table and Microsoft's map differently.
_MICROSOFT = (("〜", "～"), ("‖", "∥"), ("−", "－"), ("¢", "￠"), ("£", "￡"), ("¬", "￢"))

_META = re.compile(rb"""<meta[^>]{0,400}?charset\s*=\s*["']?\s*([\w.:-]{2,40})""", re.I)
_XML = re.compile(rb"""^\s*<\?xml[^>]{0,200}?encoding\s*=\s*["']([\w.:-]{2,40})""", re.I)


def codec_of(label: str) -> str:
    """Python's name of the encoding that browsers use for a label; "" if there is none."""
    label = label.strip().strip("\"'").lower()
    known = _LABELS.get(label)
    if known is None:
        try:
            name = codecs.lookup(label).name
        except (LookupError, ValueError):
            return ""
        known = _INSTEAD.get(name, name)
    return known if known in _KNOWN else ""


def declared_in(data: bytes) -> str:
    """The label that an HTML or XML page gives in its first 1,024 bytes; "" if it gives none.

    A page in which an ASCII declaration can be read is not in UTF-16, so that label is not
    believed (HTML standard, "prescan a byte stream").
    """
    head = data[:1024]
    found = _META.search(head) or _XML.match(head)
    label = found[1].decode("ascii", "replace") if found else ""
    return "utf-8" if label.lower().startswith("utf-16") else label


def utf16_of(head: bytes) -> str:
    """Python's name of the UTF-16 or UTF-32 of a file that should be UTF-8 and begins so; or "".

    With a byte order mark that says so; without one by the zeros beside the first ASCII characters.
    """
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return "" if codec == "utf-8" else codec
    zeros = tuple(byte == 0 for byte in head[:4])
    if len(zeros) < 4 or not any(zeros):
        return ""
    return _ZEROS.get(zeros, "")


# Which of the first four bytes are zero, where the first two characters are ASCII.
_ZEROS: dict[tuple[bool, ...], str] = {
    (True, True, True, False): "utf-32-be",
    (False, True, True, True): "utf-32-le",
    (True, False, True, False): "utf-16-be",
    (False, True, False, True): "utf-16-le",
    (False, True, False, False): "utf-16-le",  # an ASCII character before one that is not
    (True, False, False, False): "utf-16-be",
}

UTF16 = "UTF-16 or UTF-32, not UTF-8: iconv -f UTF-16 -t UTF-8 makes one of the other"


def decode(data: bytes, declared: str | tuple[str, ...] = "") -> tuple[str, str]:
    """The text, without a byte order mark, and Python's name of the encoding it was in.

    ``declared`` are labels from outside, the most trusted first. A text that is broken in a few
    places has U+FFFD there. Raises :class:`UnicodeError` if no encoding gives text.
    """
    for mark, codec in _MARKS:
        if data.startswith(mark):
            return _or_damaged(data[len(mark) :], (codec,))
    if data.isascii() and b"\x1b" not in data and b"\0" not in data:
        return data.decode("ascii"), "utf-8"
    labels = (declared,) if isinstance(declared, str) else declared
    said = [codec for label in labels if label and (codec := codec_of(label))]
    if b"\x1b" in data and b"\x1b$" in data:
        text = _strict(data, "iso2022_jp")
        if text is not None:
            return text, "iso2022_jp"
    text = _strict(data, "utf-8")
    if text is not None and not _contradicted(data, said):
        return text, "utf-8"
    for codec in said:
        found = _as_declared(data, codec)
        if found:
            return found
    codec = _japanese(data, said) or ("utf-8" if text is not None else _guess(data))
    found_text = _strict(data, codec) if codec else None
    if found_text is not None:
        return found_text, codec
    return _or_damaged(data, (*said, "utf-8", "cp932", "euc_jp"))


def _contradicted(data: bytes, said: list[str]) -> bool:
    """Whether bytes that are valid UTF-8 may be something else all the same.

    Characters of three bytes are not met by chance; the few pairs of bytes that are valid in
    UTF-8 and EUC-JP, in a short text, are. Escapes of other 7-bit codes and zeros of UTF-16
    are ASCII.
    """
    if not said or said[0] == "utf-8":
        return False
    if said[0].startswith("utf-16"):
        return b"\0" in data
    return said[0] in _MULTIBYTE and not re.search(rb"[\xe0-\xf4]", data)


def _as_declared(data: bytes, codec: str) -> tuple[str, str] | None:
    """The text in a declared encoding, unless it does not decode or is Japanese in another."""
    text = _strict(data, codec)
    if text is None or (codec in ("cp932", "euc_jp") and _japanese(data, [codec]) != codec):
        return None
    if codec not in _MULTIBYTE and not codec.startswith("utf"):
        # Every byte means something in these, so that it decodes is no evidence.
        other = _japanese(data, [])
        sample = _head(_sample(data), other) if other else None
        if sample is not None and _shares(sample)["kana"] > 0.2:
            return None
    return text, codec


def _japanese(data: bytes, said: list[str]) -> str:
    """The more plausible one of cp932 and EUC-JP; "" if neither is plausible Japanese."""
    sample = _sample(data)
    best, best_score = "", 0.0
    for codec in ("euc_jp", "cp932"):
        text = _head(sample, codec) if len(sample) == SAMPLE else _strict(sample, codec)
        if text is None:
            continue
        score = _plausible(text) + (0.3 if codec in said else 0.0)
        if score > best_score:
            best, best_score = codec, score
    return best


def _sample(data: bytes) -> bytes:
    """The first stretch worth judging: in both encodings a character begins where it does."""
    found = re.search(rb"[\x80-\xff]", data)
    start = found.start() if found else 0
    return data[start : start + SAMPLE]


def _head(sample: bytes, codec: str) -> str | None:
    """A sample that may end inside a character."""
    for cut in range(3):
        text = _strict(sample[: len(sample) - cut], codec)
        if text is not None:
            return text
    return None


def _strict(data: bytes, codec: str) -> str | None:
    """The text if all of it is valid; the additions to JIS X 0208 count as valid."""
    if not codec:
        return None
    try:
        if codec in ("euc_jp", "iso2022_jp"):
            name = "iso2022_jp_ext" if codec == "iso2022_jp" else codec
            text = data.decode(name, "yoriai-jis-additions")
            for unicode, microsoft in _MICROSOFT:
                text = text.replace(unicode, microsoft)
            return text
        return data.decode(codec)
    except (UnicodeError, ValueError):
        return None


def _or_damaged(data: bytes, order: tuple[str, ...]) -> tuple[str, str]:
    """The text in the encoding that leaves the fewest broken places, if they are few."""
    best: tuple[int, str, str] | None = None
    for codec in dict.fromkeys(order):
        text = data.decode(codec, "replace")
        broken = text.count("\ufffd")
        if best is None or broken < best[0]:
            best = broken, text, codec
    assert best is not None
    broken, text, codec = best
    if broken > max(1, DAMAGED * len(text)) or (broken and len(text) < 20):
        raise UnicodeError(f"no encoding gives text; in {codec}, {broken} places are broken")
    return text, codec


def _guess(data: bytes) -> str:
    """What uchardet (in Resiliparse) says where the bytes are neither UTF-8 nor Japanese."""
    try:
        from resiliparse.parse.encoding import detect_encoding
    except ImportError:
        return ""
    if b"\0" in data:
        return ""  # no text in any encoding it knows
    return codec_of(detect_encoding(data[: 1 << 16], html5_compatible=False) or "")


# --- plausibility -------------------------------------------------------------------------

# For each class of characters, what one of them adds to the score of a reading.
_WEIGHTS = {
    "other": 0.0, "ascii": 0.0, "kana": 2.0, "mark": 2.0, "common": 1.0, "rare": -0.5,
    "narrow": -0.7, "nonsense": -8.0,
}  # fmt: skip
_CLASSES = list(_WEIGHTS)


@cache
def _class_table() -> npt.NDArray[np.uint8]:
    """The class of each code point below U+10000."""
    table = np.zeros(1 << 16, dtype=np.uint8)

    def put(name: str, *ranges: tuple[int, int]) -> None:
        for first, last in ranges:
            table[first : last + 1] = _CLASSES.index(name)

    put("ascii", (0x09, 0x0A), (0x0D, 0x0D), (0x20, 0x7E))
    put("rare", (0x3400, 0x9FFF), (0xF900, 0xFAFF))
    put("kana", (0x3041, 0x3096), (0x30A1, 0x30FE))
    put("mark", (0x3000, 0x3002), (0x300C, 0x300F), (0xFF01, 0xFF5E))
    put("narrow", (0xFF61, 0xFF9F))
    put("nonsense", (0x00, 0x08), (0x0E, 0x1A), (0x1C, 0x1F), (0x7F, 0x9F), (0xE000, 0xF8FF))
    # JIS X 0208 orders its kanji by use: rows 16 to 47 are the common ones (level 1).
    rows = bytes(
        b for row in range(16, 48) for cell in range(1, 95) for b in (row + 160, cell + 160)
    )
    for character in rows[: -2 * 43].decode("euc_jp"):  # row 47 ends at cell 51
        table[ord(character)] = _CLASSES.index("common")
    return table


def _shares(text: str) -> dict[str, float]:
    """Share of each class among the characters that are not ASCII; no characters: all 0."""
    points = np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32)
    counts = np.bincount(_class_table()[np.minimum(points, 0xFFFF)], minlength=len(_CLASSES))
    counts[_CLASSES.index("ascii")] = 0
    total = max(1, int(counts.sum()))
    return {name: int(count) / total for name, count in zip(_CLASSES, counts, strict=True)}


def _plausible(text: str) -> float:
    """Above 0 for what reads like Japanese, below for what is misread as such."""
    return sum(_WEIGHTS[name] * share for name, share in _shares(text).items())


# --- NEC's and IBM's additions ------------------------------------------------------------


def _addition(error: UnicodeError) -> tuple[str, int]:
    """Reads a pair of bytes that JIS X 0208 does not have as cp932 does in the same place."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    pair = error.object[error.start : error.start + 2]
    if len(pair) < 2:
        raise error
    row, cell = (pair[0] & 0x7F) - 0x20, (pair[1] & 0x7F) - 0x20
    same_half = (pair[0] ^ pair[1]) < 0x80
    if not (same_half and 1 <= row <= 94 and 1 <= cell <= 94):
        raise error
    try:
        return _shifted(row, cell).decode("cp932"), error.start + 2
    except UnicodeDecodeError:
        raise error from None


def _shifted(row: int, cell: int) -> bytes:
    """The Shift_JIS bytes of a row and cell of JIS X 0208 (both 1 to 94)."""
    first = (row - 1) // 2 + (0x81 if row < 63 else 0xC1)
    second = cell + 0x9E if row % 2 == 0 else cell + (0x3F if cell < 64 else 0x40)
    return bytes((first, second))


codecs.register_error("yoriai-jis-additions", _addition)
