"""Which window of which shard is sample ``i``: a pure function, in constant memory and time.

Nothing is shuffled and nothing is remembered. For sample ``n`` of a phase,

1. a binary tree over the shards says whose it is, and how many samples of that shard came before.
   At a node the lighter child, with share ``p``, has one of every ``1 / p`` samples (a *cell*), at
   a place in the cell that is drawn by lot; the heavier child has the others;
2. the shard's ``k``-th sample is window ``permutation(k mod W)`` of its epoch ``k div W``.

Both can be turned around, so the samples that show a window are found without a search. A
permutation is a Feistel network over just enough bits, walked until it falls into the range
(Black and Rogaway 2002, "Ciphers with arbitrary finite domains"). The lots keep ranks and
micro-batches from meeting a pattern; the cells keep every shard close to its exact share after
every single sample: by less than one sample with two shards, and less than 3.4 with any number
(two, for shares as people choose them). For a leaf is off by less than the sum of ``w_leaf / w_v``
over itself and the nodes ``v`` above it but the root, and the tree is Huffman's, whose subtrees
grow at least like Fibonacci numbers on the way up.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from yoriai import UsageError
from yoriai.mixture import Mixture

Int64s = npt.NDArray[np.int64]
UInt64s = npt.NDArray[np.uint64]

ENDLESS = 2**62  # samples in a phase that lasts as long as training asks for
LONGEST_CELL = 2**62  # a shard of a smaller share than one in so many is never drawn
_ROUNDS = 8
_LEAST_BITS = 4  # fewer have too few networks to look shuffled
_U = numba.uint64
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MASK = np.uint64(0xFFFFFFFF)
_0, _1, _27, _30, _31, _32 = (np.uint64(n) for n in (0, 1, 27, 30, 31, 32))
_A, _B = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def _kernel(function: Any) -> Any:
    return numba.njit(cache=True, nogil=True)(function)


@_kernel
def _mix(x):  # type: ignore[no-untyped-def]
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014): 64 bits in, 64 bits out."""
    x = (x ^ (x >> _30)) * _A
    x = (x ^ (x >> _27)) * _B
    return x ^ (x >> _31)


@_kernel
def _key_of(key, number):  # type: ignore[no-untyped-def]
    """The key of an epoch or a cell."""
    return _mix(key + (number + _1) * _GOLDEN)


@_kernel
def _halves(size):  # type: ignore[no-untyped-def]
    """Bits of the two halves of the smallest network over ``size`` values or more."""
    bits = _U(_LEAST_BITS)
    while (_1 << bits) < size:
        bits += _1
    right = bits >> _1
    return bits - right, right


@_kernel
def permute(value, size, key):  # type: ignore[no-untyped-def]
    """Where ``value`` goes in the permutation of ``range(size)`` that belongs to a key."""
    left_bits, right_bits = _halves(size)
    left_mask, right_mask = (_1 << left_bits) - _1, (_1 << right_bits) - _1
    while True:
        left, right = value >> right_bits, value & right_mask
        for step in range(_ROUNDS):
            salt = key + _U(step) * _GOLDEN
            if step & 1:
                right ^= _mix(salt ^ left) & right_mask
            else:
                left ^= _mix(salt ^ right) & left_mask
        value = (left << right_bits) | right
        if value < size:
            return value


@_kernel
def unpermute(value, size, key):  # type: ignore[no-untyped-def]
    """The inverse of :func:`permute`."""
    left_bits, right_bits = _halves(size)
    left_mask, right_mask = (_1 << left_bits) - _1, (_1 << right_bits) - _1
    while True:
        left, right = value >> right_bits, value & right_mask
        for back in range(_ROUNDS):
            step = _ROUNDS - 1 - back
            salt = key + _U(step) * _GOLDEN
            if step & 1:
                right ^= _mix(salt ^ left) & right_mask
            else:
                left ^= _mix(salt ^ right) & left_mask
        value = (left << right_bits) | right
        if value < size:
            return value


@_kernel
def _scale(count, fraction):  # type: ignore[no-untyped-def]
    """``count * fraction div 2**64``: the high half of a product of 128 bits."""
    a, b = count >> _32, count & _MASK
    c, d = fraction >> _32, fraction & _MASK
    middle = a * d + ((b * d) >> _32)
    other = b * c + (middle & _MASK)
    return a * c + (middle >> _32) + (other >> _32)


@_kernel
def _cell_start(cell, whole, part):  # type: ignore[no-untyped-def]
    """Where a cell begins, if cells are ``whole + part / 2**64`` samples long."""
    return cell * whole + _scale(cell, part)


