"""Getting at single documents of a corpus that is being built, by their ordinals."""

from __future__ import annotations

import collections
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from yoriai import files
from yoriai_corpus.build import sorted_keys

_BYTES_KEPT = 32 * 2**20  # of row groups
_FILES_KEPT = 32


@dataclass(frozen=True, slots=True)
class DocumentPart:
    """A table of documents. ``priority`` orders sources: the smaller one wins.

    ``places`` holds the place of each row, in order; without it (another corpus's table)
    a row's number is its place.
    """

    index: int
    priority: int
    table: Path
    stem: Path
    places: Path | None = None
    prefix: str = ""
    file: str = ""
    """Which file (of other packages' sources: which partition) the documents are from."""

    @property
    def is_reference(self) -> bool:
        return self.places is None


@dataclass(frozen=True, slots=True)
class PartList:
    """All parts, by the file that names them: a hundred thousand would make every task large."""

    path: Path
    sha256: str

    def read(self) -> tuple[DocumentPart, ...]:
        """The parts in order; read once in each process."""
        return _read_parts(self.path, self.sha256)


def write_parts(path: Path, parts: Sequence[DocumentPart]) -> PartList:
    rows = [
        [p.priority, str(p.table), str(p.stem), str(p.places) if p.places else "", p.prefix, p.file]
        for p in parts
    ]
    data = files.canonical_json(rows)
    files.write_atomically(path, data)
    return PartList(path, files.digest_bytes(data))


@lru_cache(maxsize=4)
def _read_parts(path: Path, sha256: str) -> tuple[DocumentPart, ...]:  # noqa: ARG001
    # The digest is there for the cache alone: other bytes are another list.
    rows = json.loads(path.read_bytes())
    return tuple(
        DocumentPart(
            index, priority, Path(table), Path(stem), Path(places) if places else None, prefix, file
        )
        for index, (priority, table, stem, places, prefix, file) in enumerate(rows)
    )


class PartDocuments:
    """Columns of documents by ordinal; a few row groups and open files are remembered."""

    def __init__(self, parts: Sequence[DocumentPart]) -> None:
        self._parts = parts
        self._files: collections.OrderedDict[
            int, tuple[pq.ParquetFile, npt.NDArray[Any], npt.NDArray[Any] | None]
        ] = collections.OrderedDict()
        self._groups: collections.OrderedDict[tuple[int, int, tuple[str, ...]], list[Any]] = (
            collections.OrderedDict()
        )
        self._bytes = 0

    def part(self, ordinal: int) -> DocumentPart:
        return self._parts[ordinal >> 32]

    def fetch(self, ordinals: Sequence[int], columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
        """The columns of each document, in the order asked for."""
        found: list[tuple[Any, ...]] = [()] * len(ordinals)
        for index in sorted(range(len(ordinals)), key=lambda i: ordinals[i]):
            part, place = ordinals[index] >> 32, ordinals[index] & 0xFFFFFFFF
            _, firsts, places = self._open(part)
            row = place if places is None else int(np.searchsorted(places, place))
            group = int(np.searchsorted(firsts, row, side="right")) - 1
            values = self._group(part, group, columns)
            found[index] = tuple(column[row - int(firsts[group])].as_py() for column in values)
        return found

    def names(self, ordinals: Sequence[int]) -> list[tuple[int, str, str]]:
        """(priority, source, id) of each document: what decides which of several stays."""
        rows = self.fetch(ordinals, ("source", "id"))
        return [(self.part(o).priority, *row) for o, row in zip(ordinals, rows, strict=True)]

    def _open(self, part: int) -> tuple[pq.ParquetFile, npt.NDArray[Any], npt.NDArray[Any] | None]:
        if part in self._files:
            self._files.move_to_end(part)
            return self._files[part]
        file = pq.ParquetFile(self._parts[part].table, memory_map=False)
        sizes = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
        firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        where = self._parts[part].places
        self._files[part] = (file, firsts, sorted_keys.load(where) if where else None)
        if len(self._files) > _FILES_KEPT:
            _, (oldest, _, _) = self._files.popitem(last=False)
            oldest.close()
        return self._files[part]

    def _group(self, part: int, group: int, columns: tuple[str, ...]) -> list[Any]:
        key = (part, group, columns)
        if key not in self._groups:
            table = self._open(part)[0].read_row_group(group, columns=list(columns))
            self._groups[key] = [table.column(name).combine_chunks() for name in columns]
            self._bytes += table.nbytes
            while self._bytes > _BYTES_KEPT and len(self._groups) > 1:
                _, oldest = self._groups.popitem(last=False)
                self._bytes -= sum(column.nbytes for column in oldest)
        self._groups.move_to_end(key)
        return self._groups[key]
