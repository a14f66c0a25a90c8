"""What a training will need: memory, FLOPs, days, traffic, disk, energy and money. Arithmetic only.

`plan` takes the keys of ``train/pretrain`` (a recipe's step or a preset) and the machine, and
gives a :class:`Plan`; no GPU and no torch are needed. Every figure it assumes is in
:class:`Assumptions`, with its source.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from yoriai import UsageError
from yoriai.config import unknown_name
from yoriai.plugins import load_registry
from yoriai_train.plan import hardware
from yoriai_train.plan.decoder import Shape
from yoriai_train.plan.hardware import Gpu
from yoriai_train.plan.memory import (
    GIB,
    STRATEGIES,
    Memory,
    Setup,
    bytes_per_parameter,
    estimate,
    formulas_of,
    strategy_fields,
)
from yoriai_train.plan.traffic import Traffic, traffic
from yoriai_train.settings.shapes import SHAPES

DAY = 86_400.0
# Par for bf16 on A100 and H100 over published runs; 0.50 is good, 0.35 is what LLM-jp lived with
# (13B and 172B on H100: 34 and 35 %).
MFU = 0.40
# A share that nobody measured is a guess between these. Published runs, with the operations counted
# as here (attention in full): GPT-NeoX-20B 0.31 by its 1,830 hours on 96 A100s (arXiv 2204.06745);
# Llama-2 0.42 to 0.46 by the GPU-hours of its paper (arXiv 2307.09288). Pythia 0.27 to 0.34 and
# Llama-3 0.19 to 0.37 are taken over as others worked them out; that was not done again here.
LOW_MFU, HIGH_MFU = 0.2, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """Figures that no recipe holds.

    ``disk_gb_per_second``: what all ranks together write; 2 is a share of a busy file system
    (BLOOM wrote its 2.3 TB in 40 s, 57 GB/s: bigscience, chronicles.md).
    ``pue``: power of the whole site over that of the machine; 1.2 is Jean Zay's, with which BLOOM
    was accounted (arXiv 2211.02001).
    ``grams_co2_per_kwh``: 423 is Japan's average for fiscal year 2023 (Ministry of the
    Environment, emission factors of electricity suppliers, published March 2025).
    ``attention_share``: see :meth:`~yoriai_train.plan.decoder.Shape.flops_per_token`.
    ``network_gbit_per_second``, ``memory_gib``, ``host_memory_gib``, ``peak_tflops``: instead of
    the data sheet's.
    """

    mfu: float = MFU
    disk_gb_per_second: float = 2.0
    pue: float = 1.2
    grams_co2_per_kwh: float = 423.0
    yen_per_gpu_hour: float | None = None
    attention_share: float = 1.0
    network_gbit_per_second: float | None = None
    memory_gib: float | None = None
    host_memory_gib: float | None = None
    peak_tflops: float | None = None
    chunked_loss: bool = True
    tensor_parallel: int = 1
    pipeline_parallel: int = 1


@dataclass(frozen=True)
class Plan:
    """The answer. Sizes are bytes, times seconds, unless a name says otherwise."""

    setup: Setup
    gpu: Gpu
    nodes: int
    steps: int
    checkpoint_every_steps: int
    assumptions: Assumptions = field(default_factory=Assumptions)
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        return self.setup.shape

    @cached_property
    def memory(self) -> Memory:
        return estimate(self.setup)

    @property
    def available_bytes(self) -> float:
        return (self.assumptions.memory_gib or self.gpu.memory_gib) * GIB

    @property
    def host_bytes(self) -> float | None:
        """Memory of a node's processors; None if it is not known."""
        size = self.assumptions.host_memory_gib or self.gpu.host_memory_gib
        return None if size is None else size * GIB

    @property
    def fits_host(self) -> bool:
        """Whether what is offloaded has room; true if nobody knows how much there is."""
        there = self.host_bytes
        return there is None or self.memory.host_bytes_per_node <= there

    @property
    def fits(self) -> bool:
        return self.memory.peak_bytes <= self.available_bytes and self.fits_host

    @property
    def sequences_per_step(self) -> int:
        return self.setup.micro_batch * self.setup.replicas * self.setup.accumulate

    @property
    def tokens_per_step(self) -> int:
        return self.sequences_per_step * self.setup.sequence

    @property
    def tokens(self) -> int:
        return self.steps * self.tokens_per_step

    @property
    def flops_per_token(self) -> float:
        return self.shape.flops_per_token(self.setup.sequence, self.assumptions.attention_share)

    @property
    def flops(self) -> float:
        return self.flops_per_token * self.tokens

    @property
    def peak_flops(self) -> float:
        """Of one GPU, in FLOP/s."""
        if self.assumptions.peak_tflops is not None:
            return self.assumptions.peak_tflops * 1e12
        return self.gpu.peak_flops(self.setup.precision)

    @property
    def tokens_per_second_per_gpu(self) -> float:
        return self.assumptions.mfu * self.peak_flops / self.flops_per_token

    @property
    def step_seconds(self) -> float:
        return self.tokens_per_step / (self.tokens_per_second_per_gpu * self.setup.gpus)

    @property
    def seconds(self) -> float:
        """Of training alone: no start-up, evaluation, checkpoints or faults."""
        return self.steps * self.step_seconds

    @property
    def days(self) -> float:
        return self.seconds / DAY

    @property
    def days_range(self) -> tuple[float, float]:
        """Days at :data:`HIGH_MFU` and at :data:`LOW_MFU`."""
        whole = self.days * self.assumptions.mfu
        return whole / HIGH_MFU, whole / LOW_MFU

    @property
    def gpu_hours(self) -> float:
        return self.seconds / 3600 * self.setup.gpus

    @property
    def checkpoint_bytes(self) -> float:
        """Weights and optimizer states: 14 bytes a parameter with DeepSpeed in 16 bit."""
        cost = bytes_per_parameter(self.setup)
        kept = cost["weights"] + cost["master"] + cost["moments"]
        return kept * self.shape.total_parameters

    @property
    def checkpoint_seconds(self) -> float:
        return self.checkpoint_bytes / (self.assumptions.disk_gb_per_second * 1e9)

    @property
    def bubble(self) -> float:
        """The idle share of a 1F1B pipeline, (p - 1) / (m + p - 1); a measured MFU contains it."""
        stages = self.setup.pipeline_parallel
        return (stages - 1) / (self.setup.accumulate + stages - 1)

    @property
    def kilowatt_hours(self) -> float:
        """GPUs at their greatest power, times PUE; processors and network are not counted."""
        return self.gpu_hours * self.gpu.watts / 1000 * self.assumptions.pue

    @property
    def co2_kilograms(self) -> float:
        return self.kilowatt_hours * self.assumptions.grams_co2_per_kwh / 1000

    @property
    def yen(self) -> float | None:
        price = self.assumptions.yen_per_gpu_hour
        return None if price is None else price * self.gpu_hours

    @cached_property
    def traffic(self) -> tuple[Traffic, ...]:
        node_network = (
            self.assumptions.network_gbit_per_second or self.gpu.network_gbit_per_second
        ) / 8
        return tuple(traffic(self.setup, self.gpu.link_gb_per_second / 2, node_network))

    def facts(self) -> dict[str, Any]:
        """The plan as plain JSON."""
        setup = asdict(self.setup)
        shape = setup.pop("shape")
        return {
            "model": {**shape, "parameters": self.shape.parameters()},
            "setup": setup,
            "gpu": self.gpu.model_dump(),
            "assumptions": asdict(self.assumptions),
            "nodes": self.nodes,
            "steps": self.steps,
            "parameters": self.shape.total_parameters,
            "tokens_per_step": self.tokens_per_step,
            "tokens": self.tokens,
            "flops_per_token": self.flops_per_token,
            "flops": self.flops,
            "peak_flops": self.peak_flops,
            "tokens_per_second_per_gpu": self.tokens_per_second_per_gpu,
            "step_seconds": self.step_seconds,
            "days": self.days,
            "days_range": list(self.days_range),
            "gpu_hours": self.gpu_hours,
            "memory": [asdict(part) for part in self.memory.parts],
            "peak_bytes": self.memory.peak_bytes,
            "available_bytes": self.available_bytes,
            "fits": self.fits,
            "host_bytes_per_node": self.memory.host_bytes_per_node,
            "available_host_bytes": self.host_bytes,
            "traffic": [asdict(item) for item in self.traffic],
            "pipeline_bubble": self.bubble,
            "checkpoint_bytes": self.checkpoint_bytes,
            "checkpoint_seconds": self.checkpoint_seconds,
            "kilowatt_hours": self.kilowatt_hours,
            "co2_kilograms": self.co2_kilograms,
            "yen": self.yen,
            "notes": list(self.notes),
        }


