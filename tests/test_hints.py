"""What a message tells its reader to type exists: commands and their options."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from yoriai.plugins import load_registry

ROOT = Path(__file__).resolve().parent.parent

sys.path.insert(0, str(ROOT / "docs"))
try:
    from sitemaker.reference import list_commands
finally:
    sys.path.remove(str(ROOT / "docs"))

HOLE = "\N{WHITE SQUARE}"
"""Stands for what an f-string fills in."""


@dataclass(frozen=True)
class Told:
    """A command inside a string of the source."""

    place: str
    line: str
    documentation: bool
    """Whether the string is a docstring: it may name a group as such."""

    def __str__(self) -> str:
        return f"{self.place} {self.line}"


def strings(tree: ast.AST) -> Iterator[tuple[int, str, bool]]:
    """Every string of a module: its line, its text with holes, whether it is a docstring."""
    parts = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in parts:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value, id(node) in bare
        elif isinstance(node, ast.JoinedStr):
            texts = [p.value if isinstance(p, ast.Constant) else HOLE for p in node.values]
            yield node.lineno, "".join(map(str, texts)), False


def told_in(source: str, place: str) -> Iterator[Told]:
    """The commands that the strings of a module show, each up to where prose must begin."""
    for line, text, documentation in strings(ast.parse(source)):
        for found in re.finditer(rf"(?<!from )(?<![\w./-])yoriai (?=[a-z{HOLE}-])[^\n`]*", text):
            command = re.split(r"  |[;,)'<…]| or | and | && |: |\. |\.$", found[0])[0]
            yield Told(f"{place}:{line}", command.strip(), documentation)


def all_told() -> Iterator[Told]:
    for path in sorted(ROOT.glob("p*/*/src/**/*.py")):
        yield from told_in(path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix())


TOLD = list(all_told())


@pytest.fixture(scope="module")
def known() -> dict[str, click.Command]:
    return {text: command for text, command, _ in list_commands(load_registry())}


def fault(told: Told, known: dict[str, click.Command]) -> str | None:
    """What does not exist in a told command."""
    name, rest = "yoriai", told.line.split()[1:]
    options: set[str] = set()
    while True:
        command = known[name]
        options |= {text for p in command.params for text in (*p.opts, *p.secondary_opts)}
        if not isinstance(command, click.Group) or (rest and rest[0].startswith("-")):
            break
        if not rest:
            alone = told.documentation or command.invoke_without_command
            return None if alone else f"{name}: a command is missing"
        if HOLE in rest[0]:
            return None
        name = f"{name} {rest.pop(0)}"
        if name not in known:
            return f"there is no command {name}"
    given = {found for word in rest for found in re.findall(r"^--[\w-]+", word)} - {"--help"}
    return f"{name} has no {sorted(given - options)}" if given - options else None


def test_the_sources_tell_commands():
    assert len([told for told in TOLD if not told.documentation]) > 60


@pytest.mark.parametrize("told", TOLD, ids=str)
def test_a_told_command_exists_with_its_options(told, known):
    assert fault(told, known) is None


@pytest.mark.parametrize(
    "source",
    [
        "hint = 'yoriai stats CORPUS says what became of them'",
        "hint = f'yoriai lineages {path}'",
        "hint = f'see yoriai run {path} --dry, then go on'",
        "hint = 'yoriai corpus'",
        "def f():\n    'Example: yoriai corpus show'",
    ],
)
def test_a_command_that_does_not_exist_would_be_noticed(source, known):
    assert [fault(told, known) for told in told_in(source, "a.py")] != [None]
