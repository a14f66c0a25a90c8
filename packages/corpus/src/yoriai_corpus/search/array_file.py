"""Named arrays in one file, mapped into memory as they lie: nothing is read before it is used.

``YORIAI-ARRAYS 1`` and a newline, the length of the header as 8 bytes, the header (JSON: name,
type, offset and length of each array), then the arrays, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yoriai import YoriaiError

MAGIC = b"YORIAI-ARRAYS 1\n"
ALIGNMENT_BYTES = 64
MOST_HEADER_BYTES = 2**20


def save(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write the file whole or not at all; it is on the disk when this returns."""
    rows, offset = [], 0
    for name, array in arrays.items():
        rows.append({"name": name, "type": array.dtype.str, "offset": offset, "length": len(array)})
        offset += -(-array.nbytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    header = json.dumps(rows).encode()
    header += b" " * (-(len(MAGIC) + 8 + len(header)) % ALIGNMENT_BYTES)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            stream.write(MAGIC + len(header).to_bytes(8, "little") + header)
            for array in arrays.values():
                stream.write(np.ascontiguousarray(array).data)
                stream.write(bytes(-array.nbytes % ALIGNMENT_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: Path, types: Mapping[str, type]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file, mapped. Raises :class:`YoriaiError` for one that is cut or foreign."""
    try:
        data = np.memmap(path, dtype=np.uint8, mode="r")
    except (OSError, ValueError) as error:
        raise YoriaiError(f"{path.name} cannot be read: {error}", hint=_HINT) from error
    start = len(MAGIC) + 8
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise YoriaiError(f"{path.name} is no file of arrays", hint=_HINT)
    size = int.from_bytes(bytes(data[len(MAGIC) : start]), "little")
    try:
        if size > MOST_HEADER_BYTES:
            raise ValueError("header too long")
        rows = {row["name"]: row for row in json.loads(bytes(data[start : start + size]))}
        return {
            name: _array(data[start + size :], rows[name], np.dtype(kind))
            for name, kind in types.items()
        }
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise YoriaiError(f"{path.name} is cut or damaged: {error}", hint=_HINT) from error


_HINT = "yoriai verify INDEX names what was altered; make the index again with yoriai run"


def _array(data: npt.NDArray[Any], row: Mapping[str, Any], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    offset, length = int(row["offset"]), int(row["length"])
    end = offset + length * kind.itemsize
    if row["type"] != kind.str or offset % ALIGNMENT_BYTES or min(offset, length) < 0:
        raise ValueError(f"{row['name']} is of another type or place")
    if end > len(data):
        raise ValueError(f"{row['name']} ends behind the end of the file")
    return np.frombuffer(data[offset:end], dtype=kind)
