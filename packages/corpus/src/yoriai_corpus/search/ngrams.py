"""How often a run of tokens stands in token shards, and which token comes next: the ∞-gram.

After Liu et al. 2024 (infini-gram): a suffix array over the tokens counts an n-gram of any length
in a logarithmic number of comparisons, and the ∞-gram estimate of the next token is that after
the longest end of the context that occurs at all. In the order of the suffixes those that begin
with a context stand together, and among them those with the same next token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from yoriai import Artifact, UsageError, YoriaiError
from yoriai_corpus.search import array_file, fm_index

Ids = npt.NDArray[Any]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]
MOST_TOKENS = fm_index.MOST_BYTES // 4  # of one file: its suffixes are sorted as bytes
MOST_CONTEXT = 4096


def suffix_order(ids: Ids) -> U32:
    """Where the suffixes of tokens begin, in order: as bytes, the first of a token the highest.

    Raises :class:`OverflowError` for more tokens than one file may have.
    """
    if len(ids) > MOST_TOKENS:
        raise OverflowError(f"{len(ids):,} tokens in one file, at most {MOST_TOKENS:,}")
    if not len(ids):
        return np.zeros(0, dtype=np.uint32)
    width = ids.dtype.itemsize
    data = np.ascontiguousarray(ids.astype(ids.dtype.newbyteorder(">"))).view(np.uint8)
    order = fm_index.suffix_order(data)
    whole = order[order % width == 0] // width
    return whole.astype(np.uint32)


@dataclass(frozen=True, slots=True)
class TokenSuffixes:
    """The tokens of one file of a shard, and the order of their suffixes."""

    shard: str
    ids: Ids
    order: U32

    def range_of(self, context: Ids) -> tuple[int, int]:
        """Where in the order the suffixes stand that begin with a context."""
        low, high = _range(self.ids, self.order, context, 0, len(self.order))
        return int(low), int(high)

    def following(self, context: Ids) -> dict[int, int]:
        """How often each token comes next."""
        low, high = self.range_of(context)
        tokens, counts = _following(self.ids, self.order, len(context), low, high)
        return dict(zip(tokens.tolist(), counts.tolist(), strict=True))


@numba.njit(cache=True, nogil=True)
def _compare(ids: Ids, begin: int, context: Ids) -> int:
    """Whether a suffix stands before (-1) or after (1) those that begin with a context (0)."""
    for at in range(len(context)):
        if begin + at >= len(ids) or ids[begin + at] < context[at]:
            return -1
        if ids[begin + at] > context[at]:
            return 1
    return 0


@numba.njit(cache=True, nogil=True)
def _range(ids: Ids, order: U32, context: Ids, low: int, high: int) -> tuple[int, int]:
    first, last = low, high
    while first < last:
        middle = (first + last) // 2
        begin: Any = np.int64(order[middle])
        if _compare(ids, begin, context) < 0:
            first = middle + 1
        else:
            last = middle
    end, last = first, high
    while end < last:
        middle = (end + last) // 2
        begin = np.int64(order[middle])
        if _compare(ids, begin, context) <= 0:
            end = middle + 1
        else:
            last = middle
    return first, end


@numba.njit(cache=True, nogil=True)
def _following(ids: Ids, order: U32, length: int, low: int, high: int) -> tuple[I64, I64]:
    tokens = np.empty(high - low, dtype=np.int64)
    counts = np.empty(high - low, dtype=np.int64)
    found, place = 0, low
    while place < high:
        at = np.int64(order[place]) + length
        if at >= len(ids):  # the end of the file: nothing comes next
            place += 1
            continue
        token, first, last = ids[at], place, high
        while first < last:
            middle = (first + last) // 2
            here = np.int64(order[middle]) + length
            if here >= len(ids) or ids[here] <= token:
                first = middle + 1
            else:
                last = middle
        tokens[found], counts[found] = token, first - place
        found += 1
        place = first
    return tokens[:found].copy(), counts[:found].copy()


@dataclass(frozen=True, slots=True)
class NextTokens:
    """What comes after a context: of its last ``length`` tokens, which occur ``occurrences`` times.

    ``following``: how often each token comes next. ``by_shard``: the occurrences in each shard.
    """

    length: int
    occurrences: int
    following: dict[int, int]
    by_shard: dict[str, int]

    def probability(self, token: int) -> float:
        """The ∞-gram probability of a token."""
        total = sum(self.following.values())
        return self.following.get(token, 0) / total if total else 0.0

    @property
    def entropy_bits(self) -> float:
        """How uncertain the next token is; 0 where it is always the same."""
        total = sum(self.following.values())
        return -math.fsum(n / total * math.log2(n / total) for n in self.following.values())


class NgramIndex:
    """All files of an index of tokens, as one."""

    def __init__(self, artifact: Artifact) -> None:
        """Raises :class:`yoriai.YoriaiError` for files that are missing, cut or altered."""
        self.artifact = artifact
        self.vocabulary_size = int(artifact.facts["vocabulary_size"])
        self.parts = [_open(artifact.file(row["file"]), row) for row in artifact.facts["files"]]

    def count(self, context: Sequence[int]) -> dict[str, int]:
        """How often a run of tokens stands in each shard. The empty run: at every token."""
        wanted = self._check(context)
        found: dict[str, int] = {}
        for part in self.parts:
            low, high = part.range_of(wanted.astype(part.ids.dtype))
            found[part.shard] = found.get(part.shard, 0) + high - low
        return found

    def following(self, context: Sequence[int]) -> NextTokens:
        """What comes next after exactly this context (the n-gram estimate)."""
        wanted = self._check(context)
        following: dict[int, int] = {}
        for part in self.parts:
            for token, count in part.following(wanted.astype(part.ids.dtype)).items():
                following[token] = following.get(token, 0) + count
        by_shard = self.count(context)
        ordered = dict(sorted(following.items(), key=lambda row: (-row[1], row[0])))
        return NextTokens(len(context), sum(by_shard.values()), ordered, by_shard)

    def infinite(self, context: Sequence[int]) -> NextTokens:
        """What comes next after the longest end of a context that has a next token (the ∞-gram)."""
        shortest, longest = 0, min(len(context), MOST_CONTEXT)
        while shortest < longest:  # an end that occurs has shorter ends that occur
            middle = (shortest + longest + 1) // 2
            if self.following(context[len(context) - middle :]).following:
                shortest = middle
            else:
                longest = middle - 1
        return self.following(context[len(context) - shortest :])

    def _check(self, context: Sequence[int]) -> Ids:
        if len(context) > MOST_CONTEXT:
            raise UsageError(f"{len(context):,} tokens", hint=f"at most {MOST_CONTEXT:,}")
        wrong = next((t for t in context if not 0 <= t < self.vocabulary_size), None)
        if wrong is not None:
            raise UsageError(f"{wrong} is no token of a vocabulary of {self.vocabulary_size:,}")
        return np.array(context, dtype=np.int64)


def _open(path: Path, row: dict[str, Any]) -> TokenSuffixes:
    kind = np.dtype(row["type"])
    arrays = array_file.load(path, {"ids": kind.type, "order": np.uint32})
    ids, order = arrays["ids"], arrays["order"]
    if len(ids) != len(order) or (len(order) and int(order.max()) >= len(ids)):
        raise YoriaiError(f"{path.name} is damaged: its arrays do not fit together")
    return TokenSuffixes(row["shard"], ids, order)
