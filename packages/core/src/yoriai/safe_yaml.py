"""The one way in for YAML: bounded before anything is built from it.

A file of 638 bytes can stand for three thousand million values, by aliases and by merges (``<<``);
a few kilobytes of brackets can end the interpreter. So the text is bounded, then its events
(number and depth), then the composed tree is counted with every alias and merge written out, and
only then are values constructed, by PyYAML's safe constructors. Duplicate keys are refused: YAML
1.2.2, section 3.2.1.1, wants keys to be unique, and PyYAML keeps the last without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from yoriai import files
from yoriai.errors import UsageError

MAX_BYTES = 4 * 2**20
MAX_VALUES = 200_000
MAX_DEPTH = 100
# Numbers and dates: one of a megabyte takes minutes to convert ("1:1:1..." is base sixty).
MAX_NUMBER = 100
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is nine times as fast
_NUMBERS = {f"tag:yaml.org,2002:{word}" for word in ("int", "float", "timestamp")}


class BadYaml(UsageError):
    """The text is no YAML, or more than is read; the message names place and line."""


def read(path: Path) -> Any:
    """The value of an ordinary YAML file. Raises :class:`BadYaml`, or as
    :func:`yoriai.files.read_small` does."""
    return load(files.read_small(path, MAX_BYTES), str(path))


def load(text: str | bytes, name: str) -> Any:
    """The value of a YAML text. ``name`` is what errors call it; raises :class:`BadYaml`.

    No two parts of the value are the same object, so changing one use of an anchor leaves the
    others alone.
    """
    return load_with_node(text, name)[0]


def load_with_node(text: str | bytes, name: str) -> tuple[Any, yaml.Node | None]:
    """The value and the composed tree, whose marks say where each part stands."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        if len(text) > MAX_BYTES:
            raise ValueError(f"{len(text):,} characters; at most {MAX_BYTES:,} are read")
        _bound_events(text)
        node = yaml.compose(text, Loader=_LOADER)
        if node is None:
            return None, None
        _count(node, {}, set())
        loader = yaml.SafeLoader("")
        try:
            return _unshared(loader.construct_document(node)), node
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        # ValueError: a date like 2026-13-45.
        kind = "" if isinstance(error, (_KeyTwice, UnicodeDecodeError)) else "not valid YAML: "
        raise BadYaml(f"{_place(error, name)}: {kind}{_problem(error)}") from error


def _place(error: Exception, name: str) -> str:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark else getattr(error, "line", 0)
    return f"{name}:{line}" if line else name


def _problem(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 (byte {error.start})"
    problem = getattr(error, "problem", None) or str(error) or type(error).__name__
    line = next(iter(str(problem).splitlines()), "")
    return line if len(line) <= 200 else line[:197] + "..."


class _Bound(ValueError):
    def __init__(self, message: str, node: Any) -> None:
        super().__init__(message)
        self.line = node.start_mark.line + 1 if node.start_mark else 0


class _KeyTwice(_Bound):
    pass


def _bound_events(text: str) -> None:
    """Refuse what is too deep or too long, event by event: parsing itself needs no recursion."""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _Bound(f"nested deeper than {MAX_DEPTH}", event)
        if number > 2 * MAX_VALUES:
            raise _Bound(f"more than {MAX_VALUES:,} values", event)


def _count(node: yaml.Node, known: dict[int, tuple[int, int]], open_: set[int]) -> tuple[int, int]:
    """(values, depth) of a tree with aliases and merges written out; each node is visited once."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in open_:
        raise _Bound("an alias stands inside what it names", node)
    if isinstance(node, yaml.ScalarNode):
        if node.tag in _NUMBERS and len(node.value) > MAX_NUMBER:
            raise _Bound(f"a number of {len(node.value):,} characters", node)
        return 1, 0
    open_.add(id(node))
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Bound("a key is a list or a mapping", key)
            if key.value in keys:
                raise _KeyTwice(f"the key {key.value[:60]!r} is given twice", key)
            keys.add(key.value)
            inner += key, item
    else:
        inner += node.value
    total, deepest = 1, 0
    for item in inner:
        values, depth = _count(item, known, open_)
        total, deepest = total + values, max(deepest, depth)
        if total > MAX_VALUES:
            raise _Bound(f"more than {MAX_VALUES:,} values once its aliases are written out", node)
    if deepest >= MAX_DEPTH:
        raise _Bound(f"nested deeper than {MAX_DEPTH} once its aliases are written out", node)
    open_.discard(id(node))
    known[id(node)] = total, deepest + 1
    return known[id(node)]


def _unshared(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value
