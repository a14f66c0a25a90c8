"""What every runner tells: stages of its start, time and memory of its steps, as one JSON line."""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

STARTED = time.perf_counter()


def peak_mb() -> float:
    """The most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def gpu_peak_mb() -> float:
    """The same on its GPU, as torch's allocator counts it; 0 without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return 0.0
    return float(torch.cuda.max_memory_allocated()) / 2**20


class Clock:
    """Stages one after another, then steps one after another."""

    def __init__(self) -> None:
        self.last = STARTED
        self.cpu = time.process_time()
        self.stages: dict[str, float] = {}
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.losses: list[float] = []
        self.imported_mb = 0.0
        self.peak_mb = 0.0  # after the last step, before anything is written

    def stage(self, name: str) -> None:
        """What was done since the last call."""
        now = time.perf_counter()
        self.stages[name] = now - self.last
        self.last = now
        if name.startswith("import"):
            self.imported_mb = peak_mb()

    def step(self, loss: float) -> None:
        """A step has ended."""
        now, cpu = time.perf_counter(), time.process_time()
        self.seconds.append(now - self.last)
        self.cpu_seconds.append(cpu - self.cpu)
        self.last, self.cpu = now, cpu
        self.losses.append(loss)
        self.peak_mb = peak_mb()

    def tell(self, **more: Any) -> None:
        """Print it all, as the last line."""
        facts = {
            "stages": self.stages,
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "losses": self.losses,
            "imported_mb": self.imported_mb,
            "peak_mb": self.peak_mb,
            "gpu_peak_mb": gpu_peak_mb(),
            **more,
        }
        print(json.dumps(facts), flush=True)
