"""A sequence of symbols as a Huffman-shaped wavelet tree: rank and access in bits, not bytes.

Grossi, Gupta, Vitter 2003; Huffman shape after Foschini et al. 2006. Each inner node of the
Huffman tree holds one bit for each symbol below it, in the order of the sequence: which way it
goes. The bits of all nodes lie one after another in lines of 512 bits (a cache line): the first
64 count the ones before the line, 448 follow. So a step down the tree touches one cache line,
and the tree takes 8/7 of the sequence's Huffman code.
"""

from __future__ import annotations

import heapq
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic

I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]

LINE_WORDS = 8  # of 64 bits
LINE_BITS = 448  # those after the count


class Wavelet(NamedTuple):
    """The arrays of one tree.

    ``lines``: the bits, see above. ``starts``: where the bits of each inner node begin.
    ``ones``: the ones before that. ``children``: for each inner node the two below it, an inner
    node as its number, a symbol as ``-1 - symbol``. ``codes``, ``lengths``: the way to each
    symbol, its first turn in the highest bit. The root is node 0.
    """

    lines: U64
    starts: I64
    ones: I64
    children: I32
    codes: U64
    lengths: U8


def build(symbols: U32, counts: I64) -> Wavelet:
    """The tree of a sequence; ``counts`` says how often each symbol is in it (at least two > 0)."""
    children, codes, lengths = huffman(counts)
    weights = _weights(children, counts)
    starts = np.zeros(len(children), dtype=np.int64)
    np.cumsum(weights[:-1], out=starts[1:])
    bits = int(starts[-1] + weights[-1])
    lines = np.zeros((bits // LINE_BITS + 1) * LINE_WORDS, dtype=np.uint64)
    wide = np.uint64 if lengths.max() > 32 else np.uint32
    top = wide(8 * wide().itemsize - 1)
    ways = (codes << (np.uint64(top) + np.uint64(1) - lengths)).astype(wide)
    here, below = (np.empty(len(symbols) + 1, dtype=wide) for _ in range(2))
    _turns(symbols, ways, here)
    _fill(here, below, top, lines, starts, weights, children.reshape(-1))
    _count(lines)
    ones = np.array([rank_ones(lines, int(start)) for start in starts], dtype=np.int64)
    return Wavelet(lines, starts, ones, children.reshape(-1), codes, lengths)


def huffman(counts: I64) -> tuple[I32, U64, U8]:
    """Children of the inner nodes (level by level from the root), codes and lengths of symbols.

    Equal weights are joined in order of the symbols, so that the same counts give the same tree.
    """
    heap: list[tuple[int, int, Any]] = [
        (int(count), symbol, -1 - symbol) for symbol, count in enumerate(counts) if count
    ]
    if len(heap) < 2:
        raise ValueError("a wavelet tree needs two symbols")
    heapq.heapify(heap)
    number = len(counts)
    while len(heap) > 1:
        first, second = heapq.heappop(heap), heapq.heappop(heap)
        heapq.heappush(heap, (first[0] + second[0], number, (first[2], second[2])))
        number += 1
    codes = np.zeros(len(counts), dtype=np.uint64)
    lengths = np.zeros(len(counts), dtype=np.uint8)
    level: list[tuple[Any, int]] = [(heap[0][2], 0)]
    children: list[tuple[int, int]] = []
    depth, known = 0, 1
    while level:
        below: list[tuple[Any, int]] = []
        depth += 1
        for pair, code in level:
            row = []
            for turn in (0, 1):
                child = pair[turn]
                if isinstance(child, tuple):
                    row.append(known)
                    known += 1
                    below.append((child, code << 1 | turn))
                else:
                    symbol = -1 - child
                    codes[symbol], lengths[symbol] = code << 1 | turn, depth
                    row.append(child)
            children.append((row[0], row[1]))
        level = below
    return np.array(children, dtype=np.int32), codes, lengths


def _weights(children: I32, counts: I64) -> I64:
    """How many symbols pass through each inner node. Children come after their parents."""
    weights = np.zeros(len(children), dtype=np.int64)
    for node in range(len(children) - 1, -1, -1):
        for child in children[node]:
            weights[node] += weights[child] if child >= 0 else counts[-1 - child]
    return weights


@numba.njit(cache=True, nogil=True)
def _turns(symbols: U32, ways: Any, turns: Any) -> None:
    for place in range(len(symbols)):
        turns[place] = ways[symbols[place]]


@numba.njit(cache=True, nogil=True)
def _fill(
    here: Any, below: Any, top: Any, lines: U64, starts: I64, weights: I64, children: I32
) -> None:
    """Write the bits level by level; what goes on stands in order of the nodes of its level.

    ``here`` has the turns that are left of each symbol's way, the next one in bit ``top``. Both
    arrays have one place more than symbols: what does not go on is written there.
    """
    one_bit = here.dtype.type(1)
    nowhere = len(here) - 1
    first, last = 0, 1
    while first < last:
        place = filled = 0
        next_first, next_last = last, last
        for node in range(first, last):
            to_zero: Any = nowhere
            to_one: Any = nowhere
            zero_step = one_step = 0
            if children[2 * node] >= 0:
                to_zero, zero_step = filled, 1
                filled += weights[children[2 * node]]
                next_last += 1
            if children[2 * node + 1] >= 0:
                to_one, one_step = filled, 1
                filled += weights[children[2 * node + 1]]
                next_last += 1
            bit = starts[node]
            line, inside = bit // LINE_BITS, bit % LINE_BITS
            word, shift = line * LINE_WORDS + 1 + inside // 64, inside % 64
            end = place + weights[node]
            while place < end:
                count = min(64 - shift, end - place)
                bits = np.uint64(0)
                for index in range(count):
                    way = here[place + index]
                    turn = np.int64(way >> top)
                    bits |= np.uint64(turn) << np.uint64(shift + index)
                    below[to_one if turn else to_zero] = way << one_bit
                    to_one += one_step & turn
                    to_zero += zero_step & (1 - turn)
                lines[word] |= bits
                place += count
                shift = 0
                word += 1
                if word % LINE_WORDS == 0:
                    word += 1
        here, below = below, here
        first, last = next_first, next_last


def _makeones_of(context: Any, word: Any) -> Any:  # noqa: ARG001
    """Number of ones of a 64-bit word, one machine instruction."""

    def generate(_: Any, builder: Any, __: Any, values: Any) -> Any:
        return builder.ctpop(values[0])

    return numba.types.uint64(numba.types.uint64), generate


ones_of: Any = intrinsic(_makeones_of)


def _make_prefetch(_: Any, array: Any, index: Any) -> Any:
    """Have a word of an array brought near; nothing happens for a place that is not there."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, values[0]).data
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        call = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        at = builder.bitcast(builder.gep(data, [values[1]]), byte)
        builder.call(call, [at, *(ir.Constant(word, value) for value in (0, 3, 1))])
        return context.get_dummy_value()

    return numba.types.void(array, index), generate


prefetch: Any = intrinsic(_make_prefetch)


@numba.njit(cache=True, nogil=True)
def _count(lines: U64) -> None:
    total = np.uint64(0)
    for line in range(len(lines) // LINE_WORDS):
        lines[line * LINE_WORDS] = total
        for word in range(line * LINE_WORDS + 1, (line + 1) * LINE_WORDS):
            total += ones_of(lines[word])


@numba.njit(cache=True, nogil=True, inline="always")
def rank_ones(lines: U64, bit: int) -> int:
    """Ones before a bit; 0 for a bit that is not there, which only a forged file asks for."""
    line = bit // LINE_BITS
    word = line * LINE_WORDS
    if bit < 0 or word >= len(lines):
        return 0
    inside = bit - line * LINE_BITS
    total = lines[word]
    whole = inside >> 6
    for index in range(word + 1, word + 1 + whole):
        total += ones_of(lines[index])
    rest = inside & 63
    if rest:
        mask = (np.uint64(1) << np.uint64(rest)) - np.uint64(1)
        total += ones_of(lines[word + 1 + whole] & mask)
    return np.int64(total)  # type: ignore[return-value,unused-ignore]


@numba.njit(cache=True, nogil=True)
def ranks(tree: Wavelet, symbol: int, low: int, high: int) -> tuple[int, int]:
    """How often the symbol stands before each of two places: both ways down at a time."""
    length = np.int64(tree.lengths[symbol])
    code = np.int64(tree.codes[symbol])
    node = 0
    for turn in range(length - 1, -1, -1):
        start, before = tree.starts[node], tree.ones[node]
        low_ones = rank_ones(tree.lines, start + low) - before
        high_ones = rank_ones(tree.lines, start + high) - before
        if (code >> turn) & 1:
            low, high = low_ones, high_ones
            node = tree.children[2 * node + 1]
        else:
            low -= low_ones
            high -= high_ones
            node = tree.children[2 * node]
    return low, high
