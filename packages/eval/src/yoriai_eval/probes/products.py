"""Linear layers that multiply in fp32 by oneDNN where it is the faster one. Imports torch."""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from yoriai.cpu_kernels import onednn_is_faster


@contextmanager
def fast_products(model: torch.nn.Module) -> Iterator[None]:
    """Let plain fp32 linear layers on the CPU take oneDNN for as long as the context lasts.

    No gradient goes through them. On a processor where MKL is faster nothing changes.
    """
    layers = [
        layer
        for layer in model.modules()
        if onednn_is_faster(torch) and type(layer) is torch.nn.Linear
        and layer.weight.dtype == torch.float32 and layer.weight.device.type == "cpu"
    ]  # fmt: skip
    for layer in layers:
        setattr(layer, "forward", types.MethodType(_forward, layer))  # noqa: B010
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _forward(layer: Any, hidden: torch.Tensor) -> torch.Tensor:
    if hidden.dtype != torch.float32:
        return torch.nn.functional.linear(hidden, layer.weight, layer.bias)
    # Rows that do not stand end to end would go to a reference kernel: 100 times slower.
    made: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
        hidden.contiguous(), layer.weight.contiguous(), layer.bias, "none", [], ""
    )
    return made
