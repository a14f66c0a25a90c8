"""Experiment records: a question, a prediction, an outcome, and what was learned.

A record is a folder in git: ``record.yaml`` (this schema), ``README.md`` (the story, five
headings), and ``runs/*.json`` copied from a workspace. Whether it ran and whether the idea
was right are two different things, and a record keeps them apart.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic
import yaml

from yoriai import files, safe_yaml
from yoriai.config import dotted, explain
from yoriai.errors import NotFound, UsageError
from yoriai.recipe import parse_yaml
from yoriai.redaction import Redactor

# Each word has a published precedent (BigScience, OPT, Pythia, Marin, LLM-jp).
CAUSES = (
    "diverged",
    "loss-spike",
    "silent-numeric",
    "dependency-drift",
    "config-slip",
    "contamination",
    "stale-cache",
    "data-order",
    "tokenizer",
    "hardware",
    "network",
    "storage",
    "scheduler",
    "provider",
    "evaluation-artifact",
    "process",
    "budget",
    "idea-refuted",
    "unknown",
)
HEADINGS = (
    "Question",
    "What we did",
    "What happened",
    "What we learned",
    "What we would do differently",
)


class _Part(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Prediction(_Part):
    text: str
    measured: float | None = None
    verdict: Literal["held", "failed", "not-measured"] = "not-measured"


class Failure(_Part):
    cause: Literal[CAUSES]  # type: ignore[valid-type]
    symptom: str
    found_by: Literal["alarm", "person", "test", "evaluation", "reader"] = "person"
    found_after_hours: float | None = None
    fix: str = ""
    prevention: str = ""


class Lesson(_Part):
    text: dict[Literal["ja", "en"], str]
    confidence: Literal["low", "medium", "high"] = "medium"


class Record(_Part):
    """``record.yaml``."""

    schema_version: Literal[1] = pydantic.Field(1, alias="schema")
    id: str = pydantic.Field(pattern=r"^\d{4}$")
    title: dict[Literal["ja", "en"], str] = pydantic.Field(min_length=1)
    state: Literal["proposed", "running", "ended", "withdrawn"]
    opened: datetime.date
    ended: datetime.date | None = None
    tags: list[str] = []
    package: str = ""
    hypothesis: str = ""
    predictions: list[Prediction] = []
    execution: Literal["completed", "failed", "cancelled", "timed-out"] | None = None
    verdict: Literal["supported", "refuted", "inconclusive", "not-tested"] | None = None
    cost_hours: float | None = None
    lost_hours: float | None = None
    failures: list[Failure] = []
    lessons: list[Lesson] = []
    links: list[str] = []

    @pydantic.model_validator(mode="after")
    def _complete_when_ended(self) -> Record:
        if self.state == "ended":
            if self.verdict is None or self.execution is None:
                raise ValueError("an ended record says execution and verdict")
            if not self.lessons:
                raise ValueError("an ended record has at least one lesson")
            if self.execution == "failed" and not self.failures:
                raise ValueError("execution 'failed' needs at least one entry under failures")
        return self


@dataclass(frozen=True, slots=True)
class Filed:
    """A record where it lies."""

    folder: Path
    record: Record


def read_record(folder: Path) -> Filed:
    """Read one record folder; raises :class:`UsageError` naming every fault."""
    path = folder / "record.yaml"
    if not path.is_file():
        raise NotFound(f"{folder} has no record.yaml", hint="yoriai records list")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 (byte {error.start})") from error
    value, _ = parse_yaml(text, str(path))
    try:
        return Filed(folder, Record.model_validate(value))
    except pydantic.ValidationError as error:
        rows = [f"{path}: {dotted(f.place)}: {f.message}" for f in explain(error, Record)]
        raise UsageError("\n".join(rows)) from error


def list_records(root: Path) -> list[Filed]:
    if not root.is_dir():
        raise NotFound(
            f"no folder {root}", hint="yoriai records new SLUG --title-en TITLE, or --root DIR"
        )
    return [read_record(path.parent) for path in sorted(root.glob("*/record.yaml"))]


def check_records(root: Path) -> list[str]:
    """Everything wrong with the records below ``root``, one line each; empty is good."""
    if not root.is_dir():
        raise NotFound(f"no folder {root}", hint="yoriai records check --root DIR")
    problems: list[str] = [
        f"{folder}: has no record.yaml"
        for folder in sorted(root.glob("[0-9][0-9][0-9][0-9]*/"))
        if not (folder / "record.yaml").is_file()
    ]
    seen: dict[str, Path] = {}
    redactor = Redactor({}, home="", user="")
    for path in sorted(root.glob("*/record.yaml")):
        folder = path.parent
        try:
            record = read_record(folder).record
        except UsageError as error:
            problems += error.message.splitlines()
            continue
        if not folder.name.startswith(f"{record.id}-"):
            problems.append(f"{folder}: the folder's name must start with {record.id}-")
        if record.id in seen:
            problems.append(f"{folder}: the id {record.id} is that of {seen[record.id].name} too")
        seen[record.id] = folder
        story = folder / "README.md"
        text = story.read_text(encoding="utf-8", errors="replace") if story.is_file() else ""
        for heading in HEADINGS:
            if not re.search(rf"^## {re.escape(heading)}", text, re.MULTILINE):
                problems.append(f"{story}: has no heading '## {heading}'")
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.suffix in (".md", ".yaml", ".json", ".jsonl"):
                try:
                    body = file.read_text(encoding="utf-8")
                except UnicodeDecodeError as error:
                    problems.append(f"{file}: is not UTF-8 (byte {error.start})")
                    continue
                if redactor.text(body) != body:
                    problems.append(f"{file}: holds a secret, or a home path")
    return problems


def judge(resolved: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Compare a recipe's predictions with the facts its artifacts hold."""
    rows = []
    for prediction in (resolved.get("question") or {}).get("predictions", []):
        measured = find_fact(facts, prediction["fact"])
        if prediction.get("than"):
            limit = find_fact(facts, prediction["than"])
            text, below = f"{prediction['fact']} < {prediction['than']}", True
        else:
            below = prediction.get("below") is not None
            limit = prediction["below"] if below else prediction["above"]
            text = f"{prediction['fact']} {'<' if below else '>'} {limit}"
        if measured is None or limit is None:
            verdict = "not-measured"
        else:
            verdict = "held" if (measured < limit if below else measured > limit) else "failed"
        rows.append({"text": text, "measured": measured, "verdict": verdict})
    verdicts = {row["verdict"] for row in rows}
    overall = (
        "not-tested"
        if not rows
        else "refuted"
        if "failed" in verdicts
        else "inconclusive"
        if "not-measured" in verdicts
        else "supported"
    )
    return {"predictions": rows, "verdict": overall}


def find_fact(facts: Mapping[str, Any], place: str) -> float | None:
    """``scores.base.bits_per_byte.ja`` in nested facts; ``None`` if it is no number."""
    value: Any = facts
    for key in place.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return float(value) if isinstance(value, (int, float)) else None


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
        "tags": [run["recipe"]],
        "hypothesis": question.get("hypothesis", ""),
        "predictions": judged["predictions"],
        "execution": run["state"],
        "verdict": judged["verdict"],
        "cost_hours": round(sum(s.get("seconds", 0) for s in run["steps"].values()) / 3600, 3),
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
        value = safe_yaml.load(path.read_bytes(), str(path))
        return bool(value["lessons"]) or value["id"] != "0000"
    except (UsageError, KeyError, TypeError):
        return True  # whatever it is, it is not what was written here
