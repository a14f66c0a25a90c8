"""Files as records: a piece of a file, the records in it, and what goes wrong on the way.

:func:`records` gives ``(place, bytes)``. A place names a record for ever: ``name@offset``, the
offset of its first byte in the unpacked file; in a file of several members
(:mod:`yoriai_corpus.sources.packing`) from the second one on ``name@member+offset``. It does not
depend on how the file was cut into partitions.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from yoriai import Document, PassedOver, Unreadable, YoriaiError
from yoriai_corpus.engines.deaths import KILLED
from yoriai_corpus.sources.listing import SourceFile
from yoriai_corpus.sources.packing import PLAIN, Chunk, Damage, unpack

MEGABYTE = 1 << 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file, or a piece of it: from byte ``start`` up to byte ``end`` as it lies on disk."""

    file: SourceFile
    start: int = 0
    end: int = sys.maxsize
    prefix: bytes = b""  # see packing.unpack

    @property
    def name(self) -> str:
        return self.file.name

    def place(self, member: int, offset: int) -> str:
        return f"{self.label(member)}{offset}"

    def label(self, member: int) -> str:
        """A place in this member up to the offset in it."""
        return f"{self.file.name}@{member}+" if member > 0 else f"{self.file.name}@"


@dataclass(frozen=True, slots=True)
class RecordFault:
    """In the place of a record: why there is none."""

    place: str
    reason: str


def records(
    part: FilePart, *, delimiter: bytes = b"\n", max_bytes: int = 64 * MEGABYTE
) -> Iterator[tuple[str, bytes] | RecordFault]:
    """(place, bytes) of each record, without the delimiter that ends it.

    In a piece that does not begin the file, the first record is the one after the first
    delimiter; the last one is ended by the first delimiter that begins at or after ``end``.
    So every record is in exactly one piece, and none has to know what lies before its piece.
    A record of more than ``max_bytes`` is one :class:`RecordFault` with its length; so is each
    damaged stretch of the file, and reading goes on behind it where the format allows.
    """
    step = len(delimiter)
    margin = step - 1
    held: list[bytes] = []  # the record so far
    size = 0  # its length, even when it is no longer held
    label, first = "", -1  # where it begins: its place is both; -1: the next byte begins it
    skipping = part.start > 0  # inside a record that another piece or a damage has had
    tail = b""  # may hold the first bytes of a delimiter
    passed: int | None = None  # where the coming data pass the piece's end, once that is known
    at = (PLAIN, part.start)
    dense = True  # records are short

    def too_long(length: int) -> str:
        return f"longer than {max_bytes} bytes: {length} bytes"

    for chunk in unpack(part.file, part.start, part.prefix):
        if isinstance(chunk, Damage):
            if chunk.outside or not skipping:
                where = part.place(*(at if chunk.outside else (chunk.member, chunk.offset)))
                reason = f"the file ends or breaks here: {chunk.reason}"
                yield RecordFault(where if first < 0 else label + str(first), reason)
            held, size, first, tail, skipping = [], 0, -1, b"", True
            continue
        member, offset, fresh = chunk
        data = tail + fresh if tail else fresh
        # Positions in ``data``: at ``lead`` the chunk begins, at ``edge`` the piece ends.
        lead = len(tail)
        edge = lead + chunk.before(part.end) if passed is None else passed
        if first < 0 and not skipping:
            label, first = part.label(member), offset
        shift = offset - lead  # from a position in ``data`` to an offset
        pieces = data.split(delimiter) if dense else _split_sparse(data, delimiter)
        dense = len(pieces) * 400 > len(data)
        done = 0
        for piece in pieces[:-1]:
            found = done + len(piece)
            if not skipping:
                length = size + len(piece)
                if length > max_bytes:
                    yield RecordFault(label + str(first), too_long(length))
                elif held:
                    yield label + str(first), b"".join([*held, piece])
                else:
                    yield label + str(first), piece
            if found >= edge:
                return
            if done == 0:
                label, held, size, skipping = part.label(member), [], 0, False
            done = found + step
            first = shift + done
        rest = pieces[-1]
        if done == len(data):
            first = -1  # the next chunk may be another member's
        keep = min(margin, len(rest))
        tail = rest[len(rest) - keep :] if keep else b""
        body = rest[: len(rest) - keep] if keep else rest
        if not skipping and body:
            size += len(body)
            if size > max_bytes:
                held = []
            else:
                held.append(body)
        if edge < len(data):
            passed = max(0, edge - (len(data) - keep))
        at = (member, offset + len(fresh))
    if not skipping and (size or tail):
        if size + len(tail) > max_bytes:
            yield RecordFault(label + str(first), too_long(size + len(tail)))
        else:
            yield label + str(first), b"".join([*held, tail])


