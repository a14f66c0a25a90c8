"""Weights that come into being one tensor at a time, each shard where it belongs.

A model of 172B parameters is 690 GB in fp32, and a node has eight ranks: none of them may hold
all of it. So the model is built as an outline (shapes without numbers, on torch's meta device),
the strategy cuts the outline, and :func:`fill` then makes one tensor after the other, keeps this
rank's part of it and forgets the rest. A rank holds at most its share and the largest tensor.

The numbers are those of a model that is built whole: see :func:`yoriai_train.model.initial.draw`.
"""

from __future__ import annotations

import contextlib
import copy
import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import torch

from yoriai import UsageError
from yoriai.model_folder import AS_DATA, check, opening
from yoriai_train.model import initial
from yoriai_train.settings.spec import Spec

# DeepSpeed replaces torch.empty and its like while a model is built; new_empty it leaves alone.
_FP32 = torch.empty(0, dtype=torch.float32)


class WeightSource(Protocol):
    """Where the numbers of a model come from."""

    def rows(self, name: str, size: Sequence[int], part: slice) -> torch.Tensor:
        """Rows of the parameter ``name``, whose whole size is ``size``: fp32, on the CPU."""


class Drawn:
    """Random numbers, by :func:`yoriai_train.model.initial.draw`."""

    def __init__(self, model: torch.nn.Module, shape: initial.Initialised, seed: int) -> None:
        self.shape = shape
        self.seed = seed
        self.padding = initial.padding_rows(model)

    def rows(self, name: str, size: Sequence[int], part: slice) -> torch.Tensor:
        """Draws the whole parameter, as its numbers depend on their place in it."""
        whole = _FP32.new_empty(tuple(size))
        initial.draw(whole, name, self.shape, self.seed, padding=self.padding.get(name))
        return whole[part]


class Stored:
    """The safetensors files of a Hugging Face folder; only the rows asked for are read.

    Raises ``UsageError`` where the folder has not just the tensors of the model.
    """

    def __init__(self, model: Any, folder: Path) -> None:
        self.places = _find_tensors(folder)
        self.names = _match_names(model, self.places, folder)
        self.folder = folder
        self._open: tuple[Path, Any] | None = None

    def rows(self, name: str, size: Sequence[int], part: slice) -> torch.Tensor:
        stored = self.names[name]
        file = self._file(self.places[stored])
        shape = file.get_slice(stored).get_shape()
        if shape != list(size):
            raise UsageError(
                f"{self.folder}: {stored} has the shape {shape}, by config.json it is {list(size)}"
            )
        whole = part == slice(None)
        read: torch.Tensor = file.get_tensor(stored) if whole else file.get_slice(stored)[part]
        return read.to(torch.float32)

    def read_buffers(self, model: torch.nn.Module) -> None:
        """Read those buffers of the model that are stored."""
        for name, buffer in model.named_buffers():
            if name in self.names:
                buffer.copy_(self.rows(name, buffer.shape, slice(None)))

    def _file(self, path: Path) -> Any:
        """The file, opened; one at a time, as pages that were read count as held while it is."""
        from safetensors import safe_open

        if self._open is None or self._open[0] != path:
            self._open = (path, safe_open(path, framework="pt"))
        return self._open[1]


class Awaited:
    """No numbers: a checkpoint has them all, and is read soon. What it lacked would be seen."""

    def rows(self, name: str, size: Sequence[int], part: slice) -> torch.Tensor:  # noqa: ARG002
        return _FP32.new_full(tuple(size), math.nan)[part]


def _find_tensors(folder: Path) -> dict[str, Path]:
    """The file of each tensor that a Hugging Face folder holds."""
    from safetensors import safe_open

    check(folder)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        told = json.loads(index.read_bytes())["weight_map"]
        return {name: folder / file for name, file in told.items()}
    path = folder / "model.safetensors"
    if not path.is_file():
        raise UsageError(
            f"{folder} has no model.safetensors",
            hint="load it with transformers and save it with save_pretrained",
        )
    with opening(folder), safe_open(path, framework="pt") as held:
        return dict.fromkeys(held.keys(), path)


