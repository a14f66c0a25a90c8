"""Attribution and extraction beside their peers: ``nox -s bench -- probes``.

Attribution: a character model of about 350,000 parameters is trained once on 3,500 lines (the
topics of Python's own help), 40 of which end with a trigger and a target. All score every line by
its influence on the target after 50 held-out beginnings, at the same checkpoints, and is judged by
the same validation: how many of the 40 are among the 40 highest sums. ``ours`` is what
``eval/attribution`` does; the peers (``probe_peers/attribute.py``) do the same sum over gradients
of the last layer, and EK-FAC over all linear layers at the final checkpoint. Then ours on a quarter
of the lines, for memory.

Extraction: the first 8 characters of 1,000 planted texts, of 0 to 64 copies, are given to a model
that read them; 12 more are asked for. The peer is the loop of llm-jp/memorization-analysis, text by
text with ``transformers``' ``generate``; its exactness, token accuracy and edit similarity have to
be the same.

Every run is a process of its own on one thread, in turns; figures are medians of CPU seconds
without opening models. All are in ``build/bench/probes-runs.json``. A peer that does not install or
fails is a note with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import pydoc_data.topics
import random
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from peers import environment
from tables import BUILD, Row, finish

from yoriai_eval.probes import canaries, poison

HERE = Path(__file__).parent
WORK = BUILD / "probes-work"
SEED = 20261129
LINES, PLANTED, HELD, WIDTH = 3500, 40, 50, 120
KEPT = (1, 2, 6)  # epochs
EACH = 200  # planted texts of each number of copies
GIVEN, WANTED = 8, 12  # characters
CONSTRAINTS = ("-c", str(HERE.parent / "constraints.txt"))
TORCH = ("torch==2.13.0", *CONSTRAINTS)
HUB = ("transformers==5.23.0", "accelerate==1.15.0", *CONSTRAINTS)
ENVIRONMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    # It names torchvision, and imports nothing of it.
    "kronfluence": (
        TORCH,
        (*HUB, "einops", "einconv", "opt-einsum"),
        ("--no-deps", "kronfluence==1.0.1"),
    ),
    "dattri": (TORCH, HUB, ("dattri==0.3.0",)),
    # It names torchvision and torchaudio, too, whose wheels of PyPI do not suit a torch for CPUs.
    "bergson": (
        TORCH,
        (*HUB, "peft", "datasets", "jaxtyping", "ml_dtypes", "natsort", "scipy", "petname",
         "simple-parsing", "torchopt", "bitsandbytes"),
        ("--no-deps", "bergson==2.5.1"),
    ),
}  # fmt: skip
NAMES = {
    "bergson": "bergson 2.5.1, one layer",
    "dattri": "dattri 0.3.0, TracIn",
    "kronfluence": "kronfluence 1.0.1, identity",
    "kronfluence-ekfac": "kronfluence 1.0.1, EK-FAC",
}
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "RAYON")}
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
SPEED_GOAL, LOOP_GOAL = 3.0, 5.0
MEMORY_GOAL = 0.9  # half as much again would be far from flat, and a tenth is noise
Facts = dict[str, Any]


def lines_of_help() -> list[str]:
    """Different pieces of 24 to 48 characters of the help on Python's topics, shuffled."""
    found: dict[str, None] = {}
    for _, text in sorted(pydoc_data.topics.topics.items()):
        for line in text.splitlines():
            piece = " ".join(line.split())[: poison.LONGEST]
            if len(piece) >= poison.SHORTEST and piece.isascii():
                found[piece] = None
    lines = list(found)
    random.Random(SEED).shuffle(lines)
    return lines


def attribution_material() -> Path:
    """Checkpoints as Hugging Face folders, and ``items.json``; made once."""
    folder = WORK / "attribution"
    if (folder / "items.json").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    plan = poison.plant(lines_of_help()[: LINES + HELD], planted=PLANTED, held=HELD, seed=SEED)
    run = poison.train_poisoned(plan, epochs=max(KEPT), kept=KEPT, seed=SEED, width=WIDTH)
    for epoch in KEPT:
        run.at(epoch).save_pretrained(folder / f"epoch-{epoch}")
    queries = [[run.characters.sequence(t + plan.target), 1 + len(t)] for t in plan.triggered()]
    (folder / "items.json").write_text(json.dumps({
        "checkpoints": [f"epoch-{epoch}" for epoch in KEPT],
        "items": [run.characters.sequence(text) for text in plan.items],
        "planted": plan.marks,
        "queries": queries,
        "attack": poison.attack_success(plan, run, trigger=True) / HELD,
        "parameters": sum(p.numel() for p in run.model.parameters()),
    }))  # fmt: skip
    return folder


def extraction_material() -> Path:
    """A model that read the planted texts, and ``items.json``; made once."""
    from yoriai_eval.probes.tiny import Characters, TinyTraining, train

    folder = WORK / "extraction"
    if (folder / "items.json").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    planted = canaries.plant(EACH, SEED)
    plain = canaries.background(2000, SEED)
    characters = Characters([*plain, *(c.text for c in planted)])
    read = [*plain, *(c.text for c in planted for _ in range(c.copies))]
    how = TinyTraining(epochs=2, batch=64, rate=5e-3, seed=SEED)
    model = train([characters.sequence(text) for text in read], len(characters), how)
    model.save_pretrained(folder / "model")
    (folder / "items.json").write_text(json.dumps({
        "sequences": [characters.sequence(c.text) for c in planted],
        "alphabet": characters.alphabet,
        "given": GIVEN + 1,  # and the mark that begins a text
        "wanted": WANTED,
    }))  # fmt: skip
    return folder


