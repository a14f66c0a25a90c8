"""Averages of two models compared: of each category of a protocol, and of all categories.

A difference of averages is a weighted sum of the tasks' paired differences. Tasks are independent,
samples that share a cluster are not: intervals and detectable effects of the tasks add up in
squares, each by its weight, and the test flips the signs of whole clusters in all tasks at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from yoriai_eval.comparison.contestants import Contestant
from yoriai_eval.comparison.pair import Comparison
from yoriai_eval.scoring import protocol, statistics
from yoriai_eval.scoring.metrics import METRICS
from yoriai_eval.scoring.protocol import ProtocolFacts

WHOLE = "average"


def weights(known: ProtocolFacts | None) -> dict[str, dict[str, float]]:
    """The averages of a protocol, each with the weight of every task in it.

    ``average:NLI`` is a category; one of a single task is that task and is left out. ``average``
    is the mean of the categories. Empty for a protocol that has none, or is not known.
    """
    if known is None:
        return {}
    found = {
        f"{WHOLE}:{category}": dict.fromkeys(tasks, 1 / len(tasks))
        for category, tasks in known.categories.items()
        if len(tasks) > 1
    }
    whole: dict[str, float] = {}
    for category in known.average:
        tasks = known.categories[category]
        for task in tasks:
            whole[task] = whole.get(task, 0.0) + 1 / (len(known.average) * len(tasks))
    return {**found, WHOLE: whole} if len(known.average) > 1 else found


def averages(
    people: Sequence[Contestant], found: Sequence[Comparison], seed: int = 0
) -> Iterator[Comparison]:
    """Every pair of models on every average whose tasks both answered, from the comparisons of
    their tasks; not yet judged. ``p`` is None where some task was not compared.
    """
    for one, other in combinations(people, 2):
        names = [protocol.identity(p.scores.facts) for p in (one, other)]
        parts = {m.task: m for m in found if (m.first, m.second) == (one.name, other.name)}
        for average, shares in weights(protocol.outline(one.scores.facts)).items():
            if not all(one.metric(task) and other.metric(task) for task in shares):
                continue
            made = Comparison(average, f"mean of {len(shares)} tasks", one.name, other.name)
            made.members = [(share, parts[task]) for task, share in shares.items() if task in parts]
            if names[0] != names[1]:
                made.notes = [f"other protocol ({', '.join(names)})"]
            elif not (left := _left_out(shares, parts)):
                _compare(made, seed)
            else:
                made.notes = left
            yield made


def _left_out(shares: Mapping[str, float], parts: Mapping[str, Comparison]) -> list[str]:
    """Why an average cannot be compared."""
    missing = [t for t in shares if t not in parts or parts[t].p is None]
    if missing:
        return [f"{', '.join(missing)} not compared"]
    down = [t for t in shares if not _is_mean(parts[t])]
    return [f"the score of {', '.join(down)} is no mean of right answers"] if down else []


def _is_mean(part: Comparison) -> bool:
    known = METRICS.get(part.metric)
    return bool(part.differences) and (known is None or known.higher_is_better)


def _compare(made: Comparison, seed: int) -> None:
    members = made.members
    made.samples = sum(part.samples for _, part in members)
    made.clusters = sum(part.clusters for _, part in members)
    first, second = (sum(w * part.scores[i] for w, part in members) for i in (0, 1))
    made.scores = (first, second)
    made.difference = first - second
    made.error = statistics.in_squares([(w, part.error) for w, part in members])
    half = statistics.in_squares([(w, statistics.half_width(p.interval)) for w, p in members])
    made.interval = max(-1.0, made.difference - half), min(1.0, made.difference + half)
    values: list[float] = []
    clusters: list[str] = []
    for number, (weight, part) in enumerate(members):
        # 1 for tasks of one size and weight, so that right answers stay whole numbers.
        step = made.samples * weight / part.samples
        values += [step * difference for difference in part.differences]
        clusters += [name and f"{number} {name}" for name in part.names]
    clustered = any(clusters)
    made.test = "permutation" + (" of clusters" if clustered else "")
    made.p = statistics.permutation_test(values, clusters if clustered else (), seed)
