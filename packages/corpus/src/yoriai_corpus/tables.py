"""The parquet tables of a corpus artifact, and their one way of being written and read.

Each table is a folder of files ``00000.parquet``, ``00001.parquet`` …, in order.

===================  ===================================================================
``documents/``       what a model may be trained on
``heldout/``         kept apart for evaluation, same columns
``dropped/``         every dropped document with rule, version, value, limit
``unreadable/``      records that could not be read, with the reason
``clusters/``        which document stands for which duplicates, and how alike they are
``contamination/``   which evaluation items were found in which documents
``ledger.json``      the account: in = kept + held out + dropped + unreadable
===================  ===================================================================
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from yoriai import Altered

_TEXT = pa.string()
COLUMNS = ("source", "id", "text", "language", "url", "licence", "date")
DOCUMENTS = pa.schema([(name, _TEXT) for name in (*COLUMNS, "record_sha256")])
DROPPED = pa.schema(
    [
        *DOCUMENTS,
        ("rule", _TEXT),
        ("rule_version", _TEXT),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
        ("span", _TEXT),
        ("duplicate_of", _TEXT),
    ]
)
UNREADABLE = pa.schema([(name, _TEXT) for name in ("source", "id", "reason")])
CLUSTERS = pa.schema(
    [(name, _TEXT) for name in ("winner_source", "winner_id", "source", "id", "kind")]
    + [("similarity", pa.float64())]
)
CONTAMINATION = pa.schema(
    [(name, _TEXT) for name in ("task", "item", "source", "id", "kind")]
    + [("share", pa.float64()), ("span", _TEXT)]
)
SCHEMAS = {
    "documents": DOCUMENTS,
    "heldout": DOCUMENTS,
    "dropped": DROPPED,
    "unreadable": UNREADABLE,
    "clusters": CLUSTERS,
    "contamination": CONTAMINATION,
}
ROWS_PER_GROUP = 512  # what is read to get at one document
_BUFFER_BYTES = 4 * 2**20


class TableWriter:
    """Rows into one parquet file, some megabytes of them in memory at a time.

    The same rows give the same bytes with the same pyarrow. The file is flushed to the disk
    when the context ends, because a receipt that says "done" may follow.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, level: int = 3) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.schema = schema
        self.rows = 0
        self._text = next((i for i, name in enumerate(schema.names) if name == "text"), None)
        self._columns: list[list[Any]] = [[] for _ in schema.names]
        self._waiting = self._characters = 0
        self._stream: BinaryIO = path.open("wb")
        # A dictionary of whole texts would only be given up again; of names and licences it pays.
        plain = [n for n in schema.names if n not in ("text", "id", "record_sha256", "span")]
        self._file = pq.ParquetWriter(
            self._stream, schema, compression="zstd", compression_level=level, use_dictionary=plain
        )

    def add(self, row: Sequence[Any]) -> None:
        """One row, its values in the schema's order."""
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)
        self._waiting += 1
        if self._text is not None:
            self._characters += len(row[self._text])
        if self._waiting == ROWS_PER_GROUP or self._characters > _BUFFER_BYTES:
            self._flush()

    def add_mapping(self, row: Mapping[str, Any]) -> None:
        self.add([row[name] for name in self.schema.names])

    def _flush(self) -> None:
        if not self._waiting:
            return
        arrays = [
            pa.array(column, type=field.type)
            for column, field in zip(self._columns, self.schema, strict=True)
        ]
        self._file.write_table(pa.Table.from_arrays(arrays, schema=self.schema))
        self.rows += self._waiting
        self._columns = [[] for _ in self.schema.names]
        self._waiting = self._characters = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            with contextlib.suppress(Exception):
                self._file.close()  # half a file, which nobody will read
            self._stream.close()
            return
        self._flush()
        self._file.close()
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()


def write_table(path: Path, schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as one parquet file."""
    with TableWriter(path, schema) as writer:
        for row in rows:
            writer.add_mapping(row)


def read_rows(
    paths: Path | Iterable[Path], columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Rows one by one, a batch in memory at a time, file after file.

    A digest does not make a table of one: raises :class:`Altered` for a file without the columns
    of its folder, and for rows without source, id or text.
    """
    for path in [paths] if isinstance(paths, Path) else paths:
        with pq.ParquetFile(path) as file:
            schema = SCHEMAS.get(path.parent.name)
            names = list(columns or (schema.names if schema is not None else ()))
            if lacking := [name for name in names if name not in file.schema_arrow.names]:
                raise Altered(f"{path} is no table of {path.parent.name}: no column {lacking[0]!r}")
            for batch in file.iter_batches(
                ROWS_PER_GROUP, columns=list(columns) if columns else None
            ):
                for name in _NEVER_NULL:
                    if name in batch.schema.names and batch.column(name).null_count:
                        raise Altered(f"{path} holds rows without a {name}")
                yield from batch.to_pylist()


_NEVER_NULL = ("source", "id", "text")


def group_bytes(file: pq.ParquetFile) -> list[int]:
    """Bytes of each row group before compression, as the footer says.

    Of the whole group: where the footer is false about a column, Arrow 26 ends the process when
    that column's metadata are asked for (``terminate called``), and raises nothing.
    """
    groups = range(file.metadata.num_row_groups)
    return [max(0, file.metadata.row_group(group).total_byte_size) for group in groups]
