"""Micro-batches as pure functions of their number, for pre-training and for tuning."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from yoriai_train.data import windows
from yoriai_train.data.order import Int64s
from yoriai_train.model.loss import IGNORED
from yoriai_train.settings.spec import Spec, check_parts
from yoriai_train.settings.stability import shift

# input_ids and targets, of shape (B, S); with boundaries position_ids (B, S); sources (B,) where
# the loss is told by source; and tokens, the targets that this rank counts in the whole step.
Batch = dict[str, torch.Tensor]
Make = Callable[[int], Batch]


def maker(spec: Spec, rank: int, world: int) -> Make:
    """The function from a micro-batch's number to this rank's part of it."""
    strategy = spec.build_strategy()
    parts = strategy.sequence_parts
    group, groups = rank // parts, world // parts
    if spec.batch % groups:
        raise ValueError(f"a batch of {spec.batch} cannot be shared by {groups} processes")
    whole = (_examples if spec.examples else _windows)(spec, group, groups)
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
    samples = windows.Samples(Path(spec.tokens), spec.context, spec.seed)

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
    """What the numbers in ``sources`` stand for: the shards of the mixture, in its order."""
    if spec.examples:
        return []
    return list(windows.Windows(Path(spec.tokens), spec.context).mixture.shards)


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
            tokens = torch.stack([(batch["targets"] != IGNORED).sum() for batch in made]).sum()
            self.seconds += time.perf_counter() - start
            for batch in made:
                yield {**batch, "tokens": tokens}


def _examples(spec: Spec, rank: int, world: int) -> Make:
    """Examples written by the tuning step: rows of ids, and which are learned.

    ``{"ids": [...], "spans": [[first, stop], ...]}``.
    """
    rows = [
        json.loads(line) for line in Path(spec.examples).read_text(encoding="utf-8").splitlines()
    ]

    def make(number: int) -> Batch:
        places = windows.micro_batch(number, spec.batch, rank, world)
        # The last step has no more examples than are left: the other rows count nothing.
        shown = [place for place in places if place < spec.seen]
        chosen = [rows[place_of(place, len(rows), spec.seed)] for place in shown]
        # All ranks pad to the context, so that no rank waits for another's longer row.
        x = torch.full((len(places), spec.context), spec.pad_id, dtype=torch.int64)
        y = torch.full((len(places), spec.context), IGNORED, dtype=torch.int64)
        longest = 1
        for index, row in enumerate(chosen):
            ids = torch.tensor(row["ids"])
            length = len(ids) - 1
            longest = max(longest, length)
            x[index, :length] = ids[:-1]
            for first, stop in row["spans"]:
                first = max(1, first)  # nothing comes before the very first token
                y[index, first - 1 : stop - 1] = ids[first:stop]
        if world == 1 and spec.build_strategy().sequence_parts == 1:
            x, y = x[:, :longest].contiguous(), y[:, :longest].contiguous()
        return {"input_ids": x, "targets": y}

    return make


_permutations: dict[tuple[int, int, int], Int64s] = {}


def place_of(index: int, count: int, seed: int) -> int:
    """Which of ``count`` examples is the ``index``-th seen: a new permutation each epoch."""
    epoch, place = divmod(index, count)
    key = (count, seed, epoch)
    if key not in _permutations:
        _permutations[key] = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(count)
    return int(_permutations[key][place])
