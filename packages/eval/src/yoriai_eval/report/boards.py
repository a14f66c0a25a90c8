"""The leaderboard as data: scores artifacts become tables whose scores may stand side by side.

Two scores stand in one table only if they came of the same questions asked in the same way. A
score whose interval reaches the best floor says nothing of the model. Ranks are ranges: a model is
behind those that are certainly better and before those that are certainly worse, and models that
are not separated share their places (confidence sets of ranks by pairwise comparison: Mogstad et
al. 2024, "Inference for Ranks", Review of Economic Studies 91).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from yoriai import NotFound, UsageError
from yoriai_eval.report import reliability
from yoriai_eval.report.columns import columns_of, difference, members_of
from yoriai_eval.report.model import Board, Cell, Column, Difference, Facts, Given, Line, Value
from yoriai_eval.scoring import protocol

MOST_AXES = 6  # models in one radar
# Places by (digest of the artifact, model, column).
Places = Mapping[tuple[str, str, str], tuple[int, int]]


def boards(
    given: Sequence[Given],
    ledgers: Sequence[Facts] = (),
    test: Callable[[Sequence[Given]], Places] = lambda _group: {},
) -> list[Board]:
    """The tables, in the order in which artifacts are given.

    ``ledgers`` are facts of contamination artifacts. ``test`` gives the places that models of one
    table have by paired tests; columns it leaves out get theirs by overlap of intervals. Raises
    :class:`yoriai.UsageError` for an artifact that is given twice, and :class:`yoriai.NotFound`
    for one without scores.
    """
    _refuse(given)
    groups: list[list[Given]] = []
    reasons: list[list[Difference]] = []
    for one in given:
        found: list[Difference] = []
        for number, group in enumerate(groups, 1):
            differs = difference(one, group, number)
            if differs is None:
                group.append(one)
                break
            found.append(differs)
        else:
            groups.append([one])
            reasons.append(found)
    return [
        _board(number, group, found, ledgers, test(group))
        for number, (group, found) in enumerate(zip(groups, reasons, strict=True), 1)
    ]


def _refuse(given: Sequence[Given]) -> None:
    seen: set[str] = set()
    for one in given:
        if one.digest in seen:
            raise UsageError(f"{one.name} ({one.digest[:12]}) is given twice")
        seen.add(one.digest)
        if "protocol" not in one.facts:
            raise NotFound(
                f"{one.name} does not say under which protocol it was made",
                hint="an older eval/run made it: run its recipe again",
            )
        held = [m for m in one.models if {"tasks", "bits_per_byte"} & set(one.of(m))]
        if not held:
            raise NotFound(f"{one.name} holds no scores", hint="yoriai run its recipe again")


# --- cells --------------------------------------------------------------------------------


def _value(
    score: float, interval: Sequence[float] | None, floor: float | None, lower: bool, samples: int
) -> Value:
    low, high = interval if interval else (None, None)
    # Without an interval the score itself has to clear the floor.
    edge = (high if lower else low) if interval else score
    at = floor is not None and edge is not None and (edge >= floor if lower else edge <= floor)
    return Value(score=score, low=low, high=high, samples=samples, floor=floor, at_floor=at)


def _cell(one: Given, model: str, column: Column, ledgers: Sequence[Facts]) -> Cell | None:
    tallies = [t for t in one.tallies if t.model == model]
    facts = one.of(model)
    if column.kind == "text":
        corpus, _, language = column.key.rpartition(".")
        if language not in facts.get("bits_per_byte", {}).get(corpus, {}):
            return None
        told = facts.get("bits_per_byte_interval", {}).get(corpus, {}).get(language)
        score = facts["bits_per_byte"][corpus][language]
        links = {t.task: t.link for t in tallies if t.form == "bits-per-byte" and t.link}
        return Cell(value=_value(score, told, column.floor, True, 0), links=links)
    task = facts.get("tasks", {}).get(column.key)
    if task is None:
        return None
    tallies = [t for t in tallies if t.short == column.key]
    halves = {**_ledger_halves(ledgers, one, model, column.key), **task}
    return Cell(
        value=_value(
            task["score"],
            task.get("interval"),
            column.floor,
            column.lower_is_better,
            task["samples"],
        ),
        clusters=task.get("clusters", task["samples"]),
        reasons=task.get("reasons", {}),
        metrics=task.get("metrics", {}),
        groups=task.get("groups", {}),
        shots={int(n): count for n, count in task.get("shots", {}).items()},
        links={t.form: t.link for t in tallies if t.link},
        clean=_half(halves.get("clean")),
        dirty=_half(halves.get("dirty")),
    )


def _half(told: Facts | None) -> Value | None:
    """A half that has no samples has no score either."""
    if not told or told.get("score") is None:
        return None
    return _value(told["score"], told.get("interval"), None, False, told.get("samples", 0))


def _ledger_halves(ledgers: Sequence[Facts], one: Given, model: str, task: str) -> Facts:
    """Of the ledgers that were made from these scores, or do not say from which."""
    for ledger in ledgers:
        if ledger.get("of") and one.digest not in ledger["of"]:
            continue
        scores = ledger.get("scores", {})
        found = scores.get(f"{one.name}:{model}", scores.get(model, {})).get(task)
        if found:
            return dict(found)
    return {}


def _overlap(ledgers: Sequence[Facts], facts: Facts, task: str) -> Mapping[str, Any]:
    """What was found of a task's samples, of the split that was asked."""
    for ledger in ledgers:
        if ledger.get("split", facts["split"]) == facts["split"] and task in ledger["tasks"]:
            return dict(ledger["tasks"][task])
    return {}


