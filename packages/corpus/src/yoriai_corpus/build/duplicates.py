"""Finding documents that are the same, or nearly, over the whole corpus.

All of it is tasks over ranges of keys (:mod:`yoriai_corpus.build.sorted_keys`). Of documents that
are the same the one with the smallest (source's place in the recipe, source, id) stays: never the
one that was read, or finished, first.

* names: two documents of one name; the later one is quarantined, or, if it is from another file,
  called after that file too;
* exact and url: equal keys of 128 bits;
* near: documents sharing a band of their signatures are candidates; a pair counts if its true
  Jaccard similarity reaches the threshold; pairs are closed to clusters by
  :mod:`yoriai_corpus.build.components`. Clusters are transitive: a document may be less alike to
  the one that stays than the threshold, and that similarity is what is reported.
"""

from __future__ import annotations

import collections
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numba
import numpy as np
import numpy.typing as npt

from yoriai_corpus.build import sorted_keys
from yoriai_corpus.build.part_writer import key_file
from yoriai_corpus.build.parts import PartDocuments, PartList
from yoriai_corpus.build.sorted_keys import Series
from yoriai_corpus.text import minhash

U64 = npt.NDArray[np.uint64]
# Texts from one template can share a band by the thousand; n squared pairs of them would never
# end, so each is compared with those just before it and with the first.
ALL_PAIRS_UP_TO, LOOK_BACK = 32, 16
_BYTES_KEPT = 32 * 2**20  # of sets of n-grams

NAMESAKE = np.dtype([("doc", "<u8"), ("first", "<u8")])
LOSER = np.dtype([("doc", "<u8"), ("winner", "<u8"), ("similarity", "<f8")])
LINE = np.dtype([("doc", "<u8"), ("line", "<u8")])


@dataclass(frozen=True, slots=True)
class RangeTask:
    """One range of the keys of one kind. ``gone`` are files of ordinals no longer there."""

    kind: str
    number: int
    ranges: int
    parts: PartList
    folder: Path
    gone: tuple[Series, ...] = ()

    @property
    def result(self) -> Path:
        return Series(self.folder, self.kind, self.ranges).path(self.number)

    def read(self) -> dict[str, U64]:
        paths = [(part.index, key_file(part.stem, self.kind)) for part in self.parts.read()]
        columns = sorted_keys.read_range(
            self.kind, [pair for pair in paths if pair[1].is_file()], self.number, self.ranges
        )
        return _present(columns, self.gone)

    def __str__(self) -> str:
        return f"range {self.number} of the {self.kind} keys"


def _present(columns: dict[str, U64], gone: Sequence[Series]) -> dict[str, U64]:
    for path in (path for series in gone for path in series.paths()):
        stays = sorted_keys.without(columns["doc"], sorted_keys.load(path)["doc"])
        columns = {name: column[stays] for name, column in columns.items()}
    return columns


def find_namesakes(task: RangeTask) -> Path:
    """Documents whose name an earlier one had, in order: (document, the first of the name)."""
    if not task.result.is_file():
        columns = task.read()
        rows = [
            (doc, columns["doc"][begin])
            for begin, end in sorted_keys.groups(columns["key"], columns["check"])
            for doc in columns["doc"][begin + 1 : end]
        ]
        _save_losers(task.result, np.array(rows, dtype=NAMESAKE))
    return task.result


def part_namesakes(found: Series, files: Sequence[int]) -> tuple[Series, Series]:
    """(those of the same file, those of another file) of what :func:`find_namesakes` found.

    ``files`` says by a number which file each part is from. An id is unique in its file or
    nowhere, so of one name the first document in each further file stays, under a longer name.
    """
    by_part = np.array([*files, -1], dtype=np.int64)
    same = Series(found.folder, "same-file", found.count)
    other = Series(found.folder, "other-file", found.count)
    for number, path in enumerate(found.paths()):
        records = np.array(sorted_keys.load(path))  # in order of document
        own = by_part[sorted_keys.part_of(records["doc"])]
        pairs = np.column_stack([records["first"], own.astype(np.uint64)])
        _, at = np.unique(pairs, axis=0, return_index=True)
        stays = np.zeros(len(records), dtype=bool)
        stays[at] = True
        stays &= own != by_part[sorted_keys.part_of(records["first"])]
        sorted_keys.save(same.path(number), records[~stays])
        sorted_keys.save(other.path(number), records[stays])
    return same, other


