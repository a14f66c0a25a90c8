"""One partition of one source: read it, apply the rules, write what became of each document.

A pure function over a :class:`PartitionTask`. Its results are *parts* (tables, and sorted
keys by which duplicates are found later) and a receipt, all written whole or not at all; a
partition whose receipt exists is never computed again.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from yoriai import Document, Filter, PassedOver, Source, Unreadable, Verdict, YoriaiError
from yoriai_corpus.build import contamination
from yoriai_corpus.build.ledger import commonest
from yoriai_corpus.build.part_writer import BATCH, PartWriter, Wanted
from yoriai_corpus.engines.deaths import DEATHS, KILLED
from yoriai_corpus.engines.receipts import done
from yoriai_corpus.sources.checks import fault
from yoriai_corpus.text import characters
from yoriai_corpus.text.batch import Batch

BATCH_CHARACTERS = 2**20
MOST_KINDS = 200  # of what is passed over, in one partition
MOST_LEFT_OUT = 1000  # the same of what readers left out of sentences
PART_CHARACTERS = 2**27  # a part's keys, and one document of it, must fit into memory


@dataclass(frozen=True, slots=True)
class PartitionTask:
    """Which part of which source, and where its result goes.

    ``deaths`` are the ranges of positions (first, last) that were being worked on when a
    process died; ``skip`` are the positions that are given up, ``end`` the one at which
    reading itself cannot go on.
    """

    source_index: int
    partition_index: int
    partition: str
    source: Source
    rules: tuple[Filter, ...]
    folder: Path
    wanted: Wanted = field(default_factory=Wanted)
    contamination: Path | None = None
    deaths: tuple[tuple[int, int], ...] = ()
    skip: frozenset[int] = frozenset()
    end: int | None = None

    @property
    def stem(self) -> str:
        return f"{self.source_index:03d}-{self.partition_index:06d}"

    def __str__(self) -> str:
        return f"partition {self.partition!r} of sources[{self.source_index}]"


def after_death(task: PartitionTask) -> PartitionTask:
    """The task to try next, after a process died while it worked on this one.

    The position that it left in its marker is struck; what was being worked on at
    :data:`DEATHS` deaths, and nothing else can have been the cause, is skipped.
    """
    struck = Marker.take(task.folder / f"{task.stem}.at")
    deaths = (*task.deaths, struck)
    if deaths.count(NOWHERE) >= DEATHS:
        raise YoriaiError(
            f"workers die before they begin with {task}",
            hint="give workers more memory (fewer of them, a higher memory_mb) and run the same"
            " command again: finished tasks are not done again",
        )
    if struck == NOWHERE:
        return replace(task, deaths=deaths)
    first, last = struck
    # A reader that knows nothing of positions to skip, and dies there again, ends there.
    if first == last and first in task.skip:
        return replace(task, deaths=deaths, end=first)
    count = sum(begin <= first <= end for begin, end in deaths)
    skip = task.skip | {first} if first == last and count >= DEATHS else task.skip
    return replace(task, deaths=deaths, skip=skip)


NOWHERE = (-1, -1)


class Marker:
    """A file that says what is being worked on, also after the process was killed.

    Written by plain system calls, which outlive the process and, where the folder is shared
    by many machines, reach them all once it is gone.
    """

    def __init__(self, path: Path) -> None:
        self._stream = path.open("wb", buffering=0)

    def at(self, first: int, last: int) -> None:
        self._stream.seek(0)
        self._stream.write(struct.pack("<qq", first, last))

    @staticmethod
    def take(path: Path) -> tuple[int, int]:
        """What a dead process left, once; :data:`NOWHERE` if it had not begun."""
        try:
            first, last = struct.unpack("<qq", path.read_bytes())
            path.unlink()
        except (OSError, struct.error):
            return NOWHERE
        return first, last


@dataclass(slots=True)
class PartitionTally:
    """What happened in one partition, as counts."""

    read: int = 0
    kept: int = 0
    dropped: int = 0
    unreadable: int = 0
    characters: int = 0
    edits: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    passed_over: dict[str, dict[str, int]] = field(default_factory=dict)
    left_out: dict[str, Counter[str]] = field(default_factory=dict)

    def pass_over(self, item: PassedOver) -> None:
        kinds = self.passed_over.setdefault(item.source, {})
        kind = item.kind if item.kind in kinds or len(kinds) < MOST_KINDS else "of further kinds"
        kinds[kind] = kinds.get(kind, 0) + 1

    def edit(self, source: str, rule: str, before: str, after: str) -> None:
        counts = self.edits.setdefault(source, {}).setdefault(rule, [0, 0])
        counts[0] += 1
        counts[1] += abs(len(after) - len(before))


def process(task: PartitionTask) -> dict[str, Any]:
    """Do the task, unless its receipt is there; returns the receipt."""
    return done(task.folder / f"{task.stem}.json", partial(_process, task))


def _process(task: PartitionTask) -> dict[str, Any]:
    finder = contamination.Finder(task.contamination) if task.contamination else None
    tally = PartitionTally()
    parts: list[dict[str, Any]] = []
    marker = Marker(task.folder / f"{task.stem}.at")
    batches = _batches(task, marker, tally)
    batch = next(batches, None)
    while batch is not None or not parts:
        stem = f"{task.stem}-{len(parts):04d}"
        with PartWriter(task.folder, stem, task.wanted) as part:
            while batch is not None and part.characters < PART_CHARACTERS:
                _judge(batch, task, part, tally, finder)
                batch = next(batches, None)
        parts.append(part.facts())
    receipt = {
        "source_index": task.source_index,
        "partition_index": task.partition_index,
        "partition": task.partition,
        "in": tally.read,
        "characters_in": tally.characters,
        "kept": tally.kept,
        "dropped": tally.dropped,
        "unreadable": tally.unreadable,
        "edits": tally.edits,
        "passed_over": tally.passed_over,
        "left_out": {
            source: dict(sorted(commonest(counts, MOST_LEFT_OUT).items()))
            for source, counts in sorted(tally.left_out.items())
        },
        "parts": parts,
    }
    if tally.read != tally.kept + tally.dropped + tally.unreadable:
        raise AssertionError(f"documents were lost in {task}: {receipt}")
    return receipt


Item = tuple[int, Document | Unreadable]


def _batches(task: PartitionTask, marker: Marker, tally: PartitionTally) -> Iterator[list[Item]]:
    """What the source gives, with positions; small batches where a process has died before."""
    stream = iter(task.source.read_without(task.partition, task.skip))
    batch: list[Item] = []
    characters = position = 0
    while True:
        careful = any(first <= position <= last for first, last in task.deaths)
        full = len(batch) == BATCH or characters > BATCH_CHARACTERS
        if batch and (careful or full):
            marker.at(batch[0][0], batch[-1][0])
            yield batch
            batch, characters = [], 0
        marker.at(position, position)
        if position == task.end:
            source = task.source.card().name
            place = f"{task.partition}:{position}"
            reason = f"the reader {KILLED}; what follows in this partition was not read"
            batch.append((position, Unreadable(source, place, reason)))
            break
        try:
            item = next(stream)
        except StopIteration:
            break
        if isinstance(item, PassedOver):
            tally.pass_over(item)
            position += 1
            continue
        if position in task.skip and not isinstance(item, Unreadable):
            item = Unreadable(item.source, item.id, KILLED)
        batch.append((position, item))
        characters += len(item.text) if isinstance(item, Document) else 0
        position += 1
    if batch:
        marker.at(batch[0][0], batch[-1][0])
        yield batch


def _judge(
    items: Sequence[Item],
    task: PartitionTask,
    part: PartWriter,
    tally: PartitionTally,
    finder: contamination.Finder | None,
) -> None:
    documents, places = Batch(), []
    for _, item in items:
        tally.read += 1
        reason = item.reason if isinstance(item, Unreadable) else fault(item)
        if isinstance(item, Unreadable) or reason:
            part.unreadable(item.source, item.id, reason)
            tally.unreadable += 1
            continue
        tally.characters += len(item.text)
        if item.left_out:
            tally.left_out.setdefault(item.source, Counter()).update(item.left_out)
        documents.append(item)
        places.append(part.place(item))
    for document, place, verdict, rule in apply_rules(documents, places, task.rules, tally):
        part.drop(document, place, rule.entry, rule.version, verdict)
        tally.dropped += 1
    if any(not document.text.strip() for document in documents):
        documents, places = _drop_empty(documents, places, part, tally)
    if finder is not None and documents:
        documents, places = _avoid(documents, places, finder, part, tally)
    part.keep(documents, places)
    tally.kept += len(documents)


def _drop_empty(
    documents: Batch, places: list[int], part: PartWriter, tally: PartitionTally
) -> tuple[Batch, list[int]]:
    """Drop what edits have left nothing of."""
    keep = []
    for index, document in enumerate(documents):
        if document.text.strip():
            keep.append(index)
            continue
        nothing = Verdict("drop", value=0, threshold=1)
        part.drop(document, places[index], "corpus/empty", "1", nothing)
        tally.dropped += 1
    return Batch(documents[i] for i in keep), [places[i] for i in keep]


def _avoid(
    documents: Batch,
    places: list[int],
    finder: contamination.Finder,
    part: PartWriter,
    tally: PartitionTally,
) -> tuple[Batch, list[int]]:
    """Drop what holds evaluation texts; every item that was found is noted."""
    found = finder.find(documents)
    for index, hits in found.items():
        document = documents[index]
        for hit in hits:
            part.note(document, hit)
        worst = hits[0]
        verdict = Verdict(
            "drop", value=worst.share, threshold=worst.least, span=f"{worst.task}: {worst.item}"
        )
        part.drop(document, places[index], "corpus/contaminated", contamination.VERSION, verdict)
        tally.dropped += 1
    keep = [index for index in range(len(documents)) if index not in found]
    return Batch(documents[i] for i in keep), [places[i] for i in keep]


def apply_rules(
    documents: Batch, places: list[int], rules: Sequence[Filter], tally: PartitionTally
) -> list[tuple[Document, int, Verdict, Filter]]:
    """What each rule drops. ``documents`` and ``places`` are left with what passed them all."""
    dropped: list[tuple[Document, int, Verdict, Filter]] = []
    current, at = documents, list(places)
    for rule in rules:
        wanted = rule.languages
        asked = current
        if wanted and any(d.language not in wanted for d in current):
            asked = Batch(d for d in current if d.language in wanted)
        if not asked:
            continue
        given = rule.judge_batch(asked)
        if len(given) != len(asked):
            raise YoriaiError(f"{rule.entry} gave {len(given)} verdicts on {len(asked)} documents")
        answers = iter(given)
        verdicts = [
            next(answers) if not wanted or d.language in wanted else Filter.KEEP for d in current
        ]
        if all(verdict.action == "keep" for verdict in verdicts):
            continue
        rows, edited = [], False
        for row, (document, verdict) in enumerate(zip(current, verdicts, strict=True)):
            if verdict.action == "drop":
                dropped.append((document, at[row], verdict, rule))
                continue
            if verdict.action == "edit":
                edited = True
                if verdict.text != document.text or verdict.language:
                    tally.edit(document.source, rule.entry, document.text, verdict.text)
                document.text = verdict.text
                document.language = verdict.language or document.language
            rows.append(row)
        remaining = Batch(current[row] for row in rows)
        if not edited:
            characters.carry(current, remaining, rows)
        current, at = remaining, [at[row] for row in rows]
    if current is not documents:
        documents[:] = current
        documents.__dict__.clear()
        documents.__dict__.update(current.__dict__)
    places[:] = at
    return dropped
