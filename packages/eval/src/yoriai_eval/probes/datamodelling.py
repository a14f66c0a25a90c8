"""The linear datamodelling score: does the sum of scores foretell what a subset of data teaches?

Park et al. 2023, arXiv 2303.14186 (TRAK), section 3: models are trained on random subsets; for each
query the losses that come of it are compared, by rank, with the sums of the scores of the items in
each subset. 1: the order is foretold, 0: chance. Pure numpy.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from yoriai import Measured
from yoriai.probe import FEWEST, too_few

Floats = npt.NDArray[np.float64]
DRAWS = 500


def ranks(values: Floats) -> Floats:
    """Average ranks along the last axis, ties shared; the same as counting what is smaller."""
    below = (values[..., None, :] < values[..., :, None]).sum(-1)
    alike = (values[..., None, :] == values[..., :, None]).sum(-1)
    return np.asarray(below + (alike - 1) / 2, float)


def spearman(first: Floats, second: Floats) -> Floats:
    """Spearman's rank correlation along the last axis; 0 where one side is all alike."""
    one, two = ranks(first), ranks(second)
    one, two = one - one.mean(-1, keepdims=True), two - two.mean(-1, keepdims=True)
    size = np.sqrt((one**2).sum(-1) * (two**2).sum(-1))
    product = (one * two).sum(-1)
    return np.divide(product, size, out=np.zeros_like(product), where=size > 0)


def measured_score(
    name: str, scores: Floats, subsets: Floats, outcomes: Floats, seed: int
) -> Measured:
    """The mean over queries, with a 95 % bootstrap interval over the subsets.

    ``scores`` (queries, items), ``subsets`` (subsets, items) of 0 and 1, ``outcomes`` (subsets,
    queries): higher where the query is likelier. Of fewer than ten subsets there is no interval.
    """
    return _correlation(name, (subsets @ scores.T).T, outcomes.T, seed)


def measured_agreement(name: str, scores: Floats, exact: Floats, seed: int) -> Measured:
    """Rank correlation of scores with exact ones over the items, as a mean over queries.

    Both are (queries, items). The interval is a bootstrap over the items.
    """
    return _correlation(name, scores, exact, seed)


def _correlation(name: str, first: Floats, second: Floats, seed: int) -> Measured:
    """Both are (queries, n); the n are drawn again for the interval."""
    value, count = float(spearman(first, second).mean()), first.shape[1]
    if count < FEWEST:
        return Measured(name=name, value=value, items=count, chance=0.0, note=too_few(count))
    random = np.random.Generator(np.random.PCG64(seed))
    drawn = [
        float(spearman(first[:, chosen], second[:, chosen]).mean())
        for chosen in (random.integers(0, count, count) for _ in range(DRAWS))
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Measured(
        name=name, value=value, items=count, chance=0.0,
        interval=(min(float(low), value), max(float(high), value)),
    )  # fmt: skip
