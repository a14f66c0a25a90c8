"""Calibration against brute force, and against models whose calibration is known."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai_eval.probes import calibration as c

ANSWERS = st.lists(st.tuples(st.floats(0.2, 1.0), st.integers(0, 1)), min_size=1, max_size=60).map(
    lambda pairs: (np.array([p for p, _ in pairs]), np.array([float(r) for _, r in pairs]))
)
LIKELIHOODS = st.lists(st.lists(st.floats(-80, 0), min_size=2, max_size=6), min_size=1, max_size=20)


@settings(deadline=None)
@given(LIKELIHOODS, st.floats(0.05, 20))
def test_confidences_are_the_largest_of_a_softmax_taken_one_by_one(sums, temperature):
    found = c.confidences(c.table(sums), temperature)
    for some, sure in zip(sums, found, strict=True):
        powers = [math.exp((v - max(some)) / temperature) for v in some]
        assert sure == pytest.approx(max(powers) / sum(powers))


@settings(deadline=None)
@given(ANSWERS)
def test_bins_hold_every_answer_once_and_equal_confidences_together(pair):
    confidence, right = pair
    bins = c.reliability(confidence, right)
    assert sum(b.count for b in bins) == len(confidence)
    assert sum(b.count * b.share for b in bins) == pytest.approx(right.sum())
    where = c.places(confidence)
    for one, other in itertools.combinations(range(len(confidence)), 2):
        if confidence[one] == confidence[other]:
            assert where[one] == where[other]
        if where[one] < where[other]:
            assert confidence[one] < confidence[other]
    assert all(b.interval[0] <= b.share <= b.interval[1] for b in bins)
    assert all(b.interval[0] < b.interval[1] for b in bins)


@settings(deadline=None)
@given(ANSWERS)
def test_the_expected_error_is_the_sum_over_bins_by_hand(pair):
    confidence, right = pair
    where, total = c.places(confidence), 0.0
    for number in set(where.tolist()):
        rows = [(p, r) for p, r, w in zip(*pair, where, strict=True) if w == number]
        gap = sum(p for p, _ in rows) / len(rows) - sum(r for _, r in rows) / len(rows)
        total += len(rows) / len(confidence) * abs(gap)
    assert c.expected_error(confidence, right) == pytest.approx(total)
    assert c.debiased_error(confidence, right) <= math.sqrt(total) + 1e-9


def test_without_bias_a_calibrated_model_has_no_error_on_average_and_the_plain_one_has():
    draw = np.random.default_rng(0)
    plain, squares = [], []
    for _ in range(200):
        confidence = draw.uniform(0.3, 1, 150)
        right = (draw.random(150) < confidence).astype(float)
        plain.append(c.expected_error(confidence, right))
        bins = c.reliability(confidence, right)
        chance = [b.share * (1 - b.share) / (b.count - 1) for b in bins]
        squares.append(
            sum(
                b.count / 150 * ((b.confidence - b.share) ** 2 - less)
                for b, less in zip(bins, chance, strict=True)
            )
        )
    assert np.mean(plain) > 0.07
    assert abs(np.mean(squares)) < 3 * np.std(squares) / math.sqrt(200)


def test_the_error_of_one_bin_is_found_whatever_its_size():
    # Always sure at 0.9, right in 60 %: off by 0.3.
    confidence, right = np.full(1000, 0.9), np.r_[np.ones(600), np.zeros(400)]
    assert c.expected_error(confidence, right) == pytest.approx(0.3)
    assert c.debiased_error(confidence, right) == pytest.approx(0.3, abs=1e-3)


def test_what_a_calibrated_model_would_have_is_what_its_answers_give():
    draw = np.random.default_rng(1)
    confidence = draw.uniform(0.3, 1, 300)
    found = [
        c.expected_error(confidence, (draw.random(300) < confidence).astype(float))
        for _ in range(400)
    ]
    right = (draw.random(300) < confidence).astype(float)
    told = c.calibrated_error(confidence, right, seed=5)
    assert told.mean == pytest.approx(np.mean(found), abs=0.005)
    assert told.below == pytest.approx(np.quantile(found, 0.95), abs=0.012)
    assert told.p > 0.05
    assert c.calibrated_error(confidence, np.zeros(300), seed=5).p < 0.01
    # Answers that come in pairs tell less: the error by chance is larger.
    pairs = [str(n // 10) for n in range(300)]
    assert c.calibrated_error(confidence, right, pairs, seed=5).mean > 1.1 * told.mean


def test_brier_is_the_squared_error_of_the_likeliest_choice():
    found = c.brier_of_top(np.array([0.8, 0.8, 1.0]), np.array([1.0, 0.0, 1.0]))
    assert found == pytest.approx([0.04, 0.64, 0.0])


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.3, 0.5, 0.7, 0.9]), st.integers(0, 1)),
                min_size=1, max_size=5))  # fmt: skip
def test_risk_is_the_mean_over_all_orders_of_equal_confidences(rows):
    confidence = np.array([p for p, _ in rows])
    right = np.array([float(r) for _, r in rows])
    areas = []
    for order in itertools.permutations(range(len(rows))):
        if any(confidence[a] < confidence[b] for a, b in itertools.pairwise(order)):
            continue
        wrong = [1 - right[i] for i in order]
        areas.append(np.mean([sum(wrong[:n]) / n for n in range(1, len(rows) + 1)]))
    assert c.area_under_risk(confidence, right) == pytest.approx(np.mean(areas))


def test_the_area_lies_between_the_best_order_and_no_order_at_all():
    right = np.array([1.0] * 70 + [0.0] * 30)
    draw = np.random.default_rng(2)
    same = np.full(100, 0.5)
    assert c.area_under_risk(same, right) == pytest.approx(0.3)
    best = c.least_area(right)
    assert best == pytest.approx(sum(max(0, n - 70) / n for n in range(1, 101)) / 100)
    some = c.area_under_risk(0.5 * right + draw.random(100), right)
    assert best < some < 0.3
    low, high = c.interval(c.area_under_risk, 0.5 * right + draw.random(100), right)
    assert low < high
    assert c.interval(c.area_under_risk, same, np.ones(100))[1] > 0.02  # never without width
    assert c.interval(c.area_under_risk, np.array([0.5]), np.ones(1)) == (
        0.0,
        pytest.approx(0.793, abs=1e-3),
    )


def test_the_temperature_of_a_model_that_is_too_sure_is_found():
    draw = np.random.default_rng(3)
    logits = draw.normal(0, 2, (4000, 4))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    golds = np.array([draw.choice(4, p=row) for row in shares])
    right = (logits.argmax(1) == golds).astype(float)
    for sharpened in (0.25, 1.0, 3.0):
        assert c.fitted(logits * sharpened, right) == pytest.approx(sharpened, rel=0.1)
    # And it is the least of a grid.
    grid = [c.loss_of_top(logits * 3, right, t) for t in np.geomspace(0.1, 30, 400)]
    assert c.loss_of_top(logits * 3, right, c.fitted(logits * 3, right)) <= min(grid) + 1e-9
    too_sure = c.confidences(logits * 3)
    cooled, told = c.fitted_crosswise(logits * 3, right)
    assert c.expected_error(too_sure, right) > 0.1
    assert c.expected_error(cooled, right) < 0.04
    assert told == pytest.approx((3, 3), rel=0.15)


def test_a_half_is_never_fitted_on_its_own_clusters():
    logits = np.array([[0.0, -1.0]] * 4)
    right = np.array([1.0, 1.0, 0.0, 0.0])
    made, (first, second) = c.fitted_crosswise(logits, right, ["a", "a", "b", "b"])
    # "a" is fitted on "b", which is always wrong, and so is as unsure as can be.
    assert first > 200 > 0.01 > second
    assert made[:2] == pytest.approx([0.5, 0.5], abs=0.01)
    assert made[2:] == pytest.approx([1.0, 1.0], abs=1e-6)


def test_models_that_are_always_right_or_always_wrong_have_the_temperatures_of_the_ends():
    logits = np.array([[0.0, -1.0], [-2.0, 0.0]])
    assert c.fitted(logits, np.ones(2)) < 0.1
    assert c.fitted(logits, np.zeros(2)) == pytest.approx(c.HOTTEST, rel=0.1)
