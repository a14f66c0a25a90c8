"""The base of everything that is read from a file of others: no unknown keys, sane numbers.

Pydantic takes ``true`` for 1, ``nan`` for a number, and integers of any length. A recipe that
says ``seed: true``, ``below: .nan`` or ``batch: 1000000000000`` is wrong, and is told so before
anything runs. One rule for every number of every class, however deep it stands in its type:

* no ``true`` or ``false`` where a number belongs;
* never *not a number*; infinity only where it is the default (*no limit*);
* where a field has no bound of its own, integers are within :data:`MOST_INTEGER` and floats
  within :data:`MOST_FLOAT`, on the side that has none.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import pydantic
from pydantic_core import PydanticCustomError, core_schema

from yoriai.errors import Refused

MOST_INTEGER = 10**9
MOST_FLOAT = 1e18  # FLOPs of a GPU a second are 1e15
MOST_CHARACTERS = 100_000

# Where a schema of pydantic_core holds other schemas.
_ONE = frozenset(
    ("schema", "items_schema", "keys_schema", "values_schema", "extras_schema", "lax_schema",
     "strict_schema", "json_schema", "python_schema")
)  # fmt: skip
_SEVERAL = frozenset(("choices", "steps", "definitions", "fields", "items_schema"))


def _guard(schema: Any) -> Any:
    """The schema with every number in it guarded; what was guarded before stays as it is."""
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if kind in ("int", "float"):
        most = MOST_INTEGER if kind == "int" else MOST_FLOAT
        bounds: dict[str, float] = {}
        if kind == "int" or not schema.get("allow_inf_nan"):
            bounds |= {} if schema.keys() & {"le", "lt"} else {"le": most}
            bounds |= {} if schema.keys() & {"ge", "gt"} else {"ge": -most}
        return core_schema.no_info_wrap_validator_function(_number, {**schema, **bounds})
    if kind == "function-wrap" and schema["function"].get("function") is _number:
        return schema
    found = dict(schema)
    if kind == "default" and schema.get("default") in (math.inf, -math.inf):
        found["schema"] = _endless(schema["schema"])
    for key, inner in list(found.items()):
        if key in _ONE and isinstance(inner, dict):
            found[key] = _guard(inner)
        elif key in _SEVERAL and isinstance(inner, dict):
            found[key] = {name: _guard(one) for name, one in inner.items()}
        elif key in _SEVERAL and isinstance(inner, list):
            found[key] = [
                (_guard(one[0]), *one[1:]) if isinstance(one, tuple) else _guard(one)
                for one in inner
            ]
    return found


def _endless(schema: Any) -> Any:
    return {**schema, "allow_inf_nan": True} if schema.get("type") == "float" else schema


def _number(value: Any, handler: Callable[[Any], Any]) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError("number", "give a number, not true or false")
    found = handler(value)
    if isinstance(found, float) and math.isnan(found):
        raise PydanticCustomError("number", "give a number; this is none (nan)")
    return found


class Strict(pydantic.BaseModel):
    """A frozen object built from a mapping: unknown keys are refused, numbers are sane."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, str_max_length=MOST_CHARACTERS
    )

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: pydantic.GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        guarded: core_schema.CoreSchema = _guard(handler(source))
        return guarded


_S = TypeVar("_S", bound=Strict)


def of_json(kind: type[_S], data: bytes, place: str, hint: str) -> _S:
    """What a note says that one of our commands wrote, and anybody may have changed since.

    ``place`` is what errors call it, ``hint`` what to do. Raises :class:`Refused` with the first
    key that is wrong.
    """
    try:
        return kind.model_validate_json(data)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part)[:40] for part in first["loc"][:4])
        told = f"{key}: {first['msg']}" if key else first["msg"]
        raise Refused(f"{place} is not as it was written: {told}", hint=hint) from error


def short(value: object, most: int = 60) -> str:
    """How a value of others is quoted in a message: never more than ``most`` characters of it."""
    text = repr(value if not isinstance(value, str) else value[: most + 1])
    return text if len(text) <= most + 2 else f"{text[:most]}…"
