"""A record's machine-written part: drafts from finished runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from yoriai import files, safe_yaml
from yoriai.errors import UsageError
from yoriai.record import EXECUTIONS, HEADINGS


def facts_of_run(run: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a record that a run file answers: what ran, what it made, what it cost."""
    question = run["resolved"].get("question") or {}
    seconds = sum(step.get("seconds", 0) for step in run["steps"].values())
    made = [
        {"kind": str(step.get("kind") or "artifact"), "name": f"{run['recipe']}/{name}",
         "sha256": step["digest"]}
        for name, step in run["steps"].items()
        if len(str(step.get("digest", ""))) == 64
    ]  # fmt: skip
    facts = {
        "tags": [run["recipe"]],
        "hypothesis": question.get("hypothesis", ""),
        "predictions": [
            {"text": f"{p['fact']} < {p['than']}" if p.get("than") else
             f"{p['fact']} < {p['below']}" if p.get("below") is not None else
             f"{p['fact']} > {p['above']}"}
            for p in question.get("predictions", [])
        ],
        "cost_hours": round(seconds / 3600, 3),
    }  # fmt: skip
    if run["state"] in EXECUTIONS:
        facts["execution"] = run["state"]
    return facts | ({"outputs": made} if made else {})


def draft_record(folder: Path, run: Mapping[str, Any], judged: Mapping[str, Any]) -> Path:
    """Write the record a finished run could be published as; people add the lessons.

    A draft that somebody has worked on (it has lessons, or a number of its own) is left alone.
    """
    question = run["resolved"].get("question") or {}
    value = {
        "schema": 1,
        "id": "0000",
        "title": question.get("title") or {"en": run["recipe"]},
        "state": "running",
        "opened": run["started"][:10],
        **facts_of_run(run),
        "predictions": judged["predictions"],
        "verdict": judged["verdict"],
        "lessons": [],
    }
    text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False, width=100)
    if not _was_edited(folder / "record.yaml"):
        files.write_atomically(folder / "record.yaml", text.encode())
    story = "\n\n".join(
        [
            f"# {next(iter(value['title'].values()))}",
            *(f"## {heading}\n\n(to be written)" for heading in HEADINGS),
        ]
    )
    if not (folder / "README.md").exists():
        files.write_atomically(folder / "README.md", story.encode() + b"\n")
    files.write_atomically(folder / "runs" / f"{run['id']}.json", files.ordered_json(run))
    return folder / "record.yaml"


def _was_edited(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        value = safe_yaml.read(path)
        return bool(value["lessons"]) or value["id"] != "0000"
    except (UsageError, KeyError, TypeError):
        return True  # whatever it is, it is not what was written here
