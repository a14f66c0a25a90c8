"""Round-to-nearest quantisation of a matrix, and the words it is packed into.

Sources: the layout is compressed-tensors 0.20.0, ``compressors/pack_quantized``; the scale its
``calculate_qparams`` (``quantization/utils/helpers.py``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def quantise_weight(
    weight: torch.Tensor, bits: int, group: int | None, *, name: str = "weight"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Round a matrix to integers of ``bits`` bits; return them (int8) and the scale of each group.

    The scale spreads the peak of a group over the whole range, -8..7 for 4 bits. It has the dtype
    of the weight and is rounded up where needed, so that ``|weight - integer * scale|`` is never
    more than half a step, at the clipped peak as well. All arithmetic is fp32.
    """
    import torch

    if weight.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"{name} is {weight.dtype}, no floating point: quantised already?")
    if not torch.isfinite(weight).all():
        raise ValueError(f"{name} has NaN or infinite weights: choose a healthy checkpoint")
    scale = group_scale(weight, bits, group, name=name)
    groups = weight.float().reshape(*scale.shape, -1)
    whole = torch.round(groups / scale.float().unsqueeze(-1))
    whole = whole.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return whole.to(torch.int8).reshape(weight.shape), scale


def group_scale(
    weight: torch.Tensor, bits: int, group: int | None, *, name: str = "weight"
) -> torch.Tensor:
    """The scale of each group, rows x groups: see :func:`quantise_weight`."""
    import torch

    groups = weight.float().reshape(weight.shape[0], -1, group or weight.shape[1])
    peak, half_range = groups.abs().amax(-1), (2**bits - 1) / 2
    scale = (peak / half_range).to(weight.dtype)
    if not torch.isfinite(scale).all():
        raise ValueError(f"{name} has a group whose scale {weight.dtype} cannot hold")
    up = torch.nextafter(scale, torch.full_like(scale, torch.inf))
    scale = torch.where(scale.float() * half_range < peak, up, scale)
    return torch.where(scale == 0, 1, scale)  # an all-zero group stays exactly zero


def dequantise_weight(whole: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Integers times scales, in the dtype of the scales: what the loader computes."""
    groups = whole.float().reshape(*scale.shape, -1)
    return (groups * scale.float().unsqueeze(-1)).reshape(whole.shape).to(scale.dtype)


def pack(whole: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack each row of integers into int32 words, first integer in the lowest bits."""
    import torch

    per_word = 32 // bits
    unsigned = whole.to(torch.int32) + 2 ** (bits - 1)
    unsigned = torch.nn.functional.pad(unsigned, (0, -whole.shape[1] % per_word))
    places = unsigned.reshape(len(whole), -1, per_word)
    words = places[..., 0].clone()
    for place in range(1, per_word):
        words |= places[..., place] << (place * bits)  # the topmost bit becomes the sign
    return words


def weight_errors(
    weight: torch.Tensor, whole: torch.Tensor, scale: torch.Tensor
) -> dict[str, float]:
    """Mean and worst error of a weight, relative to the root mean square of the matrix."""
    import torch

    # Differences of what is rounded to 16 bits or fp32 are fp32; only sums need more.
    error = (weight.float() - dequantise_weight(whole, scale).float()).abs_()
    norm = float(torch.linalg.vector_norm(weight, dtype=torch.float64))
    size = max(norm / weight.numel() ** 0.5, 1e-30)
    mean = float(error.sum(dtype=torch.float64)) / weight.numel()
    return {"mean_error": mean / size, "worst_error": float(error.max()) / size}
