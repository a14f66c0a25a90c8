"""Bytes of a file as they were before it was packed: gzip, zstd, bzip2, xz or not at all.

A packed file is a row of *members* (gzip members, zstd frames, bzip2 or xz streams), each of
which unpacks without the others. A place in the unpacked bytes is therefore written as the
member's offset in the file and the offset inside it: it is the same whether the whole file
was read or only a piece of it.
"""

from __future__ import annotations

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import IO, Any, Literal, NamedTuple

from yoriai_corpus.sources.listing import SourceFile, reason_of

Packing = Literal["", "gz", "zst", "bz2", "xz"]

BLOCK = 1 << 18  # bytes read, and bytes unpacked, at a time
PLAIN = -1

_BZ2_STREAM = re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)")  # with a block, or with none
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)  # RFC 8878, section 3.1.2
_ZSTD_MAGIC = 0xFD2FB528
# zstd --long=31 (some published dumps) needs two gigabytes; the library's own limit is 128 MB.
_ZSTD_WINDOW = 1 << 31
_ZSTD_DICTIONARY = 0x184D2A5D
_MOST_DICTIONARY = 1 << 24


class Chunk(NamedTuple):
    """Unpacked bytes, and where they are: the member's start, and the offset inside it.

    A file that is not packed is one member called :data:`PLAIN`.
    """

    member: int
    offset: int
    data: bytes

    def before(self, end: int) -> int:
        """How many of the bytes lie before the file's byte ``end`` (a member does so whole)."""
        if self.member == PLAIN:
            return min(max(end - self.offset, 0), len(self.data))
        return len(self.data) if self.member < end else 0


class Damage(NamedTuple):
    """Here the file cannot be read on. What follows, if anything does, is a later member.

    ``outside`` is true where the machine failed and not the file: a read that went wrong.
    """

    member: int
    offset: int
    reason: str
    outside: bool = False


class Broken(ValueError):
    """Bytes that do not unpack."""


_READABLE = re.compile(rb"[\t\r\n -~]{10}")


def packing_of(name: str, head: bytes) -> Packing:
    """How a file is packed: by its first bytes, else by its name.

    What begins with ten printable ASCII characters is not packed, whatever it is called.
    """
    if head.startswith(b"\x1f\x8b\x08"):
        return "gz"
    if len(head) >= 4 and _is_zstd(int.from_bytes(head[:4], "little")):
        return "zst"
    if _BZ2_STREAM.match(head):
        return "bz2"
    if head.startswith(b"\xfd7zXZ\0"):
        return "xz"
    if _READABLE.fullmatch(head):
        return ""
    name = name.lower()
    named: dict[str, Packing] = {".gz": "gz", ".zst": "zst", ".bz2": "bz2", ".xz": "xz"}
    return next((packing for suffix, packing in named.items() if name.endswith(suffix)), "")


def _is_zstd(magic: int) -> bool:
    return magic == _ZSTD_MAGIC or magic in _SKIPPABLE


def unpack(file: SourceFile, start: int = 0, prefix: bytes = b"") -> Iterator[Chunk | Damage]:
    """The unpacked bytes from the first member at or after ``start`` to the file's end.

    Nothing is raised for what is wrong with the file: that is a :class:`Damage`, after all
    bytes before it. ``prefix`` is what every gzip member unpacks to at its beginning; without
    it one cannot tell where in the middle of a gzip file a member starts.
    """
    try:
        stream = file.open()
    except MemoryError:
        raise
    except Exception as error:  # an address: its library's own errors
        yield Damage(PLAIN, start, f"cannot be read: {reason_of(error)}", True)
        return
    with stream:
        try:
            head = stream.read(10)
            packing = packing_of(file.path, head)
            if not packing:
                stream.seek(start)
                yield from _plain(stream, start)
            elif not head:
                yield Damage(0, 0, f"a .{packing} file with nothing in it")
            elif packing == "zst":
                stream.seek(start)
                yield from _zstd(stream, start)
            else:
                yield from _members(stream, packing, start, prefix)
        except MemoryError:
            raise
        except Exception as error:
            yield Damage(PLAIN, start, f"reading failed: {reason_of(error)}", True)


def _plain(stream: IO[bytes], offset: int) -> Iterator[Chunk]:
    while data := stream.read(BLOCK):
        yield Chunk(PLAIN, offset, data)
        offset += len(data)


# --- gzip, bzip2, xz ----------------------------------------------------------------------


