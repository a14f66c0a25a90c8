"""Gates between two forms of one model: what may differ, by how much, and what is done about it.

A hop (checkpoint to folder, folder to quantised, quantised to GGUF) is to keep the model as it was
within a stated tolerance. Drift beyond it fails the step: nothing is sealed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from yoriai import Refused
from yoriai.strict import Strict

if TYPE_CHECKING:
    import torch


class Tolerance(Strict):
    """How far a hop may move a model. None: measured, and not judged."""

    logits: float | None = Field(
        None, ge=0, description="largest difference of a log-probability, in nats"
    )
    bits_per_byte: float | None = Field(
        None, ge=0, description="bits per byte that may be lost in any group of the held-out text"
    )
    divergence: float | None = Field(
        None, ge=0, description="mean Kullback-Leibler divergence of the next token, in nats"
    )
    ids: float | None = Field(
        None, ge=0, le=1, description="share of texts whose token ids may differ"
    )


@dataclass(frozen=True, slots=True)
class Drift:
    """What was measured: names of :class:`Tolerance`, each a number."""

    hop: str
    found: Mapping[str, float]

    def check(self, tolerance: Tolerance) -> dict[str, Any]:
        """The rows for the card; raises :class:`yoriai.Refused` naming what is beyond."""
        rows, beyond = {}, []
        for name, value in self.found.items():
            limit = getattr(tolerance, name)
            kept = limit is None or (math.isfinite(value) and value <= limit)
            told = float(f"{value:.4g}") if math.isfinite(value) else None
            rows[name] = {"found": told, "tolerance": limit, "kept": kept}
            if not kept:
                beyond.append(f"{name} drifted by {value:.4g}, allowed is {limit:g}")
        if beyond:
            raise Refused(
                f"{self.hop}: {'; '.join(beyond)}",
                hint="keep the model of the step before, or state a wider tolerance under 'gate'",
            )
        return rows


def drift_of_logits(before: torch.Tensor, after: torch.Tensor) -> dict[str, float]:
    """``logits`` and ``divergence`` of two tensors of logits, ... x vocabulary."""
    import torch

    one, two = (torch.log_softmax(x.float(), -1) for x in (before, after))
    divergence = (one.exp() * (one - two)).sum(-1).mean()
    return {"logits": float((one - two).abs().max()), "divergence": float(divergence.clamp(min=0))}


def differing(
    before: Sequence[Sequence[int]],
    after: Sequence[Sequence[int]],
    scores: Sequence[float] | None = None,
) -> tuple[list[int], int]:
    """The places of texts that two tokenizers encode differently, and how many are only ties.

    With the ``scores`` of a unigram's pieces, two ways to cut a text whose scores sum to the same
    number are a tie: each is a best one, and which is taken says nothing of the tokenizer.
    """
    other = [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if list(a) != list(b)]
    if scores is None:
        return other, 0

    def total(ids: Sequence[int]) -> float:
        known = all(0 <= i < len(scores) for i in ids)
        return math.fsum(scores[i] for i in ids) if known else math.nan

    apart = [n for n in other if total(before[n]) != total(after[n])]
    return apart, len(other) - len(apart)
