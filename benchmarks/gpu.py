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
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from gpu_proof import processes
from gpu_proof.processes import Check, Clock, Facts, call, environment_of, reason
from gpu_proof.recipe import answers, killed_and_resumed
from gpu_proof.trainings import (
    RATE,
    SMALL_CONTEXT,
    Training,
    beside_plan,
    judge,
    large_batch_of,
    left_out,
    material,
    planned,
    train,
    trainings,
)
from tables import BUILD

from yoriai import Section, Table, files
from yoriai.page import render
from yoriai_train.plan.hardware import named

HERE = Path(__file__).parent
MINUTES = 8.0
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
    processes.WORK.mkdir(parents=True, exist_ok=True)
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
