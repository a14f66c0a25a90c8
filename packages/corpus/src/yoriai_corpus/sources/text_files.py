"""Files of plain text, one document a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Document, Unreadable
from yoriai_corpus.sources.files import FileSource
from yoriai_corpus.sources.records import MEGABYTE, FilePart, RecordFault, read_whole


class TextFiles(FileSource):
    """Plain text files, one document a file."""

    version: ClassVar[str] = "2"
    suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    gathers: ClassVar[bool] = True
    encoding: Literal["utf-8", "detect"] = Field(
        "utf-8",
        description="utf-8, or detect: also Shift_JIS (cp932), EUC-JP, ISO-2022-JP, and UTF-16 with"
        " its mark",
    )
    max_record_mb: int = Field(64, ge=1, description="largest file that is read")

    def frames(self, part: FilePart) -> Iterator[tuple[str, bytes] | RecordFault]:
        return whole_files(part, self.max_record_mb)

    def document(self, place: str, content: bytes) -> Document | Unreadable:
        try:
            text = decode(content, self.encoding)
        except UnicodeError as error:
            from yoriai_corpus.sources import encodings

            if self.encoding == "utf-8" and encodings.utf16_of(content[:4]):
                return Unreadable(self.name, place, encodings.UTF16)
            known = "UTF-8" if self.encoding == "utf-8" else "any of the encodings tried"
            at = f" at byte {error.start}" if isinstance(error, UnicodeDecodeError) else ""
            return Unreadable(self.name, place, f"not {known}{at}")
        return Document(self.name, place, text, self.language, "", self.licence)


def whole_files(part: FilePart, max_mb: int) -> Iterator[tuple[str, bytes] | RecordFault]:
    """A file's name and all of its bytes, unpacked, or why they cannot be had."""
    try:
        yield part.name, read_whole(part, max_mb * MEGABYTE)
    except (OSError, ValueError) as error:
        yield RecordFault(part.name, str(error.args[-1] if error.args else error))


def decode(data: bytes, encoding: Literal["utf-8", "detect"] = "utf-8") -> str:
    """Text with Unix line ends and without a mark. Raises :class:`UnicodeDecodeError`."""
    if encoding == "utf-8":
        text = data.decode("utf-8-sig")
    else:
        from yoriai_corpus.sources import encodings

        text = encodings.decode(data)[0].removeprefix("\ufeff")
    return text.replace("\r\n", "\n")
