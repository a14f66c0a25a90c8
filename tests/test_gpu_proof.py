"""``nox -s gpu`` as far as it can be tested without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from yoriai_train.plan.hardware import gpus
from yoriai_train.settings.spec import Spec

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    import gpu
    from gpu_proof import processes, trainings
finally:
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("short", [name for name in gpus() if name not in ("cpu", "v100-32")])
def test_the_large_training_is_planned_to_fit_and_twice_as_much_is_not_or_is_the_most(short):
    batch = trainings.large_batch_of(short)
    if batch == 0:
        assert not trainings.planned(short, 1).fits
        return
    assert trainings.planned(short, batch).fits
    assert batch == 16 or not trainings.planned(short, 2 * batch).fits
    assert 1.2e9 < trainings.planned(short, 1).shape.total_parameters < 1.5e9


def test_each_training_is_a_specification_that_a_rank_reads(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(trainings.LARGE.transformers_config(16_000)))
    for on_gpu in (True, False):
        names = set()
        for training in trainings.trainings(on_gpu=on_gpu, large_batch=4):
            path = trainings.specification(training, tmp_path, tmp_path / "scratch")
            spec = Spec.model_validate_json(path.read_bytes())
            assert spec.build_strategy().processes == 1
            names.add(training.name)
        assert {"fp32", "bf16", "bf16 DeepSpeed3", "bf16 FSDP2", "bf16 compile"} <= names
        assert ("1.3B" in names) == on_gpu


def training(name: str):
    return next(t for t in trainings.trainings(on_gpu=True, large_batch=1) if t.name == name)


def test_losses_are_judged_beside_the_cpus_and_what_did_not_run_is_no_failure():
    assert (
        trainings.judge(training("fp32"), {"losses": [9.0, 8.0, 7.0]}, [9.001, 8.0]).holds is True
    )
    assert trainings.judge(training("fp32"), {"losses": [9.0, 8.1]}, [9.0, 8.0]).holds is False
    assert trainings.judge(training("bf16"), {"losses": [9.0, 8.1]}, [9.0, 8.0]).holds is True
    assert trainings.judge(training("bf16"), {"losses": [9.0]}, []).holds is None
    assert (
        trainings.judge(training("bf16"), {"losses": [], "failed": processes.NO_TIME}, [9.0]).holds
        is None
    )
    assert (
        trainings.judge(training("bf16"), {"losses": [], "failed": "it broke"}, [9.0]).holds
        is False
    )
    assert trainings.judge(training("1.3B"), {"losses": [11.0, 10.0]}, []).holds is True
    assert trainings.judge(training("1.3B"), {"losses": [11.0, float("nan")]}, []).holds is False


def test_the_large_training_stands_beside_its_plan():
    plan = trainings.planned("h100", 8)
    gb = plan.memory.peak_bytes / 1e9
    good = {"memory_gb": 0.9 * gb, "mfu": 0.4, "tokens_per_second": 1.0}
    assert [c.holds for c in trainings.beside_plan(good, plan)] == [True, True]
    bad = {"memory_gb": 1.5 * gb, "mfu": 0.1, "tokens_per_second": 1.0}
    assert [c.holds for c in trainings.beside_plan(bad, plan)] == [False, False]
    assert trainings.beside_plan({"failed": "it broke"}, plan) == []


@pytest.mark.parametrize("minutes", ["0", "-1", "1440", "nan"])
def test_a_time_that_is_none_is_refused(minutes):
    with pytest.raises(SystemExit):
        gpu.parsed(["--minutes", minutes])


def test_a_rehearsal_says_on_the_page_and_in_the_json_that_it_is_no_proof(tmp_path):
    around = {"device": "cpu", "libraries": {"torch": "2"}}
    facts = {"surroundings": around, "trainings": {"fp32": {"failed": "<b>"}}, "peers": {}}
    checks = [processes.Check("a", "b", "c", None), processes.Check("d", "e", "f", False)]
    told, page = gpu.write(facts, checks, tmp_path)
    value = json.loads(told.read_bytes())
    assert value["proof"] is False
    assert [row["holds"] for row in value["checks"]] == [None, False]
    html = page.read_text(encoding="utf-8")
    assert "no proof of anything on GPUs" in html
    assert "not run" in html
    assert "<b>" not in html
    around["device"] = "NVIDIA H100"
    assert json.loads(gpu.write(facts, checks, tmp_path)[0].read_bytes())["proof"] is True


def test_a_part_without_time_ends_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "WORK", tmp_path)
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    code, _, err = processes.call(command, 1.0, os.environ)
    assert (code, processes.reason(code, err)) == (124, processes.NO_TIME)
    assert processes.reason(1, "noise\nerror: it broke\n  try: this\n") == "error: it broke"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs parent death signals")
def test_a_rehearsal_on_a_cpu_trains_by_the_projects_own_ranks(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path; import gpu;"
        "place = Path(sys.argv[2]); gpu.processes.WORK = place / 'work';"
        "gpu.write.__defaults__ = (place,);"
        "sys.exit(gpu.main(['--cpu', '--only', 'fp32', '--minutes', '10']))"
    )
    command = [sys.executable, "-c", script, str(BENCHMARKS), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "proves nothing of GPUs" in done.stdout
    value = json.loads((tmp_path / "gpu.json").read_bytes())
    assert value["checks"][0]["part"] == "train: fp32"
    assert value["checks"][0]["holds"] is True
