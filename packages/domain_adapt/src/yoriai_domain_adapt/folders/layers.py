"""Which tensors of a model are matrices that multiply activations, and which are left alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoriai import Refused, UsageError
from yoriai.model_folder import AS_DATA, WEIGHTS, opening, whole
from yoriai_domain_adapt.folders.tensors import Weights

if TYPE_CHECKING:
    import torch

EXPERTS = re.compile(r"(^|\.)experts?(\.|$)")


@dataclass(frozen=True, slots=True)
class Layers:
    """The matrices of a model, by the names of its modules.

    ``rows`` maps a layer to the length of its row (its inputs). ``transposed`` are stored inputs x
    outputs (GPT-2's Conv1D). ``head`` is the output head, ``experts`` the tensors of a mixture's
    experts that are stored as one block each; both are left alone.
    """

    rows: dict[str, int]
    transposed: frozenset[str]
    head: tuple[str, ...]
    experts: tuple[str, ...]
    prefix: str = ""

    def stored(self, layer: str, weights: Weights) -> str:
        """The name of a layer's weight in the files: some folders leave out the model's prefix."""
        short = layer.removeprefix(f"{self.prefix}.")
        found = [f"{n}.weight" for n in (layer, short) if f"{n}.weight" in weights.outlines]
        if not found:
            raise UsageError(
                f"{weights.folder.name} has no tensor {layer}.weight: is it a plain full model?",
                hint="save it with transformers: model.save_pretrained(folder)",
            )
        return found[0]


def outline(folder: Path) -> Any:
    """The model of a folder's ``config.json``, without numbers. No code of the folder is run.

    Raises :class:`yoriai.Refused` where the weights beside it are of other shapes.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"), opening(folder):
        config = AutoConfig.from_pretrained(folder, **AS_DATA)
        model = AutoModelForCausalLM.from_config(config, **AS_DATA)
    _check_shapes(model, Weights(folder, quantised=True))
    return model


def _check_shapes(model: Any, weights: Weights) -> None:
    """Refuse weights of other shapes than the configuration asks for, under the names of both.

    Names that one of them has not are left to whoever reads them: kinds of models store the same
    tensors under several. Raises :class:`yoriai.Refused`.
    """
    for name, parameter in model.named_parameters():
        short = name.removeprefix(f"{model.base_model_prefix}.")
        found = weights.outlines.get(name) or weights.outlines.get(short)
        if found and found.shape != tuple(parameter.shape):
            raise Refused(
                f"{weights.folder.name}: {name} is {str(list(found.shape))[:80]}, config.json asks"
                f" for {list(parameter.shape)}",
                hint="take config.json from where the weights were published",
            )


def find_layers(folder: Path) -> Layers:
    """Find them in the outline of the model; raises :class:`yoriai.UsageError` if it has none."""
    import torch
    from transformers.pytorch_utils import Conv1D

    model = outline(folder)
    head = model.get_output_embeddings()
    rows: dict[str, int] = {}
    transposed, heads = set(), []
    for name, module in model.named_modules():
        if module is head:
            heads.append(name)
        elif isinstance(module, torch.nn.Linear):
            rows[name] = module.in_features
        elif isinstance(module, Conv1D):
            rows[name] = module.weight.shape[0]
            transposed.add(name)
    experts = tuple(
        name
        for name, parameter in model.named_parameters()
        if parameter.dim() == 3 and EXPERTS.search(name)
    )
    if not rows:
        raise UsageError(f"{Path(folder).name} ({type(model).__name__}) has no linear layer")
    return Layers(rows, frozenset(transposed), tuple(heads), experts, model.base_model_prefix)


def block_count(config: dict[str, Any]) -> int:
    """Decoder blocks by a configuration, under the names that are in use."""
    for key in ("num_hidden_layers", "n_layer", "num_layers", "n_layers"):
        if isinstance(config.get(key), int):
            return int(config[key])
    raise UsageError("config.json does not say how many layers the model has")


def blocks_of(model: Any) -> tuple[str, Any]:
    """The name and the list of a model's decoder blocks: its longest ``ModuleList``."""
    import torch

    found = [
        (name, module) for name, module in model.named_modules()
        if isinstance(module, torch.nn.ModuleList) and not EXPERTS.search(name)
    ]  # fmt: skip
    wanted = block_count(model.config.to_dict())
    exact = [(name, module) for name, module in found if len(module) == wanted]
    if not exact:
        raise UsageError(f"{type(model).__name__} keeps its layers in no list that could be found")
    return exact[0]


def open_model(folder: Path, *, dtype: str = "float32") -> Any:
    """A model to run on the CPU: safetensors only, no code of the folder."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    with opening(folder):
        model = whole(
            AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), **WEIGHTS),
            folder,
        )
    return model.eval()


def matrix(tensor: torch.Tensor, layer: str, layers: Layers) -> torch.Tensor:
    """A layer's stored weight as outputs x inputs, and (the same call) back again."""
    return tensor.t().contiguous() if layer in layers.transposed else tensor