def _split_sparse(data: bytes, delimiter: bytes) -> list[bytes]:
    """``data.split(delimiter)``, quicker where a piece has 400 bytes and more.

    ``find`` looks for a byte with memchr, ``split`` compares one after the other.
    """
    pieces = []
    at = 0
    while (end := data.find(delimiter, at)) >= 0:
        pieces.append(data[at:end])
        at = end + len(delimiter)
    pieces.append(data[at:])
    return pieces


def unbroken(
    frames: Iterable[tuple[str, T] | RecordFault], place: str
) -> Iterator[tuple[str, T] | RecordFault]:
    """The frames, and one :class:`RecordFault` where whatever reads them breaks off."""
    last: tuple[str, T] | RecordFault | None = None
    try:
        for last in frames:
            yield last
    except (YoriaiError, MemoryError):
        raise
    except Exception as error:
        if last is not None:
            place = last.place if isinstance(last, RecordFault) else last[0]
        yield RecordFault(place, f"reading broke off behind this: {_words(error)}")


def guarded(
    source: str,
    frames: Iterable[tuple[str, T] | RecordFault],
    parse: Callable[[str, T], Document | Unreadable | PassedOver | None],
    skip: frozenset[int] = frozenset(),
) -> Iterator[Document | Unreadable | PassedOver]:
    """What ``parse`` makes of each frame; nothing that goes wrong in it gets out.

    A frame is a place and what lies there, or why nothing can be read there. None means that
    a frame is no record (the end of the file, say). An exception becomes an
    :class:`Unreadable` that names its kind. A record whose position is in ``skip`` is not tried.
    """
    position = 0
    for frame in frames:
        item: Document | Unreadable | PassedOver | None
        if isinstance(frame, RecordFault):
            item = Unreadable(source, frame.place, frame.reason)
        elif position in skip:
            item = Unreadable(source, frame[0], KILLED)
        else:
            try:
                item = parse(*frame)
            except (YoriaiError, MemoryError):
                raise
            except Exception as error:
                item = Unreadable(source, frame[0], f"could not be parsed: {_words(error)}")
        if item is not None:
            position += 1
            yield item


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


# --- a whole file -------------------------------------------------------------------------


class Unpacked(io.RawIOBase):
    """A part as one stream of unpacked bytes, for libraries that want a file.

    Of a packed file these are the members that begin inside the part. ``read`` raises
    :class:`OSError` at a damage, after all bytes before it.
    """

    def __init__(self, part: FilePart) -> None:
        self._part = part
        self._chunks = unpack(part.file, part.start, part.prefix)
        self._held = memoryview(b"")
        self._ended = False
        self.member = 0
        """Offset in the file of the member that was read last."""

    def readable(self) -> bool:
        return True

    def readinto(self, target: object) -> int:
        into = memoryview(target)  # type: ignore[arg-type]
        while not self._held and not self._ended:
            chunk = next(self._chunks, None)
            if isinstance(chunk, Damage):
                self._ended = True
                raise OSError(0, chunk.reason)
            if chunk is None:
                self._ended = True
                break
            self._held = memoryview(self._inside(chunk))
        count = min(len(into), len(self._held))
        into[:count] = self._held[:count]
        self._held = self._held[count:]
        return count

    def _inside(self, chunk: Chunk) -> bytes:
        count = chunk.before(self._part.end)
        self._ended = count < len(chunk.data)
        self.member = self.member if self._ended else chunk.member
        return chunk.data[:count]

    def close(self) -> None:
        if not self.closed:
            self._chunks.close()  # type: ignore[attr-defined]
        super().close()


def open_part(part: FilePart) -> io.BufferedReader:
    """The unpacked bytes of a part as a file that can be read once, from the front."""
    return io.BufferedReader(Unpacked(part), MEGABYTE)


def read_whole(part: FilePart, max_bytes: int) -> bytes:
    """All unpacked bytes of a file. Raises :class:`OSError` for damage, ``ValueError`` for size."""
    pieces: list[bytes] = []
    size = 0
    for chunk in unpack(part.file):
        if isinstance(chunk, Damage):
            raise OSError(0, chunk.reason)
        size += len(chunk.data)
        if size > max_bytes:
            raise ValueError(f"longer than {max_bytes} bytes")
        pieces.append(chunk.data)
    return b"".join(pieces)
