"""``yoriai plugins``, ``yoriai list`` and ``yoriai new plugin``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from yoriai import __version__, console
from yoriai.cli import Context
from yoriai.entry import KINDS
from yoriai.errors import UsageError

SHOWN = 20  # refused entries of a plugin in the table; all are in --json


def _complete_kind(_ctx: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    return [kind for kind in KINDS if kind.startswith(typed)]


def _complete_plugin(_ctx: click.Context, _param: click.Parameter, typed: str) -> list[str]:
    from yoriai.plugins import load_registry

    return [p.name for p in load_registry().plugins if p.name.startswith(typed)]


@click.group(invoke_without_command=True, epilog="""\b
Examples:
  yoriai plugins
  yoriai plugins --json
  yoriai plugins check acme
  yoriai --plugins -acme plugins
""")  # fmt: skip
@console.json_option
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """Show every installed plugin, its state, and how to mend a broken one."""
    if ctx.invoked_subcommand is not None:
        return
    rows = ctx.obj.registry.plugins
    value = {
        "core": __version__,
        "plugins": [
            {**dataclasses.asdict(p), "entries": {k: len(e) for k, e in p.entries.items()}}
            for p in rows
        ],
    }

    def text() -> str:
        lines = []
        for p in rows:
            offers = ", ".join(f"{len(e)} {kind}" for kind, e in p.entries.items())
            lines.append((p.name, f"{p.distribution} {p.version}", p.status, offers or p.reason))
            lines += [("", "", "", f"it {note}") for note in p.notes]
            told = p.refused[:SHOWN]
            lines += [("", "", "refused", f"{r.kind} {r.name}: {r.reason}") for r in told]
            if len(p.refused) > SHOWN:
                more = f"and {len(p.refused) - SHOWN:,} more (yoriai plugins --json)"
                lines.append(("", "", "refused", more))
            if p.remedy:
                lines.append(("", "", "", f"try: {p.remedy}"))
        return console.table(("plugin", "distribution", "status", "offers"), lines)

    console.emit(value, as_json=as_json, text=text)


@plugins.command("check", epilog="""\b
Examples:
  yoriai plugins check corpus
  yoriai plugins check acme --keys keys.yaml
  yoriai plugins check acme --json
""")  # fmt: skip
@click.argument("name", metavar="PLUGIN", shell_complete=_complete_plugin)
@click.option(
    "--keys", "keys_file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="YAML file with the keys of entries that need some, by plugin/name.",
)  # fmt: skip
@console.json_option
@click.pass_obj
def check_plugin(shared: Context, name: str, keys_file: Path | None, as_json: bool) -> None:
    """Run what a plugin offers, and tell every promise that it breaks (then the exit code is 4).

    A source is read twice and compared, a filter judges documents, a task is answered. What cannot
    be run without a key, data or a library is told, and is no broken promise.
    """
    from yoriai.config import unknown_name
    from yoriai.conformance import check
    from yoriai.safe_yaml import read

    registry = shared.registry
    if name not in {p.name for p in registry.plugins}:
        raise unknown_name(name, [p.name for p in registry.plugins], "plugin")
    keys = read(keys_file) if keys_file else {}
    if not isinstance(keys, dict):
        raise UsageError(f"{keys_file}: is no mapping of plugin/name to keys")
    report = check(registry, name, keys)

    def text() -> str:
        total = (
            len(report.ran) + len(report.not_run) + len({b.split(":")[0] for b in report.broken})
        )
        lines = [
            f"{name}: {len(report.ran)} of {total} entries were run, and keep what they promise"
        ]
        lines += [f"  not run: {entry}: {why}" for entry, why in report.not_run.items()]
        lines += [f"  broken: {problem}" for problem in report.broken]
        return "\n".join(lines)

    console.emit(dataclasses.asdict(report), as_json=as_json, text=text)
    if report.broken:
        raise click.exceptions.Exit(4)


@click.command("list", epilog="""\b
Examples:
  yoriai list
  yoriai list filters
  yoriai list tasks --json
""")  # fmt: skip
@click.argument("kind", required=False, metavar="[KIND]", shell_complete=_complete_kind)
@console.json_option
@click.pass_obj
def list_entries(shared: Context, kind: str | None, as_json: bool) -> None:
    """List what the plugins offer: steps, sources, filters, tasks and so on."""
    registry = shared.registry
    if kind is None:
        counts = {name: len(registry.found(name)) for name in KINDS}
        refused = sum(len(p.refused) for p in registry.plugins)
        if refused:
            console.note(f"{refused:,} more were refused (why: yoriai plugins)")
        console.emit(
            counts,
            as_json=as_json,
            text=lambda: console.table(("kind", "entries"), counts.items()),
        )
        return
    rows = registry.found(kind)
    refusals = registry.refused(kind)
    value = {
        kind: [
            {
                "name": f.name,
                "summary": f.entry.summary,
                "stability": f.entry.stability,
                "licence": f.entry.licence,
                "requires": list(f.entry.requires),
                "missing": list(f.missing),
                "target": f.entry.target,
            }
            for f in rows
        ],
        "refused": [{"name": f"{p.name}/{r.name}", "reason": r.reason} for p, r in refusals],
    }

    more = len(refusals) - SHOWN

    def text() -> str:
        return console.table(
            (kind or "", "what it is"),
            [
                (
                    f.name,
                    f.entry.summary
                    + (f"  (needs: pip install {' '.join(f.missing)})" if f.missing else ""),
                )
                for f in rows
            ]
            + [(f"{p.name}/{r.name}", f"refused: {r.reason}") for p, r in refusals[:SHOWN]]
            + [("", f"and {more:,} more were refused (--json)")] * (more > 0),
        )

    console.emit(value, as_json=as_json, text=text)


@click.group(epilog="""\b
Examples:
  yoriai new plugin tohoku-poetry
""")  # fmt: skip
def new() -> None:
    """Write a new plugin that works and is tested."""


@new.command("plugin", epilog="""\b
Examples:
  yoriai new plugin tohoku-poetry
  yoriai new plugin tohoku-poetry --into plugins
""")  # fmt: skip
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="Parent folder.")
@console.json_option
def new_plugin(name: str, into: Path, as_json: bool) -> None:
    """Write the distribution yoriai-NAME: one filter, one task, a passing test."""
    from yoriai.scaffold import write_plugin

    folder = write_plugin(name, into)

    def text() -> str:
        return (
            f"wrote {folder}\n\nnext:\n  pip install -e '{folder}[test]'\n"
            f"  pytest {folder}\n  yoriai list filters"
        )

    console.emit({"folder": str(folder)}, as_json=as_json, text=text)
