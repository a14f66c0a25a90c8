"""A disk that fills up: a run that could not write is told so, and goes on to the same digests.

Each trial runs the small recipe with a limit on the size of files at random (``RLIMIT_FSIZE``), so
that some write fails in the middle, as on a full disk or over a quota. What must hold: a documented
exit code without a traceback, ``runs list`` that works meanwhile, and after a run without the limit
equal digests, an empty ``.work`` and no run file that still says ``running``.
"""

from __future__ import annotations

import json
import random
import resource
import signal
import subprocess
from collections import Counter
from pathlib import Path

from small import call, command, digests, environment, write_small


def drill(folder: Path, trials: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Counts by what happened, and what did not hold, in words."""
    recipe = write_small(folder)
    done = call("run", str(recipe), "--out", str(folder / "whole"))
    assert done.returncode == 0, done.stderr[-2000:]
    wanted = digests(folder / "whole")
    largest = max(path.stat().st_size for path in (folder / "whole").rglob("*") if path.is_file())
    chosen = random.Random(seed)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for trial in range(trials):
        out = folder / f"full-{trial}"
        limit = int(largest ** chosen.uniform(0.3, 1.0))  # small ones as often as large ones
        where = f"trial {trial}, files of at most {limit:,} bytes"
        code, said = _cramped(["run", str(recipe), "--out", str(out)], limit)
        counts["trials"] += 1
        counts[f"exit {code}"] += 1
        if code not in (0, 1) or "Traceback" in said or "unexpected" in said:
            faults.append(f"{where}: exit {code}: {said[-300:]}")
        if out.exists():
            listed = call("runs", "list", str(out), "--json")
            if listed.returncode not in (0, 3) or "Traceback" in listed.stderr:
                faults.append(f"{where}: runs list ends with {listed.returncode}")
        again = call("run", str(recipe), "--out", str(out))
        if again.returncode:
            faults.append(f"{where}: then {again.returncode}: {again.stderr[-300:]}")
        if digests(out) != wanted:
            faults.append(f"{where}: other digests")
        if list((out / ".work").glob("*")):
            faults.append(f"{where}: .work is not empty")
        states = [json.loads(path.read_bytes())["state"] for path in out.glob("runs/*.json")]
        if "running" in states:
            faults.append(f"{where}: a run file says running")
    return counts, faults


def _cramped(words: list[str], limit: int) -> tuple[int, str]:
    def cramp() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write fails with EFBIG
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = subprocess.run(
        command(*words), preexec_fn=cramp, capture_output=True, text=True, env=environment(),
        check=False,
    )  # fmt: skip
    return done.returncode, done.stderr
