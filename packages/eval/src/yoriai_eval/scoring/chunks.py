"""The append-only log of one model on one exam: whole chunks of rows, or nothing.

A line holds the model's digest and the rows of one chunk. Chunks are always the same samples, so a
run that goes on after a crash forms the same batches, and gives the same numbers to the last bit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

CHUNK = 128  # samples; what a kill may lose, and the most that are sorted by length together
Row = dict[str, Any]


def open_log(path: Path, digest: str) -> int:
    """How many rows the log holds for exactly this model.

    What else is in the file (another model's rows, a line that was being written when the process
    died) is cut off, so that what is appended next can be read again.
    """
    if not path.is_file():
        return 0
    count = whole = 0
    with path.open("rb") as stream:
        for text in stream:
            if not text.endswith(b"\n"):
                break
            try:
                chunk = json.loads(text)
            except ValueError:
                break
            if chunk["digest"] != digest:
                break
            count += len(chunk["rows"])
            whole += len(text)
    if whole < path.stat().st_size:
        with path.open("r+b") as stream:
            stream.truncate(whole)
    return count


def append(path: Path, digest: str, rows: Sequence[Row]) -> None:
    """Add a chunk as one line."""
    with path.open("ab") as stream:
        stream.write(line({"digest": digest, "rows": list(rows)}))


def line(value: Any) -> bytes:
    """A value as one line of JSON; escaped where UTF-8 has no bytes for it.

    A model can write half of a surrogate pair, which must not end its evaluation.
    """
    try:
        return json.dumps(value, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value).encode() + b"\n"


def read(path: Path) -> Iterator[Row]:
    """All rows, one chunk in memory at a time."""
    with path.open("rb") as stream:
        for text in stream:
            yield from json.loads(text)["rows"]
