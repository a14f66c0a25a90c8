"""Finding plugins, each in isolation, and listing what they offer.

pluggy's own ``load_setuptools_entrypoints`` imports everything and stops at the first bad
plugin; a square of strangers needs the others to go on working. So every plugin is
imported, checked and asked by itself, and whatever goes wrong becomes a row with a
reason and the line that mends it (``yoriai plugins``).
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType
from typing import Any

import pluggy

from yoriai import foreign_code, hookspecs
from yoriai.core_range import other_core
from yoriai.entry import BadEntry, Entry, keeping_bad_entries, short
from yoriai.errors import UsageError
from yoriai.registry import (
    MOST_ENTRIES,
    Moment,
    Plugin,
    RefusedEntry,
    Registry,
    Status,
    plugin_seconds,
    tell_printed,
    words_of,
)

GROUP = "yoriai"
MOMENTS = ("yoriai_run_started", "yoriai_sections", "yoriai_hops")
# A catalogue imports nothing heavy: even from a slow network disk it is there in a few seconds.
CATALOGUE_SECONDS = 20.0
_NAME = re.compile(r"\w[\w.-]{0,63}")


def load_registry(
    selection: str | None = None,
    *,
    entry_points: Iterable[metadata.EntryPoint] | None = None,
) -> Registry:
    """Load the installed plugins.

    ``selection`` (default: the environment's ``YORIAI_PLUGINS``) is ``none``, a list of
    names to load (``corpus,train``), or a list of names to leave out (``-acme``).
    """
    wanted = _parse_selection(
        os.environ.get("YORIAI_PLUGINS", "") if selection is None else selection
    )
    points = list(metadata.entry_points(group=GROUP) if entry_points is None else entry_points)
    _check_selection(wanted.only, {point.name for point in points})
    manager = pluggy.PluginManager("yoriai")
    manager.add_hookspecs(hookspecs)
    plugins: list[Plugin] = []
    moments: list[Moment] = []
    first_of: dict[str, Plugin] = {}
    for point in sorted(points, key=_order):
        distribution, version = _owner(point)
        plugin = Plugin(
            name=short(point.name),
            distribution=short(distribution),
            version=short(version),
            module=short(point.value),
        )
        plugins.append(plugin)
        if not _NAME.fullmatch(point.name):
            _mark(
                plugin,
                "rejected",
                "a plugin's name is one word of letters, digits, '_', '.' and '-'",
                f"pip uninstall {plugin.distribution}, or tell its authors",
            )
            continue
        if point.name in first_of:
            _mark(
                plugin,
                "duplicate",
                f"the name {point.name!r} is taken by {first_of[point.name].distribution}",
                f"pip uninstall {plugin.distribution}",
            )
            continue
        first_of[point.name] = plugin
        if not wanted(point.name):
            _mark(
                plugin,
                "disabled",
                "left out by --plugins or YORIAI_PLUGINS",
                "change --plugins, or unset YORIAI_PLUGINS",
            )
            continue
        plugins[-1] = _load_guarded(point, plugin, manager, moments)
    return Registry(plugins, moments)


def _load_guarded(
    point: metadata.EntryPoint,
    plugin: Plugin,
    manager: pluggy.PluginManager,
    moments: list[Moment],
) -> Plugin:
    """The plugin as it is after loading; whatever its code does, this returns."""
    # What is left behind when the time is up may go on writing to its own copies only.
    loaded, found = dataclasses.replace(plugin, entries={}), list[Moment]()
    seconds = plugin_seconds(CATALOGUE_SECONDS)

    def load() -> None:
        with keeping_bad_entries():
            _load_one(point, loaded, manager, found)

    came = foreign_code.call(load, seconds)
    tell_printed(plugin.name, came)
    if came.error is None:
        plugin = loaded
        moments += found if plugin.status == "ok" else ()
    elif isinstance(came.error, foreign_code.TookTooLong):
        remedy = f"yoriai --plugins -{plugin.name} ..., or tell its authors"
        _mark(plugin, "too-slow", str(came.error), remedy)
    else:
        _mark(plugin, "rejected", words_of(came.error), _upgrade(plugin))
    plugin.notes = tuple(came.changes)
    return plugin


def _upgrade(plugin: Plugin) -> str:
    return f"pip install -U {plugin.distribution or plugin.name}"


def _owner(point: metadata.EntryPoint) -> tuple[str, str]:
    try:
        return (point.dist.name or "", point.dist.version or "") if point.dist else ("", "")
    except Exception:  # a folder left over from an uninstallation has no METADATA
        return "", ""


def _order(point: metadata.EntryPoint) -> tuple[str, bool, str]:
    # Of two plugins with one name the project's own wins, then the first by distribution.
    distribution, _ = _owner(point)
    return point.name, not distribution.startswith("yoriai-"), distribution


@dataclass(frozen=True, slots=True)
class _Selection:
    """Which plugins to load: only these, or all but those."""

    only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()
    none: bool = False

    def __call__(self, name: str) -> bool:
        return not self.none and name not in self.without and (not self.only or name in self.only)


def _parse_selection(text: str) -> _Selection:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if words == ["none"]:
        return _Selection(none=True)
    without = frozenset(word[1:] for word in words if word.startswith("-"))
    return _Selection(frozenset(w for w in words if not w.startswith("-")), without)


def _check_selection(named: Iterable[str], installed: set[str]) -> None:
    """Refuse to load only what is not there: a misspelt name would disable everything.

    A name to leave out may be missing; one setting can serve machines that differ.
    """
    for name in sorted(set(named) - installed):
        near = difflib.get_close_matches(name, installed, 1, 0.5)
        known = f"installed: {', '.join(sorted(installed)) or 'none'}"
        raise UsageError(
            f"--plugins or YORIAI_PLUGINS names {name!r}, which is not installed",
            hint=f"did you mean {near[0]!r}?" if near else known,
        )


def _mark(plugin: Plugin, status: Status, reason: str, remedy: str) -> None:
    plugin.status, plugin.reason, plugin.remedy = status, reason, remedy


def _placed(error: BaseException, plugin: Plugin) -> str:
    """The error in words, with the file and line of the plugin that raised it."""
    from yoriai import blame

    place = blame.line_in(error, plugin.module)
    return words_of(error) + (f" (at {place})" if place else "")


def _load_one(
    point: metadata.EntryPoint,
    plugin: Plugin,
    manager: pluggy.PluginManager,
    moments: list[Moment],
) -> None:
    upgrade = _upgrade(plugin)
    wanted, older = other_core(point)
    if wanted:
        reason = f"it wants yoriai-core{wanted}, installed is {metadata.version('yoriai-core')}"
        if older:
            _mark(plugin, "rejected", reason, upgrade)
        else:
            _mark(plugin, "needs-newer-core", reason, f"pip install 'yoriai-core{wanted}'")
        return
    start = time.perf_counter()
    try:
        module = point.load()
    except foreign_code.TookTooLong:
        raise
    except BaseException as error:  # a plugin may even call sys.exit on import
        plugin.import_ms = (time.perf_counter() - start) * 1000
        remedy = upgrade
        missing = str(getattr(error, "name", "") or "").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and _NAME.fullmatch(missing):
            remedy = f"pip install {missing}"
        _mark(plugin, "import-failed", _placed(error, plugin), remedy)
        return
    plugin.import_ms = (time.perf_counter() - start) * 1000
    reason = ""
    try:
        reason = _unknown_hook(module)
        if not reason:
            manager.register(module, name=point.name)
    except Exception as error:
        reason = short((str(error) or words_of(error)).strip().splitlines()[-1])
        if manager.has_plugin(point.name):
            manager.unregister(name=point.name)
    if reason:
        _mark(plugin, "rejected", reason, f"{upgrade}, or tell its authors")
        return
    _list_entries(module, plugin, manager, moments)


def _unknown_hook(module: ModuleType) -> str:
    """Name a hook implementation that core does not know (pluggy would silently ignore it)."""
    known = [name for name in vars(hookspecs) if name.startswith("yoriai_")]
    for name, value in vars(module).items():
        options = getattr(value, "yoriai_impl", None) if callable(value) else None
        if not isinstance(options, dict) or name in known or options.get("optionalhook"):
            continue
        near = difflib.get_close_matches(name, known, 1, 0.5)
        return f"unknown hook {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
    return ""


def _list_entries(
    module: ModuleType, plugin: Plugin, manager: pluggy.PluginManager, moments: list[Moment]
) -> None:
    hooks = []
    for caller in manager.get_hookcallers(module) or ():
        hooks.append(caller.name)
        implementation = next(i for i in caller.get_hookimpls() if i.plugin is module)
        if caller.name in MOMENTS:
            arguments = tuple(implementation.argnames)
            moments.append(Moment(caller.name, plugin.name, implementation.function, arguments))
            continue
        kind = caller.name.removeprefix("yoriai_")
        try:
            entries, refused = _check_entries(kind, implementation.function())
        except foreign_code.TookTooLong:
            raise
        except BaseException as error:
            manager.unregister(module)
            plugin.entries.clear()
            plugin.refused = ()
            _mark(plugin, "raised", f"{caller.name}: {_placed(error, plugin)}", _upgrade(plugin))
            return
        plugin.entries[kind] = entries
        plugin.refused += refused
        if refused:
            plugin.remedy = f"{_upgrade(plugin)}, or tell its authors"
    plugin.hooks = tuple(sorted(hooks))


def _check_entries(kind: str, answer: Any) -> tuple[tuple[Entry, ...], tuple[RefusedEntry, ...]]:
    """The entries of a hook's answer, and those that are refused.

    Each is checked anew: an object can be changed after it was made.
    """
    entries: dict[str, Entry] = {}
    refused: list[RefusedEntry] = []
    for number, given in enumerate(answer):
        if number >= MOST_ENTRIES:
            raise ValueError(f"offers more than {MOST_ENTRIES:,} {kind}")
        entry = _check_entry(given)
        if isinstance(entry, Entry) and entry.name in entries:
            entry = BadEntry(entry.name, f"there are two {kind} of this name; the first is offered")
        if isinstance(entry, Entry):
            entries[entry.name] = entry
        else:
            refused.append(RefusedEntry(kind, entry.name or f"#{number + 1}", entry.reason))
    return tuple(entries.values()), tuple(refused)


def _check_entry(given: Any) -> Entry | BadEntry:
    """A copy of an entry, checked; what is none, or cannot be read, as a bad one."""
    if type(given) is BadEntry:
        return given
    try:
        if not isinstance(given, Entry):
            return BadEntry("", f"is of type {type(given).__name__}, expected yoriai.Entry")
        with keeping_bad_entries():
            checked: Entry | BadEntry = Entry(
                **{f.name: getattr(given, f.name) for f in dataclasses.fields(Entry)}
            )
        return checked
    except foreign_code.TookTooLong:
        raise
    except BaseException as error:  # a subclass of a stranger may raise anything
        return BadEntry("", words_of(error))
