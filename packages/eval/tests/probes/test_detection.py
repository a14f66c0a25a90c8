"""Telling two groups apart: against brute force, closed forms and simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai_eval.probes.detection import (
    auc,
    auc_interval,
    measured_auc,
    measured_recall,
    measured_true_positives,
    recall_at,
    true_positives,
)

values = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


@given(values, values)
def test_an_auc_counts_pairs_and_halves_ties(first, second):
    pairs = [(a > b) + (a == b) / 2 for a in first for b in second]
    assert auc(first, second) == pytest.approx(sum(pairs) / len(pairs))


def test_the_interval_of_an_auc_solves_its_equation_and_has_width_at_the_ends():
    low, high = auc_interval(0.8, 40, 60)
    for theta in (low, high):
        spread = 1 + 49 * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        error = (theta * (1 - theta) * spread / 2400) ** 0.5
        assert abs(theta - 0.8) == pytest.approx(1.959964 * error, abs=1e-9)
    assert auc_interval(1.0, 20, 20)[1] == 1.0
    assert 0.7 < auc_interval(1.0, 20, 20)[0] < 0.95
    low, high = auc_interval(0.0, 20, 20)
    assert (low, high) == pytest.approx(tuple(1 - b for b in auc_interval(1.0, 20, 20)[::-1]))


def test_the_interval_of_an_auc_covers_what_is_true():
    random = np.random.Generator(np.random.PCG64(1))
    true = 0.7602  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    inside = 0
    for _ in range(300):
        first, second = random.normal(1, 1, 40), random.normal(0, 1, 40)
        low, high = auc_interval(auc(first, second), 40, 40)
        inside += low <= true <= high
    assert 0.92 <= inside / 300 <= 0.99


def test_true_positives_are_those_above_all_but_one_in_a_hundred():
    negatives = list(range(100))
    assert true_positives([98.0, 99.0, 200.0, 98.5], negatives) == 0.75
    assert true_positives([1.0], [5.0]) == 0.0
    few = measured_true_positives("t", [200.0] * 20, list(range(99)), 0)
    assert few.interval is None
    assert "1% of 99 texts that were held out is less than one" in few.note
    whole = measured_true_positives("t", [200.0] * 20, negatives, 0)
    assert (whole.value, whole.interval[1]) == (1.0, 1.0)
    assert whole.interval[0] < 0.9
    assert measured_auc("a", [1.0] * 9, [0.0] * 50).note == "9 items are too few for an interval"


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=20),
       st.integers(1, 20))  # fmt: skip
def test_recall_never_profits_from_the_order_of_ties(items, k):
    scores, planted = [float(s) for s, _ in items], [p for _, p in items]
    found, most = recall_at(scores, planted, k)
    assert most == min(k, len(items), sum(planted))
    orders = [
        sum(p for _, p in sorted(items, key=lambda i: (-i[0], i[1] == last))[:k])
        for last in (True, False)
    ]
    assert min(orders) <= found <= max(orders)


def test_chance_of_a_recall_is_that_of_a_blind_draw():
    planted = [True] * 10 + [False] * 90
    told = measured_recall("r", [1.0] * 100, planted, 10)
    assert (told.value, told.chance) == (0.1, 0.1)
