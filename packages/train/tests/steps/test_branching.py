"""Decay branches: runs that go on from the state of another run."""

import itertools
import json
import shutil
import sys

import pytest

from yoriai import UsageError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and parent death signals"),
]
STABLE, END = 8, 12


@pytest.fixture(scope="module")
def config(make):
    return {
        "model": {"use": "train/llama", **make.shape, "context": 32},
        "steps": END,
        "batch": 4,
        "checkpoint": {"every_steps": 5},
        "schedule": {"kind": "wsd", "peak": 1e-2, "warmup_steps": 2, "decay_steps": END - STABLE},
    }


def train(driven_class, folder, config, artifacts):
    folder.mkdir()
    driven = driven_class(folder, "train/pretrain", config, artifacts)
    facts = driven.end().get("facts")
    assert facts, (folder / "driver.log").read_text()[-4000:]
    return [json.loads(line) for line in (folder / "out" / "training.jsonl").open()]


def sealed(make, folder):
    shutil.copytree(folder / "out", folder / "copy")
    return make.seal(folder / "copy", folder / "stable", "model")


def branch_of(config):
    inherited = {name: value for name, value in config.items() if name != "model"}
    return {**inherited, "branch": STABLE}


def stable_of(config):
    return {
        **config,
        "steps": STABLE,
        "schedule": {"kind": "constant", "peak": 1e-2, "warmup_steps": 2},
        "checkpoint": {"every_steps": 5, "keep_every_steps": 4, "keep_states": True},
    }


@pytest.mark.parametrize(
    "strategy", [{"use": "train/single"}, {"use": "train/deepspeed-1", "processes": 2}]
)
def test_a_decay_branch_gives_the_losses_of_a_run_that_decays_by_itself(
    strategy, driven_class, make, config, pieces, shards, tmp_path
):
    config = {**config, "strategy": strategy}
    whole = train(driven_class, tmp_path / "whole", config, [shards, pieces])
    train(driven_class, tmp_path / "stable", stable_of(config), [shards, pieces])
    stable = sealed(make, tmp_path / "stable")
    kept = sorted(path.name for path in (stable.path / "checkpoints").iterdir())
    assert kept == ["step-0000004", "step-0000008"]
    rows = train(driven_class, tmp_path / "branch", branch_of(config), [shards, pieces, stable])
    assert rows == whole[STABLE:]


def test_a_branch_that_cannot_be_says_why(
    driven_class, make, config, pieces, shards, tmp_path, yoriai_job
):
    from yoriai_train.settings.strategies import FSDP2
    from yoriai_train.steps.pretrain import Pretrain

    train(driven_class, tmp_path / "stable", stable_of(config), [shards, pieces])
    stable = sealed(make, tmp_path / "stable")
    branch = {**branch_of(config), "schedule": {"kind": "sqrt", "warmup_steps": 0}}
    numbers = itertools.count()

    def refused(artifacts, seed=11, **changes):  # the driver's seed
        with pytest.raises(UsageError) as error:
            yoriai_job(
                f"branch{next(numbers)}", Pretrain(**{**branch, **changes}), artifacts, seed=seed
            )
        return f"{error.value} {error.value.hint}"

    given = [shards, pieces, stable]
    assert "keeps no state of step 7: there are those of 4, 8" in refused(given, branch=7)
    assert "number of sequences in a step" in refused(given, batch=8)
    assert "with another seed" in refused(given, seed=12)
    assert "is whole; the strategy reads what is cut by torch" in refused(given, strategy=FSDP2())
    with pytest.raises(UsageError, match="ends before it begins"):
        Pretrain(**{**branch, "steps": STABLE}).expect([])
    assert "no model under 'from'" in refused([shards, pieces])
    (stable.path / "checkpoints" / "step-0000004" / "state").write_bytes(b"cut")
    assert "state was changed" in refused(given, branch=4)
