"""Weight-only round-to-nearest quantisation of a Hugging Face folder.

Every linear layer but the output head becomes 8-bit integers with one scale a row, or 4-bit
integers with one scale per group of a row; all else (embeddings, norms, the tied head) is copied
bit for bit. No data is needed and nothing is random: the same folder gives the same bytes.

The target is a ``compressed-tensors`` folder in the format ``pack-quantized``. With the package
``compressed-tensors`` installed, ``AutoModelForCausalLM.from_pretrained(target)`` reads it as it
is; vLLM sends it to its scheme ``CompressedTensorsWNA16``. Writing needs no such package: the
layout on disk is stable, the package's Python functions are not.

Sources: the layout is compressed-tensors 0.20.0, ``compressors/pack_quantized``; the scale its
``calculate_qparams`` (``quantization/utils/helpers.py``); the group sizes are
``MARLIN_SUPPORTED_GROUP_SIZES`` of vLLM's ``marlin_utils.py``. 8 bits are ``pack-quantized`` too,
as vLLM takes weight-only integers in no other format (``_get_scheme_from_parts``).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch

GROUP_SIZES = (32, 64, 128)
COPIED = "tokenizer* *.model special_tokens_map.json added_tokens.json vocab.json merges.txt"
COPIED += " chat_template* generation_config.json LICENSE* NOTICE*"


def quantise_folder(
    source: Path, target: Path, *, bits: Literal[4, 8], group_size: int = 32
) -> dict[str, Any]:
    """Write ``source`` with quantised linear layers to ``target`` and return what was done.

    ``group_size`` counts for 4 bits only; 8 bits keep one scale a row. The facts: ``bytes_before``
    and ``bytes_after`` (safetensors files), ``parameters_quantised``, ``parameters_kept``, and
    ``layers``, which maps a layer to its ``mean_error`` and ``worst_error``: the absolute error of
    a weight, relative to the root mean square of the layer's weights. Nothing is written before
    everything is checked.
    """
    import torch
    from safetensors.torch import load_file, save_file

    source, target = Path(source), Path(target)
    config, files = _read_source(source)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} exists and is not an empty folder: choose another target")
    rows, head = _linear_layers(source)
    group = _check_groups(rows, bits, group_size)

    tensors = {name: tensor for file in files for name, tensor in load_file(file).items()}
    parameters = sum(tensor.numel() for tensor in tensors.values())
    layers, quantised = {}, 0
    for layer in sorted(rows):
        if (weight := tensors.pop(f"{layer}.weight", None)) is None:
            raise ValueError(f"{source} has no tensor {layer}.weight: is it a plain full model?")
        whole, scale = quantise_weight(weight, bits, group, name=layer)
        tensors[f"{layer}.weight_packed"] = pack(whole, bits)
        tensors[f"{layer}.weight_scale"] = scale
        tensors[f"{layer}.weight_shape"] = torch.tensor(weight.shape)
        layers[layer] = _errors(weight, whole, scale)
        quantised += weight.numel()

    target.mkdir(parents=True, exist_ok=True)
    # One metadata key only: safetensors writes several in an order that is not fixed.
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    for path in (path for pattern in COPIED.split() for path in source.glob(pattern)):
        shutil.copyfile(path, target / path.name)
    config["quantization_config"] = _quantization_config(bits, group, head)
    text = json.dumps(config, indent=2, sort_keys=True)
    (target / "config.json").write_text(text + "\n", encoding="utf-8")
    # safetensors writes files that only their owner can read; a model is to be shared.
    shutil.copymode(target / "config.json", target / "model.safetensors")
    return {
        "bytes_before": sum(file.stat().st_size for file in files),
        "bytes_after": (target / "model.safetensors").stat().st_size,
        "parameters_quantised": quantised,
        "parameters_kept": parameters - quantised,
        "layers": layers,
    }


def quantise_weight(
    weight: torch.Tensor, bits: int, group: int | None, *, name: str = "weight"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Round a matrix to integers of ``bits`` bits; return them (int8) and the scale of each group.

    The scale spreads the peak of a group over the whole range, -8..7 for 4 bits. It has the dtype
    of the weight and is rounded up where needed, so that ``|weight - integer * scale|`` is never
    more than half a step, at the clipped peak as well. All arithmetic is fp32.
    """
    import torch

    if weight.dtype not in (torch.float32, torch.bfloat16):
        raise ValueError(f"{name} is {weight.dtype}, not float32 or bfloat16: quantised already?")
    if not torch.isfinite(weight).all():
        raise ValueError(f"{name} has NaN or infinite weights: choose a healthy checkpoint")
    groups = weight.float().reshape(weight.shape[0], -1, group or weight.shape[1])
    peak, half_range = groups.abs().amax(-1), (2**bits - 1) / 2
    scale = (peak / half_range).to(weight.dtype)
    up = torch.nextafter(scale, torch.full_like(scale, torch.inf))
    scale = torch.where(scale.float() * half_range < peak, up, scale)
    scale = torch.where(scale == 0, 1, scale)  # an all-zero group stays exactly zero
    whole = torch.round(groups / scale.float().unsqueeze(-1))
    whole = whole.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return whole.to(torch.int8).reshape(weight.shape), scale


