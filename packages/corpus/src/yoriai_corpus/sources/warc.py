"""Web archives: WARC files with pages (``corpus/warc``) and WET files with text (``corpus/wet``).

Records are found here, byte by byte of the unpacked file (:func:`warc_records`), so that a cut
record, a wrong length or garbage costs that record and no other, and so that a file can be
cut between records. What is inside an answer is read by :mod:`yoriai_corpus.sources.http_answers`.

A record that is no text (an image, a redirect, a request, metadata) is :class:`PassedOver`: it
is no document, not counted as read, and counted by kind. A page that should have been text and
is not readable is :class:`Unreadable`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

from pydantic import Field

from yoriai import Document, PassedOver, Unreadable
from yoriai_corpus.sources.encodings import declared_in, decode
from yoriai_corpus.sources.html import HtmlSource, is_in
from yoriai_corpus.sources.http_answers import body_of, final_answer, header_fields
from yoriai_corpus.sources.packing import Chunk, Damage, packing_of, unpack
from yoriai_corpus.sources.records import MEGABYTE, FilePart, RecordFault

PREFIX = b"WARC/"
MAX_HEADER_BYTES = 1 << 16
PAGE_TYPES = frozenset({"text/html", "application/xhtml+xml"})
TEXT_TYPES = PAGE_TYPES | {"text/plain"}

_START = re.compile(rb"WARC/1\.\d\r?\n(?=(?i:WARC-|Content-)[A-Za-z-]{4,30}[ \t]*:)")
_START_BYTES = 64  # more than what the expression looks at
_HEADER_END = re.compile(rb"\r?\n\r?\n")
_LENGTH = re.compile(rb"^Content-Length[ \t]*:[ \t]*(\d{1,18})[ \t]*\r?$", re.I | re.M)
_STATUS = re.compile(rb"(?:HTTP/\d(?:\.\d)?|ICY)[ \t]+(\d{3})(?!\d)", re.I)
_CHARSET = re.compile(r"""charset[ \t]*=[ \t]*["']?([\w.:-]+)""", re.I)
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<[!?a-zA-Z]")
_BETWEEN = b"\r\n"
_ARC = b"filedesc://"


class _Tape:
    """The unpacked bytes of a part, and the place in the file of each that is held.

    ``data[0]`` is where reading stands. Bytes of members that a later piece reads are not given.
    """

    def __init__(self, part: FilePart) -> None:
        self.part = part
        self.data = bytearray()
        self.damage: Damage | None = None
        self._ended = False
        self._chunks = unpack(part.file, part.start, part.prefix)
        self._marks: list[tuple[int, int, int]] = []  # index in data, member, offset there

    def fill(self) -> bool:
        """One more chunk; false at the end, and at a damage until it is taken."""
        if self._ended or self.damage:
            return False
        chunk = next(self._chunks, None)
        if isinstance(chunk, Damage):
            self.damage = chunk
            return False
        if chunk is None or self._belongs_to_the_next_piece(chunk):
            self._ended = True
            return False
        self._marks.append((len(self.data), chunk.member, chunk.offset))
        self.data += chunk.data
        return True

    def _belongs_to_the_next_piece(self, chunk: Chunk) -> bool:
        return 0 < self.part.end <= chunk.member and chunk.offset == 0 and begins(chunk.data)

    def need(self, count: int) -> bool:
        """Whether ``count`` bytes are held, after reading what it takes."""
        while len(self.data) < count:
            if not self.fill():
                return False
        return True

    def advance(self, count: int) -> None:
        """Reading stands ``count`` bytes further on; what lies before is forgotten."""
        while len(self._marks) > 1 and self._marks[1][0] <= count:
            self._marks.pop(0)  # so that at most the first two can be at or before data[0]
        self._marks = [(index - count, member, at) for index, member, at in self._marks]
        del self.data[:count]

    def place(self) -> tuple[int, int]:
        """(member, offset in it) of the next byte."""
        marks = [mark for mark in self._marks[:2] if mark[0] <= 0]
        index, member, offset = marks[-1]
        return member, offset - index

    def next_member(self) -> int:
        """Index of the next byte but the first at which a member begins with a record; or -1."""
        for index, member, offset in self._marks:
            if index > 0 and member and offset == 0 and begins(self.data[index : index + 5]):
                return index
        return -1


def begins(data: bytes | bytearray) -> bool:
    """Whether a record begins here, or may if only a few bytes are known."""
    return data.startswith(PREFIX) or (len(data) < len(PREFIX) and PREFIX.startswith(data))


