"""Merging tensors, against closed forms."""

import json
import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from yoriai_domain_adapt.arithmetic import merging  # noqa: E402


@pytest.fixture
def three():
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(6, 8, generator=generator) for _ in range(3)]


def test_linear_is_the_weighted_mean(three):
    found = merging.linear(three, (1, 2, 1))
    assert torch.allclose(found, (three[0] + 2 * three[1] + three[2]) / 4, atol=1e-6)


def test_linear_refuses_weights_that_sum_to_zero(three):
    with pytest.raises(ValueError, match="sum to zero"):
        merging.linear(three[:2], (1, -1))


def test_slerp_keeps_to_the_unit_circle_and_its_angle():
    one, other = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    for t in (0.0, 0.25, 0.5, 1.0):
        expected = torch.tensor([math.cos(t * math.pi / 2), math.sin(t * math.pi / 2)])
        assert torch.allclose(merging.slerp(one, other, t), expected, atol=1e-6)


@pytest.mark.parametrize("factor", [2.0, -1.0, 0.0])
def test_slerp_of_parallel_tensors_is_a_straight_line(factor):
    one = torch.tensor([3.0, 4.0])
    assert torch.allclose(merging.slerp(one, factor * one, 0.5), one * (1 + factor) / 2)


def test_task_arithmetic_adds_scaled_differences(three):
    base, *others = three
    found = merging.task_arithmetic(base, others, (1.0, 0.5), 0.4)
    expected = base + 0.4 * ((others[0] - base) + 0.5 * (others[1] - base))
    assert torch.allclose(found, expected, atol=1e-6)


def test_ties_by_hand():
    base = torch.zeros(4)
    one, other = torch.tensor([4.0, 1.0, -3.0, 0.5]), torch.tensor([2.0, -5.0, -1.0, 0.1])
    # Half of each stays: one keeps 4 and -3, other 2 and -5. Signs: +, -, -, (none).
    found = merging.ties(base, [one, other], (1.0, 1.0), 1.0, 0.5)
    assert torch.equal(found, torch.tensor([3.0, -5.0, -3.0, 0.0]))
    # The other sign loses: 4 against -5.
    found = merging.ties(torch.zeros(1), [one[:1], -5 * one[:1] / 4], (1.0, 1.0), 1.0, 1.0)
    assert torch.equal(found, torch.tensor([-5.0]))


def test_dare_keeps_the_mean_and_only_rescaled_differences():
    base, other = torch.zeros(200, 200), torch.ones(200, 200)
    generator = torch.Generator().manual_seed(0)
    found = merging.dare(base, [other], (1.0,), 1.0, 0.25, generator)
    assert set(found.unique().tolist()) == {0.0, 4.0}
    # The share kept is binomial: within five standard deviations.
    assert abs(float(found.mean()) - 1.0) < 5 * 4 * math.sqrt(0.25 * 0.75 / found.numel())


def test_dare_with_everything_kept_is_task_arithmetic(three):
    base, *others = three
    found = merging.dare(base, others, (1, 1), 0.5, 1.0, torch.Generator())
    assert torch.allclose(found, merging.task_arithmetic(base, others, (1, 1), 0.5), atol=1e-6)


def test_trim_keeps_the_largest_and_the_first_of_equals():
    found = merging.trim(torch.tensor([1.0, -1.0, 3.0, 1.0]), 0.5)
    assert found.tolist() == [1.0, 0.0, 3.0, 0.0]


@pytest.fixture(scope="module")
def mergekit():
    told = json.loads(Path(__file__).with_name("mergekit.json").read_text())
    return {name: torch.tensor(told[name]) for name in told if name != "made_by"}


@pytest.mark.parametrize(
    ("name", "merged"),
    [
        ("linear", lambda m: merging.linear([m["one"], m["two"]], (0.3, 0.9))),
        (
            "task_arithmetic",
            lambda m: merging.task_arithmetic(m["base"], [m["one"], m["two"]], (0.3, 0.9), 0.7),
        ),
        ("ties", lambda m: merging.ties(m["base"], [m["one"], m["two"]], (0.3, 0.9), 0.7, 0.4)),
    ],
)
def test_mergekit_gives_the_same_tensor(mergekit, name, merged):
    assert torch.allclose(merged(mergekit), mergekit[name], atol=1e-6, rtol=1e-6)


def test_slerp_follows_the_arc_where_mergekit_takes_the_straight_line(mergekit):
    # mergekit goes straight above a cosine of 0.9995 (merge_methods/slerp.py); the arc in fp64 is
    # the oracle: ours is on it, mergekit's within 1e-4 of the tensor's size.
    one, two = mergekit["one"].double(), mergekit["two"].double()
    angle = torch.arccos((one * two).sum() / one.norm() / two.norm())
    arc = (torch.sin(0.7 * angle) * one + torch.sin(0.3 * angle) * two) / torch.sin(angle)
    assert torch.cos(angle) > 0.9995
    found = merging.slerp(mergekit["one"], mergekit["two"], 0.3)
    assert torch.allclose(found.double(), arc, atol=2e-6)
    assert 1e-5 < float((mergekit["slerp"].double() - arc).abs().max()) < 1e-3