def find_equal(task: RangeTask) -> Path:
    """Documents with equal keys, but for the one of each group that stays."""
    if not task.result.is_file():
        columns, shelf, rows = task.read(), PartDocuments(task.parts.read()), []
        for begin, end in sorted_keys.groups(columns["key"], columns["check"]):
            members = columns["doc"][begin:end].tolist()
            winner = _winner(members, shelf)
            losers = [m for m in members if m != winner and not shelf.part(m).is_reference]
            rows += [(m, winner, 1.0) for m in losers]
        _save_losers(task.result, np.array(rows, dtype=LOSER))
    return task.result


def _winner(members: Sequence[int], shelf: PartDocuments) -> int:
    return min(zip(shelf.names(members), members, strict=True))[1]


def _save_losers(path: Path, records: npt.NDArray[Any]) -> None:
    sorted_keys.save(path, records[np.argsort(records["doc"], kind="stable")])


# --- near duplicates --------------------------------------------------------------------


def find_candidates(task: RangeTask) -> Path:
    """Pairs (smaller, larger, bands) of documents that share bands of this range, in order."""
    if not task.result.is_file():
        columns = task.read()
        pairs = _pairs(columns["key"], columns["doc"])
        sorted_keys.save(task.result, _add_up(pairs, np.ones(len(pairs), dtype=np.uint64)))
    return task.result


