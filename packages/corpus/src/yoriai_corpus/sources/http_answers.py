"""HTTP answers as archives keep them: header fields, transfer and content codings, what is cut.

What a crawler wrote need not agree with itself: a body may be stored decoded under the header
it came with. Decoders therefore say of bytes that are not in their form that they are as they are.
"""

from __future__ import annotations

import re
import zlib
from typing import NamedTuple

_FIELD = re.compile(rb"^([!#$%&'*+.^_`|~\w-]+)[ \t]*:[ \t]*(.*?)[ \t]*\r?$", re.M)
_FOLD = re.compile(rb"\r?\n[ \t]+")
_INTERIM = re.compile(rb"HTTP/[\d.]+[ \t]+1\d\d\b", re.I)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHUNK = re.compile(rb"[ \t]*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")


class Body(NamedTuple):
    """What an answer holds; ``cut`` where it ends before it should."""

    data: bytes
    cut: bool = False


def header_fields(head: bytes) -> dict[str, str]:
    """Names in lower case (RFC 9110, section 5.1) and values, the first of each name.

    Codings are lists, so those that are sent twice are one (section 5.3); of types the last one
    counts, as in browsers (Fetch standard, "extract a MIME type").
    """
    fields: dict[str, str] = {}
    for raw, value in _FIELD.findall(_FOLD.sub(b" ", head)):
        name, text = raw.decode("latin-1").lower(), value.decode("utf-8", "replace").strip()
        if name in ("transfer-encoding", "content-encoding") and name in fields:
            fields[name] += f", {text}"
        elif name == "content-type" and text:
            fields[name] = text
        else:
            fields.setdefault(name, text)
    return fields


def final_answer(block: bytes) -> bytes:
    """The block from its final answer on, without interim ones (1xx) before it."""
    while _INTERIM.match(block) and (found := _HEAD_END.search(block)):
        rest = block[found.end() :]
        if not rest[:5].upper().startswith(b"HTTP/"):
            break
        block = rest
    return block


def body_of(fields: dict[str, str], data: bytes, limit: int) -> Body:
    """The body without its codings. Raises :class:`ValueError` where it cannot be decoded.

    At most ``limit`` + 1 bytes are made of it.
    """
    cut = False
    if "chunked" in fields.get("transfer-encoding", "").lower():
        data, cut = _dechunked(data)
    elif (said := fields.get("content-length", "")).isdigit():
        cut = 0 < len(data) < int(said)
    codings = [c.strip(" \t\"'").lower() for c in fields.get("content-encoding", "").split(",")]
    for coding in reversed(codings):
        if coding in ("", "identity", "utf-8", "none"):
            continue
        if coding in ("gzip", "x-gzip", "deflate"):
            body = _inflated(data, coding, limit)
        elif coding in ("br", "zstd"):
            body = _by_fastwarc(data, coding, limit)
        else:
            raise ValueError(f"a content coding that is not known: {coding[:40]!r}")
        data, cut = body.data, cut or body.cut
    if data.startswith(_GZIP):  # packed, and nobody said so
        body = _inflated(data, "gzip", limit)
        data, cut = body.data, cut or body.cut
    return Body(data, cut)


def _dechunked(data: bytes) -> tuple[bytes, bool]:
    pieces: list[bytes] = []
    at = 0
    while True:
        size = _CHUNK.match(data, at)
        if not size:
            # Nothing of it is in chunks: the crawler has taken them away.
            return (data, False) if not pieces else (b"".join(pieces), True)
        length, at = int(size[1], 16), size.end()
        if not length:
            return b"".join(pieces), False
        pieces.append(data[at : at + length])
        if at + length > len(data):
            return b"".join(pieces), True
        at += length
        at += 2 if data.startswith(b"\r\n", at) else data.startswith(b"\n", at)


def _inflated(data: bytes, coding: str, limit: int) -> Body:
    """gzip or zlib's format by the first bytes; "deflate" also, against RFC 9110, without it.

    gzip may be several members (RFC 1952, section 2.2); what follows them is no text.
    """
    if not data:
        return Body(data)
    if data.startswith(_GZIP):
        return _gunzipped(data, limit)
    forms = [15, -15] if coding == "deflate" else [15]
    found: Body | None = None
    for form in forms:
        body, _ = _unpacked(data, form, limit)
        if body.data and (found is None or len(body.data) > len(found.data)):
            found = body
        if body.data and not body.cut:
            break
    if found is None:
        raise ValueError(f"the body is no {coding}")
    return found


def _gunzipped(data: bytes, limit: int) -> Body:
    pieces: list[bytes] = []
    size = 0
    cut = False
    while data.startswith(_GZIP) and size <= limit and not cut:
        body, data = _unpacked(data, 31, limit - size)
        pieces.append(body.data)
        size, cut = size + len(body.data), body.cut
    if not size and cut:
        raise ValueError("the body is no gzip")
    return Body(b"".join(pieces), cut)


def _unpacked(data: bytes, form: int, limit: int) -> tuple[Body, bytes]:
    """What zlib makes of the bytes, up to ``limit`` + 1, and those behind its end."""
    unpacker = zlib.decompressobj(form)
    pieces: list[bytes] = []
    size = 0
    try:
        # In small pieces, so that what was made before a damage is not lost.
        for at in range(0, len(data), 512):
            pieces.append(unpacker.decompress(data[at : at + 512], limit + 1 - size))
            size += len(pieces[-1])
            if unpacker.eof:
                rest = unpacker.unused_data + data[at + 512 :]
                return Body(b"".join(pieces)), rest
            if size > limit:
                break
    except zlib.error:
        return Body(b"".join(pieces), True), b""
    return Body(b"".join(pieces), size <= limit), b""


_GZIP = b"\x1f\x8b\x08"


def _by_fastwarc(data: bytes, coding: str, limit: int) -> Body:
    import io

    from fastwarc.warc import ArchiveIterator

    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n".encode()
    record = (
        b"WARC/1.1\r\nWARC-Type: response\r\nContent-Type: application/http; msgtype=response\r\n"
        b"Content-Length: %d\r\n\r\n" % (len(head) + len(data))
    )
    try:
        found = next(iter(ArchiveIterator(io.BytesIO(record + head + data), parse_http=False)))
        found.parse_http(auto_decode="all", quirks_mode=True)
        return Body(found.reader.read(limit + 1))
    except (OSError, StopIteration) as error:
        raise ValueError(str(error)) from error
