"""The header of a safetensors file, read as what a stranger wrote.

Format: https://huggingface.co/docs/safetensors (8 bytes length, a JSON mapping, raw data). The
rules are those of its own reader (``Metadata::validate`` in safetensors/src/tensor.rs): the parts
of the tensors follow one another without a gap, and fill the file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from yoriai.errors import Refused

LONGEST_BYTES = 32 * 2**20  # of a header, which takes ten times as much of memory
MOST_DIMENSIONS = 64  # of a tensor (PyTorch: C10_MAX_DIMS)
MOST_TENSORS = 30_000  # of a file: each costs its whole header once; the largest have 20,000
MOST_OF_A_DIMENSION = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor stands: its dtype as the header names it, bytes from ``first`` to ``stop``."""

    dtype: str
    shape: tuple[int, ...]
    first: int
    stop: int


def read_header(path: Path) -> dict[str, TensorPlace]:
    """The places of all tensors by name; raises :class:`Refused` for a header that is false."""
    try:
        if not path.is_file():  # a fifo would be waited for
            raise ValueError("it is no file")
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(size - 8, LONGEST_BYTES):
                raise ValueError(f"it is no safetensors file of {size:,} bytes")
            header = json.loads(stream.read(length))
        if not isinstance(header, dict):
            raise ValueError("no mapping")
        notes = header.pop("__metadata__", {})
        if not isinstance(notes, dict) or not all(isinstance(n, str) for n in notes.values()):
            raise ValueError("__metadata__ is no mapping of texts")
        if len(header) > MOST_TENSORS:
            raise ValueError(
                f"{len(header):,} tensors are more than {MOST_TENSORS:,} a file (max_shard_size)"
            )
        found = {name: _place(name, told, 8 + length) for name, told in header.items()}
        end = 8 + length
        for place in sorted(found.values(), key=lambda place: (place.first, place.stop)):
            if place.first != end:
                raise ValueError(f"its tensors do not follow one another at byte {end:,}")
            end = place.stop
        if end != size:
            raise ValueError(f"the file has {size:,} bytes, its header asks for {end:,}")
    except (ValueError, RecursionError) as error:
        raise Refused(
            f"{path} cannot be read: {str(error)[:200]}",
            hint=f"copy the file again; of an artifact: yoriai verify {path.parent}",
        ) from error
    return found


def _place(name: str, told: Any, start: int) -> TensorPlace:
    name.encode()  # a lone surrogate is no text, and a ValueError
    shown = ascii(name[:80])
    if not isinstance(told, dict) or not isinstance(told.get("dtype"), str):
        raise ValueError(f"{shown} has no dtype")
    shape, offsets = told.get("shape"), told.get("data_offsets")
    if not _are_counts(shape) or len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"{shown} has no shape, but {ascii(shape)[:80]}")
    if not _are_counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ValueError(f"{shown} has no place, but {ascii(offsets)[:80]}")
    return TensorPlace(told["dtype"], tuple(shape), start + offsets[0], start + offsets[1])


def _are_counts(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(
        type(n) is int and 0 <= n <= MOST_OF_A_DIMENSION for n in value
    )
