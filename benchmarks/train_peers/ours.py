"""Ours, as a rank runs it (``python -m yoriai_train.job.worker``), timed: ``ours.py SPEC``."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from pathlib import Path
from typing import Any

from timing import Clock

clock = Clock()
import torch  # noqa: E402

clock.stage("import torch")
import lightning.pytorch as pl  # noqa: E402

clock.stage("import lightning")
import transformers.models.llama.modeling_llama  # noqa: E402, F401

clock.stage("import transformers")
from lightning.pytorch.loops.optimization.automatic import _AutomaticOptimization  # noqa: E402

from yoriai_train.job import loop  # noqa: E402
from yoriai_train.settings.spec import Spec  # noqa: E402

clock.stage("import yoriai_train")
spent = 0.0  # inside the steps proper: model, gradients, optimizer
steps: list[tuple[float, float]] = []  # whole seconds of a step, and those inside


def inside(function: Any, sign: int) -> Any:
    """Count what a function takes as inside the step, or as outside of it."""

    def timed(*args: Any, **words: Any) -> Any:
        global spent
        start = time.perf_counter()
        try:
            return function(*args, **words)
        finally:
            spent += sign * (time.perf_counter() - start)

    return timed


def tell(kind: str, row: dict[str, Any]) -> None:
    """In place of printing a row: the clock is read."""
    global spent
    if kind == "step":
        if not clock.losses:
            clock.stage("first step")
            clock.losses.append(row["loss"])
        else:
            clock.step(row["loss"])
        steps.append((row["seconds"], spent))
        spent = 0.0


def load_model(spec: Spec) -> Any:
    clock.stage("set-up of the strategy")
    model = plain_load(spec)
    clock.stage("model")
    return model


def set_up(self: Any, *args: Any, **words: Any) -> Any:
    clock.stage("trainer, GEMM peak")
    return plain_run(self, *args, **words)


plain_load, plain_run = loop.load_model, pl.Trainer.fit
loop.load_model = load_model
pl.Trainer.fit = set_up
loop.tell = tell
_AutomaticOptimization.run = inside(_AutomaticOptimization.run, 1)
loop.Steps.on_before_optimizer_step = inside(loop.Steps.on_before_optimizer_step, -1)


def main() -> None:
    spec = Spec.model_validate_json(Path(sys.argv[1]).read_bytes())
    torch.set_num_threads(int(sys.argv[2]))
    with contextlib.redirect_stdout(io.StringIO()):
        loop.run(spec)
    if int(__import__("os").environ.get("RANK", "0")):
        return
    whole = sum(seconds for seconds, _ in steps[2:])
    clock.tell(outside=1 - sum(within for _, within in steps[2:]) / whole if whole else 0.0)


if __name__ == "__main__":
    main()
