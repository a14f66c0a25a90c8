"""Intervals, paired tests and floors: what a score, or a difference of scores, is worth.

Samples that share a ``cluster`` (a passage, a template) are right or wrong together, so all that
is said here of many samples rests on the spread between clusters (Miller 2024, arXiv 2411.00640,
section 2.2). A sample of no cluster (``""``) is a cluster of its own.
"""

from __future__ import annotations

import collections
import gzip
import math
from collections.abc import Callable, Iterable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from yoriai.intervals import Z95, wilson

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# The same of Student's t distribution with 1 to 9 degrees of freedom.
_T95 = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157)
FEW = 8  # clusters; a bootstrap of fewer has too few different draws
BLOCK = 2_000_000  # numbers of a table that is in memory at once
MOST_FLIPPED = 16  # clusters whose signs are flipped in all 2^16 ways
MOST_COUNTED = 200_000_000  # additions for an exact distribution of whole numbers: under a second

ONE = 9.68  # half-width, by its size, of the 95 % interval of a normal mean from one observation

# --- one score ---------------------------------------------------------------------------


def mean_interval(
    scores: Sequence[float], clusters: Sequence[str], seed: int
) -> tuple[float, float]:
    """95 % interval of a mean of scores between 0 and 1.

    Wilson's. Where scores are not all 0 or 1, or come in clusters, it is taken with the number of
    independent questions that would give the same standard error, and Student's t in place of the
    normal distribution (the modified Wilson interval of surveys: Franco, Little, Louis and Slud
    2019, J. Surv. Stat. Methodol. 7(3), 334). Unlike a bootstrap it stays within 0 and 1, and
    covers with few clusters too. Clusters whose means are all alike count as one question each.

    Scores outside of 0 to 1 get :func:`ratio_interval`, the only one that uses ``seed``.
    """
    values = np.asarray(scores, float)
    if len(values) == 0:
        return 0.0, 1.0
    if values.min() < 0 or values.max() > 1:
        return ratio_interval(scores, [1.0] * len(scores), seed, clusters=clusters)
    mean = float(values.mean())
    if not any(clusters) and bool(np.isin(values, (0.0, 1.0)).all()):
        return wilson(float(values.sum()), len(values))
    count = _count(len(values), clusters)
    # Clusters may look more alike than independent samples would, but only by chance.
    error = max(standard_error(scores, clusters), standard_error(scores))
    spread = mean * (1 - mean)
    questions = count if error**2 <= 1e-12 or spread <= 1e-12 else spread / error**2
    low, high = wilson(mean * questions, questions, student_t(count - 1))
    return min(low, mean), max(high, mean)


def ratio_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    seed: int,
    draws: int = 1000,
    clusters: Sequence[str] = (),
) -> tuple[float, float]:
    """95 % interval of sum(numerators) / sum(denominators), such as bits per byte.

    The bootstrap-t: each draw is measured in its own standard error, so that skewed items are
    covered (Efron and Tibshirani 1993, chapter 12; the percentile bootstrap falls short of 95 %
    there, and with few items everywhere). Items are drawn in pairs, whole clusters at once. Under
    eight clusters it is Student's t instead, of the logarithm where all numerators are positive.

    Never a point. One cluster alone says nothing of the spread: its interval is x ± 9.68 |x|, cut
    at 0 where nothing is negative (Wall, Boen and Tweedie 2001, The American Statistician 55(2),
    102). Clusters that are all alike are as sure as so many right answers: Wilson's width, by the
    value.
    """
    top, bottom = _by_cluster(numerators, denominators, clusters)
    value, error = _ratio(top, bottom)
    if error <= 1e-12 * abs(value) or error == 0:
        return _alike_interval(value, top)
    if len(top) < FEW:
        margin = student_t(len(top) - 1) * error
        if top.min() > 0:
            return value * math.exp(-margin / value), value * math.exp(margin / value)
        return value - margin, value + margin
    drawn = _studentised(top, bottom, seed, draws)
    if not drawn.size:  # alike but for rounding
        return _alike_interval(value, top)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(value - high * error), float(value - low * error)


def _alike_interval(value: float, top: Floats) -> tuple[float, float]:
    """The interval of items among which no spread was seen; ``top`` are their numerators."""
    margin = _unseen(value, len(top)) * (abs(value) or 1.0)
    low = value - margin
    return (max(0.0, low) if top.min(initial=0.0) >= 0 else low), value + margin


