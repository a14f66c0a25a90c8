"""Activation clustering: against brute force, and a small group that is known."""

from itertools import product

import numpy as np
import pytest

from yoriai_eval.probes.activations import cluster_scores, components, two_means
from yoriai_eval.probes.detection import auc


def squares(points, second):
    return sum(((points[group] - points[group].mean(0)) ** 2).sum() for group in (second, ~second))


@pytest.mark.parametrize("seed", range(5))
def test_two_groups_have_the_smallest_squares_of_all_divisions(seed):
    points = np.random.Generator(np.random.PCG64(seed)).normal(size=(9, 3))
    every = (np.array(bits, bool) for bits in product((False, True), repeat=9))
    least = min(squares(points, b) for b in every if b.any() and not b.all())
    assert squares(points, two_means(points, seed)) == pytest.approx(least, rel=0.05)


def test_components_keep_the_distances_that_they_can():
    random = np.random.Generator(np.random.PCG64(1))
    plane = random.normal(size=(20, 2)) @ random.normal(size=(2, 16))
    made = components(plane, 2)
    for a, b in ((0, 1), (3, 7), (5, 19)):
        assert np.linalg.norm(made[a] - made[b]) == pytest.approx(
            np.linalg.norm(plane[a] - plane[b])
        )


def test_a_small_group_is_ranked_highest_and_equal_lines_not_at_all():
    random = np.random.Generator(np.random.PCG64(2))
    many, few = random.normal(size=(90, 16)), random.normal(5, 1, size=(10, 16))
    scores = cluster_scores(np.concatenate([many, few]), 0)
    assert auc(scores[90:], scores[:90]) == 1.0
    assert cluster_scores(np.ones((6, 4)), 0) == [0.0] * 6


def test_the_state_of_a_line_does_not_depend_on_its_neighbours():
    pytest.importorskip("torch")
    from yoriai_eval.probes.activations import last_states
    from yoriai_eval.probes.tiny import TinyTraining, build

    model = build(9, 8, TinyTraining(width=8, layers=1, heads=2)).eval()
    lines = [[1, 2, 3], [1, 4, 5, 6, 7], [1]]
    together = last_states(model, lines)
    for row, line in zip(together, lines, strict=True):
        assert row == pytest.approx(last_states(model, [line])[0], abs=1e-5)
