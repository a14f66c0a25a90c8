"""A transparency report: what probes and tasks measured of models, and what was not measured.

Made of sealed artifacts alone: ``probes`` (what methods found, or why they were not run) and
``scores``. ``transparency.json`` holds the facts, ``index.html`` shows them in both languages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yoriai import Artifact, NotFound, Section, Table, files, page
from yoriai.redaction import Redactor
from yoriai.registry import Registry

FACTS = "transparency.json"
PAGE = "index.html"
TITLE = "透明性の報告 · Transparency report"
MOST_ROWS = 8  # measures of one probe in the summary; its own section has the rest
STATES = {
    "not run": "not run · 実行せず",
    "raised": "raised · 失敗",
    "not asked": "not asked · 対象外",
}
VERDICTS = {True: "held · 通過", False: "failed · 不通過", None: "not tried · 未検証"}
BESIDE = {
    "above": "above · 上回る",
    "below": "below · 下回る",
    "not told apart": "not told apart · 差は言えない",
    "": "–",
}
Facts = dict[str, Any]


def facts(
    looked: Sequence[Artifact], scores: Sequence[Artifact], not_asked: Mapping[str, str]
) -> Facts:
    """What ``transparency.json`` holds. ``not_asked``: probes that nobody asked for, and why."""
    if not looked:
        raise NotFound("no probes are given", hint="yoriai eval transparency MODEL")
    models = sorted({name for artifact in looked for name in _subjects(artifact)})
    return {
        "kind": "yoriai-transparency",
        "schema": 1,
        "artifacts": [
            {"name": a.name, "kind": a.kind, "digest": a.digest} for a in (*looked, *scores)
        ],
        "models": models,
        "measured": [row for artifact in looked for row in _measured(artifact)],
        "scores": [row for artifact in scores for row in _scored(artifact, models)],
        "not_measured": [
            *(row for artifact in looked for row in _absent(artifact)),
            *(
                {"probe": name, "model": "", "state": "not asked", "why": [why]}
                for name, why in not_asked.items()
            ),
        ],
    }


def _told(artifact: Artifact) -> Iterator[tuple[str, str, Facts]]:
    for probe, subjects in artifact.facts["probes"].items():
        for subject, told in subjects.items():
            yield probe, subject, told


def _subjects(artifact: Artifact) -> set[str]:
    return {subject for _, subject, _ in _told(artifact) if subject}


def _measured(artifact: Artifact) -> Iterator[Facts]:
    for probe, subject, told in _told(artifact):
        if told["state"] != "ran":
            continue
        yield {
            "probe": probe,
            "model": subject,
            "digest": told.get("model", ""),
            "measures": [
                {
                    "name": name,
                    "value": row["value"],
                    "interval": row["interval"],
                    "floor": row["chance"],
                    "beside_floor": beside_floor(row["interval"], row["chance"]),
                    "items": row["items"],
                    "note": row["note"],
                }
                for name, row in ((name, told["measures"][name]) for name in told["order"])
            ],
            "validation": {
                "holds": told["validation"]["holds"],
                "how": told["validation"]["how"],
                "says": told["validation"]["says"],
            },
            "notes": told["notes"],
            "limits": told["limits"],
            "source": told["source"],
        }


def _absent(artifact: Artifact) -> Iterator[Facts]:
    for probe, subject, told in _told(artifact):
        if told["state"] != "ran":
            row = {"probe": probe, "model": subject, "state": told["state"]}
            yield {**row, "why": told["reasons"]}


def _scored(artifact: Artifact, models: Sequence[str]) -> Iterator[Facts]:
    """The scores of those models, each beside the highest of its floors."""
    for name, told in artifact.facts.get("models", {}).items():
        for task, row in told.get("tasks", {}).items() if name in models else ():
            floor = max(row.get("floors", {}).values(), default=None)
            interval = row.get("interval")
            yield {
                "model": name,
                "task": task,
                "metric": row.get("metric", ""),
                "value": row["score"],
                "interval": interval,
                "floor": floor,
                "beside_floor": beside_floor(interval, floor),
                "items": row.get("samples", 0),
            }


def beside_floor(interval: Sequence[float] | None, floor: float | None) -> str:
    """Where a whole interval lies: ``above`` or ``below`` the floor, or ``not told apart``.

    Empty where one of them is not known.
    """
    if interval is None or floor is None:
        return ""
    if interval[0] > floor:
        return "above"
    return "below" if interval[1] < floor else "not told apart"


# --- the page -----------------------------------------------------------------------------


def write(
    out: Path,
    looked: Sequence[Artifact],
    scores: Sequence[Artifact],
    registry: Registry,
    not_asked: Mapping[str, str],
) -> Facts:
    """Write ``transparency.json`` and ``index.html``; what the former holds."""
    redactor = Redactor()
    told: Facts = redactor.value(facts(looked, scores, not_asked))
    shown = {artifact.name: artifact for artifact in looked}
    sections = [*summary(told), *page.collect_sections(registry, shown, redactor)]
    out.mkdir(parents=True, exist_ok=True)
    files.write_atomically(out / FACTS, files.ordered_json(told))
    files.write_atomically(out / PAGE, page.render(TITLE, sections).encode())
    return told


def summary(told: Mapping[str, Any]) -> Iterator[Section]:
    """What was measured, what was not and why, and what each method cannot show."""
    measured, absent = told["measured"], told["not_measured"]
    failed = sorted({r["probe"] for r in measured if r["validation"]["holds"] is False})
    models = ", ".join(told["models"]) or "–"
    yield Section(
        title="In short · 概要",
        text=f"Models: {models}. {len(measured)} probes measured something, {len(absent)} did not. "
        + (f"The validation of {', '.join(failed)} does not hold: what it says here is worth "
           "nothing. " if failed else "No validation failed. ")
        + "Every number stands beside its 95 % interval and the floor that guessing would reach, "
        "where there is one.\n\n"
        f"モデル: {models}。測れたプローブは {len(measured)} 件、測らなかったものは "
        f"{len(absent)} 件です。"
        + (f"{'、'.join(failed)} は検証に通らず、その結果は信用できません。" if failed
           else "検証に通らなかったものはありません。")
        + "どの数値にも、分かるかぎり 95 % 区間と、当て推量で届く下限を添えます。",
    )  # fmt: skip
    if rows := [row for probe in measured for row in _rows(probe)]:
        yield Section(
            title="Measured · 測ったもの",
            tables=[Table(columns=("probe", "model", "measure", "value", "95 %", "floor",
                                   "beside the floor", "validation"), rows=rows)],
        )  # fmt: skip
    if told["scores"]:
        yield Section(
            title="Scores · 課題の得点",
            text="From the scores at hand. 手元にある採点結果です。",
            tables=[Table(columns=("model", "task", "metric", "score", "95 %", "floor",
                                   "beside the floor", "samples"),
                          rows=[_score(row) for row in told["scores"]])],
        )  # fmt: skip
    if absent:
        yield Section(
            title="Not measured, and why · 測らなかったものと理由",
            tables=[
                Table(
                    columns=("probe", "model", "state", "why"),
                    rows=[
                        (r["probe"], r["model"], STATES[r["state"]], "; ".join(r["why"]))
                        for r in absent
                    ],
                )
            ],
        )
    limits = {row["probe"]: row["limits"] for row in measured}
    if limits:
        yield Section(
            title="What the methods cannot show · 手法の限界",
            tables=[
                Table(
                    columns=("probe", "English", "日本語"),
                    rows=[(p, t.get("en", ""), t.get("ja", "")) for p, t in limits.items()],
                )
            ],
        )


def _rows(probe: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for m in probe["measures"][:MOST_ROWS]:
        yield (
            probe["probe"],
            probe["model"],
            m["name"],
            m["value"],
            span(m["interval"]) or m["note"],
            _floor(m["floor"]),
            BESIDE[m["beside_floor"]],
            VERDICTS[probe["validation"]["holds"]],
        )
    if (more := len(probe["measures"]) - MOST_ROWS) > 0:
        told = f"{more} more below · 他 {more} 件は下に"
        yield probe["probe"], probe["model"], told, "", "", "", "", ""


def _score(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["model"], row["task"], row["metric"], row["value"], span(row["interval"]) or "–",
            _floor(row["floor"]), BESIDE[row["beside_floor"]], row["items"])  # fmt: skip


def span(interval: Sequence[float] | None) -> str:
    return f"{interval[0]:.4g} to {interval[1]:.4g}" if interval else ""


def _floor(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
