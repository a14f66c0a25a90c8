"""The confidence interval of a share, for all who count: documents dropped, answers right."""

from __future__ import annotations

import math
from typing import NamedTuple

Z95 = 1.959963984540054
"""The 0.975 quantile of the normal distribution."""


class Interval(NamedTuple):
    """The lower and the upper bound; the upper one of a ratio may be infinite."""

    low: float
    high: float


def wilson(successes: float, count: float, z: float = Z95) -> Interval:
    """Wilson's score interval of a proportion (JASA 22, 1927), 95 % wide if ``z`` is not given.

    Honest for small samples and near 0 or 1; [0, 1] if nothing was counted. ``count`` need not be
    whole: an effective number of questions is none.
    """
    if count == 0:
        return Interval(0.0, 1.0)
    p = successes / count
    centre = p + z**2 / (2 * count)
    margin = z * math.sqrt(p * (1 - p) / count + z**2 / (4 * count**2))
    scale = 1 + z**2 / count
    # The exact ends are 0 and 1; arithmetic may miss them by a hair.
    low = 0.0 if successes == 0 else (centre - margin) / scale
    high = 1.0 if successes == count else (centre + margin) / scale
    return Interval(low, high)
