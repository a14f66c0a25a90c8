"""Files as a source: which they are, how they are cut, and their records one by one.

A reader is a subclass of :class:`FileSource` that says two things::

    def frames(self, part: Part) -> Iterator[tuple[str, bytes] | Fault]:
        return records(part)

    def document(self, place: str, content: bytes) -> Document | Unreadable | None:
        return Document(self.name, place, content.decode(), self.language)

:func:`records` gives ``(place, bytes)``; what ``document`` raises is caught and counted.
A place names a record for ever: ``name@offset``, the offset of its first byte in the unpacked
file; in a file of several members (:mod:`yoriai_corpus.sources.packing`) from the second one on
``name@member+offset``. It does not depend on how the file was cut into partitions.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field

from yoriai import Document, Source, SourceCard, Unreadable, YoriaiError, files
from yoriai_corpus.engines import poison
from yoriai_corpus.sources.listing import File, NothingMatches, list_files, piece_of, reason_of
from yoriai_corpus.sources.packing import PLAIN, Chunk, Damage, packing_of, unpack, zstd_frames

MEGABYTE = 1 << 20

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Part:
    """A file, or a piece of it: from byte ``start`` up to byte ``end`` as it lies on disk."""

    file: File
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


class FileSource(Source):
    """What all readers of files share."""

    paths: list[str] = Field(
        description="files, patterns such as data/**/*.gz, folders, or addresses such as s3://…"
    )
    name: str = Field("local", description="name of the source in ids, ledger and datasheet")
    language: str = Field("", description="language of the documents, where they do not say")
    licence: str = Field("", description="licence of the documents, where they do not say")
    identity: Literal["bytes", "stat"] = Field(
        "bytes",
        description="what tells that a file has changed: a digest of its bytes, or its size and"
        " time (for data too large to read twice; always so for addresses)",
    )
    split_mb: int = Field(
        64, ge=1, description="size of the pieces into which large files are cut, where possible"
    )

    # What a subclass may say of its format.
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Endings of names that count inside a folder; ``("*",)`` all; empty: no folders."""
    tree: ClassVar[bool] = False
    """Whether names are paths below the pattern's fixed part, instead of file names."""
    splits: ClassVar[frozenset[str]] = frozenset()
    """Packings ("" is none) in which a large file is cut: "", "zst", "bz2", "gz"."""
    member_prefix: ClassVar[bytes] = b""
    """What every gzip member begins with, unpacked; needed to cut gzip files."""
    gathers: ClassVar[bool] = False
    """Whether small files share a partition (``first..last``), as one document each."""

    @property
    def source_name(self) -> str:
        """What documents name as their source."""
        return self.name

    def card(self) -> SourceCard:
        languages = (self.language,) if self.language else ()
        return SourceCard(name=self.name, licence=self.licence or "unstated", languages=languages)

    def files(self) -> list[File]:
        """In order of name. Raises :class:`NotFound` where a pattern means nothing."""
        return list_files(self.paths, suffixes=self.suffixes, tree=self.tree)

    def fingerprint(self) -> str:
        return files.digest_json([[file.name, self._identity(file)] for file in self.files()])

    def _identity(self, file: File) -> object:
        if self.identity == "stat" or file.is_remote:
            return file.stamp()
        try:
            with file.open():
                return files.digest_file(Path(file.path))
        except OSError as error:
            return f"unreadable: {reason_of(error)}"

    def partitions(self) -> list[str]:
        if self.gathers:
            return [name for name, _ in self._groups()]
        return [name for file in self.files() for name in self._pieces(file)]

    def read(self, partition: str) -> Iterator[Document | Unreadable]:
        try:
            parts = self.parts(partition)
        except (FileNotFoundError, NothingMatches):
            yield Unreadable(self.name, partition, "cannot be read: the file is no longer there")
            return
        yield from guarded(self.name, self._frames(parts), self.parser())

    def _frames(self, parts: Iterable[Part]) -> Iterator[tuple[str, Any] | Fault]:
        for part in parts:
            yield from unbroken(self.frames(part), part.name)

    def frames(self, part: Part) -> Iterator[tuple[str, Any] | Fault]:
        """Where each record lies and what is there; a :class:`Fault` where nothing can be read."""
        raise NotImplementedError

    def document(self, place: str, content: Any) -> Document | Unreadable | None:
        """What one record comes to; None if it is none."""
        raise NotImplementedError

    def parser(self) -> Callable[[str, Any], Document | Unreadable | None]:
        """The function that is called for each record of a partition, made once for it."""
        return self.document

    def parts(self, partition: str) -> list[Part]:
        """The files, or the piece, that a partition stands for."""
        found = {file.name: file for file in self.files()}
        if partition in found:
            return [Part(found[partition], prefix=self.member_prefix)]
        piece = piece_of(partition)
        if piece and piece[0] in found:
            return [Part(found[piece[0]], piece[1], piece[2], self.member_prefix)]
        if self.gathers:
            for name, group in self._groups():
                if name == partition:
                    return [Part(file, prefix=self.member_prefix) for file in group]
        raise FileNotFoundError(partition)

    def _groups(self) -> list[tuple[str, list[File]]]:
        """Files that share a partition: up to ``split_mb`` together, and at most 10,000."""
        groups: list[list[File]] = []
        total = 0
        for file in self.files():
            size = file.size()
            if not groups or total + size > self.split_mb * MEGABYTE or len(groups[-1]) >= 10_000:
                groups.append([])
                total = 0
            groups[-1].append(file)
            total += size
        return [(g[0].name if len(g) == 1 else f"{g[0].name}..{g[-1].name}", g) for g in groups]

    def _pieces(self, file: File) -> list[str]:
        size, step = file.size(), self.split_mb * MEGABYTE
        if not self.splits or size < 2 * step:
            return [file.name]
        cuts = cuts_of(file, size, step, self.splits)
        ends = [*cuts[1:], size]
        if len(cuts) == 1:
            return [file.name]
        return [f"{file.name}@{a}-{b}" for a, b in zip(cuts, ends, strict=True)]