def _add_up(pairs: U64, counts: U64) -> U64:
    """Equal pairs as one row with the sum of their counts, in order."""
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs, counts = pairs[order], counts[order]
    new = np.ones(len(pairs), dtype=bool)
    new[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    begins = np.flatnonzero(new)
    sums = np.add.reduceat(counts, begins) if len(begins) else counts
    return np.column_stack([pairs[begins], sums])


@numba.njit(cache=True, nogil=True)
def _pairs(key: U64, doc: U64) -> U64:
    out = np.empty((max(16, len(key)), 2), dtype=np.uint64)
    length = 0
    begin = 0
    for index in range(len(key)):
        if key[index] != key[begin]:
            begin = index
        back = index - begin
        if back == 0:
            continue
        nearest = begin if back < ALL_PAIRS_UP_TO else index - LOOK_BACK
        if length + back + 1 > len(out):
            out = np.concatenate((out, np.empty_like(out)))
        if nearest > begin:
            out[length, 0], out[length, 1] = doc[begin], doc[index]
            length += 1
        for earlier in range(nearest, index):
            if doc[earlier] != doc[index]:
                out[length, 0], out[length, 1] = doc[earlier], doc[index]
                length += 1
    return out[:length]


@dataclass(frozen=True, slots=True)
class VerifyTask:
    """The candidate pairs whose smaller document lies in one part."""

    part: int
    candidates: Series
    parts: PartList
    threshold: float
    folder: Path

    def __str__(self) -> str:
        return f"near duplicates of part {self.part}"


def verify_pairs(task: VerifyTask) -> Path:
    """Pairs that are as alike as asked for; documents already joined are not compared."""
    result = task.folder / f"verified-{task.part:05d}.npy"
    if result.is_file():
        return result
    first, after = sorted_keys.ordinal(task.part, 0), sorted_keys.ordinal(task.part + 1, 0)
    pieces = [np.zeros((0, 3), np.uint64)]
    for path in task.candidates.paths():
        rows = sorted_keys.load(path)
        begin, end = np.searchsorted(rows[:, 0], [first, after])
        pieces.append(np.array(rows[begin:end]))
    rows = np.concatenate(pieces)
    rows = _add_up(rows[:, :2], rows[:, 2])
    pairs = rows[rows[:, 2] >= minhash.least_bands(task.threshold), :2]
    sets = ShingleSets(PartDocuments(task.parts.read()))
    parents: dict[int, int] = {}

    def root(document: int) -> int:
        while (parent := parents.get(document, document)) != document:
            document = parent
        return document

    found = []
    for a, b in pairs.tolist():
        if root(a) == root(b):
            continue
        if minhash.jaccard(sets.of(a), sets.of(b)) >= task.threshold:
            found.append((a, b))
            low, high = sorted((root(a), root(b)))
            parents[high] = low
    sorted_keys.save(result, np.array(found, dtype=np.uint64).reshape(-1, 2))
    return result


class ShingleSets:
    """Sets of n-grams by ordinal; the last ones used are remembered."""

    def __init__(self, shelf: PartDocuments) -> None:
        self._shelf = shelf
        self._sets: collections.OrderedDict[int, U64] = collections.OrderedDict()
        self._bytes = 0

    def of(self, document: int) -> U64:
        if document not in self._sets:
            ((text,),) = self._shelf.fetch([document], ("text",))
            self._sets[document] = minhash.shingles(text)
            self._bytes += self._sets[document].nbytes
            while self._bytes > _BYTES_KEPT and len(self._sets) > 2:
                self._bytes -= self._sets.popitem(last=False)[1].nbytes
        self._sets.move_to_end(document)
        return self._sets[document]


@dataclass(frozen=True, slots=True)
class ResolveTask:
    """The clusters of one file of components."""

    components: Path
    number: int
    parts: PartList
    folder: Path


def resolve_clusters(task: ResolveTask) -> Path:
    """Every document of a cluster but the one that stays, with its similarity to that one."""
    result = Series(task.folder, "near-losers", task.number + 1).path(task.number)
    if result.is_file():
        return result
    joined = np.array(sorted_keys.load(task.components))
    joined = joined[np.lexsort((joined["doc"], joined["root"]))]
    shelf, rows = PartDocuments(task.parts.read()), []
    sets = ShingleSets(shelf)
    roots, begins = np.unique(joined["root"], return_index=True)
    ends = np.append(begins, len(joined))[1:]
    for root, begin, end in zip(roots.tolist(), begins.tolist(), ends.tolist(), strict=True):
        members = [root, *joined["doc"][begin:end].tolist()]
        winner = _winner(members, shelf)
        stays = sets.of(winner)
        for member in members:
            if member != winner and not shelf.part(member).is_reference:
                rows.append((member, winner, minhash.jaccard(sets.of(member), stays)))
    _save_losers(result, np.array(rows, dtype=LOSER))
    return result


# --- lines and paragraphs ---------------------------------------------------------------


def find_repeated_lines(task: RangeTask) -> Path:
    """Lines (or paragraphs) that stand in an earlier document too: (document, first line).

    A unit stays wherever it stands in the first document that has it: a refrain is no copy.
    """
    if not task.result.is_file():
        columns = task.read()
        rows = []
        for begin, end in sorted_keys.groups(columns["key"]):
            documents = columns["doc"][begin:end]
            later = np.flatnonzero(documents != documents[0]) + begin
            rows += [(columns["doc"][i], columns["line"][i]) for i in later]
        records = np.array(rows, dtype=LINE)
        sorted_keys.save(task.result, records[np.lexsort((records["line"], records["doc"]))])
    return task.result


Stage = Literal["name", "exact", "url", "near", "line"]


def range_tasks(
    kind: Stage, parts: PartList, records: int, folder: Path, gone: Sequence[Series]
) -> list[RangeTask]:
    ranges = sorted_keys.count_ranges(records)
    folder.mkdir(parents=True, exist_ok=True)
    return [RangeTask(kind, n, ranges, parts, folder, tuple(gone)) for n in range(ranges)]
