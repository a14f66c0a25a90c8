"""Learning rates against their closed forms."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from yoriai_train.settings import preset
from yoriai_train.settings.schedule import Schedule

SCHEDULES = st.builds(
    Schedule,
    kind=st.sampled_from(["cosine", "linear", "sqrt", "wsd", "constant"]),
    peak=st.floats(1e-6, 1),
    warmup_steps=st.integers(0, 40),
    decay_share=st.floats(0, 1),
    decay_steps=st.none() | st.integers(1, 250),
    final_ratio=st.floats(0, 1),
)


@given(SCHEDULES, st.integers(1, 200))
def test_rates_rise_during_warm_up_and_never_rise_again(schedule, steps):
    rates = [schedule.rate(step, steps) for step in range(steps)]
    first = min(schedule.warmup_steps, steps)
    assert all(a < b for a, b in itertools.pairwise(rates[:first]))
    rest = rates[first:]
    assert all(a >= b - 1e-15 for a, b in itertools.pairwise(rest))
    low = schedule.peak * min(schedule.final_ratio, 1 / (schedule.warmup_steps + 1))
    assert all(low * (1 - 1e-12) <= rate <= schedule.peak * (1 + 1e-12) for rate in rates)


@given(st.integers(0, 20), st.integers(21, 200))
def test_cosine_is_half_a_period_from_the_end_of_the_warm_up(warmup, steps):
    schedule = Schedule(kind="cosine", peak=1.0, warmup_steps=warmup, final_ratio=0.1)
    for step in range(warmup, steps):
        x = (step - warmup) / (steps - warmup)
        assert schedule.rate(step, steps) == pytest.approx(0.55 + 0.45 * math.cos(math.pi * x))
    assert schedule.rate(steps, steps) == pytest.approx(0.1)


def test_wsd_stays_at_the_peak_and_ends_by_one_minus_the_square_root():
    schedule = Schedule(kind="wsd", peak=1.0, warmup_steps=10, decay_share=0.2, final_ratio=0.0)
    assert [schedule.rate(step, 100) for step in range(10, 80)] == [1.0] * 70
    for step in range(80, 100):
        assert schedule.rate(step, 100) == pytest.approx(1 - math.sqrt((step - 79) / 20))
    assert schedule.rate(99, 100) == 0.0


def test_warm_up_is_linear_and_never_zero():
    schedule = Schedule(kind="constant", peak=1.0, warmup_steps=4)
    assert [schedule.rate(step, 9) for step in range(6)] == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    )


@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
@pytest.mark.parametrize(("warmup", "steps"), [(0, 30), (7, 30), (10, 200)])
def test_after_the_warm_up_the_rates_are_those_of_transformers(kind, warmup, steps):
    import torch
    from transformers import get_scheduler

    names = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    theirs = get_scheduler(names[kind], optimizer, warmup, steps).lr_lambdas[0]
    ours = Schedule(kind=kind, peak=0.3, warmup_steps=warmup, final_ratio=0.0)
    for step in range(warmup, steps):
        assert ours.rate(step, steps) == pytest.approx(0.3 * theirs(step), abs=1e-15)


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_wsd_is_that_of_transformers_one_step_earlier(floor):
    import torch
    from transformers import get_wsd_schedule

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_wsd_schedule(optimizer, 10, 30, 100, decay_type="1-sqrt", min_lr_ratio=floor)
    ours = Schedule(kind="wsd", peak=1.0, warmup_steps=10, decay_steps=30, final_ratio=floor)
    for step in range(70, 100):
        assert ours.rate(step, 100) == pytest.approx(theirs.lr_lambdas[0](step + 1))


@given(st.integers(1, 60), st.integers(1, 60))
def test_until_a_decay_branch_begins_its_rates_are_those_of_the_stable_run(decay, stable):
    run = Schedule(kind="constant", peak=3e-4, warmup_steps=5)
    branch = Schedule(kind="wsd", peak=3e-4, warmup_steps=5, decay_steps=decay)
    first = 5 + stable
    rates = [branch.rate(step, first + decay) for step in range(first + decay)]
    assert rates[:first] == [run.rate(step, first) for step in range(first)]
    assert all(rate < 3e-4 for rate in rates[first:])


def test_a_branch_of_llm_jp_v4_falls_from_three_ten_thousandths_to_nothing():
    # llm-jp/scripts: v4-8b-phase1/base and decay1m: 3e-4, 100,000 of 1,000,000 steps, down to 0.
    branch = Schedule(
        kind="wsd", peak=3e-4, warmup_steps=2000, decay_steps=100_000, final_ratio=0.0
    )
    assert branch.rate(899_999, 1_000_000) == 3e-4
    assert branch.rate(900_000, 1_000_000) == pytest.approx(3e-4 * (1 - 0.1**2.5))
    assert branch.rate(924_999, 1_000_000) == pytest.approx(1.5e-4)
    assert branch.rate(999_999, 1_000_000) == 0.0


def megatron(step, *, peak, floor, warmup, decay):
    """The rate of Megatron-LM's scheduler (cosine), as its documentation states it."""
    if step <= warmup:
        return peak * step / warmup
    if step > decay:
        return floor
    done = (step - warmup) / (decay - warmup)
    return floor + 0.5 * (peak - floor) * (1 + math.cos(math.pi * done))


@pytest.mark.parametrize(
    ("name", "decay", "steps"),
    [
        ("llm-jp-3-172b", 290_812, 292_812),
        ("llm-jp-3-172b-exp1", 268_442, 296_699),
        ("llm-jp-3-13b", 492_120, 494_120),
        ("llm-jp-3-1.8b", 986_240, 988_240),
    ],
)
def test_presets_of_llm_jp_3_have_the_rates_of_the_flags_in_their_model_cards(name, decay, steps):
    body = preset.load(name)
    schedule, peak = Schedule(**body["schedule"]), body["schedule"]["peak"]
    assert body["steps"] == steps
    for step in (2000, 2001, 50_000, 200_000, decay - 1, decay, decay + 1, steps - 1):
        published = megatron(step, peak=peak, floor=peak / 10, warmup=2000, decay=decay)
        assert schedule.rate(step, steps) == pytest.approx(published, rel=1e-9)
    assert schedule.rate(1000, steps) == pytest.approx(peak / 2, rel=1e-2)


def test_gpt_3_trains_its_last_forty_billion_tokens_at_a_tenth():
    body = preset.load("gpt3-175b")
    schedule, tokens = Schedule(**body["schedule"]), 1536 * 2048
    end = round(260e9 / tokens)
    assert schedule.rate(round(375e6 / tokens), body["steps"]) == pytest.approx(6e-5, rel=1e-3)
    assert schedule.rate(end, body["steps"]) == pytest.approx(6e-6, rel=1e-6)
    assert schedule.rate(body["steps"] - 1, body["steps"]) == pytest.approx(6e-6)
    assert schedule.rate(end // 2, body["steps"]) == pytest.approx(3.3e-5, rel=1e-2)


@pytest.mark.parametrize(
    ("name", "step", "rate"), [("llm-jp-13b", 87_870, 8.533e-5), ("llm-jp-1.3b", 87_430, 1.708e-4)]
)
def test_the_first_models_reach_the_rates_in_the_names_of_their_last_checkpoints(name, step, rate):
    body = preset.load(name)
    assert Schedule(**body["schedule"]).rate(step, body["steps"]) == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize(
    "bad", [{"decay_steps": 0}, {"peak": 0}, {"warmup_steps": -1}, {"decay_share": 1.5}]
)
def test_impossible_values_are_refused(bad):
    with pytest.raises(ValidationError):
        Schedule(**bad)
