"""Sorted files of small binary records: how documents of different partitions meet.

Every part of the corpus leaves, beside its documents, files of ``(key, …, position)`` sorted by
key. A task that owns a range of keys reads just that range of every file. The number of
ranges follows from the number of records, so that a range always fits into memory, and
never from the number of workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yoriai import files

Records = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Series:
    """Numbered files of one kind, named without naming each: tasks are sent over networks."""

    folder: Path
    name: str
    count: int

    def path(self, number: int) -> Path:
        return self.folder / f"{self.name}-{number:05d}.npy"

    def paths(self) -> list[Path]:
        return [self.path(number) for number in range(self.count)]


U64 = npt.NDArray[np.uint64]

# key: what is equal; check: 64 bits more, where equality of keys is taken for equality;
# place: position in the part; line: number of the line in the document.
KINDS = {
    "name": np.dtype([("key", "<u8"), ("check", "<u8"), ("place", "<u4")]),
    "exact": np.dtype([("key", "<u8"), ("check", "<u8"), ("place", "<u4")]),
    "url": np.dtype([("key", "<u8"), ("check", "<u8"), ("place", "<u4")]),
    "near": np.dtype([("key", "<u8"), ("place", "<u4")]),
    "line": np.dtype([("key", "<u8"), ("place", "<u4"), ("line", "<u4")]),
}
RECORDS_PER_RANGE = 2**21
PLACE_BITS = np.uint64(32)


def ordinal(part: int, place: Any) -> Any:
    """The number of a document in the whole corpus: its part, then its place there."""
    return (np.uint64(part) << PLACE_BITS) | np.asarray(place).astype(np.uint64)


def part_of(ordinals: U64) -> npt.NDArray[np.int64]:
    return (ordinals >> PLACE_BITS).astype(np.int64)


def place_of(ordinals: U64) -> npt.NDArray[np.int64]:
    return (ordinals & np.uint64(0xFFFFFFFF)).astype(np.int64)


def save(path: Path, records: npt.NDArray[Any]) -> None:
    """Write an array whole or not at all."""
    import io

    stream = io.BytesIO()
    np.save(stream, records, allow_pickle=False)
    files.write_atomically(path, stream.getvalue())


def save_sorted(path: Path, records: Records) -> None:
    """Records in order of key; those of equal key keep their order."""
    save(path, records[np.argsort(records["key"], kind="stable")])


def load(path: Path) -> npt.NDArray[Any]:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def count_ranges(records: int) -> int:
    return max(1, -(-records // RECORDS_PER_RANGE))


def read_range(
    kind: str, paths: Sequence[tuple[int, Path]], number: int, ranges: int
) -> dict[str, U64]:
    """The columns of all records whose key lies in range ``number`` of ``ranges``.

    ``paths`` are (part, file). The result has the column ``doc`` (ordinals) instead of
    ``place``, and is in order of key, then of document.
    """
    first, after = (2**64 * n // ranges for n in (number, number + 1))
    pieces: list[Records] = []
    documents: list[U64] = []
    for part, path in paths:
        records = load(path)
        keys = records["key"]
        begin = int(np.searchsorted(keys, np.uint64(first)))
        end = len(keys) if after == 2**64 else int(np.searchsorted(keys, np.uint64(after)))
        piece = np.array(records[begin:end])
        pieces.append(piece)
        documents.append(ordinal(part, piece["place"]))
    whole = np.concatenate([np.zeros(0, dtype=KINDS[kind]), *pieces])
    docs = np.concatenate([np.zeros(0, dtype=np.uint64), *documents])
    columns = {name: whole[name] for name in whole.dtype.names or () if name != "place"}
    if "check" in columns:
        order = np.lexsort((docs, columns["check"], columns["key"]))
    else:
        # Parts come in order and each is in order for equal keys: a stable sort is enough,
        # and takes a fifth of the time of comparing documents too.
        order = np.argsort(columns["key"], kind="stable")
    return {name: column[order] for name, column in {**columns, "doc": docs}.items()}


def without(ordinals: U64, gone: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """Which of the ordinals are not among the sorted ``gone``."""
    if not len(gone):
        return np.ones(len(ordinals), dtype=bool)
    at = np.searchsorted(gone, ordinals)
    at[at == len(gone)] = 0
    return gone[at] != ordinals


def groups(*columns: npt.NDArray[Any]) -> Iterable[tuple[int, int]]:
    """(begin, end) of every run of at least two rows that are equal in all sorted columns."""
    if not len(columns[0]):
        return []
    change = np.zeros(len(columns[0]), dtype=bool)
    change[0] = True
    for column in columns:
        change[1:] |= column[1:] != column[:-1]
    begins = np.flatnonzero(change)
    ends = np.append(begins[1:], len(change))
    several = ends - begins > 1
    return zip(begins[several].tolist(), ends[several].tolist(), strict=True)
