"""What a run's page shows of adapted models."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from yoriai import Artifact, Figure, Section, Table

OURS = "domain-adapt/"


def describe(artifact: Artifact) -> Iterator[Section]:
    """Gained and lost, gates and sizes of a step; front and curve of a comparison."""
    entry = str(artifact.manifest["step"])
    if not entry.startswith(OURS):
        return
    if entry == f"{OURS}compare":
        yield from _comparison(artifact)
    elif artifact.kind == "model":
        yield _adapted(artifact)
    elif artifact.kind == "tokenizer":
        yield _pieces(artifact)


def _pieces(artifact: Artifact) -> Section:
    """Bytes a token of held-out text before and after, by corpus."""
    rates = {
        when: [
            (name, row[when]["bytes_per_token"])
            for name, row in artifact.facts["fertility"].items()
        ]
        for when in ("before", "after")
    }
    return Section(
        title=f"Pieces · ピース: {artifact.step}",
        text="\n\n".join(artifact.facts["headline"]),
        figures=[
            Figure(
                kind="bar",
                title="Bytes per token on held-out text (higher is shorter)",
                x_label="",
                y_label="bytes per token",
                series=rates,
            )
        ],
    )


def _adapted(artifact: Artifact) -> Section:
    facts = artifact.facts
    tables, figures = [], []
    if rows := facts.get("gained_and_lost"):
        tables.append(_differences(rows))
        figures.append(_both_ways(rows))
    if gate := facts.get("gate"):
        tables.append(
            Table(
                columns=("gate", "drift", "tolerance"),
                rows=[
                    (
                        name,
                        row["found"],
                        "not judged" if row["tolerance"] is None else row["tolerance"],
                    )
                    for name, row in gate.items()
                ],
            )
        )
    if "bytes_before" in facts:
        size = [(when, facts[f"bytes_{when}"] / 1e6) for when in ("before", "after")]
        figures.append(
            Figure(
                kind="bar",
                title="Size of the weights",
                x_label="",
                y_label="MB",
                series={"weights": size},
            )
        )
    return Section(
        title=f"Adapted · 適応: {artifact.step}",
        text="\n\n".join([*facts["headline"], facts.get("not_measured", "")]),
        tables=tables,
        figures=figures,
    )


def _differences(rows: list[dict[str, Any]], of: str = "") -> Table:
    return Table(
        columns=(
            f"{of}task",
            "group or source",
            "before",
            "after",
            "95 % of the difference",
            "verdict",
        ),
        rows=[
            (
                row["task"],
                row["group"],
                row["before"],
                row["after"],
                " to ".join(f"{value:+.4f}" for value in row["interval_of_difference"]),
                row["verdict"],
            )
            for row in rows
        ],
    )


def _both_ways(rows: list[dict[str, Any]]) -> Figure:
    bars = [(row["group"] or row["task"], row["after"] - row["before"]) for row in rows]
    return Figure(
        kind="bar",
        title="After less before (bits per byte: below zero is gained)",
        x_label="",
        y_label="difference",
        series={"difference": bars},
    )


def _comparison(artifact: Artifact) -> Iterator[Section]:
    facts = artifact.facts
    rows = facts["models"]
    front = set(facts.get("front_both_ways", facts["front_size"]))
    table = Table(
        columns=("model", "domain", "general", "MB", "on the front"),
        rows=[
            (
                name,
                row["domain"],
                row["general"] if row["general"] is not None else "–",
                row["bytes"] / 1e6,
                "yes" if name in front else "",
            )
            for name, row in rows.items()
        ],
    )
    figures = []
    if facts["general"]:
        figures.append(
            Figure(
                kind="line",
                title="Domain and general text: lower left is better",
                x_label="bits per byte, domain",
                y_label="bits per byte, general",
                series={
                    "front": sorted((rows[n]["domain"], rows[n]["general"]) for n in front),
                    **{name: [(r["domain"], r["general"])] for name, r in rows.items()},
                },
            )
        )
    sized = sorted((rows[n]["bytes"] / 1e6, rows[n]["domain"]) for n in facts["front_size"])
    figures.append(
        Figure(
            kind="line",
            title="Size and domain: lower left is better",
            x_label="MB of weights",
            y_label="bits per byte, domain",
            series={
                "front": sized,
                **{name: [(r["bytes"] / 1e6, r["domain"])] for name, r in rows.items()},
            },
        )
    )
    yield Section(
        title=f"Gained and lost · 得たものと失ったもの: {artifact.step}",
        text="\n\n".join(facts["headline"]),
        tables=[
            table,
            *[
                _differences(row[key], f"{name}: ")
                for name, row in rows.items()
                for key in ("differences", "by_source")
                if row.get(key)
            ],
        ],
        figures=figures,
    )
    if replay := facts.get("replay"):
        points = replay["points"]
        yield Section(
            title="Replay and forgetting · 再生と忘却",
            text=f"Share of general text in training: measured best {replay['measured_best']:.0%},"
            f" by the fitted curve {replay.get('fitted_best', '–')},"
            f" predicted {'–' if replay['predicted_best'] is None else replay['predicted_best']}.",
            figures=[
                Figure(
                    kind="line",
                    title="Bits per byte by share of replayed general text",
                    x_label="share of general text",
                    y_label="bits per byte",
                    series={
                        side: [(p["share"], p[side]) for p in points]
                        for side in ("domain", "general")
                    },
                )
            ],
        )
