"""Checkpoints as folders: whole or not there, checked, kept by policy."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai_train.settings import checkpoints
from yoriai_train.settings.checkpoints import Policy


def write(folder, step, text="weights"):
    part = checkpoints.part(folder, step)
    (part / "model").mkdir(parents=True)
    (part / "state").write_text(f"state {step}")
    (part / "model" / "model.safetensors").write_text(text)
    return checkpoints.seal(folder, step, {"world_size": 1, "strategy": "s"})


def test_the_newest_whole_one_is_taken_and_half_ones_are_not_seen(tmp_path):
    assert checkpoints.newest(tmp_path) == (None, [])
    for step in (50, 100):
        write(tmp_path, step)
    (tmp_path / "part-0000150").mkdir()
    found, problems = checkpoints.newest(tmp_path)
    assert (found.step, problems) == (100, [])
    assert found.about["world_size"] == 1


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda f: (f / "state").write_text("other"), "state was changed"),
        (lambda f: (f / "model" / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: (f / "checkpoint.json").write_text("{"), "checkpoint.json cannot be read"),
        (lambda f: (f / "checkpoint.json").unlink(), "checkpoint.json cannot be read"),
        (lambda f: (f / "checkpoint.json").write_text("[]"), "checkpoint.json cannot be read"),
    ],
)
def test_a_harmed_one_is_put_aside_by_name_and_the_one_before_is_taken(tmp_path, harm, told):
    write(tmp_path, 50)
    harm(write(tmp_path, 100))
    found, problems = checkpoints.newest(tmp_path)
    assert found.step == 50
    assert told in problems[0]
    assert problems[0].startswith("step-0000100: ")
    assert (tmp_path / "harmed-0000100").is_dir()
    assert checkpoints.newest(tmp_path)[1] == []


def test_early_steps_are_those_of_a_log_scale():
    policy = Policy(every_steps=100, early=True)
    assert [n for n in range(1, 130) if policy.keeps(n)] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert [n for n in range(1, 130) if policy.writes(n, 1000)] == [
        1, 2, 4, 8, 16, 32, 64, 100, 128,
    ]  # fmt: skip
    assert not policy.writes(1000, 1000)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 30), st.integers(1, 4), st.booleans(), st.integers(0, 20), st.integers(1, 120)
)
def test_what_the_policy_keeps_is_there_at_the_end(tmp_path_factory, every, last, early, each, n):
    folder = tmp_path_factory.mktemp("kept")
    policy = Policy(every_steps=every, keep_last=last, early=early, keep_every_steps=each)
    written = [step for step in range(1, n + 1) if policy.writes(step, n + 1)]
    for step in written:
        write(folder, step, f"weights {step}")
        checkpoints.prune(folder, policy)
    states = sorted(int(p.name[5:]) for p in folder.glob("step-*"))
    assert states == written[-last:]
    kept = dict(checkpoints.kept(folder, policy))
    assert list(kept) == [step for step in written if policy.keeps(step)]
    for step, place in kept.items():
        assert (place / "model.safetensors").read_text() == f"weights {step}"


def test_a_checkpoint_written_again_replaces_the_former(tmp_path):
    write(tmp_path, 5, "old")
    whole = write(tmp_path, 5, "new")
    assert (whole / "model" / "model.safetensors").read_text() == "new"
    names = set(json.loads((whole / "checkpoint.json").read_text())["files"])
    assert names == {"state", "model/model.safetensors"}
