"""What the proof trains: which models, beside which plan, judged by which losses."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any

from gpu_proof import processes
from gpu_proof.processes import NO_TIME, Check, Facts, call, environment_of, reason, told
from yoriai_train.plan.decoder import Shape
from yoriai_train.plan.plan import plan
from yoriai_train.settings.shapes import Llama

HERE = Path(__file__).parent
SMALL_CONTEXT, RATE = 512, 1e-3
# Llama's form at 1.3 billion parameters: those of OpenLLaMA-style "1b" tables, with 50,304 pieces.
LARGE_PIECES = 50_304
LARGE = Llama(
    layers=24, width=2048, heads=16, key_value_heads=16, feed_forward=5504, context=2048, tied=False
)
# Largest difference of a loss to a CPU's in fp32. In bf16 single losses were up to 0.07 apart on
# CPUs (docs/en/training.md, Speed).
TOLERANCE = {"32-true": 5e-3, "bf16-mixed": 0.15}


@dataclass(frozen=True, slots=True)
class Training:
    """One training of the proof. ``settings`` are keys of a rank's specification."""

    name: str
    model: str  # "small" or "large"
    strategy: str  # a class of yoriai_train.settings.strategies
    precision: str
    steps: int
    batch: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""  # a module without which it is left out


def trainings(*, on_gpu: bool, large_batch: int) -> list[Training]:
    """What is trained, in order of worth: what comes last is left out first."""
    steps, batch = (20, 8) if on_gpu else (3, 2)
    rows = [
        Training("fp32", "small", "Single", "32-true", steps, batch),
        Training("bf16", "small", "Single", "bf16-mixed", steps, batch),
    ]
    if on_gpu:
        rows.append(
            Training(
                "1.3B", "large", "DeepSpeed2", "bf16-mixed", 8, large_batch,
                {"activation_checkpoints": True},
            )
        )  # fmt: skip
    kinds = ("DeepSpeed1", "DeepSpeed2", "DeepSpeed3", "FSDP2")
    rows += [Training(f"bf16 {k}", "small", k, "bf16-mixed", steps, batch) for k in kinds]
    rows += [
        Training("bf16 compile", "small", "Single", "bf16-mixed", steps, batch, {"compile": True}),
        Training(
            "bf16 Liger", "small", "Single", "bf16-mixed", steps, batch, {"liger": True},
            needs="liger_kernel",
        ),
    ]  # fmt: skip
    if on_gpu:
        rows.append(
            Training(
                "1.3B FSDP2", "large", "FSDP2", "bf16-mixed", 8, large_batch,
                {"activation_checkpoints": True},
            )
        )  # fmt: skip
    return rows


def large_batch_of(gpu: str, memory_gib: float | None = None) -> int:
    """Sequences of the large model that a GPU holds at a time, as planned; 0 if not even one."""
    for batch in (16, 8, 4, 2, 1):
        if planned(gpu, batch, memory_gib).fits:
            return batch
    return 0


def planned(gpu: str, batch: int, memory_gib: float | None = None) -> Any:
    """What ``yoriai train plan`` says of the large training on one GPU."""
    from yoriai_train.plan.plan import Assumptions

    settings = {
        "model": LARGE.transformers_config(LARGE_PIECES),
        "strategy": "train/deepspeed-2",
        "precision": "bf16-mixed",
        "activation_checkpoints": True,
        "batch": batch,
        "steps": 8,
    }
    return plan(
        settings, vocabulary_size=LARGE_PIECES, gpus_per_node=1, nodes=1, gpu=gpu,
        assumptions=Assumptions(memory_gib=memory_gib),
    )  # fmt: skip


def specification(training: Training, folder: Path, scratch: Path, **changes: Any) -> Path:
    """The file that a rank reads, as the steps of a recipe write it."""
    is_small = training.model == "small"
    config = (
        json.loads((folder / "config.json").read_bytes())
        if is_small
        else LARGE.transformers_config(LARGE_PIECES)
    )
    context = SMALL_CONTEXT if is_small else LARGE.context
    value = {
        "strategy_class": f"yoriai_train.settings.strategies:{training.strategy}",
        "strategy": {} if training.strategy == "Single" else {"processes": 1},
        "tokens": str(folder / ("tokens" if is_small else "large-tokens")),
        "out": str(scratch / "out"),
        "scratch": str(scratch),
        "steps": training.steps,
        "batch": training.batch,
        "context": context,
        "precision": training.precision,
        "schedule": {"kind": "constant", "peak": RATE if is_small else 1e-4, "warmup_steps": 0},
        "optimizer": {"weight_decay": 0.0},
        "checkpoint": {"every_steps": 10**9},
        "flops_per_token": Shape.of(config).flops_per_token(context),
        "seed": 1,
        **({"start": str(folder / "model")} if is_small else {"model": config}),
        **training.settings,
        **changes,
    }
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / "spec.json"
    path.write_text(json.dumps(value))
    return path


