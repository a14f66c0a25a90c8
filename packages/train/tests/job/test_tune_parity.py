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
def methods(config):
    return {
        "full": config,
        "lora": {**config, "method": {"use": "train/lora", "rank": 2}, "epochs": 2},
    }


@pytest.fixture(scope="module")
def whole(driven_class, base, methods, tmp_path_factory):
    """By method: the folder of a run in one process that nothing disturbed."""
    made = {}
    for name, config in methods.items():
        driven = driven_class(tmp_path_factory.mktemp(name), "train/tune", config, [base])
        finish(driven)
        made[name] = driven.folder
    return made


@pytest.mark.parametrize(
    ("method", "strategy"),
    [
        ("full", "ddp"),
        ("full", "fsdp2"),
        ("full", "deepspeed-1"),
        ("full", "deepspeed-2"),
        ("full", "deepspeed-3"),
        ("lora", "ddp"),
        ("lora", "deepspeed-2"),
    ],
)
def test_every_strategy_has_the_losses_of_one_process(
    drive, base, methods, whole, tmp_path, method, strategy
):
    changed = {**methods[method], "strategy": f"train/{strategy}"}
    found = finish(drive(tmp_path, "train/tune", changed, [base]))
    assert len(found) == {"full": 8, "lora": 6}[method]  # 63 or 42 seen, 8 in a step
    assert found == pytest.approx(losses(whole[method]), abs=TOLERANCE, rel=0)


@pytest.fixture(scope="module")
def preferring(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "pairs.jsonl"
    rows = [{"prompt": f"Say {n}", "chosen": "yes", "rejected": "nope"} for n in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "data": [{"use": "train/jsonl", "path": str(path)}],
        "batch": 2,
        "preference": {"loss": "dpo"},
        "schedule": {"kind": "cosine", "peak": 1e-2, "warmup_steps": 1},
    }


@pytest.fixture(scope="module")
def preferred(driven_class, base, preferring, tmp_path_factory):
    folder = tmp_path_factory.mktemp("preferred")
    return finish(driven_class(folder, "train/tune", preferring, [base]))


@pytest.mark.parametrize("strategy", ["fsdp2", "deepspeed-3"])
def test_preferences_have_the_losses_of_one_process_too(
    drive, base, preferring, preferred, tmp_path, strategy
):
    changed = {**preferring, "strategy": f"train/{strategy}"}
    found = finish(drive(tmp_path, "train/tune", changed, [base]))
    assert len(found) == 3
    assert found == pytest.approx(preferred, abs=TOLERANCE, rel=0)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_run_that_was_killed_goes_on_to_the_same_bytes(
    drive, base, methods, whole, tmp_path, method
):
    driven = drive(tmp_path, "train/tune", methods[method], [base])
    driven.until(5)
    workers = driven.ranks()
    driven.process.kill()
    driven.process.wait()
    driven.wait_until_gone(workers)
    found = finish(drive(tmp_path, "train/tune", methods[method], [base]))
    assert found == losses(whole[method])
    places = [folder / "out" / "model.safetensors" for folder in (whole[method], tmp_path)]
    assert places[0].read_bytes() == places[1].read_bytes()
