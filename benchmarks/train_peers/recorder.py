"""The losses and times of ``transformers``' trainer and of those that are made of it."""

from __future__ import annotations

from typing import Any

from timing import Clock
from transformers import TrainerCallback


class Recorder(TrainerCallback):
    """Puts each logged loss, which is a step's, into the clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **words: Any) -> None:
        if "loss" not in logs:
            return
        if self.clock.losses:
            self.clock.step(float(logs["loss"]))
        else:
            self.clock.stage("first step")
            self.clock.losses.append(float(logs["loss"]))
