"""JSON Lines, packed or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import orjson
from pydantic import Field

from yoriai import Document, Unreadable
from yoriai_corpus.sources import encodings
from yoriai_corpus.sources.checks import fault
from yoriai_corpus.sources.packing import Damage, unpack
from yoriai_corpus.sources.records import MEGABYTE, FilePart, RecordFault, records
from yoriai_corpus.sources.rows import RowSource, getter, row_reader

_MARK = b"\xef\xbb\xbf"


class JsonlFiles(RowSource):
    """JSON Lines. A row that cannot be used is counted and kept aside with its reason."""

    version: ClassVar[str] = "2"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".jsonlines")
    splits: ClassVar[frozenset[str]] = frozenset({"", "zst", "bz2"})
    max_record_mb: int = Field(64, ge=1, description="longest row that is read")

    def frames(self, part: FilePart) -> Iterator[tuple[str, bytes] | RecordFault]:
        most = self.max_record_mb * MEGABYTE
        if part.start and (codec := encodings.utf16_of(_head(part))):
            yield from _rows_in(part, codec, most)
            return
        for frame in records(part, max_bytes=most):
            if isinstance(frame, RecordFault) or frame[0] != part.place(-1, 0):
                yield frame
                continue
            place, line = frame
            strange = b"\0" in line[:4] or line[:1] >= b"\xfe"
            if strange and (codec := encodings.utf16_of(_head(part))):
                yield from _rows_in(part, codec, most)
                return
            if line.lstrip().startswith(b"["):
                yield from _array(place, line)
            else:
                yield frame

    def parser(self) -> Callable[[str, bytes], Document | Unreadable]:
        document = row_reader(self, self.name, self.language, self.licence)
        id_of = getter(self.names().id)

        def parse(place: str, line: bytes) -> Document | Unreadable:
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                return self._lenient(place, line, document)
            item = document(place, row)
            # orjson makes a float of an integer of more than 64 bits; an id is not rounded.
            if item.id is place and isinstance(row, dict) and type(id_of(row)) is float:
                return self._lenient(place, line, document)
            return item

        return parse

    def _lenient(
        self, place: str, line: bytes, document: Callable[[str, Any], Document | Unreadable]
    ) -> Document | Unreadable:
        """What the standard library reads and orjson does not: NaN, large numbers, deep lists."""
        line = line.removeprefix(_MARK)
        if not line.strip():
            return Unreadable(self.name, place, "empty line")
        try:
            row: Any = json.loads(line.decode())
        except UnicodeDecodeError as error:
            return Unreadable(self.name, place, f"not UTF-8 at byte {error.start} of the line")
        except (ValueError, RecursionError) as error:
            return Unreadable(self.name, place, f"not JSON: {type(error).__name__}: {error}"[:200])
        item = document(place, row)
        if isinstance(item, Unreadable):
            return item
        reason = fault(item)
        return Unreadable(self.name, place, reason) if reason else item


def _head(part: FilePart) -> bytes:
    """How the whole file begins, unpacked."""
    return next((c.data[:4] for c in unpack(part.file) if not isinstance(c, Damage)), b"")


def _rows_in(part: FilePart, codec: str, max_bytes: int) -> Iterator[RecordFault]:
    """A fault for each row of a file in another encoding than UTF-8, which is not read."""
    for frame in records(part, delimiter="\n".encode(codec), max_bytes=max_bytes):
        yield frame if isinstance(frame, RecordFault) else RecordFault(frame[0], encodings.UTF16)


def _array(place: str, line: bytes) -> Iterator[RecordFault]:
    """A fault for each value of a JSON array, if it ends in its first line; else for that line."""
    reason = "a JSON array, not one row a line: jq -c '.[]' makes lines of it"
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError:
        values = []
    for number in range(max(1, len(values))):
        yield RecordFault(f"{place}[{number}]" if values else place, reason)
