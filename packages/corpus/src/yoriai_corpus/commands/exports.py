"""Hits as a file, written as they come: JSON Lines, CSV or parquet."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from yoriai import UsageError, console, files

if TYPE_CHECKING:
    from yoriai_corpus.search.search import IndexHit

Rows = Iterable["IndexHit"]


def write(path: Path, hits: Rows) -> None:
    """Write all hits, whole or not at all. Raises :class:`UsageError` for an unknown format."""
    writers = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}
    writer: Callable[[Path, Rows], int] | None = writers.get(path.suffix)
    if writer is None:
        raise UsageError(f"{path.name!r} says no format", hint="end it in .jsonl, .csv or .parquet")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        count = writer(temporary, hits)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise files.disk_error(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    console.note(f"{count:,} hits in {path}")


def _jsonl(path: Path, hits: Rows) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as stream:
        for hit in hits:
            count += 1
            stream.write(json.dumps(hit.plain(), ensure_ascii=False) + "\n")
    return count


def _columns() -> list[str]:
    from yoriai_corpus.search.search import IndexHit

    return [field.name for field in fields(IndexHit)]


def _csv(path: Path, hits: Rows) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, _columns())
        writer.writeheader()
        for hit in hits:
            count += 1
            writer.writerow(hit.plain())
    return count


def _parquet(path: Path, hits: Rows) -> int:
    import pyarrow as pa

    from yoriai_corpus.tables import TableWriter

    count = 0
    whole = {"offset": pa.int64()}
    schema = pa.schema([(name, whole.get(name, pa.string())) for name in _columns()])
    with TableWriter(path, schema) as writer:
        for hit in hits:
            count += 1
            writer.add_mapping(hit.plain())
    return count