def _match_names(model: Any, stored: Mapping[str, Path], folder: Path) -> dict[str, str]:
    """The stored name of each tensor of the model, under all names that the model has for it.

    Names are changed and left out as ``transformers`` does for this kind of model (``core_model_
    loading.py``, ``convert_and_load_state_dict_in_model``), and the model told of it for its
    export; but tensors are not put together from several.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

    held = model.state_dict(keep_vars=True)
    changes = get_model_conversion_mapping(model)
    converters = [change for change in changes if isinstance(change, WeightConverter)]
    renamings = [change for change in changes if isinstance(change, WeightRenaming)]
    found: dict[str, str] = {}
    spare = []
    for old in stored:
        name, converted = rename_source_key(
            old, renamings, converters, model.base_model_prefix, held
        )
        if name not in held and old in held:
            name, converted = old, None
        if converted is not None:
            raise UsageError(
                f"{folder} stores {old} in another form than a {model.config.model_type} holds it",
                hint="use a strategy that holds the whole model: train/ddp or train/deepspeed-2",
            )
        if name in held:
            found[name] = old
        else:
            spare.append(old)
    model._weight_conversions = [change for change in changes if change.was_used()]
    missing = []
    tensors = defaultdict(list)
    for name, tensor in held.items():
        tensors[id(tensor)].append(name)
    for names in tensors.values():
        told = [found[name] for name in names if name in found]
        if len(told) > 1:
            raise UsageError(
                f"{folder} has {' and '.join(told)}, which are one tensor by config.json",
                hint="load it with transformers and save it with save_pretrained",
            )
        if told:
            found.update(dict.fromkeys(names, told[0]))
        else:
            missing += names
    # Frequencies of rotary embeddings: computed, but stored by early versions of transformers.
    ignored = [*(model._keys_to_ignore_on_load_unexpected or ()), r"rotary_emb\.inv_freq"]
    spare = [name for name in spare if not any(re.search(pattern, name) for pattern in ignored)]
    for problem, some in (("lacks", missing), ("has what the model has not:", spare)):
        if some:
            more = f" and {len(some) - 5} more" if len(some) > 5 else ""
            raise UsageError(
                f"{folder} {problem} {', '.join(sorted(some)[:5])}{more}",
                hint="start from a folder whose weights are those of its config.json",
            )
    return found


def are_filled_later(spec: Spec) -> bool:
    """Whether the job's model is an outline first.

    Strategies with a whole model on each rank read a folder by ``from_pretrained``, which knows
    more kinds of folder. Shapes of other plugins that do not say how they begin are drawn, whole
    and by ``transformers``, whose numbers depend on the order of the draws.
    """
    if spec.start:
        return "parameters" in spec.build_strategy().cuts
    return bool(spec.initial)


def outline(spec: Spec) -> Any:
    """The job's model with parameters on the meta device; its buffers are there."""
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    with opening(spec.start) if spec.start else contextlib.nullcontext():
        if spec.start:
            config = AutoConfig.from_pretrained(spec.start, **AS_DATA)
        else:
            body = dict(spec.model)
            config = AutoConfig.for_model(body.pop("model_type"), **body)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, **AS_DATA)
        if spec.start and (Path(spec.start) / "generation_config.json").is_file():
            model.generation_config = GenerationConfig.from_pretrained(spec.start)
    _compute_buffers(model)
    return set_to_training(model)


def set_to_training(model: Any) -> Any:
    """Let a model from a folder compute as in training, but for dropout.

    ``from_pretrained`` gives evaluation's mode, in which no activations are checkpointed and no
    sequences are shared. Dropout stays off: a run that goes on could not draw what it would have
    drawn.
    """
    copies: dict[int, Any] = {}
    for part in model.train().modules():
        if isinstance(part, torch.nn.modules.dropout._DropoutNd):
            part.p = 0.0
        for name in _dropouts(part):  # those that functions are given
            setattr(part, name, 0.0)
        own = getattr(part, "config", None)
        if part is model or own is None or not _dropouts(own):
            continue
        # Some code reads it there at each step. The model's own, which is exported, stays.
        if id(own) not in copies:
            copies[id(own)] = copy.copy(own)
            for name in _dropouts(own):
                setattr(copies[id(own)], name, 0.0)
        part.config = copies[id(own)]
    return model


