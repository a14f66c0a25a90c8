"""What a tuning will need: an adapter's parameters, memory, FLOPs, time and money. Arithmetic only.

It is the plan of a training (:mod:`yoriai_train.plan.plan`) with three differences: with an adapter
only its parameters have gradients and states; of frozen weights no gradient is computed; and rows
are as long as conversations are, where memory is that of a row as long as the context.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from yoriai_train.plan.decoder import Shape
from yoriai_train.plan.memory import Memory, Part, bytes_per_parameter, estimate
from yoriai_train.plan.plan import HIGH_MFU, LOW_MFU, Plan

_TRAINED = ("gradients", "optimizer states", "optimizer step")


@dataclass(frozen=True, slots=True)
class Rows:
    """What is tuned on: ``tokens`` are those of all examples, once, both answers of a pair.

    ``too_long`` examples are left out.
    """

    examples: int
    tokens: float
    too_long: int = 0


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """The answer for one tuning. ``machine`` says with what and where; ``trained`` parameters
    learn, None for all. ``mfu`` None gives ranges between the ends of what is published.
    """

    machine: Plan
    trained: int | None
    rows: Rows
    epochs: float
    pairs: bool = False
    mfu: float | None = None

    @property
    def steps(self) -> int:
        """As the step itself counts them: examples seen over those of a step, rounded up."""
        setup = self.machine.setup
        each = setup.micro_batch * setup.replicas * setup.accumulate
        return -(-max(1, round(self.epochs * self.rows.examples)) // each)

    @property
    def memory(self) -> Memory:
        return memory_of(self.machine, self.trained)

    @property
    def flops(self) -> float:
        """Of all epochs; of pairs also one forward pass for the untuned model's answers."""
        shape, tokens = self.machine.shape, self.rows.tokens
        sides = self.rows.examples * (2 if self.pairs else 1)
        length = max(1, round(tokens / max(1, sides)))
        once = flops_per_token(shape, length, frozen=self.trained is not None)
        forward = shape.flops_per_token(length) / 3 if self.pairs else 0.0
        return tokens * (self.epochs * once + forward)

    @property
    def gpu_hours(self) -> tuple[float, float]:
        """Least and most."""
        peak = self.machine.peak_flops * 3600
        high, low = (self.mfu, self.mfu) if self.mfu else (HIGH_MFU, LOW_MFU)
        return self.flops / (peak * high), self.flops / (peak * low)

    @property
    def seconds(self) -> tuple[float, float]:
        """Of training alone: no start-up, no evaluation, no padding of short rows."""
        least, most = self.gpu_hours
        return tuple(hours * 3600 / self.machine.setup.gpus for hours in (least, most))  # type: ignore[return-value]

    @property
    def yen(self) -> tuple[float, float] | None:
        """None without a price."""
        price = self.machine.assumptions.yen_per_gpu_hour
        return None if not price else tuple(price * h for h in self.gpu_hours)  # type: ignore[return-value]

    def facts(self) -> dict[str, Any]:
        """The plan as plain JSON."""
        setup = self.machine.setup
        return {
            "gpu": self.machine.gpu.name,
            "gpus": setup.gpus,
            "parameters": self.machine.shape.total_parameters,
            "trained_parameters": self.trained or self.machine.shape.total_parameters,
            "examples": self.rows.examples,
            "examples_too_long": self.rows.too_long,
            "tokens": round(self.rows.tokens),
            "steps": self.steps,
            "flops": self.flops,
            "seconds": list(self.seconds),
            "gpu_hours": list(self.gpu_hours),
            "yen": list(self.yen) if self.yen else None,
        }


def flops_per_token(shape: Shape, sequence: int, *, frozen: bool) -> float:
    """As :meth:`Shape.flops_per_token`, and of frozen weights without their own gradient.

    That is 4 of the 6 for each parameter; the products of attention need theirs all the same. The
    adapter's own products are left out: rank over width of the matrix beside it.
    """
    whole = shape.flops_per_token(sequence)
    return whole - 2.0 * shape.multiplied_parameters * frozen


def memory_of(machine: Plan, trained: int | None) -> Memory:
    """The account of a GPU; with an adapter, states and gradients of its parameters only."""
    memory = estimate(machine.setup)
    if trained is None:
        return memory
    share = trained / machine.shape.total_parameters
    parts = [
        replace(part, bytes=part.bytes * share) if part.name in _TRAINED else part
        for part in memory.parts
    ]
    parts.append(Part("adapter", bytes_per_parameter(machine.setup)["weights"] * trained, "always"))
    return replace(memory, parts=tuple(parts))


def adapter_parameters(
    shape: Shape, *, rank: int, targets: Sequence[str], modules: Sequence[str] = (), dora: bool
) -> int:
    """Parameters of an adapter (:class:`~yoriai_train.settings.methods.LoRA`).

    Each matrix of n x m has two of rank x n and m x rank; DoRA's has m magnitudes, too.
    """
    each = 0
    for role, name, given, made in _matrices(shape):
        path = f"{role}.{name}"
        chosen = any(path == m or name == m or m.endswith(f".{name}") for m in modules)
        if chosen if modules else role in targets:
            each += rank * (given + made) + made * dora
    return shape.layers * each


def _matrices(shape: Shape) -> Iterator[tuple[str, str, int, int]]:
    """Role, name, inputs and outputs of each matrix of a block."""
    width, inner = shape.width, shape.feed_forward
    query, key = shape.query_width, shape.key_value_width
    if shape.family == "llama":
        for name, made in (("q_proj", query), ("k_proj", key), ("v_proj", key)):
            yield "attention", name, width, made
        yield "attention", "o_proj", query, width
        for name in ("gate_proj", "up_proj"):
            yield "feed-forward", name, width, inner
        yield "feed-forward", "down_proj", inner, width
        return
    first, last, up, down = {
        "gpt2": ("c_attn", "c_proj", "c_fc", "c_proj"),
        "gpt_neox": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
    }[shape.family]
    yield "attention", first, width, query + 2 * key
    yield "attention", last, query, width
    yield "feed-forward", up, width, inner
    yield "feed-forward", down, inner, width


def trained_of(method: Mapping[str, Any], shape: Shape) -> int | None:
    """Parameters that a method trains, from its keys; None for all of them."""
    if "rank" not in method:
        return None
    return adapter_parameters(
        shape,
        rank=int(method["rank"]),
        targets=method.get("targets", ()),
        modules=method.get("modules", ()),
        dora=bool(method.get("dora", False)),
    )
