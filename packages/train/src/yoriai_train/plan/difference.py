"""Two trainings side by side in words, and where one departs from all that are known to be good.

What is a departure (:func:`warnings`):

* Adam's epsilon and betas, clipping and weight decay, and whether there is a z-loss: any value
  that no reference has. The references are all presets with ``about.reference``, of any size:
  none of these values is known to depend on size.
* Peak of the learning rate, initial deviation and tokens in a step do depend on it: they are
  compared with the references whose parameters outside the embeddings are within a factor of 4,
  and depart when they are more than twice the largest or less than half the smallest of theirs.
  Where no reference is that near, nothing is said.
* A warm-up as long as the run, and a decay that the run ends before, unless a reference has the
  same part of it.
* Any value that failed in a published run (``about.failed`` of the presets) is named with it.

Numbers are equal within a millionth.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from yoriai import ModelShape
from yoriai_train.settings import preset
from yoriai_train.settings.optimizer import Optimizer
from yoriai_train.settings.schedule import Schedule
from yoriai_train.settings.shapes import SHAPES

FACTOR = 2.0
NEAR_IN_SIZE = 4.0

# Group, key and plain words of every row, in order. Keys without a dot before the last group are
# computed by :func:`describe`.
_ROWS: Mapping[str, Mapping[str, str]] = {
    "model": {
        "model.use": "dialect",
        "model.layers": "layers",
        "model.width": "width",
        "model.heads": "attention heads",
        "model.key_value_heads": "heads of keys and values",
        "model.feed_forward": "inner size of the feed-forward",
        "model.context": "context in tokens",
        "model.tied": "embeddings tied",
        "model.parallel_blocks": "attention beside feed-forward",
        "model.rope_theta": "base of the rotary embedding",
        "model.rotary_share": "part of each head rotated",
        "model.initial_deviation": "standard deviation at the start",
        "model.scaled_outputs": "smaller start into the residual stream",
        "model.vocabulary_multiple": "embeddings padded to a multiple of",
        "vocabulary_size": "pieces of the tokenizer",
        "parameters_outside_embeddings": "parameters outside the embeddings",
        "parameters": "parameters",
    },
    "optimisation": {
        "optimizer.beta1": "Adam's beta 1",
        "optimizer.beta2": "Adam's beta 2",
        "optimizer.epsilon": "Adam's epsilon",
        "optimizer.weight_decay": "weight decay",
        "optimizer.decay_embeddings": "embeddings decay too",
        "optimizer.clip": "largest norm of the gradient",
        "z_loss": "weight of the z-loss",
    },
    "schedule": {
        "schedule.kind": "shape",
        "schedule.peak": "highest learning rate",
        "last_rate": "last learning rate",
        "schedule.warmup_steps": "steps of warm-up",
        "warmup_tokens": "tokens of warm-up",
        "decay_steps": "steps of decay",
        "steps": "steps",
    },
    "batch": {
        "sequences_per_step": "sequences in a step",
        "tokens_per_step": "tokens in a step",
        "tokens": "tokens in all",
        "tokens_per_parameter": "tokens per parameter",
        "boundaries": "attention ends at documents",
    },
    "precision": {
        "precision": "numbers",
        "activation_checkpoints": "activations computed twice",
    },
}
WORDS = {key: words for rows in _ROWS.values() for key, words in rows.items()}
_EXACT = (
    "optimizer.epsilon",
    "optimizer.beta1",
    "optimizer.beta2",
    "optimizer.clip",
    "optimizer.weight_decay",
)
# What a dialect has whether it says so or not.
_IMPLIED: Mapping[str, Mapping[str, Any]] = {"train/gpt2": {"tied": True}}
_SCALED = ("schedule.peak", "model.initial_deviation", "tokens_per_step")
# What a step means where it does not say; the same as its fields in ``train/pretrain``.
_DEFAULTS: Mapping[str, Any] = {
    "model": {"use": "train/llama"},
    "steps": 200,
    "batch": 16,
    "accumulate": 1,
    "z_loss": 0.0,
    "precision": "32-true",
    "boundaries": False,
    "activation_checkpoints": False,
}


@dataclass(frozen=True, slots=True)
class ValueDifference:
    """One value of two trainings. ``ratio`` is b / a where both are numbers that differ."""

    group: str
    key: str
    words: str
    a: Any
    b: Any
    same: bool
    ratio: float | None


def describe(
    config: Mapping[str, Any], *, vocabulary_size: int | None = None, parameters: int | None = None
) -> dict[str, Any]:
    """All values of a ``train/pretrain`` configuration by dotted key, computed ones among them.

    Keys that are left out have their defaults. ``tokens_per_parameter`` counts all parameters if
    they are known (given, or from ``vocabulary_size``), else those outside the embeddings. A
    shape of another plugin is described by its own keys, without parameters.
    """
    given = {**_DEFAULTS, **preset.fill(config)}
    optimizer = dict(given.get("optimizer") or {})
    for key in ("clip", "weight_decay"):  # where models made before ``optimizer`` have them
        if key in given:
            optimizer.setdefault(key, given[key])
    use, shape, model = _shape(given["model"])
    schedule = Schedule.model_validate(given.get("schedule") or {})
    steps = int(given["steps"])
    context = int(given.get("length") or model.get("context", 0))
    first, last = schedule.decay(steps)
    sequences = int(given["batch"]) * int(given["accumulate"])
    values: dict[str, Any] = {
        "model.use": use,
        **{f"model.{key}": value for key, value in model.items()},
        **{
            f"optimizer.{k}": v for k, v in Optimizer.model_validate(optimizer).model_dump().items()
        },
        **{f"schedule.{key}": value for key, value in schedule.model_dump().items()},
        **{key: given[key] for key in ("z_loss", "precision", "boundaries", "steps")},
        "activation_checkpoints": given["activation_checkpoints"],
        "last_rate": schedule.rate(steps - 1, steps),
        "decay_steps": last - first,
        "sequences_per_step": sequences,
        "tokens_per_step": sequences * context,
        "tokens": sequences * context * steps,
        "warmup_tokens": sequences * context * schedule.warmup_steps,
    }
    outside = shape.parameters(0) if shape else None
    if shape and vocabulary_size and parameters is None:
        parameters = shape.parameters(vocabulary_size)
    values |= {
        "vocabulary_size": vocabulary_size,
        "parameters": parameters,
        "parameters_outside_embeddings": outside,
    }
    if counted := parameters or outside:
        values["tokens_per_parameter"] = values["tokens"] / counted
    return values


def compare(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[ValueDifference]:
    """The rows of two descriptions, in order; what neither has is left out."""
    rows = []
    for group, keys in _ROWS.items():
        for key, words in keys.items():
            left, right = a.get(key), b.get(key)
            if left is None and right is None:
                continue
            same = _equal(left, right)
            ratio = None
            if _number(left) and _number(right) and left and not same:
                ratio = float(right) / float(left)
            rows.append(ValueDifference(group, key, words, left, right, same, ratio))
    return rows


def nearest(config: Mapping[str, Any], count: int = 3) -> list[str]:
    """The ``count`` references most like a configuration: by dialect, then by size.

    Size is the logarithm of the parameters outside the embeddings.
    """
    return _nearest(describe(config), count)


def warnings(config: Mapping[str, Any]) -> list[str]:
    """Where a ``train/pretrain`` configuration departs from every reference, in words.

    ``config`` has the keys of a recipe's step (a ``preset`` is filled in). Empty: no departure.
    """
    values = describe(config)
    told = {**_departures(values), **_about_the_run(values)}
    for key, text in _accidents(values):
        told[key] = f"{told[key]}; {text}" if key in told else f"{key} {show(values[key])}: {text}"
    return list(told.values())


def show(value: Any) -> str:
    """A value as people write it: 1e-5, 8,192, yes."""
    if value is None:
        return "not known"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if 1 <= abs(value) < 1e6 and value == int(value):
            return f"{int(value):,}"
        small = value != 0 and abs(value) < 1e-3
        mantissa, exponent, power = (f"{value:.3e}" if small else f"{value:.4g}").partition("e")
        if not exponent:
            return mantissa
        return f"{float(mantissa):g}e{int(power)}"
    return str(value)


def _shape(value: Any) -> tuple[str, ModelShape | None, dict[str, Any]]:
    """The name of a shape, the shape if it is one of this package, and its keys to be shown."""
    keys = {"use": value} if isinstance(value, str) else {**_DEFAULTS["model"], **value}
    use = str(keys.pop("use"))
    if use not in SHAPES:
        return use, None, keys
    shape = SHAPES[use].model_validate(keys)
    shown = {**_IMPLIED.get(use, {}), **shape.model_dump()}
    if use in ("train/gpt2", "train/gpt-neox"):
        shown |= {"key_value_heads": shown["heads"], "feed_forward": 4 * shown["width"]}
    return use, shape, shown


@functools.cache
def _references() -> dict[str, dict[str, Any]]:
    """The descriptions of all presets that are good examples, by name."""
    found = {name: preset.about(name) for name in preset.names(twins=False)}
    return {
        name: describe(preset.load(name), vocabulary_size=known.vocabulary_size)
        for name, known in found.items()
        if known.reference
    }


def _nearest(values: Mapping[str, Any], count: int) -> list[str]:
    def distance(name: str) -> tuple[bool, float, str]:
        known = _references()[name]
        away = _distance(values, known)
        return known["model.use"] != values["model.use"], math.inf if away is None else away, name

    return sorted(_references(), key=distance)[:count]


def _near_in_size(values: Mapping[str, Any]) -> list[str]:
    found = []
    for name, known in _references().items():
        away = _distance(values, known)
        if away is not None and away <= math.log(NEAR_IN_SIZE):
            found.append(name)
    return found


def _distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> float | None:
    sizes = a["parameters_outside_embeddings"], b["parameters_outside_embeddings"]
    return abs(math.log(sizes[0] / sizes[1])) if all(sizes) else None


def _departures(values: Mapping[str, Any]) -> dict[str, str]:
    """A sentence for each value that no reference has, or none of about the same size."""
    told, known = {}, _references()
    for key in (*_EXACT, "z_loss"):
        others = [reference[key] for reference in known.values()]
        alike = _both_or_none if key == "z_loss" else _equal
        if not any(alike(values[key], other) for other in others):
            text = f"every named reference uses {_listed(others)}"
            told[key] = _sentence(key, values, text, _nearest(values, 3))
    near = _near_in_size(values)
    for key in _SCALED if near else ():
        others = sorted(known[name][key] for name in near)
        if not others[0] / FACTOR <= values[key] <= others[-1] * FACTOR:
            text = f"references of about its size use {show(others[0])} to {show(others[-1])}"
            told[key] = _sentence(key, values, text, near)
    return told


def _about_the_run(values: Mapping[str, Any]) -> dict[str, str]:
    steps, warmup = values["steps"], values["schedule.warmup_steps"]
    if warmup >= steps:
        return {
            "schedule.warmup_steps": f"schedule.warmup_steps {show(warmup)}: the run has"
            f" {show(steps)} steps, so the learning rate never reaches its peak"
        }
    part = _part(values)
    published = [_part(known) for known in _references().values()]
    if part <= 1.0 or any(abs(other / part - 1) < 0.02 for other in published):
        return {}
    return {
        "schedule.decay_steps": f"schedule.decay_steps {show(values['decay_steps'])}: the run ends"
        f" before, at {values['last_rate'] / values['schedule.peak']:.0%} of the highest learning"
        f" rate; set it to {show(steps - warmup)}, or to null for all that is left"
    }


def _part(values: Mapping[str, Any]) -> float:
    """The decay over the steps that there are for it."""
    return float(values["decay_steps"] / (values["steps"] - values["schedule.warmup_steps"]))


def _accidents(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Key and story of each value that failed in a published run."""
    for name in preset.names(twins=False):
        known = preset.about(name)
        for accident in known.failed:
            value = values.get(accident.key)
            if value is not None and _equal(value, accident.value):
                yield accident.key, f"{known.title} {accident.why}"


def _both_or_none(a: float, b: float) -> bool:
    return bool(a) == bool(b)


def _sentence(key: str, values: Mapping[str, Any], text: str, names: Sequence[str]) -> str:
    titles = ", ".join(preset.about(name).title for name in names)
    return f"{key} {show(values[key])} ({WORDS[key]}): {text} ({titles})"


def _listed(values: Sequence[Any]) -> str:
    return " or ".join(dict.fromkeys(show(value) for value in values))


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _equal(a: Any, b: Any) -> bool:
    if _number(a) and _number(b):
        return math.isclose(a, b, rel_tol=1e-6)
    return bool(a == b)
