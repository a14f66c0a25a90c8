"""Rounding that looks at the data: GPTQ, and the scales of AWQ and SmoothQuant.

Sources: GPTQ, Frantar et al. 2022 (arXiv 2210.17323); AWQ, Lin et al. 2023 (arXiv 2306.00978);
SmoothQuant, Xiao et al. 2022 (arXiv 2211.10438). Matrices are outputs x inputs; ``moment`` is
X^T X of a layer's inputs over the calibration.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from yoriai_domain_adapt.arithmetic.rounding import (
    dequantise_weight,
    group_scale,
    quantise_weight,
)
from yoriai_domain_adapt.arithmetic.sparsity import BLOCK, inverse_factor

if TYPE_CHECKING:
    import torch

GRID = 20  # exponents that AWQ tries, as its authors do


def gptq(
    weight: torch.Tensor,
    moment: torch.Tensor,
    bits: int,
    group: int | None,
    *,
    name: str = "weight",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Round column by column; what a column errs is carried by those to its right.

    Scales are those of :func:`rounding.quantise_weight`, of the group as it is when its first
    column is reached (a row's scale: of the matrix as it came). Groups divide :data:`BLOCK`.
    Returns the integers and scales.
    """
    import torch

    work, factor = weight.float().clone(), inverse_factor(moment)
    columns = work.shape[1]
    size = group or columns
    whole = torch.zeros_like(weight, dtype=torch.int8)
    scales = torch.zeros(len(weight), columns // size, dtype=weight.dtype)
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    for start in range(0, columns, BLOCK):
        end = min(start + BLOCK, columns)
        errors = torch.zeros(len(work), end - start)
        for column in range(start, end):
            if column % size == 0:
                ahead = work[:, column : column + size].to(weight.dtype)
                scales[:, column // size] = group_scale(ahead, bits, None, name=name)[:, 0]
            step = scales[:, column // size].float()
            rounded = torch.round(work[:, column] / step).clamp(low, high)
            whole[:, column] = rounded.to(torch.int8)
            error = (work[:, column] - rounded * step) / factor[column, column]
            work[:, column:end] -= error[:, None] * factor[column, column:end]
            errors[:, column - start] = error
        work[:, end:] -= errors @ factor[start:end, end:]
    return whole, scales


def output_error(weight: torch.Tensor, other: torch.Tensor, moment: torch.Tensor) -> float:
    """``||X (W - W')^T||^2`` over the calibration, from its second moment."""
    difference = (weight.float() - other.float()).double()
    return float(((difference @ moment.double()) * difference).sum())


def awq_scale(
    weights: Sequence[torch.Tensor],
    moment: torch.Tensor,
    magnitude: torch.Tensor,
    bits: int,
    group: int | None,
) -> tuple[torch.Tensor, float]:
    """The scale of each input by which the weights are multiplied before rounding.

    ``magnitude`` is the mean absolute input. ``magnitude ** a`` for the best of :data:`GRID`
    exponents from 0 on, normalised to a geometric middle of 1 as AWQ's authors do; a = 0, plain
    rounding, is among them, so the error is never worse than that. Returns scale and exponent.
    """
    import torch

    best: tuple[float, torch.Tensor, float] | None = None
    for step in range(GRID):
        exponent = step / GRID
        scale = magnitude.float().clamp(min=1e-4).pow(exponent)
        scale = scale / (scale.max() * scale.min()).sqrt()
        error = 0.0
        for weight in weights:
            rounded = dequantise_weight(*quantise_weight((weight.float() * scale), bits, group))
            error += output_error(weight, rounded / scale, moment)
        if best is None or error < best[0]:
            best = (error, scale if step else torch.ones_like(scale), exponent)
    assert best is not None
    return best[1], best[2]


def smooth_scale(
    weights: Sequence[torch.Tensor], largest: torch.Tensor, strength: float
) -> torch.Tensor:
    """SmoothQuant's scale of each input: ``max|X|^a / max|W|^(1-a)``; inputs are divided by it."""
    import torch

    peak = torch.stack([weight.float().abs().amax(0) for weight in weights]).amax(0)
    scale = largest.float().clamp(min=1e-5).pow(strength) / peak.clamp(min=1e-5).pow(1 - strength)
    return scale.clamp(min=1e-5)