@_kernel
def _lot(cell, start, whole, part, key):  # type: ignore[no-untyped-def]
    """The place of the lighter child's sample in a cell."""
    return start + _scale(_key_of(key, cell), _cell_start(cell + _1, whole, part) - start)


@_kernel
def _draw(  # type: ignore[no-untyped-def]
    indices, first, root, share, whole, part, lot_key, children, before, windows, keys,
    shard, window,
):  # fmt: skip
    for place in range(len(indices)):
        count = _U(indices[place])
        phase = 0
        while phase + 1 < len(first) and count >= first[phase + 1]:
            phase += 1
        count -= first[phase]
        node = root[phase]
        while node >= 0:
            cell = _scale(count, share[node])  # off by one at most, from rounding
            start = _cell_start(cell, whole[node], part[node])
            if start > count:
                cell -= _1
                start = _cell_start(cell, whole[node], part[node])
            elif _cell_start(cell + _1, whole[node], part[node]) <= count:
                cell += _1
                start = _cell_start(cell, whole[node], part[node])
            lot = _lot(cell, start, whole[node], part[node], lot_key[node])
            if count == lot:
                node, count = children[node, 0], cell
            else:
                node, count = children[node, 1], count - cell - _U(count > lot)
        chosen = -node - 1
        count += before[phase, chosen]
        epoch = count // windows[chosen]
        shard[place] = chosen
        window[place] = permute(
            count - epoch * windows[chosen], windows[chosen], _key_of(keys[chosen], epoch)
        )


def derive_key(seed: int, what: str) -> int:
    """A key of 64 bits for a purpose. A shard's hangs on its name, so that others may join it."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{what}".encode()).digest()[:8], "little")


@dataclass(frozen=True, slots=True)
class Node:
    """A fork. ``length`` is that of a cell, in units of 2**-64 samples; the lighter child first."""

    length: int
    key: int
    light: int
    heavy: int

    def start(self, cell: int) -> int:
        return (cell * self.length) >> 64

    def lot(self, cell: int) -> int:
        start = self.start(cell)
        drawn = int(_key_of(np.uint64(self.key), np.uint64(cell)))
        return start + (drawn * (self.start(cell + 1) - start) >> 64)

    def cell_of(self, place: int) -> int:
        cell = (place << 64) // self.length
        return cell + (self.start(cell + 1) <= place)

    def light_before(self, place: int) -> int:
        """How many of the first ``place`` samples are the lighter child's."""
        cell = self.cell_of(place)
        return cell + (place > self.lot(cell))

    def place_of_heavy(self, number: int) -> int:
        """Where the heavier child's ``number``-th sample stands."""
        cell = (number << 64) // (self.length - 2**64)
        cell += self.start(cell + 1) - (cell + 1) <= number
        place = number + cell
        return place + (place >= self.lot(cell))


@dataclass(frozen=True, slots=True)
class PhaseSpan:
    """A phase, in samples. ``path[shard]`` leads from the root: (node, light?) at every fork."""

    name: str
    first: int
    samples: int
    root: int
    shares: Mapping[str, Fraction]
    path: Mapping[int, tuple[tuple[int, bool], ...]]


