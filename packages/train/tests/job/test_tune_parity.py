"""Tuning: every strategy gives the same losses, and a kill changes nothing."""

import json
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and parent death signals"),
]
TOLERANCE = 1e-6  # as in test_parity.py


@pytest.fixture(scope="module")
def base(make):
    return make.model()


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "talks.jsonl"
    rows = [{"instruction": f"Say {n}", "output": "yes" * (n % 4 + 1)} for n in range(21)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "data": [{"use": "train/jsonl", "path": str(path)}],
        "batch": 4,
        "accumulate": 2,
        "epochs": 3,
        "schedule": {"kind": "cosine", "peak": 1e-2, "warmup_steps": 2},
        "checkpoint": {"every_steps": 3},
    }


def losses(folder):
    text = (folder / "out" / "training.jsonl").read_text()
    return [json.loads(line)["loss"] for line in text.splitlines()]


def finish(driven):
    told = driven.end()
    assert "facts" in told, (told, (driven.folder / "driver.log").read_text()[-4000:])
    return losses(driven.folder)


@pytest.fixture(scope="module")
def single(driven_class, base, config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("single")
    return finish(driven_class(folder, "train/tune", config, [base]))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp2", "deepspeed-1", "deepspeed-2", "deepspeed-3"])
def test_every_strategy_has_the_losses_of_one_process(
    drive, base, config, single, tmp_path, strategy
):
    changed = {**config, "strategy": f"train/{strategy}"}
    found = finish(drive(tmp_path, "train/tune", changed, [base]))
    assert len(found) == 8  # 63 seen, 8 in a step
    assert found == pytest.approx(single, abs=TOLERANCE, rel=0)


@pytest.mark.parametrize("strategy", ["ddp", "deepspeed-2"])
def test_an_adapter_has_the_losses_of_one_process_too(drive, base, config, tmp_path, strategy):
    config = {**config, "method": {"use": "train/lora", "rank": 2}, "epochs": 1}
    one = finish(drive(tmp_path / "one", "train/tune", config, [base]))
    changed = {**config, "strategy": f"train/{strategy}"}
    found = finish(drive(tmp_path / "two", "train/tune", changed, [base]))
    assert found == pytest.approx(one, abs=TOLERANCE, rel=0)


@pytest.mark.parametrize("strategy", ["fsdp2", "deepspeed-3"])
def test_preferences_have_the_losses_of_one_process_too(drive, base, tmp_path, strategy):
    path = tmp_path / "pairs.jsonl"
    rows = [{"prompt": f"Say {n}", "chosen": "yes", "rejected": "nope"} for n in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = {
        "data": [{"use": "train/jsonl", "path": str(path)}],
        "batch": 2,
        "preference": {"loss": "dpo"},
        "schedule": {"kind": "cosine", "peak": 1e-2, "warmup_steps": 1},
    }
    one = finish(drive(tmp_path / "one", "train/tune", config, [base]))
    changed = {**config, "strategy": f"train/{strategy}"}
    found = finish(drive(tmp_path / "two", "train/tune", changed, [base]))
    assert len(found) == 3
    assert found == pytest.approx(one, abs=TOLERANCE, rel=0)


@pytest.mark.parametrize("method", ["train/full", "train/lora"])
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(drive, base, config, tmp_path, method):
    config = {**config, "method": method}
    whole = finish(drive(tmp_path / "whole", "train/tune", config, [base]))
    driven = drive(tmp_path / "killed", "train/tune", config, [base])
    driven.until(5)
    workers = driven.ranks()
    driven.process.kill()
    driven.process.wait()
    driven.wait_until_gone(workers)
    assert finish(drive(tmp_path / "killed", "train/tune", config, [base])) == whole
    places = [tmp_path / name / "out" / "model.safetensors" for name in ("whole", "killed")]
    assert places[0].read_bytes() == places[1].read_bytes()