def _formulas(name: str) -> str:
    """Whose formulas hold for the strategy of that name, ours or another plugin's."""
    if name.removeprefix("train/") in STRATEGIES:
        return name.removeprefix("train/")
    registry = load_registry()
    return formulas_of(registry.load(registry.get("strategies", name)))


def plan(
    config: Mapping[str, Any],
    *,
    vocabulary_size: int,
    gpus_per_node: int,
    nodes: int,
    gpu: str,
    mfu: float = MFU,
    assumptions: Assumptions | None = None,
) -> Plan:
    """Plan a training from the keys of ``train/pretrain`` on ``nodes`` nodes of a GPU.

    ``config["model"]`` is a mapping with ``use``, or a configuration of transformers. A step keeps
    its number of sequences (batch x accumulate) whatever the number of GPUs, and the training its
    number of tokens: what each GPU holds at a time follows. Raises :class:`UsageError` for what
    cannot be planned.
    """
    chosen = replace(assumptions or Assumptions(), mfu=mfu)
    if not 0 < mfu <= 1:
        raise UsageError(f"an MFU of {mfu} is no share", hint="--mfu 0.4 is par for bf16")
    found, shape = hardware.find(gpu), read_shape(config["model"], vocabulary_size)
    strategy = config.get("strategy") or "train/single"
    options = {"use": strategy} if isinstance(strategy, str) else dict(strategy)
    precision = str(config.get("precision", "32-true"))
    if chosen.peak_tflops is None:
        found.peak_flops(precision)
    setup = Setup(
        shape=shape,
        strategy=_formulas(str(options["use"])),
        gpus=nodes * gpus_per_node,
        gpus_per_node=gpus_per_node,
        precision=precision,
        sequence=int(config.get("length") or shape.context),
        activation_checkpoints=bool(config.get("activation_checkpoints", False)),
        fused=bool(config.get("compile", False)),
        chunked_loss=chosen.chunked_loss,
        **strategy_fields(options),
        tensor_parallel=chosen.tensor_parallel,
        pipeline_parallel=chosen.pipeline_parallel,
        reserved_gib=found.reserved_gib,
    )
    batch, accumulate = int(config.get("batch", 16)), int(config.get("accumulate", 1))
    sequences, steps = batch * accumulate, int(config.get("steps", 200))
    micro_batch, accumulate, notes = share_batch(batch, accumulate, setup.replicas)
    total = micro_batch * accumulate * setup.replicas
    if total != sequences:
        steps = math.ceil(steps * sequences / total)
        notes.append(
            f"that is {total:,} sequences a step instead of {sequences:,}: {steps:,} steps for as"
            " many tokens"
        )
    checkpoint = config.get("checkpoint") or {}
    every = checkpoint.get("every_steps") or config.get("checkpoint_every") or 0
    return Plan(
        setup=replace(setup, micro_batch=micro_batch, accumulate=accumulate),
        gpu=found,
        nodes=nodes,
        steps=steps,
        checkpoint_every_steps=int(every),
        assumptions=chosen,
        notes=tuple(notes),
    )