def _unseen(value: float, count: int) -> float:
    """Half the width of an interval, by its value, where no spread was seen among ``count``."""
    return ONE if count < 2 and value else wilson(0, count)[1]


def _studentised(top: Floats, bottom: Floats, seed: int, draws: int) -> Floats:
    """(ratio of the draw - ratio) / standard error of the draw, for each draw.

    A block of draws at a time, so memory does not grow with items. Draws of one item only, over and
    over, have no spread and are left out.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    value = float(top.sum() / bottom.sum())
    rest, count = top - value * bottom, len(top)
    columns = (rest, bottom, rest * rest, rest * bottom, bottom * bottom)
    block = max(1, BLOCK // count)
    found = []
    for start in range(0, draws, block):
        chosen = random.integers(0, count, (min(block, draws - start), count))
        sums = [column[chosen].sum(axis=1) for column in columns]
        sizes = np.where(sums[1] > 0, sums[1], 1.0)
        off = sums[0] / sizes
        squares = sums[2] - 2 * off * sums[3] + off * off * sums[4]
        spread = (sums[1] > 0) & (squares > 1e-12 * sums[4] * value * value)
        errors = np.sqrt(np.where(spread, squares, 1.0) * count / (count - 1)) / sizes
        found.append((off / errors)[spread])
    return np.concatenate(found)


def paired_interval(
    metric: Callable[[Sequence[str], Sequence[str]], float],
    predictions: Sequence[str],
    golds: Sequence[str],
    seed: int,
    draws: int = 1000,
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a metric that is no mean, such as a correlation."""
    random = np.random.Generator(np.random.PCG64(seed))
    values = []
    for _ in range(draws):
        chosen = random.integers(0, len(golds), len(golds)).tolist()
        values.append(metric([predictions[i] for i in chosen], [golds[i] for i in chosen]))
    low, high = np.quantile(values, [0.025, 0.975])
    if high - low <= 1e-12:  # all draws alike: as wide as the correlation of so many pairs may be
        low, high = _fisher(metric(predictions, golds), len(golds))
    return float(low), float(high)


def _fisher(correlation: float, count: int) -> tuple[float, float]:
    """95 % interval of a correlation of ``count`` pairs (Fisher 1921); all there is for so few."""
    if count <= 4:
        return -1.0, 1.0
    centre = math.atanh(min(1 - 1e-9, max(-1 + 1e-9, correlation)))
    margin = Z95 / math.sqrt(count - 3)
    return math.tanh(centre - margin), math.tanh(centre + margin)


def standard_error(
    values: Sequence[float], clusters: Sequence[str] = (), sizes: Sequence[float] = ()
) -> float:
    """The standard error of the mean of values, or of sum(values) / sum(sizes); 0 for one cluster.

    sqrt(k / (k - 1) * sum of squared cluster residuals) / sum of sizes, k clusters (Liang and
    Zeger 1986, as Miller 2024, equation 4, with the small-sample factor). Without clusters and
    sizes that is s / sqrt(n).
    """
    return _ratio(*_by_cluster(values, sizes or [1.0] * len(values), clusters))[1]


def _ratio(top: Floats, bottom: Floats) -> tuple[float, float]:
    """sum(top) / sum(bottom) and its standard error."""
    count, total = len(top), float(bottom.sum())
    if total == 0:
        return 0.0, 0.0
    value = float(top.sum()) / total
    if count < 2:
        return value, 0.0
    rest = top - value * bottom
    return value, math.sqrt(count / (count - 1) * float(rest @ rest)) / total


def _by_cluster(
    top: Sequence[float], bottom: Sequence[float], clusters: Sequence[str]
) -> tuple[Floats, Floats]:
    """The sums of each cluster."""
    ones, others = np.asarray(top, float), np.asarray(bottom, float)
    if not any(clusters):
        return ones, others
    places = cluster_places(clusters)
    sums = np.bincount(places, ones), np.bincount(places, others)
    return sums[0].astype(float), sums[1].astype(float)


def cluster_places(clusters: Sequence[str]) -> Ints:
    """The number of each item's cluster, in order of first sight."""
    numbers: dict[Any, int] = {}
    places = [
        numbers.setdefault(name or ("", index), len(numbers)) for index, name in enumerate(clusters)
    ]
    return np.asarray(places, np.int64)


def _count(samples: int, clusters: Sequence[str]) -> int:
    return int(cluster_places(clusters).max()) + 1 if any(clusters) else samples


