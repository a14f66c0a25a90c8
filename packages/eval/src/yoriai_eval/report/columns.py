"""The columns of a table, and what keeps two artifacts from sharing one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yoriai_eval.report.model import Column, Difference, Facts, Given
from yoriai_eval.scoring import protocol
from yoriai_eval.scoring.metrics import METRICS


def columns_of(given: Sequence[Given]) -> list[Column]:
    """The columns of a table of these artifacts."""
    columns: dict[str, Column] = {}
    for one in given:
        for model in one.models:
            for short, task in one.of(model).get("tasks", {}).items():
                columns.setdefault(short, _task_column(one, short, task))
    for one in given:
        for model in one.models:
            for corpus, values in one.of(model).get("bits_per_byte", {}).items():
                for language in values:
                    column = _text_column(one, corpus, language)
                    columns.setdefault(column.key, column)
    # Facts are sorted by name; a protocol puts tasks that belong together side by side.
    order = [task for tasks in members_of(given[0]).values() for task in tasks]
    known = [columns[key] for key in order if key in columns]
    return known + [column for key, column in columns.items() if key not in order]


def members_of(one: Given) -> dict[str, tuple[str, ...]]:
    """Tasks by category; nothing for a protocol that is not known."""
    known = protocol.outline(one.facts)
    return dict(known.categories) if known else {}


def _task_column(one: Given, short: str, task: Facts) -> Column:
    metric = METRICS.get(task["metric"])
    bits = "bits_per_byte" in task["metric"]
    shots = [n for tally in one.tallies if tally.short == short for n in tally.shots]
    shots += [int(n) for n in task.get("shots", {})]
    splits = {str(e["split"]) for e in _entries(one, short) if "split" in e}
    own = {s for s in splits if s != one.facts["split"]} if len(splits) == 1 else set()
    return Column(
        key=short,
        metric=task["metric"],
        unit="bits" if bits else "number" if metric and metric.lowest < 0 else "share",
        lower_is_better=not (metric.higher_is_better if metric else not bits),
        samples=task["samples"],
        split=min(own, default=""),
        shots=max(shots, default=None),
        floors=dict(task.get("floors", {})),
    )


def _text_column(one: Given, corpus: str, language: str) -> Column:
    floors = {
        floor: places[corpus][language]
        for floor, places in one.facts["floors"].items()
        if language in places.get(corpus, {})
    }
    return Column(
        key=f"{corpus}.{language}",
        kind="text",
        metric="bits_per_byte",
        unit="bits",
        lower_is_better=True,
        floors=floors,
    )


# --- what may stand together --------------------------------------------------------------


def difference(one: Given, group: Sequence[Given], number: int) -> Difference | None:
    """The first thing in which an artifact differs from a table; None if it may join."""
    for other in group:
        used = protocol.identity(one.facts), protocol.identity(other.facts)
        pairs = {what: (one.facts[what], other.facts[what]) for what in ("split", "limit")}
        for what, (here, there) in {"protocol": used, **pairs}.items():
            if here != there:
                return Difference(what=what, here=str(here), there=str(there), other=number)
        mine, theirs = _asked(one), _asked(other)
        for task in [task for task in mine if task in theirs]:
            for what, here in mine[task].items():
                there = theirs[task][what]
                if not _is_same(here, there):
                    return Difference(
                        what=what, here=_told(here), there=_told(there), other=number, task=task
                    )
            if _other_prompts(one, other, task):
                return Difference(what="prompts", here="", there="", other=number, task=task)
    return None


def _is_same(here: Any, there: Any) -> bool:
    """Lists are what a task may have come from: the same if any of it is, or nothing is known."""
    if isinstance(here, list):
        return not here or not there or any(item in there for item in here)
    return bool(here == there)


def _other_prompts(one: Given, other: Given, short: str) -> bool:
    """Whether prompts differ though they should not: no chat template, and all examples fit."""
    rules = protocol.outline(one.facts)
    if rules is None or rules.chat or short not in rules.tasks:
        return False
    mine, theirs = (
        {
            (t.form, t.prompts)
            for t in side.tallies
            if t.short == short and t.prompts and len(t.shots) <= 1
        }
        for side in (one, other)
    )
    common = {form for form, _ in mine} & {form for form, _ in theirs}
    return any(
        not {p for f, p in mine if f == form} & {p for f, p in theirs if f == form}
        for form in common
    )


def _asked(one: Given) -> dict[str, dict[str, Any]]:
    """Of every column: what has to be the same for scores to be comparable."""
    return {
        column.key: {
            "split": column.split,
            "shots": column.shots,
            "metric": column.metric,
            "samples": column.samples,
            "data": _data(one, column.key),
            "options": _options(one, column.key),
            "floors": dict(column.floors),
        }
        for column in columns_of([one])
    }


def _entries(one: Given, short: str) -> list[Mapping[str, Any]]:
    """The entries of the configuration that a task may have come from."""
    names = {tally.task for tally in one.tallies if tally.short == short} or {short}
    return [
        entry
        for entry in one.config.get("tasks", ())
        if any(f"{name}/".startswith(f"{entry.get('use') or ''}/") for name in names)
    ]


def _data(one: Given, short: str) -> list[str]:
    """Digests of the files behind a task, as the manifest has them (``eval/jamp#3``)."""
    uses = {str(entry.get("use")) for entry in _entries(one, short)}
    return sorted(v for name, v in one.outside.items() if name.partition("#")[0] in uses)


def _options(one: Given, short: str) -> list[dict[str, Any]]:
    """Its further keys. What a file holds is in its digest, and where it lies is nothing."""
    return [
        {key: value for key, value in entry.items() if key not in ("use", "split", "path")}
        for entry in _entries(one, short)
    ]


def _told(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(v[:12] for v in value if isinstance(v, str))
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items()) or "–"
    return "–" if value is None else str(value)
