"""Which change of a setup frees how much of a GPU's memory, and the cheapest that make it fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from yoriai import UsageError
from yoriai_train.plan.memory import Setup, can_share, estimate


@dataclass(frozen=True, slots=True)
class Change:
    """Something to change: in words, the setup it gives, its peak and what that frees."""

    words: str
    setup: Setup
    peak_bytes: float
    frees_bytes: float


def changes(setup: Setup) -> list[Change]:
    """Every single change that frees memory, the cheapest in speed and effort first."""
    before = estimate(setup).peak_bytes
    found = []
    for fields in _knobs(setup):
        other = replace(setup, **fields)
        peak = estimate(other).peak_bytes
        if peak < before:
            found.append(Change(describe(setup, other)[0], other, peak, before - peak))
    return found


def remedy(setup: Setup, available_bytes: float) -> Setup | None:
    """The setup changed as cheaply as will make it fit; None if nothing found here does.

    The cheapest single change that is enough is taken; if none is, the cheapest of all, and so
    on. Then what has become needless is taken back, the dearest first.
    """
    now = setup
    for _ in range(60):
        options = changes(now)
        if estimate(now).peak_bytes <= available_bytes:
            break
        if not options:
            return None
        enough = [change for change in options if change.peak_bytes <= available_bytes]
        now = (enough or options)[0].setup
    if estimate(now).peak_bytes > available_bytes:
        return None
    # Twice: whole logits can need less than chunks once the micro-batch is small.
    for names in (*reversed(_KNOBS), *reversed(_KNOBS)):
        try:
            back = replace(now, **{name: getattr(setup, name) for name in names})
        except UsageError:  # e.g. one GPU with a tensor group of two
            continue
        if estimate(back).peak_bytes <= available_bytes:
            now = back
    return now


def largest_micro_batch(setup: Setup, available_bytes: float) -> int:
    """The most sequences at a time that fit on a GPU (at most 4,096); 0 if not even one does."""
    low, high = 0, 4097
    while high - low > 1:
        middle = (low + high) // 2
        peak = estimate(replace(setup, micro_batch=middle)).peak_bytes
        low, high = (middle, high) if peak <= available_bytes else (low, middle)
    return low


def describe(before: Setup, after: Setup) -> list[str]:
    """What differs, one line a knob, in a recipe's keys where there is one."""
    lines = []
    if after.chunked_loss != before.chunked_loss:
        lines.append("cross-entropy in chunks, as this package does")
    if after.strategy != before.strategy:
        lines.append(f"strategy: train/{after.strategy}")
    if after.activation_checkpoints != before.activation_checkpoints:
        lines.append("activation_checkpoints: true (a third more computing)")
    if after.hpz_partition_size != before.hpz_partition_size:
        lines.append(f"strategy.hpz_partition_size: {after.hpz_partition_size} (more traffic)")
    for name in ("offload_optimizer", "offload_parameters"):
        if getattr(after, name) != getattr(before, name):
            lines.append(f"strategy.{name}: true (slower steps)")
    if after.gpus != before.gpus:
        lines.append(f"{after.gpus:,} GPUs instead of {before.gpus:,}")
    if after.tensor_parallel != before.tensor_parallel:
        lines.append(f"tensor parallel {after.tensor_parallel} (Megatron's; no strategy here)")
    parts, words = after.sequence_parallel, []
    if parts != before.sequence_parallel:
        words.append(f"strategy.sequence_parallel: {parts} (more traffic; not with boundaries)")
    if after.micro_batch != before.micro_batch or words:
        batch = after.micro_batch * after.replicas
        sequences = before.micro_batch * before.replicas * before.accumulate
        words.append(f"batch: {batch:,}, accumulate: {math.ceil(sequences / batch):,}")
    if after.micro_batch != before.micro_batch:
        each = "sequences a GPU" if parts == 1 else f"sequences on {parts} GPUs"
        words[-1] += f" ({after.micro_batch:,} instead of {before.micro_batch:,} {each})"
    if words:
        lines.append(", ".join(words))
    return lines


# Knobs as the fields they turn, the cheapest first: chunks cost nothing, neither does ZeRO-1
# beside DDP; smaller micro-batches cost some speed, without hpZ gathers leave the node, checkpoints
# cost a third more FLOPs, ZeRO-3 half more traffic (arXiv 1910.02054, section 7), shared sequences
# all-to-alls around attention (arXiv 2309.14509), and offloading waits for the PCI bus.
_KNOBS: tuple[tuple[str, ...], ...] = (
    ("chunked_loss",),
    ("micro_batch", "accumulate"),
    ("hpz_partition_size",),
    ("activation_checkpoints",),
    ("strategy",),
    ("sequence_parallel", "accumulate"),
    ("offload_optimizer",),
    ("offload_parameters",),
    ("gpus", "strategy"),
    ("tensor_parallel",),
)


def _knobs(setup: Setup) -> Iterator[dict[str, Any]]:
    """Each knob turned by one notch."""
    if not setup.chunked_loss:
        yield {"chunked_loss": True}
    if setup.micro_batch > 1:
        less = setup.micro_batch // 2
        more = math.ceil(setup.micro_batch * setup.accumulate / less)
        yield {"micro_batch": less, "accumulate": more}
    if setup.hpz_partition_size > 1:
        yield {"hpz_partition_size": 1}
    if not setup.activation_checkpoints:
        yield {"activation_checkpoints": True}
    first = {"ddp": 1, "deepspeed-1": 2, "deepspeed-2": 3}.get(setup.strategy, 4)
    if setup.data_parallel > 1:
        yield from ({"strategy": f"deepspeed-{stage}"} for stage in range(first, 4))
    parts = setup.sequence_parallel * 2
    even = setup.gpus_per_node % parts == 0 == setup.data_parallel % parts
    possible = setup.is_deepspeed and can_share(setup.shape, setup.sequence, parts)
    if setup.micro_batch == 1 and even and possible:
        # As many sequences a step on half as many groups.
        yield {"sequence_parallel": parts, "accumulate": setup.accumulate * 2}
    if setup.is_deepspeed and not setup.offload_optimizer:
        yield {"offload_optimizer": True}
    if setup.strategy == "deepspeed-3" and not setup.offload_parameters:
        yield {"offload_parameters": True}
    if setup.strategy == "single":
        gpus = max(2, setup.gpus_per_node)
        yield {"strategy": "deepspeed-3", "gpus": setup.tensor_parallel * gpus}
    elif setup.gpus < 2**16:
        yield {"gpus": setup.gpus * 2, "accumulate": max(1, setup.accumulate // 2)}
    more = setup.tensor_parallel * 2
    within = math.lcm(setup.sequence_parallel, setup.hpz_partition_size)
    group = more * setup.pipeline_parallel * within
    if more <= setup.gpus_per_node and not setup.gpus % group and not setup.shape.heads % more:
        # As many sequences a step on half as many replicas.
        yield {"tensor_parallel": more, "accumulate": setup.accumulate * 2}
