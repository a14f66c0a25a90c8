"""What a piece of work took: seconds, energy if the machine counts it, money if it has a price.

For the run file: none of it is the same in two runs.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Annotated

from pydantic import Field

Price = Annotated[
    float, Field(ge=0, le=10**9, description="price of a GPU-hour, for the cost; 0: not told")
]


class Meter:
    """Counts from when it is made."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.energy = EnergyCounter()

    def read(self, yen_per_gpu_hour: float, processes: int = 1) -> dict[str, float]:
        """``seconds``; ``energy_kwh`` where there is a counter; ``yen`` where there is a price.

        Each process has a GPU, or counts as one where there is none.
        """
        seconds = time.monotonic() - self.started
        told = {"seconds": round(seconds, 1)}
        if joules := self.energy.joules():
            told["energy_kwh"] = round(joules / 3.6e6, 6)
        if yen_per_gpu_hour:
            told["yen"] = round(seconds / 3600 * processes * yen_per_gpu_hour, 4)
        return told


class EnergyCounter:
    """Joules since it was made, where the machine counts them: RAPL, or NVML for GPUs."""

    def __init__(self) -> None:
        self.zones = [p for p in Path("/sys/class/powercap").glob("*-rapl:[0-9]*") if _count(p)]
        self.begin = {zone: _count(zone) for zone in self.zones}
        self.gpus = _gpu_joules()

    def joules(self) -> float:
        """0 where there is no counter."""
        total = 0.0
        for zone in self.zones:
            spent = _count(zone) - self.begin[zone]
            if spent < 0:  # the counter began again
                with contextlib.suppress(OSError, ValueError):
                    spent += int((zone / "max_energy_range_uj").read_text())
            total += max(0, spent) / 1e6
        return total + sum(_gpu_joules()) - sum(self.gpus)


def _count(zone: Path) -> int:
    try:
        return int((zone / "energy_uj").read_text())
    except (OSError, ValueError):
        return 0


def _gpu_joules() -> list[float]:
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return [pynvml.nvmlDeviceGetTotalEnergyConsumption(h) / 1000 for h in handles]
    except Exception:  # no NVML, no GPU, or one that does not count
        return []
