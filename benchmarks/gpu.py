"""A proof for whoever has one GPU: ``nox -s gpu``, under eight minutes, without network.

It trains and answers with the project's own processes, and says of each part what was expected and
what was found:

* the 23-million model of ``nox -s bench -- train``: in fp32 and bf16, under every strategy, with
  ``compile`` and, where it is installed, Liger, each with its losses beside a CPU's in fp32;
* a model of the shape of 1.3 billion parameters for some steps: tokens a second, MFU and peak
  memory beside what ``yoriai train plan`` says of this GPU;
* the same training by litgpt or ``transformers.Trainer``, where ``--python`` has them;
* a recipe from text to scores whose training is killed and goes on, beside one that was not;
* answers with the prefix encoded once, beside a loop over single prompts.

``build/bench/gpu.json`` and ``gpu.html`` hold all of it. Without a GPU it is a rehearsal on the CPU
with small sizes: it shows that the script runs, proves nothing of GPUs, and says so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any

from tables import BUILD

from yoriai import Section, Table, files
from yoriai.page import render
from yoriai_train.plan.decoder import Shape
from yoriai_train.plan.hardware import named
from yoriai_train.plan.plan import plan
from yoriai_train.settings.shapes import Llama

HERE = Path(__file__).parent
WORK = BUILD / "gpu-work"
MINUTES = 8.0
SMALL_CONTEXT, SMALL_PIECES, RATE = 512, 16_000, 1e-3
# Llama's form at 1.3 billion parameters: those of OpenLLaMA-style "1b" tables, with 50,304 pieces.
LARGE_PIECES = 50_304
LARGE = Llama(
    layers=24, width=2048, heads=16, key_value_heads=16, feed_forward=5504, context=2048, tied=False
)
# Largest difference of a loss to a CPU's in fp32. In bf16 single losses were up to 0.07 apart on
# CPUs (docs/en/training.md, Speed).
TOLERANCE = {"32-true": 5e-3, "bf16-mixed": 0.15}
LIBRARIES = (
    "torch",
    "lightning",
    "deepspeed",
    "transformers",
    "liger-kernel",
    "litgpt",
    "accelerate",
)
FIRST = ("fp32", "bf16", "1.3B")  # before the recipe that is killed; the others come after it
NO_TIME = "no time was left"
Facts = dict[str, Any]


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


@dataclass(slots=True)
class Check:
    """What was expected of a part, and what was found."""

    part: str
    expected: str
    found: str
    holds: bool | None  # None: not run, ``found`` says why


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


class Clock:
    """The time that is left of the proof."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    @property
    def left(self) -> float:
        return self.end - time.monotonic()


