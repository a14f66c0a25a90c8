"""Reading recipes: YAML in, checked steps out, with the line of everything that is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pydantic
import yaml

from yoriai import config, files, safe_yaml
from yoriai.artifact import MANIFEST, Artifact, open_artifact
from yoriai.config import Fault, Uses, dotted
from yoriai.contracts import Engine
from yoriai.errors import NotFound, UsageError, YoriaiError
from yoriai.prediction import nearest_fact
from yoriai.registry import Registry
from yoriai.step import Step
from yoriai.strict import Strict, short
from yoriai.terminal import clip

MAX_BYTES = 2**20
MOST_NAME, MOST_STEPS = 300, 1000
FORM = "a recipe is a mapping with name and steps"
NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")


class Prediction(Strict):
    """What its authors expect before the run: one number of one step."""

    fact: str = pydantic.Field(
        max_length=MOST_NAME, description="step.fact, e.g. scores.base.bits_per_byte.ja"
    )
    below: float | None = pydantic.Field(None, description="the fact is predicted below this")
    above: float | None = pydantic.Field(None, description="the fact is predicted above this")
    than: str = pydantic.Field(
        "", max_length=MOST_NAME, description="another fact to compare with, e.g. for below"
    )

    @pydantic.model_validator(mode="after")
    def _one_direction(self) -> Prediction:
        chosen = [self.below is not None, self.above is not None, bool(self.than)]
        if sum(chosen) != 1:
            raise ValueError("give exactly one of below, above, than (than: lower than it)")
        return self


class Question(Strict):
    """The experiment's question, written before the run (records are made from it)."""

    title: dict[str, Annotated[str, pydantic.Field(max_length=MOST_NAME)]] = pydantic.Field(
        max_length=20, description="title by language, e.g. ja and en"
    )
    hypothesis: str = pydantic.Field("", description="what is believed, in a sentence or two")
    predictions: list[Prediction] = pydantic.Field(
        [], max_length=MOST_STEPS, description="numbers that would show it, compared after the run"
    )


class Recipe(Strict):
    """The top level of a recipe file."""

    name: str = pydantic.Field(description="one word; names the folder and the artifacts")
    version: int = pydantic.Field(
        1, ge=1, lt=10**6, description="raise it when you mean to make new things"
    )
    licence: str = pydantic.Field(
        "", max_length=MOST_NAME, description="SPDX licence of what the recipe makes"
    )
    seed: int = pydantic.Field(0, ge=0, lt=2**31, description="the one seed of the whole recipe")
    engine: str | dict[str, Any] | None = pydantic.Field(
        None, description="where data tasks run, e.g. {use: corpus/dask, cluster: slurm}"
    )
    question: Question | None = pydantic.Field(None, description="what the run should find out")
    steps: dict[str, dict[str, Any]] = pydantic.Field(
        max_length=MOST_STEPS, description="steps by name, in order"
    )

    @pydantic.field_validator("name")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not NAME.fullmatch(value):
            raise ValueError(f"{short(value)} is no plain name (a-z, 0-9, '-', '_')")
        return value


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step with its checked object. ``inputs`` are step names or paths of artifacts."""

    name: str
    entry: str
    step: Step
    inputs: tuple[str, ...]

    def config(self) -> dict[str, Any]:
        return config.plain(self.step)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A recipe whose every key was checked."""

    path: Path
    recipe: Recipe
    steps: tuple[PlannedStep, ...] = field(default=())
    engine: Engine | None = None
    lines: Mapping[tuple[Any, ...], int] = field(default_factory=dict)

    def expectations(self, made: Mapping[str, Artifact] | None = None) -> dict[str, dict[str, Any]]:
        """What each step would read, make and cost (:meth:`yoriai.Step.expect`).

        ``made``: the artifacts of steps that are done. Raises :class:`UsageError` with the line
        of a step that would fail for certain.
        """
        there = dict(made or {})
        found: dict[str, dict[str, Any]] = {}
        for planned in self.steps:
            given = []
            for name in planned.inputs:
                value = dict(found.get(name, {}))
                # What is done needs no second look at what it was made of.
                if planned.name not in there:
                    artifact = there.get(name) if name in found else open_artifact(Path(name))
                    value |= {"made": artifact} if artifact is not None else {}
                given.append(value)
            try:
                found[planned.name] = planned.step.expect(given)
            except UsageError as error:
                fault = Fault(("steps", planned.name), error.message, error.hint)
                raise _faulty(self.path, [fault], self.lines) from error
        return found

    def needed_by(self, step: str) -> set[str]:
        """A step and all steps that it needs."""
        by_name = {planned.name: planned for planned in self.steps}
        found, waiting = set(), [step]
        while waiting:
            name = waiting.pop()
            if name in by_name and name not in found:
                found.add(name)
                waiting += by_name[name].inputs
        return found

    def resolved(self) -> dict[str, Any]:
        """The recipe with every default written out; itself a valid recipe."""
        value = self.recipe.model_dump(mode="json", exclude={"steps"}, exclude_none=True)
        value["steps"] = {
            s.name: {
                "uses": s.entry,
                **({"from": list(s.inputs)} if s.inputs else {}),
                **s.config(),
            }
            for s in self.steps
        }
        return value


