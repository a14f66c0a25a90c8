"""Do answers to one question agree? Pure functions of texts.

Two answers are the same if no more than width, case, white space and signs tells them apart; what
is said in other words is another answer, so agreement is a lower bound.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence


def folded(text: str) -> str:
    """What is compared of an answer: letters and digits, after NFKC, in lower case."""
    normal = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in normal if c.isalnum() or unicodedata.category(c)[0] == "M")


def agreement(answers: Sequence[str]) -> float:
    """Share of the pairs of answers that are the same; 1 for fewer than two."""
    count = len(answers)
    if count < 2:
        return 1.0
    same = sum(n * (n - 1) for n in Counter(map(folded, answers)).values())
    return same / (count * (count - 1))


def entropy(answers: Sequence[str]) -> float:
    """Entropy of the answers in nats: 0 if all agree, log n if none do.

    Discrete semantic entropy (Farquhar et al. 2024, Nature 630, 625), with :func:`folded` texts in
    the place of meanings.
    """
    counts = Counter(map(folded, answers)).values()
    total = sum(counts)
    return sum(-n / total * math.log(n / total) for n in counts) if total else 0.0


def commonest(answers: Sequence[str]) -> int:
    """The first of the answers that most say: self-consistency (Wang 2022, arXiv 2203.11171)."""
    counts = Counter(map(folded, answers))
    return max(range(len(answers)), key=lambda i: (counts[folded(answers[i])], -i))
