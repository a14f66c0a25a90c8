"""What the installed plugins offer: every plugin with how loading it went, and its entries."""

from __future__ import annotations

import difflib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module, metadata
from typing import Any, Literal

from yoriai import console, foreign_code, terminal
from yoriai.entry import KINDS, Entry, short
from yoriai.errors import NotFound, PluginBroken, UsageError
from yoriai.stopping import StopRequest

MOMENT_SECONDS = 300.0
# What a command asks for may import torch from a slow network disk.
IMPORT_SECONDS = 300.0
MOST_ENTRIES = 10_000
Status = Literal[
    "ok",
    "disabled",
    "import-failed",
    "rejected",
    "raised",
    "too-slow",
    "duplicate",
    "needs-newer-core",
]


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """An entry that is not offered, and why. The others of its plugin are."""

    kind: str
    name: str
    reason: str


@dataclass(slots=True)
class Plugin:
    """One installed plugin and how loading it went."""

    name: str
    distribution: str
    version: str
    status: Status = "ok"
    reason: str = ""
    remedy: str = ""
    module: str = ""
    import_ms: float = 0.0
    hooks: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    refused: tuple[RefusedEntry, ...] = ()
    entries: dict[str, tuple[Entry, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """An entry together with the plugin that offers it."""

    kind: str
    plugin: str
    entry: Entry

    @property
    def name(self) -> str:
        return f"{self.plugin}/{self.entry.name}"

    @property
    def missing(self) -> tuple[str, ...]:
        """The distributions the entry needs that are not installed."""
        return tuple(name for name in self.entry.requires if not is_installed(name))


def singular(kind: str) -> str:
    return "strategy" if kind == "strategies" else kind.removesuffix("s")


def is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Moment:
    """A plugin's implementation of a moment hook, and the arguments that it asks for."""

    hook: str
    plugin: str
    function: Callable[..., Any]
    arguments: tuple[str, ...]

    def __call__(self, **given: Any) -> Any:
        """Its answer. Raises :class:`RuntimeError` for whatever it raises, and for no answer."""

        def ask() -> Any:
            answer = self.function(**{name: given[name] for name in self.arguments})
            lazy = isinstance(answer, Iterator)
            return tuple(itertools.islice(answer, MOST_ENTRIES)) if lazy else answer

        came = foreign_code.call(ask, MOMENT_SECONDS)
        tell_printed(self.plugin, came)
        if isinstance(came.error, SystemExit):
            raise RuntimeError(f"it called sys.exit({came.error.code!r})") from came.error
        if came.error is not None and not isinstance(came.error, Exception):
            raise RuntimeError(words_of(came.error)) from came.error
        if came.error is not None:
            raise came.error
        return came.value


class Registry:
    """What the installed plugins offer, by kind and name."""

    def __init__(self, plugins: list[Plugin], moments: list[Moment]) -> None:
        self.plugins = plugins
        self._moments = moments

    def found(self, kind: str) -> list[Found]:
        """Every entry of a kind, in order of public name."""
        if kind not in KINDS:
            near = difflib.get_close_matches(kind, KINDS, 1, 0.5)
            raise UsageError(
                f"there is no kind {kind!r}; the kinds are {', '.join(KINDS)}",
                hint=f"yoriai list {near[0]}" if near else "",
            )
        rows = [
            Found(kind, plugin.name, entry)
            for plugin in self.plugins
            if plugin.status == "ok"
            for entry in plugin.entries.get(kind, ())
        ]
        return sorted(rows, key=lambda row: row.name)

    def get(self, kind: str, name: str) -> Found:
        """The entry called ``plugin/name``, or ``name`` where only one plugin offers it.

        Raises :class:`NotFound` with the nearest name, or :class:`UsageError` if a bare
        name is offered twice.
        """
        rows = self.found(kind)
        matches = [row for row in rows if row.name == name or row.entry.name == name]
        exact = [row for row in matches if row.name == name]
        if exact or len(matches) == 1:
            return (exact or matches)[0]
        if matches:
            names = " or ".join(row.name for row in matches)
            raise UsageError(f"{name!r} is offered by several plugins: write {names}")
        return self._explain_missing(kind, name, rows)

    def refused(self, kind: str) -> list[tuple[Plugin, RefusedEntry]]:
        """The entries of a kind that are not offered, each with its plugin."""
        return [(p, bad) for p in self.plugins for bad in p.refused if bad.kind == kind]

    def _explain_missing(self, kind: str, name: str, rows: list[Found]) -> Found:
        owner = name.partition("/")[0]
        shown = short(name)
        broken = next((p for p in self.plugins if p.name == owner and p.status != "ok"), None)
        if broken:
            raise NotFound(
                f"no {singular(kind)} {shown!r}: "
                f"plugin {owner!r} is {broken.status} ({broken.reason})",
                hint=broken.remedy,
            )
        for plugin, bad in self.refused(kind):
            if name in (bad.name, f"{plugin.name}/{bad.name}"):
                raise NotFound(
                    f"{singular(kind)} {shown!r} was refused: {bad.reason}",
                    hint=f"pip install -U {plugin.distribution or plugin.name}",
                )
        names = [row.name for row in rows] + [row.entry.name for row in rows]
        near = difflib.get_close_matches(name, names, 1, 0.5)
        if near:
            raise NotFound(f"no {singular(kind)} {shown!r}; did you mean {near[0]!r}?")
        first_party = {"corpus", "train", "eval", "domain-adapt"}
        if owner in first_party and owner not in {p.name for p in self.plugins}:
            raise NotFound(
                f"no {singular(kind)} {shown!r}: it comes with yoriai-{owner}",
                hint=f"pip install yoriai-{owner}",
            )
        raise NotFound(f"no {singular(kind)} {shown!r}", hint=f"yoriai list {kind}")

    def load(self, found: Found) -> Any:
        """Import an entry's target. Raises :class:`NotFound` naming what to install.

        An import that has not ended after :func:`import_seconds` is broken off, and told.
        """
        if found.missing:
            raise NotFound(
                f"{found.name} needs {', '.join(found.missing)}",
                hint=f"pip install {' '.join(found.missing)}",
            )
        module, _, attribute = found.entry.target.partition(":")
        seconds = plugin_seconds(IMPORT_SECONDS)
        what = f"importing {found.name} from {found.entry.target}"
        try:
            return foreign_code.within(
                lambda: getattr(import_module(module), attribute),
                seconds,
                what,
            )
        except (KeyboardInterrupt, StopRequest):
            raise
        except BaseException as error:  # somebody else's code: even sys.exit is possible
            why = words_of(error)
            if isinstance(error, foreign_code.TookTooLong):
                why = f"it did not end within {seconds:g} seconds (YORIAI_PLUGIN_SECONDS)"
            raise PluginBroken(
                f"{found.name} cannot be loaded from {found.entry.target}: {why}",
                hint=f"yoriai plugins; report it to the authors of plugin {found.plugin!r}",
            ) from error

    def moments(self, hook: str) -> Iterator[tuple[str, Callable[..., Any]]]:
        """The implementations of a moment hook, one by one, so that each can fail alone.

        Like pluggy, it hands each only the arguments it asks for.
        """
        for moment in self._moments:
            if moment.hook == hook:
                yield moment.plugin, moment

    def broken(self) -> list[Plugin]:
        """The plugins that do not work, or of which an entry was refused."""
        return [p for p in self.plugins if p.status not in ("ok", "disabled") or p.refused]

    def require_sound(self) -> None:
        """Raise :class:`PluginBroken` if any plugin is broken (strict mode)."""
        broken = self.broken()
        if broken:
            names = "; ".join(f"{p.name}: {p.reason or _refusals(p)}" for p in broken)
            raise PluginBroken(f"broken plugins: {names}", hint=broken[0].remedy)


def _refusals(plugin: Plugin) -> str:
    told = [f"{bad.kind} {bad.name}: {bad.reason}" for bad in plugin.refused[:3]]
    more = len(plugin.refused) - len(told)
    return ", ".join(told) + (f", and {more:,} more" if more else "")


def plugin_seconds(usual: float) -> float:
    """How long a plugin's code may take: ``YORIAI_PLUGIN_SECONDS``, or what is usual.

    Raises :class:`UsageError` unless it is a number above 0, at most 3600.
    """
    told = os.environ.get("YORIAI_PLUGIN_SECONDS", "")
    try:
        seconds = float(told or usual)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise UsageError(
            f"YORIAI_PLUGIN_SECONDS is {short(told)!r}; it is a number above 0, at most 3600",
            hint="unset YORIAI_PLUGIN_SECONDS",
        )
    return seconds


def words_of(error: BaseException) -> str:
    """Type and message; the message may be the work of somebody else's ``__str__``."""
    try:
        message = str(error)
    except BaseException:
        message = "(no message: its __str__ failed)"
    return terminal.clip(terminal.one_line(f"{type(error).__name__}: {message}"), 400)


def tell_printed(name: str, came: foreign_code.Came) -> None:
    """What a plugin printed goes to stderr, never into a command's answer."""
    if came.printed:
        console.note(f"plugin {name} printed:\n{came.printed}")
