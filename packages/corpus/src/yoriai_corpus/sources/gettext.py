"""Gettext catalogues as a source: human translations that ship inside packages.

The binary ``.mo`` format is described in the GNU gettext manual, section "The Format of GNU
MO Files". It is read here directly because the standard library's reader keeps no ids.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Document, NotFound, Source, SourceCard, Unreadable
from yoriai_corpus.sources.packages import distribution_files, fingerprint_files, package_card


class Gettext(Source):
    """The messages of a language in an installed package, hard-wrapped lines joined."""

    version: ClassVar[str] = "2"
    package: str = Field(description="name of the installed distribution, e.g. mercurial")
    language: str = Field("ja", description="language code of the catalogue, e.g. ja or ja_JP")
    side: Literal["translation", "original"] = Field(
        "translation", description="the translated messages, or the (English) originals"
    )

    @property
    def source_name(self) -> str:
        """What documents name as their source."""
        return f"{self.package}-{self.side}-{self.language}"

    def card(self) -> SourceCard:
        # ja_JP and sr@latin are ja and sr; kab stays kab.
        language = re.split("[_@.-]", self.language)[0] if self.side == "translation" else "en"
        return package_card(self.package, (language,), f"gettext catalogue, {self.side}")

    def fingerprint(self) -> str:
        return fingerprint_files(self._files())

    def partitions(self) -> list[str]:
        return [name for name, _ in self._files()]

    def read(self, partition: str) -> Iterator[Document | Unreadable]:
        paths = dict(self._files())
        path = paths[partition]
        stem = Path(partition).stem
        if sum(Path(name).stem == stem for name in paths) > 1:
            stem = partition  # every application inside Django has its own "django.mo"
        card = self.card()
        source = self.source_name
        language = card.languages[0]
        try:
            pairs = read_catalogue(path.read_bytes())
        except ValueError as error:
            yield Unreadable(source, partition, f"no readable catalogue: {error}")
            return
        for number, pair in enumerate(pairs):
            if isinstance(pair, ValueError):
                yield Unreadable(source, f"{stem}/{number:05d}", f"no readable message: {pair}")
                continue
            original, translation = pair
            text = translation if self.side == "translation" else original
            if not original or not text.strip():
                continue  # the header, or a message nobody has translated
            yield Document(
                source=source,
                id=f"{stem}/{number:05d}",
                text=unwrap(text),
                language=language,
                url=card.url,
                licence=card.licence,
            )

    def _files(self) -> list[tuple[str, Path]]:
        folder = f"/{self.language}/LC_MESSAGES/"
        found = [
            (name, path)
            for name, path in distribution_files(self.package)
            if folder in f"/{name}" and name.endswith(".mo")
        ]
        if not found:
            raise NotFound(f"{self.package} has no catalogue for {self.language!r}")
        return found


def read_catalogue(data: bytes) -> list[tuple[str, str] | ValueError]:
    """(original, translation) pairs in file order; the first form where there are plurals.

    In the place of a message that lies outside the file or does not decode is the error.
    Raises :class:`ValueError` if the bytes are no catalogue, or in no known character set.
    """
    try:
        return _read_catalogue(data)
    except (struct.error, LookupError) as error:  # cut short; unknown character set
        raise ValueError(str(error)) from error


def _read_catalogue(data: bytes) -> list[tuple[str, str] | ValueError]:
    if data[:4] not in (b"\xde\x12\x04\x95", b"\x95\x04\x12\xde"):
        raise ValueError("not a .mo file")
    order = "<" if data[:4] == b"\xde\x12\x04\x95" else ">"
    _, count, originals, translations = struct.unpack_from(f"{order}4I", data, 4)
    if 20 + 16 * count > len(data):
        raise ValueError(f"{count} messages do not fit into {len(data)} bytes")

    def piece(table: int, index: int) -> bytes | None:
        length, offset = struct.unpack_from(f"{order}2I", data, table + 8 * index)
        return data[offset : offset + length] if offset + length <= len(data) else None

    raw = [(piece(originals, i), piece(translations, i)) for i in range(count)]
    header = next((text for key, text in raw if key == b""), None) or b""
    match = re.search(rb"charset=([\w.-]+)", header)
    charset = match.group(1).decode("ascii") if match else "utf-8"
    codecs.lookup(charset)
    pairs: list[tuple[str, str] | ValueError] = []
    for original, translation in raw:
        if original is None or translation is None:
            pairs.append(ValueError("it lies behind the end of the file"))
            continue
        # A context comes before \x04, plural forms are parted by \0.
        key = original.partition(b"\0")[0].rpartition(b"\x04")[2]
        try:
            pairs.append((key.decode(charset), translation.partition(b"\0")[0].decode(charset)))
        except ValueError as error:
            pairs.append(error)
    return pairs


_LIST_ITEM = re.compile(r"^(\s|[-*+:]|\d+[.)]|\.\. )")


def unwrap(text: str) -> str:
    """Join lines that were broken only to fit a width; keep lists, code and paragraphs.

    Between two characters outside ASCII no space is put, because Japanese has none.
    """
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        previous = lines[-1] if lines else ""
        joins = previous and line and not _LIST_ITEM.match(line) and not _LIST_ITEM.match(previous)
        if joins and not previous.endswith(("::", ":")):
            tight = ord(previous[-1]) > 127 or ord(line[0]) > 127
            lines[-1] = previous + ("" if tight else " ") + line
        else:
            lines.append(line)
    return "\n".join(line.rstrip() for line in lines).strip()
