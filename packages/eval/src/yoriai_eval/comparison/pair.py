"""Models beside each other on the same samples: what is better, and what nobody can tell.

Two models are compared task by task over samples that both answered, by paired tests; every p is
corrected for all the tests made; and what is not separated is not ranked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from yoriai import Artifact, NotFound
from yoriai_eval.comparison.contestants import BITS, Contestant, obstacles
from yoriai_eval.scoring import statistics
from yoriai_eval.scoring.metrics import METRICS

ALPHA = 0.05
POWER = 0.8
PLACES = 4
CORRECTIONS = {"holm": statistics.holm, "bh": statistics.benjamini_hochberg}
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


def compare(
    people: Sequence[Contestant],
    *,
    task: str = "",
    metric: str = "",
    common: bool = False,
    correct: Literal["holm", "bh"] = "holm",
    seed: int = 0,
    golds: Golds | None = None,
) -> list[Comparison]:
    """Every pair of models on every task, or on one, by the task's metric or another; and, if
    neither is chosen, on the averages of their protocol.

    With ``common``, models that were asked differently are compared all the same, on the samples
    both answered, and the notes say what differs. ``golds`` is asked only for metrics of whole
    tasks (correlations). Raises :class:`yoriai.NotFound` if no two models share a task.
    """
    tasks = list(dict.fromkeys(t for p in people for t, _ in p.exams))
    if task:
        short = task.rpartition("/")[2]
        tasks = [t for t in tasks if short in (t, t.partition(" ")[0])]
    found = []
    for name in tasks:
        there = [p for p in people if any(t == name for t, _ in p.exams)]
        wanted = metric or next((m for p in there if (m := p.metric(name))), "")
        if not any(p.answers(name, wanted) for p in there):
            continue
        for one, other in combinations(there, 2):
            found.append(_compare(one, other, name, wanted, common, seed, golds))
    if not found:
        raise NotFound(
            "no two of the models have a task in common"
            + (f" called {task!r}" if task else "")
            + (f" with metric {metric!r}" if metric else ""),
            hint="see what there is: leave out --task and --metric",
        )
    if not task and not metric:
        from yoriai_eval.comparison.averages import averages

        found += averages(people, found, seed)
    _judge(found, correct)
    return found


def _compare(
    one: Contestant,
    other: Contestant,
    task: str,
    metric: str,
    common: bool,
    seed: int,
    golds: Golds | None,
) -> Comparison:
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


def _judge(found: Sequence[Comparison], correct: Literal["holm", "bh"]) -> None:
    """Correct every p for all the tests made, and say what each comes to."""
    tested = [c for c in found if c.p is not None]
    corrected = CORRECTIONS[correct]([c.p for c in tested if c.p is not None])
    level = ALPHA / len(tested) if correct == "holm" and tested else ALPHA
    for made, p in zip(tested, corrected, strict=True):
        made.corrected = p
        made.detectable = _detectable(made, level)
        known = METRICS.get(made.metric)
        up = known is None or known.higher_is_better
        if p < ALPHA and made.difference:
            made.better = made.first if (made.difference > 0) == up else made.second
            made.verdict = f"{made.better} is better"
        else:
            made.verdict = (
                f"not separated (a difference under {made.detectable:.3f} cannot be seen "
                f"with {made.samples} samples)"
            )
    for made in found:
        if made.p is None:
            made.verdict = "not compared: " + ("; ".join(made.notes) or "no sample in common")


def _detectable(made: Comparison, level: float) -> float:
    """The smallest true difference that a test at this level sees in four of five cases."""
    if made.members:
        from yoriai_eval.comparison.averages import in_squares

        return in_squares([(weight, _detectable(part, level)) for weight, part in made.members])
    return max(
        statistics.minimum_detectable_effect(made.error, level, POWER),
        # No test is passed by fewer samples than these, all of them for one model.
        made.smallest * math.ceil(math.log2(2 / level)),
    )


# --- order --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a model stands in a task: any rank from ``best`` to ``worst`` may be its own.

    Models that share a letter are not separated.
    """

    name: str
    score: float
    best: int
    worst: int
    letters: str


def standings(found: Iterable[Comparison]) -> dict[str, list[Standing]]:
    """By task, the models with their rank intervals and letters; best score first.

    Tasks in which some pair was not compared, or over other samples than the rest, are left out.
    """
    by_task: dict[str, list[Comparison]] = {}
    for made in found:
        by_task.setdefault(made.task, []).append(made)
    order = {}
    for task, some in by_task.items():
        scores: dict[str, set[float]] = {}
        for made in some:
            for name, score in zip((made.first, made.second), made.scores, strict=True):
                scores.setdefault(name, set()).add(score)
        whole = all(made.p is not None for made in some)
        if not whole or any(len(values) > 1 for values in scores.values()):
            continue
        known = METRICS.get(some[0].metric)
        down = known is None or known.higher_is_better
        names = sorted(scores, key=lambda name: min(scores[name]), reverse=down)
        better = {name: sum(made.better == name for made in some) for name in names}
        worse = dict.fromkeys(names, 0)
        for made in some:
            if made.better:
                worse[made.second if made.better == made.first else made.first] += 1
        apart = {frozenset((made.first, made.second)) for made in some if made.better}
        marks = letters(names, apart)
        order[task] = [
            Standing(
                name, min(scores[name]), 1 + worse[name], len(names) - better[name], marks[name]
            )
            for name in names
        ]
    return order


def letters(names: Sequence[str], apart: set[frozenset[str]]) -> dict[str, str]:
    """Letters by which two names share one exactly if they are not apart.

    The compact letter display by insertion and absorption (Piepho 2004, J. Comput. Graph. Stat.
    13(2), 456). The first names get the first letters.
    """
    groups: list[frozenset[str]] = [frozenset(names)]
    for pair in sorted(apart, key=lambda p: sorted(map(names.index, p))):
        split: list[frozenset[str]] = []
        for group in groups:
            split += [group - {name} for name in sorted(pair)] if pair <= group else [group]
        unique = list(dict.fromkeys(split))
        groups = [g for g in unique if not any(g < other for other in unique)]
    groups.sort(key=lambda group: sorted(map(names.index, group)))
    return {
        name: "".join(_letter(i) for i, group in enumerate(groups) if name in group)
        for name in names
    }


def _letter(number: int) -> str:
    return chr(ord("a") + number % 26) + (str(number // 26) if number >= 26 else "")
