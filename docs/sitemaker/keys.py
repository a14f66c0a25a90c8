"""The keys of a configuration, read from its class."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic

from sitemaker.markdown import code, table
from yoriai import contracts
from yoriai.config import Uses, describe
from yoriai.plain_markdown import escape


def list_keys(
    model: type[pydantic.BaseModel], prefix: str = ""
) -> Iterator[tuple[str, pydantic.fields.FieldInfo]]:
    """Every key a mapping may have, those of inner mappings as ``outer.inner``."""
    for name, field in model.model_fields.items():
        key = prefix + (field.alias or name)
        yield key, field
        for inner, item in _inner_models(field.annotation, ""):
            yield from list_keys(inner, f"{key}{item}.")


def _inner_models(annotation: Any, item: str) -> Iterator[tuple[type[pydantic.BaseModel], str]]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        base, *marks = typing.get_args(annotation)
        if not any(isinstance(mark, Uses) for mark in marks):
            yield from _inner_models(base, item)
    elif origin in (list, tuple):
        for inner in typing.get_args(annotation):
            yield from _inner_models(inner, item + "[]")
    elif origin in (typing.Union, types.UnionType):
        for inner in typing.get_args(annotation):
            yield from _inner_models(inner, item)
    elif (
        isinstance(annotation, type)
        and issubclass(annotation, pydantic.BaseModel)
        # Contracts are built through the registry; their keys stand with each entry.
        and annotation.__module__ != contracts.__name__
    ):
        yield annotation, item


def keys_table(model: type[pydantic.BaseModel]) -> str:
    """The keys of a configuration: type, default and description."""
    rows = [
        (code(key), name_type(field), default_of(field), escape(field.description or ""))
        for key, field in list_keys(model)
    ]
    return table(("key", "type", "default", "description"), rows)


def name_type(field: pydantic.fields.FieldInfo) -> str:
    """A key's type in words, with its limits."""
    uses = next((mark for mark in field.metadata if isinstance(mark, Uses)), None)
    words = _uses(uses.kind) if uses else _name(field.annotation)
    limits = [text for mark in field.metadata if (text := _limit(mark))]
    return ", ".join([words, *limits])


def _uses(kind: str) -> str:
    return f"one of the [{kind}]({kind}.md)"


_NAMES: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    Any: "anything",
    type(None): "null",
}


def _name(annotation: Any) -> str:
    if annotation in _NAMES:
        return _NAMES[annotation]
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        base, *marks = inner
        uses = next((mark for mark in marks if isinstance(mark, Uses)), None)
        limits = [text for mark in marks if (text := _limit(mark))]
        return ", ".join([_uses(uses.kind) if uses else _name(base), *limits])
    if origin is typing.Literal:
        return " or ".join(code(str(value)) for value in inner)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_name(part) for part in inner)
    if origin in (list, tuple):
        if origin is tuple and Ellipsis not in inner:
            return "list of " + ", ".join(_name(part) for part in inner)
        return f"list of {_name(inner[0]).removeprefix('one of the ')}"
    if origin is dict:
        return f"mapping of {_name(inner[0])} to {_name(inner[1])}"
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return "mapping"
    return code(getattr(annotation, "__name__", str(annotation)))


def _limit(mark: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    for name, sign in signs.items():
        value = getattr(mark, name, None)
        if value is not None:
            return f"{sign} {value}"
    if getattr(mark, "min_length", None):
        return f"at least {mark.min_length}"
    return ""


def default_of(field: pydantic.fields.FieldInfo) -> str:
    """A key's default as it would be written in a recipe."""
    if field.is_required():
        return "**required**"
    value = describe(field.get_default(call_default_factory=True))
    if isinstance(value, pydantic.BaseModel):
        return "as below"
    if isinstance(value, dict) and set(value) > {"use"}:
        return code(str(value["use"]))
    return code(json.dumps(value, ensure_ascii=False, default=str))
