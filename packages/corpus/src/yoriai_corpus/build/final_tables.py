"""The last stage: parts become the tables of the artifact, and the account of each partition.

A task takes some parts in order, leaves out what duplicates, removes repeated lines, keeps a
share apart, and writes one file of every table. What it counted is its receipt.
"""

from __future__ import annotations

import collections
import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from yoriai_corpus import tables
from yoriai_corpus.build import sorted_keys
from yoriai_corpus.build.part_writer import record_digest
from yoriai_corpus.build.parts import DocumentPart, PartDocuments, PartList
from yoriai_corpus.build.sorted_keys import Series
from yoriai_corpus.engines.receipts import done
from yoriai_corpus.tables import TableWriter
from yoriai_corpus.text import lines
from yoriai_corpus.text.lines import Unit

VERSION = "2"
CHARACTERS_PER_FILE = 2**25  # some 30 MB on disk; as many tasks as there are files
MOST_REASONS = 500  # why records are unreadable, told apart in one part
REASON_CHARACTERS = 100
# What differs from row to row: what was quoted, and numbers, but not those of names (UTF-16, utf8).
_PARTICULAR = re.compile(r"'[^']*'|(?<![A-Za-z\d])(?<![A-Za-z]-)\d[\d,.]*")
_EMPTY = {"documents": 0, "bytes": 0}


@dataclass(frozen=True, slots=True)
class Losers:
    """The files of one kind of duplicates, and how they are called."""

    kind: str
    rule: str
    threshold: float
    found: Series


@dataclass(frozen=True, slots=True)
class FinishTask:
    """Some parts, and everything that was found out about their documents."""

    number: int
    chosen: tuple[DocumentPart, ...]
    parts: PartList
    folder: Path
    namesakes: Series
    renamed: Series
    losers: tuple[Losers, ...]
    repeated: Series | None
    unit: Unit | None
    heldout: float
    seed: int

    @property
    def receipt(self) -> Path:
        return self.folder / f"{self.number:05d}.json"

    def file(self, table: str) -> Path:
        return self.folder / table / f"{self.number:05d}.parquet"

    def __str__(self) -> str:
        return f"file {self.number:05d} of the tables"


def finish(task: FinishTask) -> dict[str, Any]:
    """Write the files, unless their receipt is there; returns the account of each part."""
    return done(task.receipt, partial(_finish, task))


def _finish(task: FinishTask) -> dict[str, Any]:
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(TableWriter(task.file(name), schema))
            for name, schema in tables.SCHEMAS.items()
        }
        shelf = PartDocuments(task.parts.read())
        accounts = [_finish_part(task, part, shelf, writers).facts() for part in task.chosen]
    return {"parts": accounts, "rows": {name: w.rows for name, w in writers.items()}}


class Account:
    """Counts of one part, by source, rule, language and licence."""

    def __init__(self, part: int) -> None:
        self.part = part
        self.renamed = 0
        self.reasons: collections.Counter[str] = collections.Counter()
        self.by_source: dict[str, collections.Counter[str]] = {}
        self.dropped: dict[str, collections.Counter[str]] = {}
        self.edited: dict[str, dict[str, list[int]]] = {}
        self.sizes: dict[str, dict[str, dict[str, int]]] = {
            "source": {},
            "language": {},
            "licence": {},
        }

    def count(self, source: str, what: str) -> None:
        self.by_source.setdefault(source, collections.Counter())[what] += 1

    def unreadable(self, source: str, reason: str) -> None:
        self.count(source, "unreadable")
        kind = _PARTICULAR.sub("…", reason)
        if len(kind) > REASON_CHARACTERS:
            kind = kind[: REASON_CHARACTERS - 1] + "…"
        kind = kind if kind in self.reasons or len(self.reasons) < MOST_REASONS else "other"
        self.reasons[kind] += 1

    def drop(self, source: str, rule: str) -> None:
        self.count(source, "dropped")
        self.dropped.setdefault(source, collections.Counter())[rule] += 1

    def edit(self, source: str, rule: str, characters: int) -> None:
        counts = self.edited.setdefault(source, {}).setdefault(rule, [0, 0])
        counts[0] += 1
        counts[1] += characters

    def keep(self, row: dict[str, Any]) -> None:
        self.count(row["source"], "kept")
        size = len(row["text"].encode())
        for name, of in self.sizes.items():
            counts = of.setdefault(row[name] or "unknown", dict(_EMPTY))
            counts["documents"] += 1
            counts["bytes"] += size

    def facts(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "renamed": self.renamed,
            "unreadable_by_reason": dict(self.reasons),
            "by_source": {s: dict(c) for s, c in self.by_source.items()},
            "dropped": {s: dict(c) for s, c in self.dropped.items()},
            "edited": self.edited,
            "sizes": self.sizes,
        }


