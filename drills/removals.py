"""Kills of removals at random moments: one that was killed and resumed ends with the same bytes.

A small folder is made once, with a release in it. Each trial takes a copy, begins the removal of a
document, and sends SIGKILL at a random moment between the plan's appearance and the time that a
whole removal took from there; then resumes it, or begins it again if it was killed before its plan
was kept. What must hold: every file but the log is that of a removal that nothing killed, the log
says the same but for the time, and nothing is left beside.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

from small import call, command, environment, write_small

PENDING, LOG = ".removal.json", "removals.jsonl"
TICK = 0.002  # seconds between two looks for the plan
ASKED = ("--id", "made/7", "--reason", "as asked")


def drill(folder: Path, trials: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Counts by where the strike fell, and what did not hold, in words."""
    recipe = write_small(folder)
    start, whole = folder / "start", folder / "whole"
    made = call("run", str(recipe), "--out", str(start))
    assert made.returncode == 0, made.stderr[-2000:]
    released = call("release", str(start / "text@1"), "--out", str(start / "published/text"))
    assert released.returncode == 0, released.stderr[-2000:]
    shutil.copytree(start, whole)
    seconds, _ = _strike(whole, None)
    wanted = _contents(whole)
    chosen = random.Random(seed)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for trial in range(trials):
        out = folder / f"cut-{trial}"
        shutil.copytree(start, out)
        delay = chosen.uniform(0, seconds)
        _, fell = _strike(out, delay)
        counts[f"strikes {fell}"] += 1
        words = ASKED if fell == "before the plan" else ("--resume",)
        where = f"trial {trial}, {fell} after {delay:.3f} s"
        if fell != "after the end":
            ended = call("corpus", "remove", str(out), *words)
            if ended.returncode:
                faults.append(f"{where}: the next call ends with {ended.returncode}")
                counts["trials that did not hold"] += 1
                counts["trials"] += 1
                continue
        found = _contents(out)
        if found != wanted:
            names = sorted(
                name for name in {*found, *wanted} if found.get(name) != wanted.get(name)
            )
            faults.append(f"{where}: {', '.join(names[:6])} differ")
            counts["trials that did not hold"] += 1
        counts["trials"] += 1
        shutil.rmtree(out)
    return counts, faults


def _strike(out: Path, delay: float | None) -> tuple[float, str]:
    """A removal, killed ``delay`` seconds after its plan is there; its seconds from there on."""
    process = subprocess.Popen(
        command("corpus", "remove", str(out), *ASKED), stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env=environment(), start_new_session=True,
    )  # fmt: skip
    while not (out / PENDING).exists() and process.poll() is None:
        time.sleep(TICK)
    began = time.perf_counter()
    if delay is None:
        assert process.wait() == 0
        return time.perf_counter() - began, ""
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    process.wait()
    seconds = time.perf_counter() - began
    if (out / PENDING).exists():
        return seconds, "inside the removal"
    return seconds, "after the end" if (out / LOG).exists() else "before the plan"


def _contents(out: Path) -> dict[str, str]:
    """Each file below a folder by its digest; of the log, what it says but for the time."""
    found = {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }
    if LOG in found:
        entries = [json.loads(line) for line in (out / LOG).read_text().splitlines()]
        found[LOG] = json.dumps([entry | {"date": ""} for entry in entries], sort_keys=True)
    return found
