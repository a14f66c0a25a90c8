"""A run that is told that its time is up: a checkpoint at that step, and the same losses after."""

import json
import os
import re
import signal
import sys

import pytest

from yoriai.errors import TimedOut
from yoriai_train.job import start
from yoriai_train.settings import checkpoints, spec

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and process groups")
STEPS = 60  # many, so that a busy machine has not done them all when the signal is sent


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def told_to_one(driven):
    os.kill(driven.process.pid, signal.SIGTERM)


def told_to_all(driven):
    """As Slurm's ``--signal=USR1@300`` without ``B:``; torchrun and the ranks hear it, too."""
    os.killpg(driven.process.pid, signal.SIGUSR1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "send", "name"),
    [
        ("train/single", told_to_one, "SIGTERM"),
        ("train/ddp", told_to_all, "SIGUSR1"),
        ("train/deepspeed-2", told_to_one, "SIGTERM"),
    ],
)
def test_a_signal_ends_training_with_a_checkpoint_of_its_last_step_and_nothing_is_lost(
    drive, tmp_path, make, pieces, shards, strategy, send, name
):
    config = {
        "model": {"use": "train/llama", **make.shape, "context": 32},
        "steps": STEPS,
        "batch": 4,
        "accumulate": 2,
        "strategy": strategy,
        "checkpoint": {"every_steps": 1000},  # only the signal writes one
        "schedule": {"kind": "wsd", "peak": 1e-2, "warmup_steps": 2},
    }
    arguments = ("train/pretrain", config, [shards, pieces])
    first = drive(tmp_path / "cut", *arguments)
    first.until(5)
    workers = first.ranks()
    send(first)
    told = first.end()
    first.wait_until_gone(workers)
    scratch = tmp_path / "cut" / "scratch"
    last = rows(scratch / "training.jsonl")[-1]["step"]
    assert 5 <= last < STEPS
    assert told["failed"] == (
        f"training stopped after step {last}, which has a checkpoint: {name} came"
    )
    found, problems = checkpoints.newest(scratch)
    assert (found.step, problems) == (last, [])
    assert not (scratch / spec.STOP).exists()

    second = drive(tmp_path / "cut", *arguments)
    steps = [line["step"] for line in second.lines() if "step" in line]
    assert second.process.wait(120) == 0
    assert steps == [*range(last + 1, STEPS + 1)]
    whole = drive(tmp_path / "whole", *arguments)
    assert "facts" in whole.end()
    losses, expected = (
        [row["loss"] for row in rows(tmp_path / name / "out" / "training.jsonl")]
        for name in ("cut", "whole")
    )
    assert losses == expected


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["train/single", "train/ddp"])
def test_sigterm_to_all_processes_leaves_no_time_for_a_checkpoint_and_is_no_failure_either(
    drive, tmp_path, make, pieces, shards, strategy
):
    config = {
        "model": {"use": "train/llama", **make.shape, "context": 32},
        "steps": 100_000,
        "batch": 4,
        "strategy": strategy,
        "checkpoint": {"every_steps": 3},
    }
    driven = drive(tmp_path, "train/pretrain", config, [shards, pieces])
    driven.until(7)
    workers = driven.ranks()
    os.killpg(driven.process.pid, signal.SIGTERM)
    told = driven.end()
    driven.wait_until_gone(workers)
    assert re.fullmatch(r"training stopped( after step \d+, .*)?: SIGTERM came", told["failed"])
    found, problems = checkpoints.newest(tmp_path / "scratch")
    assert found.step >= 6
    assert not problems


def test_a_second_signal_ends_the_job_at_once(tmp_path):
    class AtOnce(Exception):
        pass

    def end(number, frame):
        raise AtOnce

    before = signal.signal(signal.SIGTERM, end)
    try:
        with start.asking_to_stop(tmp_path / "stop") as came:
            signal.raise_signal(signal.SIGTERM)
            assert came == [signal.SIGTERM]
            assert (tmp_path / "stop").exists()
            with pytest.raises(AtOnce):
                signal.raise_signal(signal.SIGTERM)
        assert not (tmp_path / "stop").exists()
        assert signal.getsignal(signal.SIGTERM) is end
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("told", "words"),
    [([], "training stopped: SIGTERM came"), ([("stopped", {"step": 7})], "after step 7, which")],
)
def test_the_end_is_one_that_scripts_can_tell_from_a_failure(told, words):
    error = start._timed_out(signal.SIGTERM, told)
    assert isinstance(error, TimedOut)
    assert error.exit_code == 6
    assert words in error.message
    assert "go on from its last checkpoint" in error.hint
