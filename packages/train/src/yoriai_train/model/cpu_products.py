"""Matrix products in fp32 by oneDNN where torch's own choice is slow.

Why there is a choice stands in :mod:`yoriai.cpu_kernels`.

Shapes: N rows, K inner size, M columns.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from yoriai.cpu_kernels import onednn_is_faster

ONEDNN = onednn_is_faster(torch)
_MADE_BY = "_yoriai_made_by"  # an attribute of tensors: see `remember`


def product(a_NK: torch.Tensor, b_MK: torch.Tensor) -> torch.Tensor:
    """``a @ b.T``, of shape (N, M)."""
    if not ONEDNN or a_NK.dtype != torch.float32 or a_NK.device.type != "cpu":
        return a_NK @ b_MK.T
    if torch.compiler.is_compiling():
        return _opaque(a_NK, b_MK)
    return _multiply(a_NK, b_MK)


def _multiply(a_NK: torch.Tensor, b_MK: torch.Tensor) -> torch.Tensor:
    # Rows that do not stand end to end would go to its reference kernel: 100 times slower.
    a_NK, b_MK = _dense(a_NK), _dense(b_MK)
    made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(a_NK, b_MK, None, "none", [], "")
    return made


def _dense(matrix: torch.Tensor) -> torch.Tensor:
    return matrix if matrix.is_contiguous() or matrix.T.is_contiguous() else matrix.contiguous()


@torch.library.custom_op("yoriai_train::product", mutates_args=())
def _opaque(a_NK: torch.Tensor, b_MK: torch.Tensor) -> torch.Tensor:
    """The same for torch.compile, which takes the operator's weight for a constant."""
    return _multiply(a_NK, b_MK)


@_opaque.register_fake
def _(a_NK: torch.Tensor, b_MK: torch.Tensor) -> torch.Tensor:
    return a_NK.new_empty(a_NK.shape[0], b_MK.shape[0])


def remember(made: torch.Tensor, how: Callable[..., torch.Tensor], *sources: torch.Tensor) -> None:
    """Let a linear layer that takes ``made`` keep ``sources``, and compute ``how`` of them again.

    For what costs little to compute and whose sources are kept anyway.
    """
    setattr(made, _MADE_BY, (how, *(source.detach() for source in sources)))


class _Linear(torch.autograd.Function):
    """A linear layer without a bias, forward and backward by :func:`product`, in ``dtype``."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight_MK: torch.Tensor, dtype: torch.dtype
    ) -> torch.Tensor:
        made_by = getattr(hidden, _MADE_BY, None)
        low = hidden.to(dtype)
        ctx.how = made_by and made_by[0]
        ctx.dtypes = hidden.dtype, dtype
        ctx.save_for_backward(weight_MK, *(made_by[1:] if made_by else (low,)))
        made = product(low.reshape(-1, low.shape[-1]), weight_MK.to(dtype))
        return made.view(*hidden.shape[:-1], -1)

    @staticmethod
    def backward(
        ctx: Any, grad: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        weight_MK, *kept = ctx.saved_tensors
        hidden_dtype, dtype = ctx.dtypes
        grad_NM = grad.reshape(-1, grad.shape[-1])
        grad_hidden = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_hidden = product(grad_NM, weight_MK.to(dtype).T).to(hidden_dtype)
            grad_hidden = grad_hidden.view(*grad.shape[:-1], -1)
        if ctx.needs_input_grad[1]:
            hidden = ctx.how(*kept).to(dtype) if ctx.how else kept[0]
            grad_weight = product(grad_NM.T, hidden.reshape(-1, hidden.shape[-1]).T)
            grad_weight = grad_weight.to(weight_MK.dtype)
        return grad_hidden, grad_weight, None


def _forward(layer: Any, hidden: torch.Tensor) -> torch.Tensor:
    autocast = torch.is_autocast_enabled("cpu")
    same = layer.weight.dtype == hidden.dtype
    if torch.float64 in (hidden.dtype, layer.weight.dtype) or not (autocast or same):
        return functional.linear(hidden, layer.weight, layer.bias)
    if autocast and layer.bias is not None:
        return functional.linear(hidden, layer.weight, layer.bias)
    dtype = torch.get_autocast_dtype("cpu") if autocast else hidden.dtype
    made: torch.Tensor = _Linear.apply(hidden, layer.weight, dtype)
    return made if layer.bias is None else made + layer.bias


def use_products(model: torch.nn.Module) -> bool:
    """Let the linear layers of a model on the CPU multiply by :func:`product`.

    Only how they compute changes: parameters, their names and hooks stay. To be called before
    :class:`yoriai_train.model.loss.Head` takes the output layer. True if it was done.
    """
    if torch.cuda.is_available():
        return False
    for layer in model.modules():
        if type(layer) is torch.nn.Linear:
            setattr(layer, "forward", types.MethodType(_forward, layer))  # noqa: B010
    return True