def warc_records(part: FilePart, *, max_bytes: int) -> Iterator[tuple[str, bytes] | RecordFault]:
    """(place, bytes) of each record that begins inside the part, its header and its block.

    A :class:`RecordFault` stands for a record that is cut or too long, for one whose
    Content-Length is missing or does not lead to the next record, for garbage between records
    and for damage to the packing. In an unpacked file that is read from the middle, what looks
    like the first line of a record at the beginning of a line is taken for one.
    """
    tape = _Tape(part)
    is_plain = _packing_of(part) == ""
    if part.start and is_plain:
        _to_next_record(tape)  # the record before is the piece before's
    elif part.start and tape.need(len(PREFIX)) and not begins(tape.data):
        _pass_over(tape, sys.maxsize)  # frames that are not cut between records
    while True:
        if not tape.need(1):
            if tape.damage is None:
                return
            damage, tape.damage = tape.damage, None
            reason = f"the file ends or breaks here: {damage.reason}"
            yield RecordFault(part.place(damage.member, damage.offset), reason)
            continue
        if tape.data[0] in _BETWEEN:
            tape.advance(1)
            continue
        member, offset = tape.place()
        if is_plain and offset >= part.end:
            return
        place = part.place(member, offset)
        item = _record(tape, max_bytes, is_plain)
        yield RecordFault(place, item) if isinstance(item, str) else (place, item)


def _packing_of(part: FilePart) -> str:
    try:
        with part.file.open() as stream:
            return packing_of(part.file.path, stream.read(10))
    except (OSError, ValueError):
        return ""


def _record(tape: _Tape, max_bytes: int, is_plain: bool) -> bytes | str:
    """The next record, or what is wrong with it; reading then stands behind it."""
    tape.need(len(PREFIX))
    if not tape.data.startswith(PREFIX):
        tape.need(len(_ARC))
        if tape.place()[1] == 0 and tape.data.startswith(_ARC):
            _to_next_record(tape)
            return "an ARC file, not WARC: warcio recompress FILE.arc.gz FILE.warc.gz converts it"
        if tape.data.startswith(b"\x1f\x8b\x08"):
            _to_next_record(tape)
            return "it is packed twice: gunzip it once"
        return f"no record begins here: {_to_next_record(tape)} bytes passed over"
    start = _header_end(tape)
    if start < 0:
        _to_next_record(tape, 1)
        return "the record's header is cut or has no end"
    found = _LENGTH.search(tape.data, 0, start)
    if not found:
        _to_next_record(tape, start)
        return "bad Content-Length: there is no number"
    length = int(found[1])
    if length > max_bytes:
        left = tape.part.file.size() - tape.place()[1]
        if is_plain and length > left > 0:
            _to_next_record(tape, start)
        else:
            _pass_over(tape, start + length)
        return f"longer than {max_bytes} bytes: {length} bytes"
    end = start + length
    tape.need(end + 4 + len(PREFIX))  # what follows says whether the length is right
    member = tape.next_member()
    if len(tape.data) < end or 0 < member < end:
        _to_next_record(tape, member if 0 < member < end else start)
        return f"the record is cut, or its Content-Length is bad: {length} bytes"
    after = end
    while after < len(tape.data) and tape.data[after] in _BETWEEN:
        after += 1
    ends_well = tape.data.startswith(b"\r\n\r\n", end) or after == member
    if not ends_well and not begins(tape.data[after : after + len(PREFIX)]):
        _to_next_record(tape, start)
        return f"bad Content-Length: {length} bytes do not lead to the next record"
    record = bytes(tape.data[:end])
    tape.advance(after)
    return record


def _header_end(tape: _Tape) -> int:
    """Index after the empty line that ends the header; -1 if it has none."""
    while True:
        found = _HEADER_END.search(tape.data, 0, MAX_HEADER_BYTES)
        member = tape.next_member()
        if found:
            cut = _START.search(tape.data, 1, found.end()) or 0 < member < found.end()
            return -1 if cut else found.end()
        if len(tape.data) >= MAX_HEADER_BYTES or member > 0 or not tape.fill():
            return -1


def _pass_over(tape: _Tape, count: int) -> None:
    """Goes on by ``count`` bytes without holding them, or to the next member with a record."""
    while count > 0 and tape.need(1):
        member = tape.next_member()
        step = min(count, member if member > 0 else len(tape.data))
        tape.advance(step)
        count -= step
        if count and tape.need(len(PREFIX)) and tape.place()[1] == 0 and begins(tape.data):
            return


