"""Calibration: does a model that is sure of an answer give the right one as often as it says?

Of a ranked question the probabilities are those of its choices alone: the likelihoods of
``samples.jsonl``, after a softmax. The *confidence* is that of the likeliest choice (by its sum),
and it is *right* or not. What needs no more than these two is taken from rows alone, which hold
no golds ("top-label calibration": Gupta and Ramdas 2022, arXiv 2107.08353).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from yoriai.intervals import wilson
from yoriai_eval.scoring.statistics import cluster_places

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_BINS = 15  # as in Guo et al. 2017, arXiv 1706.04599, section 2
IN_A_BIN = 15  # answers that a bin has at least: fewer make few bins
DRAWS = 400  # of what a calibrated model would have, and of resampled clusters
COLDEST, HOTTEST = 1 / 256, 256.0  # temperatures that are looked at
LOOKED_AT = 49  # temperatures, before the valley between the two beside the best is searched
STEPS = 40  # of that search


def table(sums: Sequence[Sequence[float]]) -> Floats:
    """Likelihoods of questions with any number of choices as one table (N, K)."""
    made = np.full((len(sums), max(map(len, sums), default=1)), -np.inf)
    for row, some in zip(made, sums, strict=True):
        row[: len(some)] = some
    return made


def confidences(logits: Floats, temperature: float = 1.0) -> Floats:
    """Of the likeliest choice of each question (N,), from a :func:`table`."""
    best = logits.max(1)
    return np.asarray(1 / np.exp((logits - best[:, None]) / temperature).sum(1))


# --- bins ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of about one confidence: its mean, and the share that is right with 95 % of it."""

    confidence: float
    share: float
    count: int
    interval: tuple[float, float]


