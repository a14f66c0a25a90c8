"""The descriptor by which a plugin says what it offers, without importing it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
    "models",
    "strategies",
    "backends",
    "tasks",
    "scorers",
    "probes",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
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
        if not self.name or "/" in self.name or self.name != self.name.strip():
            raise ValueError(f"an entry's name is one word without '/': {self.name!r}")
        module, _, attribute = self.target.partition(":")
        if not module or not attribute:
            raise ValueError(f"target must be 'package.module:attribute', not {self.target!r}")
        if isinstance(self.requires, str):
            raise TypeError(f"requires is a tuple of names: ({self.requires!r},)")
        if not self.summary:
            raise ValueError(f"entry {self.name!r} has no summary")
