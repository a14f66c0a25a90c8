"""Files as a source: which they are, how they are cut, and what is in them.

A reader is a subclass of :class:`FileSource` that says two things::

    def frames(self, part: FilePart) -> Iterator[tuple[str, bytes] | RecordFault]:
        return records(part)

    def document(self, place: str, content: bytes) -> Document | Unreadable | PassedOver | None:
        return Document(self.name, place, content.decode(), self.language)

What ``document`` raises is caught and counted (:mod:`yoriai_corpus.sources.records`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from yoriai import Document, PassedOver, Source, SourceCard, Unreadable, files
from yoriai_corpus.sources.listing import (
    NothingMatches,
    SourceFile,
    list_files,
    other_files,
    piece_of,
    reason_of,
)
from yoriai_corpus.sources.packing import packing_of, zstd_frames
from yoriai_corpus.sources.records import MEGABYTE, FilePart, RecordFault, guarded, unbroken


class FileSource(Source):
    """What all readers of files share."""

    paths: list[str] = Field(
        description="files, patterns such as data/**/*.gz, folders, addresses such as s3://…, or"
        " files in pinned archives of a package index: pypi:ARCHIVE/FILE#sha256=HEX"
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

    def to_read(self) -> tuple[int, int]:
        found = self.files()
        return len(found), sum(file.size() for file in found)

    def files(self) -> list[SourceFile]:
        """In order of name. Raises :class:`NotFound` where a pattern means nothing."""
        return list_files(self.paths, suffixes=self.suffixes, tree=self.tree)

    def passed_over(self) -> dict[str, int]:
        """Files in the folders given that this source does not take, by ending."""
        return other_files(self.paths, self.suffixes)

    def fingerprint(self) -> str:
        return files.digest_json([[file.name, self._identity(file)] for file in self.files()])

    def _identity(self, file: SourceFile) -> object:
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

    def read(self, partition: str) -> Iterator[Document | Unreadable | PassedOver]:
        return self.read_without(partition, frozenset())

    def read_without(
        self, partition: str, skip: frozenset[int]
    ) -> Iterator[Document | Unreadable | PassedOver]:
        try:
            parts = self.parts(partition)
        except (FileNotFoundError, NothingMatches):
            yield Unreadable(self.name, partition, "cannot be read: the file is no longer there")
            return
        yield from guarded(self.name, self._frames(parts), self.parser(), skip)

    def _frames(self, parts: Iterable[FilePart]) -> Iterator[tuple[str, Any] | RecordFault]:
        for part in parts:
            yield from unbroken(self.frames(part), part.name)

    def frames(self, part: FilePart) -> Iterator[tuple[str, Any] | RecordFault]:
        """Where each record lies and what is there, or a :class:`RecordFault`."""
        raise NotImplementedError

    def document(self, place: str, content: Any) -> Document | Unreadable | PassedOver | None:
        """What one record comes to; None if it is none."""
        raise NotImplementedError

    def parser(self) -> Callable[[str, Any], Document | Unreadable | PassedOver | None]:
        """The function that is called for each record of a partition, made once for it."""
        return self.document

    def parts(self, partition: str) -> list[FilePart]:
        """The files, or the piece, that a partition stands for."""
        found = {file.name: file for file in self.files()}
        if partition in found:
            return [FilePart(found[partition], prefix=self.member_prefix)]
        piece = piece_of(partition)
        if piece and piece[0] in found:
            return [FilePart(found[piece[0]], piece[1], piece[2], self.member_prefix)]
        if self.gathers:
            for name, group in self._groups():
                if name == partition:
                    return [FilePart(file, prefix=self.member_prefix) for file in group]
        raise FileNotFoundError(partition)

    def _groups(self) -> list[tuple[str, list[SourceFile]]]:
        """Files that share a partition: up to ``split_mb`` together, and at most 10,000."""
        groups: list[list[SourceFile]] = []
        total = 0
        for file in self.files():
            size = file.size()
            if not groups or total + size > self.split_mb * MEGABYTE or len(groups[-1]) >= 10_000:
                groups.append([])
                total = 0
            groups[-1].append(file)
            total += size
        return [(g[0].name if len(g) == 1 else f"{g[0].name}..{g[-1].name}", g) for g in groups]

    def _pieces(self, file: SourceFile) -> list[str]:
        size, step = file.size(), self.split_mb * MEGABYTE
        if not self.splits or size < 2 * step:
            return [file.name]
        cuts = cuts_of(file, size, step, self.splits)
        ends = [*cuts[1:], size]
        if len(cuts) == 1:
            return [file.name]
        return [f"{file.name}@{a}-{b}" for a, b in zip(cuts, ends, strict=True)]


def cuts_of(file: SourceFile, size: int, step: int, splits: frozenset[str]) -> list[int]:
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
