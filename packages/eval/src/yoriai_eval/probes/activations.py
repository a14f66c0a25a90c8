"""Activation clustering: lines whose states in a model form a small group of their own.

Chen et al. 2018, arXiv 1811.03728: the last hidden states of a class are reduced and split in two;
the smaller part is suspicious. Here all lines are one class, the state is that of the last hidden
layer at a line's last id, ten principal components stand for it, and the split is by 2-means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
COMPONENTS, STARTS, ROUNDS = 10, 10, 100


def last_states(model: Any, sequences: Sequence[Sequence[int]]) -> Floats:
    """The last hidden layer at the last id of each sequence: (sequences, width)."""
    import torch

    from yoriai_eval.probes.reading import batches

    found: Floats = np.zeros((len(sequences), int(model.config.hidden_size)))
    with torch.inference_mode():
        for chosen in batches(sequences, int(model.config.vocab_size)):
            longest = max(len(sequences[i]) for i in chosen)
            rows = [[*sequences[i], *[0] * (longest - len(sequences[i]))] for i in chosen]
            ids = torch.tensor(rows, device=model.device)
            # Padding is on the right, where a causal model does not see it.
            hidden = model(input_ids=ids, use_cache=False, output_hidden_states=True).hidden_states
            for row, index in enumerate(chosen):
                last = hidden[-1][row, max(0, len(sequences[index]) - 1)]
                found[index] = last.double().cpu().numpy()
    return found


def components(points: Floats, count: int = COMPONENTS) -> Floats:
    """The first principal components of the points: (points, at most ``count``)."""
    centred = points - points.mean(0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    return np.asarray(left[:, :count] * sizes[:count])


def two_means(points: Floats, seed: int) -> npt.NDArray[np.bool_]:
    """Which points are in the second of two groups, of the smallest squares found.

    Lloyd's algorithm from :data:`STARTS` pairs of points, drawn by ``seed``.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    best, least = np.zeros(len(points), bool), np.inf
    for _ in range(STARTS):
        centres = points[random.choice(len(points), 2, replace=False)]
        second = np.zeros(len(points), bool)
        for _ in range(ROUNDS):
            away = ((points[:, None] - centres[None]) ** 2).sum(-1)
            now = away[:, 1] < away[:, 0]
            if now.all() or not now.any() or (now == second).all():
                break
            second = now
            centres = np.stack([points[~second].mean(0), points[second].mean(0)])
        squares = float(((points[:, None] - centres[None]) ** 2).sum(-1).min(1).sum())
        if squares < least:
            best, least = second, squares
    return best


def cluster_scores(states: Floats, seed: int) -> list[float]:
    """How much nearer each line is to the smaller group than to the larger; higher: suspicious."""
    points = components(states)
    second = two_means(points, seed)
    if second.all() or not second.any():
        return [0.0] * len(points)
    small = second if second.sum() * 2 <= len(second) else ~second
    away = [np.sqrt(((points - points[group].mean(0)) ** 2).sum(1)) for group in (small, ~small)]
    return [float(x) for x in away[1] - away[0]]
