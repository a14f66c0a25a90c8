"""Checks of every process's machine before a run: compute, network, disk, clock, memory.

A whole job is as fast as its slowest node, and BLOOM lost a GPU a week (bigscience
train/tr11-176B-ml/chronicles.md). LLM-jp measured theirs by scripts of one cluster (llm-jp/server,
``gpu`` and ``all_reduce_bench``); these run anywhere torch does, with nccl or gloo.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]
# A measure below this share of the median of all processes is slow. Healthy GPUs of one model
# differ by a few percent; a throttled one or a shared core by far more.
SLOW = 0.85
CLOCK_SECONDS = 1.0  # clocks further apart spoil logs, leases and rendezvous time-outs
MEASURES = {
    "gemm_tflops": "matrix products",
    "all_reduce_gb_per_second": "all-reduce",
    "disk_write_gb_per_second": "writing to disk",
}


@dataclass(frozen=True, slots=True)
class MachineFault:
    """What is wrong with one process's machine."""

    host: str
    rank: int
    message: str


def judge(rows: Sequence[Row]) -> list[MachineFault]:
    """What stands out among the measurements of all processes, worst first."""
    found: list[tuple[float, MachineFault]] = []
    for measure, name in MEASURES.items():
        values = [row[measure] for row in rows if row.get(measure)]
        if len(values) < 2:
            continue
        median = statistics.median(values)
        for row in rows:
            share = row.get(measure, 0.0) / median
            if share < SLOW:
                message = f"{name} at {share:.0%} of the median ({row.get(measure, 0.0):.3g})"
                found.append((share, MachineFault(row["host"], row["rank"], message)))
    middle = statistics.median(row["clock"] for row in rows)
    for row in rows:
        apart = row["clock"] - middle
        if abs(apart) > CLOCK_SECONDS:
            message = f"its clock is {apart:+.1f} seconds off"
            found.append((0.0, MachineFault(row["host"], row["rank"], message)))
    versions = {row["torch"] for row in rows}
    if len(versions) > 1:
        common = statistics.mode(row["torch"] for row in rows)
        found += [
            (
                0.0,
                MachineFault(row["host"], row["rank"], f"torch {row['torch']}, others {common}"),
            )
            for row in rows
            if row["torch"] != common
        ]
    return [finding for _, finding in sorted(found, key=lambda pair: pair[0])]


def measure(folder: Path, megabytes: int) -> Row:
    """What this process's machine can do; collective if there are several processes."""
    import torch
    from torch import distributed

    from yoriai_train.job.machine import measure_gemm

    alone = not distributed.is_initialized()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if not alone:
        distributed.barrier()
    clock = time.time()
    row: Row = {
        "host": socket.gethostname(),
        "rank": 0 if alone else distributed.get_rank(),
        "torch": torch.__version__,
        "clock": clock,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "gemm_tflops": _gemm_cuda() if device == "cuda" else measure_gemm("fp32") / 1e12,
        "disk_write_gb_per_second": _disk(folder, megabytes),
        "memory_free_gb": _free_memory(),
    }
    if not alone:
        row["all_reduce_gb_per_second"] = _all_reduce(device, megabytes)
    return row


def _gemm_cuda(size: int = 8192) -> float:
    """TFLOP/s of a bf16 product on the GPU, the median of twenty."""
    import torch

    a = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)
    times = []
    for _ in range(25):
        torch.cuda.synchronize()
        start = time.perf_counter()
        torch.mm(a, a)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(times[5:]) / 1e12


def _all_reduce(device: str, megabytes: int, rounds: int = 5) -> float:
    """Bus bandwidth of an all-reduce: 2 (n - 1) / n of the bytes, over the time of the median.

    That factor makes figures of different numbers of ranks comparable (NVIDIA/nccl-tests:
    doc/PERFORMANCE.md).
    """
    import torch
    from torch import distributed

    world = distributed.get_world_size()
    tensor = torch.ones(megabytes * 250_000, device=device)
    times = []
    for _ in range(rounds + 1):
        distributed.barrier()
        start = time.perf_counter()
        distributed.all_reduce(tensor)
        tensor.div_(world)
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    bytes_moved = tensor.numel() * 4 * 2 * (world - 1) / world
    return bytes_moved / statistics.median(times[1:]) / 1e9


def _disk(folder: Path, megabytes: int) -> float:
    """GB/s of writing a file and making it durable."""
    path = folder / f".preflight-{socket.gethostname()}-{os.getpid()}"
    block = os.urandom(1 << 20)
    start = time.perf_counter()
    try:
        with path.open("wb") as stream:
            for _ in range(megabytes):
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
        return megabytes * (1 << 20) / (time.perf_counter() - start) / 1e9
    finally:
        path.unlink(missing_ok=True)


def _free_memory() -> float:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0] / 1e9
    for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / 1e9
    return 0.0


def main() -> None:
    """One process: ``python -m yoriai_train.launch.preflight FOLDER MEGABYTES``, alone or under
    torchrun.

    Rank 0 prints the rows of all as one line of JSON.
    """
    import sys

    import torch
    from torch import distributed

    folder, megabytes = Path(sys.argv[1]), int(sys.argv[2])
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several:
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    row = measure(folder, megabytes)
    rows: list[Any] = [row]
    if several:
        rows = [None] * distributed.get_world_size()
        distributed.all_gather_object(rows, row)
    if row["rank"] == 0:
        print(f"@preflight {json.dumps(rows)}", flush=True)
    if several:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()
