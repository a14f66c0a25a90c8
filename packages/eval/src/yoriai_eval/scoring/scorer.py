"""Scores of an opened model without a run: what training asks on its way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Artifact, LanguageModel, Sample, Scorer, Task
from yoriai_eval.scoring import asking, protocol, totals
from yoriai_eval.scoring.chunks import CHUNK
from yoriai_eval.scoring.protocol import Exam


class ByProtocol(Scorer):
    """The scores that ``eval/run`` gives for the same model and samples under a protocol."""

    version: ClassVar[str] = "1"
    protocol: str = Field("yoriai", description="how to ask: as the key of eval/run")

    def score(
        self,
        model: LanguageModel,
        tasks: Sequence[Task],
        artifacts: Sequence[Artifact],
        *,
        limit: int | None = None,
    ) -> dict[str, float | dict[str, float]]:
        """By the short name of each task, the score of its first form and metric.

        Of a text that is read: bits per byte by group.
        """
        rules = protocol.load(self.protocol)
        told: dict[str, float | dict[str, float]] = {}
        for task in tasks:
            exam = protocol.exams(rules, task)[0]
            samples = list(map(exam.put, islice(task.samples(artifacts), limit)))
            told[exam.short] = _score(model, exam, samples)
        return told


def _score(model: LanguageModel, exam: Exam, samples: Sequence[Sample]) -> float | dict[str, float]:
    rows: list[dict[str, Any]] = []
    for start in range(0, len(samples), CHUNK):
        rows += asking.ask(model, exam, samples[start : start + CHUNK])
    if exam.form != "bits-per-byte":
        return totals.point(exam, rows, [s.gold for s in samples])
    sums: dict[str, list[float]] = {}
    for row in rows:
        bits = sums.setdefault(row["group"], [0.0, 0.0])
        bits[0] += row["bits"]
        bits[1] += row["bytes"]
    return {g: round(b / max(1.0, n), totals.PLACES) for g, (b, n) in sorted(sums.items())}
