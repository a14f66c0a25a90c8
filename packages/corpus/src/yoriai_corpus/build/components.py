"""Connected components of a graph that may not fit into one process.

Alternating large-star and small-star (Kiveris et al., "Connected Components in MapReduce and
Beyond", SoCC 2014): every node ends joined to the smallest of its component, after about
log n rounds, each of which is one task for each range of nodes. With one range the same is
done at once, by union-find.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numba
import numpy as np
import numpy.typing as npt

from yoriai import files
from yoriai_corpus.build import sorted_keys

U64 = npt.NDArray[np.uint64]
EDGE = np.dtype([("doc", "<u8"), ("root", "<u8")])
EDGES_PER_RANGE = 2**22
Kind = Literal["large", "small", "gather"]
Run = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]


def join(edges: Sequence[Path], folder: Path, ranges: int, run: Run) -> list[Path]:
    """Files of (doc, root) for every document that is not the smallest of its component.

    ``edges`` are saved arrays of shape (n, 2). Each component lies whole in one of the
    ``ranges`` files. ``run(work, tasks)`` gives results in any order.
    """
    if ranges == 1:
        (path,) = run(join_at_once, [JoinEdges(tuple(edges), folder)])
        return [path]
    tasks = [SpreadTask(path, folder, i, ranges) for i, path in enumerate(edges)]
    list(run(spread, tasks))
    count, number, former = len(edges), 0, None
    while True:
        marks = []
        for kind in ("large", "small"):
            stars = [StarTask(folder, number, count, n, ranges, kind) for n in range(ranges)]
            marks = sorted(run(star, stars))
            count, number = ranges, number + 1
        if marks == former:
            break
        former = marks
    gathers = [StarTask(folder, number, ranges, n, ranges, "gather") for n in range(ranges)]
    list(run(star, gathers))
    paths = [folder / f"components-{n:05d}.npy" for n in range(ranges)]
    list(run(collect, [CollectTask(folder, number + 1, n, ranges) for n in range(ranges)]))
    return paths


@dataclass(frozen=True, slots=True)
class JoinEdges:
    edges: tuple[Path, ...]
    folder: Path


def join_at_once(task: JoinEdges) -> Path:
    path = task.folder / "components-00000.npy"
    if not path.is_file():
        pieces = [np.array(sorted_keys.load(p)) for p in task.edges]
        pairs = np.concatenate([np.zeros((0, 2), np.uint64), *pieces])
        nodes, places = np.unique(pairs, return_inverse=True)
        roots = roots_of(places.reshape(-1, 2).astype(np.int64), len(nodes))
        moved = np.flatnonzero(roots != np.arange(len(nodes)))
        sorted_keys.save(path, _edges(nodes[moved], nodes[roots[moved]]))
    return path


@numba.njit(cache=True, nogil=True)
def roots_of(pairs: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """The smallest member of each node's component (union-find with path halving)."""
    parents = np.arange(size)
    for index in range(len(pairs)):
        a, b = pairs[index, 0], pairs[index, 1]
        while parents[a] != a:
            parents[a] = parents[parents[a]]
            a = parents[a]
        while parents[b] != b:
            parents[b] = parents[parents[b]]
            b = parents[b]
        if a < b:
            parents[b] = a
        else:
            parents[a] = b
    for node in range(size):
        root = node
        while parents[root] != root:
            root = parents[root]
        parents[node] = root
    return parents


def _edges(documents: U64, roots: U64) -> npt.NDArray[Any]:
    records = np.zeros(len(documents), dtype=EDGE)
    records["doc"], records["root"] = documents, roots
    return records


# --- in rounds --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SpreadTask:
    """The edges of one file, to go to the ranges of both their ends."""

    path: Path
    folder: Path
    number: int
    ranges: int


@dataclass(frozen=True, slots=True)
class StarTask:
    """One range of nodes in one round; reads what ``writers`` tasks sent there."""

    folder: Path
    round: int
    writers: int
    number: int
    ranges: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class CollectTask:
    folder: Path
    round: int
    number: int
    ranges: int