# --- lines, means, ranks ------------------------------------------------------------------


def _board(
    number: int,
    group: Sequence[Given],
    differences: Sequence[Difference],
    ledgers: Sequence[Facts],
    places: Places,
) -> Board:
    facts = group[0].facts
    tested = {column for _, _, column in places}
    columns = [
        replace(
            column,
            overlap=_overlap(ledgers, facts, column.key) if column.kind == "task" else {},
            paired=column.key in tested,
        )
        for column in columns_of(group)
    ]
    members = members_of(group[0])
    known = protocol.outline(facts)
    averaged = known.average if known else ()
    lines = [
        _line(one, model, columns, members, averaged, ledgers)
        for one in group
        for model in one.models
    ]
    lines = _ranked(_labelled(lines), columns, places, members)
    if lines and all(line.average for line in lines):
        lines = sorted(lines, key=lambda line: (_places(line), line.label))
    return Board(
        number=number,
        protocol=facts["protocol"],
        split=facts["split"],
        limit=facts["limit"],
        columns=columns,
        lines=lines,
        members=members,
        differences=differences,
        searched=sorted({name for ledger in ledgers for name in ledger.get("corpora", {})}),
    )


def _line(
    one: Given,
    model: str,
    columns: Sequence[Column],
    members: Mapping[str, Sequence[str]],
    averaged: Sequence[str],
    ledgers: Sequence[Facts],
) -> Line:
    facts = one.of(model)
    cells = {c.key: cell for c in columns if (cell := _cell(one, model, c, ledgers)) is not None}
    parts = {key: cell.value for key, cell in cells.items()}
    categories = {
        name: _mean(score, [parts[t] for t in members.get(name, ()) if t in parts])
        for name, score in facts.get("categories", {}).items()
    }
    average = None
    if "average" in facts:
        taken = [categories[name] for name in averaged if name in categories]
        average = _mean(facts["average"], taken)
        if told := facts.get("average_interval"):
            average = _value(facts["average"], told, average.floor, False, 0)
    return Line(
        label=model,
        model=model,
        artifact=one.name,
        digest=one.digest,
        asked_with=facts.get("asked_with", {}),
        cells=cells,
        categories=categories,
        average=average,
    )


def _mean(score: float, parts: Sequence[Value]) -> Value:
    """A mean with the interval and floor of its parts; half widths add up in squares, as in
    :mod:`yoriai_eval.scoring.totals`. Without the parts there is neither."""
    if not parts or any(p.low is None or p.high is None for p in parts):
        return Value(score=score)
    half = math.sqrt(sum(((p.high or 0.0) - (p.low or 0.0)) ** 2 / 4 for p in parts)) / len(parts)
    floors = [p.floor for p in parts if p.floor is not None]
    floor = sum(floors) / len(parts) if len(floors) == len(parts) else None
    interval = (round(max(0.0, score - half), 4), round(min(1.0, score + half), 4))
    return _value(score, interval, floor, False, 0)


def _labelled(lines: Sequence[Line]) -> list[Line]:
    """Lines of one name told apart by their step, and by their artifact's digest if need be."""
    ways: list[Callable[[Line], str]] = [
        lambda line: line.artifact.rpartition("/")[2],
        lambda line: line.digest[:8],
    ]
    for add in ways:
        labels = [line.label for line in lines]
        lines = [
            replace(line, label=f"{line.label} ({add(line)})")
            if labels.count(line.label) > 1
            else line
            for line in lines
        ]
    return list(lines)


