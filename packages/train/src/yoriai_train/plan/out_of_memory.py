"""What to change when a GPU's memory runs out, from the same formulas as ``yoriai train plan``."""

from __future__ import annotations

import json
from pathlib import Path

from yoriai import UsageError
from yoriai_train.plan.decoder import Shape
from yoriai_train.plan.memory import Setup, formulas_of, strategy_fields
from yoriai_train.plan.memory_changes import changes
from yoriai_train.settings.spec import Spec

MOST = 4  # changes named: the cheapest ones


def setup_of(spec: Spec) -> Setup:
    """A job as the planner sees it; raises :class:`UsageError` for a model without formulas."""
    body = spec.model
    if spec.start:
        body = json.loads((Path(spec.start) / "config.json").read_bytes())
    strategy = spec.build_strategy()
    gpus = strategy.processes * spec.nodes
    options = strategy_fields(strategy.model_dump())
    return Setup(
        shape=Shape.of(body),
        strategy=formulas_of(type(strategy)),
        gpus=gpus,
        gpus_per_node=strategy.processes,
        precision=spec.precision,
        micro_batch=max(1, spec.batch * options["sequence_parallel"] // gpus),
        accumulate=spec.accumulate,
        sequence=spec.context,
        activation_checkpoints=spec.activation_checkpoints,
        **options,
    )


def advise(spec: Spec) -> str:
    """The settings that free memory, cheapest first, each with how much on every GPU."""
    try:
        found = changes(setup_of(spec))
    except (UsageError, OSError, ValueError):
        return "use a smaller batch with more to accumulate, or activation_checkpoints: true"
    if not found:
        return "use more GPUs with train/deepspeed-3 or train/fsdp2, or a smaller model"
    return "; or ".join(
        f"{change.words} frees {change.frees_bytes / 2**30:.1f} GiB" for change in found[:MOST]
    )
