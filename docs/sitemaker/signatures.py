"""Classes as authors see them: methods, signatures, class variables and the types they name."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Iterator
from typing import Any

import yoriai
from sitemaker.markdown import code
from yoriai.registry import Registry

MARKS = {property: "@property\n", classmethod: "@classmethod\n"}


def methods_of(target: type) -> list[tuple[str, Any]]:
    """Public methods of a contract, bases of the project included, those of pydantic not."""
    rows: dict[str, Any] = {}
    for base in target.__mro__:
        if not base.__module__.startswith("yoriai"):
            continue
        for name, item in vars(base).items():
            function = item.fget if isinstance(item, property) else item
            function = getattr(function, "__func__", function)
            own = inspect.isfunction(function) and function.__module__.startswith("yoriai")
            if own and not name.startswith("_"):
                rows.setdefault(name, function)
    rows.pop("entry", None)
    return list(rows.items())


def owner_of(target: type, name: str) -> str:
    return next(base.__name__ for base in target.__mro__ if name in vars(base))


def is_unwritten(function: Any) -> bool:
    """Whether a method only says what it is: it raises NotImplementedError, or has no body."""
    node = ast.parse(inspect.cleandoc("\n" + inspect.getsource(function))).body[0]
    assert isinstance(node, ast.FunctionDef)
    last = node.body[-1]
    if isinstance(last, ast.Raise):
        return ast.unparse(last) == "raise NotImplementedError"
    return isinstance(last, ast.Expr) and ast.unparse(last) == "..."


class _Bare(str):
    """A text that is shown without quotes in a signature."""

    def __repr__(self) -> str:
        return str(self)


def signature_of(function: Any) -> str:
    """The signature of a function, with annotations and defaults as its author wrote them."""
    told = inspect.signature(function)

    def bare(annotation: Any) -> Any:
        return _Bare(annotation) if isinstance(annotation, str) else annotation

    rows = [p.replace(annotation=bare(p.annotation)) for p in told.parameters.values()]
    return str(told.replace(parameters=rows, return_annotation=bare(told.return_annotation)))


def signature_line(name: str, function: Any) -> str:
    return f"def {name}{signature_of(function)}: ..."


def spelt_out(annotation: str, module: str) -> str:
    """An annotation in which a name for a choice of words (``Cut``) is that choice."""
    names = vars(sys.modules[module])

    def choice(match: re.Match[str]) -> str:
        value = names.get(match[0])
        return f"Literal{list(typing.get_args(value))}" if _is_choice(value) else match[0]

    return re.sub(r"\b[A-Z]\w+\b", choice, annotation)


def _is_choice(value: Any) -> bool:
    return typing.get_origin(value) is typing.Literal


def class_variables(target: type) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for base in target.__mro__:
        if not base.__module__.startswith("yoriai"):
            continue
        for name, kind in inspect.get_annotations(base).items():
            text = spelt_out(kind if isinstance(kind, str) else str(kind), base.__module__)
            if name in seen or "ClassVar" not in text or name in ("KEEP", "model_config"):
                continue
            seen.add(name)
            value = getattr(target, name, None) if hasattr(target, name) else None
            shown = f"`{value!r}`" if hasattr(target, name) else "**required**"
            yield code(name), code(text.removeprefix("ClassVar[").removesuffix("]")), shown


def is_shown(one: type) -> bool:
    from yoriai.config import Configured

    return one is not Registry and not issubclass(one, Configured)


def hints_of(thing: Any) -> dict[str, Any]:
    names = {**vars(typing), **vars(yoriai), **{n: getattr(yoriai, n) for n in yoriai.__all__}}
    try:
        return typing.get_type_hints(thing, localns=names)
    except NameError:
        return {}


def annotations_of(function: Any) -> Iterator[Any]:
    for hint in hints_of(function).values():
        yield from types_inside(hint)


def types_inside(hint: Any) -> Iterator[Any]:
    yield hint
    for inner in typing.get_args(hint):
        yield from types_inside(inner)


def outline(one: type) -> str:
    """A type as its author would write it: fields with types and defaults, or methods."""
    lines = [f"class {one.__name__}:"]
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            default = "" if field.default is dataclasses.MISSING else f" = {field.default!r}"
            if field.default_factory is not dataclasses.MISSING:
                default = f" = {field.default_factory()!r}"
            if inspect.isroutine(field.default):
                default = " = ..."  # a function has no form that is the same in every build
            lines.append(f"    {field.name}: {spelt_out(str(field.type), one.__module__)}{default}")
    for name, info in getattr(one, "model_fields", {}).items():
        kind = info.annotation
        text = kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")
        lines.append(f"    {name}: {text} = {info.default!r}")
    for name, function in methods_of(one):
        if not hasattr(one, "model_fields"):
            lines += _outlined(one, name, function)
    return "\n".join(lines)


def _outlined(one: type, name: str, function: Any) -> Iterator[str]:
    """A method in an outline, with what its docstring says."""
    mark = MARKS.get(type(inspect.getattr_static(one, name)), "")
    told = inspect.cleandoc(function.__doc__ or "")
    lines = f"{mark}{signature_line(name, function)}".splitlines()
    if told:
        told = re.sub(r":(?:class|func|meth|data|mod|attr):`~?(?:[\w.]*\.)?(\w+)`", r"``\1``", told)
        end = '\n"""' if "\n" in told else '"""'
        lines[-1] = lines[-1].removesuffix(" ...")
        lines += [f"    {line}" for line in f'"""{told}{end}'.splitlines()]
    for line in lines:
        yield f"    {line}".rstrip()