def call(command: Sequence[Any], seconds: float, env: Mapping[str, str]) -> tuple[int, str, str]:
    """Run a command in a group of its own and end the group with it; code 124: no time was left."""
    process = subprocess.Popen(
        list(map(str, command)), env=dict(env), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, cwd=WORK,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return 124, out, err
    return process.returncode, out, err


def reason(code: int, err: str) -> str:
    """Why a command failed, in one line."""
    if code == 124:
        return NO_TIME
    lines = err.strip().splitlines() or [f"exit code {code}"]
    said = [line for line in lines if line.startswith("error:")]
    return (said or lines[-1:])[0][:400]


def environment_of(*, on_gpu: bool) -> dict[str, str]:
    """What processes are started with: no network, and no GPU in a rehearsal."""
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "YORIAI_QUIET": "1"}
    hidden = {} if on_gpu else {"CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **quiet, **hidden}


def told(out: str, kind: str) -> list[Facts]:
    """The rows of one kind that a rank said (``@step {…}``)."""
    mark = f"@{kind} "
    return [json.loads(line[len(mark) :]) for line in out.splitlines() if line.startswith(mark)]


def train(training: Training, folder: Path, seconds: float, *, on_gpu: bool) -> Facts:
    """Run a training as a rank runs it; its losses, speed and memory, or why there are none."""
    from yoriai_train.job import ranks

    scratch = WORK / "runs" / training.name.replace(" ", "-")
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


def peers(python: str, folder: Path, seconds: float, *, on_gpu: bool) -> dict[str, Facts]:
    """The small training in bf16 by litgpt and the Trainer, where that Python has them."""
    steps, batch = (20, 8) if on_gpu else (3, 2)
    words = [folder, str(steps), str(batch), "bf16-mixed", str(os.cpu_count() or 1), str(RATE)]
    found: dict[str, Facts] = {}
    runners = {
        "litgpt": (["litgpt"], ["litgpt_pretrain.py", *words]),
        "Trainer": (["transformers", "accelerate"], ["huggingface_trainer.py", *words, "0"]),
    }
    for name, (modules, (script, *rest)) in runners.items():
        ask = f"import importlib.util as u; assert all(map(u.find_spec, {modules!r}))"
        if subprocess.run([python, "-c", ask], capture_output=True, check=False).returncode:
            found[name] = {"failed": f"{' and '.join(modules)} not installed"}
            continue
        command = [python, HERE / "train_peers" / script, *rest]
        code, out, err = call(command, seconds / 2, environment_of(on_gpu=on_gpu))
        if code:
            found[name] = {"failed": reason(code, err)}
            continue
        facts = json.loads(out.splitlines()[-1])
        later = facts["seconds"][min(2, len(facts["seconds"]) - 1) :]
        found[name] = {
            "losses": facts["losses"],
            "tokens_per_second": round(batch * SMALL_CONTEXT / statistics.median(later), 1),
            "memory_gb": round((facts.get("gpu_peak_mb") or facts["peak_mb"]) / 1000, 3),
        }
    return found


# --- a recipe that is killed, and answers --------------------------------------------------


def recipe(folder: Path, *, on_gpu: bool) -> Path:
    """Text to scores in small: 200 documents, 30 steps, a checkpoint every ten."""
    folder.mkdir(parents=True, exist_ok=True)
    who = ("私は", "先生が", "友だちは", "古い時計が", "小さな猫は", "駅前の店は", "隣の子が")
    where = ("東京で", "静かな部屋で", "海の近くで", "雨の日に", "朝早くから")
    what = (
        "本を読む。",
        "歌をうたった。",
        "長く待っていた。",
        "写真機を直した。",
        "手紙を書いた。",
    )
    texts = [a + b + c for a in who for b in where for c in what]
    rows = [
        {"id": str(n), "text": "".join(texts[(n * k) % 175] for k in (1, 3, 11, 29)), "lang": "ja"}
        for n in range(200)
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "text.jsonl").write_text(lines, encoding="utf-8")
    shape = {"use": "train/llama", "layers": 2, "width": 64, "heads": 4, "key_value_heads": 4,
             "feed_forward": 128, "context": 128}  # fmt: skip
    source = {"use": "corpus/jsonl", "paths": [str(folder / "text.jsonl")], "name": "made"}
    value = {
        "name": "gpu",
        "licence": "Apache-2.0",
        "steps": {
            "text": {"uses": "corpus/build", "sources": [source], "heldout": 0.1,
                     "dedup": {"exact": True, "near": None}},
            "pieces": {"uses": "corpus/tokenizer", "from": "text", "size": 340, "context": 128},
            "shards": {"uses": "corpus/tokens", "from": ["text", "pieces"]},
            "base": {"uses": "train/pretrain", "from": ["shards", "pieces"], "model": shape,
                     "steps": 30, "batch": 4, "checkpoint": {"every_steps": 10},
                     "precision": "bf16-mixed" if on_gpu else "32-true"},
            "scores": {"uses": "eval/run", "from": ["base", "text"], "tasks": ["eval/heldout"],
                       "limit": 10},
        },
    }  # fmt: skip
    path = folder / "gpu.yaml"
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def run_recipe(
    path: Path, out: Path, seconds: float, kill_at: int = 0, *, on_gpu: bool
) -> tuple[int, str]:
    """``yoriai run``; killed with all its processes once so many steps are in a checkpoint."""
    command = [sys.executable, "-m", "yoriai", "run", path, "--out", out]
    env = environment_of(on_gpu=on_gpu)
    if not kill_at:
        code, _, err = call(command, seconds, env)
        return code, err
    process = subprocess.Popen(
        list(map(str, command)), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        if any(int(p.name[5:]) >= kill_at for p in out.glob(".work/base-*/scratch/step-*")):
            os.killpg(process.pid, signal.SIGKILL)
            break
        time.sleep(0.02)
    else:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait(), ""


def killed_and_resumed(seconds: float, *, on_gpu: bool) -> tuple[Check, Path | None]:
    """Whether a training that was killed gives the losses of one that was not; its model."""
    folder = WORK / "recipe"
    shutil.rmtree(folder, ignore_errors=True)
    path = recipe(folder, on_gpu=on_gpu)
    part, expected = "kill and resume", "the losses of an uninterrupted run, bit for bit"
    began = time.monotonic()

    def left() -> float:
        return seconds - (time.monotonic() - began)

    code, err = run_recipe(path, folder / "whole", left(), on_gpu=on_gpu)
    if code:
        return Check(part, expected, reason(code, err), None if code == 124 else False), None
    run_recipe(path, folder / "killed", left(), kill_at=10, on_gpu=on_gpu)
    was_killed = not (folder / "killed" / "base@1").exists()
    code, err = run_recipe(path, folder / "killed", left(), on_gpu=on_gpu)
    model = folder / "whole" / "base@1"
    if code:
        return Check(part, expected, reason(code, err), None if code == 124 else False), model
    first, second = ((folder / out / "base@1" / "training.jsonl").read_bytes()
                     for out in ("whole", "killed"))  # fmt: skip
    if not was_killed:
        return Check(part, expected, "it was done before it could be killed", None), model
    found = "equal" if first == second else "they differ"
    return Check(part, expected, found, first == second), model


ANSWERS = """
import json, sys, time
from pathlib import Path
from yoriai_eval.backends.huggingface import HuggingFace
prefix = "東京で本を読み、古い時計を直した。" * 3
prompts = [f"{prefix}文書{n}番。" for n in range(int(sys.argv[2]))]
found = {}
for name, batch, reuse in (("loop", 1, False), ("reused", 16, True)):
    opened = HuggingFace(batch=batch, prefix_reuse=reuse).open(Path(sys.argv[1]))
    opened.generate(prompts[:1], max_new_tokens=1, stop=[], prefix="")
    began = time.perf_counter()
    made = opened.generate(prompts, max_new_tokens=8, stop=[], prefix=prefix if reuse else "")
    found[name] = {"seconds": time.perf_counter() - began, "texts": [one.text for one in made]}
print(json.dumps(found))
"""


def answers(model: Path, seconds: float, *, on_gpu: bool) -> Check:
    """The same answers with the prefix encoded once, and in how much of the time."""
    part, expected = "evaluation: prefix encoded once", "the answers of a loop over single prompts"
    command = [sys.executable, "-c", ANSWERS, model, 64 if on_gpu else 8]
    code, out, err = call(command, seconds, environment_of(on_gpu=on_gpu))
    if code:
        return Check(part, expected, reason(code, err), None if code == 124 else False)
    facts = json.loads(out.splitlines()[-1])
    loop, reused = facts["loop"], facts["reused"]
    equal = sum(a == b for a, b in zip(loop["texts"], reused["texts"], strict=True))
    times = loop["seconds"] / max(1e-9, reused["seconds"])
    found = f"{equal} of {len(loop['texts'])} equal, {times:.1f} times as fast"
    return Check(part, expected, found, equal == len(loop["texts"]))


# --- the whole ---------------------------------------------------------------------------


def surroundings(*, on_gpu: bool) -> Facts:
    """What the proof ran on."""
    import platform

    import torch

    from yoriai_train.job.machine import describe_machine

    versions: Facts = {}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    found: Facts = {
        "device": "cpu", "python": platform.python_version(), "libraries": versions,
        "processor": describe_machine()["processor"],
    }  # fmt: skip
    if on_gpu:
        facts = torch.cuda.get_device_properties(0)
        found |= {
            "device": facts.name,
            "memory_gib": round(facts.total_memory / 2**30, 1),
            "capability": f"{facts.major}.{facts.minor}",
            "cuda": torch.version.cuda,
            "known_as": named(facts.name),
        }
    return found


def write(facts: Facts, checks: Sequence[Check], folder: Path = BUILD) -> tuple[Path, Path]:
    """``gpu.json`` and ``gpu.html``; gives both paths."""
    is_proof = facts["surroundings"]["device"] != "cpu"
    title = "GPU proof" if is_proof else "Rehearsal on a CPU: no proof of anything on GPUs"
    value = {"proof": is_proof, "title": title, **facts, "checks": [asdict(c) for c in checks]}
    files.write_atomically(folder / "gpu.json", files.ordered_json(value))
    verdicts = {True: "yes", False: "NO", None: "not run"}
    rows = [(c.part, c.expected, c.found, verdicts[c.holds]) for c in checks]
    speeds = [
        (name, row.get("tokens_per_second", ""), row.get("mfu") or "", row.get("memory_gb", ""),
         row.get("failed", ""))
        for name, row in {**facts["trainings"], **facts["peers"]}.items()
    ]  # fmt: skip
    around = facts["surroundings"]
    plain = [(key, str(item)) for key, item in around.items() if key != "libraries"]
    plain += list(around["libraries"].items())
    sections = [
        Section(
            title=title,
            text="",
            tables=[Table(columns=("part", "expected", "found", "holds"), rows=rows)],
        ),
        Section(
            title="Speed and memory",
            text="Median of the steps after the first three; memory as torch's allocator counts it"
            " on a GPU, of the whole process on a CPU.",
            tables=[Table(columns=("training", "tokens/s", "MFU", "GB", "why not"), rows=speeds)],
        ),
        Section(title="Where", text="", tables=[Table(columns=("what", "is"), rows=plain)]),
    ]
    files.write_atomically(folder / "gpu.html", render(title, sections).encode())
    return folder / "gpu.json", folder / "gpu.html"


def prove(options: argparse.Namespace, say: Callable[[str], None]) -> tuple[Facts, list[Check]]:
    """All parts, in order of worth, as long as there is time."""
    import torch

    on_gpu = torch.cuda.is_available() and not options.cpu
    clock = Clock(options.minutes)
    around = surroundings(on_gpu=on_gpu)
    checks: list[Check] = []

    def add(*found: Check) -> None:
        for check in found:
            checks.append(check)
            mark = {True: "yes", False: "NO ", None: "-  "}[check.holds]
            say(f"{mark}  {check.part}: {check.found} ({check.expected})")

    short = around.get("known_as", "")
    batch = large_batch_of(short, around["memory_gib"]) if short else (1 if on_gpu else 0)
    chosen = trainings(on_gpu=on_gpu, large_batch=batch)
    chosen = [t for t in chosen if not options.only or options.only in t.name]
    folder = material(chosen)
    longest = max((t for t in chosen if t.model == "small"), key=lambda t: t.steps, default=None)
    reference: list[float] = []
    if longest is not None:
        # The CPU is slow: some steps are enough to tell.
        few = Training(
            "CPU fp32", "small", "Single", "32-true", min(5, longest.steps), longest.batch
        )
        found = train(few, folder, clock.left / 3, on_gpu=False)
        reference = found["losses"]
        if "failed" in found:
            add(Check("train: CPU fp32", "trains to the end", found["failed"], False))
    results: dict[str, Facts] = {}
    first = [t for t in chosen if t.name in FIRST]

    def run_all(some: Sequence[Training]) -> None:
        for training in some:
            if why := left_out(training, batch, on_gpu=on_gpu):
                add(Check(f"train: {training.name}", "trains to the end", why, None))
                continue
            found = results[training.name] = train(training, folder, clock.left, on_gpu=on_gpu)
            add(judge(training, found, reference))
            if training.name == "1.3B" and short:
                add(*beside_plan(found, planned(short, batch, around["memory_gib"])))

    run_all(first)
    if not options.only:
        resumed, model = killed_and_resumed(clock.left, on_gpu=on_gpu)
        add(resumed)
        if model is not None:
            add(answers(model, clock.left, on_gpu=on_gpu))
    run_all([t for t in chosen if t not in first])
    others = {} if options.only else peers(options.python, folder, clock.left, on_gpu=on_gpu)
    ours = results.get("bf16", {}).get("tokens_per_second")
    for name, row in others.items():
        expected = "tokens a second beside ours in bf16"
        if "failed" in row or not ours:
            add(Check(f"peer: {name}", expected, row.get("failed", "ours did not run"), None))
        else:
            times = ours / row["tokens_per_second"]
            said = f"{row['tokens_per_second']:,.0f}; ours {times:.2f} times that"
            add(Check(f"peer: {name}", expected, said, True))
    facts = {
        "surroundings": around,
        "minutes": options.minutes,
        "trainings": results,
        "peers": others,
    }
    return facts, checks


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
    folder = WORK / f"{steps}x{batch}"
    if not (folder / "config.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        script = HERE / "train_peers" / "material.py"
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


def parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time for all of it [8]")
    parser.add_argument("--cpu", action="store_true", help="a rehearsal, even where there is a GPU")
    parser.add_argument("--only", default="", help="only trainings with this in their name")
    parser.add_argument(
        "--python", default=sys.executable, help="a Python with litgpt or accelerate"
    )
    options = parser.parse_args(words)
    if not 0 < options.minutes < 24 * 60:
        parser.error("--minutes must be above 0 and below a day")
    return options


def main(words: Sequence[str] | None = None) -> int:
    options = parsed(words)
    WORK.mkdir(parents=True, exist_ok=True)
    facts, checks = prove(options, lambda line: print(line, flush=True))
    places = write(facts, checks)
    failed = [check for check in checks if check.holds is False]
    ran = [check for check in checks if check.holds is not None]
    if facts["surroundings"]["device"] == "cpu":
        print("no GPU was used: this is a rehearsal on a CPU and proves nothing of GPUs")
    print(f"{len(ran) - len(failed)} of {len(ran)} hold, {len(checks) - len(ran)} not run:"
          f" {' '.join(os.path.relpath(place) for place in places)}")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