def student_t(freedom: int) -> float:
    """97.5th percentile of Student's t distribution; that of one for less than one.

    From ten degrees of freedom on, the series of Abramowitz and Stegun 1964, 26.7.5, good to five
    digits.
    """
    if freedom <= len(_T95):
        return _T95[max(1, freedom) - 1]
    x, n = Z95, freedom
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return x + sum(term / n**power for power, term in enumerate(terms, 1))


def half_width(interval: Sequence[float]) -> float:
    """Half of what lies between the bounds of an interval."""
    return (interval[1] - interval[0]) / 2


def in_squares(parts: Sequence[tuple[float, float]]) -> float:
    """The square root of the sum of (weight * value) squared, as independent errors add up."""
    return math.sqrt(sum((weight * value) ** 2 for weight, value in parts))


# --- two scores on the same samples -------------------------------------------------------


def difference_interval(
    differences: Sequence[float], clusters: Sequence[str] = (), sizes: Sequence[float] = ()
) -> tuple[float, float]:
    """95 % interval of the mean of paired differences, or of sum(differences) / sum(sizes).

    Student's t with the standard error between clusters: where differences are few, it covers
    better than the bootstrap. Where all differences are alike, the interval is as wide as Wilson's
    for that many questions (of sizes: of as many bits per byte), not a point; from one of sizes
    alone it is no narrower than :func:`ratio_interval`.
    """
    count = _count(len(differences), clusters)
    top, bottom = _by_cluster(differences, sizes or [1.0] * len(differences), clusters)
    value, error = _ratio(top, bottom)
    if error > 1e-12:
        margin = student_t(count - 1) * error
        low, high = value - margin, value + margin
    else:
        width = wilson(0, count)[1]
        if sizes and count < 2:
            width = max(width, ONE * abs(value))
        low, high = value - width, value + width
    if sizes:
        return low, high
    most = max(1.0, *(abs(d) for d in differences))
    return max(low, -most), min(high, most)


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """Exact two-sided p of McNemar's test (1947): are two models right equally often?

    Scores are 0 or 1, of the same independent samples; raises ValueError for others. Only samples
    that one model alone has right count, and under the hypothesis each goes either way like a coin.
    """
    if not {*first, *second} <= {0.0, 1.0}:
        raise ValueError("McNemar's test is of scores that are 0 or 1")
    return sign_test([a - b for a, b in zip(first, second, strict=True)])


def sign_test(differences: Sequence[float]) -> float:
    """Exact two-sided p: are differences above and below 0 equally likely? Zeros do not count."""
    above, below = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    count = above + below
    chosen = tail = 1
    for k in range(1, min(above, below) + 1):
        chosen = chosen * (count - k + 1) // k
        tail += chosen
    return min(1.0, 2 * tail / 2**count)


def permutation_test(
    differences: Sequence[float],
    clusters: Sequence[str] = (),
    seed: int = 0,
    draws: int = 9999,
) -> float:
    """Two-sided p that paired differences have no side: were the models exchanged, nothing changed.

    The signs of whole clusters are flipped and the sums compared with the one seen (Fisher 1935;
    Good 2005, section 3.7). Exact where the clusters' sums are whole numbers, or hundredths, as
    those of right answers and of char_f1 are, or where there are up to 16 that are not 0; else
    by draws, (1 + those as large) / (1 + draws) (Phipson and Smyth 2010).
    """
    sums, _ = _by_cluster(differences, [0.0] * len(differences), clusters)
    sizes = np.abs(sums)
    seen = abs(float(sums.sum()))
    slack = 1e-9 * max(1.0, float(sizes.sum()))
    sizes = sizes[sizes > slack]
    if seen <= slack:
        return 1.0
    for unit in (1, 100):
        whole = np.rint(sizes * unit)
        if np.abs(whole - sizes * unit).max() < 1e-6:
            steps = whole.astype(np.int64)
            steps //= np.gcd.reduce(steps)
            if len(steps) * int(steps.sum()) <= MOST_COUNTED:
                ratio = float(steps.sum()) / float(sizes.sum())
                return _exact(steps, round(seen * ratio))
    if len(sizes) <= MOST_FLIPPED:
        totals = np.zeros(1)
        for size in sizes:
            totals = np.concatenate([totals + size, totals - size])
        return float(np.mean(np.abs(totals) >= seen - slack))
    return _drawn(sizes, seen - slack, seed, draws)


