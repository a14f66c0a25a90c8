"""GPTQ, AWQ and SmoothQuant over a whole model, block by block.

They need what layers are fed, so the model is held once in fp32 beside the changed tensors; the
plain rounding of :mod:`quantised` needs one tensor at a time. Where scales are folded (AWQ,
SmoothQuant) a block must compute the same before anything is rounded; this is measured, and a
block that does not (a norm that adds one to its weight, say) is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from yoriai import UsageError
from yoriai_domain_adapt.arithmetic import rounding, second_order
from yoriai_domain_adapt.folders import layers as roles
from yoriai_domain_adapt.folders.calibration import Inputs, block_by_block
from yoriai_domain_adapt.folders.quantised import Prepared
from yoriai_domain_adapt.folders.tensors import Weights

if TYPE_CHECKING:
    import torch

Method = Literal["rtn", "gptq", "awq", "smoothquant"]
# Whose outputs (left) are the inputs of which layers (right): the Llama dialect, by module name.
FED_BY = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.up_proj": ("mlp.down_proj",),
}
SMOOTHED = ("input_layernorm", "post_attention_layernorm")
FOLDING_ERROR = 1e-3  # of a block's output, relative to its size, in fp32


def prepare(
    weights: Weights,
    found: roles.Layers,
    group: int | None,
    *,
    method: Method,
    bits: int,
    ids: torch.Tensor,
    strength: float = 0.5,
    watch: Any = iter,
) -> Prepared:
    """Run the model over ``ids`` and choose the integers (GPTQ) or the scales (the others)."""
    model = roles.open_model(weights.folder)
    stored = {layer: found.stored(layer, weights) for layer in found.rows}
    done = Prepared(notes={"calibration_tokens": int(ids.numel())})

    def change(place: str, block: Any, inputs: dict[str, Inputs]) -> None:
        modules = dict(block.named_modules())
        if method != "gptq":
            chosen = SMOOTHED if method == "smoothquant" else tuple(FED_BY)
            _fold(place, modules, inputs, chosen, method, bits, group, strength, done)
        for layer in [n for n in found.rows if n.startswith(f"{place}.")]:
            module = modules[layer.removeprefix(f"{place}.")]
            weight = roles.matrix(module.weight.data, layer, found)
            dtype = _dtype(weights, stored[layer])
            # In the dtype in which it is stored, so that the scale is the one that is written.
            kept = weight.to(dtype)
            if method == "gptq":
                moment = inputs[layer].moment
                whole, scale = second_order.gptq(kept, moment, bits, group, name=layer)
            else:
                whole, scale = rounding.quantise_weight(kept, bits, group, name=layer)
            done.rounded[stored[layer]] = (whole, scale)
            if method != "gptq":
                done.changed[stored[layer]] = roles.matrix(kept, layer, found).clone()
            near = rounding.dequantise_weight(whole, scale).float()
            module.weight.data = roles.matrix(near, layer, found)
        for name, parameter in block.named_parameters():
            full = f"{place}.{name}"
            if method != "gptq" and full.removesuffix(".weight") not in found.rows:
                key = full if full in weights.outlines else full.removeprefix(f"{found.prefix}.")
                done.changed[key] = parameter.data.to(_dtype(weights, key)).clone()

    steps: Iterable[int] = block_by_block(model, ids, change, products=method != "smoothquant")
    for _ in watch(steps):
        pass
    return done


def _dtype(weights: Weights, name: str) -> Any:
    import torch

    return getattr(torch, weights.outlines[name].dtype)


def _fold(
    place: str,
    modules: dict[str, Any],
    inputs: dict[str, Inputs],
    chosen: Iterable[str],
    method: Method,
    bits: int,
    group: int | None,
    strength: float,
    done: Prepared,
) -> None:
    import torch

    folded = 0
    for origin in chosen:
        fed = [name for name in FED_BY[origin] if name in modules]
        if origin not in modules or not fed:
            continue
        told = inputs[f"{place}.{fed[0]}"]
        matrices = [modules[name].weight.data for name in fed]
        if method == "smoothquant":
            scale = second_order.smooth_scale(matrices, told.largest, strength)
        else:
            scale, exponent = second_order.awq_scale(
                matrices, told.moment, told.magnitude, bits, group
            )
            done.notes.setdefault("exponents", {})[f"{place}.{origin}"] = exponent
        probe = torch.linspace(-1, 1, matrices[0].shape[1])
        norm = modules[origin]
        before = _through(norm, probe) @ matrices[0].t() if origin in SMOOTHED else None
        norm.weight.data = (
            norm.weight.data / scale
            if norm.weight.dim() == 1
            else norm.weight.data / scale[:, None]
        )
        if getattr(norm, "bias", None) is not None:
            norm.bias.data = norm.bias.data / scale
        for name in fed:
            modules[name].weight.data = modules[name].weight.data * scale
        if before is not None:
            after = _through(norm, probe) @ modules[fed[0]].weight.data.t()
            if (after - before).norm() > FOLDING_ERROR * before.norm().clamp(min=1e-6):
                raise UsageError(
                    f"{place}.{origin} ({type(norm).__name__}) cannot take a scale into its weight",
                    hint="method: gptq, which changes no other layer",
                )
        folded += 1
    if not folded:
        raise UsageError(
            f"{place} has none of {', '.join(chosen)}: {method} knows no layer to put scales into",
            hint="method: gptq, which changes no other layer",
        )


def _through(norm: Any, probe: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = norm(probe[None])[0]
    return result
