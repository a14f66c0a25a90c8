"""Spikes of the loss: how one is told, and what is done about it.

The published runs were watched by people (LLM-jp: a sitter that writes to Slack, llm-jp/modelwg)
and mended by hand (``--skip-train-iteration-range``, llm-jp/Megatron-DeepSpeed branch
feature/fujii/abci). Here the rule is data, every decision is a pure function of the losses so
far, so that all ranks decide alike and a resumed run decides as the first one did.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from yoriai.strict import Strict

# A normal distribution's standard deviation over its median absolute deviation.
NORMAL = 1.4826


class Stability(Strict):
    """When a loss is a spike, and what follows."""

    on_spike: Literal["record", "skip", "rewind"] = Field(
        "record",
        description="record: only write it down; skip: leave out the update (llm.c, OLMo-core);"
        " rewind: go back before it and pass over its data (PaLM). DeepSpeed rewinds for skip",
    )
    threshold: float = Field(
        8.0, gt=0, description="robust standard deviations above the median that are a spike"
    )
    least_nats: float = Field(0.2, gt=0, description="and at least so much above the median")
    window_steps: int = Field(100, ge=10, description="losses that a loss is compared with")
    least_steps: int = Field(20, ge=5, description="losses needed before anything is a spike")
    patience_steps: int = Field(
        50, ge=1, description="spikes in a row after which the run has diverged and fails"
    )
    margin_steps: int = Field(
        5, ge=0, description="rewind: data passed over before and after the spike"
    )
    most_rewinds: int = Field(3, ge=0, description="rewind: so often, then the run fails")


@dataclass(frozen=True, slots=True)
class Spike:
    """A loss that stands out."""

    loss: float
    median: float
    z: float


class Watcher:
    """Losses so far, and how the next one compares with them.

    A spike is not added to them, or a few would hide the next; one after another they end the run.
    """

    def __init__(self, rules: Stability, rows: Iterable[dict[str, Any]] = ()) -> None:
        self.rules = rules
        self.losses: deque[float] = deque(maxlen=rules.window_steps)
        self.in_a_row = 0
        for row in rows:
            self.add(row["loss"], spike="spike" in row)

    def judge(self, loss: float) -> Spike | None:
        """The spike that a loss is, or None. Only losses above the others count.

        z = (loss - median) / (1.4826 * median absolute deviation): Iglewicz and Hoaglin (1993).
        """
        if len(self.losses) < self.rules.least_steps:
            return None
        median = statistics.median(self.losses)
        rise = loss - median
        if rise < self.rules.least_nats:
            return None
        deviation = NORMAL * statistics.median(abs(x - median) for x in self.losses)
        z = rise / max(deviation, 1e-6)
        return Spike(loss, median, round(z, 2)) if z > self.rules.threshold else None

    def add(self, loss: float, *, spike: bool) -> None:
        """Take a loss into account."""
        if spike:
            self.in_a_row += 1
            return
        self.in_a_row = 0
        self.losses.append(loss)

    @property
    def diverged(self) -> bool:
        """Whether there were only spikes for too long."""
        return self.in_a_row >= self.rules.patience_steps


def span_to_skip(rules: Stability, data_step: int) -> list[int]:
    """First and last data step (from 0) to pass over, around the one that spiked."""
    return [max(0, data_step - rules.margin_steps), data_step + rules.margin_steps]


def shift(step: int, skipped: Sequence[Sequence[int]]) -> int:
    """The step whose data step ``step`` (both from 0) sees, once spans of data are passed over.

    ``skipped`` are [first, last] of data steps, both inclusive; they may overlap.
    """
    end = -1  # the last data step passed over so far
    for first, last in sorted((a, b) for a, b in skipped):
        first = max(first, end + 1)
        if step >= first and last >= first:
            step += last - first + 1
        end = max(end, last)
    return step


def unshift(data_step: int, skipped: Sequence[Sequence[int]]) -> int | None:
    """The step that sees a data step (both from 0); None for one that was passed over."""
    before, end = 0, -1
    for first, last in sorted((a, b) for a, b in skipped):
        first = max(first, end + 1)
        if first <= data_step <= last:
            return None
        if last < data_step:
            before += max(0, last - first + 1)
        end = max(end, last)
    return data_step - before
