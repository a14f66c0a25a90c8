"""Configuration as typed data: a class declares its keys, and building it checks them.

There is one way to configure anything in Yoriai: a mapping of keys in a recipe. A step, a
source, a filter or a task *is* the object that its mapping describes (:class:`Configured`),
and where a key holds somebody else's entry it says so with :class:`Uses`.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pydantic
from pydantic_core import PydanticCustomError, core_schema

from yoriai import redaction, terminal
from yoriai.errors import NotFound, UsageError, YoriaiError
from yoriai.strict import Strict

if TYPE_CHECKING:
    from yoriai.registry import Registry

_VARIABLE = re.compile(r"\$[A-Za-z_][A-Za-z0-9_]*")


class Configured(Strict):
    """A frozen object built from a mapping; unknown keys are refused.

    ``version`` is part of every result's identity: raise it when behaviour changes.
    ``circumstances`` names the keys that say how the work is done and not what it makes (how many
    processes, what is watched): they may differ between two runs of the same thing, and between
    an interrupted run and the one that goes on from it.
    """

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", validate_default=True, ser_json_inf_nan="strings"
    )
    version: ClassVar[str] = "1"
    circumstances: ClassVar[tuple[str, ...]] = ()
    _entry: str = pydantic.PrivateAttr(default="")

    @property
    def entry(self) -> str:
        """The public name under which a recipe asked for this object (``plugin/name``)."""
        return self._entry

    def fingerprint(self) -> str:
        """Identity of data from outside that this object reads (files, packages); "" if none."""
        return ""


@dataclass(frozen=True)
class Uses:
    """Marks a key that holds an entry of a kind: ``Annotated[Source, Uses("sources")]``.

    In a recipe the value is a name (``corpus/gettext``) or a mapping with ``use`` and the
    entry's own keys. It is looked up in the registry, checked and built.
    """

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(
            self._build,
            serialization=core_schema.plain_serializer_function_ser_schema(describe),
        )

    def _build(self, value: Any, info: core_schema.ValidationInfo) -> Any:
        if isinstance(value, Configured):
            return value
        if isinstance(value, str):
            value = {"use": value}
        if not isinstance(value, Mapping) or "use" not in value:
            raise PydanticCustomError("uses", "give a name, or a mapping with 'use: NAME'")
        registry: Registry = (info.context or {})["registry"]
        options = {key: item for key, item in value.items() if key != "use"}
        try:
            found = registry.get(self.kind, str(value["use"]))
            target = registry.load(found)
        except YoriaiError as error:
            raise PydanticCustomError(
                "uses", "{message}", {"message": error.message, "hint": error.hint}
            ) from error
        if not (isinstance(target, type) and issubclass(target, Configured)):
            raise PydanticCustomError(
                "uses", "{name} is no class that can be configured", {"name": found.name}
            )
        try:
            built = target.model_validate(options, context=info.context)
        except pydantic.ValidationError as error:
            raise PydanticCustomError(
                "nested", "in {name}", {"name": found.name, "nested": explain(error, target)}
            ) from error
        built._entry = found.name
        return built


class _FromVariable(str):
    """The value of a variable, which is written down as that variable's name."""

    variable: str


@dataclass(frozen=True)
class Secret:
    """Marks a key whose value is never written: ``webhook: Annotated[str, Secret()]``.

    The value is there for the step, in the field. Wherever the configuration is written down it
    is a mark instead (an empty value stays empty), and wherever else the value turns up in what
    this process writes (the command line, an error, a fact) it is hidden. A recipe need not hold
    it either: ``$NAME`` takes the value of a variable of the environment, and is written as that.
    A value that was hidden before is refused, since it is no value. What is secret is no part of
    an artifact's identity, and does not reach another process by ``model_dump``.
    """

    def __get_pydantic_core_schema__(
        self, source: Any, handler: pydantic.GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            self._read,
            handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(self._write),
        )

    @staticmethod
    def _read(value: Any) -> Any:
        if not isinstance(value, str):
            raise PydanticCustomError("secret", "a field that is marked as secret holds text")
        if redaction.HIDDEN in value:
            raise PydanticCustomError(
                "secret", "was hidden when this was written; give it again, best as $VARIABLE"
            )
        if _VARIABLE.fullmatch(value):
            name = value[1:]
            told = _FromVariable(os.environ.get(name, ""))
            if not told:
                raise PydanticCustomError(
                    "secret",
                    "the environment variable {name} is not set; export {name}=...",
                    {"name": name},
                )
            told.variable = name
            value = told
        redaction.note_secret(value)
        return value

    @staticmethod
    def _write(value: str) -> str:
        if isinstance(value, _FromVariable):
            return f"${value.variable}"
        return redaction.HIDDEN if value else ""


