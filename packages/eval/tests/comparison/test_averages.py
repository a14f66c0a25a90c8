"""Averages of two models whose difference is known."""

import itertools
import json
import math
import random

import pytest

from yoriai_eval.comparison import averages, pair
from yoriai_eval.comparison import compare as comparison
from yoriai_eval.comparison.contestants import Contestant
from yoriai_eval.comparison.pair import Comparison
from yoriai_eval.scoring import protocol, statistics


def part(task, first, second, names=()):
    """A task on which both models answered, compared as :mod:`yoriai_eval.comparison.pair` does."""
    made = Comparison(task, "accuracy", "a", "b")
    made.samples = made.clusters = len(first)
    made.names = list(names) or [""] * len(first)
    made.scores = sum(first) / len(first), sum(second) / len(second)
    made.differences = [x - y for x, y in zip(first, second, strict=True)]
    pair._test(made, (first, second), made.names, (), 0)
    made.difference = made.scores[0] - made.scores[1]
    return made


class Facts:
    def __init__(self, tasks, name):
        told = {"tasks": {t: {"metric": "accuracy"} for t in tasks}}
        self.facts = {"protocol": name, "a": told, "b": told}


def judged(parts, name="yoriai", other=None):
    """All comparisons of models a and b: of the tasks and of their averages."""
    tasks = [p.task for p in parts]
    people = [
        Contestant("a", Facts(tasks, name), "a"),
        Contestant("b", Facts(tasks, other or name), "b"),
    ]
    found = [*parts, *averages.averages(people, parts)]
    comparison._judge(found, "holm")
    return {made.task: made for made in found}


def answers(count, share, draw):
    return [float(draw.random() < share) for _ in range(count)]


NLI = ["jamp", "janli", "jnli", "jsem", "jsick"]
NINE = [*NLI, "jemhopqa", "niilc", "jsquad", "jcommonsenseqa"]


@pytest.mark.parametrize("name", ["oct2023", "v1.3", "yoriai"])
def test_weights_are_those_by_which_a_protocol_averages(name):
    found = averages.weights(protocol.outline({"protocol": name}))
    assert set(found) == {"average:NLI", "average:QA", "average"}
    assert all(sum(shares.values()) == pytest.approx(1) for shares in found.values())
    known = protocol.load(name)
    scores = {t: 1 / (3 + i) for i, t in enumerate(NINE)}
    means = [sum(scores[t] for t in c) / len(c) for c in known.categories.values()]
    total = sum(w * scores[t] for t, w in found["average"].items())
    assert total == pytest.approx(sum(means) / 4)
    assert protocol.outline({"protocol": "a protocol of somebody else"}) is None
    assert averages.weights(None) == {}


def test_a_difference_that_no_task_shows_is_seen_in_the_average():
    # 9 wins to 3 losses a task: p = 0.146 alone.
    both = [1.0] * 60 + [0.0] * 28
    parts = [part(t, [1.0] * 9 + [0.0] * 3 + both, [0.0] * 9 + [1.0] * 3 + both) for t in NINE]
    made = judged(parts)
    assert not any(made[t].better for t in NINE)
    whole = made["average"]
    assert whole.better == "a"
    assert whole.verdict == "a is better"
    assert whole.difference == pytest.approx(0.06)
    low, high = whole.interval
    assert 0 < low < 0.06 < high
    assert whole.detectable < made["jnli"].detectable
    # Corrected for nine tasks and three averages.
    assert whole.corrected == pytest.approx(12 * whole.p)


def test_tasks_of_one_size_and_weight_are_tested_as_one_task_with_all_samples():
    draw = random.Random(3)
    pairs = [(answers(40, 0.7, draw), answers(40, 0.5, draw)) for _ in NLI]
    made = judged([part(t, *pair) for t, pair in zip(NLI, pairs, strict=True)])
    together = [x - y for first, second in pairs for x, y in zip(first, second, strict=True)]
    assert made["average:NLI"].p == pytest.approx(statistics.permutation_test(together))
    assert "average" not in made


def test_the_test_is_that_of_all_signs_with_each_tasks_weight():
    first = part("jemhopqa", [1.0, 1.0, 0.5], [0.25, 0.5, 1.0])
    second = part("niilc", [1.0, 0.5, 1.0, 0.0], [0.0, 0.25, 1.0, 0.75], ["x", "x", "y", ""])
    made = judged([first, second])["average:QA"]
    sums = [d / 6 for d in first.differences] + [1.25 / 8, -0.75 / 8]
    seen = abs(sum(sums))
    signs = list(itertools.product((1, -1), repeat=len(sums)))
    large = [abs(sum(s * v for s, v in zip(sign, sums, strict=True))) for sign in signs]
    assert made.p == pytest.approx(sum(v >= seen - 1e-12 for v in large) / len(signs))
    assert made.difference == pytest.approx(sum(sums))
    assert made.test == "permutation of clusters"
    assert made.error == pytest.approx(math.hypot(first.error, second.error) / 2)


def test_intervals_of_averages_cover_the_truth_and_tests_keep_their_level():
    draw = random.Random(11)
    shares = {"jemhopqa": (30, 0.55, 0.35), "niilc": (120, 0.4, 0.5)}
    true = sum(a - b for _, a, b in shares.values()) / 2
    covered = false = 0
    for _ in range(400):
        parts = [
            part(t, answers(n, a, draw), answers(n, b, draw)) for t, (n, a, b) in shares.items()
        ]
        low, high = judged(parts)["average:QA"].interval
        covered += low <= true <= high
        same = [
            part(t, answers(n, a, draw), answers(n, a, draw)) for t, (n, a, _) in shares.items()
        ]
        false += judged(same)["average:QA"].p < 0.05
    # Three standard errors of 400 draws around 0.95 and 0.05.
    assert covered / 400 >= 0.917
    assert false / 400 <= 0.083


def test_the_effect_that_is_seen_in_four_of_five_cases_is():
    draw = random.Random(5)
    sizes = {"jemhopqa": 80, "niilc": 160}
    even = judged([part(t, answers(n, 0.5, draw), answers(n, 0.5, draw)) for t, n in sizes.items()])
    effect = statistics.minimum_detectable_effect(even["average:QA"].error)
    seen = 0
    for _ in range(300):
        parts = [
            part(t, answers(n, 0.5 + effect / 2, draw), answers(n, 0.5 - effect / 2, draw))
            for t, n in sizes.items()
        ]
        seen += judged(parts)["average:QA"].p < 0.05
    assert 0.72 <= seen / 300 <= 0.88


def test_an_average_with_a_task_that_was_not_compared_says_which():
    parts = [part(t, [1.0, 0.0], [0.0, 0.0]) for t in NINE]
    parts[2] = Comparison("jnli", "accuracy", "a", "b")
    made = judged(parts)
    assert made["average:NLI"].verdict == "not compared: jnli not compared"
    assert made["average"].p is None
    assert made["average:QA"].p is not None
    told = json.loads(json.dumps(made["average:QA"].as_json()))
    assert told["weights"] == {"jemhopqa": 0.5, "niilc": 0.5}


def test_averages_of_other_protocols_or_of_correlations_are_not_compared():
    parts = [part(t, [1.0, 0.0], [0.0, 0.0]) for t in ("jemhopqa", "niilc")]
    assert "other protocol" in judged(parts, "yoriai", "v1.3")["average:QA"].verdict
    parts[0].differences = []
    assert "no mean" in judged(parts)["average:QA"].verdict
