"""Whose code an error comes from: plugin, entry, file and line.

A traceback is read from the inside out, also one that a worker process sent as text (a note of the
exception, see ``corpus/local``). The innermost line in a plugin's own package is the place.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yoriai.registry import Plugin

# The project's own packages: an error in them is this project's to mend.
OURS = frozenset({"corpus", "train", "eval", "domain-adapt"})
_LINE = re.compile(r'^\s*File "([^"\n]+)", line (\d+)', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a plugin. ``file`` is relative to the folder that holds its package."""

    plugin: str
    file: str
    line: int
    entries: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f", {' or '.join(self.entries)}," if self.entries else ""
        return f"plugin {self.plugin!r}{named} at {self.file}:{self.line}"


def find(error: BaseException, plugins: Iterable[Plugin]) -> Place | None:
    """The innermost line of any plugin in the error's traceback; None if no plugin is in it."""
    roots = {plugin.name: (plugin, root) for plugin in plugins if (root := _root(plugin))}
    for file, line in _lines(error):
        for plugin, root in roots.values():
            if file.is_relative_to(root):
                short = file.relative_to(root.parent).as_posix()
                return Place(plugin.name, short, line, _entries(plugin, file, line))
    return None


def line_in(error: BaseException, module: str) -> str:
    """``acme/rules.py:12``, the innermost line of a module's package; empty if there is none."""
    root = _package(module)
    for file, line in _lines(error):
        if root is not None and file.is_relative_to(root):
            return f"{file.relative_to(root.parent).as_posix()}:{line}"
    if isinstance(error, SyntaxError) and error.filename and root is not None:
        file = Path(error.filename)
        if file.is_relative_to(root):
            return f"{file.relative_to(root.parent).as_posix()}:{error.lineno}"
    return ""


def _lines(error: BaseException) -> Iterator[tuple[Path, int]]:
    """Files and lines from the innermost outwards; what a worker sent lies further inside."""
    for note in reversed(getattr(error, "__notes__", [])):
        for file, line in reversed(_LINE.findall(str(note))):
            yield Path(file), int(line)
    frames = []
    step = error.__traceback__
    while step is not None:
        frames.append((Path(step.tb_frame.f_code.co_filename), step.tb_lineno))
        step = step.tb_next
    yield from reversed(frames)


def _root(plugin: Plugin) -> Path | None:
    return _package(plugin.module) if plugin.status == "ok" else None


def _package(module: str) -> Path | None:
    """The folder of a module's top package, or its file where it is a single module."""
    try:
        spec = util.find_spec(module.partition(":")[0].partition(".")[0])
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin else None


def _entries(plugin: Plugin, file: Path, line: int) -> tuple[str, ...]:
    """The entries whose class or function holds the line; none if it is a helper's."""
    names = _definitions(file, line)
    found = []
    for kind, entries in plugin.entries.items():
        for entry in entries:
            module, _, attribute = entry.target.partition(":")
            if attribute in names and module.rpartition(".")[2] == file.stem:
                found.append(f"{kind} {plugin.name}/{entry.name}")
    return tuple(found[:3])


def _definitions(file: Path, line: int) -> set[str]:
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return set()
    return {
        node.name
        for node in tree.body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef))
        and node.lineno <= line <= (node.end_lineno or node.lineno)
    }
