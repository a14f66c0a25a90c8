"""What a run's page shows of probes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from yoriai import Artifact, Figure, Section, Table

MOST_MEASURES = 200  # rows of a table; the rest is in the facts
VERDICTS = {
    True: "Its validation holds. 検証に通りました。",
    False: "Its validation does not hold: what it says here is worth nothing. "
    "検証に通らないので、この結果は信用できません。",
    None: "It could not be validated. 検証できませんでした。",
}


def describe(artifact: Artifact) -> Iterator[Section]:
    """A section for each probe and model, and one for what was not run."""
    if artifact.kind != "probes":
        return
    absent: list[tuple[str, ...]] = []
    for probe, subjects in artifact.facts["probes"].items():
        for subject, told in subjects.items():
            if told["state"] == "ran":
                yield _section(probe, subject, told)
            else:
                absent.append((probe, subject, told["state"], "; ".join(told["reasons"])))
    if absent:
        yield Section(
            title=f"Probes not run · 実行しなかったプローブ: {artifact.step}",
            text="These need what was not given, or failed. "
            "必要なものがないか、失敗したプローブです。",
            tables=[Table(columns=("probe", "model", "state", "why"), rows=absent)],
        )


def _section(probe: str, subject: str, told: Mapping[str, Any]) -> Section:
    validation, limits = told["validation"], told["limits"]
    measures = told["measures"]
    tables = [_table({name: measures[name] for name in told["order"]})]
    if validation["measures"]:
        tables.append(_table(validation["measures"]))
    parts = [
        f"{VERDICTS[validation['holds']]} {validation['how']}: {validation['says']}",
        f"What it cannot show · 限界: {limits.get('en', '')} {limits.get('ja', '')}",
        *(f"Note · 注: {note}." for note in told["notes"]),
        f"Source · 出典: {told['source']}" if told["source"] else "",
    ]
    return Section(
        title=f"{probe}: {subject}" if subject else probe,
        text="\n\n".join(filter(None, parts)),
        tables=tables,
        figures=[
            Figure(
                kind=f["kind"],
                title=f["title"],
                x_label=f["x_label"],
                y_label=f["y_label"],
                series={name: [(x, y) for x, y in points] for name, points in f["series"].items()},
            )
            for f in told["figures"]
        ],
    )


def _table(measures: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        (
            name,
            m["value"],
            f"{m['interval'][0]:.4g} to {m['interval'][1]:.4g}" if m["interval"] else "–",
            "–" if m["chance"] is None else f"{m['chance']:.4g}",
            m["items"],
            m["note"],
        )
        for name, m in islice(measures.items(), MOST_MEASURES)
    ]
    return Table(columns=("measure", "value", "95 %", "chance", "items", "note"), rows=rows)