def load_recipe(path: Path, registry: Registry, settings: Sequence[str] = ()) -> Loaded:
    """Read and check a recipe; ``settings`` are ``a.b=value`` overrides.

    Raises :class:`UsageError` listing every fault with its line, or :class:`NotFound`.
    """
    if not path.is_file():
        raise NotFound(f"no recipe {path}", hint="ls recipes/")
    value, lines = read_yaml(path, FORM, MAX_BYTES)
    for setting in settings:
        apply_setting(value, setting)
    faults: list[Fault] = []
    try:
        recipe = Recipe.model_validate(value)
    except pydantic.ValidationError as error:
        raise _faulty(path, config.explain(error, Recipe), lines) from error
    engine = _build_engine(recipe, registry, faults)
    steps: list[PlannedStep] = []
    for name, body in recipe.steps.items():
        earlier = list(recipe.steps)[: list(recipe.steps).index(name)]
        planned = _plan_step(name, body, earlier, recipe, registry, faults)
        if planned:
            steps.append(planned)
    if not recipe.steps:
        faults.append(Fault(("steps",), "a recipe needs at least one step"))
    if faults:
        raise _faulty(path, faults, lines)
    loaded = Loaded(path, recipe, tuple(steps), engine, lines)
    _check_kinds(loaded, lines)
    _check_predictions(loaded, lines)
    return loaded


class _Place(config.Configured):
    engine: Annotated[Engine, Uses("engines")]


def _build_engine(recipe: Recipe, registry: Registry, faults: list[Fault]) -> Engine | None:
    if recipe.engine is None:
        return None
    try:
        place: _Place = config.build(_Place, {"engine": recipe.engine}, registry)
    except pydantic.ValidationError as error:
        faults += config.explain(error, _Place)
        return None
    return place.engine