def _range_of(nodes: U64, ranges: int) -> npt.NDArray[np.int64]:
    mixed = (nodes + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    return ((mixed >> np.uint64(33)) % np.uint64(ranges)).astype(np.int64)


def _send(folder: Path, number: int, writer: int, ranges: int, owners: U64, pairs: U64) -> None:
    """Each pair to the range of its owner."""
    to = _range_of(owners, ranges)
    for target in range(ranges):
        sorted_keys.save(folder / f"{number}.{writer}.{target}.npy", pairs[to == target])


def _received(folder: Path, number: int, writers: int, target: int) -> U64:
    names = (folder / f"{number}.{writer}.{target}.npy" for writer in range(writers))
    return np.concatenate(
        [np.zeros((0, 2), np.uint64), *(np.array(sorted_keys.load(n)) for n in names)]
    )


def _both(pairs: U64) -> tuple[U64, U64]:
    """Owners and (owner, other) rows for both ends of every pair."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    return both[:, 0], both


def spread(task: SpreadTask) -> None:
    task.folder.mkdir(parents=True, exist_ok=True)
    owners, both = _both(np.array(sorted_keys.load(task.path)).reshape(-1, 2))
    _send(task.folder, 0, task.number, task.ranges, owners, both)


def star(task: StarTask) -> list[int]:
    """One round for one range: its number, pairs and checksum, which stay if nothing changes."""
    receipt = task.folder / f"{task.round}.{task.number}.json"
    if receipt.is_file():
        mark: list[int] = json.loads(receipt.read_bytes())
        return mark
    rows = _received(task.folder, task.round, task.writers, task.number)
    rows = np.unique(rows, axis=0) if len(rows) else rows
    if task.kind == "gather":
        pairs, owners = rows, rows[:, 1]
    else:
        pairs = _stars(rows[:, 0], rows[:, 1], task.kind == "large")
        pairs = np.unique(pairs, axis=0) if len(pairs) else pairs
        # Large-star's pairs go to their larger end for small-star; those of small-star to
        # both ends for large-star, or, when all is done, to be gathered (which ignores half).
        owners = pairs[:, 0]
    if task.kind == "small":
        owners, sent = _both(pairs)
        _send(task.folder, task.round + 1, task.number, task.ranges, owners, sent)
    else:
        if task.kind == "gather":
            keep = rows[:, 0] > rows[:, 1]
            pairs, owners = rows[keep], rows[keep][:, 1]
        _send(task.folder, task.round + 1, task.number, task.ranges, owners, pairs)
    mixed = (pairs[:, 0] * np.uint64(0xFF51AFD7ED558CCD)) ^ pairs[:, 1] if len(pairs) else pairs
    mark = [task.number, len(pairs), int(mixed.sum(dtype=np.uint64))]
    files.write_atomically(receipt, files.canonical_json(mark))
    return mark


def _stars(nodes: U64, others: U64, large: bool) -> U64:
    """(other, smallest) for every other that is larger (large-star) or not (small-star)."""
    if not len(nodes):
        return np.zeros((0, 2), np.uint64)
    begins = np.flatnonzero(np.append(True, nodes[1:] != nodes[:-1]))
    least = np.minimum(np.minimum.reduceat(others, begins), nodes[begins])
    least_of = np.repeat(least, np.diff(np.append(begins, len(nodes))))
    if large:
        chosen = others > nodes
        pairs = np.column_stack([others[chosen], least_of[chosen]])
    else:
        own = np.column_stack([nodes[begins], least])
        pairs = np.concatenate([np.column_stack([others, least_of]), own])
    return pairs[pairs[:, 0] != pairs[:, 1]]


def collect(task: CollectTask) -> Path:
    path = task.folder / f"components-{task.number:05d}.npy"
    if not path.is_file():
        pairs = _received(task.folder, task.round, task.ranges, task.number)
        pairs = np.unique(pairs, axis=0) if len(pairs) else pairs
        sorted_keys.save(path, _edges(pairs[:, 0], pairs[:, 1]))
    return path
