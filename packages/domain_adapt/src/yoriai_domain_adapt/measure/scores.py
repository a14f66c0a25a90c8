"""What a change of a model gained and lost: the same questions asked before and after.

Models are asked through the registry (a backend, and tasks), exactly as ``eval/run`` asks them,
so the numbers are comparable with any scores artifact. Differences are paired by sample and their
95 % interval is a bootstrap over clusters of samples (Efron and Tibshirani 1993), 2,000 draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoriai import Artifact, LanguageModel, Sample, Task

DRAWS = 2000
# Of fewer clusters nothing is sure at 5 %: all five differ to one side by chance in 2 / 2^5 = 6 %
# (sign test), and a bootstrap over two of them gives an interval as narrow as they are alike.
FEWEST = 6


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """One answer: ``value`` is bits (then ``weight`` is bytes) or a score (``weight`` is 1)."""

    task: str
    group: str
    cluster: str
    value: float
    weight: float
    lower_is_better: bool
    sample: str = ""  # its id


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """After minus before in one group. ``gained``: better by more than chance, None: neither.

    ``clusters`` are what counts as independent; of fewer than :data:`FEWEST` nothing is said.
    """

    task: str
    group: str
    before: float
    after: float
    low: float
    high: float
    samples: int
    gained: bool | None
    clusters: int = FEWEST

    def plain(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "group": self.group,
            "before": round(self.before, 4),
            "after": round(self.after, 4),
            "interval_of_difference": [round(self.low, 4), round(self.high, 4)],
            "samples": self.samples,
            "verdict": self.verdict,
        }

    @property
    def verdict(self) -> str:
        """In a word: ``gained``, ``lost``, ``no difference``, or ``too few samples``."""
        if self.clusters < FEWEST:
            return "too few samples"
        return {True: "gained", False: "lost", None: "no difference"}[self.gained]


def ask(
    model: LanguageModel, task: Task, name: str, artifacts: Sequence[Artifact], limit: int | None
) -> list[ScoredAnswer]:
    """Every sample of a task put to a model, or the first ``limit`` of each of its groups.

    Generation tasks ask with the model's own prompt.
    """
    samples = first_of_groups(task.samples(artifacts), limit)
    if task.form == "bits-per-byte":
        values = model.rolling_loglikelihood([sample.text for sample in samples])
        bits = [-value / math.log(2) for value in values]
        sizes = [float(len(sample.text.encode())) for sample in samples]
        return [_row(name, s, b, n, True) for s, b, n in zip(samples, bits, sizes, strict=True)]
    if task.form == "ranked":
        pairs = [(sample.text, choice) for sample in samples for choice in sample.choices]
        found = iter(model.loglikelihood(pairs))
        scores = []
        for sample in samples:
            likely = [next(found) for _ in sample.choices]
            scores.append(float(likely.index(max(likely)) == sample.answer))
    else:
        prompts = [model.render(sample.instruction, sample.text) for sample in samples]
        said = model.generate(prompts, max_new_tokens=32)
        scores = [task.score(s, answer.text) for s, answer in zip(samples, said, strict=True)]
    return [_row(name, s, v, 1.0, False) for s, v in zip(samples, scores, strict=True)]


def first_of_groups(samples: Iterable[Sample], limit: int | None) -> list[Sample]:
    """The first ``limit`` samples of each group, in their order; all where it is None."""
    seen: dict[str, int] = {}
    kept = []
    for sample in samples:
        seen[sample.group] = seen.get(sample.group, 0) + 1
        if limit is None or seen[sample.group] <= limit:
            kept.append(sample)
    return kept


def _row(task: str, sample: Sample, value: float, weight: float, lower: bool) -> ScoredAnswer:
    return ScoredAnswer(task, sample.group, sample.cluster or sample.id, value, weight, lower)


def read_rows(scores: Artifact) -> dict[str, list[ScoredAnswer]]:
    """The rows of a scores artifact (``samples.jsonl`` of ``eval/run``), by model."""
    import json

    found: dict[str, list[ScoredAnswer]] = {}
    with scores.file("samples.jsonl").open(encoding="utf-8") as stream:
        for line in stream:
            told = json.loads(line)
            lower = "bits" in told
            if not lower and not told.get("scores"):
                continue
            value = told["bits"] if lower else next(iter(told["scores"].values()))
            row = ScoredAnswer(
                told["task"].rpartition("/")[2],
                told.get("group", ""),
                told.get("cluster") or told["id"],
                float(value),
                float(told["bytes"]) if lower else 1.0,
                lower,
                told["id"],
            )
            found.setdefault(told["model"], []).append(row)
    return found


def compare(
    before: Sequence[ScoredAnswer], after: Sequence[ScoredAnswer], seed: int = 0
) -> list[GroupDifference]:
    """The difference in each group of each task, in their order. Rows are in the same order.

    Groups of bits per byte are told one by one (a group is a corpus and a language); of a task
    its mean over all groups.
    """
    places: dict[tuple[str, str], list[tuple[ScoredAnswer, ScoredAnswer]]] = {}
    for one, two in zip(before, after, strict=True):
        if (one.task, one.group, one.cluster) != (two.task, two.group, two.cluster):
            raise ValueError(f"not the same samples: {one} and {two}")
        group = one.group if one.lower_is_better else ""
        places.setdefault((one.task, group), []).append((one, two))
    return [_difference(*key, pairs, seed) for key, pairs in places.items()]


def _difference(
    task: str, group: str, pairs: Sequence[tuple[ScoredAnswer, ScoredAnswer]], seed: int
) -> GroupDifference:
    import numpy as np

    clusters: dict[str, int] = {}
    for one, _ in pairs:
        clusters.setdefault(one.cluster, len(clusters))
    sums = np.zeros((3, len(clusters)))
    for one, two in pairs:
        sums[:, clusters[one.cluster]] += (one.value, two.value, one.weight)
    before, after = sums[0].sum() / sums[2].sum(), sums[1].sum() / sums[2].sum()
    drawn = np.random.default_rng(seed).integers(len(clusters), size=(DRAWS, len(clusters)))
    each = (sums[1] - sums[0])[drawn].sum(1) / sums[2][drawn].sum(1)
    low, high = np.quantile(each, (0.025, 0.975))
    lower = pairs[0][0].lower_is_better
    sure = (low > 0 or high < 0) and len(clusters) >= FEWEST
    gained = bool((high < 0) == lower) if sure else None
    return GroupDifference(
        task, group, float(before), float(after), float(low), float(high), len(pairs), gained,
        len(clusters),
    )  # fmt: skip


def total(rows: Iterable[ScoredAnswer], task: str, groups: Iterable[str] | None = None) -> float:
    """One number over some groups of a task: the mean, weighted by bytes where those count."""
    chosen = set(groups) if groups is not None else None
    picked = [r for r in rows if r.task == task and (chosen is None or r.group in chosen)]
    weight = sum(row.weight for row in picked)
    return sum(row.value for row in picked) / weight if weight else math.nan


def folder_bytes(folder: Path) -> int:
    """Bytes of a model's weights, in whatever format."""
    return sum(p.stat().st_size for p in folder.glob("*") if p.suffix in (".safetensors", ".gguf"))


def pareto(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The names whose point no other beats: smaller is better in both numbers."""
    front = []
    for name, (x, y) in points.items():
        if not any(
            a <= x and b <= y and (a < x or b < y) for o, (a, b) in points.items() if o != name
        ):
            front.append(name)
    return sorted(front, key=lambda name: points[name])


def by_source(
    before: Sequence[Any], after: Sequence[Any], task: str, sources: Mapping[str, str], seed: int
) -> list[GroupDifference]:
    """The difference on the text of each source: ``sources`` maps ids of samples to their names."""
    places: dict[str, list[tuple[Any, Any]]] = {}
    for one, two in zip(before, after, strict=True):
        if one.task == task and (source := sources.get(one.sample)):
            places.setdefault(source, []).append((one, two))
    return [_difference(task, name, pairs, seed) for name, pairs in sorted(places.items())]