def _plan_step(
    name: str,
    body: Mapping[str, Any],
    earlier: list[str],
    recipe: Recipe,
    registry: Registry,
    faults: list[Fault],
) -> PlannedStep | None:
    here = ("steps", name)
    if not NAME.fullmatch(str(name)) or name in Recipe.model_fields:
        faults.append(
            Fault(here, f"{short(name)} cannot name a step (a-z, 0-9, '-', '_', no top key)")
        )
        return None
    if "uses" not in body:
        faults.append(Fault(here, "a step needs 'uses: plugin/step'", "yoriai list steps"))
        return None
    inputs = body.get("from", [])
    inputs = [inputs] if isinstance(inputs, str) else inputs
    if not isinstance(inputs, list) or not all(isinstance(item, str) for item in inputs):
        faults.append(Fault((*here, "from"), "give a step's name, or a list of names"))
        return None
    for item in inputs:
        if item in earlier or (Path(item) / MANIFEST).is_file():
            continue
        later = item in recipe.steps
        problem = "comes later in the recipe" if later else "is no earlier step and no artifact"
        near = difflib.get_close_matches(item[:100], earlier, 1, 0.5)
        known = f"earlier steps: {', '.join(earlier) or 'none'}"
        hint = f"did you mean {near[0]!r}?" if near else known
        faults.append(Fault((*here, "from"), f"{short(item)} {problem}", hint))
    try:
        found = registry.get("steps", str(body["uses"]))
        target = registry.load(found)
    except YoriaiError as error:
        faults.append(Fault((*here, "uses"), error.message, error.hint))
        return None
    if not (isinstance(target, type) and issubclass(target, Step)):
        faults.append(Fault((*here, "uses"), f"{found.name} is no yoriai.Step"))
        return None
    options = {key: item for key, item in body.items() if key not in ("uses", "from")}
    try:
        step = config.build(target, options, registry)
    except pydantic.ValidationError as error:
        faults += [
            Fault((*here, *f.place), f.message, f.hint) for f in config.explain(error, target)
        ]
        return None
    step._entry = found.name
    return PlannedStep(name, found.name, step, tuple(inputs))


def _check_predictions(loaded: Loaded, lines: Mapping[tuple[Any, ...], int]) -> None:
    """Refuse predictions of steps that are not there, and of facts that a step does not make."""
    steps = {planned.name: planned for planned in loaded.steps}
    question = loaded.recipe.question
    faults = []
    for number, prediction in enumerate(question.predictions if question else ()):
        for key in ("fact", "than"):
            place = ("question", "predictions", number, key)
            name, dot, fact = str(getattr(prediction, key)).partition(".")
            if key == "than" and not name:
                continue
            if name not in steps:
                near = difflib.get_close_matches(name[:100], steps, 1, 0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"steps: {', '.join(steps)}"
                faults.append(Fault(place, f"there is no step {short(name)}", hint))
            elif not (dot and fact):
                faults.append(Fault(place, "name the fact, too", f"as in {name}.FACT"))
            elif (near_fact := _unknown_fact(loaded, steps[name], fact)) is not None:
                hint = f"did you mean {name}.{near_fact}?" if near_fact else ""
                told = f"{steps[name].entry} makes no number {short(fact)}"
                faults.append(Fault(place, told, hint))
    if faults:
        raise _faulty(loaded.path, faults, lines)


def _unknown_fact(loaded: Loaded, planned: PlannedStep, fact: str) -> str | None:
    makes = {s.name: s.step.makes for s in loaded.steps}
    kinds = {}
    for name in planned.inputs:
        given = None if name in makes else open_artifact(Path(name))
        kinds[given.step if given else name] = given.kind if given else makes[name]
    known = planned.step.measured(kinds)
    return nearest_fact(fact, known) if known else None


def _check_kinds(loaded: Loaded, lines: Mapping[tuple[Any, ...], int]) -> None:
    """Refuse a step whose inputs are not of the kinds it takes, before anything runs."""
    makes = {s.name: s.step.makes for s in loaded.steps}
    faults = []
    for planned in loaded.steps:
        kinds = [makes.get(i) or open_artifact(Path(i)).kind for i in planned.inputs]
        step = type(planned.step)
        allowed = {*step.takes, *step.optional}
        place = ("steps", planned.name, "from")
        for name, kind in zip(planned.inputs, kinds, strict=True):
            if kind not in allowed:
                wants = ", ".join(sorted(allowed)) or "nothing"
                faults.append(Fault(place, f"{name!r} is a {kind}; {planned.entry} takes {wants}"))
        for kind in step.takes:
            if kind not in kinds:
                faults.append(
                    Fault(place, f"{planned.entry} needs a {kind}", "add the step that makes it")
                )
    if faults:
        raise _faulty(loaded.path, faults, lines)


def _faulty(
    path: Path, faults: Sequence[Fault], lines: Mapping[tuple[Any, ...], int]
) -> UsageError:
    rows = []
    for fault in faults:
        line = next(
            (lines[fault.place[:n]] for n in range(len(fault.place), 0, -1)
             if fault.place[:n] in lines),
            0,
        )  # fmt: skip
        where = f"{path}:{line}" if line else str(path)
        rows.append(
            f"{where}: {dotted(fault.place)}: {fault.message}"
            + (f"; {fault.hint}" if fault.hint else "")
        )
    return UsageError("\n".join(rows), hint=f"yoriai run {path} --dry-run  (after mending it)")


# --- YAML -------------------------------------------------------------------------------


def read_yaml(
    path: Path, form: str = FORM, most_bytes: int = safe_yaml.MAX_BYTES
) -> tuple[dict[str, Any], dict[tuple[Any, ...], int]]:
    """:func:`parse_yaml` of an ordinary file; raises as :func:`yoriai.files.read_small` does."""
    return parse_yaml(files.read_small(path, most_bytes), str(path), form)


def parse_yaml(
    text: str | bytes, name: str, form: str = FORM
) -> tuple[dict[str, Any], dict[tuple[Any, ...], int]]:
    """Safe YAML to a mapping, and the line of each key; duplicate keys are refused.

    ``form`` is what is said where it is no mapping: what one should look like.
    """
    value, node = safe_yaml.load_with_node(text, name)
    if not isinstance(value, dict) or node is None:
        raise UsageError(f"{name}: {form}")
    lines: dict[tuple[Any, ...], int] = {}
    _note_lines(node, (), lines, set())
    return value, lines


def _note_lines(
    node: yaml.Node,
    place: tuple[Any, ...],
    lines: dict[tuple[Any, ...], int],
    seen: set[int],
) -> None:
    if id(node) in seen:  # an alias: its lines are those of the anchor
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            lines[(*place, key.value)] = key.start_mark.line + 1
            _note_lines(item, (*place, key.value), lines, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*place, index)] = item.start_mark.line + 1
            _note_lines(item, (*place, index), lines, seen)


