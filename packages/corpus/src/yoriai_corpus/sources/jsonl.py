"""JSON Lines, packed or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import orjson
from pydantic import Field

from yoriai import Document, Unreadable
from yoriai_corpus.sources.checks import fault
from yoriai_corpus.sources.records import MEGABYTE, FilePart, RecordFault, records
from yoriai_corpus.sources.rows import (
    RowSource,
    getter,
    is_strange,
    line_end,
    other_encoding,
    row_reader,
)

_MARK = b"\xef\xbb\xbf"


class JsonlFiles(RowSource):
    """JSON Lines. A row that cannot be used is counted and kept aside with its reason."""

    version: ClassVar[str] = "2"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".jsonlines")
    splits: ClassVar[frozenset[str]] = frozenset({"", "zst", "bz2"})
    max_record_mb: int = Field(64, ge=1, description="longest row that is read")

    def frames(self, part: FilePart) -> Iterator[tuple[str, bytes] | RecordFault]:
        codec, end = line_end(part) if part.start else ("", b"\n")
        most = self.max_record_mb * MEGABYTE
        if codec:
            return other_encoding(part, end, most)
        return _rows(part, end, most, self.parser())

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


_SEVERAL = "several JSON values in one line: jq -c . makes a line of each"
_HELD = "jq -c --arg key KEY '.[$key][]' makes lines of them"
_ARRAY = "a JSON array, not one row a line: jq -c '.[]' makes lines of it"


Parse = Callable[[str, bytes], Document | Unreadable]


def _rows(
    part: FilePart, end: bytes, most: int, parse: Parse
) -> Iterator[tuple[str, bytes] | RecordFault]:
    """The lines; of what is no JSON Lines a fault for each value, or line, that could be a row."""
    in_array = False
    alone: tuple[str, bytes] | None = None  # the first line, until another follows it
    bracket = ""  # the place of one that stands alone, until a line of its array was counted
    for frame in records(part, delimiter=end, max_bytes=most):
        if isinstance(frame, RecordFault):
            yield frame
            continue
        place, line = frame
        if place == part.place(-1, 0):
            if end == b"\n" and is_strange(line):
                codec, other = line_end(part)
                if codec or other != end:
                    yield from (
                        other_encoding(part, other, most)
                        if codec
                        else _rows(part, other, most, parse)
                    )
                    return
            if line.lstrip().startswith(b"["):
                bracket = place if line.strip() == b"[" else ""
                found = [] if bracket else list(_array(place, line))
                yield from found
                in_array = len(found) < 2
                continue
            if line.lstrip().startswith(b"{"):
                alone = frame
                continue
        if alone:
            yield from _several(*alone)
            alone = None
        if in_array:
            if line.strip() not in (b"", b"]"):
                bracket = ""
                yield RecordFault(place, _ARRAY)
        elif b"}{" in line or b"} {" in line:
            yield from _several(place, line)
        else:
            yield frame
    if alone:
        yield from _held(*alone, parse) or _several(*alone)
    if bracket:
        yield RecordFault(bracket, _ARRAY)


def _held(place: str, line: bytes, parse: Parse) -> list[RecordFault]:
    """A fault for each row that an object holds in a list, where the object itself is no row."""
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return []
    if not isinstance(value, dict) or not isinstance(parse(place, line), Unreadable):
        return []
    lists = {key: rows for key, rows in value.items() if isinstance(rows, list)}
    key, rows = max(lists.items(), key=lambda item: len(item[1]), default=("", []))
    if not rows or not all(isinstance(row, dict) for row in rows):
        return []
    told = f"an object that holds rows under {key[:40]!r}, not one row a line: {_HELD}"
    return [RecordFault(f"{place}[{number}]", told) for number in range(len(rows))]


def _several(place: str, line: bytes) -> Iterator[tuple[str, bytes] | RecordFault]:
    """The line, or a fault for each of several values in it."""
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        text, at, number = line.decode("utf-8", "replace"), 0, 0
        decoder = json.JSONDecoder()
        try:
            while at < len(text):
                _, at = decoder.raw_decode(text, at)
                while text[at : at + 1].isspace():
                    at += 1
                number += 1
        except (ValueError, RecursionError):
            number += 1
        if number > 1:
            for value in range(number):
                yield RecordFault(f"{place}[{value}]", _SEVERAL)
            return
    yield place, line


def _array(place: str, line: bytes) -> Iterator[RecordFault]:
    """A fault for each value of a JSON array, if it ends in its first line; else for that line."""
    try:
        values = orjson.loads(line)
    except orjson.JSONDecodeError:
        values = []
    for number in range(max(1, len(values))):
        yield RecordFault(f"{place}[{number}]" if values else place, _ARRAY)
