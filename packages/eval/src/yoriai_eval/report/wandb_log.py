"""Scores as a run of Weights & Biases that stays offline."""

from __future__ import annotations

from pathlib import Path

from yoriai import Artifact
from yoriai_eval.scoring.rows import models_of, rows_of

SCORE_COLUMNS = ("model", "task", "metric", "score", "low", "high", "samples", "floors")
SAMPLE_COLUMNS = ("model", "task", "form", "id", "output", "answer", "reason", "score")


def write(scores: Artifact, out: Path) -> list[Path]:
    """The scores and the samples as two tables of a run in ``out``, which stays offline.

    Send it with ``wandb sync`` if you want to. Needs the extra ``wandb``.
    """
    import importlib

    wb = importlib.import_module("wandb")
    out.mkdir(parents=True, exist_ok=True)
    # Nothing of the machine, the account or the command line goes into the folder.
    settings = {
        "console": "off",
        "disable_git": True,
        "save_code": False,
        "x_disable_meta": True,
        "x_disable_stats": True,
    }
    told = {key: scores.facts.get(key) for key in ("protocol", "split")}
    run = wb.init(
        mode="offline",
        dir=str(out),
        project="yoriai",
        name=scores.name,
        config={"scores": scores.name, "digest": scores.digest, **told},
        settings=settings,
    )
    table = wb.Table(columns=list(SCORE_COLUMNS))
    for model in models_of(scores):
        for task, t in scores.facts[model].get("tasks", {}).items():
            floors = ", ".join(f"{k} {v:.4f}" for k, v in t.get("floors", {}).items())
            table.add_data(
                model, task, t["metric"], t["score"], *t["interval"], t["samples"], floors
            )
    answers = wb.Table(columns=list(SAMPLE_COLUMNS))
    for row in rows_of(scores):
        value = row.get("score", row.get("bits", 0.0) / max(1, row.get("bytes", 1)))
        answers.add_data(
            row["model"], row["task"], row.get("form", "bits-per-byte"), row["id"],
            row.get("output", ""), row.get("answer", ""), row.get("reason", ""), value,
        )  # fmt: skip
    run.log({"scores": table, "samples": answers})
    run.finish()
    return [out]
