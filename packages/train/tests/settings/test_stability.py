"""Spikes of the loss, with losses made by hand."""

import random

import pytest

from yoriai_train.settings.stability import Stability, Watcher, shift, span_to_skip, unshift

RULES = Stability(window_steps=50, least_steps=10, threshold=6, least_nats=0.2)


def noisy(count, seed=0, level=3.0):
    chooser = random.Random(seed)
    return [level + chooser.gauss(0, 0.02) for _ in range(count)]


def feed(watcher, losses):
    found = []
    for index, loss in enumerate(losses):
        spike = watcher.judge(loss)
        watcher.add(loss, spike=spike is not None)
        if spike:
            found.append(index)
    return found


def test_a_quiet_and_a_falling_curve_have_no_spikes():
    assert feed(Watcher(RULES), noisy(300)) == []
    assert feed(Watcher(RULES), [8 * 0.98**n + 2 for n in range(300)]) == []


def test_a_jump_is_a_spike_and_a_drop_is_none():
    losses = noisy(60)
    losses[40], losses[50] = 4.0, 1.0
    assert feed(Watcher(RULES), losses) == [40]


def test_a_spike_does_not_hide_the_next():
    losses = noisy(60)
    for place in (40, 41, 42, 43):
        losses[place] = 5.0
    assert feed(Watcher(RULES), losses) == [40, 41, 42, 43]


def test_nothing_is_a_spike_before_there_is_something_to_compare_with():
    assert feed(Watcher(RULES), [3.0] * 9 + [9.0]) == []


def test_equal_losses_before_a_small_rise_make_no_spike():
    assert feed(Watcher(RULES), [3.0] * 30 + [3.1]) == []


def test_only_spikes_for_long_enough_is_divergence():
    watcher = Watcher(RULES.model_copy(update={"patience_steps": 5}))
    feed(watcher, noisy(40) + [7.0] * 4)
    assert not watcher.diverged
    feed(watcher, [7.0])
    assert watcher.diverged
    feed(watcher, noisy(1))
    assert not watcher.diverged


@pytest.mark.parametrize("at", [0, 30, 45, 70])
def test_a_resumed_run_decides_as_the_first_one_did(at):
    losses = noisy(80)
    losses[44], losses[60] = 4.0, 4.5
    whole = Watcher(RULES)
    rows = []
    for loss in losses[:at]:
        spike = whole.judge(loss)
        whole.add(loss, spike=spike is not None)
        rows.append({"loss": loss, **({"spike": spike.z} if spike else {})})
    resumed = Watcher(RULES, rows)
    assert [whole.judge(x) for x in losses[at:]] == [resumed.judge(x) for x in losses[at:]]
    assert feed(resumed, losses[at:]) == feed(whole, losses[at:])


def test_what_is_passed_over_lies_around_the_spike_and_not_before_the_run():
    assert span_to_skip(RULES, 40) == [35, 45]
    assert span_to_skip(RULES, 2) == [0, 7]


@pytest.mark.parametrize("seed", range(20))
def test_data_passed_over_is_never_seen_and_nothing_else_is_left_out(seed):
    chooser = random.Random(seed)
    spans = []
    for _ in range(chooser.randint(0, 4)):
        first = chooser.randint(0, 30)
        spans.append([first, first + chooser.randint(0, 10)])
    gone = {n for first, last in spans for n in range(first, last + 1)}
    left = [n for n in range(200) if n not in gone]
    assert [shift(step, spans) for step in range(60)] == left[:60]
    for step, data_step in enumerate(left):
        assert unshift(data_step, spans) == step
    assert {unshift(data_step, spans) for data_step in gone} <= {None}
