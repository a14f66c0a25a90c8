"""Probabilities of a unigram (multigram) model for a given vocabulary, by expectation maximisation.

The model of Deligne and Bimbot (1995, "Language modeling by variable length sequences"): a line
is a sequence of pieces drawn independently. An epoch computes, for every line and over *all* ways
to cut it, how often each piece is expected (forward-backward over a trie), and sets
each probability to its piece's share. Nothing is pruned; the vocabulary stays as it is.

With ``weigh="lines"`` the expected counts of a line are divided by its expected number of
pieces, so that every line weighs the same. That is what LLM-jp's re-estimation builds on
(github.com/tatHi/multigram, ``mdp.calcPosterior``, whose posterior of a line sums to 1), but it is
not expectation maximisation: short lines count for more than they hold.

Deterministic: texts are counted chunk by chunk and the chunks' sums added in order, in
64-bit floats, so the number of workers changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from yoriai import YoriaiError
from yoriai_corpus.text.batch import F64, I64, U32, codes_of

I32 = npt.NDArray[np.int32]
Weigh = Literal["tokens", "lines"]

SPACE, ESCAPED, NEWLINE = 0x20, 0x2581, 0x0A
UNKNOWN_PENALTY = 10.0  # below the lowest score, as in SentencePiece (kUnkPenalty)
FLOOR = -25.0  # score of a piece that is never expected; what is seen in terabytes lies above
_CHECK_EVERY = 8  # positions between two looks at the exponent of the forward sums
_SMALL = 2.0**-200
_BEHIND = 256  # cells of the double array


class PieceTrie(NamedTuple):
    """A double array (Aoe 1989): the child of cell ``s`` by character ``c`` is ``base[s] + c``.

    ``cells`` is int32[cells, 3]: base, the parent (check), and the piece that ends here or -1.
    ``alphabet`` is uint32, sorted; a code point's ``c`` is its place in it plus 1.
    """

    cells: I32
    alphabet: U32
    longest: int

    def codes(self) -> I32:
        """``c`` of every code point, 0 for those of no piece; the space is U+2581."""
        table = np.zeros(0x110000, dtype=np.int32)
        table[self.alphabet] = np.arange(1, len(self.alphabet) + 1, dtype=np.int32)
        table[SPACE] = table[ESCAPED]
        return table


def build_trie(pieces: Sequence[str]) -> PieceTrie:
    """A trie of distinct, non-empty pieces, spaces written as U+2581."""
    if not pieces or "" in pieces or len(set(pieces)) != len(pieces):
        raise ValueError("pieces must be distinct and none of them empty")
    order = sorted(range(len(pieces)), key=pieces.__getitem__)
    codes = codes_of([pieces[index] for index in order])
    alphabet = np.unique(codes.points)
    symbols = (np.searchsorted(alphabet, codes.points) + 1).astype(np.int32)
    ids = np.array(order, dtype=np.int32)
    cells = _double_array(symbols, codes.starts, ids, len(alphabet))
    return PieceTrie(cells, alphabet, int(np.diff(codes.starts).max()))


@numba.njit(cache=True, nogil=True)
def _double_array(symbols: I32, starts: I64, ids: I32, alphabet: int) -> I32:
    """Breadth first; each node's children go where the first free cells fit them all."""
    size = 2 * (len(symbols) + alphabet) + 16
    cells = np.full((size, 3), -1, dtype=np.int32)
    cells[0, 1] = 0  # the root is its own parent: no child may stand there
    nodes = len(symbols) + 1
    low = np.zeros(nodes, dtype=np.int64)  # a node is the sorted pieces [low, high) …
    high = np.zeros(nodes, dtype=np.int64)
    depth = np.zeros(nodes, dtype=np.int64)  # … which share so many characters
    cell = np.zeros(nodes, dtype=np.int64)
    high[0] = len(ids)
    # Below the alphabet's size there would be holes that only few characters can fill.
    begin, end, hole, sparse = 0, 1, alphabet + 1, alphabet + 1
    children = np.zeros(alphabet + 1, dtype=np.int32)
    edges = np.zeros(alphabet + 1, dtype=np.int64)
    while begin < end:
        here, at = cell[begin], depth[begin]
        first, last = low[begin], high[begin]
        begin += 1
        if starts[first + 1] - starts[first] == at:
            cells[here, 2] = ids[first]
            first += 1
        count = 0
        for row in range(first, last):
            symbol = symbols[starts[row] + at]
            if count == 0 or children[count - 1] != symbol:
                children[count] = symbol
                edges[count] = row
                count += 1
        if count == 0:
            continue
        # An only child fits the first hole there is. For several, the search begins not far
        # behind the last success, or it would go over all the holes again for each node.
        place = hole if count == 1 else sparse
        while True:
            if place + alphabet >= len(cells):
                wider = np.full((2 * len(cells), 3), -1, dtype=np.int32)
                wider[: len(cells)] = cells
                cells = wider
            base = place - children[0]  # at least 1
            if cells[place, 1] == -1:
                fits = True
                for index in range(1, count):
                    if cells[base + children[index], 1] != -1:
                        fits = False
                        break
                if fits:
                    break
            place += 1
        if count == 1:
            while cells[hole, 1] != -1:
                hole += 1
        else:
            sparse = max(sparse, place - _BEHIND)
        cells[here, 0] = base
        for index in range(count):
            place = base + children[index]
            cells[place, 1] = here
            low[end] = edges[index]
            high[end] = edges[index + 1] if index + 1 < count else last
            depth[end] = at + 1
            cell[end] = place
            end += 1
    # A look-up may go as far as the highest base plus the alphabet.
    used = cells[:, 0].max() + alphabet + 1
    return cells[: max(used, 1)].copy()


