"""Published trainings by name: what a recipe's ``preset: NAME`` fills in.

A preset is a YAML file with the keys of a ``train/pretrain`` step, and two more: ``about`` says
what it is, and ``twin`` how small its twin is, which is selected as ``NAME-small``. Presets of
``train/tune`` (in ``tunings``) have the keys of that step and ``about``.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from pydantic import Field
from pydantic_core import PydanticCustomError

from yoriai import NotFound
from yoriai.config import unknown_name
from yoriai.strict import Strict

SMALL = "-small"
# Of a twin's steps at least this part is warm-up: the published 2,000 of 494,120 would be none.
LEAST_WARMUP = 0.05


class Hardware(Strict):
    """What a run was trained on. None is not published."""

    gpu: str = Field(description="kind of GPU, e.g. h100")
    gpus: int | None = Field(None, ge=1, le=10**5, description="GPUs in all")
    nodes: int | None = Field(None, ge=1, le=10**5, description="machines")
    tensor_parallel: int | None = Field(None, ge=1, description="ranks that share a matrix")
    pipeline_parallel: int | None = Field(None, ge=1, description="ranks that share the layers")


class Accident(Strict):
    """A value that is known to have cost a run dearly."""

    key: str = Field(description="dotted key, e.g. optimizer.epsilon")
    value: float | str = Field(description="the value that failed")
    why: str = Field(description="what happened; follows the title of the preset")
    source: str = Field(description="where that is published")


class About(Strict):
    """What a preset is, and whether it is an example to follow."""

    title: str = Field(description="name of the run")
    source: str = Field(description="where its values are published, in the main")
    notes: str = Field("", description="what is not as it was there, and what is not known")
    reference: bool = Field(description="ended well: others are compared with it")
    vocabulary_size: int = Field(ge=1, le=10**8, description="pieces of its tokenizer")
    nodes: int = Field(
        ge=1, le=10**5, description="nodes to launch it on here: they share the batch evenly"
    )
    hardware: Hardware = Field(description="what it was trained on")
    failed: tuple[Accident, ...] = Field((), description="values that made it fail")


class Twin(Strict):
    """The sizes of a twin; everything else follows from the preset (:func:`shrink`)."""

    layers: int = Field(ge=1, le=10**4, description="decoder blocks")
    width: int = Field(ge=8, le=10**6, description="hidden size")
    heads: int = Field(ge=1, le=10**6, description="attention heads")
    key_value_heads: int | None = Field(
        None, ge=1, le=10**6, description="heads of keys and values"
    )
    feed_forward: int | None = Field(None, ge=8, le=10**7, description="inner size of the SwiGLU")
    context: int = Field(ge=8, le=10**8, description="longest sequence in tokens")
    steps: int = Field(ge=1, description="optimizer steps")
    batch: int = Field(ge=1, le=10**6, description="sequences in a micro-batch")
    accumulate: int = Field(ge=1, le=10**6, description="micro-batches in a step")


def names(*, twins: bool = True) -> list[str]:
    """All presets in order of name; without ``twins`` only the published ones."""
    known = list(_published())
    return sorted([*known, *(name + SMALL for name in known)]) if twins else known


def load(name: str) -> dict[str, Any]:
    """The keys a preset sets in ``train/pretrain``. Raises :class:`NotFound` with the nearest."""
    body = copy.deepcopy({k: v for k, v in _read(name).items() if k not in ("about", "twin")})
    if name.endswith(SMALL):
        return shrink(body, Twin.model_validate(_read(name)["twin"]))
    return body


def about(name: str) -> About:
    """What a preset is (of a twin: what its original is). Raises :class:`NotFound`."""
    return About.model_validate(_read(name)["about"])


def tunings() -> list[str]:
    """The presets of ``train/tune``, in order of name."""
    return list(_files("tunings"))


def load_tuning(name: str) -> dict[str, Any]:
    """The keys a preset sets in ``train/tune``. Raises :class:`NotFound` with the nearest."""
    if name not in tunings():
        raise unknown_name(name, tunings(), "preset of a tuning")
    body = copy.deepcopy(_parse(name, "tunings"))
    del body["about"]
    return body


def shrink(body: Mapping[str, Any], twin: Twin) -> dict[str, Any]:
    """The keys of a twin: the same training with a small model, on one CPU, in minutes.

    * Sizes are those of ``twin``; the dialect, how it is tied, rotated and padded stay.
    * The peak of the rate grows as 1 / width and the initial deviation as 1 / sqrt(width), which
      keeps the size of activations and of their change in a step (Tensor Programs V,
      arXiv 2203.03466, table 3). The rest of the optimizer stays.
    * The schedule keeps its shape: warm-up and decay keep their parts of the steps, but at least
      one step in twenty is warm-up.
    * One process, 32-bit numbers, nothing computed twice, four checkpoints.
    """
    model, schedule = dict(body["model"]), dict(body["schedule"])
    wider = model["width"] / twin.width
    sizes = twin.model_dump(exclude={"steps", "batch", "accumulate"}, exclude_none=True)
    model |= {**sizes, "initial_deviation": _round(model["initial_deviation"] * math.sqrt(wider))}
    warmup = schedule["warmup_steps"]
    small = min(twin.steps, round(twin.steps * max(warmup / body["steps"], LEAST_WARMUP)))
    schedule |= {"peak": _round(schedule["peak"] * wider), "warmup_steps": small if warmup else 0}
    if "decay_steps" in schedule:
        share = schedule["decay_steps"] / (body["steps"] - warmup)
        rest = twin.steps - schedule["warmup_steps"]
        schedule["decay_steps"] = max(1, round(share * rest))
    return {
        **body,
        "model": model,
        "schedule": schedule,
        "strategy": {"use": "train/single"},
        "steps": twin.steps,
        "batch": twin.batch,
        "accumulate": twin.accumulate,
        "precision": "32-true",
        "activation_checkpoints": False,
        "checkpoint": {**body.get("checkpoint", {}), "every_steps": max(1, twin.steps // 4)},
    }


def fill(
    value: Mapping[str, Any], read: Callable[[str], Mapping[str, Any]] = load
) -> dict[str, Any]:
    """A step's keys with those of its ``preset`` filled in; as they are if it names none.

    Raises :class:`NotFound` if there is no such preset.
    """
    name = value.get("preset")
    if not isinstance(name, str) or not name:
        return dict(value)
    return merge(read(name), value)


def before(value: Any) -> Any:
    """:func:`fill` as a pydantic before-validator: an unknown name is a fault of the recipe."""
    return _filled(value, load)


def before_tuning(value: Any) -> Any:
    """The same for presets of ``train/tune``."""
    return _filled(value, load_tuning)


def _filled(value: Any, read: Callable[[str], Mapping[str, Any]]) -> Any:
    if not isinstance(value, Mapping):
        return value
    try:
        return fill(value, read)
    except NotFound as error:
        told = {"message": error.message, "hint": error.hint}
        raise PydanticCustomError("uses", "{message}", told) from error


def merge(preset: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Both together; where both set a key, the recipe's value stands.

    Mappings are merged key by key, unless the recipe uses another entry there (``use``): what
    was meant for a Llama is not meant for a GPT-2. A bare name is a mapping with ``use``.
    """
    merged = dict(preset)
    for key, value in recipe.items():
        old = preset.get(key)
        if isinstance(value, str) and isinstance(old, Mapping) and "use" in old:
            value = {"use": value}
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            same = value.get("use", old.get("use")) == old.get("use")
            value = merge(old, value) if same else value
        merged[key] = value
    return merged


def _round(value: float) -> float:
    """Three digits, which is how people write such values."""
    return float(f"{value:.3g}")


@functools.cache
def _files(folder: str) -> tuple[str, ...]:
    place = resources.files("yoriai_train.settings") / folder
    found = [path.name for path in place.iterdir() if path.name.endswith(".yaml")]
    return tuple(sorted(name.removesuffix(".yaml") for name in found))


def _published() -> tuple[str, ...]:
    return _files("presets")


def _read(name: str) -> dict[str, Any]:
    base = name.removesuffix(SMALL)
    if base not in _published():
        raise unknown_name(name, names(), "preset")
    return _parse(base, "presets")


@functools.cache
def _parse(base: str, folder: str) -> dict[str, Any]:
    from yoriai import safe_yaml

    path = resources.files("yoriai_train.settings") / folder / f"{base}.yaml"
    value: dict[str, Any] = safe_yaml.load(path.read_bytes(), path.name)
    return value
