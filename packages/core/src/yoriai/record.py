"""Experiment records: a question, a prediction, an outcome, and what was learned.

A record is a folder in git: ``record.yaml`` (this schema), ``README.md`` (the story, five
headings), and ``runs/*.json`` copied from a workspace. Whether it ran and whether the idea
was right are two different things, and a record keeps them apart.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from yoriai.config import dotted, explain
from yoriai.errors import NotFound, UsageError
from yoriai.prediction import RELATIONS, Limit, overall, relation_of, verdict_of
from yoriai.recipe import read_yaml
from yoriai.strict import Strict

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


EXECUTIONS = ("completed", "failed", "cancelled", "timed-out")
VERDICTS = ("supported", "refuted", "inconclusive", "not-tested")
STATES = ("proposed", "running", "ended", "withdrawn")
FINDERS = ("alarm", "person", "test", "evaluation", "reader")

Words = Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1)]
Hours = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, pydantic.Field(allow_inf_nan=False)]
Number = Annotated[str, pydantic.Field(pattern=r"^\d{4}$")]
Digest = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
InLanguages = Annotated[dict[Literal["ja", "en"], Words], pydantic.Field(min_length=1)]


def _one_of(known: tuple[str, ...]) -> Any:
    """A word of a list; another one is refused with the nearest of the list."""

    def check(value: str) -> str:
        if value not in known:
            near = difflib.get_close_matches(value, known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise ValueError(f"{value[:60]!r} is not known; {hint}")
        return value

    return pydantic.AfterValidator(check)


class RecordPrediction(Strict):
    """What was expected of a number. Its text ends in the relation, or names it beside it."""

    text: Words
    measured: Finite | None = None
    relation: Annotated[str, _one_of(RELATIONS)] | None = None
    limit: Finite | tuple[Finite, Finite] | None = None
    unit: str = ""
    verdict: Annotated[str, _one_of(("held", "failed", "not-measured"))] = "not-measured"

    def expectation(self) -> tuple[str, Limit] | None:
        """Relation and limit, as given or as the text ends; ``None`` if neither says."""
        if self.relation is not None and self.limit is not None:
            return self.relation, self.limit
        return relation_of(self.text)


class Failure(Strict):
    cause: Annotated[str, _one_of(CAUSES)]
    symptom: Words
    found_by: Annotated[str, _one_of(FINDERS)] = "person"
    found_after_hours: Hours | None = None
    fix: str = ""
    prevention: str = ""


class Lesson(Strict):
    text: InLanguages
    confidence: Annotated[str, _one_of(("low", "medium", "high"))] = "medium"
    scope: str = ""


class Person(Strict):
    """Who did it, and for whom. ``org`` is a name or a ROR address, ``roles`` CRediT's words."""

    name: Words
    orcid: Annotated[str, pydantic.Field(pattern=r"^(\d{4}-){3}\d{3}[\dX]$")] | None = None
    org: str = ""
    roles: list[Words] = []


class RecordPlan(Strict):
    config: str = ""
    budget_hours: Hours | None = None
    stop_when: str = ""


class Thing(Strict):
    """Something read or made: ``kind``, its name, and its SHA-256."""

    kind: Words
    name: Words
    sha256: Digest | None = None
    licence: str = ""
    where: str = ""


class Measurement(Strict):
    metric: Words
    value: Finite
    n: Annotated[int, pydantic.Field(ge=1)] | None = None
    stderr: Hours | None = None
    task: str = ""


class Validity(Strict):
    """Whether the result still stands, apart from how it came out."""

    status: Annotated[str, _one_of(("valid", "questioned", "invalidated"))]
    by: str = ""
    why: str = ""

    @pydantic.model_validator(mode="after")
    def _says_why(self) -> Validity:
        if self.status != "valid" and not (self.by.strip() and self.why.strip()):
            raise ValueError(f"{self.status!r} says by whom and why")
        return self


class Withheld(Strict):
    """A fact that is held back, told as such: what, why, and until when."""

    what: Words
    why: Words
    until: datetime.date
    contact: str = ""


