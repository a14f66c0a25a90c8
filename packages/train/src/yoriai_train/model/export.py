"""A model that is being trained, written as a Hugging Face folder, some gigabytes at a time.

The whole of a large model fits into no rank: its tensors are gathered one after the other, and
rank 0 holds those of one file at most. Files, names and bytes are those that ``save_pretrained``
gives with the same size of files.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

FILE_BYTES = 5_000_000_000  # the usual size of the Hub's files (huggingface_hub: MAX_SHARD_SIZE)
# What a tokenizer artifact hands on to every model made with it.
TOKENIZER_FILES = (
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
)


def export(
    model: Any, folder: Path, tokenizer: Path | None, *, file_bytes: int = FILE_BYTES
) -> None:
    """Write the fp32 weights as a Hugging Face folder. **Every** rank must call it.

    A model of at most ``file_bytes`` is one ``model.safetensors``, a larger one several files
    and their index. Under DeepSpeed the values are the optimizer's fp32 masters (in ZeRO 1 and 2
    the module may hold bf16, in 3 empty tensors); call it in ``on_train_end`` at the latest: after
    ``fit`` Lightning has moved the module away from nccl.
    """
    writes = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
    if writes:
        _write_config(model, folder)
    stored = _stored(model)
    if stored is None:
        _write_at_once(model, folder, writes, file_bytes)
    else:
        _write_files(stored, folder, writes, file_bytes)
    if not writes:
        return
    for path in folder.glob("*.safetensors"):
        # They come readable by their owner only; a model is to be shared.
        shutil.copymode(folder / "config.json", path)
    if tokenizer is not None:
        copy_tokenizer(tokenizer, folder)


def _write_config(model: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # FSDP2 gives the class another name.
    model.config.architectures = [type(model).__name__.removeprefix("FSDP")]
    model.config.save_pretrained(folder)
    if model.can_generate():
        model.generation_config.save_pretrained(folder)
    # DeepSpeed trains a bf16 shadow, whose name would make loaders round the masters.
    path = folder / "config.json"
    config = {**json.loads(path.read_bytes()), "dtype": "float32"}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _stored(model: Any) -> dict[str, torch.Tensor] | None:
    """The tensors to store, as the model holds them, by the names under which they are stored.

    ``transformers`` drops all but one name of tied weights and may rename tensors; it is asked
    with outlines, which say by themselves which ones came through. None if it makes other tensors
    of them, as of the experts of a mixture.
    """
    from transformers.core_model_loading import revert_weight_conversion
    from transformers.modeling_utils import remove_tied_weights_from_state_dict

    held = model.state_dict(keep_vars=True)
    for name in model._keys_to_ignore_on_save or ():
        held.pop(name, None)
    outlines = {name: _outline(tensor) for name, tensor in held.items()}
    outlines = remove_tied_weights_from_state_dict(outlines, model)
    names = {id(outline): name for name, outline in outlines.items()}
    stored = revert_weight_conversion(model, dict(outlines))
    if {id(outline) for outline in stored.values()} != set(names):
        return None
    return {name: held[names[id(outline)]] for name, outline in stored.items()}


def _outline(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor without numbers, of the size and dtype in which this one is written."""
    dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
    # ZeRO-3 leaves an empty vector in place; ``ds_shape`` is what stood there.
    return torch.empty(getattr(tensor, "ds_shape", tensor.shape), dtype=dtype, device="meta")


def _write_files(
    stored: dict[str, torch.Tensor], folder: Path, writes: bool, file_bytes: int
) -> None:
    """Gather the tensors of one file, write it and forget them; then of the next."""
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file

    outlines = {name: _outline(tensor) for name, tensor in stored.items()}
    plan = split_torch_state_dict_into_shards(
        outlines, filename_pattern="model{suffix}.safetensors", max_shard_size=file_bytes
    )
    for file, names in plan.filename_to_tensors.items():
        tensors = {name: gather(stored[name], keep=writes) for name in names}
        if writes:
            save_file(tensors, folder / file, metadata={"format": "pt"})
    if writes and plan.is_sharded:
        total = sum(outline.numel() for outline in outlines.values())
        index = {
            "metadata": {"total_parameters": total, **plan.metadata},
            "weight_map": plan.tensor_to_filename,
        }
        text = json.dumps(index, indent=2, sort_keys=True) + "\n"
        (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")


def _write_at_once(model: Any, folder: Path, writes: bool, file_bytes: int) -> None:
    """For models whose tensors are stored in another form: gather all, let them be converted."""
    state: dict[str, torch.Tensor] = {}
    done: dict[int, torch.Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in done:
            done[id(tensor)] = gather(tensor, keep=writes)
        state[name] = done[id(tensor)]
    if writes:
        config = (folder / "config.json").read_bytes()
        model.save_pretrained(folder, state_dict=state, max_shard_size=file_bytes)
        (folder / "config.json").write_bytes(config)


def gather(tensor: torch.Tensor, *, keep: bool = True) -> torch.Tensor:
    """Gather one tensor of a model, in fp32, on the CPU; an empty one where it is not kept.

    Its kind says how it is cut: FSDP2, ZeRO, or not at all. **Every** rank must call it.
    """
    whole = _whole(tensor)
    if not keep:
        return torch.empty(0)
    dtype = torch.float32 if whole.is_floating_point() else whole.dtype
    return whole.to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """Gather one tensor: DTensor (FSDP2), ZeRO parameter, or a plain one. Collective."""
    from torch.distributed.tensor import DTensor

    if isinstance(tensor, DTensor):
        whole: torch.Tensor = tensor.full_tensor()
        return whole.detach()
    if not (hasattr(tensor, "ds_id") or hasattr(tensor, "_hp_mapping")):
        return tensor.detach()
    import deepspeed

    if tensor.requires_grad:
        return deepspeed.utils.safe_get_full_fp32_param(tensor).detach()
    with deepspeed.zero.GatheredParameters([tensor], enabled=hasattr(tensor, "ds_id")):
        return tensor.detach().clone()


def copy_tokenizer(tokenizer: Path, out: Path) -> None:
    """Put the files of a tokenizer beside the weights."""
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, out / name)
