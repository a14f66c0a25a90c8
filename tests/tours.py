"""Running the tour at reduced size, and killing it at chosen moments."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "recipes" / "tour.yaml"
# Small enough for CI, large enough that the relations below come from learning, not from luck.
REDUCED = ("base.steps=240", "base.checkpoint.every_steps=60", "adapted.steps=20")


@dataclass(frozen=True, slots=True)
class Tour:
    """A finished run of the reduced tour."""

    root: Path
    answer: dict[str, Any]

    @property
    def digests(self) -> dict[str, str]:
        return {name: row["digest"] for name, row in self.answer["steps"].items()}


def tour_command(out: Path, *words: str) -> list[str]:
    settings = [word for setting in REDUCED for word in ("--set", setting)]
    return [
        sys.executable, "-m", "yoriai", "run", str(RECIPE), "--json", "--out", str(out),
        *settings, *words,
    ]  # fmt: skip


def run_tour(out: Path, *words: str) -> Tour:
    """Run the reduced tour to its end."""
    done = subprocess.run(tour_command(out, *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return Tour(out, json.loads(done.stdout))


def kill_when(command: list[str], ready: Callable[[], bool]) -> None:
    """Start a command in its own session and kill -9 its first process once ``ready()``."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while not ready():
            assert process.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)  # waiting for a condition, not for a time
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