def dequantise_weight(whole: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Integers times scales, in the dtype of the scales: what the loader computes."""
    groups = whole.float().reshape(*scale.shape, -1)
    return (groups * scale.float().unsqueeze(-1)).reshape(whole.shape).to(scale.dtype)


def pack(whole: torch.Tensor, bits: int) -> torch.Tensor:
    """Pack each row of integers into int32 words, first integer in the lowest bits."""
    import torch

    per_word = 32 // bits
    unsigned = whole.long() + 2 ** (bits - 1)
    unsigned = torch.nn.functional.pad(unsigned, (0, -whole.shape[1] % per_word))
    shifts = torch.arange(per_word) * bits
    words = (unsigned.reshape(len(whole), -1, per_word) << shifts).sum(-1)
    return words.to(torch.int32)  # the topmost bit becomes the sign


def _read_source(source: Path) -> tuple[dict[str, Any], list[Path]]:
    """Return the config and the safetensors files, or say why this folder cannot be used."""
    if not (source / "config.json").is_file():
        raise ValueError(f"{source} has no config.json: give a Hugging Face model folder")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if "quantization_config" in config:
        raise ValueError(f"{source} is quantised already: start from the full weights")
    files = sorted(source.glob("model-*-of-*.safetensors"))
    if (source / "model.safetensors").is_file():
        files = [source / "model.safetensors"]
    if not files:
        raise ValueError(f"{source} has no model.safetensors: run model.save_pretrained(folder)")
    return config, files


def _linear_layers(source: Path) -> tuple[dict[str, int], list[str]]:
    """Return the row length of each linear layer, and the output head, which is left alone."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(source))
    linear = {n: m for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)}
    head = [name for name, module in linear.items() if module is model.get_output_embeddings()]
    rows = {name: module.in_features for name, module in linear.items() if name not in head}
    if not rows:
        raise ValueError(f"{source} ({type(model).__name__}) has no torch.nn.Linear to quantise")
    return rows, head


def _check_groups(rows: dict[str, int], bits: int, group_size: int) -> int | None:
    """Return the group size in force: None for 8 bits, where the group is the row."""
    if bits not in (4, 8):
        raise ValueError(f"bits={bits} is not supported: use 4 or 8")
    if bits == 8:
        return None
    if group_size not in GROUP_SIZES:
        raise ValueError(f"group_size={group_size} is not supported: use one of {GROUP_SIZES}")
    if bad := [f"{name} ({row})" for name, row in rows.items() if row % group_size]:
        fits = [size for size in GROUP_SIZES if not any(row % size for row in rows.values())]
        remedy = f"group_size={fits[-1]}" if fits else "bits=8, one scale a row"
        raise ValueError(f"group_size={group_size} does not divide a row of {bad[0]}: use {remedy}")
    return group_size


def _quantization_config(bits: int, group: int | None, head: list[str]) -> dict[str, Any]:
    weights = {"num_bits": bits, "type": "int", "symmetric": True, "dynamic": False}
    weights |= {"strategy": "group" if group else "channel", "group_size": group}
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "ignore": head,
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }


def _errors(weight: torch.Tensor, whole: torch.Tensor, scale: torch.Tensor) -> dict[str, float]:
    error = (weight.double() - dequantise_weight(whole, scale).double()).abs()
    size = weight.double().square().mean().sqrt().clamp(min=1e-30)
    return {"mean_error": float(error.mean() / size), "worst_error": float(error.max() / size)}