def expected_counts(
    trie: PieceTrie, scores: F64, texts: Iterable[str], *, weigh: Weigh = "tokens"
) -> tuple[F64, float, float]:
    """Expected counts of all pieces (the last entry: unknown characters) in texts, cut at newlines.

    ``scores`` are natural-log probabilities. Also gives the log-likelihood of the texts and
    the expected number of pieces in them.
    """
    points = codes_of(texts).points
    unknown = scores.min() - UNKNOWN_PENALTY
    probabilities = np.exp(np.append(scores, unknown))
    counts = np.zeros(len(scores) + 1)
    likelihood, tokens = _count(
        points, trie.codes(), trie.cells, trie.longest, probabilities, counts, weigh == "lines"
    )
    return counts, likelihood, tokens


@numba.njit(cache=True, nogil=True)
def _count(
    points: U32,
    codes: I32,
    cells: I32,
    longest: int,
    probabilities: F64,
    counts: F64,
    per_line: bool,
) -> tuple[float, float]:
    """Add the expected counts of each line to ``counts``.

    ``forward[t]`` is the sum over all ways to cut the first ``t`` characters, times
    2**-exponents[t], which keeps it in the range of a float. The posterior of a piece from s to t
    is ``boundary[t] * forward[s] * p / forward[t]``, ``boundary[t]`` being the probability
    that a cut is at t; so no backward sums are needed, nor their scale.
    """
    unknown = len(probabilities) - 1
    likelihood = 0.0
    expected = 0.0
    room = 1024
    forward = np.zeros(room + longest + 1)
    weights = np.zeros(room + longest + 1)
    exponents = np.zeros(room + longest + 1, dtype=np.int64)
    first = np.zeros(room + 2, dtype=np.int64)
    pieces = np.zeros(room * 8, dtype=np.int32)
    ends = np.zeros(room * 8, dtype=np.int32)
    posterior = np.zeros(room * 8)
    start = 0
    while start < len(points):
        stop = start
        while stop < len(points) and points[stop] != NEWLINE:
            stop += 1
        length = stop - start
        if length == 0:
            start = stop + 1
            continue
        if length > room:
            room = 2 * length
            forward = np.zeros(room + longest + 1)
            weights = np.zeros(room + longest + 1)
            exponents = np.zeros(room + longest + 1, dtype=np.int64)
            first = np.zeros(room + 2, dtype=np.int64)
        forward[: length + longest + 1] = 0.0
        forward[0] = 1.0
        exponent = 0
        edges = 0
        for here in range(length):
            if here % _CHECK_EVERY == 0:
                most = forward[here : here + longest + 1].max()
                if most < _SMALL:
                    shift = math.frexp(most)[1]
                    forward[here : here + longest + 1] *= math.ldexp(1.0, -shift)
                    exponent += shift
            exponents[here] = exponent
            first[here] = edges
            if edges + longest >= len(pieces):
                pieces = np.append(pieces, np.zeros_like(pieces))
                ends = np.append(ends, np.zeros_like(ends))
                posterior = np.append(posterior, np.zeros_like(posterior))
            amount = forward[here]
            node = np.int64(0)
            single = False
            for place in range(here, min(length, here + longest)):
                child = cells[node, 0] + codes[points[start + place]]
                if child < 0 or cells[child, 1] != node or child == 0:
                    break
                node = np.int64(child)
                piece = cells[node, 2]
                if piece >= 0:
                    pieces[edges] = piece
                    ends[edges] = place + 1
                    edges += 1
                    forward[place + 1] += amount * probabilities[piece]
                    if place == here:
                        single = True
            if not single:
                pieces[edges] = unknown
                ends[edges] = here + 1
                edges += 1
                forward[here + 1] += amount * probabilities[unknown]
        first[length] = edges
        exponents[length] = exponent
        likelihood += math.log(forward[length]) + exponent * math.log(2.0)
        weights[length] = 1.0 / forward[length]  # boundary / forward, at every position
        total = 0.0
        for here in range(length - 1, -1, -1):
            amount = forward[here]
            boundary = 0.0
            if amount > 0.0:
                for edge in range(first[here], first[here + 1]):
                    end = ends[edge]
                    value = weights[end] * probabilities[pieces[edge]] * amount
                    if exponents[end] != exponents[here]:
                        value *= math.ldexp(1.0, exponents[here] - exponents[end])
                    posterior[edge] = value
                    boundary += value
                weights[here] = boundary / amount
            else:
                posterior[first[here] : first[here + 1]] = 0.0
                weights[here] = 0.0
            total += boundary
        share = 1.0 / total if per_line else 1.0
        for edge in range(edges):
            counts[pieces[edge]] += posterior[edge] * share
        expected += total
        start = stop + 1
    return likelihood, expected


