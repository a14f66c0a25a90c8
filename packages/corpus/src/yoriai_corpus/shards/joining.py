"""Encoded pieces joined to ``.bin/.idx`` pairs in Megatron's format, without encoding anything.

The ids are copied, the index is arithmetic over the lengths, one piece in memory at a time. The
layout is that of :mod:`yoriai.shards`; what is written here is the same to the byte as what
:class:`yoriai.shards.ShardWriter` writes.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from yoriai.shards import MAGIC
from yoriai_corpus.engines.receipts import done
from yoriai_corpus.shards.encoding import DTYPES, NAMES, whole_file

SIDECAR = pa.schema(
    [*((name, pa.string()) for name in NAMES), ("start", pa.int64()), ("tokens", pa.int32())]
)
SUFFIXES = (".bin", ".idx", ".documents.parquet")
_ROWS_PER_GROUP = 2**16


@dataclass(frozen=True, slots=True)
class JoinPieces:
    """The pieces (stems, in order) that become one pair, and its stem."""

    stem: Path
    pieces: tuple[Path, ...]
    code: int

    @property
    def receipt(self) -> Path:
        return _beside(self.stem, ".json")

    def __str__(self) -> str:
        return f"shard file {self.stem.name}"


def join(task: JoinPieces) -> dict[str, Any]:
    """Write the pair and its sidecar, unless the receipt is there; then drop the pieces."""
    receipt = done(task.receipt, partial(_join, task))
    for piece in task.pieces:
        for suffix in (".bin", ".lengths", ".arrow"):
            _beside(piece, suffix).unlink(missing_ok=True)
    return receipt


def _join(task: JoinPieces) -> dict[str, Any]:
    task.stem.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(_beside(task.stem, ".bin")) as body:
        for piece in task.pieces:
            with _beside(piece, ".bin").open("rb") as stream:
                shutil.copyfileobj(stream, body, 2**22)
    with whole_file(_beside(task.stem, ".idx")) as index:
        lengths = [_beside(piece, ".lengths") for piece in task.pieces]
        documents = write_index(index, task.code, lengths)
    with whole_file(_beside(task.stem, ".documents.parquet")) as table:
        tokens = _write_sidecar(table, [_beside(piece, ".arrow") for piece in task.pieces])
    return {"stem": task.stem.name, "documents": documents, "tokens": tokens}


def write_index(stream: BinaryIO, code: int, paths: Sequence[Path]) -> int:
    """Write the index for documents whose lengths (i32) lie in files; returns their number."""
    count = sum(path.stat().st_size for path in paths) // 4
    width = np.dtype(DTYPES[code]).itemsize
    stream.write(struct.pack("<9sQBQQ", MAGIC, 1, code, count, count + 1))
    for lengths in map(_lengths, paths):
        stream.write(lengths.tobytes())
    place = 0
    for lengths in map(_lengths, paths):
        ends = place + np.cumsum(lengths, dtype=np.int64) * width
        stream.write((ends - lengths.astype(np.int64) * width).astype("<i8").tobytes())
        place = int(ends[-1]) if len(ends) else place
    first = 0
    for lengths in map(_lengths, paths):
        stream.write(np.arange(first, first + len(lengths), dtype="<i8").tobytes())
        first += len(lengths)
    stream.write(struct.pack("<q", count))
    return count


def _lengths(path: Path) -> npt.NDArray[np.int32]:
    return np.fromfile(path, dtype="<i4")


def _write_sidecar(stream: BinaryIO, paths: Iterable[Path]) -> int:
    """One row a document, ``start`` counted from the first token of the file; returns tokens."""
    place, waiting, rows = 0, [], 0
    plain = ["source", "tokens"]  # ids and digests are all different
    with pq.ParquetWriter(stream, SIDECAR, compression="zstd", use_dictionary=plain) as writer:
        for path in paths:
            with path.open("rb") as source, pa.ipc.open_stream(source) as batches:
                for batch in batches:
                    lengths = batch.column("tokens").to_numpy().astype(np.int64)
                    starts = pa.array(place + np.cumsum(lengths) - lengths)
                    place += int(lengths.sum())
                    columns = [*(batch.column(name) for name in NAMES), starts]
                    columns.append(batch.column("tokens"))
                    waiting.append(pa.RecordBatch.from_arrays(columns, schema=SIDECAR))
                    rows += len(lengths)
                    while rows >= _ROWS_PER_GROUP:
                        table = pa.Table.from_batches(waiting)
                        writer.write_table(table.slice(0, _ROWS_PER_GROUP))
                        waiting = table.slice(_ROWS_PER_GROUP).to_batches()
                        rows -= _ROWS_PER_GROUP
        if rows:
            writer.write_table(pa.Table.from_batches(waiting).combine_chunks())
    return place


def _beside(stem: Path, suffix: str) -> Path:
    # Not with_suffix, which would take the ".0" of "v1.0" for a suffix.
    return stem.with_name(stem.name + suffix)
