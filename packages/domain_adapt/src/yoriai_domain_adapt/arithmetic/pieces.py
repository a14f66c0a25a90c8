"""Choosing new pieces: byte-pair merging, continued from where a tokenizer stands.

Text is given as the pieces that the tokenizer cuts it into; the pair of neighbours that occurs
most often becomes a piece, again and again (Gage 1994; Sennrich et al. 2016, arXiv 1508.07909).
Every piece found is made of two that are there, so it can be added to a BPE tokenizer as a merge,
and to a unigram tokenizer as a piece.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

Word = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PieceMerge:
    """Two pieces that become one, and how often they stood side by side."""

    left: str
    right: str
    count: int

    @property
    def piece(self) -> str:
        return self.left + self.right


def continue_merges(
    words: Mapping[Word, int], count: int, *, fewest: int = 2, longest: int = 16
) -> list[PieceMerge]:
    """At most ``count`` merges, each by its frequency when its turn came.

    ``words`` are cut texts with how often each occurs. A pair that occurs less than ``fewest``
    times, or would be longer than ``longest`` characters, is never merged. Of equally frequent
    pairs the one that is first in order of its texts is taken: the same words, the same merges.
    """
    cut = [list(word) for word in words]
    times = list(words.values())
    pairs: Counter[tuple[str, str]] = Counter()
    places: dict[tuple[str, str], set[int]] = defaultdict(set)
    for number, word in enumerate(cut):
        for pair in pairwise(word):
            pairs[pair] += times[number]
            places[pair].add(number)
    heap = [(-n, pair) for pair, n in pairs.items()]
    heapq.heapify(heap)
    merges: list[PieceMerge] = []
    while heap and len(merges) < count:
        negative, pair = heapq.heappop(heap)
        now = pairs.get(pair, 0)
        if now != -negative:
            continue  # its count changed; the entry with the right one is in the heap, too
        if now < fewest:
            break
        if len(pair[0]) + len(pair[1]) > longest:
            continue
        merges.append(PieceMerge(*pair, now))
        changed: set[tuple[str, str]] = set()
        for number in places.pop(pair):
            changed |= _merge_in(cut, number, pair, times[number], pairs, places)
        pairs.pop(pair, None)
        for other in changed - {pair}:
            if pairs.get(other, 0) > 0:
                heapq.heappush(heap, (-pairs[other], other))
    return merges


def _merge_in(
    cut: list[list[str]],
    number: int,
    pair: tuple[str, str],
    times: int,
    pairs: Counter[tuple[str, str]],
    places: dict[tuple[str, str], set[int]],
) -> set[tuple[str, str]]:
    """Merge a pair in one word; the pairs whose counts changed."""
    old = cut[number]
    new: list[str] = []
    place = 0
    while place < len(old):
        if place + 1 < len(old) and (old[place], old[place + 1]) == pair:
            new.append(pair[0] + pair[1])
            place += 2
        else:
            new.append(old[place])
            place += 1
    before = Counter(pairwise(old))
    after = Counter(pairwise(new))
    cut[number] = new
    changed = set()
    for other in before.keys() | after.keys():
        difference = after[other] - before[other]
        if difference:
            pairs[other] += times * difference
            changed.add(other)
        if after[other]:
            places[other].add(number)
        elif other in places and other != pair:
            places[other].discard(number)
    return changed
