"""A plan as lines for people: units, remarks and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from yoriai_train.plan.memory import GIB, Memory, estimate
from yoriai_train.plan.memory_changes import changes, describe, largest_micro_batch, remedy
from yoriai_train.plan.plan import DAY, HIGH_MFU, LOW_MFU, Plan


@dataclass(frozen=True, slots=True)
class PlanLine:
    """One line for people: the group it stands in, its name, value and a remark."""

    group: str
    name: str
    value: str
    words: str = ""


def rows(plan: Plan) -> list[PlanLine]:
    """Every line, grouped: model, memory, time, network, checkpoint, energy and money."""
    return [
        PlanLine(group, *line)
        for group, lines in (
            ("model", _model(plan)),
            ("memory of a GPU", _memory(plan)),
            ("time", _time(plan)),
            ("network, a step and GPU", _network(plan)),
            ("checkpoint", _checkpoint(plan)),
            ("energy and money", _energy(plan)),
        )
        for line in lines
    ]


def verdict(plan: Plan) -> list[str]:
    """Whether it fits, and what to change: each change alone, then the cheapest set."""
    need, there = plan.memory.peak_bytes, plan.available_bytes
    if plan.fits:
        most = largest_micro_batch(plan.setup, there)
        return [
            f"fits: {gib(need)} of {gib(there)} on each {plan.gpu.name};"
            f" room for {most:,} sequences at a time (now {plan.setup.micro_batch:,})"
        ]
    if not plan.fits_host:
        # What is on the GPU may fit, too: to move more of it to the host would not help.
        return [
            f"does not fit: {_host(plan, plan.memory)}",
            "cheapest that fits:",
            "  more nodes, which share it, or without strategy.offload_parameters or"
            " offload_optimizer",
        ]
    lines = [f"does not fit: {gib(need)} needed, {gib(there)} on each {plan.gpu.name}"]
    single = sorted(changes(plan.setup), key=lambda change: -change.frees_bytes)
    if single:
        lines.append("each change alone, by what it frees on a GPU:")
    for change in single:
        enough = "  <- enough" if change.peak_bytes <= there else ""
        lines.append(f"  {gib(change.frees_bytes):>10}  {change.words}{enough}")
    after = remedy(plan.setup, there)
    if after is None:
        lines.append("no set of these changes makes it fit")
    else:
        memory = estimate(after)
        lines.append(f"cheapest that fits ({gib(memory.peak_bytes)}):")
        lines += [f"  {text}" for text in describe(plan.setup, after)]
        if memory.host_bytes_per_node:
            lines.append(f"  (and {_host(plan, memory)})")
    return lines


def _host(plan: Plan, memory: Memory) -> str:
    need, there = memory.host_bytes_per_node, plan.host_bytes
    text = f"{gib(need)} of host memory on each node"
    if there is None:
        return text
    return f"{text}, which has {gib(there)}" + (": too little" if need > there else "")


def gib(size: float) -> str:
    """Bytes as GiB, as nvidia-smi and torch count."""
    return f"{size / GIB:,.1f} GiB" if size >= 0.05 * GIB else f"{size / 2**20:,.1f} MiB"


def decimal(number: float, unit: str = "") -> str:
    """Three digits and a decimal prefix: ``192 GB``."""
    return _prefixed(number, ("", "k", "M", "G", "T", "P", "E"), unit)


def billions(number: float) -> str:
    """A count as people say it, K, M, B for 10^9, T for 10^12: ``13.7 B``."""
    return _prefixed(number, ("", "K", "M", "B", "T"), "")


def _prefixed(number: float, prefixes: tuple[str, ...], unit: str) -> str:
    power = 0
    while number >= 999.5 and power < len(prefixes) - 1:
        number, power = number / 1000, power + 1
    digits = f"{number:,.0f}" if number >= 99.95 or not number else f"{number:#.3g}"
    return f"{digits} {prefixes[power]}{unit}".rstrip()


def grams(mass: float) -> str:
    """Grams up to a tonne, then tonnes."""
    return decimal(mass, "g") if mass < 1e6 else decimal(mass / 1e6, "t")


def duration(seconds: float) -> str:
    """Seconds, minutes, hours or days, whichever reads best."""
    for size, name in ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:,.1f} {name}"
    return f"{seconds:.3g} s"


Line = tuple[str, str, str]


def _model(plan: Plan) -> list[Line]:
    shape, total = plan.shape, plan.shape.total_parameters
    words = f"{shape.family}, {shape.layers} layers of {shape.width:,}, {shape.heads} heads"
    lines = [("parameters", billions(total), words)]
    for name, number in shape.parameters().items():
        tied = "shared with the embeddings" if name == "head" and shape.tied else ""
        if number or tied:
            lines.append((f"  {name}", billions(number), tied or f"{number / total:.1%}"))
    return lines


def _memory(plan: Plan) -> list[Line]:
    when = {"always": "", "backward": "while gradients are made", "step": "in the optimizer step"}
    lines = []
    for part in plan.memory.parts:
        words = "; ".join(text for text in (when.get(part.when, ""), part.words) if text)
        lines.append((part.name, gib(part.bytes), words))
    words = "what is always there and the larger of the two phases"
    lines.append(("peak", gib(plan.memory.peak_bytes), words))
    lines.append(("there is", gib(plan.available_bytes), plan.gpu.name))
    if plan.memory.host_bytes_per_node:
        text = "for offloaded states; DeepSpeed advises half as much again"
        lines.append(("host memory a node", gib(plan.memory.host_bytes_per_node), text))
        known = "not known" if plan.host_bytes is None else gib(plan.host_bytes)
        lines.append(("there is", known, plan.gpu.node if plan.host_bytes else "--host-memory-gib"))
    return lines


def _time(plan: Plan) -> list[Line]:
    setup, share = plan.setup, plan.assumptions.attention_share
    each = "a GPU" if setup.sequence_parallel == 1 else f"on {setup.sequence_parallel} GPUs"
    recipe = (
        f"{plan.sequences_per_step:,} sequences of {setup.sequence:,}:"
        f" {setup.micro_batch:,} {each} x {setup.replicas:,} x {setup.accumulate:,} accumulated"
    )
    convention = f"6 N + 12 L h s{'' if share == 1 else f' x {share:g}'} (PaLM)"
    lines = [
        ("tokens a step", f"{plan.tokens_per_step:,}", recipe),
        ("tokens", billions(plan.tokens), f"{plan.steps:,} steps"),
        ("FLOPs a token", f"{plan.flops_per_token:.3g}", convention),
        ("FLOPs", f"{plan.flops:.3g}", ""),
        (
            "tokens/s a GPU",
            f"{plan.tokens_per_second_per_gpu:,.0f}",
            f"at {plan.assumptions.mfu:.0%} of {plan.peak_flops / 1e12:,.4g} TFLOP/s"
            f" ({setup.precision})",
        ),
        ("a step", duration(plan.step_seconds), f"on {setup.gpus:,} GPUs"),
        (
            "training",
            duration(plan.seconds),
            f"{plan.gpu_hours:,.0f} GPU-hours; without start-up, evaluation and faults",
        ),
    ]
    least, most = (duration(days * DAY) for days in plan.days_range)
    words = (
        f"at {HIGH_MFU:.0%} and {LOW_MFU:.0%}: the share is yours to give (--mfu); published:"
        " NeoX 31, Pythia 27-34, Llama-2 42-46, Llama-3 19-37 %"
    )
    lines.append(("range", f"{least} to {most}", words))
    if setup.pipeline_parallel > 1:
        lines.append(("pipeline bubble", f"{plan.bubble:.1%}", "part of a measured MFU"))
    return lines


def _network(plan: Plan) -> list[Line]:
    lines = []
    for item in plan.traffic:
        share = item.seconds / plan.step_seconds
        words = f"{duration(item.seconds)}, {share:.0%} of a step if nothing overlaps; {item.words}"
        lines.append((item.name, decimal(item.bytes, "B"), words))
    return lines or [("none", "0 B", "one GPU")]


def _checkpoint(plan: Plan) -> list[Line]:
    seconds, every = plan.checkpoint_seconds, plan.checkpoint_every_steps
    rate = f"at {plan.assumptions.disk_gb_per_second:g} GB/s"
    if every and plan.steps:
        part = seconds / (every * plan.step_seconds)
        rate += f"; {part:.1%} of the time, every {every:,} steps"
    weights = plan.shape.total_parameters * 4
    return [
        ("size", decimal(plan.checkpoint_bytes, "B"), "weights and optimizer states"),
        ("writing", duration(seconds), rate),
        ("exported model", decimal(weights, "B"), "fp32 safetensors"),
    ]


def _energy(plan: Plan) -> list[Line]:
    taken = plan.assumptions
    watts = f"{plan.gpu.watts:g} W a GPU (its greatest) x PUE {taken.pue:g}"
    lines = [
        ("energy", decimal(plan.kilowatt_hours * 1000, "Wh"), watts),
        ("CO2", grams(plan.co2_kilograms * 1000), f"{taken.grams_co2_per_kwh:g} g/kWh"),
    ]
    if plan.yen is None:
        lines.append(("money", "not known", "give --yen-per-gpu-hour"))
    else:
        lines.append(("money", f"{plan.yen:,.0f} yen", f"{taken.yen_per_gpu_hour:g} a GPU-hour"))
    return lines