def train(training: Training, folder: Path, seconds: float, *, on_gpu: bool) -> Facts:
    """Run a training as a rank runs it; its losses, speed and memory, or why there are none."""
    from yoriai_train.job import ranks

    scratch = processes.WORK / "runs" / training.name.replace(" ", "-")
    shutil.rmtree(scratch, ignore_errors=True)
    spec = specification(training, folder, scratch)
    env = {**ranks.environment(environment_of(on_gpu=on_gpu)), **ranks.WORKER_ENVIRONMENT}
    command = [sys.executable, "-m", "yoriai_train.job.worker", spec]
    began = time.monotonic()
    code, out, err = call(command, seconds, env)
    rows = told(out, "step")
    facts: Facts = {
        "seconds": round(time.monotonic() - began, 1),
        "losses": [r["loss"] for r in rows],
    }
    if code or len(rows) != training.steps:
        said = [row["message"] for row in told(out, "error")]
        return {**facts, "failed": said[0] if said and code != 124 else reason(code, err)}
    context = SMALL_CONTEXT if training.model == "small" else LARGE.context
    # The first steps warm up: kernels are chosen, blocks compiled.
    later = [row["seconds"] for row in rows[min(3, len(rows) - 1) :]]
    speed = training.batch * context / max(1e-9, statistics.median(later))
    machine = (told(out, "machine") or [{}])[-1]
    flops = float(json.loads(spec.read_bytes())["flops_per_token"])
    peak = float(machine.get("peak_flops", 0.0))
    return {
        **facts,
        "tokens_per_second": round(speed, 1),
        "memory_gb": rows[-1]["memory_gb"],
        "mfu": round(speed * flops / peak, 4) if peak else None,
    }


def judge(training: Training, facts: Facts, reference: Sequence[float]) -> Check:
    """A training beside a CPU's losses in fp32; the large one: whether its loss falls or stays."""
    part = f"train: {training.name}"
    if "failed" in facts:
        left_out = facts["failed"] == NO_TIME
        return Check(part, "trains to the end", facts["failed"], None if left_out else False)
    losses = facts["losses"]
    if training.model == "large":
        expected = "every loss a number, the last below the first"
        sound = all(loss == loss for loss in losses) and losses[-1] < losses[0]
        return Check(part, expected, f"{losses[0]:.3f} to {losses[-1]:.3f}", sound)
    pairs = list(zip(losses, reference, strict=False))
    if not pairs:
        return Check(part, "losses as on a CPU", "the CPU's are not there", None)
    far = max(abs(a - b) for a, b in pairs)
    allowed = TOLERANCE[training.precision]
    expected = f"{len(pairs)} losses within {allowed:g} of a CPU's in fp32"
    return Check(part, expected, f"largest difference {far:.2g}", far <= allowed)


def beside_plan(facts: Facts, expected: Any) -> list[Check]:
    """The large training beside its plan. Speed is a guess of the plan, so it has a range."""
    if "failed" in facts:
        return []
    foreseen, memory = expected.memory.peak_bytes / 1e9, facts["memory_gb"]
    # torch's allocator is measured; the plan also counts what the runtime takes beside it.
    within = 0.5 * foreseen <= memory <= 1.1 * foreseen
    checks = [
        Check("plan: peak memory", f"{foreseen:.1f} GB planned, between half and 1.1 of it",
              f"{memory:.1f} GB", within)
    ]  # fmt: skip
    if facts["mfu"] is not None:
        checks.append(
            Check("plan: share of the peak", "0.2 to 0.5 is what the plan's range says",
                  f"{facts['mfu']:.3f}, {facts['tokens_per_second']:,.0f} tokens/s",
                  facts["mfu"] >= 0.2)
        )  # fmt: skip
    return checks


def left_out(training: Training, large_batch: int, *, on_gpu: bool) -> str:
    """Why a training cannot be tried here; "" if it can."""
    if training.needs and util.find_spec(training.needs) is None:
        return f"{training.needs} is not installed"
    if training.settings.get("liger") and not on_gpu:
        return "Liger needs a GPU"
    if training.model == "large" and not large_batch:
        return "the plan says that it does not fit"
    return ""


def material(chosen: Sequence[Training]) -> Path:
    """Shards, batches and weights; made once for each length."""
    small = [t for t in chosen if t.model == "small"]
    steps, batch = (
        max((t.steps for t in small), default=3),
        max((t.batch for t in small), default=2),
    )
    folder = processes.WORK / f"{steps}x{batch}"
    if not (folder / "config.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        script = HERE.parent / "train_peers" / "material.py"
        subprocess.run([sys.executable, script, folder, str(steps), str(batch)], check=True)
    large = [t for t in chosen if t.model == "large"]
    if large and not (folder / "large-tokens").is_dir():
        write_large_tokens(folder / "large-tokens", max(t.steps * t.batch for t in large))
    return folder


def write_large_tokens(folder: Path, sequences: int) -> None:
    """Ids for the large model, each document a run that repeats: a loss that can fall at once."""
    from yoriai.mixture import build_mixture
    from yoriai.shards import ShardWriter

    temporary = folder.with_name(folder.name + ".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    writer = ShardWriter(temporary / "en", LARGE_PIECES)
    documents = written = 0
    while written <= (sequences + 1) * LARGE.context:
        run = [3 + (documents * 37 + n * n) % 997 for n in range(61)]
        written += writer.add([*(run * 17)[:1023], 2])
        documents += 1
    writer.close()
    held = {"files": ["en"], "tokens": written, "documents": documents}
    value = {"tokenizer": "", "vocabulary_size": LARGE_PIECES, "end_id": 2, "shards": {"en": held}}
    build_mixture({**value, "phases": [{"name": "all", "weights": {"en": 1}}]}).save(temporary)
    temporary.rename(folder)
