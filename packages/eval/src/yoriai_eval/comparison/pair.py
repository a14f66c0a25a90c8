"""Two models on one task: the difference, its interval and a paired test."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yoriai import Artifact
from yoriai_eval.comparison.contestants import BITS, Contestant, obstacles
from yoriai_eval.scoring import statistics
from yoriai_eval.scoring.metrics import METRICS

PLACES = 4
Golds = Callable[[Artifact, str, str], Mapping[str, str]]  # (scores, task, form): gold by id


@dataclass(slots=True)
class Comparison:
    """Two models on one task. ``p`` is None where they were not compared, and ``notes`` say why.

    ``difference`` is first less second, with its 95 % interval (of this one comparison).
    ``detectable`` is the smallest true difference that the test, at the level it has to pass, sees
    in four of five cases. ``only_first`` and ``only_second`` are the samples that one model alone
    has right. ``differences`` are those of a score that is a mean, and ``names`` their clusters.
    ``otherwise``: the two were asked differently, and ``common`` would compare them all the same.
    ``members`` of a comparison of averages are its tasks, each with its weight.
    """

    task: str
    metric: str
    first: str
    second: str
    samples: int = 0
    clusters: int = 0
    scores: tuple[float, float] = (0.0, 0.0)
    difference: float = 0.0
    interval: tuple[float, float] = (0.0, 0.0)
    error: float = 0.0
    test: str = ""
    p: float | None = None
    corrected: float | None = None
    detectable: float = 0.0
    better: str = ""
    verdict: str = ""
    only_first: list[str] = field(default_factory=list)
    only_second: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    smallest: float = 0.0
    otherwise: bool = False
    differences: list[float] = field(default_factory=list, repr=False)
    names: list[str] = field(default_factory=list, repr=False)
    members: list[tuple[float, Comparison]] = field(default_factory=list, repr=False)

    def as_json(self) -> dict[str, Any]:
        """As a JSON object, numbers rounded."""
        told: dict[str, Any] = {
            "task": self.task,
            "metric": self.metric,
            "first": self.first,
            "second": self.second,
            "compared": self.p is not None,
        }
        if self.p is not None and self.corrected is not None:
            told |= {
                "samples": self.samples,
                "clusters": self.clusters,
                "scores": [round(v, PLACES) for v in self.scores],
                "difference": round(self.difference, PLACES),
                "interval": [round(v, PLACES) for v in self.interval],
                "test": self.test,
                "p": float(f"{self.p:.3g}"),
                "corrected_p": float(f"{self.corrected:.3g}"),
                "detectable": round(self.detectable, PLACES),
                "better": self.better,
                "only_first": self.only_first,
                "only_second": self.only_second,
            }
        if self.members:
            told["weights"] = {part.task: round(weight, PLACES) for weight, part in self.members}
        return {**told, "verdict": self.verdict, "notes": self.notes}


def compare_pair(
    one: Contestant,
    other: Contestant,
    task: str,
    metric: str,
    common: bool,
    seed: int,
    golds: Golds | None,
) -> Comparison:
    """Two models on one task by one metric; not yet judged (see ``compare`` for the words)."""
    made = Comparison(task, metric, one.name, other.name)
    first, second = one.answers(task, metric), other.answers(task, metric)
    if first is None or second is None:
        missing = one.name if first is None else other.name
        made.notes = [f"{missing} has no {metric} here"]
        return made
    found = obstacles(one, other, first, second)
    ids = [i for i in first.ids if i in second.places]
    made.notes = [*found.reasons, *found.notes]
    made.otherwise = bool(found.reasons and ids and not common)
    if made.otherwise or not ids:
        return made
    made.samples = len(ids)
    a, b = [first.places[i] for i in ids], [second.places[i] for i in ids]
    clusters = [first.clusters[i] for i in a]
    made.clusters = len(set(statistics.cluster_places(clusters).tolist()))
    known = METRICS.get(metric)
    if first.reasons:
        for place, other_place, name in zip(a, b, ids, strict=True):
            right = first.reasons[place] == "correct", second.reasons[other_place] == "correct"
            if right == (True, False):
                made.only_first.append(name)
            elif right == (False, True):
                made.only_second.append(name)
    if known is not None and known.corpus is not None:
        gold_of = golds(one.scores, first.task, first.form) if golds else {}
        if not all(name in gold_of for name in ids):
            made.notes.append(f"{metric} needs the right answers, which are not here")
            return made
        said = [first.answers[i] for i in a], [second.answers[i] for i in b]
        right_ones = [gold_of[name] for name in ids]
        made.scores = known.corpus(said[0], right_ones), known.corpus(said[1], right_ones)
        made.interval, made.p, made.error = statistics.compare_wholes(
            known.corpus, said[0], said[1], right_ones, seed
        )
        made.test = "permutation of whole answers"
    elif metric in BITS:
        sizes = [first.bytes[i] for i in a]
        values = [first.bits[i] for i in a], [second.bits[i] for i in b]
        made.scores = sum(values[0]) / max(1.0, sum(sizes)), sum(values[1]) / max(1.0, sum(sizes))
        _test(made, values, clusters, sizes, seed)
    else:
        values = (
            [first.scores[metric][i] for i in a],
            [second.scores[metric][i] for i in b],
        )
        made.scores = sum(values[0]) / len(ids), sum(values[1]) / len(ids)
        made.differences = [x - y for x, y in zip(*values, strict=True)]
        made.names = clusters
        _test(made, values, clusters, (), seed)
    made.difference = made.scores[0] - made.scores[1]
    return made


def _test(
    made: Comparison,
    values: tuple[list[float], list[float]],
    clusters: Sequence[str],
    sizes: Sequence[float],
    seed: int,
) -> None:
    """McNemar's exact test for independent right and wrong answers, else sign flips of clusters."""
    differences = [x - y for x, y in zip(*values, strict=True)]
    binary = not sizes and {*values[0], *values[1]} <= {0.0, 1.0}
    made.interval = statistics.difference_interval(differences, clusters, sizes)
    made.error = statistics.standard_error(differences, clusters, sizes)
    if binary and not any(clusters):
        made.test, made.p = "McNemar", statistics.mcnemar(*values)
    else:
        made.test = "permutation" + (" of clusters" if any(clusters) else "")
        made.p = statistics.permutation_test(differences, clusters, seed)
    if not sizes and (binary or made.error == 0):
        made.smallest = 1 / len(differences)
