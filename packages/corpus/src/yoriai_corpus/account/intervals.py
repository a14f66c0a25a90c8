"""Confidence intervals for shares: how much a count of documents can say.

All are 95 % intervals from Wilson's score interval, which keeps to [0, 1] and says something
sensible where nothing, or everything, was counted.
"""

from __future__ import annotations

import math

from yoriai.intervals import Interval, wilson


def f1(true: int, false: int, missed: int) -> Interval:
    """For F1, from true positives, false positives and false negatives.

    Wilson's interval for ``p = true / (true + false + missed)``, carried over by F1 = 2p/(1+p):
    the indirect method of Lam, Gopal and Qian (arXiv 2309.14621).
    """
    low, high = wilson(true, true + false + missed)
    return Interval(2 * low / (1 + low), 2 * high / (1 + high))


def risk_ratio(hits: int, total: int, other_hits: int, other_total: int) -> Interval:
    """For the share ``hits/total`` over the share ``other_hits/other_total``.

    MOVER-R with Wilson's intervals (Donner and Zou, Stat. Methods Med. Res. 21, 2012;
    Fagerland, Lydersen and Laake, Stat. Methods Med. Res. 24, 2015). Katz's interval of the
    logarithm says nothing where one count is 0, which is where a bias is worst.
    """
    if not total or not other_total:
        return Interval(0.0, math.inf)
    share, other = hits / total, other_hits / other_total
    low, high = wilson(hits, total)
    other_low, other_high = wilson(other_hits, other_total)
    product = share * other

    # Each bound is a root of a quadratic, written so that no difference of near numbers is taken.
    def root(of: float, bound: float, against: float, far: float) -> tuple[float, float]:
        a, c = bound * (2 * of - bound), far * (2 * against - far)
        return a, product + math.sqrt(max(0.0, product * product - a * c))

    a, b = root(share, low, other, other_high)
    bottom = a / b if b > 0 else 0.0
    c, d = root(other, other_low, share, high)
    return Interval(max(0.0, bottom), d / c if c > 0 else math.inf)