def _to_next_record(tape: _Tape, index: int = 0) -> int:
    """Goes to the first record at or after ``index``, or to the end; how far that was."""
    passed = 0
    while True:
        found = _START.search(tape.data, index)
        if found:
            tape.advance(found.start())
            return passed + found.start()
        kept = max(index, len(tape.data) - _START_BYTES)  # may hold the beginning of a record
        if kept > 4 * MAX_HEADER_BYTES:
            tape.advance(kept)
            passed, kept = passed + kept, 0
        index = kept
        if not tape.fill():
            passed += len(tape.data)
            tape.advance(len(tape.data))
            return passed


# --- what is inside a record --------------------------------------------------------------


_RECORD_TYPES = frozenset(
    ("warcinfo", "response", "resource", "request", "metadata", "revisit", "conversion",
     "continuation")
)  # fmt: skip
# Types that say what they are and are no text; of others the first bytes decide.
_NO_TEXT = re.compile(
    r"(?:image|audio|video|font|multipart|message|model)/"
    r"|text/(?!(?:plain|html|xml|x-html|htm|\*)?$)"
    r"|application/(?:pdf|json|javascript|x-javascript|ecmascript|zip|gzip|x-gzip|rss\+xml"
    r"|atom\+xml|ld\+json|manifest\+json|wasm|msword|rtf|postscript|epub|vnd|x-(?:font|shock|rar"
    r"|tar|7z|bzip|protobuf|msdownload|mpegurl|dosexec))"
)
_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*"
    rb"<(?:!doctype\s+html|html|head|body|title|meta|h1|div|p|table)\b",
    re.I | re.S,
)
# ISO 639-3, as CLD2 in Common Crawl says it, -> ISO 639-1, as everything else here does.
_CODES = """
jpn:ja eng:en zho:zh kor:ko deu:de fra:fr spa:es por:pt ita:it rus:ru nld:nl pol:pl tur:tr ara:ar
vie:vi tha:th ind:id msa:ms ces:cs slk:sk ell:el heb:he hin:hi hun:hu fin:fi swe:sv dan:da nor:no
nob:nb nno:nn ukr:uk ron:ro bul:bg hrv:hr srp:sr slv:sl est:et lav:lv lit:lt fas:fa ben:bn tam:ta
tel:te urd:ur mar:mr guj:gu cat:ca eus:eu glg:gl isl:is gle:ga cym:cy lat:la epo:eo mon:mn mya:my
khm:km lao:lo sin:si nep:ne kat:ka hye:hy aze:az kaz:kk uzb:uz sqi:sq mkd:mk bos:bs afr:af swa:sw
tgl:tl bel:be
"""
_LANGUAGES = dict(pair.split(":") for pair in _CODES.split())


def _kind(type_: str) -> str:
    """A type as a kind that is counted; what is no type has one kind."""
    return type_ if re.fullmatch(r"[a-z]{1,20}/[\w.+-]{1,60}", type_) else "of no type"


class WarcRecord(NamedTuple):
    """A record's header fields, their names in lower case, and its block."""

    fields: dict[str, str]
    block: bytes


class WarcSource(HtmlSource):
    """What readers of web archives share."""

    splits: ClassVar[frozenset[str]] = frozenset({"", "gz", "zst"})
    member_prefix: ClassVar[bytes] = PREFIX
    max_mb: int = Field(64, ge=1, description="a record larger than this is not read")

    def frames(self, part: FilePart) -> Iterator[tuple[str, bytes] | RecordFault]:
        return warc_records(part, max_bytes=self.max_mb * MEGABYTE)

    def document(self, place: str, content: bytes) -> Document | Unreadable | PassedOver:
        item = self._answer(place, content)
        return PassedOver(self.name, item) if isinstance(item, str) else item

    def _answer(self, place: str, content: bytes) -> Document | Unreadable | str:
        """A record's document, or why there is none, or the kind of record that is passed over."""
        found = _HEADER_END.search(content)
        end = found.end() if found else len(content)
        record = WarcRecord(header_fields(content[:end]), content[end:])
        kind = record.fields.get("warc-type", "").lower() or "of no type"
        if kind == self.record_type:
            return self._text(place, record)
        return kind if kind in _RECORD_TYPES else "record of another type"

    record_type: ClassVar[str] = ""
    """The kind of record that holds text."""

    def _text(self, place: str, record: WarcRecord) -> Document | Unreadable | str:
        raise NotImplementedError

    def _made(
        self, place: str, record: WarcRecord, text: str, language: str = "", *, cut: bool = False
    ) -> Document:
        """A document with what the record's header says of it.

        The id of one whose text was cut ends with ``#cut``.
        """
        say = record.fields.get
        id_ = say("warc-record-id", "").strip("<> ").removeprefix("urn:uuid:")
        cut = cut or "warc-truncated" in record.fields
        cut = cut or "warc-segment-number" in record.fields  # the rest is in other records
        return Document(
            self.name,
            (id_ or place) + ("#cut" if cut else ""),
            text,
            language or self.language,
            say("warc-target-uri", "").strip("<> "),
            self.licence,
            say("warc-date", ""),
        )