def share_batch(batch: int, accumulate: int, replicas: int) -> tuple[int, int, list[str]]:
    """Sequences at a time on each of ``replicas``, micro-batches a step, and what to remark.

    The number of sequences in a step is kept if it can be shared evenly, else rounded up.
    """
    sequences = batch * accumulate
    if batch % replicas == 0:
        return batch // replicas, accumulate, []
    micro_batch = max(1, batch // replicas)
    if sequences % replicas == 0:
        each = sequences // replicas
        micro_batch = max(size for size in range(1, micro_batch + 1) if each % size == 0)
    more = math.ceil(sequences / (micro_batch * replicas))
    text = (
        f"a batch of {batch:,} cannot be shared evenly by {replicas:,}: planned with batch:"
        f" {micro_batch * replicas:,}, accumulate: {more:,}"
    )
    return micro_batch, more, [text]


def read_shape(model: Any, vocabulary_size: int) -> Shape:
    """The shape of ``model``: a name, a mapping with ``use``, a ModelShape, or a config.json."""
    if hasattr(model, "transformers_config"):
        return Shape.of(model.transformers_config(vocabulary_size))
    if isinstance(model, str):
        model = {"use": model}
    if "model_type" in model:
        return Shape.of({**model, "vocab_size": vocabulary_size})
    options = {key: value for key, value in model.items() if key != "use"}
    name = str(model.get("use", "train/llama"))
    if name not in SHAPES:
        raise unknown_name(name, SHAPES, "model whose shape is known here")
    return Shape.of(SHAPES[name](**options).transformers_config(vocabulary_size))
