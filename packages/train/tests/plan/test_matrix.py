"""Matrices of tunings: cells, the recipe they make, and what their scores say."""

import itertools

import pydantic
import pytest

from yoriai import UsageError
from yoriai_train.plan.matrix import Matrix, effects

FACTORS = {
    "data": {"jaster": {"data": ["a"]}, "dolly": {"data": ["b"]}, "both": {"data": ["a", "b"]}},
    "method": {"full": {"method": "train/full", "epochs": 2}, "lora": {"method": "train/lora"}},
    "base": {"small": {"from": "one"}, "large": {"from": "two"}},
}


def matrix(**changes):
    body = {
        "name": "m", "steps": {"one": {}, "two": {}}, "tune": {"epochs": 5, "batch": 4},
        "factors": FACTORS, "evaluate": {"tasks": ["t"]}, **changes,
    }  # fmt: skip
    return Matrix.model_validate(body)


def test_twelve_cells_are_a_recipe_with_a_step_each_and_one_that_scores_all():
    found = matrix()
    recipe = found.recipe()
    names = [cell.name for cell in found.cells()]
    assert len(names) == 12
    assert names[:3] == ["jaster-full-small", "jaster-full-large", "jaster-lora-small"]
    assert list(recipe["steps"]) == ["one", "two", *names, "scores"]
    assert recipe["steps"]["both-full-large"] == {
        "uses": "train/tune", "epochs": 2, "batch": 4, "data": ["a", "b"],
        "method": "train/full", "from": "two",
    }  # fmt: skip
    assert recipe["steps"]["both-lora-large"]["epochs"] == 5
    assert recipe["steps"]["scores"] == {"uses": "eval/run", "tasks": ["t"], "from": names}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"factors": {}}, "nothing to compare"),
        ({"factors": {"data": {}}}, "has no level"),
        ({"factors": {"data": {"A b": {}}}}, "no plain name"),
        ({"factors": {"x": {"a-b": {}, "a": {}}, "y": {"c": {}, "b-c": {}}}}, "two cells are"),
        ({"steps": {"jaster-full-small": {}}}, "has the name of a cell"),
        ({"published": {"qlora": ["1"]}}, "neither a level nor a cell"),
        ({"repeats": 3}, "Extra inputs"),
    ],
)  # fmt: skip
def test_a_matrix_that_means_nothing_is_refused(changes, complaint):
    with pytest.raises(pydantic.ValidationError, match=complaint):
        matrix(**changes)


def test_a_key_that_two_factors_set_is_refused():
    twice = {**FACTORS, "rate": {"low": {"epochs": 1}}}
    with pytest.raises(UsageError, match="both method and rate set 'epochs'"):
        matrix(factors=twice).recipe()


def test_shares_of_variance_add_up_where_factors_add_up():
    found = matrix()
    cells = list(found.cells())
    points = {
        "jaster": 0.5,
        "dolly": 0.2,
        "both": 0.4,
        "full": 0.1,
        "lora": 0.0,
        "small": 0,
        "large": 0.2,
    }
    scores = {c.name: sum(points[label] for label in c.levels.values()) for c in cells}
    told = effects(cells, {"t": scores})
    assert [e.factor for e in told] == ["data", "method", "base"]
    assert sum(e.share for e in told) == pytest.approx(1)
    # By hand: variances of the levels' points, (0.42, 0.25^2 ...) over their sum.
    variances = [
        ((0.5 - 1.1 / 3) ** 2 + (0.2 - 1.1 / 3) ** 2 + (0.4 - 1.1 / 3) ** 2) / 3,
        0.0025,
        0.01,
    ]
    assert [e.share for e in told] == pytest.approx([v / sum(variances) for v in variances])
    assert told[0].means == pytest.approx({"jaster": 0.65, "dolly": 0.35, "both": 0.55})
    # Six pairs that all differ by the same amount in one direction: 2 of the 2^6 exchanges.
    assert [e.p for e in told[1:]] == [2 / 64, 2 / 64]
    # Three levels in four blocks: the order of levels is one of 3!, in all blocks alike.
    assert told[0].p == pytest.approx(6 / 6**4)
    assert [e.corrected for e in told] == pytest.approx([3 * 6 / 6**4, 2 * 2 / 64, 2 * 2 / 64])
    assert all(e.exact for e in told)


def test_the_test_of_a_factor_with_two_levels_is_the_exact_one_of_signs():
    factors = {"x": {"a": {}, "b": {}}, "y": {str(n): {} for n in range(5)}}
    cells = list(matrix(factors=factors, steps={}).cells())
    differences = [0.3, -0.1, 0.2, 0.4, 0.05]
    scores = {
        c.name: differences[int(c.levels["y"])] * (c.levels["x"] == "b") + int(c.levels["y"])
        for c in cells
    }
    [x, _] = effects(cells, {"t": scores})
    total = sum(differences)
    as_large = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= abs(total) - 1e-12
        for signs in itertools.product((1, -1), repeat=5)
    ]
    assert x.p == pytest.approx(sum(as_large) / 32)


def test_equal_scores_say_nothing():
    cells = list(matrix().cells())
    for effect in effects(cells, {"t": dict.fromkeys((c.name for c in cells), 0.5)}):
        assert (effect.share, effect.p, effect.corrected) == (0, 1, 1)


def test_many_orders_are_drawn_and_give_no_zero():
    factors = {"x": {str(n): {} for n in range(9)}, "y": {"a": {}, "b": {}}}
    cells = list(matrix(factors=factors, steps={}).cells())
    scores = {c.name: float(int(c.levels["x"])) for c in cells}
    x, y = effects(cells, {"t": scores})
    assert not x.exact
    assert 0 < x.p < 0.001
    assert y.exact
    assert y.p == 1
