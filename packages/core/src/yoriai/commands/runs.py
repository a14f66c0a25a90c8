"""``yoriai runs``: what was run here, and how it ended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from yoriai import console
from yoriai import run_file as run_files
from yoriai.config import unknown_name
from yoriai.errors import NotFound


def _runs_of(workspace: Path) -> Path:
    folder = workspace / "runs"
    if not folder.is_dir():
        raise NotFound(f"no runs in {workspace}", hint="ls build/")
    return folder


def _look(folder: Path) -> list[dict[str, Any]]:
    """The runs, also on a disk that is full or read-only, where none can be marked."""
    rows, dead, trouble = run_files.sweep_or_look(folder)
    for name in dead:
        marked = "shown as failed, not marked" if trouble else "marked as failed"
        console.note(f"run {name} had died without a word; {marked}")
    if trouble:
        console.note(trouble)
    return rows


@click.group(epilog="""\b
Examples:
  yoriai runs list build/tour
""")  # fmt: skip
def runs() -> None:
    """List and show the runs of a recipe."""


@runs.command("list", epilog="""\b
Examples:
  yoriai runs list build/tour
""")  # fmt: skip
@click.argument("workspace", type=click.Path(path_type=Path))
@console.json_option
def list_runs(workspace: Path, as_json: bool) -> None:
    """List the runs of WORKSPACE; runs whose process died are marked first."""
    folder = _runs_of(workspace)
    rows = _look(folder)
    brief = [
        {key: row.get(key, "") for key in ("id", "state", "started", "ended")}
        | {"steps": {name: step.get("state", "") for name, step in row["steps"].items()}}
        for row in rows
    ]

    def text() -> str:
        return console.table(
            ("run", "state", "started", "steps"),
            [
                (r["id"], r["state"], r["started"],
                 " ".join(f"{n}:{s}" for n, s in r["steps"].items()))
                for r in brief
            ],
        )  # fmt: skip

    console.emit({"runs": brief}, as_json=as_json, text=text)


@runs.command("show", epilog="""\b
Examples:
  yoriai runs show build/tour latest
""")  # fmt: skip
@click.argument("workspace", type=click.Path(path_type=Path))
@click.argument("run_id", default="latest")
@console.json_option
def show(workspace: Path, run_id: str, as_json: bool) -> None:
    """Show the run file RUN_ID (or "latest") of WORKSPACE."""
    folder = _runs_of(workspace)
    rows = {str(row["id"]): row for row in _look(folder)}
    chosen = max(rows, default="") if run_id == "latest" else run_id
    if chosen not in rows:
        raise unknown_name(chosen, rows, "run")
    value = rows[chosen]
    console.emit(
        value, as_json=as_json, text=lambda: json.dumps(value, ensure_ascii=False, indent=2)
    )
