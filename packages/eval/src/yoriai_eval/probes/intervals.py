"""Means of numbers that are no shares, with their intervals."""

from __future__ import annotations

from collections.abc import Sequence

from yoriai import Measured
from yoriai.probe import FEWEST, too_few
from yoriai_eval.scoring.statistics import ratio_interval


def mean_of(
    name: str, values: Sequence[float], seed: int, *, chance: float | None = None
) -> Measured:
    """The mean of any numbers (nats, differences), with its interval where there are ten."""
    value = sum(values) / len(values) if values else 0.0
    if len(values) < FEWEST:
        return Measured(
            name=name, value=value, items=len(values), chance=chance, note=too_few(len(values))
        )
    if not any(values):  # exactly nothing everywhere: there is no spread to speak of
        return Measured(name=name, value=0.0, items=len(values), chance=chance,
                        note="exactly 0 for every text")  # fmt: skip
    low, high = ratio_interval(values, [1.0] * len(values), seed)
    return Measured(
        name=name, value=value, items=len(values), chance=chance,
        interval=(min(low, value), max(high, value)),
    )  # fmt: skip
