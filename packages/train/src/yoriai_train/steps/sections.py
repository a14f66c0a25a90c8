"""What a run's page shows of a trained model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yoriai import Artifact, Figure, Section, Table

POINTS = 400
Row = Mapping[str, Any]


def describe(artifact: Artifact) -> Iterator[Section]:
    """Loss, learning rate, gradient norm, scores and events of models this package trained."""
    if artifact.kind != "model" or "training.jsonl" not in artifact.manifest["files"]:
        return
    if artifact.manifest["step"] not in ("train/pretrain", "train/tune"):
        return
    rows = _rows(artifact, "training.jsonl")
    shown = rows[:: max(1, len(rows) // POINTS)]
    series = {"all": [(r["step"], r["loss"]) for r in shown]}
    for source in sorted({name for r in shown for name in r.get("losses", {})}):
        series[source] = [
            (r["step"], r["losses"][source]) for r in shown if source in r.get("losses", {})
        ]
    figures = [_line("Training loss, by source", "nats per token", series)]
    figures.append(_line("Learning rate", "rate", {"rate": _pairs(shown, "learning_rate")}))
    if any("grad_norm" in r for r in shown):
        norm = {"norm": _pairs([r for r in shown if "grad_norm" in r], "grad_norm")}
        figures.append(_line("Norm of the gradient before clipping", "norm", norm))
    figures += _scores(_rows(artifact, "evaluations.jsonl"))
    yield Section(
        title=f"Training · 学習: {artifact.step}",
        text="\n\n".join(artifact.facts["headline"][:2]),
        quote="\n\n".join(f"{a} ⇒{b}" for a, b in artifact.facts.get("continued", ())),
        figures=figures,
        tables=_events(_rows(artifact, "events.jsonl")),
    )


def _rows(artifact: Artifact, name: str) -> list[Row]:
    if name not in artifact.manifest["files"]:
        return []
    text = artifact.file(name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def _pairs(rows: Sequence[Row], key: str) -> list[tuple[int, float]]:
    return [(r["step"], r[key]) for r in rows]


def _line(title: str, unit: str, series: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    return Figure(kind="line", title=title, x_label="step", y_label=unit, series=series)


def _scores(rows: Sequence[Row]) -> Iterator[Figure]:
    """One figure a task: what was measured while training."""
    tasks = {name for row in rows for name in row["tasks"]}
    for task in sorted(tasks):
        series: dict[str, list[tuple[int, float]]] = {}
        for row in rows:
            score = row["tasks"].get(task)
            values = score if isinstance(score, Mapping) else {"score": score}
            for group, value in values.items():
                series.setdefault(group, []).append((row["step"], value))
        unit = "bits per byte" if set(series) != {"score"} else "score"
        yield _line(f"While training: {task}", unit, series)


def _events(rows: Sequence[Row]) -> list[Table]:
    if not rows:
        return []
    columns = ("event", "step", "loss", "median", "z", "action", "documents in the batch")
    return [
        Table(
            columns=columns,
            rows=[
                (
                    r["event"], r["step"], r.get("loss", ""), r.get("median", ""), r.get("z", ""),
                    r["action"], len(r.get("documents", ())),
                )
                for r in rows
            ],
        )
    ]  # fmt: skip