def rank(values: Sequence[Value], *, lower_is_better: bool) -> list[tuple[int, int] | None]:
    """The places each value may have: intervals that overlap leave the order open.

    None for a value without an interval, and where there is nothing to compare with.
    """
    known = [v for v in values if v.low is not None and v.high is not None]
    if len(known) < 2:
        return [None] * len(values)

    def before(a: Value, b: Value) -> bool:
        a, b = (b, a) if lower_is_better else (a, b)
        return (a.low or 0.0) > (b.high or 0.0)

    return [
        (
            1 + sum(before(other, value) for other in known),
            len(known) - sum(before(value, other) for other in known),
        )
        if value.low is not None
        else None
        for value in values
    ]


def _ranked(
    lines: Sequence[Line],
    columns: Sequence[Column],
    known: Places,
    members: Mapping[str, Sequence[str]],
) -> list[Line]:
    cells: list[dict[str, Cell]] = [dict(line.cells) for line in lines]
    for column in columns:
        key = column.key
        held = [(line, place) for line, place in zip(lines, cells, strict=True) if key in place]
        values = [place[key].value for _, place in held]
        ranks = rank(values, lower_is_better=column.lower_is_better)
        for (line, place), value, found in zip(held, values, ranks, strict=True):
            found = known.get((line.digest, line.model, key), found)
            place[key] = replace(place[key], value=replace(value, rank=found))
    categories: list[dict[str, Value]] = [dict(line.categories) for line in lines]
    for name in sorted({name for places in categories for name in places}):
        having = [(i, places) for i, places in enumerate(categories) if name in places]
        ranks = rank([p[name] for _, p in having], lower_is_better=False)
        tasks = members.get(name, ())
        key = tasks[0] if len(tasks) == 1 else f"average:{name}"
        for (i, places), found in zip(having, ranks, strict=True):
            found = known.get((lines[i].digest, lines[i].model, key), found)
            places[name] = replace(places[name], rank=found)
    whole = [line for line in lines if line.average]
    ranks = rank([line.average for line in whole if line.average], lower_is_better=False)
    averages = iter(
        known.get((line.digest, line.model, "average"), found)
        for line, found in zip(whole, ranks, strict=True)
    )
    return [
        replace(
            line,
            cells=cells[i],
            categories=categories[i],
            average=replace(line.average, rank=next(averages)) if line.average else None,
        )
        for i, line in enumerate(lines)
    ]


def _places(line: Line) -> tuple[int, int]:
    return (line.average.rank if line.average else None) or (0, 0)


def radar(board: Board) -> list[Line]:
    """The models for a picture of categories: the first six that have them all.

    Empty where there are fewer than three categories, which make no area.
    """
    names = board.categories
    if len(names) < 3:
        return []
    whole = [line for line in board.lines if all(name in line.categories for name in names)]
    return whole[:MOST_AXES]


# --- as plain data ------------------------------------------------------------------------


def as_json(board: Board) -> dict[str, Any]:
    """A table as plain data, for ``report.json`` and ``--json``."""
    return {
        "number": board.number,
        "protocol": board.protocol,
        "split": board.split,
        "limit": board.limit,
        "apart_from": [
            {"table": d.other, "what": d.what, "task": d.task, "here": d.here, "there": d.there}
            for d in board.differences
        ],
        "tasks": {
            c.key: {
                "metric": c.metric,
                "samples": c.samples,
                "shots": c.shots,
                "floors": dict(c.floors),
                "ranked_by": "paired tests" if c.paired else "overlap of intervals",
            }
            for c in board.columns
        },
        "models": [_line_json(line) for line in board.lines],
        "calibration": [reliability.as_json(one) for one in board.reliability],
        "written": [
            {"model": label, "task": task, **counts}
            for (label, task), counts in board.written.items()
        ],
    }


def _line_json(line: Line) -> dict[str, Any]:
    return {
        "model": line.label,
        "artifact": line.artifact,
        "digest": line.digest,
        "average": _value_json(line.average) if line.average else None,
        "categories": {name: _value_json(value) for name, value in line.categories.items()},
        "tasks": {
            key: {
                **_value_json(cell.value),
                "reasons": dict(cell.reasons),
                "pages": dict(cell.links),
                **({"clean": _value_json(cell.clean)} if cell.clean else {}),
                **({"dirty": _value_json(cell.dirty)} if cell.dirty else {}),
            }
            for key, cell in line.cells.items()
        },
    }


def _value_json(value: Value) -> dict[str, Any]:
    return {
        "score": value.score,
        "interval": None if value.low is None else [value.low, value.high],
        "floor": value.floor,
        "at_floor": value.at_floor,
        "ranks": list(value.rank) if value.rank else None,
        **({"samples": value.samples} if value.samples else {}),
    }
