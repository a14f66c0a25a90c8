"""How well a score tells two groups apart: AUC, true positives at few false ones, recall at k.

Pure numpy. Higher scores stand for the first group, the *positives*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from yoriai import Measured
from yoriai.intervals import Z95, wilson
from yoriai.probe import FEWEST, too_few

Floats = npt.NDArray[np.float64]
DRAWS = 1000
FALSE_POSITIVES = 0.01


def auc(positives: Sequence[float], negatives: Sequence[float]) -> float:
    """P(a positive scores higher than a negative), ties count half (Mann and Whitney 1947)."""
    first, second = np.asarray(positives, float), np.asarray(negatives, float)
    if not len(first) or not len(second):
        return 0.5
    order = np.sort(second)
    below = np.searchsorted(order, first, "left")
    not_above = np.searchsorted(order, first, "right")
    return float((below + not_above).sum() / (2 * len(first) * len(second)))


def auc_interval(value: float, positives: int, negatives: int) -> tuple[float, float]:
    """95 % interval of an AUC, never without width and within 0 and 1.

    The bounds are those values whose standard error, by Hanley and McNeil (1982) with the two
    sizes averaged, puts them 1.96 of it from what was seen (Newcombe 2006, Stat. Med. 25, 559,
    method 5).
    """
    mean = (positives + negatives) / 2

    def error(theta: float) -> float:
        spread = 1 + (mean - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return math.sqrt(max(0.0, theta * (1 - theta) * spread / (positives * negatives)))

    def bound(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            if abs(middle - value) <= Z95 * error(middle):
                inside = middle
            else:
                outside = middle
        return inside

    low, high = bound(value, 0.0), bound(value, 1.0)
    # At 0 and 1 the standard error is 0 there, and positive just beside.
    if value >= 1.0:
        high, low = 1.0, bound(1.0 - 1e-12, 0.0)
    if value <= 0.0:
        low, high = 0.0, bound(1e-12, 1.0)
    return min(low, value), max(high, value)


def measured_auc(name: str, positives: Sequence[float], negatives: Sequence[float]) -> Measured:
    """The AUC with its interval; without one where a group has fewer than ten."""
    value, least = auc(positives, negatives), min(len(positives), len(negatives))
    total = len(positives) + len(negatives)
    if least < FEWEST:
        return Measured(name=name, value=value, items=total, chance=0.5, note=too_few(least))
    interval = auc_interval(value, len(positives), len(negatives))
    return Measured(name=name, value=value, items=total, chance=0.5, interval=interval)


def true_positives(
    positives: Sequence[float], negatives: Sequence[float], rate: float = FALSE_POSITIVES
) -> float:
    """The share of positives above all but ``rate`` of the negatives (Carlini et al. 2022)."""
    allowed = math.floor(rate * len(negatives) + 1e-9)
    threshold = np.sort(np.asarray(negatives, float))[::-1][allowed]
    return float((np.asarray(positives, float) > threshold).mean())


def measured_true_positives(
    name: str,
    positives: Sequence[float],
    negatives: Sequence[float],
    seed: int,
    rate: float = FALSE_POSITIVES,
) -> Measured:
    """True positives at ``rate`` false ones, with the wider of two intervals.

    Wilson's, which takes the threshold as given, and a bootstrap of both groups, which does not.
    Where ``rate`` of the negatives is less than one of them, there is no interval.
    """
    count = len(positives)
    if not count or not len(negatives):
        return Measured(name=name, value=0.0, items=count, chance=rate, note=too_few(0))
    value = true_positives(positives, negatives, rate)
    if rate * len(negatives) < 1:
        note = f"{rate:.0%} of {len(negatives)} texts that were held out is less than one"
        return Measured(name=name, value=value, items=count, chance=rate, note=note)
    if count < FEWEST:
        return Measured(name=name, value=value, items=count, chance=rate, note=too_few(count))
    random = np.random.Generator(np.random.PCG64(seed))
    first, second = np.asarray(positives, float), np.asarray(negatives, float)
    drawn = [
        true_positives(
            first[random.integers(0, count, count)],  # type: ignore[arg-type]
            second[random.integers(0, len(second), len(second))],  # type: ignore[arg-type]
            rate,
        )
        for _ in range(DRAWS)
    ]
    bounds = [*np.quantile(drawn, [0.025, 0.975]), *wilson(value * count, count), value]
    return Measured(
        name=name, value=value, items=count, chance=rate,
        interval=(float(min(bounds)), float(max(bounds))),
    )  # fmt: skip


def recall_at(scores: Sequence[float], planted: Sequence[bool], k: int) -> tuple[int, int]:
    """How many planted items are among the ``k`` highest scores, and how many there could be.

    Ties at the border count by their share, rounded down: no order of theirs is better than chance.
    """
    values, marks = np.asarray(scores, float), np.asarray(planted, bool)
    k = min(k, len(values))
    if not k:
        return 0, 0
    threshold = np.sort(values)[::-1][k - 1]
    above, at = values > threshold, values == threshold
    room = k - int(above.sum())
    share = int(marks[at].sum()) * room // max(1, int(at.sum()))
    return int(marks[above].sum()) + share, min(k, int(marks.sum()))


def measured_recall(
    name: str, scores: Sequence[float], planted: Sequence[bool], k: int
) -> Measured:
    """Recall at ``k``; chance is the share of planted items that ``k`` drawn blindly would hold."""
    found, most = recall_at(scores, planted, k)
    chance = sum(planted) * min(k, len(scores)) / max(1, len(scores)) / max(1, most)
    return Measured.share(name, found, most, chance=chance)


def spread(function: Callable[[Floats], float], values: Sequence[float], seed: int) -> list[float]:
    """A statistic of :data:`DRAWS` bootstrap samples, sorted."""
    random = np.random.Generator(np.random.PCG64(seed))
    array = np.asarray(values, float)
    return sorted(function(array[random.integers(0, len(array), len(array))]) for _ in range(DRAWS))
