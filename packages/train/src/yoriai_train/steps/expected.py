"""What can be known of a training before anything runs, and what would fail for certain.

``Pretrain.expect`` and ``Tune.expect`` ask, for ``--dry-run`` and at the start of every run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from yoriai import Instructions, ModelShape, Strategy, UsageError, console
from yoriai_train.data import examples
from yoriai_train.data.chat import ChatForm, Learn
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


def folder_to_tune(start: str, inputs: Inputs) -> Path | None:
    """Where configuration and tokenizer of the model to tune lie, if they do already."""
    if start:
        return Path(start) if (Path(start) / "config.json").is_file() else None
    for value in inputs:
        if "made" in value and value["made"].kind == "model":
            return Path(value["made"].path)
        if "made" not in value and "tokenizer" in value:
            return Path(value["tokenizer"])
    return None


def count_left_out(
    data: Sequence[Instructions],
    folder: Path,
    context: int,
    most: int,
    learn: Learn,
    *,
    pairs: bool,
) -> dict[str, Any]:
    """What of the first examples is too long for ``context``; ``most`` it could be.

    Data that is not here before a run is not looked at. Warns where most of it would be left
    out; raises :class:`UsageError` where all would.
    """
    here = [one for one in data if one.is_here()]
    if not here:
        return {}
    form = ChatForm.read(folder)
    found = []
    for one in here:
        some = islice(one.examples([], 0), examples.LOOKED_AT)
        found.append(examples.count_examples(some, form, context, learn, pairs=pairs))
    looked, too_long = sum(one.encoded for one in found), sum(one.too_long for one in found)
    told: dict[str, Any] = {"examples_looked_at": looked, "examples_too_long": too_long}
    if not too_long:
        return told
    wanted = max(one.longest for one in found) - 1
    remedy = f"length: {min(wanted, most)}"
    if wanted > most:
        rest = f"shorter examples, or a model with a context of {wanted:,} tokens"
        remedy = rest if context >= most else f"{remedy}; for the longest {rest}"
    words = f"{too_long:,} of {looked:,} examples do not fit into {context:,} tokens"
    everything = len(here) == len(data) and all(n.encoded < examples.LOOKED_AT for n in found)
    if too_long == looked and everything:
        raise UsageError(f"nothing can be learned: {words}", hint=remedy)
    if 2 * too_long > looked:
        console.note(f"most would be left out: {words}; {remedy}")
    return {**told, "remedy": remedy}
