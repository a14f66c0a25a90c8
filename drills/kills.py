"""Kills at random moments: a run that was stopped ends with the digests of one that was not.

Each trial starts the small recipe and sends a signal after a random time, up to twice, then runs
to the end. SIGKILL, SIGTERM, SIGUSR1 and SIGINT take turns. What must hold: the documented exit
code, no run file that still says ``running`` after the last run, equal digests, an empty
``.work`` and nothing half written beside the run files.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

from small import STEPS, call, command, digests, environment, write_small

# A signal can come before the interpreter has loaded the program, and then it just kills; or when
# all is done. In between the exit code is the documented one.
EXIT_CODES = {
    signal.SIGKILL: {-signal.SIGKILL, 0},
    signal.SIGTERM: {6, 0, -signal.SIGTERM},
    signal.SIGUSR1: {6, 0, -signal.SIGUSR1},
    signal.SIGINT: {130, 0, -signal.SIGINT},
}


def drill(folder: Path, trials: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Counts by what happened, and what did not hold, in words."""
    recipe = write_small(folder)
    began = time.perf_counter()
    done = call("run", str(recipe), "--out", str(folder / "whole"))
    seconds = time.perf_counter() - began
    assert done.returncode == 0, done.stderr[-2000:]
    wanted = digests(folder / "whole")
    assert len(wanted) == len(STEPS)
    chosen = random.Random(seed)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for trial in range(trials):
        out = folder / f"cut-{trial}"
        number = list(EXIT_CODES)[trial % len(EXIT_CODES)]
        for _ in range(chosen.randint(1, 2)):
            delay = chosen.uniform(0, seconds)
            code, said = _strike([*command("run", str(recipe)), "--out", str(out)], number, delay)
            where = f"trial {trial}, {number.name} after {delay:.2f} s"
            counts[f"{number.name}: exit {code}"] += 1
            if code not in EXIT_CODES[number]:
                faults.append(f"{where}: exit {code}: {said[-300:]}")
            if "Traceback" in said and code > 0:
                faults.append(f"{where}: a traceback: {said[-300:]}")
        again = call("run", str(recipe), "--out", str(out))
        where = f"trial {trial}, {number.name}"
        if again.returncode:
            faults.append(
                f"{where}: the next run ends with {again.returncode}: {again.stderr[-300:]}"
            )
        if digests(out) != wanted:
            faults.append(f"{where}: other digests")
        left = list((out / ".work").glob("*"))
        if left:
            faults.append(f"{where}: .work holds {[path.name for path in left]}")
        states = [json.loads(path.read_bytes())["state"] for path in out.glob("runs/*.json")]
        if "running" in states:
            faults.append(f"{where}: a run file says running")
        counts["trials"] += 1
    return counts, faults


def _strike(words: list[str], number: signal.Signals, delay: float) -> tuple[int, str]:
    process = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment(),
        start_new_session=True,
    )  # fmt: skip
    try:
        _, said = process.communicate(timeout=delay)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        _, said = process.communicate()
    return process.returncode, said