def describe(value: Any) -> Any:
    """The mapping that builds the same object again (what a resolved recipe stores)."""
    if not isinstance(value, Configured):
        return value
    return {"use": value.entry, **plain(value)}


def plain(value: Configured) -> dict[str, Any]:
    """Its keys as plain JSON. (``model_dump`` would leave infinity a float, which JSON lacks.)"""
    keys: dict[str, Any] = json.loads(value.model_dump_json())
    return keys


def identity(value: Configured) -> dict[str, Any]:
    """Its keys as plain JSON, but for circumstances, its own and those of entries inside it."""
    left: dict[str, Any] = _without(value, plain(value))
    return left


def _without(value: Any, told: Any) -> Any:
    """``told`` (how ``value`` is written down) without the circumstances of what is inside."""
    if isinstance(value, pydantic.BaseModel) and isinstance(told, dict):
        left = getattr(value, "circumstances", ())
        return {
            name: _without(getattr(value, name, None), item)
            for name, item in told.items()
            if name not in left
        }
    if isinstance(value, (list, tuple)) and isinstance(told, list):
        return [_without(a, b) for a, b in zip(value, told, strict=True)]
    if isinstance(value, Mapping) and isinstance(told, dict):
        return {name: _without(value.get(name), item) for name, item in told.items()}
    return told


def build(target: type[Configured], options: Mapping[str, Any], registry: Registry) -> Any:
    """Build a :class:`Configured` from a recipe's mapping; raises pydantic's error."""
    return target.model_validate(dict(options), context={"registry": registry})


def nested(value: Any) -> Iterable[Configured]:
    """Every entry object inside a value, itself included, in a stable order."""
    if isinstance(value, Configured):
        yield value
        for name in type(value).model_fields:
            yield from nested(getattr(value, name))
    elif isinstance(value, pydantic.BaseModel):
        for name in type(value).model_fields:
            yield from nested(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from nested(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from nested(item)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a configuration: where, what, and what to do."""

    place: tuple[str | int, ...]
    message: str
    hint: str = ""


def explain(error: pydantic.ValidationError, model: type[pydantic.BaseModel]) -> list[Fault]:
    """Turn pydantic's error into faults that name the place and the nearest known key."""
    faults: list[Fault] = []
    for item in error.errors(include_url=False, include_input=False):
        place = _place(model, item["loc"])
        context = item.get("ctx", {})
        if item["type"] == "nested":
            faults += [
                Fault((*place, *inner.place), f"{inner.message} (in {context['name']})", inner.hint)
                for inner in context["nested"]
            ]
        elif item["type"] == "uses":
            faults.append(Fault(place, item["msg"], str(context.get("hint", ""))))
        elif item["type"] == "extra_forbidden":
            known = _keys_at(model, place[:-1])
            near = difflib.get_close_matches(str(place[-1] if place else ""), known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
            faults.append(Fault(place, "unknown key", hint))
        else:
            message = item["msg"].removeprefix("Value error, ")
            faults.append(Fault(place, message[:1].lower() + message[1:]))
    return faults


def _place(model: type[pydantic.BaseModel], location: tuple[str | int, ...]) -> tuple[Any, ...]:
    """The location without union branches and names of validators, which are no keys."""
    place: list[str | int] = []
    current: Any = model
    for part in location:
        models = [m for m in _models_in(current) if part in m.model_fields]
        if models:
            current = models[0].model_fields[str(part)].annotation
        elif isinstance(part, str) and (
            "[" in part or "(" in part or part in ("function-plain", *_branches(current))
        ):
            continue
        place.append(part)
    return tuple(place)


def _branches(annotation: Any) -> Iterable[str]:
    for argument in typing.get_args(annotation):
        if typing.get_origin(annotation) in (typing.Union, types.UnionType):
            yield getattr(argument, "__name__", "")
        yield from _branches(argument)


def _keys_at(model: type[pydantic.BaseModel], place: tuple[str | int, ...]) -> list[str]:
    current: Any = model
    for part in place:
        models = [m for m in _models_in(current) if part in m.model_fields]
        if models:
            current = models[0].model_fields[str(part)].annotation
    keys = [key for m in _models_in(current) for key in m.model_fields]
    return keys or list(model.model_fields)


def _models_in(annotation: Any) -> list[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [m for argument in typing.get_args(annotation) for m in _models_in(argument)]


def dotted(place: Iterable[str | int]) -> str:
    """``("steps", "text", "rules", 0)`` as ``steps.text.rules[0]``."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def unknown_name(name: str, known: Iterable[str], what: str) -> UsageError | NotFound:
    """An error for a name that is not among the known ones, with the nearest."""
    known = list(known)
    near = difflib.get_close_matches(name, known, 1, 0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
    return NotFound(f"there is no {what} {terminal.clip(name, 200)!r}", hint=hint)
