"""Whole training jobs in processes of their own: equal bytes, resuming, being killed."""

import json
import os
import re
import shutil
import signal
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and parent death signals"),
]
# Many, though few are needed: a busy machine may run some between the word "step 8" and the kill.
STEPS = 48


def newest_checkpoint(folder):
    """The last step whose checkpoint is whole; the tests cannot know how far a killed run came."""
    return max(
        int(place.name.removeprefix("step-")) for place in (folder / "scratch").glob("step-*")
    )


@pytest.fixture(scope="module")
def config(make):
    return {
        "model": {"use": "train/llama", **make.shape, "context": 32},
        "steps": STEPS,
        "batch": 4,
        "accumulate": 2,
        "checkpoint": {"every_steps": 3},
        "schedule": {"kind": "wsd", "peak": 1e-2, "warmup_steps": 2},
        "prompts": ["The file"],
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory, make, config, pieces, shards, request):
    """A run that nobody interrupts."""
    driven_class = request.getfixturevalue("driven_class")
    folder = tmp_path_factory.mktemp("whole")
    driven = driven_class(folder, "train/pretrain", config, [shards, pieces])
    facts = driven.end().get("facts")
    assert facts, (folder / "driver.log").read_text()[-4000:]
    return folder, facts


def losses(folder):
    text = (folder / "out" / "training.jsonl").read_text()
    return [json.loads(line)["loss"] for line in text.splitlines()]


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def test_a_run_learns_and_leaves_a_plain_hugging_face_folder(whole):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, facts = whole
    model = AutoModelForCausalLM.from_pretrained(folder / "out")
    assert sum(p.numel() for p in model.parameters()) == facts["parameters"]
    assert AutoTokenizer.from_pretrained(folder / "out").eos_token == "</s>"
    assert len(losses(folder)) == STEPS == facts["steps"]
    assert losses(folder)[-1] < losses(folder)[0] - 0.2
    assert facts["tokens_seen"] == STEPS * 2 * 4 * 32
    assert [prompt for prompt, _ in facts["continued"]] == ["The file"]
    assert (folder / "out" / "model.safetensors").stat().st_mode & 0o044


def test_a_run_stopped_by_ctrl_c_then_killed_ends_with_the_bytes_of_a_whole_one(
    whole, drive, tmp_path, config, pieces, shards
):
    arguments = (tmp_path, "train/pretrain", config, [shards, pieces])
    first = drive(*arguments)
    first.until(5)
    workers = first.ranks()
    os.killpg(first.process.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
    first.process.wait()
    first.wait_until_gone(workers)
    assert 3 <= newest_checkpoint(tmp_path) < STEPS

    second = drive(*arguments)
    second.until(newest_checkpoint(tmp_path) + 5)
    workers = second.ranks()
    assert len(workers) == 1
    second.process.kill()
    second.process.wait()
    second.wait_until_gone(workers)

    newest = newest_checkpoint(tmp_path)
    assert 6 <= newest < STEPS
    # What dying in the middle of a write leaves behind.
    part = tmp_path / "scratch" / f"part-{newest + 3:07}"
    part.mkdir(exist_ok=True)
    (part / "state").write_bytes(b"half a checkpoint")
    with (tmp_path / "scratch" / "training.jsonl").open("a") as log:
        log.write(f'{{"step": {newest + 2}, "lo')
    third = drive(*arguments)
    steps = [line["step"] for line in third.lines() if "step" in line]
    assert third.process.wait() == 0
    assert steps[0] == newest + 1
    assert bytes_of(tmp_path) == bytes_of(whole[0])


def test_zero_two_in_two_processes_killed_and_resumed_trains_the_same_model(
    whole, drive, tmp_path, config, pieces, shards
):
    from transformers import AutoModelForCausalLM

    changed = {**config, "strategy": "train/deepspeed-2"}
    arguments = (tmp_path, "train/pretrain", changed, [shards, pieces])
    first = drive(*arguments)
    first.until(5)
    workers = first.ranks()
    assert sorted(workers.values()) == [-1, 0, 1]
    first.process.kill()
    first.process.wait()
    first.wait_until_gone(workers)

    facts = drive(*arguments).end()["facts"]
    assert losses(tmp_path) == pytest.approx(losses(whole[0]), abs=1e-4, rel=0)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert sum(p.numel() for p in model.parameters()) == facts["parameters"]
    other = AutoModelForCausalLM.from_pretrained(whole[0] / "out").state_dict()
    assert max(float((v - other[k]).abs().max()) for k, v in model.state_dict().items()) < 2e-3


def test_zero_three_in_bf16_exports_its_fp32_masters_and_keeps_embeddings_tied(
    drive, tmp_path, config, pieces, shards
):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    changed = {**config, "strategy": "train/deepspeed-3", "precision": "bf16-mixed", "steps": 2}
    assert "facts" in drive(tmp_path, "train/pretrain", changed, [shards, pieces]).end()
    state = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    assert any(not torch.equal(x, x.bfloat16().float()) for x in state.values())
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.dtype == torch.float32
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_rank_that_dies_ends_the_job_and_is_named(drive, tmp_path, config, pieces, shards):
    changed = {**config, "strategy": "train/ddp", "steps": 100_000}
    driven = drive(tmp_path, "train/pretrain", changed, [shards, pieces])
    driven.until(2)
    workers = driven.ranks()
    os.kill(next(process for process, rank in workers.items() if rank == 1), signal.SIGKILL)
    told = driven.end()
    assert told["failed"] == "training stopped: rank 1 was killed by SIGKILL"
    assert "last checkpoint" in told["hint"]
    driven.wait_until_gone(workers)


def test_a_loss_that_is_no_number_ends_with_the_step_and_a_remedy(
    drive, tmp_path, config, pieces, shards
):
    changed = {**config, "schedule": {"kind": "constant", "peak": 1e18, "warmup_steps": 0}}
    told = drive(tmp_path, "train/pretrain", changed, [shards, pieces]).end()
    # Whichever of the two is seen first depends on the machine's arithmetic.
    said = r"training stopped: the (loss|norm of the gradient) is nan at step [23]\b.*"
    assert re.fullmatch(said, told["failed"])
    assert "lower schedule.peak" in told["hint"]
    assert not list((tmp_path / "scratch").glob("step-*"))


def test_going_on_from_a_model_starts_at_its_loss_and_keeps_its_shape(
    whole, make, yoriai_job, pieces, shards, tmp_path
):
    from yoriai_train.settings.schedule import Schedule
    from yoriai_train.steps.pretrain import Pretrain

    shutil.copytree(whole[0] / "out", tmp_path / "copy")
    base = make.seal(tmp_path / "copy", tmp_path / "base", "model")
    schedule = Schedule(kind="constant", peak=1e-4, warmup_steps=0)
    step = Pretrain(steps=2, batch=8, schedule=schedule)
    made = yoriai_job("more", step, [shards, pieces, base])
    assert made.facts["parameters"] == whole[1]["parameters"]
    assert made.facts["first_loss"] < losses(whole[0])[0] - 0.2
