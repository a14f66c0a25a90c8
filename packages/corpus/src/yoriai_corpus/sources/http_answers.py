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
_CHUNK = re.compile(rb"[ \t]*([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")


class Body(NamedTuple):
    """What an answer holds; ``cut`` where it ends before it should."""

    data: bytes
    cut: bool = False


def header_fields(head: bytes) -> dict[str, str]:
    """Names in lower case (RFC 9110, section 5.1) and values, the first of each name."""
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(_FOLD.sub(b" ", head)):
        text = value.decode("utf-8", "replace").strip()
        fields.setdefault(name.decode("latin-1").lower(), text)
    return fields


def body_of(fields: dict[str, str], data: bytes, limit: int) -> Body:
    """The body without its codings. Raises :class:`ValueError` where it cannot be decoded.

    At most ``limit`` + 1 bytes are made of it.
    """
    cut = False
    if "chunked" in fields.get("transfer-encoding", "").lower():
        data, cut = _dechunked(data)
    elif (said := fields.get("content-length", "")).isdigit():
        cut = 0 < len(data) < int(said)
    codings = [c.strip().lower() for c in fields.get("content-encoding", "").split(",")]
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
    if data.startswith(b"\x1f\x8b\x08"):  # packed, and nobody said so
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
    """gzip by its first bytes; "deflate" is zlib's format or, against RFC 9110, without it."""
    if not data:
        return Body(data)
    if data.startswith(b"\x1f\x8b"):
        forms = [31]
    elif coding == "deflate":
        forms = [15, -15]
    else:
        raise ValueError("the body is no gzip")
    found: Body | None = None
    for form in forms:
        unpacker = zlib.decompressobj(form)
        text, problem = b"", False
        try:
            # In small pieces, so that what was made before a damage is not lost.
            for at in range(0, len(data), 512):
                text += unpacker.decompress(data[at : at + 512], limit + 1 - len(text))
                if unpacker.eof or len(text) > limit:
                    break
        except zlib.error:
            problem = True
        body = Body(text, problem or not (unpacker.eof or len(text) > limit))
        if text and (found is None or len(text) > len(found.data)):
            found = body
        if not problem and text:
            break
    if found is None:
        raise ValueError(f"the body is no {coding}")
    return found


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
