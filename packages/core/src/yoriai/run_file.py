"""Run files: one JSON document per execution of a recipe, there from the first second.

The file says ``running`` while its process lives (the process holds a lock beside it; the
kernel drops the lock even after ``kill -9``). Whoever comes next notices a dead run and
writes down that it ended.
"""

from __future__ import annotations

import datetime
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from yoriai import files, stopping
from yoriai.errors import UsageError, YoriaiError
from yoriai.redaction import Redactor, count_hidden

State = Literal["running", "completed", "failed", "cancelled", "timed-out"]
SCHEMA = 1
MOST_BYTES = 2**28  # of a run file that is read


@dataclass(frozen=True, slots=True)
class RunView:
    """What a moment hook sees of a run."""

    id: str
    recipe: str
    steps: tuple[str, ...]


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass(slots=True)
class Run:
    """A run being written. Every change reaches the disk at once, redacted."""

    path: Path
    redactor: Redactor
    value: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return str(self.value["id"])

    @property
    def metrics_path(self) -> Path:
        return self.path.with_suffix(".metrics.jsonl")

    def write(self, **changes: Any) -> None:
        self.value.update(changes)
        with stopping.deferred():  # what was done is written down, whoever knocks
            value = self.redactor.value(self.value)
        if found := count_hidden(value):
            value["hidden"] = found
        files.write_atomically(self.path, files.ordered_json(value))

    def step(self, name: str, **changes: Any) -> None:
        self.value["steps"].setdefault(name, {}).update(changes)
        self.write()

    def metric(self, step: str, values: Mapping[str, Any]) -> None:
        """Append one line to the metrics file (``runs/ID.metrics.jsonl``)."""
        row = {"step": step, "time": now(), **values}
        with self.metrics_path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(self.redactor.value(row), ensure_ascii=False) + "\n")

    def end(self, state: State, error: Mapping[str, Any] | None = None) -> None:
        self.value["state"] = state
        self.value["ended"] = now()
        if error:
            self.value["error"] = dict(error)
        self.write()


@contextmanager
def start_run(folder: Path, facts: Mapping[str, Any], redactor: Redactor) -> Iterator[Run]:
    """Create the run file and hold its lock while the block runs."""
    run_id = f"{_stamp_after(folder)}-{secrets.token_hex(3)}"
    run = Run(folder / f"{run_id}.json", redactor)
    run.value = {
        "schema": SCHEMA,
        "id": run_id,
        "state": "running",
        "started": now(),
        "steps": {},
        **facts,
    }
    lock = folder / f".{run_id}.lock"
    with files.hold(lock, busy=f"run {run_id} exists"):
        try:
            run.write()
            yield run
        finally:
            lock.unlink(missing_ok=True)


def _stamp_after(folder: Path) -> str:
    """The time, to the microsecond, so that the order of names is the order of runs.

    A clock that was set back gives the next microsecond after the newest run.
    """
    form = "%Y%m%dT%H%M%S%fZ"
    stamp = datetime.datetime.now(datetime.UTC).strftime(form)
    newest = max((path.name[: len(stamp)] for path in folder.glob("*.json")), default="")
    if stamp > newest:
        return stamp
    try:
        moment = datetime.datetime.strptime(newest, form) + datetime.timedelta(microseconds=1)
        return moment.strftime(form)
    except (ValueError, OverflowError):  # somebody else's file
        return stamp


def list_runs(folder: Path) -> list[dict[str, Any]]:
    """All run files of a workspace, oldest first; an unreadable one is listed as such."""
    rows = []
    for path in sorted(folder.glob("*.json")):
        try:
            value = json.loads(files.read_small(path, MOST_BYTES))
            if problem := _problem(value, path.stem):
                raise ValueError(problem)
            rows.append(value)
        except (ValueError, RecursionError, OSError, UsageError) as error:
            rows.append({"id": path.stem, "state": "unreadable", "error": str(error), "steps": {}})
    return rows


def _problem(value: Any, name: str) -> str:
    if not (isinstance(value, dict) and {"id", "state", "steps"} <= value.keys()):
        return "it is no run file"
    if value["id"] != name:  # the id becomes a path when the file is written again
        return "it is the file of another run"
    steps = value["steps"]
    if not (isinstance(steps, dict) and all(isinstance(step, dict) for step in steps.values())):
        return "its steps are no mapping of mappings"
    return ""


def look(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """All runs as :func:`list_runs` has them, and the ids of those whose process is gone.

    Those are given as they will be marked; nothing is written, so that a full or a read-only disk
    can be looked at.
    """
    rows, dead = list_runs(folder), []
    for value in rows:
        if value["state"] != "running" or files.is_held(folder / f".{value['id']}.lock"):
            continue
        value["state"] = "failed"
        value["ended"] = now()
        for step in value["steps"].values():
            if step.get("state") == "running":
                step["state"] = "stopped"
        value["error"] = {
            "code": "process-died",
            "message": "the process ended without a word (killed, out of memory, power)",
            "noticed_by_process": os.getpid(),
        }
        dead.append(str(value["id"]))
    return rows, dead


def sweep(folder: Path) -> list[str]:
    """Mark runs that say ``running`` and whose process is gone; returns their ids.

    Raises :class:`YoriaiError` where the disk takes no writing.
    """
    rows, dead = look(folder)
    for value in rows:
        if value["id"] in dead:
            files.write_atomically(folder / f"{value['id']}.json", files.ordered_json(value))
            (folder / f".{value['id']}.lock").unlink(missing_ok=True)
    return dead


def sweep_or_look(folder: Path) -> tuple[list[dict[str, Any]], list[str], str]:
    """Rows and dead runs as :func:`look` has them, marked where that can be written.

    The third is why the marks could not be written; ``""`` if they were.
    """
    rows, dead = look(folder)
    try:
        sweep(folder)
    except (YoriaiError, OSError) as error:
        return rows, dead, str(error)
    return rows, dead, ""
