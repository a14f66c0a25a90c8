"""Facts about the machine that decide how fast training is, read without torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Processor, instruction sets that matter, and thread settings."""
    model = ""
    flags: set[str] = set()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and not model:
                model = value.strip()
            if key.strip() == "flags" and not flags:
                flags = set(value.split())
    except OSError:
        pass
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "processor": model,
        "instructions": [name for name in wanted if name in flags],
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS", ""),
    }


def device_name() -> str:
    """The GPU, or the processor."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return str(describe_machine()["processor"]) or "cpu"


def peak_flops(precision: str) -> float:
    """FLOP/s that one process could do: of a GPU by its data sheet, of a CPU as measured.

    0 for a GPU that is not in the table: better no MFU than one of something else.
    """
    import torch

    kind = "fp32" if precision.startswith("32") else "fp16" if precision[:2] == "16" else "bf16"
    if not torch.cuda.is_available():
        return measure_gemm(kind)
    from yoriai_train.plan import hardware

    short = hardware.named(torch.cuda.get_device_name())
    return hardware.gpus()[short].peak_flops(precision) if short else 0.0


def measure_gemm(kind: str, size: int = 1024, seconds: float = 0.3) -> float:
    """FLOP/s of a square matrix product on this process's threads: the best of several."""
    import time

    import torch

    from yoriai_train.model.cpu_products import product

    dtype = torch.float32 if kind == "fp32" else torch.bfloat16
    a = torch.ones((size, size), dtype=dtype)
    b = torch.ones((size, size), dtype=dtype)
    best, begin = float("inf"), time.perf_counter()
    while time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        product(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
