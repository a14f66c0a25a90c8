"""What a training job is (:class:`Spec`), the files it writes, and what it cannot be."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from yoriai import Method, Strategy, UsageError
from yoriai.strict import Strict
from yoriai_train.settings.checkpoints import Policy
from yoriai_train.settings.optimizer import Optimizer
from yoriai_train.settings.preference import Preference
from yoriai_train.settings.schedule import Schedule
from yoriai_train.settings.stability import Stability

Row = dict[str, Any]
LOG = "training.jsonl"  # one row a step: what a rerun gives again to the last bit
EVENTS = "events.jsonl"  # spikes, rewinds, harmed checkpoints, with the documents of the batch
SCORES = "evaluations.jsonl"  # scores on tasks while training
PARITY = "parity.json"  # how far the folder is from the model in training
SKIPPED = "skipped.json"  # spans of data that rewinding passed over
STOP = "stop"  # where this file is, ranks end after the step they are at, with a checkpoint


class Spec(Strict):
    """Everything a rank needs, as one JSON file."""

    strategy_class: str
    strategy: dict[str, Any]
    nodes: int = 1
    method_class: str = ""
    method: dict[str, Any] = {}
    model: dict[str, Any] = {}
    initial: dict[str, Any] = {}
    start: str = ""
    start_name: str = ""
    tokens: str = ""
    tokenizer: str = ""
    examples: str = ""
    pack: bool = False
    preference: Preference | None = None
    reference: str = ""  # what the untuned model gives to the answers of preferences
    seen: int = Field(0, le=10**15)  # examples shown in all; the last batch may stay part empty
    artifacts: list[str] = []
    out: str
    scratch: str
    steps: int
    batch: int
    accumulate: int = 1
    context: int
    pad_id: int = 3
    boundaries: bool = False
    z_loss: float = 0.0
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "16-mixed"] = "32-true"
    activation_checkpoints: bool = False
    compile: bool = False
    liger: bool = False
    schedule: Schedule
    optimizer: Optimizer = Optimizer()
    checkpoint: Policy = Policy()
    stability: Stability = Stability()
    evaluate: dict[str, Any] | None = None
    flops_per_token: float = 0.0
    data: str = ""  # what decides which sample is which, as a digest
    branch: str = ""  # the checkpoint of another run to go on from
    resume: str = ""
    resume_state: str = ""
    seed: int

    def build_strategy(self) -> Strategy:
        built: Strategy = _class(self.strategy_class)(**self.strategy)
        return built

    def build_method(self) -> Method:
        """What of the model is tuned; all of it where nothing is said."""
        built: Method = _class(self.method_class)(**self.method) if self.method_class else Method()
        return built


def _class(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def describe_strategy(strategy: Strategy) -> dict[str, Any]:
    """What a rank needs to build the strategy again, also one of another plugin."""
    kind = type(strategy)
    return {
        "strategy_class": f"{kind.__module__}:{kind.__qualname__}",
        "strategy": strategy.model_dump(),
    }


def describe_method(method: Method) -> dict[str, Any]:
    """The same of a method."""
    kind = type(method)
    return {
        "method_class": f"{kind.__module__}:{kind.__qualname__}",
        "method": method.model_dump(),
    }


def check_share(batch: int, strategy: Strategy, nodes: int = 1) -> None:
    """Refuse a batch that the processes, or groups that share sequences, cannot share evenly."""
    parts = strategy.sequence_parts
    groups = strategy.processes * nodes // parts
    if batch % groups:
        raise UsageError(
            f"a batch of {batch} cannot be shared by {groups}"
            f" {'processes' if parts == 1 else 'groups of processes'}",
            hint=f"set batch to a multiple of {groups}",
        )


def check_preference(preference: Preference | None, strategy: Strategy) -> None:
    """Refuse pairs under a strategy that shares sequences between processes."""
    if preference and strategy.sequence_parts > 1:
        raise UsageError(
            "preference: a pair's answers are summed in one process, and"
            " strategy.sequence_parallel shares them",
            hint="leave sequence_parallel out",
        )


def check_pack(pack: bool, strategy: Strategy, *, pairs: bool) -> None:
    """Refuse to pack pairs, and what processes share."""
    if pack and (pairs or strategy.sequence_parts > 1):
        raise UsageError(
            "pack: pairs of answers, and sequences that processes share, are not packed",
            hint="leave pack out",
        )


def check_parts(context: int, strategy: Strategy, *, boundaries: bool) -> None:
    """Refuse sequences that the processes cannot share; ``context`` is their length in tokens."""
    parts = strategy.sequence_parts
    if parts > 1 and (context % parts or boundaries):
        raise UsageError(
            f"strategy.sequence_parallel: {parts} needs a context that {parts} divides, and no"
            f" boundaries (SDPA cannot tell documents apart once sequences are put together);"
            f" the context is {context:,}, boundaries {'on' if boundaries else 'off'}",
            hint="leave boundaries out, or sequence_parallel",
        )


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """The configuration of a model to go on from, and its context under ``context``."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: config.json cannot be read: {error}") from error
    if "quantization_config" in config:
        raise UsageError(
            f"{name} is quantised; its integers cannot be trained",
            hint="name the model it was made from under 'from', and quantise afterwards",
        )
    context = config.get("max_position_embeddings") or config.get("n_positions")
    if not context:
        raise UsageError(f"{name}: config.json does not say how long its context is")
    return {**config, "context": int(context)}


def sequence_length(length: int | None, context: int, name: str) -> int:
    """Tokens of a sequence: ``length``, or the context of the model, which none may exceed."""
    if length and length > context:
        raise UsageError(
            f"length: {length:,} is more than the {context:,} tokens of {name}'s context",
            hint=f"length: {context}, or leave it out",
        )
    return length or context


def read_rows(path: Path) -> list[Row]:
    """The rows of a log; none if it is not there."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
