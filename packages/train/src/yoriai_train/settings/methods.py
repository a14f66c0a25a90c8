"""What of a model is tuned: all of it, or an adapter beside frozen weights.

Importing this module imports pydantic only; torch and peft are imported inside functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

from yoriai import Method, UsageError, files

Role = Literal["attention", "feed-forward"]

# Names by which transformers calls the parts of a block: of Llama's kind, GPT-2's and GPT-NeoX's.
_ROLES = {
    "attention": re.compile(r"(^|\.)(self_attn|attn|attention|self_attention)\."),
    "feed-forward": re.compile(r"(^|\.)(mlp|feed_forward|ffn|block_sparse_moe|experts)\."),
}


def refuse_qlora(value: Any) -> Any:
    """A before-validator of steps that have a ``method``: QLoRA is refused by name, with reason.

    QLoRA (arXiv 2305.14314) trains an adapter beside weights of four bits. What is merged here is
    the model as it was, in its own precision: another one than the adapter was trained beside.
    """
    method = value.get("method") if isinstance(value, Mapping) else None
    name = method.get("use") if isinstance(method, Mapping) else method
    if name not in ("train/qlora", "qlora"):
        return value
    told = {
        "message": "QLoRA is not offered: its adapter fits weights of four bits, and the model that"
        " is merged and exported here would be another",
        "hint": "method: train/lora with precision: bf16-true and activation_checkpoints: true;"
        " then domain-adapt/quantise",
    }
    raise PydanticCustomError("uses", "{message}", told)


class Full(Method):
    """Every weight is tuned."""

    version: ClassVar[str] = "1"


class LoRA(Method):
    """Low-rank adapters beside frozen matrices (arXiv 2106.09685), by PEFT.

    The artifact holds the merged model and, under ``adapter``, the adapter in PEFT's own form.
    There is no dropout, as a run that is resumed could not draw what it would have drawn.
    """

    version: ClassVar[str] = "1"
    whole: ClassVar[bool] = True

    rank: int = Field(8, ge=1, description="rank of the two matrices")
    alpha: int = Field(16, ge=1, description="what they add is multiplied by alpha / rank")
    targets: list[Role] = Field(
        ["attention", "feed-forward"], min_length=1, description="matrices adapted, by role"
    )
    modules: list[str] = Field(
        [], description="names of modules to adapt instead of roles: q_proj, mlp.c_proj"
    )
    dora: bool = Field(False, description="weight-decomposed (DoRA, arXiv 2402.09353)")
    rslora: bool = Field(
        False, description="rank-stabilised (arXiv 2312.03732): alpha / the root of rank"
    )

    def adapt(self, model: Any) -> None:
        """Put adapters into the model and freeze all else; raises UsageError without peft."""
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise UsageError(
                "method train/lora: peft is not installed", hint="pip install 'yoriai-train[lora]'"
            ) from error
        found = self.modules or self._by_role(model)
        parts = dict(model.named_modules())
        wrong = [n for n in found if not any(p == n or p.endswith(f".{n}") for p in parts)]
        if wrong:
            raise UsageError(
                f"method.modules: a {model.config.model_type} has no {', '.join(wrong)}",
                hint="leave modules out, and name roles under targets",
            )
        transposed = {type(parts[p]).__name__ == "Conv1D" for p in parts if _ends(p, found)}
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            target_modules=list(found),
            use_dora=self.dora,
            use_rslora=self.rslora,
            fan_in_fan_out=True in transposed,
            task_type="CAUSAL_LM",
        )
        inject_adapter_in_model(config, model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)

    def _by_role(self, model: Any) -> list[str]:
        """Names, with that of the module around, of the matrices that have the roles."""
        found = set()
        for name, part in model.named_modules():
            fits = any(_ROLES[role].search(f"{name}.") for role in self.targets)
            if fits and type(part).__name__ in ("Linear", "Conv1D"):
                found.add(".".join(name.split(".")[-2:]))
        if not found:
            raise UsageError(
                f"method.targets: no {' or '.join(self.targets)} was found in a"
                f" {model.config.model_type}",
                hint="name its modules under method.modules",
            )
        return sorted(found)

    def adapter(self, model: Any) -> Mapping[str, Any]:
        """The adapter's parameters by the names under which PEFT stores them."""
        return {
            f"base_model.model.{_stored(name)}": parameter
            for name, parameter in model.named_parameters()
            if "lora_" in name
        }

    def write(self, model: Any, tensors: Mapping[str, Any], folder: Path) -> None:
        """Write them with PEFT's configuration, so that plain ``peft`` reads the folder."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(dict(tensors), folder / "adapter_model.safetensors", metadata={"format": "pt"})
        config = model.peft_config["default"]
        body = {**config.to_dict(), "inference_mode": True, "base_model_name_or_path": None}
        body = {key: sorted(v) if isinstance(v, set) else v for key, v in body.items()}
        text = json.dumps(body, indent=2, sort_keys=True, default=str) + "\n"
        files.write_atomically(folder / "adapter_config.json", text.encode())


def _ends(place: str, names: list[str]) -> bool:
    return any(place == name or place.endswith(f".{name}") for name in names)


def _stored(name: str) -> str:
    """PEFT leaves the adapter's own name out, and ``weight`` after DoRA's magnitudes.

    peft/utils/save_and_load.py, ``get_peft_model_state_dict``.
    """
    stored = name.replace(".default.weight", ".weight")
    return stored.replace(".lora_magnitude_vector.weight", ".lora_magnitude_vector")
