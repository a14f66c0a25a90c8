"""The numbers with which a model begins."""

from __future__ import annotations

import hashlib
import math
from typing import Protocol

import torch

# The projections that write into the residual stream, in Llama, GPT-2 and GPT-NeoX.
_OUTPUTS = (
    ".self_attn.o_proj.weight",
    ".mlp.down_proj.weight",
    ".attn.c_proj.weight",
    ".mlp.c_proj.weight",
    ".attention.dense.weight",
    ".mlp.dense_4h_to_h.weight",
)


class Initialised(Protocol):
    """What of a shape says how its parameters begin."""

    layers: int
    initial_deviation: float
    scaled_outputs: bool


def initialise(model: torch.nn.Module, shape: Initialised, seed: int) -> None:
    """Draw all parameters of ``model`` anew, in place, by :func:`draw`."""
    rows = padding_rows(model)
    for name, parameter in model.named_parameters():
        draw(parameter, name, shape, seed, padding=rows.get(name))


def padding_rows(model: torch.nn.Module) -> dict[str, int]:
    """The row of the pad mark in each embedding that has one, by the parameter's name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(module.weight)]: module.padding_idx
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None
    }


def draw(
    tensor: torch.Tensor, name: str, shape: Initialised, seed: int, *, padding: int | None = None
) -> None:
    """Draw the parameter ``name`` into ``tensor``, in place, as Megatron-LM and GPT-2 do.

    Matrices and embeddings N(0, ``initial_deviation``); with ``scaled_outputs`` the two
    projections of a block that write into the residual stream N(0, that / sqrt(2 layers)), so
    that the stream does not grow with depth (GPT-2, section 2.3; NVIDIA/Megatron-LM:
    megatron/core/utils.py, ``scaled_init_method_normal``, which Megatron always uses).
    ``transformers`` does that for GPT-2 only. Biases are 0, norms 1, and the row ``padding`` 0.

    Each parameter has a generator of its own, seeded from ``seed`` and its name, so its numbers
    are the same whatever else the model holds and in whatever order or place it is drawn.
    """
    with torch.no_grad():
        if tensor.dim() < 2:
            tensor.fill_(0.0 if name.endswith(".bias") else 1.0)
            return
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        generator = torch.Generator(tensor.device)
        generator.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        deviation = shape.initial_deviation
        if shape.scaled_outputs and name.endswith(_OUTPUTS):
            deviation /= math.sqrt(2 * shape.layers)
        tensor.normal_(0.0, deviation, generator=generator)
        if padding is not None:
            tensor[padding].zero_()