def _exact(steps: Ints, seen: int) -> float:
    """P(|sum of ± steps| >= seen) by counting all ways; the sum is total - 2 * (those flipped)."""
    total = int(steps.sum())
    shares = np.zeros(total + 1)
    shares[0] = 1.0
    reached = 0
    for step in steps.tolist():
        shares[: reached + 1] /= 2
        before = shares[: reached + 1].copy()
        reached += step
        shares[step : reached + 1] += before
    outside = np.abs(total - 2 * np.arange(total + 1)) >= seen
    return min(1.0, float(shares[outside].sum()))


def _drawn(sizes: Floats, seen: float, seed: int, draws: int) -> float:
    random = np.random.Generator(np.random.PCG64(seed))
    block = max(1, BLOCK // len(sizes))
    large = 0
    for start in range(0, draws, block):
        flips = random.integers(0, 2, (min(block, draws - start), len(sizes)))
        large += int(np.sum(np.abs((2.0 * flips - 1.0) @ sizes) >= seen))
    return (1 + large) / (1 + draws)


Whole = Callable[[Sequence[str], Sequence[str]], float]


def compare_wholes(
    metric: Whole,
    first: Sequence[str],
    second: Sequence[str],
    golds: Sequence[str],
    seed: int,
    draws: int = 1000,
) -> tuple[tuple[float, float], float, float]:
    """(95 % interval, p, standard error) of metric(first) - metric(second), for metrics of wholes.

    The interval is that of the paired bootstrap, by percentiles; p comes from exchanging the two
    models' answers to samples drawn blindly, (1 + those as far apart) / (1 + draws).
    """
    random = np.random.Generator(np.random.PCG64(seed))
    seen = abs(metric(first, golds) - metric(second, golds))
    drawn, large = [], 0
    for _ in range(draws):
        chosen = random.integers(0, len(golds), len(golds)).tolist()
        some = [golds[i] for i in chosen]
        one = metric([first[i] for i in chosen], some)
        drawn.append(one - metric([second[i] for i in chosen], some))
        flips = random.integers(0, 2, len(golds)).tolist()
        mixed = [b if f else a for a, b, f in zip(first, second, flips, strict=True)]
        other = [a if f else b for a, b, f in zip(first, second, flips, strict=True)]
        large += abs(metric(mixed, golds) - metric(other, golds)) >= seen - 1e-12
    low, high = np.quantile(drawn, [0.025, 0.975])
    if high - low <= 1e-12:
        width = wilson(0, len(golds))[1]
        low, high = low - width, high + width
    return (float(low), float(high)), (1 + large) / (1 + draws), float(np.std(drawn, ddof=1))


def minimum_detectable_effect(error: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """The smallest true difference that a two-sided test at ``alpha`` sees so often.

    (z(1 - alpha / 2) + z(power)) * error, error the standard error of the difference: sd of the
    paired differences / sqrt(n) (Miller 2024, section 5). With the standard error of one score, it
    is the smallest distance from a floor.
    """
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * error


# --- many tests ---------------------------------------------------------------------------


def holm(values: Sequence[float]) -> list[float]:
    """p values so corrected that any false finding at all is held below alpha (Holm 1979)."""
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, highest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = highest
    return corrected


def benjamini_hochberg(values: Sequence[float]) -> list[float]:
    """p values so corrected that the share of false findings is (Benjamini and Hochberg 1995)."""
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, lowest = [0.0] * len(values), 1.0
    for rank, place in reversed(list(enumerate(order, 1))):
        lowest = min(lowest, len(values) / rank * values[place])
        corrected[place] = lowest
    return corrected


# --- floors of texts ----------------------------------------------------------------------


def gzip_bits_per_byte(texts: Sequence[str]) -> float:
    """What gzip -9 makes of the texts together: a floor that knows repetition only."""
    data = "\n".join(texts).encode()
    return 8 * len(gzip.compress(data, 9, mtime=0)) / max(1, len(data))


def unigram_bits_per_byte(training: Iterable[str], texts: Sequence[str]) -> float:
    """Characters drawn by their frequency in the training text: a floor without context.

    Add-one smoothing over the seen characters and one class for all unseen, whose members
    then cost their UTF-8 bits.
    """
    counts: collections.Counter[str] = collections.Counter()
    for text in training:
        counts.update(text)
    total = sum(counts.values()) + len(counts) + 1
    bits = size = 0.0
    for text in texts:
        for character, times in collections.Counter(text).items():
            seen = counts.get(character, 0)
            cost = -math.log2((seen + 1) / total)
            if not seen:
                cost += 8 * len(character.encode())
            bits += times * cost
        size += len(text.encode())
    return bits / max(1.0, size)
