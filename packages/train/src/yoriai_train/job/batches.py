"""Micro-batches as pure functions of their number, for pre-training and for tuning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yoriai_train.data import windows
from yoriai_train.data.order import Int64s
from yoriai_train.model.loss import IGNORED
from yoriai_train.settings.spec import Spec, check_parts, read_rows
from yoriai_train.settings.stability import shift

# input_ids and targets, of shape (B, S); with boundaries position_ids (B, S); sources (B,) where
# the loss is told by source; of preferences, whose rows are pairs, reference (B / 2, 2) and pairs
# (B / 2), which of them count; and tokens, what this rank counts in the whole step.
Batch = dict[str, torch.Tensor]
Make = Callable[[int], Batch]


def maker(spec: Spec, rank: int, world: int, *, flat: bool = False) -> Make:
    """The function from a micro-batch's number to this rank's part of it.

    ``flat``: the model attends to each document of a row alone, so that what is packed may stand
    in one row, however long.
    """
    strategy = spec.build_strategy()
    parts = strategy.sequence_parts
    group, groups = rank // parts, world // parts
    if spec.batch % groups:
        raise ValueError(f"a batch of {spec.batch} cannot be shared by {groups} processes")
    if spec.examples:
        whole = _examples(spec, group, groups, flat=flat)
    else:
        whole = _windows(spec, group, groups)
    if parts == 1:
        return whole
    check_parts(spec.context, strategy, boundaries=spec.boundaries)
    return lambda number: cut(whole(number), rank % parts, parts)


def cut(batch: Batch, part: int, parts: int) -> Batch:
    """One of equal parts of all sequences, with the positions of its tokens."""
    length = batch["input_ids"].shape[1]
    places = torch.arange(length).view(parts, -1)[part]
    cut_ones = {name: batch[name][:, places].contiguous() for name in ("input_ids", "targets")}
    positions = places.expand(len(batch["input_ids"]), -1).contiguous()
    return {**batch, **cut_ones, "position_ids": positions}


def _windows(spec: Spec, rank: int, world: int) -> Make:
    """Windows of tokens, with the source of each."""
    # The step has compared every byte before it started the workers.
    samples = windows.Samples(Path(spec.tokens), spec.context, spec.seed, quick=True)

    def make(number: int) -> Batch:
        chosen = windows.micro_batch(number, spec.batch, rank, world)
        places = samples.order.draw(chosen)
        ids = torch.from_numpy(samples.windows.rows(*places))
        batch = {
            "input_ids": ids[:, :-1].contiguous(),
            "targets": ids[:, 1:].contiguous(),
            "sources": torch.from_numpy(np.asarray(places[0], np.int64)),
        }
        if spec.boundaries:
            documents, positions = samples.windows.boundaries(*places)
            batch["position_ids"] = torch.from_numpy(positions[:, :-1].astype(np.int64))
            # What begins a document cannot be told from the one before it.
            first = torch.from_numpy(documents[:, 1:] != documents[:, :-1])
            batch["targets"] = batch["targets"].masked_fill(first, IGNORED)
        return batch

    return make


def source_names(spec: Spec) -> list[str]:
    """What the loss is told by: the shards of the mixture, in its order; of pairs, their own."""
    if spec.preference:
        return ["accuracy", "margin", "tokens"]
    if spec.examples:
        return []
    return list(windows.Windows(Path(spec.tokens), spec.context, quick=True).mixture.shards)


class Batches:
    """Micro-batches made on the fly, a step's at once, from the first step that is missing.

    It has no length, which would count from the first step also when a job is resumed; and it
    is no DataLoader, because Lightning's DeepSpeedStrategy asks those for a batch sampler.
    A step's are made together because each says how many tokens the whole step counts.
    """

    def __init__(self, make: Make, steps: range, accumulate: int, skipped: list[list[int]]) -> None:
        self.make = make
        self.steps = steps
        self.accumulate = accumulate
        self.skipped = skipped
        self.seconds = 0.0  # spent here since it was last read

    def __iter__(self) -> Iterator[Batch]:
        for step in self.steps:
            start = time.perf_counter()
            first = shift(step, self.skipped) * self.accumulate
            made = [self.make(first + place) for place in range(self.accumulate)]
            tokens = torch.stack([counted(batch) for batch in made]).sum()
            self.seconds += time.perf_counter() - start
            for batch in made:
                yield {**batch, "tokens": tokens}


def counted(batch: Batch) -> torch.Tensor:
    """What the loss is the mean over: tokens that are learned, or pairs of answers."""
    return batch["pairs"].sum() if "pairs" in batch else (batch["targets"] != IGNORED).sum()


def _examples(spec: Spec, rank: int, world: int, *, flat: bool) -> Make:
    """Examples written by the tuning step: rows of ids, and which are learned.

    ``{"ids": [...], "spans": [[first, stop], ...]}``.
    """
    rows = read_rows(Path(spec.examples))
    reference = read_rows(Path(spec.reference)) if spec.reference else []

    def make(number: int) -> Batch:
        places = windows.micro_batch(number, spec.batch, rank, world)
        # The last step has no more examples than are left: the other rows count nothing.
        shown = [place_of(p, len(rows), spec.seed) for p in places if p < spec.seen]
        chosen = [rows[place] for place in shown]
        # All ranks pad to the context, so that no rank waits for another's longer row.
        if spec.pack:
            return row_of(chosen) if flat and chosen else pack(chosen, spec.context, spec.pad_id)
        alone = world == 1 and spec.build_strategy().sequence_parts == 1
        least = 0 if alone else spec.context
        if spec.preference is None:
            x, y = pad(chosen, len(places), spec.pad_id, least)
            return {"input_ids": x, "targets": y}
        # A pair is two rows, the chosen answer first.
        sides = [side for row in chosen for side in (row, row["rejected"])]
        x, y = pad(sides, 2 * len(places), spec.pad_id, least)
        logps = torch.zeros(len(places), 2, dtype=torch.float64)
        for index, place in enumerate(shown):
            logps[index] = torch.tensor(reference[place], dtype=torch.float64)
        pairs = torch.arange(len(places)) < len(shown)
        return {"input_ids": x, "targets": y, "reference": logps.float(), "pairs": pairs}

    return make


def pack(rows: list[dict[str, Any]], context: int, pad_id: int) -> Batch:
    """The same examples in fewer rows: several in each, that do not see one another.

    The longest first, each into the first row that has room for it (first-fit decreasing).
    ``position_ids`` begin at zero in each example, by which attention keeps them apart.
    """
    bins: list[list[dict[str, Any]]] = []
    room: list[int] = []
    for row in sorted(rows, key=lambda row: -len(row["ids"])):
        length = len(row["ids"]) - 1
        place = next((n for n, left in enumerate(room) if left >= length), len(bins))
        if place == len(bins):
            bins.append([])
            room.append(context)
        bins[place].append(row)
        room[place] -= length
    width = max([1, *(context - left for left in room)])
    shape = (max(1, len(bins)), width)
    x = torch.full(shape, pad_id, dtype=torch.int64)
    y = torch.full(shape, IGNORED, dtype=torch.int64)
    positions = torch.zeros(shape, dtype=torch.int64)
    for index, held in enumerate(bins):
        at = 0
        for row in held:
            inputs, targets = pad([row], 1, pad_id, 0)
            stop = at + inputs.shape[1]
            x[index, at:stop], y[index, at:stop] = inputs[0], targets[0]
            positions[index, at:stop] = torch.arange(stop - at)
            at = stop
        positions[index, at:] = torch.arange(width - at)  # the padding is one more document
    return {"input_ids": x, "targets": y, "position_ids": positions}


def row_of(rows: list[dict[str, Any]]) -> Batch:
    """Examples one after another in one row, without padding; ``position_ids`` begin with each."""
    parts = [pad([row], 1, 0, 0) for row in rows]
    return {
        "input_ids": torch.cat([x for x, _ in parts], dim=1),
        "targets": torch.cat([y for _, y in parts], dim=1),
        "position_ids": torch.cat([torch.arange(x.shape[1]) for x, _ in parts])[None],
    }


def pad(
    rows: list[dict[str, Any]], count: int, pad_id: int, least: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets of rows of examples, (count, S), S at least ``least``."""
    length = max([least, 1, *(len(row["ids"]) - 1 for row in rows)])
    x = torch.full((count, length), pad_id, dtype=torch.int64)
    y = torch.full((count, length), IGNORED, dtype=torch.int64)
    for index, row in enumerate(rows):
        ids = torch.tensor(row["ids"])
        x[index, : len(ids) - 1] = ids[:-1]
        for first, stop in row["spans"]:
            first = max(1, first)  # nothing comes before the very first token
            y[index, first - 1 : stop - 1] = ids[first:stop]
    return x, y


_permutations: dict[tuple[int, int, int], Int64s] = {}


def place_of(index: int, count: int, seed: int) -> int:
    """Which of ``count`` examples is the ``index``-th seen: a new permutation each epoch."""
    epoch, place = divmod(index, count)
    key = (count, seed, epoch)
    if key not in _permutations:
        _permutations[key] = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(count)
    return int(_permutations[key][place])
