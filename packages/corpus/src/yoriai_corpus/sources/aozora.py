"""Texts of Aozora Bunko: Shift_JIS with marks for readings, layout and missing characters.

The marks are those of Aozora's manual (https://www.aozora.gr.jp/annotation/): ``《…》`` a
reading, ``｜`` where its base begins, ``［＃…］`` a note of the typist, ``※［＃…］`` a character
that JIS X 0208 lacks, ``〔e'tude〕`` Latin letters with accents.
"""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Document, Unreadable
from yoriai_corpus.sources.encodings import decode
from yoriai_corpus.sources.files import FileSource
from yoriai_corpus.sources.records import MEGABYTE, FilePart, RecordFault
from yoriai_corpus.sources.text_files import whole_files

MISSING = "〓"  # the geta mark: there was a character here that no encoding has

_RULE = re.compile(r"^-{20,}[ \t]*$", re.M)
_LEGEND = re.compile(r"^[ \t　]*[［【](?:テキスト中に現れる記号|表記)について[］】]", re.M)
_REMARKS = re.compile(r"\n-{20,}[ \t]*\n●?入力者注.*\Z", re.S)
_REMARK = re.compile(r"［※[0-9０-９～、]+］")
_COLOPHON = re.compile(
    r"\n[ \t　]*(?=底本[：:])|\n(?=[ \t　]*［＃(?:本文終わり|ここから底本)[^］]*］)"
)
_RUBY = re.compile(r"《[^《》\n]*》")
_RUBY_BASE = re.compile(r"｜([^｜《》\n]*)《([^《》\n]*)》")
_NOTE = re.compile(r"［＃[^［］]*］")
_GAIJI = re.compile(r"※［＃((?:[^［］]|［＃[^［］]*］)*)］")
_UNICODE = re.compile(r"U\+([0-9A-Fa-f]{4,6})")
_MEN_KU_TEN = re.compile(r"(?<![\d-])([12])-(\d{1,2})-(\d{1,2})(?![\d-])")
_JAPANESE = re.compile(r"[\u3041-\u30ff\u3400-\u9fff]")
_SMALL_KANA = re.compile(r"小書き(?:平仮名|片仮名)(.)")
_ACCENTED = re.compile(r"〔([^〔〕\n]*)〕")

# Characters that are marks of the notation. Where a note describes one of them it is the author's,
# so it is put aside until the marks were read.
_MARKS_OF_TEXT = "《》｜［］〔〕※＃／＼″"
_ASIDE = {ord(mark): 0xF0000 + place for place, mark in enumerate(_MARKS_OF_TEXT)}
_BACK = {aside: mark for mark, aside in _ASIDE.items()}
# Iteration marks of two characters' height (https://www.aozora.gr.jp/annotation/kunoji.html):
# U+3033 to U+3035.
_ITERATION = re.compile(r"／([″゛]?)＼")

# The accent notation of https://www.aozora.gr.jp/accent_separation.html: letter, then mark.
_MARKS = {
    "`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", ":": "\u0308", "_": "\u0304",
    "&": "\u030a", ",": "\u0327",
}  # fmt: skip
_LIGATURES = {
    "ae&": "æ", "AE&": "Æ", "oe&": "œ", "OE&": "Œ", "s&": "ß", "!@": "¡", "?@": "¿",
    "o/": "ø", "O/": "Ø", "l/": "ł", "L/": "Ł", "d/": "đ", "D/": "Đ", "h/": "ħ",
    "i/": "ɨ", "u/": "ʉ",
}  # fmt: skip
_LETTER = re.compile(r"[aA][eE]&|[oO][eE]&|s&|[!?]@|[oOlLdDhiu]/|[A-Za-z][`'^~:_&,]")
_LARGE = "つやゆよあいうえおわツヤユヨアイウエオワカケクシストヌハヒフヘホムラリルレロ"
_LITTLE = "っゃゅょぁぃぅぇぉゎッャュョァィゥェォヮヵヶㇰㇱㇲㇳㇴㇵㇶㇷㇸㇹㇺㇻㇼㇽㇾㇿ"
# The small kana that Unicode has; others stay as large as they are.
_SMALL = dict(zip(_LARGE, _LITTLE, strict=True))


@dataclass(slots=True)
class AozoraWork:
    """A work without Aozora's marks."""

    title: str = ""
    author: str = ""
    text: str = ""
    colophon: str = ""
    missing: int = 0
    """Characters that stand as :data:`MISSING`."""


def read_work(raw: str, *, ruby: Literal["drop", "parentheses"] = "drop") -> AozoraWork:
    """Takes a file of Aozora Bunko apart. What has none of its parts is all text."""
    raw = raw.replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    work = AozoraWork()
    head, body = _parts(raw)
    body, work.colophon = _cut_colophon(body)
    if head:
        names = [plain(line, ruby)[0].strip() for line in head.split("\n") if line.strip()]
        work.title = names[0] if names else ""
        work.author = names[-1] if len(names) > 1 else ""
    text, work.missing = plain(body, ruby)
    work.text = re.sub(r"\n{3,}", "\n\n", "\n".join(map(str.rstrip, text.split("\n")))).strip("\n")
    return work


def _parts(raw: str) -> tuple[str, str]:
    """The lines of title and author, and what follows the legend between its two rules."""
    legend = _LEGEND.search(raw, 0, 3000)
    end = _RULE.search(raw, legend.end(), legend.end() + 10_000) if legend else None
    if legend and end:
        return _RULE.sub("", raw[: legend.start()]), raw[end.end() :]
    head, gap, body = raw.partition("\n\n")
    # Without a legend: a few short lines and an empty one.
    lines = head.strip("\n").split("\n")
    if gap and 2 <= len(lines) <= 5 and all(len(line) < 60 and "。" not in line for line in lines):
        return head, body
    return "", raw


