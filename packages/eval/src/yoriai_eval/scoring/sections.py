"""What a run's page shows of scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yoriai import Artifact, Figure, Section, Table
from yoriai_eval.scoring.rows import scored

REASONS = ("correct", "wrong", "unparsed", "truncated", "refused", "errored")


def describe(artifact: Artifact) -> Iterator[Section]:
    """Scores beside their floors."""
    if artifact.kind != "scores":
        return
    facts, floors = scored(artifact.facts), artifact.facts["floors"]
    models = list(facts)
    figures, tables = [], []
    corpora = sorted({c for m in models for c in facts[m].get("bits_per_byte", {})})
    for corpus in corpora:
        series = {
            m: list(facts[m]["bits_per_byte"][corpus].items())
            for m in models
            if corpus in facts[m].get("bits_per_byte", {})
        }
        for floor in ("unigram", "gzip"):
            if corpus in floors.get(floor, {}):
                series[floor] = list(floors[floor][corpus].items())
        figures.append(
            Figure(
                kind="bar",
                title=f"Bits per byte on held-out text of {corpus} (lower is better)",
                x_label="language",
                y_label="bits per byte",
                series=series,
            )
        )
    rows = [
        (m, name, task["metric"], task["score"], _range(task), _known(task), task["samples"])
        for m in models
        for name, task in facts[m].get("tasks", {}).items()
    ]
    if rows:
        columns = ("model", "task", "metric", "score", "95 % interval", "floors", "samples")
        tables.append(Table(columns=columns, rows=rows))
    reasons = [
        (m, name, *(task["reasons"].get(reason, 0) for reason in REASONS))
        for m in models
        for name, task in facts[m].get("tasks", {}).items()
        if "reasons" in task
    ]
    if reasons:
        tables.append(Table(columns=("model", "task", *REASONS), rows=reasons))
    yield Section(
        title=f"Scores · 評価: {artifact.step}",
        text="Every score stands beside what needs no model at all. "
        "点数の隣に、モデルなしで得られる値を置きます。",
        tables=tables,
        figures=figures,
    )


def _range(task: Mapping[str, Any]) -> str:
    low, high = task["interval"]
    return f"{low:.3f} to {high:.3f}"


def _known(task: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in task.get("floors", {}).items())
