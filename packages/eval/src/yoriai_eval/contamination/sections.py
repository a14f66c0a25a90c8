"""What a run's page shows of a contamination ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yoriai import Artifact, Section, Table

MOST_TASKS = 100  # rows of a table; the rest is in the facts


def describe(artifact: Artifact) -> Iterator[Section]:
    """How much of each task was found, where, and scores with and without it."""
    if artifact.kind != "contamination":
        return
    facts = artifact.facts
    tables = [_found(facts)]
    places: list[tuple[str, str, str, int]] = [
        (short, place, "swapped" if key == "swapped" else "the same", count)
        for short, task in facts["tasks"].items()
        for key in ("between", "swapped")
        for place, count in task[key].items()
    ]
    if places:
        named = ("task", "found in", "question is", "samples")
        tables.append(Table(columns=named, rows=places[:MOST_TASKS]))
    halves: list[tuple[str, ...]] = [
        (model, short, told["metric"], *_half(told["clean"]), *_half(told["dirty"]))
        for model, tasks in facts.get("scores", {}).items()
        for short, told in tasks.items()
    ]
    if halves:
        columns = ("model", "task", "metric", "clean", "95 %", "n", "dirty", "95 %", "n")
        tables.append(Table(columns=columns, rows=halves[:MOST_TASKS]))
    yield Section(
        title=f"Contamination · 汚染: {artifact.step}",
        text="A sample is dirty if a model may have seen it: a text in common with a document, "
        "or the same question in a train or dev split. Scores of clean samples stand beside "
        "those of dirty ones. "
        "学習データや他の分割に現れた事例を dirty、それ以外を clean として点数を分けます。"
        + _left_out(facts),
        tables=tables,
    )


def _found(facts: Mapping[str, Any]) -> Table:
    columns = ("exact", "near", "too_short") if facts["corpora"] else ()
    rows = [
        (short, task["samples"], task["dirty"], *(task[c] for c in columns))
        for short, task in facts["tasks"].items()
    ]
    names = ("task", "samples", "dirty", *(c.replace("_", " ") for c in columns))
    return Table(columns=names, rows=rows[:MOST_TASKS])


def _half(half: Mapping[str, Any]) -> tuple[str, str, str]:
    """Score, interval and number of samples; a note where they are too few to say anything."""
    if not half["samples"]:
        return "", "", "0"
    low, high = half["interval"]
    few = " (fewer than 10)" if half.get("few") else ""
    return f"{half['score']:.3f}", f"{low:.3f} to {high:.3f}", f"{half['samples']}{few}"


def _left_out(facts: Mapping[str, Any]) -> str:
    absent = facts.get("not_compared")
    return f"\n\nNot compared, as the data is not here: {', '.join(absent)}." if absent else ""
