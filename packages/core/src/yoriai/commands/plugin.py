"""``yoriai plugins``, ``yoriai list`` and ``yoriai new plugin``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from yoriai import __version__, console
from yoriai.cli import Context
from yoriai.entry import KINDS


@click.command(epilog="""\b
Examples:
  yoriai plugins
  yoriai plugins --json
  yoriai --plugins -acme plugins
""")  # fmt: skip
@console.json_option
@click.pass_obj
def plugins(shared: Context, as_json: bool) -> None:
    """Show every installed plugin, its state, and how to mend a broken one."""
    rows = shared.registry.plugins
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
            if p.remedy:
                lines.append(("", "", "", f"try: {p.remedy}"))
        return console.table(("plugin", "distribution", "status", "offers"), lines)

    console.emit(value, as_json=as_json, text=text)


@click.command("list", epilog="""\b
Examples:
  yoriai list
  yoriai list filters
  yoriai list tasks --json
""")  # fmt: skip
@click.argument("kind", required=False, metavar="[KIND]")
@console.json_option
@click.pass_obj
def list_entries(shared: Context, kind: str | None, as_json: bool) -> None:
    """List what the plugins offer: steps, sources, filters, tasks and so on."""
    registry = shared.registry
    if kind is None:
        counts = {name: len(registry.found(name)) for name in KINDS}
        console.emit(
            counts,
            as_json=as_json,
            text=lambda: console.table(("kind", "entries"), counts.items()),
        )
        return
    rows = registry.found(kind)
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
        ]
    }

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
            ],
        )

    console.emit(value, as_json=as_json, text=text)


@click.group()
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