class Order:
    """The order of samples of a mixture, for windows of ``context`` tokens.

    ``windows`` are the windows each shard holds. Raises :class:`UsageError` if a shard that is
    to be drawn from holds none. Samples past the end of the last phase do not exist.
    """

    def __init__(
        self, mixture: Mixture, windows: Mapping[str, int], context: int, seed: int
    ) -> None:
        self.names = tuple(mixture.shards)
        self.windows = tuple(windows[name] for name in self.names)
        self.seed = seed
        drawn = {name for phase in mixture.phases for name in phase.shares()}
        empty = [name for name in self.names if name in drawn and not windows[name]]
        if empty:
            raise UsageError(
                f"no full window of {context:,} tokens of text for {', '.join(empty)}",
                hint="use a smaller model.context, or more text",
            )
        self._nodes: list[Node] = []
        self.phases: list[PhaseSpan] = []
        self._before = [[0] * len(self.names)]
        first = 0
        for number, phase in enumerate(mixture.phases):
            # A phase that is shorter than a window still has one.
            samples = ENDLESS if phase.length is None else max(1, phase.length // context)
            shares = phase.shares()
            weights = [(shares[name], self.names.index(name)) for name in shares]
            root = self._grow(weights, derive_key(seed, f"phase/{number}"))
            span = PhaseSpan(phase.name, first, samples, root, shares, self._paths(root))
            self.phases.append(span)
            first += samples
            if samples != ENDLESS:
                ends = self._shared(span, samples)
                self._before.append([a + b for a, b in zip(self._before[-1], ends, strict=True)])
        self.samples = first
        self.key_of_shard = [derive_key(seed, f"shard/{name}") for name in self.names]
        self._arrays = self._pack()

    def _grow(self, weights: Sequence[tuple[Fraction, int]], key: int) -> int:
        """Huffman's tree over (share, shard); returns its root. Shards are -1, -2, and so on."""
        heap = [(share, shard, -shard - 1) for share, shard in weights]
        heapq.heapify(heap)
        while len(heap) > 1:
            (small, one, light), (large, two, heavy) = heapq.heappop(heap), heapq.heappop(heap)
            length = min(int((small + large) / small * 2**64), LONGEST_CELL * 2**64)
            number = len(self._nodes)
            self._nodes.append(
                Node(length, int(_key_of(np.uint64(key), np.uint64(number))), light, heavy)
            )
            heapq.heappush(heap, (small + large, min(one, two), number))
        return heap[0][2]

    def _paths(self, root: int) -> dict[int, tuple[tuple[int, bool], ...]]:
        paths: dict[int, tuple[tuple[int, bool], ...]] = {}
        waiting: list[tuple[int, tuple[tuple[int, bool], ...]]] = [(root, ())]
        while waiting:
            number, path = waiting.pop()
            if number < 0:
                paths[-number - 1] = path
                continue
            node = self._nodes[number]
            waiting.append((node.light, (*path, (number, True))))
            waiting.append((node.heavy, (*path, (number, False))))
        return paths

    def _shared(self, span: PhaseSpan, count: int) -> list[int]:
        """How many of the first ``count`` samples of a phase are each shard's."""
        counts = [0] * len(self.names)
        for shard, path in span.path.items():
            left = count
            for number, light in path:
                part = self._nodes[number].light_before(left)
                left = part if light else left - part
            counts[shard] = left
        return counts

    def _pack(self) -> tuple[Any, ...]:
        def unsigned(values: Sequence[int]) -> UInt64s:
            return np.array(values, dtype=np.uint64)

        spans, nodes = self.phases, self._nodes
        return (
            unsigned([span.first for span in spans]),
            np.array([span.root for span in spans], dtype=np.int64),
            unsigned([2**128 // node.length for node in nodes]),
            unsigned([node.length >> 64 for node in nodes]),
            unsigned([node.length & (2**64 - 1) for node in nodes]),
            unsigned([node.key for node in nodes]),
            np.array([(n.light, n.heavy) for n in nodes], dtype=np.int64).reshape(-1, 2),
            np.array(self._before[: len(spans)], dtype=np.uint64),
            unsigned(self.windows),
            unsigned(self.key_of_shard),
        )

    def draw(self, indices: Sequence[int] | range | Int64s) -> tuple[Int64s, Int64s]:
        """Shard (its number in ``names``) and window of each sample.

        Raises :class:`IndexError` for a sample that does not exist.
        """
        asked = np.asarray(indices, dtype=np.int64)
        if len(asked) and (asked.min() < 0 or asked.max() >= self.samples):
            raise IndexError(f"samples are numbered 0 to {self.samples - 1}")
        shard, window = np.empty_like(asked), np.empty_like(asked)
        _draw(asked, *self._arrays, shard, window)
        return shard, window

    def counts(self, stop: int, start: int = 0) -> Int64s:
        """How many of the samples from ``start`` up to ``stop`` are each shard's."""
        return self._counts(stop) - self._counts(start)

    def _counts(self, stop: int) -> Int64s:
        number = max(n for n, span in enumerate(self.phases) if span.first <= max(stop, 0))
        span = self.phases[number]
        inside = self._shared(span, min(stop - span.first, span.samples))
        return np.array([a + b for a, b in zip(self._before[number], inside, strict=True)])

    def find(self, shard: int, window: int, stop: int) -> list[int]:
        """The samples before ``stop`` that show a window, in order: the inverse of :meth:`draw`."""
        size, found = self.windows[shard], []
        for epoch in range(ENDLESS):
            key = _key_of(np.uint64(self.key_of_shard[shard]), np.uint64(epoch))
            place = int(unpermute(np.uint64(window), np.uint64(size), np.uint64(key)))
            index = self._index_of(shard, epoch * size + place)
            if index is None or index >= stop:
                break
            found.append(index)
        return found

    def _index_of(self, shard: int, draw: int) -> int | None:
        """The sample that is a shard's ``draw``-th, or None if none is."""
        for number, span in enumerate(self.phases):
            last = number + 1 == len(self._before)
            if not last and draw >= self._before[number + 1][shard]:
                continue
            if shard not in span.path:
                if last:
                    return None
                continue
            count = draw - self._before[number][shard]
            for step, light in reversed(span.path[shard]):
                node = self._nodes[step]
                count = node.lot(count) if light else node.place_of_heavy(count)
            return span.first + count
        return None
