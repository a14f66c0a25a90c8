"""Learning rates as pure functions of the step, so that resuming needs no state."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from yoriai.strict import Strict


class Schedule(Strict):
    """Warm-up to ``peak``, then one of five shapes down to ``final_ratio * peak``.

    * ``cosine``: half a cosine from the end of the warm-up (GPT-3, LLM-jp v1 to v3);
    * ``linear``: a straight line from the end of the warm-up;
    * ``sqrt``: ``1 - sqrt`` from the end of the warm-up;
    * ``wsd``: constant, then ``1 - sqrt`` over the last ``decay_share`` or ``decay_steps``
      (MiniCPM, arXiv 2404.06395; the shape is that of arXiv 2405.18392); also how a run decays
      that branches off a ``constant`` one, as LLM-jp v4 does from step 900,000 over 100,000
      (llm-jp/scripts: pretrain/scripts/v4-8b-phase1/decay1m/params.sh);
    * ``constant``: no decay (the 175B trial of 2023, the stable run of LLM-jp v4).

    ``decay_steps`` is always how long the decay lasts. For cosine, linear and sqrt it begins after
    the warm-up, and what is left of the run is trained at the last rate (GPT-3: 260 of 300 billion
    tokens). Megatron's ``--lr-decay-iters`` counts the warm-up too: ``decay_steps`` is that less
    ``warmup_steps`` (llm-jp/Megatron-LM: megatron/optimizer_param_scheduler.py).
    """

    kind: Literal["cosine", "linear", "sqrt", "wsd", "constant"] = Field(
        "wsd", description="shape after warm-up"
    )
    peak: float = Field(2e-3, gt=0, description="highest learning rate")
    warmup_steps: int = Field(20, ge=0, description="steps of linear warm-up")
    decay_share: float = Field(0.3, ge=0, le=1, description="wsd: last part of the steps")
    decay_steps: int | None = Field(
        None, ge=1, description="length of the decay; none: decay_share for wsd, else all the rest"
    )
    final_ratio: float = Field(0.1, ge=0, le=1, description="last rate over the highest")

    def rate(self, step: int, steps: int) -> float:
        """The rate of optimizer step ``step`` (from 0) out of ``steps``.

        After the warm-up cosine and linear give the rates of ``transformers``; the warm-up there
        begins with a step at rate zero, ours does not, and ``1 - sqrt`` ends exactly at the last
        step, theirs one step after it.
        """
        if step < self.warmup_steps:
            return self.peak * (step + 1) / (self.warmup_steps + 1)
        if self.kind == "constant":
            return self.peak
        first, last = self.decay(steps)
        if step < first:
            return self.peak
        floor = self.peak * self.final_ratio
        late = 1 if self.kind in ("wsd", "sqrt") else 0
        done = min(1.0, (step - first + late) / max(1, last - first))
        if self.kind == "cosine":
            return floor + (self.peak - floor) * 0.5 * (1 + math.cos(math.pi * done))
        fallen = done if self.kind == "linear" else math.sqrt(done)
        return floor + (self.peak - floor) * (1 - fallen)

    def decay(self, steps: int) -> tuple[int, int]:
        """The first step of the decay and the step after its last, in a run of ``steps``."""
        if self.kind == "constant":
            return steps, steps
        if self.kind == "wsd":
            length = self.decay_steps or round(steps * self.decay_share)
            return steps - length, steps
        length = self.decay_steps or max(0, steps - self.warmup_steps)
        return self.warmup_steps, self.warmup_steps + length
