"""Scores of the clean and of the dirty samples of a task, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yoriai import Artifact
from yoriai_eval.comparison.contestants import BITS, Answers
from yoriai_eval.scoring import statistics
from yoriai_eval.scoring.metrics import METRICS
from yoriai_eval.scoring.rows import models_of, rows_of

FEW = 10  # samples; of fewer, a score says next to nothing
PLACES = 4  # digits of a score, as in scores.json
Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Exposure:
    """Of a sample: its right answer, and whether it was found where a model may have seen it."""

    gold: str
    dirty: bool


def take(
    scores: Sequence[Artifact], standing: Mapping[str, Mapping[str, Exposure]], seed: int
) -> Facts:
    """By model and task, the score of each half, in the metric of the whole score.

    ``standing`` is by the task's entry and the sample's id. Samples of a score that were not looked
    for are in neither half, and counted. A model that two artifacts score is told apart by the
    artifact's name before it.
    """
    named = Counter(model for artifact in scores for model in models_of(artifact))
    told: Facts = {}
    for artifact in scores:
        for (model, task), exams in _answers(artifact, standing).items():
            whole = artifact.facts[model].get("tasks", {}).get(task.rpartition("/")[2])
            chosen = [a for a in exams if whole and a.has(whole["metric"])]
            if not chosen:
                continue
            name = model if named[model] == 1 else f"{artifact.name}:{model}"
            half = _halves(chosen[0], standing[task], whole["metric"], seed)
            told.setdefault(name, {})[task.rpartition("/")[2]] = half
    return told


def _answers(artifact: Artifact, tasks: Mapping[str, Any]) -> dict[tuple[str, str], list[Answers]]:
    """By model and task, the answers in each form, the form asked first before others."""
    found: dict[tuple[str, str], dict[str, Answers]] = {}
    for row in rows_of(artifact):
        if row["task"] in tasks and "form" in row:
            forms = found.setdefault((row["model"], row["task"]), {})
            forms.setdefault(row["form"], Answers(row["task"], row["form"])).add(row)
    return {key: list(forms.values()) for key, forms in found.items()}


def _halves(answers: Answers, standing: Mapping[str, Exposure], metric: str, seed: int) -> Facts:
    told: Facts = {"metric": metric}
    for name, dirty in (("clean", False), ("dirty", True)):
        places = [
            place
            for place, id_ in enumerate(answers.ids)
            if id_ in standing and standing[id_].dirty == dirty
        ]
        half: Facts = {"samples": len(places)}
        if places:
            golds = [standing[answers.ids[p]].gold for p in places]
            score, interval = _score(answers, places, golds, metric, seed)
            half["score"] = round(score, PLACES)
            half["interval"] = [round(bound, PLACES) for bound in interval]
        if len(places) < FEW:
            half["few"] = True
        told[name] = half
    unknown = sum(id_ not in standing for id_ in answers.ids)
    return {**told, "not_looked_for": unknown} if unknown else told


def _score(
    answers: Answers, places: Sequence[int], golds: Sequence[str], metric: str, seed: int
) -> tuple[float, tuple[float, float]]:
    """Score and 95 % interval of some of the answers."""
    clusters = [answers.clusters[p] for p in places]
    if metric in BITS:
        bits, sizes = ([column[p] for p in places] for column in (answers.bits, answers.bytes))
        interval = statistics.ratio_interval(bits, sizes, seed, clusters=clusters)
        return sum(bits) / max(1.0, sum(sizes)), interval
    known = METRICS.get(metric)
    if known is not None and known.corpus is not None:
        said = [answers.answers[p] for p in places]
        interval = statistics.paired_interval(known.corpus, said, golds, seed)
        return known.corpus(said, golds), interval
    values = [answers.scores[metric][p] for p in places]
    return sum(values) / len(values), statistics.mean_interval(values, clusters, seed)