def places(confidence: Floats) -> Ints:
    """The bin of each answer (N,): bins of about as many answers each, equal confidences in one.

    There are at most :data:`MOST_BINS`, and so few that each has :data:`IN_A_BIN` answers.
    """
    count = max(1, min(MOST_BINS, len(confidence) // IN_A_BIN))
    edges = np.unique(np.quantile(confidence, np.linspace(0, 1, count + 1)[1:-1]))
    return np.searchsorted(edges, confidence, side="left").astype(np.int64)


def reliability(confidence: Floats, right: Floats) -> list[Bin]:
    """What a reliability diagram shows, in order of confidence."""
    where, found = places(confidence), []
    for number in np.unique(where):
        chosen = where == number
        count, good = int(chosen.sum()), int(right[chosen].sum())
        found.append(
            Bin(float(confidence[chosen].mean()), good / count, count, wilson(good, count))
        )
    return found


def expected_error(confidence: Floats, right: Floats) -> float:
    """ECE: the mean distance between confidence and share of right answers, by bins of one size.

    Guo et al. 2017, equation 3; with bins of one size as in Nixon et al. 2019, arXiv 1904.01685.
    Too high of few answers: see :func:`calibrated_error`.
    """
    total = len(confidence)
    return sum(
        b.count / total * abs(b.confidence - b.share) for b in reliability(confidence, right)
    )


def debiased_error(confidence: Floats, right: Floats) -> float:
    """The root of the mean squared distance, less what chance adds to each bin; 0 at least.

    Kumar, Liang and Ma 2019, arXiv 1909.10155, definition 5.1: of each bin's squared distance
    y (1 - y) / (n - 1) is taken away. Bins of one answer have no such term and are left out.
    """
    bins = [b for b in reliability(confidence, right) if b.count > 1]
    total = sum(b.count for b in bins)
    square = sum(
        b.count / total * ((b.confidence - b.share) ** 2 - b.share * (1 - b.share) / (b.count - 1))
        for b in bins
    )
    return math.sqrt(max(0.0, square))


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The ECE that a model of the same confidences would have if it was calibrated.

    Its ``mean``, the value that 95 % lie ``below``, and how often it reaches the one found (``p``).
    """

    mean: float
    below: float
    p: float


def calibrated_error(
    confidence: Floats, right: Floats, clusters: Sequence[str] = (), seed: int = 0
) -> Calibrated:
    """By drawing answers that are right as often as the confidence says.

    Consistency resampling (Bröcker and Smith 2007, Weather and Forecasting 22, 651). Answers of one
    cluster are drawn with one random number, so they are right together as far as they can be.
    """
    draw = np.random.default_rng(seed)
    where = places(confidence)
    _, bins = np.unique(where, return_inverse=True)
    sizes = np.bincount(bins)
    means = np.bincount(bins, confidence) / sizes
    group = cluster_places(clusters or [""] * len(confidence))
    found = np.empty(DRAWS)
    for number in range(DRAWS):
        drawn = draw.random(int(group.max()) + 1)[group] < confidence
        shares = np.bincount(bins, drawn) / sizes
        found[number] = (sizes / len(confidence)) @ np.abs(means - shares)
    reached = int((found >= expected_error(confidence, right) - 1e-12).sum())
    return Calibrated(
        float(found.mean()), float(np.quantile(found, 0.95)), (reached + 1) / (DRAWS + 1)
    )


# --- scores -------------------------------------------------------------------------------


def brier_of_top(confidence: Floats, right: Floats) -> Floats:
    """Squared error of the likeliest choice, right or not: 0 to 1 (Brier 1950)."""
    return np.asarray((confidence - right) ** 2)


def risks(confidence: Floats, right: Floats) -> Floats:
    """Share of wrong answers among the n surest, for n from 1 (N,): risk over coverage.

    Questions of one confidence are answered in any order: each counts as their mean.
    """
    order = np.argsort(-confidence, kind="stable")
    sure, wrong = confidence[order], 1.0 - right[order]
    starts = np.flatnonzero(np.r_[True, sure[1:] != sure[:-1]])
    lengths = np.diff(np.r_[starts, len(sure)])
    wrong = np.repeat(np.add.reduceat(wrong, starts) / lengths, lengths)
    return np.asarray(wrong.cumsum() / np.arange(1, len(sure) + 1))


def area_under_risk(confidence: Floats, right: Floats) -> float:
    """AURC: the mean of the :func:`risks` (Geifman and El-Yaniv 2017, arXiv 1705.08500).

    A confidence that says nothing has the share of wrong answers.
    """
    return float(risks(confidence, right).mean())


def least_area(right: Floats) -> float:
    """The AURC of a confidence that puts all right answers before all wrong ones."""
    return area_under_risk(right, right)


def interval(
    statistic: Callable[[Floats, Floats], float],
    confidence: Floats,
    right: Floats,
    clusters: Sequence[str] = (),
    seed: int = 0,
) -> tuple[float, float]:
    """95 % of a statistic over clusters drawn with replacement; never without width.

    Where all draws give one value, the interval is Wilson's of the share of wrong answers.
    """
    draw = np.random.default_rng(seed)
    group = cluster_places(clusters or [""] * len(confidence))
    members = [np.flatnonzero(group == number) for number in range(int(group.max()) + 1)]
    found = []
    for _ in range(DRAWS):
        chosen = np.concatenate([members[n] for n in draw.integers(0, len(members), len(members))])
        found.append(statistic(confidence[chosen], right[chosen]))
    low, high = (float(v) for v in np.quantile(found, (0.025, 0.975)))
    value = statistic(confidence, right)
    if high - low < 1e-9:
        count = len(members)
        low, high = wilson(float((1 - right).mean()) * count, count)
    return min(low, value), max(high, value)


# --- temperature --------------------------------------------------------------------------


def loss_of_top(logits: Floats, right: Floats, temperature: float) -> float:
    """Mean natural-log loss of "the likeliest choice is right"."""
    sure = np.clip(confidences(logits, temperature), 1e-15, 1 - 1e-15)
    return float(-np.where(right > 0, np.log(sure), np.log1p(-sure)).mean())


def best_temperature(cost: Callable[[float], float]) -> float:
    """Where a loss is least between :data:`COLDEST` and :data:`HOTTEST`.

    The best of temperatures at equal ratios, then golden section between its neighbours.
    """
    grid = np.linspace(math.log(COLDEST), math.log(HOTTEST), LOOKED_AT)
    best = int(np.argmin([cost(math.exp(t)) for t in grid]))
    low, high = float(grid[max(0, best - 1)]), float(grid[min(LOOKED_AT - 1, best + 1)])
    golden = (math.sqrt(5) - 1) / 2
    for _ in range(STEPS):
        one, other = high - golden * (high - low), low + golden * (high - low)
        if cost(math.exp(one)) <= cost(math.exp(other)):
            high = other
        else:
            low = one
    return math.exp((low + high) / 2)


def fitted(logits: Floats, right: Floats) -> float:
    """The temperature under which the top labels cost least (Guo et al. 2017, section 4.2)."""
    return best_temperature(lambda t: loss_of_top(logits, right, t))


def fitted_crosswise(
    logits: Floats, right: Floats, clusters: Sequence[str] = ()
) -> tuple[Floats, tuple[float, float]]:
    """Confidences of each half of the clusters at the temperature fitted on the other half.

    For answers without a dev split beside them. Clusters take turns in the order of their first
    answer.
    """
    half = cluster_places(clusters or [""] * len(logits)) % 2
    made, told = np.empty(len(logits)), []
    for number in (0, 1):
        mine, other = half == number, half != number
        told.append(fitted(logits[other], right[other]) if other.any() else 1.0)
        if mine.any():
            made[mine] = confidences(logits[mine], told[-1])
    return made, (told[0], told[1])
