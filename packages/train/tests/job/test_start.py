"""What a training job refuses before it starts, and how it explains what went wrong."""

import json
from pathlib import Path

import pytest

from yoriai import UsageError
from yoriai_train.job import ends, loop, start
from yoriai_train.settings import spec as specs
from yoriai_train.settings.shapes import Llama
from yoriai_train.settings.strategies import DDP, FSDP2, Single
from yoriai_train.steps.pretrain import Pretrain

LOG = Path("stderr.log")
TORCHRUN = """\
[rank0]: Traceback (most recent call last):
[rank0]:   File "x.py", line 1, in <module>
[rank0]: RuntimeError: [gloo] Connection closed by peer
E1122 torch/distributed/elastic/multiprocessing/api.py:1] failed (exitcode: -9) local_rank: 1
Traceback (most recent call last):
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
Failures:
[1]:
  time      : 2026-11-22_01:00:00
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 10)
  error_file: <N/A>
Root Cause (first observed failure):
[0]:
  time      : 2026-11-22_01:00:00
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : {code} (pid: 11)
"""


def test_a_model_with_another_vocabulary_than_the_shards_is_refused(
    make, pieces, shards, yoriai_job
):
    def enlarge(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 9999}))

    with pytest.raises(UsageError, match="test/base@1 has 9999 pieces, the shards 260"):
        yoriai_job("a", Pretrain(steps=1), [shards, pieces, make.model(change=enlarge)])


def test_two_models_to_go_on_from_are_refused(make, pieces, shards, yoriai_job):
    with pytest.raises(UsageError, match="needs one model, 'from' gives 2"):
        yoriai_job("a", Pretrain(steps=1), [shards, pieces, make.model(), make.model()])


def test_a_batch_that_the_processes_cannot_share_is_refused(pieces, shards, yoriai_job):
    step = Pretrain(steps=1, batch=5, strategy=DDP())
    with pytest.raises(UsageError, match="batch of 5 cannot be shared by 2 processes") as told:
        yoriai_job("a", step, [shards, pieces])
    assert "multiple of 2" in told.value.hint


def test_a_context_longer_than_the_text_is_refused(pieces, shards, yoriai_job):
    step = Pretrain(steps=1, model=Llama(context=100_000))
    with pytest.raises(UsageError, match="no full window of"):
        yoriai_job("a", step, [shards, pieces])


def test_a_rank_that_was_killed_is_named():
    told = ends.explain(1, TORCHRUN.format(code=-9), LOG)
    assert told.message == "training stopped: rank 1 was killed by SIGKILL"
    told = ends.explain(-9, "", LOG)
    assert told.message == "training stopped: the training process was killed by SIGKILL"


def test_the_error_of_a_rank_is_told_and_not_torchruns_own():
    told = ends.explain(1, TORCHRUN.format(code=1), LOG)
    assert told.message == "training stopped: RuntimeError: [gloo] Connection closed by peer"
    assert "stderr.log" in told.hint


def test_a_full_disk_is_said_to_be_full():
    told = ends.explain(1, "OSError: [Errno 28] No space left on device\n", LOG)
    assert "free some space" in told.hint


def test_silence_is_told_as_the_exit_code():
    assert ends.explain(7, "", LOG).message == "training stopped: exit code 7"


def test_a_strategy_of_another_plugin_reaches_the_ranks():
    told = specs.describe_strategy(FSDP2(processes=4))
    assert told["strategy_class"] == "yoriai_train.settings.strategies:FSDP2"
    spec = specs.Spec(
        **told, out="", scratch="", steps=1, batch=1, context=1, schedule={}, seed=0,
    )  # fmt: skip
    assert spec.build_strategy() == FSDP2(processes=4)


def test_the_log_is_cut_back_to_the_checkpoint(tmp_path):
    log = tmp_path / "training.jsonl"
    start.keep_rows(log, 3)  # no log yet
    rows = [json.dumps({"step": step, "loss": 1.0}) + "\n" for step in range(1, 6)]
    log.write_text("".join(rows) + '{"step": 6')
    start.keep_rows(log, 4)
    assert log.read_text() == "".join(rows[:4])
    start.keep_rows(log, 0)
    assert log.read_text() == ""


def test_what_a_checkpoint_covers_is_already_in_the_log(shards, tmp_path, monkeypatch):
    class Died(Exception):
        """Stands for a kill right after the checkpoint was renamed."""

    def die(*arguments):
        if list(tmp_path.glob("step-*")):
            raise Died

    monkeypatch.setattr(loop.Evaluations, "on_train_batch_end", die)
    spec = specs.Spec(
        **specs.describe_strategy(Single()),
        model=Llama(layers=1, width=8, heads=1, key_value_heads=1).transformers_config(260),
        tokens=str(shards.path), out=str(tmp_path), scratch=str(tmp_path), steps=5, batch=2,
        context=16, schedule={}, checkpoint={"every_steps": 2}, seed=1,
    )  # fmt: skip
    with pytest.raises(Died):
        loop.run(spec)
    rows = (tmp_path / "training.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [1, 2]


def test_what_is_left_is_counted_from_the_checkpoint_that_a_job_goes_on_from(tmp_path):
    told = specs.Spec.model_construct(resume="", steps=16)
    assert start.steps_before(told) == 0
    told = specs.Spec.model_construct(resume=str(tmp_path / "step-0000004"), steps=16)
    assert start.steps_before(told) == 4
