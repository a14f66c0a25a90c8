"""Drills: attack the program at random and count what held. ``nox -s drills [-- short]``.

A number instead of ``short`` is how many percent of the full drills are done: ``-- 25``. The seed
is printed, so that a drill can be repeated: ``nox -s drills -- full 12345``. The file
``build/drills/counts.json`` holds the counts, the date and the commit; the safety page repeats
them. Exit code 1 if anything did not hold. Code that has uncommitted changes, or that changes while
the drills run, is told (``clean``, ``changed_under_way``): such counts belong to no commit.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import disk
import families
import flips
import kills
import readers
import removals
import secrets_kept

import plugins
import recipes

ROOT = Path(__file__).resolve().parent.parent
Counts = dict[str, dict[str, int]]
Drill = Callable[[Path, int, int], tuple[Counter[str], list[str]]]
# Trials of the short form (a minute on two free cores) and the full one.
DRILLS: dict[str, tuple[Drill, int, int]] = {
    "recipes": (recipes.drill, 150, 2000),
    "readers": (readers.drill, 4, 300),
    "plugins": (plugins.drill, 10, 200),
    "secrets": (secrets_kept.drill, 9, 90),
    "families": (families.drill, 3, 200),
    "flips": (flips.drill, 1, 20),
    "disk": (disk.drill, 2, 40),
    "kills": (kills.drill, 2, 40),
    "removals": (removals.drill, 1, 200),
}


def run_drills(
    folder: Path, percent: float, seed: int
) -> tuple[dict[str, dict[str, int]], list[str]]:
    """Counts by drill, and all that did not hold. 0 percent: the short form."""
    counts: Counts = {}
    faults: list[str] = []
    for name, (drill, few, many) in DRILLS.items():
        began = time.perf_counter()
        trials = max(few, round(many * percent / 100))
        found, wrong = drill(folder / name, trials, seed)
        counts[name] = dict(sorted(found.items()))
        faults += [f"{name}: {line}" for line in wrong]
        print(f"{name} ({time.perf_counter() - began:.0f} s): {len(wrong)} did not hold")
        for what, number in counts[name].items():
            print(f"  {number:6}  {what}")
        for line in wrong[:20]:
            print(f"  DID NOT HOLD  {line}")
    return counts, faults


def state_of_code() -> tuple[str, str]:
    """The commit, and a digest of what is not committed ("": nothing)."""

    def git(*words: str) -> bytes:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=True).stdout

    changes = git("status", "--porcelain") + git("diff", "HEAD")
    commit = git("rev-parse", "--short", "HEAD").decode().strip()
    return commit, hashlib.sha256(changes).hexdigest()[:12] if changes else ""


def main() -> None:
    words = sys.argv[1:]
    asked = words[0] if words else "full"
    percent = {"short": 0.0, "full": 100.0}.get(asked) if asked.isalpha() else float(asked)
    if percent is None or not 0 <= percent <= 100:
        sys.exit(f"{asked!r}: say short, full or a percentage")
    seed = int(words[1]) if len(words) > 1 else time.time_ns() % 10**6
    print(f"seed {seed}")
    before = state_of_code()
    if before[1]:
        print("the code has changes that are not committed: these counts belong to no commit")
    folder = ROOT / "build" / "drills"
    shutil.rmtree(folder, ignore_errors=True)
    counts, faults = run_drills(folder, percent, seed)
    today = datetime.date.today().isoformat()
    after = state_of_code()
    if after != before:
        faults.append(f"the code changed under way: {before} was {after} at the end")
        print(f"  DID NOT HOLD  {faults[-1]}")
    value = {
        "date": today, "commit": before[0], "clean": not before[1],
        "changed_under_way": after != before, "seed": seed, "counts": counts, "faults": faults,
    }  # fmt: skip
    (folder / "counts.json").write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