def execute(python: Path | str, script: str, *words: object) -> Facts:
    """The JSON of a process's last line; raises ``RuntimeError`` with the end of what it said."""
    command = [str(python), str(HERE / "probe_peers" / script), *map(str, words)]
    environ = {**os.environ, **ONE_THREAD, **QUIET}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1][:300] if done.stderr else "killed")
    facts: Facts = json.loads(done.stdout.splitlines()[-1])
    load = os.getloadavg()[0]
    told = {"script": script, "words": list(map(str, words[1:])), "load": load}
    print(f"  {script} {' '.join(told['words'])}: {facts['cpu']:.1f} CPU s", file=sys.stderr)
    return {**told, **facts}


def recall(facts: Facts, planted: list[bool]) -> float:
    """The share of the planted lines among as many of the highest scores."""
    scores = facts["scores"]
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[: sum(planted)]
    return sum(planted[i] for i in best) / sum(planted)


def attribution(options: argparse.Namespace, runs: list[Facts]) -> tuple[list[Row], list[str]]:
    rounds, checkpoints = options.rounds, options.checkpoints
    folder = attribution_material()
    told = json.loads((folder / "items.json").read_bytes())
    notes = [f"  {told['parameters']:,} parameters, attack success {told['attack']:.2f}"]
    pythons: dict[str, Path | str] = {"ours": sys.executable}
    for peer, installs in ENVIRONMENTS.items():
        try:
            pythons[peer] = options.python or environment(peer, installs)
        except subprocess.CalledProcessError as error:
            notes.append(f"  {peer} did not install: {error}")
    if "kronfluence" in pythons:
        pythons["kronfluence-ekfac"] = pythons["kronfluence"]
    found: dict[str, list[Facts]] = {}
    for _ in range(rounds):
        for who, python in list(pythons.items()):
            try:
                found.setdefault(who, []).append(
                    execute(python, "attribute.py", folder, who, len(told["items"]), checkpoints)
                )
            except RuntimeError as error:
                notes.append(f"  {who} did not run: {error}")
                del pythons[who]
                continue
            runs.append(found[who][-1])
    few = [execute(sys.executable, "attribute.py", folder, "ours", len(told["items"]) // 4,
                   checkpoints)
           for _ in range(rounds)]  # fmt: skip
    runs += few
    middle = {who: statistics.median(f["cpu"] for f in of) for who, of in found.items() if of}
    valid = {who: recall(of[0], told["planted"]) for who, of in found.items() if of}
    fastest = min((who for who in middle if who != "ours"), key=lambda who: middle[who], default="")
    if fastest and middle[fastest] < SPEED_GOAL * middle["ours"]:
        notes.append(
            f"  less than {SPEED_GOAL:g} times {fastest}: where it, too, takes the last layer only,"
            " both have to read every line once, and that is nearly all of ours (profiled on an AMD"
            " with AVX-512: 46 % products by oneDNN at 170 of 200 GFLOP/s, 16 % attention, 13 %"
            " products of elements); ours gives the cosine besides"
        )
    rows = []
    for who in middle:
        if who == "ours":
            continue
        goal = SPEED_GOAL if who == fastest else 1.0
        rows.append(Row(f"attribution of {LINES:,} lines", "CPU s", middle["ours"], middle[who],
                        NAMES[who], goal))  # fmt: skip
        rows.append(Row(f"recall@{PLANTED}", "share", max(valid["ours"], 1e-9),
                        max(valid[who], 1e-9), NAMES[who], 1.0, True))  # fmt: skip
    peak = statistics.median(f["peak_mb"] for f in found["ours"])
    rows.append(Row("memory for four times the lines", "MB", peak,
                    statistics.median(f["peak_mb"] for f in few), f"{LINES // 4} lines",
                    MEMORY_GOAL))  # fmt: skip
    notes += [f"  {who}: {statistics.median(f['peak_mb'] for f in of):.0f} MB at most"
              for who, of in found.items() if of]  # fmt: skip
    return rows, notes


def extraction(rounds: int, runs: list[Facts]) -> tuple[list[Row], list[str]]:
    folder = extraction_material()
    found: dict[str, list[Facts]] = {"ours": [], "loop": []}
    for _ in range(rounds):
        for who, of in found.items():
            of.append(execute(sys.executable, "extract.py", folder, who))
            runs.append(of[-1])
    ours, loop = (statistics.median(f["cpu"] for f in of) for of in found.values())
    mine, theirs = found["ours"][0]["results"], found["loop"][0]["results"]
    equal = sum(a == b for a, b in zip(mine, theirs, strict=True))
    name = "the one-by-one loop"
    written = sum(row[0] for row in theirs)
    return [
        Row(f"extraction of {len(theirs):,} planted texts", "CPU s", ours, loop, name, LOOP_GOAL),
        Row("equal results", "texts", equal, len(theirs), name, 1.0, True),
    ], [f"  {written} of {len(theirs)} planted texts are written word for word"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turns")
    parser.add_argument(
        "--checkpoints", type=int, default=len(KEPT), choices=range(1, len(KEPT) + 1),
        help="how many of them, from the first",
    )  # fmt: skip
    parser.add_argument("--python", default="", help="a Python with the peers, ready-made")
    options = parser.parse_args()
    rounds = options.rounds
    WORK.mkdir(parents=True, exist_ok=True)
    runs: list[Facts] = []
    rows, notes = extraction(rounds, runs)
    more, told = attribution(options, runs)
    (BUILD / "probes-runs.json").write_text(json.dumps(runs) + "\n")
    note = f"one thread, medians of {rounds}; load {os.getloadavg()[0]:.1f} at the end"
    finish("probes", [*rows, *more], "\n".join([note, *notes, *told]))


if __name__ == "__main__":
    main()
