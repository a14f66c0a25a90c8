"""What can be known of a training before anything runs, and what would fail for certain.

``Pretrain.expect`` asks, for ``--dry-run`` and at the start of every run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yoriai import ModelShape, Strategy, UsageError
from yoriai_train.job.nodes import rendezvous_of
from yoriai_train.settings import spec as specs

Inputs = Sequence[Mapping[str, Any]]


def model_to_go_on_from(start: str, inputs: Inputs) -> tuple[str, dict[str, Any]] | None:
    """Name and configuration of a model that is there; None if there is none, or none yet.

    Raises :class:`UsageError` for one that cannot be trained.
    """
    if start:
        folder = Path(start)
        there = (folder / "config.json").is_file()
        return (start, specs.read_config(folder, start)) if there else None
    made = [value["made"] for value in inputs if "made" in value]
    models = [artifact for artifact in made if artifact.kind == "model"]
    return (models[0].name, specs.read_config(models[0].path, models[0].name)) if models else None


def check_context(model: ModelShape, context: int, name: str) -> None:
    """Refuse a shape whose context is said and is not that of the model ``name`` to go on from."""
    if "context" in model.model_fields_set and model.context != context:
        raise UsageError(
            f"model.context is {model.context:,}, and {name} goes on with {context:,} tokens at a"
            " time",
            hint="leave model out: its shape and context are those of the model to go on from",
        )


def check(
    strategy: Strategy,
    inputs: Inputs,
    *,
    batch: int,
    samples: int,
    context: int,
    boundaries: bool,
) -> None:
    """Refuse a batch, a context and a length that cannot go together.

    ``context`` is what the model will see at a time, ``samples`` the sequences in all. Raises
    :class:`UsageError`; data that is not there yet is not judged.
    """
    meeting = rendezvous_of(strategy)
    specs.check_share(batch, strategy, meeting.nodes if meeting else 1)
    specs.check_parts(context, strategy, boundaries=boundaries)
    for value in inputs:
        if "made" in value:
            if value["made"].kind == "tokens":
                _check_windows(value["made"].path, context, samples)
        elif "phase" in value and "tokens" in value:
            _check_length(value, context, samples)


def _check_windows(folder: Path, context: int, samples: int) -> None:
    """As the run itself will, from the heads of the shards: shards too short, too many tokens."""
    from yoriai_train.data import windows

    windows.Samples(folder, context, seed=0, quick=True).check_length(samples)


def _check_length(expected: Mapping[str, Any], context: int, samples: int) -> None:
    # Each phase has a window at least, and ends with a whole one.
    if samples > expected["tokens"] // context + len(expected["phase"]):
        raise UsageError(
            f"training asks for {samples * context:,} tokens, {samples:,} windows of {context:,};"
            f" the phases of the mixture end after {expected['tokens']:,}",
            hint="fewer steps, a shorter model.context, or leave out the last phase's tokens",
        )