def apply_setting(value: dict[str, Any], setting: str) -> None:
    """Apply ``a.b.0.c=value`` in place. The first word is a step's name or a top-level key."""
    path, equals, text = setting.partition("=")
    keys = path.strip().split(".")
    path = clip(path, 200)
    if not equals or not all(keys):
        raise UsageError(f"--set {short(setting)}: write --set STEP.KEY=VALUE")
    steps = value.get("steps")
    if keys[0] not in Recipe.model_fields:
        if not isinstance(steps, dict) or keys[0] not in steps:
            known = [*(steps if isinstance(steps, dict) else ()), "seed", "version", "name"]
            raise config.unknown_name(keys[0], known, "step")
        keys = ["steps", *keys]
    try:
        item = safe_yaml.load(text, f"--set {path}") if text else ""
    except safe_yaml.BadYaml as error:
        raise UsageError(f"--set {path}: {text[:60]!r} is not valid YAML") from error
    current: Any = value
    for position, key in enumerate(keys):
        last = position == len(keys) - 1
        if isinstance(current, list):
            if not (key.isascii() and key.isdigit() and len(key) < 10) or int(key) >= len(current):
                above = clip(".".join(keys[:position]), 200)
                told = f"{above} has {len(current)} items, no {clip(key, 60)!r}"
                raise UsageError(f"--set {path}: {told}")
            index: Any = int(key)
        elif isinstance(current, dict):
            index = key
        else:
            above = clip(".".join(keys[:position]), 200)
            raise UsageError(f"--set {path}: {above} holds a plain value")
        if last:
            current[index] = item
        else:
            inner = current[index] if isinstance(current, list) else current.setdefault(index, {})
            if isinstance(inner, str):
                inner = current[index] = {"use": inner}  # 'rule' and '{use: rule}' are one
            current = inner
