"""Making a model lighter beside llm-compressor and mergekit: ``nox -s bench -- adapt``.

SmolLM2-135M-Instruct in bf16 (269 MB in one file). ``quantise``: 4-bit integers rounded to the
nearest, 32 weights to a scale. ``prune``: half of the weights of each row by Wanda, from the same
windows of ids. ``merge``: the mean of two models, the second being the first with a little noise.
Every run is a process of its own, in turns (ours, theirs, theirs, ours), on the threads given.

Times are those from the folder read to the folder written, without imports, the medians of the
runs; ``--clock cpu`` takes seconds of CPU, which other work on the machine disturbs least. Peak
memory is that of the whole process, imports included; the goal of it is under two tensor files.
The windows are of random ids: what is measured does not depend on what they say. Runs are in
``build/bench/adapt-runs.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from eval import LM_EVAL, write_model
from peers import environment
from tables import BUILD, Row, finish
from train import CONSTRAINTS, execute
from train import WORK as EXECUTED

PEERS_FOLDER = Path(__file__).parent / "adapt_peers"
WORK = BUILD / "adapt-work"
NAMES = {"llm-compressor": "llm-compressor 0.14.0.1", "mergekit": "mergekit 0.1.5"}
INSTALLS = {
    "llm-compressor": (("torch==2.13.0", *CONSTRAINTS), ("llmcompressor==0.14.0.1",)),
    "mergekit": (("torch==2.13.0", *CONSTRAINTS), ("mergekit==0.1.5",)),
}
KINDS = {"quantise": "llm-compressor", "prune": "llm-compressor", "merge": "mergekit"}
FILES_GOAL = 2.0  # tensor files that the peak of memory stays under
# Why a goal is missed, where it is known.
WHY = {
    "prune: peak memory": "Wanda runs text through the model, which is held in fp32: two files"
    " before anything else",
}
Facts = dict[str, Any]


def material(model: Path, options: argparse.Namespace) -> Path:
    """The model, another of its shape, and windows of ids: as a tokens artifact and as an array."""
    folder = WORK / f"{options.samples}x{options.length}"
    if not (folder / "ids.npy").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        words = [model, folder, options.samples, options.length]
        script = PEERS_FOLDER / "material.py"
        subprocess.run([sys.executable, script, *map(str, words)], check=True)
    return folder


def run(who: str, kind: str, folder: Path, options: argparse.Namespace) -> Facts:
    out = WORK / "out"
    shutil.rmtree(out, ignore_errors=True)
    load = os.getloadavg()[0]
    peer = KINDS[kind]
    script, python = "ours.py", sys.executable
    if who != "ours":
        script = f"{peer.replace('-', '_')}.py"
        python = options.python or str(environment(peer, INSTALLS[peer]))
    words = [kind, folder, out, options.threads]
    facts = execute([python, PEERS_FOLDER / script, *words], options.threads)
    weights = sum(path.stat().st_size for path in out.rglob("*.safetensors"))
    shutil.rmtree(out)
    return {"who": who, "kind": kind, "load": load, "out_mb": weights / 2**20, **facts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side, in turns")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--samples", type=int, default=8, help="windows that Wanda reads")
    parser.add_argument("--length", type=int, default=128, help="ids of a window")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--python", default="", help="a Python with both peers, ready-made")
    parser.add_argument("--model", type=Path, help="a folder of the model [made of its package]")
    options = parser.parse_args()
    for place in (WORK, EXECUTED):
        place.mkdir(parents=True, exist_ok=True)
    model = options.model or write_model(environment("lm-eval", LM_EVAL))
    folder = material(model.resolve(), options)
    file_mb = (folder / "one" / "model.safetensors").stat().st_size / 2**20
    runs: list[Facts] = []
    rows, notes = [], [f"one tensor file: {file_mb:.0f} MB"]
    for kind in options.kinds.split(","):
        peer = KINDS[kind]
        for number in range(options.rounds):
            for who in ("ours", peer) if number % 2 == 0 else (peer, "ours"):
                facts = run(who, kind, folder, options)
                runs.append(facts)
                (BUILD / "adapt-runs.json").write_text(json.dumps(runs))
                print(
                    f"  {number + 1}/{options.rounds} {kind} {who}: {facts['seconds']:.1f} s,"
                    f" {facts['cpu_seconds']:.1f} CPU s, {facts['peak_mb']:.0f} MB (imports"
                    f" {facts['imported_mb']:.0f}), load {facts['load']:.1f}",
                    file=sys.stderr,
                )
        of = {w: [f for f in runs if (f["who"], f["kind"]) == (w, kind)] for w in ("ours", peer)}

        def middle(who: str, key: str, of: dict[str, list[Facts]] = of) -> float:
            return statistics.median(f[key] for f in of[who])

        key, unit = ("seconds", "s") if options.clock == "wall" else ("cpu_seconds", "CPU s")
        name = NAMES[peer]
        rows.append(Row(f"{kind}: time", unit, middle("ours", key), middle(peer, key), name, 1.0))
        peaks = middle("ours", "peak_mb"), middle(peer, "peak_mb")
        rows.append(Row(f"{kind}: peak memory", "MB", *peaks, name, 1.0))
        limit = FILES_GOAL * file_mb
        rows.append(Row(f"{kind}: peak memory", "MB", peaks[0], limit, "two tensor files", 1.0))
        for who in of:
            notes.append(
                f"  {kind} {who}: imports {middle(who, 'import_seconds'):.1f} s and"
                f" {middle(who, 'imported_mb'):.0f} MB; {middle(who, 'out_mb'):.0f} MB written"
            )
    missed = dict.fromkeys(row.name for row in rows if not row.holds)
    notes += [f"  {name} is missed: {WHY.get(name, 'not looked into')}" for name in missed]
    notes.append(f"clock: {options.clock}; load {os.getloadavg()[0]:.1f} at the end")
    finish("adapt", rows, "\n".join(notes))


if __name__ == "__main__":
    main()
