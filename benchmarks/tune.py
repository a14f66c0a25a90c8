"""Tuning beside TRL: ``nox -s bench -- tune``.

The same model (Llama shape, 23 million parameters, tied), the same examples in the same order
(24 to 512 pieces, most of them short), the same AdamW and threads. Four kinds: answers in padded
rows (``sft``), the same packed, LoRA (rank 8 on all matrices), and preferences (``dpo``). Every run
is a process of its own, in turns (ours, theirs, theirs, ours). Losses of padded answers and
of DPO are compared step by step; adapters begin with other random numbers, and packing has steps
of its own there.

Speeds are real tokens, without padding, over the seconds of all steps but the first two, the
medians of the runs; ``--clock cpu`` takes seconds of CPU, which other work on the machine disturbs
least. What the untuned model gives to pairs is computed once here and in every step there; ``dpo,
one epoch`` adds the seconds of that to ours. Runs are in ``build/bench/tune-runs.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from peers import environment
from tables import BUILD, Row, finish
from train import CONSTRAINTS, execute
from train import WORK as EXECUTED

from yoriai_train.plan.decoder import Shape

PEERS_FOLDER = Path(__file__).parent / "train_peers"
WORK = BUILD / "tune-work"
CONTEXT, RATE, SEED = 512, 1e-4, 1
TRL = "trl 1.16.0"
INSTALLS = (
    ("torch==2.13.0", *CONSTRAINTS),
    ("trl==1.16.0", "peft==0.21.0", "transformers==5.23.0", "accelerate==1.15.0", *CONSTRAINTS),
)
KINDS = ("sft", "packed", "lora", "dpo")
SPEED_GOALS = {"32-true": 1.3, "bf16-mixed": 1.1}
DPO_GOAL, MEMORY_GOAL = 1.5, 1.0
Facts = dict[str, Any]


def material(examples: int) -> Path:
    folder = WORK / str(examples)
    if not (folder / "config.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        script = PEERS_FOLDER / "tune_material.py"
        subprocess.run([sys.executable, script, folder, str(examples)], check=True)
    return folder


def spec_of(folder: Path, kind: str, precision: str, options: argparse.Namespace) -> Path:
    """The specification that a rank of ours reads."""
    scratch = WORK / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    config = json.loads((folder / "config.json").read_bytes())
    value: dict[str, Any] = {
        "strategy_class": "yoriai_train.settings.strategies:Single",
        "strategy": {},
        "start": str(folder / "model"),
        "examples": str(folder / ("pairs.jsonl" if kind == "dpo" else "examples.jsonl")),
        "pack": kind == "packed",
        "seen": options.steps * options.batch,
        "out": str(scratch / "out"),
        "scratch": str(scratch),
        "steps": options.steps,
        "batch": options.batch,
        "context": CONTEXT,
        "precision": precision,
        "schedule": {"kind": "constant", "peak": RATE, "warmup_steps": 0},
        "optimizer": {"weight_decay": 0.0},
        "checkpoint": {"every_steps": 10**9},
        "flops_per_token": Shape.of(config).flops_per_token(CONTEXT),
        "seed": SEED,
    }
    if kind == "lora":
        value["method_class"] = "yoriai_train.settings.methods:LoRA"
        value["method"] = {"rank": 8, "alpha": 32}
    if kind == "dpo":
        value["preference"] = {"loss": "dpo", "beta": 0.1}
        value["reference"] = str(folder / "reference.jsonl")
    path = scratch / "spec.json"
    path.write_text(json.dumps(value))
    return path


def reference(folder: Path, threads: int) -> tuple[float, float]:
    """Seconds, and of CPU, for what the untuned model gives to all pairs; it is made anew."""
    import torch

    from yoriai_train.job.reference import write_reference

    torch.set_num_threads(threads)
    place = folder / "reference.jsonl"
    place.unlink(missing_ok=True)
    start, cpu = time.perf_counter(), time.process_time()
    write_reference(folder / "model", folder / "pairs.jsonl", place, lambda items, *_: items)
    return time.perf_counter() - start, time.process_time() - cpu


def run(who: str, kind: str, precision: str, folder: Path, options: argparse.Namespace) -> Facts:
    threads, load = str(options.threads), os.getloadavg()[0]
    if who == "ours":
        spec = spec_of(folder, kind, precision, options)
        facts = execute([sys.executable, PEERS_FOLDER / "ours.py", spec, threads], options.threads)
        facts["tokens"] = tokens_shown(folder, kind, options)
    else:
        python = options.python or environment("trl", INSTALLS)
        words = [folder, options.steps, options.batch, kind, precision, threads, RATE]
        command = [python, PEERS_FOLDER / "tune_trl.py", *words]
        facts = execute(command, options.threads)
    return {"who": who, "kind": kind, "precision": precision, "load": load, **facts}


def tokens_shown(folder: Path, kind: str, options: argparse.Namespace) -> list[int]:
    """Real tokens of each step of ours: both sides of a pair."""
    shown = json.loads((folder / "shown.json").read_bytes())
    sides = ("chosen", "rejected") if kind == "dpo" else ("chosen",)
    counts = [sum(len(row["prompt"]) + len(row[side]) for side in sides) for row in shown]
    size = options.batch
    return [sum(counts[step * size : (step + 1) * size]) for step in range(options.steps)]


def speed(facts: Facts, clock: str, more: float = 0.0) -> float:
    """Tokens a second after the first two steps; ``more`` seconds are added to them."""
    times = facts["seconds" if clock == "wall" else "cpu_seconds"][1:]
    return float(sum(facts["tokens"][2 : 2 + len(times)]) / (sum(times) + more))


def rows_of(
    runs: list[Facts], precision: str, seconds: tuple[float, float], options: argparse.Namespace
) -> tuple[list[Row], list[str]]:
    middle, clock = statistics.median, options.clock
    unit = "tokens/s" if clock == "wall" else "tokens/CPU s"
    rows, notes = [], []
    for kind in options.kinds.split(","):
        of = {
            who: [
                f for f in runs
                if (f["who"], f["kind"], f["precision"]) == (who, kind, precision)
            ]
            for who in ("ours", "trl")
        }  # fmt: skip
        name, goal = f"{precision} {kind}", SPEED_GOALS[precision]
        goal = DPO_GOAL if kind == "dpo" else goal
        ours, theirs = (middle(speed(f, clock) for f in of[who]) for who in of)
        rows.append(Row(f"{name}: speed", unit, ours, theirs, TRL, goal, True))
        if kind == "dpo":
            # The pairs of the timed steps are that share of all pairs.
            shown = (options.steps - 2) * options.batch
            more = seconds[clock == "cpu"] * shown / options.examples
            once = middle(speed(f, clock, more) for f in of["ours"])
            rows.append(Row(f"{name}, one epoch: speed", unit, once, theirs, TRL, goal, True))
        memory = [middle(f["peak_mb"] for f in of[who]) for who in of]
        rows.append(Row(f"{name}: peak memory", "MB", *memory, TRL, MEMORY_GOAL))
        if kind in ("sft", "dpo"):
            pairs = zip(of["ours"][0]["losses"], of["trl"][0]["losses"], strict=True)
            far = max(abs(a - b) for a, b in pairs)
            rows.append(Row(f"{name}: largest difference of a loss", "nats", far, 1e-3, TRL, 1))
        for who, found in of.items():
            above = middle(f["peak_mb"] - f["imported_mb"] for f in found)
            notes.append(
                f"  {name} {who}: {middle(speed(f, clock) for f in found):.0f} {unit}, losses"
                f" {found[0]['losses'][0]:.4f} to {found[0]['losses'][-1]:.4f},"
                f" {above:.0f} MB above imports, load {min(f['load'] for f in found):.1f} to"
                f" {max(f['load'] for f in found):.1f}"
            )
    return rows, notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side, in turns")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8, help="examples, or pairs, in a step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--precisions", default=",".join(SPEED_GOALS))
    parser.add_argument("--python", default="", help="a Python with TRL and PEFT, ready-made")
    options = parser.parse_args()
    if options.steps * options.batch > options.examples:
        parser.error("--examples: fewer than --steps times --batch")
    for place in (WORK, EXECUTED):
        place.mkdir(parents=True, exist_ok=True)
    folder = material(options.examples)
    seconds = reference(folder, options.threads) if "dpo" in options.kinds else (0.0, 0.0)
    runs: list[Facts] = []
    rows, notes = [], [f"reference of {options.examples} pairs: {seconds[0]:.1f} s"]
    for precision in options.precisions.split(","):
        for kind in options.kinds.split(","):
            for number in range(options.rounds):
                for who in ("ours", "trl") if number % 2 == 0 else ("trl", "ours"):
                    facts = run(who, kind, precision, folder, options)
                    runs.append(facts)
                    (BUILD / "tune-runs.json").write_text(json.dumps(runs))
                    print(
                        f"  {number + 1}/{options.rounds} {precision} {kind} {who}:"
                        f" {speed(facts, 'wall'):.0f} tokens/s,"
                        f" {speed(facts, 'cpu'):.0f} tokens/CPU s, {facts['peak_mb']:.0f} MB,"
                        f" load {facts['load']:.1f}",
                        file=sys.stderr,
                    )
        found, told = rows_of(runs, precision, seconds, options)
        rows += found
        notes += told
    notes.append(f"clock: {options.clock}; load {os.getloadavg()[0]:.1f} at the end")
    finish("tune", rows, "\n".join(notes))


if __name__ == "__main__":
    main()
