"""What ranks say to the process that started them, and how they and it end."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from yoriai import YoriaiError
from yoriai_train.settings.spec import Row

PR_SET_PDEATHSIG = 1
# What reaches all processes of a job at once: a terminal's Ctrl-C, GNU timeout, Slurm's --signal.
TO_ALL = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
# By which we end torchrun, which hands it on to its ranks; it is told to heed no other.
END = signal.SIGQUIT
# Opened here, not in the child between fork and exec, where little is safe.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def tell(kind: str, row: Row) -> None:
    """What a rank says to the process that started it, on a line of its own."""
    print(f"@{kind} {json.dumps(row)}", flush=True)


def told(process: subprocess.Popen[str]) -> Iterator[tuple[str, Row]]:
    """What the ranks say, as (kind, row)."""
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            if found := _TOLD.match(line):
                yield found[1], json.loads(found[2])


_TOLD = re.compile(r"@([a-z]+) (\{.*\})$")
_ERROR = re.compile(r"^(?:\[rank\d+\]: )?([\w.]*(?:Error|Exception|Interrupt)\b.*)")
_RANK = re.compile(r"^  rank +: (\d+).*\n  exitcode +: (-?\d+)", re.MULTILINE)


def explain(code: int, text: str, log: Path) -> YoriaiError:
    """What ended a job, from its exit code and from what it and torchrun wrote on stderr."""
    lines = text.splitlines()
    hint = f"the whole output is in {os.path.relpath(log)}"
    # The root cause first: torchrun kills by SIGKILL, too, after 30 s, and lists by rank.
    ends = _RANK.findall(text.rpartition("Root Cause")[2]) + _RANK.findall(text)
    killed = [(f"rank {r}", -int(c)) for r, c in ends if int(c) in _DEADLY]
    if code in _DEADLY:
        killed = [("the training process", -code)]
    if killed:
        who, number = killed[0]
        return YoriaiError(
            f"training stopped: {who} was killed by {signal.Signals(number).name}",
            hint="if memory ran out, use a smaller batch; started again, training goes on from"
            " its last checkpoint",
        )
    errors = [found[1] for line in lines if (found := _ERROR.match(line))]
    errors = [error for error in errors if not error.startswith("torch.distributed.elastic")]
    told = errors[-1] if errors else (lines[-1] if lines else f"exit code {code}")
    if "No space left" in told:
        hint = "free some space and start again: the last checkpoint is whole"
    return YoriaiError(f"training stopped: {told}", hint=hint)


# Signals that come from outside or from a crash; torchrun itself ends the others by SIGTERM.
_DEADLY = {-int(s) for s in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)}


def die_with_parent() -> None:
    """Ask the kernel (Linux) to end this process when the one that started it ends.

    And leave to that one the signals that reach all processes of a job: it asks the ranks for a
    checkpoint, and they must still be there to write it.
    """
    for number in TO_ALL:
        signal.signal(number, signal.SIG_IGN)
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def heed_parent_only() -> None:
    """Let signals end this rank only if the process that started it sent them (Linux).

    torchrun ends the ranks that are left by SIGTERM when one has failed; the same signal from
    anybody else is meant for the head of the job. Must come before threads are started: they
    inherit that these signals are blocked.
    """
    die_with_parent()
    if sys.platform != "linux":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        return
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, END}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    for number in signals:  # what is ignored would never arrive
        signal.signal(number, signal.SIG_DFL)
    parent = os.getppid()

    def wait() -> None:
        while signal.sigwaitinfo(signals).si_pid != parent:
            pass
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parents-signals", daemon=True).start()
