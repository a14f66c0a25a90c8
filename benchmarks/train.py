"""Pre-training beside litgpt and Hugging Face's Trainer: ``nox -s bench -- train``.

The same model (Llama shape, 23 million parameters, 16,000 pieces, sequences of 512, tied), the
same weights at the start, the same batches, the same AdamW, the same number of threads. Every run
is a process of its own, in turns (ours, peer, peer, ours, …). In the first round every loss of
``--steps`` steps is compared. Speeds are tokens a second: of the median step of each run but its
first two, and the median of the runs; ``--clock cpu`` takes seconds of CPU, which is what other
work on the machine disturbs least. Both are in ``build/bench/train-runs.json``.

Peers (``train_peers``): ``litgpt.pretrain`` as it is, which compiles the model, and
``transformers.Trainer`` by its defaults and with ``torch_compile``. Ratios are against the best
of each peer's settings.
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

from yoriai_train.plan.decoder import Shape

HERE = Path(__file__).parent
PEERS_FOLDER = HERE / "train_peers"
WORK = BUILD / "train-work"
CONTEXT, RATE = 512, 1e-3
CONSTRAINTS = ("-c", str(HERE.parent / "constraints.txt"))
# litgpt asks for an older huggingface-hub than transformers 5 does: each has its environment.
ENVIRONMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "litgpt": (("torch==2.13.0", *CONSTRAINTS), ("litgpt==0.5.13", "torch==2.13.0", "numpy")),
    "trainer": (
        ("torch==2.13.0", *CONSTRAINTS),
        ("transformers==5.23.0", "accelerate==1.15.0", *CONSTRAINTS),
    ),
}
NAMES = {
    "ours": "ours, as it comes",
    "ours-compiled": "ours, compile: true",
    "litgpt": "litgpt 0.5.13",
    "trainer": "Trainer, transformers 5.23",
    "trainer-compiled": "Trainer, torch_compile",
}
SPEED_GOAL, PEAK_GOAL, MEMORY_GOAL = 1.3, 0.75, 1 / 0.7
Facts = dict[str, Any]


def material(steps: int, batch: int) -> Path:
    """Shards, batches and weights for all runners; made once."""
    folder = WORK / f"{steps}x{batch}"
    if not (folder / "config.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        script = PEERS_FOLDER / "material.py"
        subprocess.run([sys.executable, script, folder, str(steps), str(batch)], check=True)
    return folder


def spec_of(folder: Path, steps: int, options: argparse.Namespace, **changes: Any) -> Path:
    """The specification that a rank of ours reads."""
    scratch = WORK / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    config = json.loads((folder / "config.json").read_bytes())
    value = {
        "strategy_class": "yoriai_train.settings.strategies:Single",
        "strategy": {},
        "start": str(folder / "model"),
        "tokens": str(folder / "tokens"),
        "out": str(scratch / "out"),
        "scratch": str(scratch),
        "steps": steps,
        "batch": options.batch,
        "context": CONTEXT,
        "schedule": {"kind": "constant", "peak": RATE, "warmup_steps": 0},
        "optimizer": {"weight_decay": 0.0},
        "checkpoint": {"every_steps": 10**9},
        "flops_per_token": Shape.of(config).flops_per_token(CONTEXT),
        "seed": 1,
        **changes,
    }
    path = scratch / "spec.json"
    path.write_text(json.dumps(value))
    return path


def run(who: str, folder: Path, steps: int, precision: str, options: argparse.Namespace) -> Facts:
    threads = str(options.threads)
    words = [folder, str(steps), str(options.batch), precision, threads, str(RATE)]
    if who.startswith("ours"):
        compiled = who.endswith("compiled")
        spec = spec_of(folder, steps, options, precision=precision, compile=compiled)
        command = [sys.executable, PEERS_FOLDER / "ours.py", spec, threads]
    elif who == "litgpt":
        python = options.python or environment("litgpt", ENVIRONMENTS["litgpt"])
        command = [python, PEERS_FOLDER / "litgpt_pretrain.py", *words]
    else:
        python = options.python or environment("trainer", ENVIRONMENTS["trainer"])
        compiled = "1" if who.endswith("compiled") else "0"
        command = [python, PEERS_FOLDER / "huggingface_trainer.py", *words, compiled]
    load = os.getloadavg()[0]
    return {"who": who, "precision": precision, "load": load, **execute(command, options.threads)}


def execute(command: list[Any], threads: int) -> Facts:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    env |= {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "MKL", "OPENBLAS")}
    done = subprocess.run(
        list(map(str, command)), env=env, capture_output=True, text=True, check=False, cwd=WORK
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr[-3000:]}")
    facts: Facts = json.loads(done.stdout.splitlines()[-1])
    return facts


def speed(facts: Facts, batch: int, clock: str) -> float:
    """Tokens a second of the median step; the first two (one in ``seconds``) warm up."""
    times = facts["seconds" if clock == "wall" else "cpu_seconds"][1:]
    return batch * CONTEXT / statistics.median(times)


def parallel_run(strategy: str, folder: Path, options: argparse.Namespace) -> Facts:
    """Ours on two processes, one thread each."""
    spec = spec_of(
        folder, options.short, options,
        strategy_class=f"yoriai_train.settings.strategies:{strategy}", strategy={"processes": 2},
    )  # fmt: skip
    from yoriai_train.job import ranks
    from yoriai_train.settings import strategies

    words = [str(PEERS_FOLDER / "ours.py"), str(spec), "1"]
    command = ranks.command(getattr(strategies, strategy)(processes=2), words)
    os.environ.update(ranks.environment())
    return {"who": strategy, "precision": "32-true", **execute(command, 1)}


def table_rows(
    precision: str, runs: list[Facts], options: argparse.Namespace, peaks: dict[str, float]
) -> tuple[list[Row], list[str]]:
    of = {
        who: [facts for facts in runs if facts["who"] == who and facts["precision"] == precision]
        for who in NAMES
    }
    of = {who: found for who, found in of.items() if found}
    middle = statistics.median
    speeds = {
        who: middle(speed(f, options.batch, options.clock) for f in found)
        for who, found in of.items()
    }
    memory = {who: middle(f["peak_mb"] for f in found) for who, found in of.items()}
    above = {
        who: middle(f["peak_mb"] - f["imported_mb"] for f in found) for who, found in of.items()
    }
    both = [who for who in of if who.startswith("ours")]
    ours, leanest = max(both, key=lambda who: speeds[who]), min(both, key=lambda who: memory[who])
    peers = [["litgpt"], ["trainer", "trainer-compiled"]]
    unit = "tokens/s" if options.clock == "wall" else "tokens/CPU s"
    rows = []
    for group in peers:
        present = [who for who in group if who in of]
        if not present:
            continue
        best = max(present, key=lambda who: speeds[who])
        lean = min(present, key=lambda who: memory[who])
        name = f"{precision}: "
        rows += [
            Row(f"{name}speed ({ours})", unit, speeds[ours], speeds[best], NAMES[best],
                SPEED_GOAL, True),
            Row(f"{name}peak memory ({leanest})", "MB", memory[leanest], memory[lean],
                NAMES[lean], MEMORY_GOAL),
            Row(f"{name}the same above imports", "MB", above[leanest], above[lean],
                NAMES[lean], MEMORY_GOAL),
        ]  # fmt: skip
        for who in present:
            pairs = zip(of[ours][0]["losses"], of[who][0]["losses"], strict=False)
            far = max(abs(a - b) for a, b in pairs)
            rows.append(
                Row(f"{name}largest difference of a loss", "nats", far, 1e-3, NAMES[who], 1)
            )
    config = json.loads((material(options.steps, options.batch) / "config.json").read_bytes())
    flops = Shape.of(config).flops_per_token(CONTEXT)
    notes_of_peaks: list[str] = []
    for what, peak in peaks.items():
        notes_of_peaks.append(f"  {what}: {peak / 1e9:.0f} GFLOP/s")
        rows.append(
            Row(f"{precision}: share of the GEMM peak", "MFU", speeds[ours] * flops / peak,
                1.0, what, PEAK_GOAL, True)
        )  # fmt: skip
    notes = [f"{precision}:", *notes_of_peaks]
    outside = middle(f["outside"] for f in of[ours])
    rows.append(Row(f"{precision}: time outside the step", "share", outside, 0.02, "the goal", 1))
    for who, found in of.items():
        stages = {name: middle(f["stages"][name] for f in found) for name in found[0]["stages"]}
        told = ", ".join(f"{name} {value:.1f}" for name, value in stages.items())
        notes.append(
            f"  {NAMES[who]}: {speeds[who]:.0f} {unit}, {memory[who]:.0f} MB"
            f" ({above[who]:.0f} above imports), last loss {found[0]['losses'][-1]:.4f};"
            f" to the first step {sum(stages.values()):.1f} s: {told}"
        )
    return rows, notes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side, in turns")
    parser.add_argument("--steps", type=int, default=50, help="steps of the first round")
    parser.add_argument("--short", type=int, default=8, help="steps of the rounds after it")
    parser.add_argument("--batch", type=int, default=4, help="sequences in a step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--precisions", default="32-true,bf16-mixed")
    parser.add_argument("--who", default=",".join(NAMES), help="runners")
    parser.add_argument("--python", default="", help="one Python for all peers, ready-made")
    parser.add_argument("--no-parallel", action="store_true", help="leave out two processes")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    folder = material(options.steps, options.batch)
    runs: list[Facts] = []
    rows, notes = [], []
    for precision in options.precisions.split(","):
        for number in range(options.rounds):
            steps = options.short if number else options.steps
            for who in options.who.split(","):
                facts = run(who, folder, steps, precision, options)
                runs.append(facts)
                (BUILD / "train-runs.json").write_text(json.dumps(runs))
                print(
                    f"  {number + 1}/{options.rounds} {precision} {who}:"
                    f" {speed(facts, options.batch, 'wall'):.0f} tokens/s,"
                    f" {speed(facts, options.batch, 'cpu'):.0f} tokens/CPU s,"
                    f" {facts['peak_mb']:.0f} MB, load {facts['load']:.1f}",
                    file=sys.stderr,
                )
        found, told = table_rows(precision, runs, options, peaks_of(precision, options))
        rows += found
        notes += told
    if not options.no_parallel:
        pair = {who: parallel_run(who, folder, options) for who in ("DDP", "DeepSpeed1")}
        ddp, zero = (speed(pair[who], options.batch, options.clock) for who in pair)
        notes.append(
            f"two processes: DDP {ddp:.0f}, ZeRO-1 {zero:.0f} tokens/s: ZeRO-1 takes"
            f" {ddp / zero - 1:+.0%} of time"
        )
        runs += pair.values()
        (BUILD / "train-runs.json").write_text(json.dumps(runs))
    notes.append(f"clock: {options.clock}; load {os.getloadavg()[0]:.1f} at the end")
    finish("train", rows, "\n".join(notes))


def peaks_of(precision: str, options: argparse.Namespace) -> dict[str, float]:
    """FLOP/s of matrix products: as torch does them, and by oneDNN, large and at the model's sizes.

    The model's sizes are those of a layer's three kinds of matrices, by their FLOPs.
    """
    import torch

    from yoriai_train.model import cpu_products

    torch.set_num_threads(options.threads)
    fp32 = precision.startswith("32")
    dtype = torch.float32 if fp32 else torch.bfloat16
    rows = options.batch * CONTEXT
    sizes = [(rows, 384, 4 * 384), (rows, 384, 2 * 960), (rows, 960, 384), (524, 384, 16_000)]

    def rate(product: Any, shapes: list[tuple[int, int, int]]) -> float:
        flops = seconds = 0.0
        for n, k, m in shapes:
            a, b = torch.ones((n, k), dtype=dtype), torch.ones((m, k), dtype=dtype)
            times = []
            for _ in range(20):
                start = time.process_time() if options.clock == "cpu" else time.perf_counter()
                product(a, b)
                end = time.process_time() if options.clock == "cpu" else time.perf_counter()
                times.append(end - start)
            flops, seconds = flops + 2.0 * n * k * m, seconds + min(times)
        return flops / seconds

    def plain(a: Any, b: Any) -> Any:
        return a @ b.T

    large = [(1024, 1024, 1024)]
    peaks = {"torch.mm, 1024": rate(plain, large), "torch.mm, its sizes": rate(plain, sizes)}
    if fp32 and cpu_products.ONEDNN:
        peaks |= {
            "oneDNN, 1024": rate(cpu_products.product, large),
            "oneDNN, its sizes": rate(cpu_products.product, sizes),
        }
    return peaks


if __name__ == "__main__":
    main()