def _cut_colophon(body: str) -> tuple[str, str]:
    """What comes before the last 底本：that begins a line, and from it on."""
    found = list(_COLOPHON.finditer(body))
    if not found or found[-1].start() < len(body) - 20_000:
        return body, ""
    cut = found[-1]
    note = next((f for f in found if f.start() > cut.start() - 40), cut)
    text, colophon = body[: note.start()], body[cut.end() :].strip("\n")
    if remarks := _REMARKS.search(text, max(0, len(text) - 20_000)):
        text = _REMARK.sub("", text[: remarks.start()])
    return text, colophon


def plain(text: str, ruby: str = "drop") -> tuple[str, int]:
    """Text without marks, and the number of characters that nobody could write."""
    missing = 0

    def character(note: re.Match[str]) -> str:
        nonlocal missing
        found = gaiji(note[1])
        missing += not found
        return found.translate(_ASIDE) or MISSING

    text = _GAIJI.sub(character, text)
    while True:  # notes about notes: the innermost first
        shorter = _NOTE.sub("", text)
        if shorter == text:
            break
        text = shorter
    if "〔" in text:
        text = _ACCENTED.sub(_unfold, text)
    if ruby == "drop":
        text = _RUBY.sub("", text)
    else:
        text = _RUBY_BASE.sub(r"\1（\2）", text)
        text = _RUBY.sub(lambda found: f"（{found[0][1:-1]}）", text)
    for mark in "｜《》":  # half of a pair: a slip of the typist
        text = text.replace(mark, "")
    text = _ITERATION.sub(lambda found: "〴〵" if found[1] else "〳〵", text)
    return text.translate(_BACK), missing


@cache
def gaiji(note: str) -> str:
    """The character that a note describes, by Unicode or JIS X 0213; "" if it names neither."""
    found = _UNICODE.search(note)
    if found:
        code = int(found[1], 16)
        if 0x20 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000:
            return chr(code)
    for plane, row, cell in _MEN_KU_TEN.findall(note):
        lead = b"\x8f" if plane == "2" else b""
        if 1 <= int(row) <= 94 and 1 <= int(cell) <= 94:
            try:
                return (lead + bytes((int(row) + 160, int(cell) + 160))).decode("euc_jis_2004")
            except UnicodeDecodeError:
                continue
    kana = _SMALL_KANA.match(note)
    return _SMALL.get(kana[1], kana[1]) if kana else ""


def _unfold(found: re.Match[str]) -> str:
    """〔e'tude〕 as étude; brackets around anything else are the author's."""
    inside = found[1]
    if not _LETTER.search(inside) or _JAPANESE.search(_RUBY.sub("", inside)):
        return found[0]

    def accented(letter: re.Match[str]) -> str:
        mark = letter[0]
        if mark in _LIGATURES:
            return _LIGATURES[mark]
        whole = unicodedata.normalize("NFC", mark[0] + _MARKS.get(mark[-1], mark[-1]))
        return whole if len(whole) == 1 else mark

    return _LETTER.sub(accented, inside)


class Aozora(FileSource):
    """Works of Aozora Bunko, from text files or from the zip files it hands out."""

    version: ClassVar[str] = "2"
    suffixes: ClassVar[tuple[str, ...]] = (".txt", ".zip")
    gathers: ClassVar[bool] = True
    language: str = Field("ja", description="language of the works")
    licence: str = Field("public domain", description="licence of the works")
    ruby: Literal["drop", "parentheses"] = Field(
        "drop", description="readings: left out, or kept in （） behind what they belong to"
    )
    title: bool = Field(False, description="put title and author before the text")
    colophon: Literal["drop", "keep"] = Field(
        "drop", description="the lines on the printed source and the volunteers, at the end"
    )
    max_mb: int = Field(32, ge=1, description="a text larger than this is not read")

    def frames(self, part: FilePart) -> Iterator[tuple[str, bytes] | RecordFault]:
        for frame in whole_files(part, self.max_mb):
            if not isinstance(frame, RecordFault) and frame[1].startswith(b"PK\x03\x04"):
                yield from _unzipped(part.name, frame[1], self.max_mb * MEGABYTE)
            else:
                yield frame

    def document(self, place: str, content: bytes) -> Document | Unreadable:
        try:
            raw, _ = decode(content, "shift_jis")
        except UnicodeError as error:
            return Unreadable(self.name, place, str(error))
        work = read_work(raw, ruby=self.ruby)
        pieces = [work.text]
        if self.title and work.title:
            pieces.insert(0, f"{work.title}\n{work.author}".rstrip())
        if self.colophon == "keep" and work.colophon:
            pieces.append(work.colophon)
        text = "\n\n".join(pieces)
        return Document(self.name, place, text, self.language, "", self.licence)


def _unzipped(name: str, data: bytes, max_bytes: int) -> Iterator[tuple[str, bytes] | RecordFault]:
    """The texts in a zip file, in memory: the names in it are never used as paths."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        members = [m for m in archive.infolist() if m.filename.lower().endswith(".txt")]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        yield RecordFault(name, f"not a zip file: {error}")
        return
    if not members:
        yield RecordFault(name, "no text in the zip file")
    for number, member in enumerate(members):
        place = name if len(members) == 1 else f"{name}#{number}"
        try:
            with archive.open(member) as stream:
                text = stream.read(max_bytes + 1)
        except Exception as error:  # zipfile raises what its parts raise, zlib.error among them
            yield RecordFault(place, f"cannot be unpacked: {type(error).__name__}: {error}"[:200])
            continue
        if len(text) > max_bytes:
            yield RecordFault(place, f"longer than {max_bytes} bytes")
        else:
            yield place, text