# --- epochs ------------------------------------------------------------------------------


Counted = tuple[int, F64, float, float, int]
"""One chunk's number, counts, log-likelihood, expected pieces and characters."""


@dataclass(frozen=True, slots=True)
class UnigramTask:
    """A chunk of text (a UTF-8 file), the trie (a folder) and the scores of this epoch."""

    chunk: int
    text: Path
    model: Path
    weigh: Weigh


@dataclass(slots=True)
class Estimate:
    """Scores (natural-log probabilities) and how each epoch went."""

    scores: F64
    log: list[dict[str, float]] = field(default_factory=list)


def estimate(
    pieces: Sequence[str],
    texts: Sequence[Path],
    *,
    scratch: Path,
    run: Callable[[Callable[[UnigramTask], Counted], Iterable[UnigramTask]], Iterable[Counted]],
    epochs: int = 2,
    tolerance: float = 0.0,
    weigh: Weigh = "tokens",
    scores: F64 | None = None,
) -> Estimate:  # fmt: skip
    """Re-estimate the scores of ``pieces`` on UTF-8 files, from equal ones unless given.

    ``run(work, tasks)`` does the tasks anywhere, in any order (``Pool.run``, or ``map``). Ends
    early once the log-likelihood of a character gains no more than ``tolerance`` (relative).
    Raises :class:`yoriai.YoriaiError` when the files hold no text.
    """
    trie = build_trie(pieces)
    scratch.mkdir(parents=True, exist_ok=True)
    np.save(scratch / "cells.npy", trie.cells)
    np.save(scratch / "alphabet.npy", trie.alphabet)
    now = np.full(len(pieces), -math.log(len(pieces))) if scores is None else scores.copy()
    result = Estimate(now)
    before = -math.inf
    for epoch in range(epochs):
        np.save(scratch / "scores.npy", now)
        tasks = [UnigramTask(index, path, scratch, weigh) for index, path in enumerate(texts)]
        found = sorted(run(count_chunk, tasks), key=lambda answer: answer[0])
        counts = np.zeros(len(pieces) + 1)
        likelihood = tokens = 0.0
        characters = 0
        for _, part, part_likelihood, part_tokens, part_characters in found:
            counts += part
            likelihood += part_likelihood
            tokens += part_tokens
            characters += part_characters
        if not characters:
            raise YoriaiError("there is no text to estimate scores from")
        total = counts[:-1].sum()
        if not total > 0:
            raise YoriaiError("no piece of the vocabulary occurs in the text")
        with np.errstate(divide="ignore"):
            now = np.maximum(np.log(counts[:-1]) - math.log(total), FLOOR)
        mean = likelihood / characters
        result.log.append(
            {
                "epoch": epoch + 1,
                "log_likelihood_per_character": round(mean, 6),
                "characters_per_piece": round(characters / tokens, 6),
                "unknown_characters": round(float(counts[-1]), 3),
            }
        )
        if mean - before <= tolerance * abs(mean) and epoch:
            break
        before = mean
    result.scores = now
    return result


def count_chunk(task: UnigramTask) -> Counted:
    """One chunk's number, counts, log-likelihood, expected pieces and characters."""
    cells = np.load(task.model / "cells.npy")
    alphabet = np.load(task.model / "alphabet.npy")
    scores = np.load(task.model / "scores.npy")
    trie = PieceTrie(cells, alphabet, _longest(cells))
    text = task.text.read_text(encoding="utf-8")
    counts, likelihood, tokens = expected_counts(trie, scores, [text], weigh=task.weigh)
    return task.chunk, counts, likelihood, tokens, len(text) - text.count("\n")


def _longest(cells: I32) -> int:
    """The greatest depth of a node: parents stand at ``check``."""
    return int(_depth(cells))


@numba.njit(cache=True, nogil=True)
def _depth(cells: I32) -> int:
    most = 0
    for cell in range(1, len(cells)):
        if cells[cell, 2] >= 0:
            steps, at = 0, cell
            while at != 0:
                at = cells[at, 1]
                steps += 1
            most = max(most, steps)
    return most
