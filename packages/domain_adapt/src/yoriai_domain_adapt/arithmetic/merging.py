"""Merging the weights of models, tensor by tensor.

Each function takes the same tensor of several models and gives one; all arithmetic is fp32.
``weights`` are one number a model. Sources, with the names of mergekit's methods:

* linear: model soups, Wortsman et al. 2022 (arXiv 2203.05482);
* SLERP: Shoemake 1985, along the great circle between two tensors taken as vectors;
* task arithmetic: Ilharco et al. 2022 (arXiv 2212.04089), base + sum of weighted differences;
* TIES: Yadav et al. 2023 (arXiv 2306.01708), trim, elect a sign, disjoint mean;
* DARE: Yu et al. 2023 (arXiv 2311.03099), drop differences at random and rescale the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# Below this angle two directions are taken for one, and SLERP for a straight line.
PARALLEL = 1e-4
# Numbers of a tensor that are summed at once: 256 KB in fp32 stay in the cache, and in memory that
# is used again. Parts of 4 MB were asked of the system anew each time, which took most of the time.
AT_ONCE = 2**16


def linear(
    tensors: Sequence[torch.Tensor], weights: Sequence[float], *, normalise: bool = True
) -> torch.Tensor:
    """The weighted sum, in the dtype of the first; with ``normalise`` the mean.

    Some numbers at a time, so that beside the tensors only the result is held. Raises
    ``ValueError`` if weights sum to 0.
    """
    import torch

    total = sum(weights) if normalise else 1.0
    if not total:
        raise ValueError("the weights sum to zero: there is no mean")
    result = torch.empty_like(tensors[0], memory_format=torch.contiguous_format)
    flat = result.view(-1)
    parts = zip(*(tensor.reshape(-1).split(AT_ONCE) for tensor in tensors), strict=True)
    for part, held in zip(flat.split(AT_ONCE), parts, strict=True):
        summed = held[0].float() * (weights[0] / total)
        for tensor, weight in zip(held[1:], weights[1:], strict=True):
            summed.add_(tensor.float(), alpha=weight / total)
        part.copy_(summed)
    return result


def slerp(first: torch.Tensor, second: torch.Tensor, t: float) -> torch.Tensor:
    """From ``first`` (t = 0) to ``second`` (t = 1) along the arc between their directions.

    Where the two point the same or opposite way, or one is zero, the straight line.
    """
    a, b = first.float(), second.float()
    norms = a.norm() * b.norm()
    if not norms:
        return (1 - t) * a + t * b
    cosine = float((a * b).sum() / norms)
    if abs(cosine) > 1 - PARALLEL**2 / 2:
        return (1 - t) * a + t * b
    import math

    angle = math.acos(max(-1.0, min(1.0, cosine)))
    return (math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle)


def task_arithmetic(
    base: torch.Tensor, tensors: Sequence[torch.Tensor], weights: Sequence[float], scale: float
) -> torch.Tensor:
    """``base + scale * sum(weight * (tensor - base))``."""
    result = base.float().clone()
    for tensor, weight in zip(tensors, weights, strict=True):
        result += scale * weight * (tensor.float() - base.float())
    return result


def ties(
    base: torch.Tensor,
    tensors: Sequence[torch.Tensor],
    weights: Sequence[float],
    scale: float,
    density: float,
) -> torch.Tensor:
    """Keep the largest ``density`` of each difference, elect a sign a weight, average who agrees.

    As in mergekit the sign is that of the weighted sum, and the mean is over the weights of the
    models that agree with it.
    """
    import torch

    trimmed = [
        w * trim(t.float() - base.float(), density) for t, w in zip(tensors, weights, strict=True)
    ]
    stack = torch.stack(trimmed)
    sign = torch.where(stack.sum(0) >= 0, 1.0, -1.0)
    agrees = (stack.sign() == sign).float()
    share = torch.tensor(weights, dtype=torch.float32).reshape(-1, *[1] * base.dim())
    divisor = (agrees * share).sum(0)
    divisor = torch.where(divisor == 0, torch.ones_like(divisor), divisor)
    return base.float() + scale * (stack * agrees).sum(0) / divisor


def dare(
    base: torch.Tensor,
    tensors: Sequence[torch.Tensor],
    weights: Sequence[float],
    scale: float,
    density: float,
    generator: torch.Generator,
) -> torch.Tensor:
    """Keep each element of a difference with probability ``density``, divided by it; then sum.

    The draws follow from the generator alone, one model after the other.
    """
    import torch

    result = base.float().clone()
    for tensor, weight in zip(tensors, weights, strict=True):
        keep = torch.rand(base.shape, generator=generator) < density
        difference = (tensor.float() - base.float()) * keep / density
        result += scale * weight * difference
    return result


def trim(difference: torch.Tensor, density: float) -> torch.Tensor:
    """All but the ``density`` elements of largest magnitude set to zero.

    Of equal magnitudes those that come first stay.
    """
    import torch

    keep = int(density * difference.numel())
    if keep >= difference.numel():
        return difference
    if keep <= 0:
        return torch.zeros_like(difference)
    flat = difference.reshape(-1)
    order = torch.argsort(flat.abs(), descending=True, stable=True)[:keep]
    result = torch.zeros_like(flat)
    result[order] = flat[order]
    return result.reshape(difference.shape)