def _dropouts(held: Any) -> list[str]:
    """Attributes that are a share of what is dropped, and not 0."""
    return [
        name
        for name, value in vars(held).items()
        if "drop" in name and isinstance(value, float) and value
    ]


def _compute_buffers(model: Any) -> None:
    """Make what is no parameter, in the way of ``transformers`` after it read a checkpoint.

    Its functions pass over what is marked as there already (``modeling_utils.py``,
    ``_move_missing_keys_from_meta_to_device`` and ``_initialize_missing_keys``).
    """
    for parameter in model.parameters():
        parameter._is_hf_initialized = True
    for module in model.modules():
        module._is_hf_initialized = False
        for name, buffer in module.named_buffers(recurse=False):
            module._buffers[name] = torch.empty_like(buffer, device="cpu")
    model.initialize_weights()


def fill(model: Any, spec: Spec) -> None:
    """Give an outline its numbers, in ``configure_model`` after the strategy cut it.

    A model that is no outline stays as it is. Every rank must call it. Raises ``UsageError``
    where the folder to start from does not fit.
    """
    parameters = list(model.parameters())
    if not any(parameter.is_meta for parameter in parameters):
        return
    source: WeightSource
    if spec.start:
        source = Stored(model, Path(spec.start))
    else:
        source = Drawn(model, SimpleNamespace(**spec.initial), spec.seed)
    if spec.resume_state:
        source = Awaited()
    if hasattr(parameters[0], "device_mesh"):
        _fill_shards(model, source)
    else:
        # DeepSpeed sends the numbers of rank 0 to all others, before it cuts them.
        strategy = spec.build_strategy()
        cut = strategy.engine == "deepspeed" and "parameters" in strategy.cuts
        _fill_whole(model, None if cut and torch.distributed.get_rank() else source)
    if isinstance(source, Stored):
        source.read_buffers(model)


def _fill_shards(model: Any, source: WeightSource) -> None:
    """FSDP2: each rank takes its rows of every parameter."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.to_empty(device=next(model.parameters()).device_mesh.device_type)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        for name, parameter in model.named_parameters():
            mesh, local = parameter.device_mesh, parameter.to_local()
            # As torch.chunk cuts: ``Shard`` of torch.distributed.tensor.
            each = -(-parameter.shape[0] // mesh.size())
            begin = min(mesh.get_local_rank() * each, parameter.shape[0])
            local.copy_(source.rows(name, parameter.shape, slice(begin, begin + len(local))))


def _fill_whole(model: Any, source: WeightSource | None) -> None:
    """One parameter at a time; inside ``deepspeed.zero.Init`` (ZeRO-3) each is cut at once.

    Lightning calls ``configure_model`` inside that context where the stage is 3. Without a
    source another rank has the numbers.
    """
    like = torch.empty(0)  # of the dtype and on the device that this context gives to a model
    owners = defaultdict(list)
    for module in model.modules():
        for key, parameter in module.named_parameters(recurse=False):
            owners[parameter].append((module, key))
        for key, buffer in module.named_buffers(recurse=False):
            # DeepSpeed moves no model that was made in its context.
            module._buffers[key] = buffer.to(like.device)
    for name, parameter in list(model.named_parameters()):
        made = _make(name, parameter, source, like)
        for module, key in owners.pop(parameter):
            setattr(module, key, made)


def _make(
    name: str, outlined: torch.nn.Parameter, source: WeightSource | None, like: torch.Tensor
) -> torch.nn.Parameter:
    if source is None:
        value = like.new_empty(outlined.shape)
    else:
        value = source.rows(name, outlined.shape, slice(None)).to(like)
    made = torch.nn.Parameter(value, requires_grad=outlined.requires_grad)
    # DeepSpeed cuts the parameters of each module when it is made: of this one, too.
    torch.nn.ParameterList([made])
    return made
