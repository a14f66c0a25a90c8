"""Adapters: written beside a model, merged into its base, and refused on another."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from yoriai import Method, Refused, UsageError, files
from yoriai.model_folder import WEIGHTS, opening, whole
from yoriai.safetensors_header import TensorPlace, read_header

FOLDER = "adapter"
BASE = "base.json"  # which weights the adapter was made for
_BYTES = 2**24


def export_adapter(method: Method, model: Any, folder: Path) -> bool:
    """Write the adapter that is being trained; False if the model itself is. Collective."""
    import torch

    from yoriai_train.model.export import gather

    parameters = method.adapter(model)
    if parameters is None:
        return False
    writes = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
    tensors = {name: gather(tensor, keep=writes) for name, tensor in parameters.items()}
    if writes:
        method.write(model, tensors, folder)
    return True


def merge(base: Path, adapter: Path, out: Path) -> None:
    """Write ``base`` with the adapter added to its weights, as a plain folder.

    PEFT does it, in fp32. Raises :class:`UsageError` where the adapter was made for other weights.
    Nothing is put into ``out`` before all of it is written.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from yoriai_train.model.export import copy_tokenizer, export

    check_base(base, adapter)
    try:
        from peft import PeftModel
    except ImportError as error:
        raise UsageError(
            "peft is not installed", hint="pip install 'yoriai-train[lora]'"
        ) from error
    with opening(base):
        loaded = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **WEIGHTS)
    model = whole(loaded, base)
    with opening(adapter):
        merged: Any = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        export(merged, part, None)
        copy_tokenizer(base, part)
        out.mkdir(exist_ok=True)  # a training's has its adapter in it
        for path in sorted(part.iterdir()):
            path.replace(out / path.name)
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and not files.is_disk_trouble(error):
            raise
        # safetensors tells a full disk by words alone.
        known = error if isinstance(error, OSError) else OSError(str(error))
        raise files.disk_error(out, known) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def note_base(base: Path, name: str, adapter: Path) -> None:
    """Write down which weights an adapter belongs to."""
    told = {"name": name, "weights": digest_weights(base)}
    files.write_atomically(adapter / BASE, (json.dumps(told, indent=2) + "\n").encode())


def check_base(base: Path, adapter: Path) -> None:
    """Refuse an adapter on another base than its own."""
    if not (adapter / "adapter_config.json").is_file():
        raise UsageError(f"{adapter} is no adapter: it has no adapter_config.json")
    if not (adapter / "adapter_model.safetensors").is_file():
        raise Refused(
            f"{adapter} has no adapter_model.safetensors",
            hint="save it with peft: model.save_pretrained(folder); pickled ones are not read",
        )
    if not (adapter / BASE).is_file():
        raise UsageError(
            f"{adapter} does not say which weights it was made for: it has no {BASE}",
            hint="merge it with peft, whose PeftModel asks no such thing",
        )
    try:
        told = json.loads((adapter / BASE).read_bytes())
        made_for, name = told["weights"], told["name"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(
            f"{adapter / BASE} cannot be read: {error}", hint=f"yoriai verify {adapter}"
        ) from error
    if made_for != digest_weights(base):
        raise UsageError(
            f"the adapter {adapter} was made for {name}, {base} has other weights",
            hint=f"give the folder of {name}",
        )


def digest_weights(folder: Path) -> str:
    """sha256 of all tensors of a folder, by name, whatever files they lie in."""
    places: dict[str, tuple[Path, TensorPlace]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        places |= {name: (path, place) for name, place in read_header(path).items()}
    if not places:
        raise UsageError(
            f"{folder} has no safetensors",
            hint="load it with transformers and save it with save_pretrained",
        )
    digest = hashlib.sha256()
    for name in sorted(places):
        path, place = places[name]
        digest.update(json.dumps([name, place.dtype, list(place.shape)]).encode())
        with path.open("rb") as stream:
            stream.seek(place.first)
            left = place.stop - place.first
            while left:
                part = stream.read(min(left, _BYTES))
                if not part:
                    raise UsageError(f"{path} ends before its tensors do")
                digest.update(part)
                left -= len(part)
    return digest.hexdigest()