def _finish_part(
    task: FinishTask, part: DocumentPart, shelf: PartDocuments, writers: dict[str, TableWriter]
) -> Account:
    account = Account(part.index)
    namesakes = {int(row["doc"]) & 0xFFFFFFFF for row in _rows_of(task.namesakes, part)}
    renamed = {int(row["doc"]) & 0xFFFFFFFF for row in _rows_of(task.renamed, part)}
    names: dict[str, str] = {}

    def call(place: int, row: dict[str, Any]) -> None:
        """Put the file before an id that another file has too."""
        if place in renamed:
            id_ = names[row["id"]] = qualified(part, row["id"])
            digest = record_digest(row["source"], id_, row["text"])
            row |= {"id": id_, "record_sha256": digest}
            account.renamed += 1

    duplicates = _duplicates(task, part, shelf)
    gone = {
        int(document) & 0xFFFFFFFF: places
        for document, places in _gone_lines(_rows_of(task.repeated, part)).items()
    }
    for row in tables.read_rows(part.table):
        place, source = row.pop("place"), row["source"]
        if place in namesakes:
            _quarantine(row, account, writers)
            continue
        call(place, row)
        if place in duplicates:
            losers, similarity, winner, of = duplicates[place]
            verdict = [losers.rule, VERSION, similarity, losers.threshold, "", winner]
            writers["dropped"].add([*row.values(), *verdict])
            writers["clusters"].add([*of, source, row["id"], losers.kind, similarity])
            account.drop(source, losers.rule)
            continue
        if place in gone and task.unit is not None:
            rule = f"corpus/repeated-{task.unit}s"
            text = lines.remove_units(row["text"], gone[place], task.unit)
            if not text.strip():
                writers["dropped"].add([*row.values(), rule, VERSION, 0.0, 1.0, "", ""])
                account.drop(source, rule)
                continue
            account.edit(source, rule, len(row["text"]) - len(text))
            row |= {"text": text, "record_sha256": record_digest(source, row["id"], text)}
        if is_held_out(row, task.heldout, task.seed):
            writers["heldout"].add_mapping(row)
            account.count(source, "heldout")
        else:
            writers["documents"].add_mapping(row)
            account.keep(row)
    for row in tables.read_rows(_beside(part, "dropped")):
        place = row.pop("place")
        if place in namesakes:
            _quarantine(row, account, writers)
        else:
            call(place, row)
            writers["dropped"].add_mapping(row)
            account.drop(row["source"], row["rule"])
    for row in tables.read_rows(_beside(part, "unreadable")):
        writers["unreadable"].add_mapping(row)
        account.unreadable(row["source"], row["reason"])
    for row in tables.read_rows(_beside(part, "contamination")):
        writers["contamination"].add_mapping({**row, "id": names.get(row["id"], row["id"])})
    return account


def qualified(part: DocumentPart, id_: str) -> str:
    """The name of a document whose id stands in another file too."""
    return f"{part.file}/{id_}"


def _beside(part: DocumentPart, table: str) -> Path:
    return part.stem.with_name(f"{part.stem.name}.{table}.parquet")


def _quarantine(row: dict[str, Any], account: Account, writers: dict[str, TableWriter]) -> None:
    writers["unreadable"].add([row["source"], row["id"], "duplicate id"])
    account.unreadable(row["source"], "duplicate id")


def _rows_of(series: Series | None, part: DocumentPart) -> Iterator[Any]:
    """The records of a part, from files in order of document."""
    first, after = sorted_keys.ordinal(part.index, 0), sorted_keys.ordinal(part.index + 1, 0)
    for path in series.paths() if series else ():
        records = sorted_keys.load(path)
        begin, end = np.searchsorted(records["doc"], [first, after])
        yield from np.array(records[begin:end])


def _duplicates(
    task: FinishTask, part: DocumentPart, shelf: PartDocuments
) -> dict[int, tuple[Losers, float, str, tuple[str, str]]]:
    """By place: why a document goes, how alike it is, and which one stays instead."""
    found: dict[int, tuple[Losers, float, str, tuple[str, str]]] = {}
    for losers in task.losers:
        rows = list(_rows_of(losers.found, part))
        winners = [int(row["winner"]) for row in rows]
        renamed = _which(task.renamed, winners)
        for row, ordinal, name in zip(rows, winners, shelf.names(winners), strict=True):
            _, source, id_ = name
            id_ = qualified(shelf.part(ordinal), id_) if ordinal in renamed else id_
            source = f"{shelf.part(ordinal).prefix}{source}"
            place = int(row["doc"]) & 0xFFFFFFFF
            found[place] = (losers, float(row["similarity"]), f"{source}/{id_}", (source, id_))
    return found


def _which(series: Series, ordinals: list[int]) -> set[int]:
    """Those of the documents that are in the series."""
    wanted = np.array(sorted(set(ordinals)), dtype=np.uint64)
    found: set[int] = set()
    for path in series.paths() if len(wanted) else ():
        there = ~sorted_keys.without(wanted, np.array(sorted_keys.load(path)["doc"]))
        found.update(wanted[there].tolist())
    return found


def _gone_lines(records: Iterator[Any]) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for row in records:
        found.setdefault(int(row["doc"]), set()).add(int(row["line"]))
    return found


def is_held_out(row: dict[str, Any], share: float, seed: int) -> bool:
    """Whether a document is kept apart: decided by its identity alone, so it never moves."""
    mark = f"{seed}/{row['source']}/{row['id']}".encode()
    return int.from_bytes(hashlib.sha256(mark).digest()[:8], "big") < share * 2**64
