"""Kills at random moments: a run that was stopped ends with the digests of one that was not.

Each trial starts the small recipe and sends a signal at a random moment, up to twice, then runs
to the end. SIGKILL, SIGTERM, SIGUSR1 and SIGINT take turns. What must hold: the documented exit
code, no run file that still says ``running`` after the last run, equal digests, an empty
``.work`` and nothing half written beside the run files.

Four of five strikes are aimed inside the run: the drill waits until the run file is there, and then
a part of the time that the last whole run took from there to its end, as this machine is now. The
fifth may come before the run file, too. Where each strike fell is counted.
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from small import STEPS, command, digests, environment, write_small

# A signal can come before the interpreter has loaded the program, and then it just kills; or when
# all is done. In between the exit code is the documented one.
EXIT_CODES = {
    signal.SIGKILL: {-signal.SIGKILL, 0},
    signal.SIGTERM: {6, 0, -signal.SIGTERM},
    signal.SIGUSR1: {6, 0, -signal.SIGUSR1},
    signal.SIGINT: {130, 0, -signal.SIGINT},
}
TICK = 0.01  # seconds between two looks for the run file


@dataclass(slots=True)
class Pace:
    """Seconds of a run as this machine is now: to its run file, and from there to its end."""

    start: float = 0.0
    inside: float = 0.0


def drill(folder: Path, trials: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Counts by what happened, and what did not hold, in words."""
    recipe = write_small(folder)
    pace = Pace()
    done = _whole(recipe, folder / "whole", pace)
    assert done[0] == 0, done[1][-2000:]
    wanted = digests(folder / "whole")
    assert len(wanted) == len(STEPS)
    chosen = random.Random(seed)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    for trial in range(trials):
        out = folder / f"cut-{trial}"
        number = list(EXIT_CODES)[trial % len(EXIT_CODES)]
        for _ in range(chosen.randint(1, 2)):
            early = chosen.random() < 0.2
            delay = chosen.uniform(0, pace.start if early else pace.inside)
            code, said, where_fell = _strike(recipe, out, number, delay, early)
            where = f"trial {trial}, {number.name} {where_fell} after {delay:.2f} s"
            counts[f"{number.name}: exit {code}"] += 1
            counts[f"strikes {where_fell}"] += 1
            if code not in EXIT_CODES[number]:
                faults.append(f"{where}: exit {code}: {said[-300:]}")
            if "Traceback" in said and code > 0:
                faults.append(f"{where}: a traceback: {said[-300:]}")
        code, said = _whole(recipe, out, None)
        where = f"trial {trial}, {number.name}"
        if code:
            faults.append(f"{where}: the next run ends with {code}: {said[-300:]}")
        if digests(out) != wanted:
            faults.append(f"{where}: other digests")
        left = list((out / ".work").glob("*"))
        if left:
            faults.append(f"{where}: .work holds {[path.name for path in left]}")
        states = [json.loads(path.read_bytes())["state"] for path in out.glob("runs/*.json")]
        if "running" in states:
            faults.append(f"{where}: a run file says running")
        counts["trials"] += 1
        if trial % 4 == 3:  # the machine may be busier now, or less
            _whole(recipe, folder / f"pace-{trial}", pace)
    return counts, faults


def _start(recipe: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command("run", str(recipe)), "--out", str(out)], stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True,
        preexec_fn=_hear_interrupts,
    )  # fmt: skip


def _hear_interrupts() -> None:
    """A shell lets what it starts in the background ignore SIGINT, and that is handed down."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _until_run_file(process: subprocess.Popen[str], out: Path, before: set[Path]) -> bool:
    """Wait for a run file that was not there; False if the process ended without one."""
    while not set(out.glob("runs/*.json")) - before:
        if process.poll() is not None:
            return False
        time.sleep(TICK)
    return True


def _whole(recipe: Path, out: Path, pace: Pace | None) -> tuple[int, str]:
    began = time.perf_counter()
    before = set(out.glob("runs/*.json"))
    process = _start(recipe, out)
    _until_run_file(process, out, before)
    middle = time.perf_counter()
    _, said = process.communicate()
    if pace is not None:
        pace.start, pace.inside = middle - began, time.perf_counter() - middle
    return process.returncode, said


def _strike(
    recipe: Path, out: Path, number: signal.Signals, delay: float, early: bool
) -> tuple[int, str, str]:
    """Exit code, what was said, and where the strike fell."""
    before = set(out.glob("runs/*.json"))
    process = _start(recipe, out)
    if not early:
        _until_run_file(process, out, before)
    fell = "after the end"
    with contextlib.suppress(subprocess.TimeoutExpired):
        _, said = process.communicate(timeout=delay)
        return process.returncode, said, fell
    fell = "inside the run" if set(out.glob("runs/*.json")) - before else "before the run file"
    process.send_signal(number)
    _, said = process.communicate()
    return process.returncode, said, fell
