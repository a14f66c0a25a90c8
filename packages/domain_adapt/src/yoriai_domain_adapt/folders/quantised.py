"""Writing a Hugging Face folder whose linear layers are integers.

Every linear layer but the output head becomes 8-bit integers with one scale a row, or 4-bit
integers with one scale per group of a row; all else (embeddings, norms, a tied head, experts that
are stored as one block) is copied bit for bit.

The target is a ``compressed-tensors`` folder: ``pack-quantized`` for weights alone,
``int-quantized`` where activations are rounded too (W8A8). With that package installed,
``AutoModelForCausalLM.from_pretrained(target)`` reads it as it is, and vLLM runs it. Writing needs
no such package: the layout on disk is stable, its Python functions are not. A model of Conv1D
(GPT-2), for which the format has no place, keeps its layout: the rounded values are stored in
its own dtype, so that what rounding costs can be measured; ``domain-adapt/gguf`` makes it small.

Sources: compressed-tensors 0.20.0, ``compressors/``; the group sizes are
``MARLIN_SUPPORTED_GROUP_SIZES`` of vLLM's ``marlin_utils.py``. 8 bits are ``pack-quantized`` too,
as vLLM takes weight-only integers in no other format (``_get_scheme_from_parts``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from yoriai import UsageError
from yoriai_domain_adapt.arithmetic import rounding
from yoriai_domain_adapt.folders import layers as roles
from yoriai_domain_adapt.folders import tensors as folders
from yoriai_domain_adapt.folders.tensors import Outline, Weights

if TYPE_CHECKING:
    import torch

GROUP_SIZES = (32, 64, 128)
Rounded = tuple["torch.Tensor", "torch.Tensor"]


@dataclass(slots=True)
class Prepared:
    """What a calibrated method hands over: integers and scales, and tensors it changed."""

    rounded: dict[str, Rounded] = field(default_factory=dict)
    changed: dict[str, torch.Tensor] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)


def quantise_folder(
    source: Path,
    target: Path,
    *,
    bits: Literal[4, 8],
    group_size: int = 32,
    activations: bool = False,
    keep: Sequence[str] = (),
    prepare: Callable[[roles.Layers, int | None], Prepared] | None = None,
) -> dict[str, Any]:
    """Write ``source`` with quantised linear layers to ``target`` and return what was done.

    ``group_size`` counts for 4 bits only; 8 bits keep one scale a row. Layers whose name ends in
    one of ``keep`` stay as they are. ``prepare`` is a calibrated method; without it weights are
    rounded to the nearest, one tensor in memory at a time. The facts: ``bytes_before`` and
    ``bytes_after`` (weights), ``parameters_quantised``, ``parameters_kept``, ``kept_layers``,
    ``kept_experts``, ``format``, and ``layers``, which maps a layer to its ``mean_error`` and
    ``worst_error``: see :func:`rounding.weight_errors`. Nothing is written before everything is
    checked. Raises :class:`yoriai.UsageError`.
    """
    weights, target = Weights(Path(source)), Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} exists and is not an empty folder: choose another target")
    every = roles.find_layers(weights.folder)
    found = _without(every, keep)
    kept = sorted(every.rows.keys() - found.rows.keys())
    group = check_groups(found.rows, bits, group_size)
    names = {found.stored(layer, weights): layer for layer in sorted(found.rows)}
    prepared = prepare(found, group) if prepare else Prepared()
    writer = _Writer(weights, found, names, bits, group, prepared)
    dense = bool(found.transposed)
    integers = "int-quantized" if activations else "pack-quantized"
    kind = "dense" if dense else integers
    if activations and bits != 8:
        raise UsageError("activations are rounded with 8-bit weights only", hint="bits: 8")
    try:
        after = folders.write_weights(target, writer.outlines(kind), writer.produce)
    except ValueError as error:
        raise UsageError(f"{weights.folder.name}: {error}") from error
    folders.copy_companions(weights.folder, target)
    config = dict(weights.config)
    if not dense:
        config["quantization_config"] = _quantization_config(
            bits, group, (*found.head, *kept), kind
        )
    folders.write_config(target, config)
    quantised = sum(weights.outlines[name].numel for name in names)
    return {
        "bytes_before": weights.bytes,
        "bytes_after": after,
        "parameters_quantised": quantised,
        "parameters_kept": weights.parameters - quantised,
        "kept_layers": kept,
        "kept_experts": list(found.experts),
        "format": kind,
        "layers": dict(sorted(writer.errors.items())),
        **prepared.notes,
    }


def _without(found: roles.Layers, keep: Sequence[str]) -> roles.Layers:
    """The layers but those whose name ends in one of ``keep``, each of which must end some."""
    if unknown := [end for end in keep if not any(_ends(name, end) for name in found.rows)]:
        ends = sorted({".".join(name.rsplit(".", 2)[1:]) for name in found.rows})
        raise UsageError(
            f"keep: no layer is called {unknown[0]!r}", hint=f"keep some of: {', '.join(ends)}"
        )
    rows = {n: r for n, r in found.rows.items() if not any(_ends(n, end) for end in keep)}
    if not rows:
        raise UsageError("keep: every layer is kept, nothing would be quantised")
    return replace(found, rows=rows, transposed=found.transposed & rows.keys())


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")


class _Writer:
    """Gives :func:`folders.write_weights` its tensors one by one."""

    def __init__(
        self,
        weights: Weights,
        found: roles.Layers,
        names: Mapping[str, str],
        bits: int,
        group: int | None,
        prepared: Prepared,
    ) -> None:
        self.weights, self.found, self.names = weights, found, names
        self.bits, self.group, self.prepared = bits, group, prepared
        self.errors: dict[str, dict[str, float]] = {}
        self.kind = ""

    def outlines(self, kind: str) -> dict[str, Outline]:
        self.kind = kind
        told: dict[str, Outline] = {}
        for name, outline in self.weights.outlines.items():
            if name not in self.names or kind == "dense":
                told[name] = outline
                continue
            rows, columns = outline.shape
            scale = Outline(outline.dtype, (rows, columns // (self.group or columns)))
            told[f"{name}_scale"] = scale
            if kind == "int-quantized":
                told[name] = Outline("int8", outline.shape)
                continue
            words = -(-columns // (32 // self.bits))
            told[f"{name}_packed"] = Outline("int32", (rows, words))
            told[f"{name}_shape"] = Outline("int64", (2,))
        return told

    def produce(self, name: str) -> torch.Tensor:
        import torch

        stem = next(
            (name.removesuffix(s) for s in ("_packed", "_scale", "_shape")
             if name.removesuffix(s) in self.names and name != name.removesuffix(s)),
            name,
        )  # fmt: skip
        if stem not in self.names:
            return self._source(stem)
        if name.endswith("_shape"):
            return torch.tensor(self.weights.outlines[stem].shape)
        if name.endswith("_scale"):
            given = self.prepared.rounded.get(stem)
            return given[1] if given else rounding.group_scale(
                self._source(stem), self.bits, self.group, name=stem.removesuffix(".weight")
            )  # fmt: skip
        whole, scale = self._rounded(stem)
        if self.kind == "dense":
            dense = rounding.dequantise_weight(whole, scale)
            return roles.matrix(dense, self.names[stem], self.found)
        return whole if self.kind == "int-quantized" else rounding.pack(whole, self.bits)

    def _source(self, name: str) -> torch.Tensor:
        changed = self.prepared.changed.get(name)
        return self.weights.read(name) if changed is None else changed

    def _rounded(self, stem: str) -> Rounded:
        layer = self.names[stem]
        weight = roles.matrix(self._source(stem), layer, self.found)
        given = self.prepared.rounded.get(stem)
        whole, scale = given or rounding.quantise_weight(weight, self.bits, self.group, name=layer)
        self.errors[layer] = rounding.weight_errors(weight, whole, scale)
        return whole, scale


def check_groups(rows: Mapping[str, int], bits: int, group_size: int) -> int | None:
    """Return the group size in force: None for 8 bits, where the group is the row."""
    if bits not in (4, 8):
        raise UsageError(f"bits={bits} is not supported: use 4 or 8")
    if bits == 8:
        return None
    if group_size not in GROUP_SIZES:
        raise UsageError(f"group_size={group_size} is not supported: use one of {GROUP_SIZES}")
    if bad := [f"{name} ({row})" for name, row in rows.items() if row % group_size]:
        fits = [size for size in GROUP_SIZES if not any(row % size for row in rows.values())]
        ends = sorted({name.rpartition(".")[2] for name, row in rows.items() if row % group_size})
        remedy = f"group_size={fits[-1]}" if fits else "bits=8, one scale a row"
        if not fits and len(ends) < len({name.rpartition(".")[2] for name in rows}):
            remedy += f", or keep: [{', '.join(ends)}]"
        raise UsageError(f"group_size={group_size} does not divide a row of {bad[0]}: use {remedy}")
    return group_size


def _quantization_config(
    bits: int, group: int | None, head: tuple[str, ...], kind: str
) -> dict[str, Any]:
    weights = {"num_bits": bits, "type": "int", "symmetric": True, "dynamic": False}
    weights |= {"strategy": "group" if group else "channel", "group_size": group}
    scheme: dict[str, Any] = {"targets": ["Linear"], "weights": weights}
    if kind == "int-quantized":
        scheme["input_activations"] = {
            "num_bits": 8, "type": "int", "symmetric": True, "dynamic": True, "strategy": "token"
        }  # fmt: skip
    return {
        "quant_method": "compressed-tensors",
        "format": kind,
        "quantization_status": "compressed",
        "ignore": list(head),
        "config_groups": {"group_0": scheme},
    }
