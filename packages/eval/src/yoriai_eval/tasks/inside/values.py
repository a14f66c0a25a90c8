"""Plain values as bytes: what a judge and a program say to one another.

Only Python's own plain types are rebuilt, whatever was sent: a subclass comes as its base, and with
it no method of the sender's. So nothing that a program overrides (``__eq__``, ``__hash__``) is ever
called by the judge.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from itertools import islice
from typing import Any

MOST_BYTES = 4 * 2**20  # of one message
MOST_ITEMS = 200_000  # of one message, all depths together
DEPTH = 100  # containers in one another


class NotPlain(ValueError):
    """A value that cannot be sent, or a message that says none."""


class Unknown:
    """Stands for an object that is no plain value; equal to nothing but itself."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<{self.name}>"


_SEQUENCES: tuple[tuple[type[Iterable[Any]], str], ...] = (
    (list, "l"),
    (tuple, "t"),
    (set, "s"),
    (frozenset, "z"),
)
_BUILDERS: dict[str, Any] = {"l": list, "t": tuple, "s": set, "z": frozenset, "i": iter}


def encode(value: Any) -> bytes:
    """A message; raises :class:`NotPlain` if it is too deep, too large or never ends."""
    left = [MOST_ITEMS]
    content = json.dumps(_pack(value, DEPTH, left), separators=(",", ":")).encode("ascii")
    if len(content) > MOST_BYTES:
        raise NotPlain(f"a value of more than {MOST_BYTES} bytes")
    return content


def _pack(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0 or depth < 0:
        raise NotPlain("a value that is too large or too deep")
    if value is None or value is True or value is False:
        return value
    if isinstance(value, int):
        return ["n", format(int(value), "x")]
    if isinstance(value, float):
        return ["f", float.hex(value)]
    if isinstance(value, complex):
        return ["c", float.hex(value.real), float.hex(value.imag)]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, (bytes, bytearray)):
        return ["b", bytes(value).hex()]
    if isinstance(value, range):
        return ["r", *(format(n, "x") for n in (value.start, value.stop, value.step))]
    for kind, mark in _SEQUENCES:
        if isinstance(value, kind):
            return [mark, *(_pack(item, depth - 1, left) for item in value)]
    if isinstance(value, dict):
        pairs = [part for pair in value.items() for part in pair]
        return ["d", *(_pack(part, depth - 1, left) for part in pairs)]
    if hasattr(type(value), "__next__") or type(value) in _VIEWS:
        items = list(islice(value, max(0, left[0]) + 1))
        return ["i", *(_pack(item, depth - 1, left) for item in items)]
    return ["o", str(type(value).__name__)[:100]]


_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))


def decode(content: bytes) -> Any:
    """The value of a message; raises :class:`NotPlain` for any other bytes."""
    try:
        return _unpack(json.loads(content.decode("ascii")), DEPTH)
    except NotPlain:
        raise
    except (ValueError, TypeError, OverflowError, RecursionError, IndexError) as error:
        raise NotPlain(f"no value: {type(error).__name__}") from None


def _unpack(told: Any, depth: int) -> Any:
    if told is None or isinstance(told, (bool, str)):
        return told
    if depth < 0 or not isinstance(told, list) or not told or not isinstance(told[0], str):
        raise NotPlain("no value")
    mark, *rest = told
    if mark == "n":
        [digits] = rest
        return int(digits, 16)
    if mark == "f":
        [digits] = rest
        return float.fromhex(digits)
    if mark == "c":
        return complex(*(float.fromhex(part) for part in rest))
    if mark == "b":
        [digits] = rest
        return bytes.fromhex(digits)
    if mark == "r":
        return range(*(int(part, 16) for part in rest))
    if mark == "o":
        [name] = rest
        if not isinstance(name, str):
            raise NotPlain("no value")
        return Unknown(name)
    parts = [_unpack(part, depth - 1) for part in rest]
    if mark == "d":
        return dict(zip(parts[::2], parts[1::2], strict=True))
    if mark in _BUILDERS:
        return _BUILDERS[mark](parts)
    raise NotPlain("no value")


def send(descriptor: int, content: bytes) -> None:
    """Write one message."""
    rest = len(content).to_bytes(4, "big") + content
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def receive(descriptor: int) -> bytes:
    """Read one message; raises EOFError at the end, :class:`NotPlain` if it is too long."""
    size = int.from_bytes(_exactly(descriptor, 4), "big")
    if size > MOST_BYTES:
        raise NotPlain(f"a message of {size} bytes")
    return _exactly(descriptor, size)


def _exactly(descriptor: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(descriptor, min(size, 2**16))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