class Warc(WarcSource):
    """Pages of WARC files: answers with status 200 that are HTML, XHTML or plain text."""

    version: ClassVar[str] = "2"
    record_type: ClassVar[str] = "response"
    suffixes: ClassVar[tuple[str, ...]] = (".warc", ".warc.gz", ".warc.zst")
    html_lang: str = Field(
        "",
        description="read only pages that say they are in this language, such as ja, in"
        " <html lang>, or in Japanese by the kana of their title",
    )

    def _text(self, place: str, record: WarcRecord) -> Document | Unreadable | str:
        block = final_answer(record.block)
        status = _STATUS.match(block[:100])
        if status is None:
            said = record.fields.get("content-type", "").lower().partition(";")[0].strip()
            if said in TEXT_TYPES:  # of FTP, say: the block is the text
                return self._decoded(place, record, block, said, "", False)
            if said and said != "application/http":
                return f"response {_kind(said)}"  # text/dns, which Heritrix writes for each host
            return Unreadable(self.name, place, "an answer without an HTTP header")
        if status[1] != b"200":
            return f"response {status[1].decode()}"
        found = _HEADER_END.search(block)
        head, data = (block[: found.start()], block[found.end() :]) if found else (block, b"")
        fields = header_fields(head)
        said = fields.get("content-type", "")
        type_ = said.lower().partition(";")[0].partition(",")[0].strip()  # joined by a proxy
        told = _CHARSET.search(said)
        charset = told[1] if told else ""
        identified = record.fields.get("warc-identified-payload-type", "").lower()
        identified = identified.partition(";")[0].strip()
        if identified and identified not in TEXT_TYPES:
            return f"response {_kind(identified)}"
        if not identified and type_ not in TEXT_TYPES and _NO_TEXT.match(type_):
            return f"response {_kind(type_)}"
        limit = self.max_mb * MEGABYTE
        cut = False
        try:
            data, cut = body_of(fields, data, limit)
        except ValueError as error:
            # Some crawlers store the body decoded and the header as it came.
            if not _MARKUP.match(data) and b"\0" in data[:512] + b"\0" * (not data.isascii()):
                return Unreadable(self.name, place, f"the body cannot be decoded: {error}")
        if len(data) > limit:
            return Unreadable(self.name, place, f"longer than {limit} bytes when decoded")
        if identified:
            type_ = identified
        elif type_ not in TEXT_TYPES:
            if not _PAGE.match(data[:1024]):
                return f"response {_kind(type_)}"
            type_ = "text/html"
        return self._decoded(place, record, data, type_, charset, cut)

    def _decoded(
        self, place: str, record: WarcRecord, data: bytes, type_: str, charset: str, cut: bool
    ) -> Document | Unreadable | str:
        is_page = type_ in PAGE_TYPES
        labels = (charset, declared_in(data) if is_page else "")
        try:
            content, _ = decode(data, labels)
        except UnicodeError as error:
            return Unreadable(self.name, place, str(error))
        if self.html_lang and is_page and not is_in(content, self.html_lang):
            return f"response not in {self.html_lang}"
        text = self._page(place, content) if is_page else content
        if isinstance(text, Unreadable):
            return text
        if not text.strip():
            return Unreadable(self.name, place, "no text in the answer")
        return self._made(place, record, text, cut=cut)


class Wet(WarcSource):
    """Extracted text of WET files: their conversion records."""

    version: ClassVar[str] = "1"
    record_type: ClassVar[str] = "conversion"
    suffixes: ClassVar[tuple[str, ...]] = (".wet", ".wet.gz", ".wet.zst")

    def _text(self, place: str, record: WarcRecord) -> Document | Unreadable | str:
        try:
            text, _ = decode(record.block, "utf-8")
        except UnicodeError as error:
            return Unreadable(self.name, place, str(error))
        said = record.fields.get("warc-identified-content-language", "").partition(",")[0].strip()
        language = _LANGUAGES.get(said.lower(), said.lower())
        return self._made(place, record, text.rstrip("\r\n"), language)
