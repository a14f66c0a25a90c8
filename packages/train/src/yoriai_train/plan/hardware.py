"""What GPUs can do, from ``hardware.yaml``: peaks, memory, links, watts, each with its source."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from yoriai import UsageError
from yoriai.config import unknown_name
from yoriai.strict import Strict

Arithmetic = Literal["fp32", "tf32", "bf16", "fp16", "fp8"]

# Lightning's names of precisions, and the arithmetic of their matrix products. torch keeps true
# fp32 unless `torch.set_float32_matmul_precision` allows TF32.
ARITHMETIC: Mapping[str, Arithmetic] = {
    "32-true": "fp32",
    "bf16-mixed": "bf16",
    "bf16-true": "bf16",
    "16-mixed": "fp16",
    "16-true": "fp16",
}


class Gpu(Strict):
    """One product; what the fields mean exactly stands at the top of ``hardware.yaml``."""

    name: str = Field(description="the maker's name")
    memory_gib: float = Field(gt=0, description="memory a program can use, in 2^30 bytes")
    memory_gb_per_second: float = Field(gt=0, description="memory bandwidth")
    link_gb_per_second: float = Field(gt=0, description="inside a node, both directions")
    network_gbit_per_second: float = Field(gt=0, description="of a whole node, one direction")
    node: str = Field(description="the node that the network figure is of")
    host_memory_gib: float | None = Field(
        None, gt=0, description="memory of the processors of that node, in 2^30 bytes"
    )
    watts: float = Field(gt=0, description="greatest power of the board")
    # CUDA context 0.4 to 0.6 GB, cuBLAS workspaces (32 MiB a handle on Hopper) and NCCL's buffers:
    # all outside of torch's allocator. A round figure, not a data sheet's.
    reserved_gib: float = Field(1.0, ge=0, description="taken by the runtime before any tensor")
    tflops: dict[Arithmetic, float] = Field(description="dense peak, 10^12 FLOP/s")
    source: str = Field(description="where the figures are from")

    def peak_flops(self, precision: str) -> float:
        """Peak in FLOP/s at one of Lightning's precisions; :class:`UsageError` if there is none."""
        if precision not in ARITHMETIC:
            raise unknown_name(precision, ARITHMETIC, "precision")
        kind = ARITHMETIC[precision]
        if kind not in self.tflops:
            can = [name for name, needs in ARITHMETIC.items() if needs in self.tflops]
            raise UsageError(
                f"{self.name} has no {kind} arithmetic for precision {precision}",
                hint=f"set precision to one of: {', '.join(can)}",
            )
        return self.tflops[kind] * 1e12


@functools.cache
def gpus() -> Mapping[str, Gpu]:
    """All known GPUs by their short names, in the order of the file."""
    from yoriai import safe_yaml

    text = Path(__file__).with_name("hardware.yaml").read_text(encoding="utf-8")
    return {name: Gpu(**value) for name, value in safe_yaml.load(text, "hardware.yaml").items()}


def named(device: str) -> str:
    """The short name of a GPU as its driver calls it ("NVIDIA A100-SXM4-80GB"); "" if unknown.

    Whole words count: an L40S is no L4. What is on PCIe or NVL and not in the table as such may
    have another peak, so it is unknown.
    """
    words = re.split(r"[\s-]+", device.lower())
    said = {*words, *(a + b for a, b in itertools.pairwise(words))}
    found: dict[str, str] = {}
    for short in gpus():
        base, _, suffix = short.partition("-")
        if base in said and (not suffix or said & {suffix, f"{suffix}gb"}):
            found[suffix] = short
    if not any(found) and said & {"pcie", "nvl"}:
        return ""
    return found[max(found)] if found else ""


def find(name: str) -> Gpu:
    """The GPU of a short name in any case; :class:`~yoriai.NotFound` with the nearest if unknown.

    ``v100`` is the one with 32 GB. ``a100`` is not known: there are two.
    """
    known = gpus()
    name = {"v100": "v100-32"}.get(name.lower(), name.lower())
    if name not in known:
        raise unknown_name(name, known, "GPU")
    return known[name]