class _Inflater:
    """zlib with the interface that bz2 and lzma share."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(31)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        return not self._zlib.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data


_UNPACKERS: dict[str, Callable[[], Any]] = {
    "gz": _Inflater,
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ),
}
_ERRORS = (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError)


def _members(
    stream: IO[bytes], packing: str, start: int, prefix: bytes
) -> Iterator[Chunk | Damage]:
    at: int | None = start
    if start:
        at = _next_member(stream, packing, start, prefix)
    while at is not None:
        stream.seek(at)
        damage = yield from _sound_members(stream, packing, at)
        if damage is None:
            return
        yield damage
        at = _next_member(stream, packing, damage.member + 1, prefix)


def _sound_members(
    stream: IO[bytes], packing: str, at: int
) -> Generator[Chunk, None, Damage | None]:
    """Members one after the other until the file ends (gives None) or one of them is damaged."""
    data = stream.read(BLOCK)
    while True:
        # Zeros between members are padding (gzip on tape, xz by its specification).
        while not data.strip(b"\0"):
            at += len(data)
            data = stream.read(BLOCK)
            if not data:
                return None
        at += len(data) - len(data.lstrip(b"\0"))
        data = data.lstrip(b"\0")
        member, offset, taken_at = at, 0, at
        unpacker = _UNPACKERS[packing]()
        while not unpacker.eof:
            try:
                unpacked = unpacker.decompress(data, BLOCK)
            except _ERRORS as error:
                for chunk in _salvage(stream, packing, member, offset, taken_at):
                    offset += len(chunk.data)
                    yield chunk
                return Damage(member, offset, f"{type(error).__name__}: {error}")
            if unpacked:
                yield Chunk(member, offset, unpacked)
                offset += len(unpacked)
            if unpacker.eof:
                break
            data = b""
            if unpacker.needs_input:
                taken_at = stream.tell()
                data = stream.read(BLOCK)
                if not data:
                    if rest := unpacker.decompress(b"", BLOCK):
                        yield Chunk(member, offset, rest)
                        offset += len(rest)
                    return Damage(member, offset, "the file ends too early")
        data = unpacker.unused_data
        at = stream.tell() - len(data)
        data = data or stream.read(BLOCK)
        if not data:
            return None


def _salvage(stream: IO[bytes], packing: str, member: int, known: int, bad: int) -> Iterator[Chunk]:
    """What a damaged member gives after its first ``known`` bytes, up to the damaged byte.

    An unpacker that fails keeps to itself what it made of the bytes before; so the last ones,
    from the file's offset ``bad`` on, are fed to a new one byte by byte.
    """
    stream.seek(member)
    unpacker = _UNPACKERS[packing]()
    made = 0
    data = b""
    while True:
        if unpacker.needs_input:
            left = bad - stream.tell()
            data = stream.read(min(BLOCK, left) if left > 0 else 1)
        try:
            unpacked = unpacker.decompress(data, BLOCK if stream.tell() <= bad else 64)
        except _ERRORS:
            return
        fresh = unpacked[max(0, known - made) :]
        made += len(unpacked)
        if fresh:
            yield Chunk(member, made - len(fresh), fresh)
        if unpacker.eof or (not data and not unpacked):
            return
        data = b""


def _next_member(stream: IO[bytes], packing: str, start: int, prefix: bytes) -> int | None:
    """Offset of the first member at or after ``start``; None if there is none to be found."""
    if packing == "bz2":
        return next(_find(stream, _BZ2_STREAM, start), None)
    if packing == "gz" and prefix:
        for at in _find(stream, re.compile(rb"\x1f\x8b\x08"), start):
            stream.seek(at)
            try:
                if zlib.decompressobj(31).decompress(stream.read(BLOCK), 64).startswith(prefix):
                    return at
            except zlib.error:
                continue
    return None


def _find(stream: IO[bytes], expression: re.Pattern[bytes], start: int) -> Iterator[int]:
    """Offsets at or after ``start`` where the expression (of at most 16 bytes) matches."""
    at, held = start, b""
    stream.seek(at)
    while data := stream.read(BLOCK):
        held, after = held + data, stream.tell()
        for match in expression.finditer(held):
            yield at + match.start()
        stream.seek(after)
        # What may be the beginning of a match stays; a match that ended in it is not met twice.
        last = max((m.end() for m in expression.finditer(held)), default=0)
        cut = max(last, len(held) - 15, 0)
        at, held = at + cut, held[cut:]


# --- zstd ---------------------------------------------------------------------------------


def _zstd(stream: IO[bytes], at: int) -> Iterator[Chunk | Damage]:
    """Frame by frame and block by block, by the sizes that the format writes before each.

    One block unpacks to at most 128 KB (RFC 8878, section 3.1.1.2), whatever it claims.
    """
    import zstandard

    try:
        words = _zstd_dictionary(stream)
        shared = zstandard.ZstdCompressionDict(words) if words else None
    except (Broken, zstandard.ZstdError) as error:
        yield Damage(at, 0, f"the dictionary before its frames: {error}")
        return
    context = zstandard.ZstdDecompressor(dict_data=shared, max_window_size=_ZSTD_WINDOW)
    while True:
        offset = 0
        unpacker: Any = context.decompressobj()
        problem = ""
        try:
            for piece in _zstd_frame(stream):
                if problem:
                    continue  # the sizes still lead to the next frame
                try:
                    unpacked = unpacker.decompress(piece)
                except zstandard.ZstdError as error:
                    problem = str(error)
                    continue
                if unpacked:
                    yield Chunk(at, offset, unpacked)
                    offset += len(unpacked)
        except EOFError:
            return
        except Broken as error:
            yield Damage(at, offset, problem or str(error))
            return
        if problem:
            yield Damage(at, offset, problem)
        at = stream.tell()


def _zstd_dictionary(stream: IO[bytes]) -> bytes:
    """The dictionary that a .warc.zst may begin with, packed or not; b"" if there is none.

    "Zstandard Compression for WARC Files 1.0" of the IIPC: a skippable frame of type D. The stream
    stands where it stood.
    """
    import zstandard

    place = stream.tell()
    stream.seek(0)
    head = stream.read(8)
    words = b""
    if len(head) == 8 and int.from_bytes(head[:4], "little") == _ZSTD_DICTIONARY:
        size = int.from_bytes(head[4:], "little")
        if size > _MOST_DICTIONARY:
            raise Broken(f"it has {size:,} bytes")
        words = stream.read(size)
        if int.from_bytes(words[:4], "little") == _ZSTD_MAGIC:
            context = zstandard.ZstdDecompressor(max_window_size=_MOST_DICTIONARY)
            words = context.stream_reader(words).read(_MOST_DICTIONARY + 1)
            if len(words) > _MOST_DICTIONARY:
                raise Broken(f"it unpacks to more than {_MOST_DICTIONARY:,} bytes")
    stream.seek(place)
    return words


def _zstd_frame(stream: IO[bytes], skip: bool = False) -> Iterator[bytes]:
    """One frame in pieces: its header, then each block, then its checksum.

    With ``skip`` the contents of blocks are passed over. Nothing comes of a skippable frame.
    Raises :class:`EOFError` at the file's end and :class:`Broken` inside a frame.
    """

    def take(count: int) -> bytes:
        data = stream.read(count)
        if len(data) < count:
            raise Broken("the file ends too early")
        return data

    head = stream.read(4)
    if not head:
        raise EOFError
    magic = int.from_bytes(head, "little")
    if len(head) == 4 and magic in _SKIPPABLE:
        stream.seek(int.from_bytes(take(4), "little"), 1)
        return
    if len(head) < 4 or magic != _ZSTD_MAGIC:
        raise Broken("no zstd frame begins here")
    descriptor = take(1)
    flags = descriptor[0]
    single = flags >> 5 & 1
    size = (0 if single else 1) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]
    yield head + descriptor + take(size)
    last = False
    while not last:
        header = take(3)
        block = int.from_bytes(header, "little")
        last, kind, length = bool(block & 1), block >> 1 & 3, block >> 3
        if kind == 3:
            raise Broken("a block of a kind that zstd does not have")
        length = 1 if kind == 1 else length
        if skip:
            stream.seek(length, 1)
            yield b""
        else:
            yield header + take(length)
    if flags >> 2 & 1:
        yield take(4)


def zstd_frames(file: SourceFile) -> list[int]:
    """Offsets at which frames begin, read from the sizes alone; [0] if that cannot be done."""
    starts = [0]
    size = file.size()
    try:
        with file.open(4096) as stream:
            while True:
                for _ in _zstd_frame(stream, skip=True):
                    if stream.tell() > size:
                        return starts
                if stream.tell() > size:
                    return starts
                starts.append(stream.tell())
    except (OSError, EOFError, ValueError):
        return starts
