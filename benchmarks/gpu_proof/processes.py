"""Processes of the proof: started in groups of their own, ended with them, never past the time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tables import BUILD

WORK = BUILD / "gpu-work"
NO_TIME = "no time was left"
Facts = dict[str, Any]


@dataclass(slots=True)
class Check:
    """What was expected of a part, and what was found."""

    part: str
    expected: str
    found: str
    holds: bool | None  # None: not run, ``found`` says why


class Clock:
    """The time that is left of the proof."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes

    @property
    def left(self) -> float:
        return self.end - time.monotonic()


def call(command: Sequence[Any], seconds: float, env: Mapping[str, str]) -> tuple[int, str, str]:
    """Run a command in a group of its own and end the group with it; code 124: no time was left."""
    process = subprocess.Popen(
        list(map(str, command)), env=dict(env), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, cwd=WORK,
    )  # fmt: skip
    try:
        out, err = process.communicate(timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        return 124, out, err
    return process.returncode, out, err


def reason(code: int, err: str) -> str:
    """Why a command failed, in one line."""
    if code == 124:
        return NO_TIME
    lines = err.strip().splitlines() or [f"exit code {code}"]
    said = [line for line in lines if line.startswith("error:")]
    return (said or lines[-1:])[0][:400]


def environment_of(*, on_gpu: bool) -> dict[str, str]:
    """What processes are started with: no network, and no GPU in a rehearsal."""
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "YORIAI_QUIET": "1"}
    hidden = {} if on_gpu else {"CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **quiet, **hidden}


def told(out: str, kind: str) -> list[Facts]:
    """The rows of one kind that a rank said (``@step {…}``)."""
    mark = f"@{kind} "
    return [json.loads(line[len(mark) :]) for line in out.splitlines() if line.startswith(mark)]