def cuts_of(file: File, size: int, step: int, splits: frozenset[str]) -> list[int]:
    """Offsets at which the pieces of a file begin, about ``step`` bytes apart; the first is 0.

    They need not be where a record begins: readers see to that. Only zstd is cut exactly at
    its frames, because nothing in the bytes says for sure that a frame begins.
    """
    nominal = list(range(0, size - step // 2, step)) or [0]
    try:
        with file.open() as stream:
            packing = packing_of(file.path, stream.read(10))
    except (OSError, ValueError):
        return [0]
    if packing not in splits:
        return [0]
    if packing != "zst":
        return nominal
    if file.is_remote:
        return [0]  # to find the frames one would have to fetch the file
    cuts = [0]
    for start in zstd_frames(file):
        if start >= cuts[-1] + step and start < size:
            cuts.append(start)
    return cuts


# --- records ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """In the place of a record: why there is none."""

    place: str
    reason: str


def records(
    part: Part, *, delimiter: bytes = b"\n", max_bytes: int = 64 * MEGABYTE
) -> Iterator[tuple[str, bytes] | Fault]:
    """(place, bytes) of each record, without the delimiter that ends it.

    In a piece that does not begin the file, the first record is the one after the first
    delimiter; the last one is ended by the first delimiter that begins at or after ``end``.
    So every record is in exactly one piece, and none has to know what lies before its piece.
    A record of more than ``max_bytes`` is one :class:`Fault` with its length; so is each
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
                yield Fault(where if first < 0 else label + str(first), reason)
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
                    yield Fault(label + str(first), too_long(length))
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
            yield Fault(label + str(first), too_long(size + len(tail)))
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
    frames: Iterable[tuple[str, T] | Fault], place: str
) -> Iterator[tuple[str, T] | Fault]:
    """The frames, and one :class:`Fault` where whatever reads them breaks off."""
    last: tuple[str, T] | Fault | None = None
    try:
        for last in frames:
            yield last
    except (YoriaiError, MemoryError):
        raise
    except Exception as error:
        if last is not None:
            place = last.place if isinstance(last, Fault) else last[0]
        yield Fault(place, f"reading broke off behind this: {_words(error)}")


def guarded(
    source: str,
    frames: Iterable[tuple[str, T] | Fault],
    parse: Callable[[str, T], Document | Unreadable | None],
) -> Iterator[Document | Unreadable]:
    """What ``parse`` makes of each frame; nothing that goes wrong in it gets out.

    A frame is a place and what lies there, or why nothing can be read there. None means that
    a frame is no record (a redirect, say). An exception becomes an :class:`Unreadable` that
    names its kind. A record whose position is in :data:`poison.positions` is not tried.
    """
    poisonous = poison.positions
    position = 0
    for frame in frames:
        item: Document | Unreadable | None
        if isinstance(frame, Fault):
            item = Unreadable(source, frame.place, frame.reason)
        elif position in poisonous:
            item = Unreadable(source, frame[0], poison.REASON)
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

    def __init__(self, part: Part) -> None:
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


def open_part(part: Part) -> io.BufferedReader:
    """The unpacked bytes of a part as a file that can be read once, from the front."""
    return io.BufferedReader(Unpacked(part), MEGABYTE)


def read_whole(part: Part, max_bytes: int) -> bytes:
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
