"""Models beside each other on the same samples: what is better, and what nobody can tell.

Two models are compared task by task over samples that both answered, by paired tests; every p is
corrected for all the tests made; and what is not separated is not ranked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from yoriai import NotFound
from yoriai_eval.comparison.averages import averages
from yoriai_eval.comparison.contestants import Contestant
from yoriai_eval.comparison.pair import Comparison, Golds, compare_pair
from yoriai_eval.scoring import statistics
from yoriai_eval.scoring.metrics import METRICS

ALPHA = 0.05
POWER = 0.8
CORRECTIONS = {"holm": statistics.holm, "bh": statistics.benjamini_hochberg}


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
            found.append(compare_pair(one, other, name, wanted, common, seed, golds))
    if not found:
        raise NotFound(
            "no two of the models have a task in common"
            + (f" called {task!r}" if task else "")
            + (f" with metric {metric!r}" if metric else ""),
            hint="see what there is: leave out --task and --metric",
        )
    if not task and not metric:
        found += averages(people, found, seed)
    _judge(found, correct)
    return found


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
        return statistics.in_squares(
            [(weight, _detectable(part, level)) for weight, part in made.members]
        )
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
