"""Means as probes tell them: with an interval, or with a note where the values are too few."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from yoriai import Measured
from yoriai.probe import FEWEST, too_few
from yoriai_eval.scoring.statistics import difference_interval, mean_interval


def mean(name: str, values: Sequence[float], seed: int, clusters: Sequence[str] = ()) -> Measured:
    """The mean of values between 0 and 1; ``clusters`` names for each what it depends on."""
    value = sum(values) / len(values) if values else 0.0
    if len(values) < FEWEST:
        return Measured(name=name, value=value, items=len(values), note=too_few(len(values)))
    low, high = mean_interval(values, clusters, seed)
    return Measured(
        name=name, value=value, items=len(values), interval=(min(low, value), max(high, value))
    )


def mean_change(name: str, values: Sequence[float]) -> Measured:
    """The mean of differences, beside 0, where there is none."""
    value = statistics.fmean(values)
    if len(values) < FEWEST:
        note = too_few(len(values))
        return Measured(name=name, value=value, items=len(values), chance=0.0, note=note)
    low, high = difference_interval(values)
    interval = (min(low, value), max(high, value))
    return Measured(name=name, value=value, items=len(values), chance=0.0, interval=interval)
