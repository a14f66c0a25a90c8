"""Overlap of character n-grams: how translations are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

ORDER = 6  # n-grams of one to six characters
BETA = 2.0  # recall counts twice as much as precision


def chrf(prediction: str, golds: Sequence[str]) -> float:
    """chrF2 of a sentence, the best over the golds, between 0 and 1.

    Popovic 2015 (W15-3049) as sacrebleu computes it (``sentence_chrf``, char order 6, no words, no
    smoothing, white space left out): precision and recall are averaged over the orders of which
    both texts have n-grams, then F with beta 2.
    """
    mine = _grams(prediction)
    return max((_f(mine, _grams(gold)) for gold in golds), default=0.0)


def _grams(text: str) -> list[Counter[str]]:
    """N-grams of each order."""
    dense = "".join(text.split())
    return [
        Counter(dense[at : at + size] for at in range(len(dense) - size + 1))
        for size in range(1, ORDER + 1)
    ]


def _f(mine: list[Counter[str]], theirs: list[Counter[str]]) -> float:
    precision = recall = 0.0
    orders = 0
    for found, wanted in zip(mine, theirs, strict=True):
        if not found or not wanted:
            continue
        matches = (found & wanted).total()
        precision += matches / found.total()
        recall += matches / wanted.total()
        orders += 1
    if not precision + recall:
        return 0.0
    precision, recall, weight = precision / orders, recall / orders, BETA**2
    return (1 + weight) * precision * recall / (weight * precision + recall)
