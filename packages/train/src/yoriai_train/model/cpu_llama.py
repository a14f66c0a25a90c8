"""Blocks of Llama's kind that keep fewer activations for the backward pass, on CPUs.

``transformers`` writes a block in plain operations, and autograd keeps what each of them needs:
five tensors for a norm, four for a rotation, three for a gated feed-forward. Here each of the
three is one operation that keeps its inputs and computes the rest again, as Liger-Kernel (arXiv
2410.10989, section 3.2) does on GPUs. The numbers are the same sums in another order.

Only how the parts compute changes: parameters, names and hooks stay, so sharding goes on working.

Shapes: B batch, N heads, S sequence, D head size, H hidden size, F feed-forward size.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from yoriai_train.model.cpu_products import remember
from yoriai_train.model.segments import keep_apart


class _Norm(torch.autograd.Function):
    """RMSNorm (arXiv 1910.07467), in fp32; keeps its input and one number a row."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight_H: torch.Tensor, epsilon: float, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor]:
        squares = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32).square_()
        scale = squares.div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight_H, scale)
        ctx.mark_non_differentiable(scale)
        return scaled(x, scale, weight_H).to(dtype), scale

    @staticmethod
    def backward(
        ctx: Any, grad: torch.Tensor, _: Any
    ) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        x, weight_H, scale = ctx.saved_tensors
        normed = x * scale
        grad_weight = (grad * normed).flatten(0, -2).sum(0)
        inner = (grad * weight_H).float()
        along = (inner * normed).mean(-1, keepdim=True)
        grad_x = inner.sub_(normed.mul_(along)).mul_(scale)
        return grad_x.to(x.dtype), grad_weight.to(weight_H.dtype), None, None


def scaled(x: torch.Tensor, scale: torch.Tensor, weight_H: torch.Tensor) -> torch.Tensor:
    """``x`` times one number a row, times one a column."""
    return (x * scale).mul_(weight_H)


class _Gate(torch.autograd.Function):
    """``silu(gate) * up`` of SwiGLU (arXiv 2002.05202)."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return gated(gate, up)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gate, up = ctx.saved_tensors
        grad_up = functional.silu(gate).mul_(grad)
        return torch.ops.aten.silu_backward(grad * up, gate), grad_up


def gated(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """``silu(gate) * up``, both of any one shape."""
    return functional.silu(gate).mul_(up)


class _Rotate(torch.autograd.Function):
    """Rotary positions (arXiv 2104.09864), the first half of a head against the second."""

    @staticmethod
    def forward(
        ctx: Any, x_BNSD: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x_BNSD, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turn(grad, cos, -sin), None, None


def _turn(x_BNSD: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = x_BNSD.shape[-1] // 2
    made = x_BNSD * cos
    made[..., :half].addcmul_(x_BNSD[..., half:], sin[..., :half], value=-1)
    made[..., half:].addcmul_(x_BNSD[..., :half], sin[..., half:])
    return made.to(x_BNSD.dtype)


def _norm_forward(norm: Any, x: torch.Tensor) -> torch.Tensor:
    # Linear layers come next: what autocast would do to their input is done once, here.
    dtype = x.dtype
    if dtype == torch.float32 and torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
    made: torch.Tensor
    made, scale = _Norm.apply(x, norm.weight, norm.variance_epsilon, dtype)
    # ZeRO-3 takes weights away when their own layer is done; elsewhere they are still there.
    if not hasattr(norm.weight, "ds_id"):
        remember(made, scaled, x, scale, norm.weight)
    return made


def _feed_forward(mlp: Any, x: torch.Tensor) -> torch.Tensor:
    gate, up = mlp.gate_proj(x), mlp.up_proj(x)
    hidden = _Gate.apply(gate, up)
    remember(hidden, gated, gate, up)
    made: torch.Tensor = mlp.down_proj(hidden)
    return made


def _attend(
    attention: Any,
    hidden_states: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    attention_mask: torch.Tensor | None = None,
    **options: Any,
) -> tuple[torch.Tensor, Any]:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.models.llama.modeling_llama import eager_attention_forward

    places = hidden_states.shape[:-1]
    projections = (attention.q_proj, attention.k_proj, attention.v_proj)
    query, key, value = (
        project(hidden_states).view(*places, -1, attention.head_dim).transpose(1, 2)
        for project in projections
    )
    cos, sin = (part.unsqueeze(1) for part in position_embeddings)
    query, key = _Rotate.apply(query, cos, sin), _Rotate.apply(key, cos, sin)
    attend: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS.get_interface(
        attention.config._attn_implementation, eager_attention_forward
    )
    options.pop("past_key_values", None)
    made, weights = attend(
        attention, query, key, value, attention_mask,
        dropout=attention.attention_dropout if attention.training else 0.0,
        scaling=attention.scaling, **options,
    )  # fmt: skip
    return attention.o_proj(made.reshape(*places, -1)), weights


def use_lean(model: Any, *, apart: bool = False) -> bool:
    """Let the blocks of a Llama model on the CPU keep less; True if there were any.

    For training only: the attention no longer fills a cache. Rows that hold several documents,
    by ``position_ids`` that begin again, are attended to a document at a time, if ``apart``. On
    GPUs Liger does the same (``liger: true``).
    """
    if (
        torch.cuda.is_available()
        or model.config.model_type != "llama"
        or model.config.hidden_act != "silu"
    ):
        return False
    if apart:
        keep_apart(model)
    forwards: dict[str, Callable[..., Any]] = {
        "LlamaRMSNorm": _norm_forward, "LlamaMLP": _feed_forward, "LlamaAttention": _attend
    }  # fmt: skip
    for part in model.modules():
        forward = forwards.get(type(part).__name__)
        if forward is not None:
            setattr(part, "forward", types.MethodType(forward, part))  # noqa: B010
    return True
