"""One document from a file on the command line."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import IO, Any

from yoriai import Document, NotFound, UsageError

_JSON = (".json", ".jsonl", ".ndjson")


def read_document(name: str, row: int, text_field: str, stdin: IO[bytes]) -> Document:
    """A plain text file, row ``row`` (from 1) of a JSON or JSON Lines file, or ``-`` for stdin.

    All may be packed with gzip (.gz). Rows give ``id``, ``lang`` or ``language``, ``url``.
    Raises :class:`NotFound` or :class:`UsageError` saying what cannot be read.
    """
    if name == "-":
        return Document("file", "stdin", _decode(stdin.read(), "standard input"))
    path = Path(name)
    if not path.is_file():
        raise NotFound(f"no file {name}", hint="a document of a corpus: --of CORPUS SOURCE/ID")
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            if suffix not in _JSON:
                return Document("file", path.name, _decode(stream.read(), name))
            value = _row(name, stream, row, suffix)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{name} cannot be read: {error}") from error
    text = value.get(text_field) if isinstance(value, dict) else None
    if not isinstance(text, str):
        keys = ", ".join(value) if isinstance(value, dict) else "none"
        raise UsageError(
            f"{name}: row {row} has no text under {text_field!r}",
            hint=f"--text-field NAME; its keys: {keys}",
        )

    def given(*keys: str) -> str:
        return next((str(value[key]) for key in keys if value.get(key)), "")

    return Document(
        given("source") or "file",
        given("id") or f"{path.name}:{row}",
        _encodable(text, f"{name}: row {row}"),
        given("lang", "language"),
        given("url"),
        given("licence", "license"),
        given("date"),
    )


def _row(name: str, stream: Iterable[bytes], row: int, suffix: str) -> Any:
    try:
        if suffix == ".json":
            value = json.loads(b"".join(stream))
            rows = value if isinstance(value, list) else [value]
            if row <= len(rows):
                return rows[row - 1]
        else:
            for line in islice(stream, row - 1, row):
                return json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name}: row {row} is not JSON: {error}") from error
    raise NotFound(f"{name} has no row {row}", hint="--row N, counted from 1")


def _decode(data: bytes, name: str) -> str:
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 (byte {error.start})") from error


def _encodable(text: str, place: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{place} holds half of a surrogate pair") from error
    return text
