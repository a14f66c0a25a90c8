"""The descriptor by which a plugin says what it offers, without importing it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, get_args

from yoriai import terminal

Stability = Literal["experimental", "stable", "deprecated"]

# One word per thing a recipe or the command line can ask for.
# A kind exists only while a shipped plugin offers entries of it (Datasette's rule for hooks).
KINDS: tuple[str, ...] = (
    "steps",
    "commands",
    "sources",
    "filters",
    "engines",
    "instructions",
    "methods",
    "models",
    "strategies",
    "backends",
    "tasks",
    "scorers",
    "probes",
)

MOST_CHARACTERS = 500
_NAME = re.compile(r"\w[\w.+-]{0,99}")
# A distribution's name (PyPA, "Names and normalization").
_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


_keeping: ContextVar[bool] = ContextVar("keeping", default=False)


@dataclass(frozen=True, slots=True)
class BadEntry:
    """An entry that could not be made: what it was called, as far as that is text, and why."""

    name: str
    reason: str


@contextlib.contextmanager
def keeping_bad_entries() -> Iterator[None]:
    """Inside the block ``Entry(…)`` that would raise makes a :class:`BadEntry` instead.

    The registry asks plugins so: one bad entry of a list costs itself and not the list.
    """
    token = _keeping.set(True)
    try:
        yield
    finally:
        _keeping.reset(token)


class _Kept(type):
    def __call__(cls, *given: Any, **named: Any) -> Any:
        try:
            return super().__call__(*given, **named)
        except Exception as error:
            if not _keeping.get():
                raise
            return BadEntry(shown_name(named.get("name", "")), short(error))


def shown_name(value: object) -> str:
    """What to call an entry whose name may be anything at all."""
    return short(value) if isinstance(value, str) and value else f"({type(value).__name__})"


def short(value: object) -> str:
    """One line of at most 200 characters that does nothing on a terminal."""
    return terminal.clip(terminal.one_line(str(value)), 200)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(metaclass=_Kept):
    """One thing a plugin offers. Its public name is ``plugin/name``.

    ``target`` is ``"package.module:attribute"`` and is imported only when somebody asks
    for it, so that listing every entry stays cheap however heavy the plugins are.
    ``requires`` names the distributions that the target needs beyond its own.
    """

    name: str
    target: str
    summary: str
    requires: tuple[str, ...] = ()
    stability: Stability = "experimental"
    since: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        """Check types, forms and lengths: descriptors of strangers are printed and imported."""
        for field in ("name", "target", "summary", "stability", "since", "licence"):
            object.__setattr__(self, field, _text(field, getattr(self, field)))
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"an entry's name is one word without '/': {self.name!r}")
        module, _, attribute = self.target.partition(":")
        if not attribute.isidentifier() or not all(p.isidentifier() for p in module.split(".")):
            raise ValueError(f"target must be 'package.module:attribute', not {self.target!r}")
        if isinstance(self.requires, str) or not isinstance(self.requires, (tuple, list)):
            raise TypeError(f"requires is a tuple of names: ({self.requires!r},)")
        requires = tuple(_text("requires", item) for item in self.requires)
        for item in requires:
            if not _DISTRIBUTION.fullmatch(item):
                raise ValueError(f"requires holds {item!r}, which names no distribution")
        object.__setattr__(self, "requires", requires)
        if self.stability not in get_args(Stability):
            raise ValueError(f"stability is one of {', '.join(get_args(Stability))}")
        if not self.summary:
            raise ValueError(f"entry {self.name!r} has no summary")


def _text(field: str, value: object) -> str:
    """One line of text that does nothing on a terminal; ``str`` itself, no subclass of it."""
    if not isinstance(value, str):
        raise TypeError(f"{field} is text, not {type(value).__name__}")
    if len(value) > MOST_CHARACTERS:
        raise ValueError(f"{field} has {len(value):,} characters; at most {MOST_CHARACTERS}")
    return terminal.one_line(str.__str__(value))