class Record(Strict):
    """``record.yaml``."""

    schema_version: Literal[1] = pydantic.Field(1, alias="schema")
    id: Number
    title: InLanguages
    state: Annotated[str, _one_of(STATES)]
    opened: datetime.date
    ended: datetime.date | None = None
    licence: str = ""
    tags: list[Words] = []
    package: str = ""
    people: list[Person] = []
    hypothesis: str = ""
    why: str = ""
    would_change_my_mind: str = ""
    baseline: Number | None = None
    prior: list[Number] = []
    predictions: list[RecordPrediction] = []
    plan: RecordPlan | None = None
    inputs: list[Thing] = []
    outputs: list[Thing] = []
    execution: Annotated[str, _one_of(EXECUTIONS)] | None = None
    verdict: Annotated[str, _one_of(VERDICTS)] | None = None
    argument: str = ""
    measurements: list[Measurement] = []
    cost_hours: Hours | None = None
    lost_hours: Hours | None = None
    failures: list[Failure] = []
    lessons: list[Lesson] = []
    validity: Validity | None = None
    withheld: list[Withheld] = []
    supersedes: list[Number] = []
    reproduces: list[Number] = []
    follow_up: list[Number] = []
    discussion: str = ""
    links: list[Words] = []

    @pydantic.model_validator(mode="after")
    def _complete_when_ended(self) -> Record:
        if self.state == "ended":
            if self.verdict is None or self.execution is None:
                raise ValueError("an ended record says execution and verdict")
            if not self.lessons:
                raise ValueError("an ended record has at least one lesson")
            if self.execution == "failed" and not self.failures:
                raise ValueError("execution 'failed' needs at least one entry under failures")
        if self.ended and self.ended < self.opened:
            raise ValueError(f"ended on {self.ended}, before it was opened on {self.opened}")
        if (self.lost_hours or 0) > (self.cost_hours if self.cost_hours is not None else 1e99):
            raise ValueError("lost_hours is part of cost_hours, so not more")
        return self

    def predicted_verdict(self) -> str:
        """The verdict that follows from the predictions alone."""
        return overall(
            verdict_of(p.measured, *(p.expectation() or ("", None))) for p in self.predictions
        )

    def references(self) -> dict[str, list[str]]:
        """The other records that this one names, by how."""
        found = {
            "baseline": [self.baseline] if self.baseline else [],
            **{k: getattr(self, k) for k in ("prior", "supersedes", "reproduces", "follow_up")},
        }
        return {key: value for key, value in found.items() if value}


@dataclass(frozen=True, slots=True)
class Filed:
    """A record where it lies, and the line of each of its keys."""

    folder: Path
    record: Record
    lines: Mapping[tuple[Any, ...], int] = field(default_factory=dict)

    def line(self, *place: Any) -> str:
        """``record.yaml:LINE`` of a key, or of the nearest one above it."""
        return place_of(self.folder / "record.yaml", self.lines, place)


def place_of(path: Path, lines: Mapping[tuple[Any, ...], int], place: tuple[Any, ...]) -> str:
    """``PATH:LINE`` of a key, or of the nearest one above it that has a line."""
    found = (lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines)
    number = next(found, 0)
    return f"{path}:{number}" if number else str(path)


def read_record(folder: Path) -> Filed:
    """Read one record folder; raises :class:`UsageError` naming every fault."""
    path = folder / "record.yaml"
    if not path.is_file():
        raise NotFound(f"{folder} has no record.yaml", hint="yoriai records list")
    value, lines = read_yaml(path, "a record is a mapping with id, title and state")
    if isinstance(value, dict) and isinstance(value.get("id"), int):
        raise UsageError(f"{path}:{lines['id',]}: id: write it in quotes, with its four digits")
    try:
        return Filed(folder, Record.model_validate(value), lines)
    except pydantic.ValidationError as error:
        rows = [
            f"{place_of(path, lines, f.place)}: {dotted(f.place) or 'the record'}: {f.message}"
            + (f"; {f.hint}" if f.hint else "")
            for f in explain(error, Record)
        ]
        raise UsageError("\n".join(rows)) from error


def list_records(root: Path) -> list[Filed]:
    if not root.is_dir():
        raise NotFound(
            f"no folder {root}", hint="yoriai records new SLUG --title-en TITLE, or --root DIR"
        )
    return [read_record(path.parent) for path in sorted(root.glob("*/record.yaml"))]
