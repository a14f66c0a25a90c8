"""A run that is told that its time is up: a checkpoint at that step, and the same losses after."""

import contextlib
import json
import os
import signal
import subprocess
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


def told_to_all(number):
    """As GNU timeout does, a terminal's Ctrl-C, or Slurm's ``--signal`` without ``B:``: torchrun
    and the ranks hear it, too."""
    return lambda driven: os.killpg(driven.process.pid, number)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "send", "name"),
    [
        ("train/single", told_to_all(signal.SIGTERM), "SIGTERM"),
        ("train/ddp", told_to_all(signal.SIGUSR1), "SIGUSR1"),
        ("train/ddp", told_to_all(signal.SIGTERM), "SIGTERM"),
        ("train/single", told_to_all(signal.SIGINT), "SIGINT"),
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
    assert second.process.wait() == 0
    assert steps == [*range(last + 1, STEPS + 1)]
    whole = drive(tmp_path / "whole", *arguments)
    assert "facts" in whole.end()
    losses, expected = (
        [row["loss"] for row in rows(tmp_path / name / "out" / "training.jsonl")]
        for name in ("cut", "whole")
    )
    assert losses == expected


def test_a_second_signal_ends_the_job_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(start, "SAME_WISH_SECONDS", 0.0)

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


def test_gnu_timeout_signals_the_process_and_its_group_which_is_one_wish(tmp_path, monkeypatch):
    monkeypatch.setattr(start.time, "monotonic", lambda: 7.0)
    before = signal.signal(signal.SIGTERM, lambda *_: pytest.fail("taken for a second wish"))
    try:
        with start.asking_to_stop(tmp_path / "stop") as came:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGINT)
            assert came == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_what_a_shell_in_the_background_ignores_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with start.asking_to_stop(tmp_path / "stop") as came:
            signal.raise_signal(signal.SIGINT)
            assert came == []
    finally:
        signal.signal(signal.SIGINT, before)


RANK = """
import sys
from yoriai_train.job.ends import heed_parent_only
heed_parent_only()
for line in sys.stdin:
    print(line, end="", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_rank_leaves_signals_of_strangers_to_its_parent_and_heeds_the_parent(number):
    rank = subprocess.Popen(
        [sys.executable, "-c", RANK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def answers(word: str) -> bool:
        rank.stdin.write(f"{word}\n")
        rank.stdin.flush()
        return rank.stdout.readline() == f"{word}\n"

    assert answers("ready")
    subprocess.run(["kill", f"-{int(number)}", str(rank.pid)], check=True)
    assert answers("still here")
    # What torchrun sends to those that are left. Again until it arrives: a signal that comes while
    # one of its number is still waiting to be taken is one with it (signal(7)), and torchrun, too,
    # does not leave it at one.
    while rank.poll() is None:
        rank.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            rank.wait(0.5)
    assert rank.returncode == -signal.SIGTERM
    rank.stdin.close()
    rank.stdout.close()


def test_a_rank_that_is_done_cannot_fail_while_its_libraries_are_taken_down():
    code = (
        "import atexit, os; from yoriai_train.job import worker;"
        " atexit.register(os.abort); print('the last word'); worker.leave(0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "the last word\n")


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
