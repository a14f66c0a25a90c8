"""What is said when a GPU's memory runs out."""

import json

from yoriai_train.job import worker
from yoriai_train.plan.out_of_memory import advise, setup_of
from yoriai_train.settings import spec as specs
from yoriai_train.settings.shapes import Llama
from yoriai_train.settings.strategies import DDP, DeepSpeed3, Single

LARGE = Llama(layers=24, width=2048, heads=16, key_value_heads=16, feed_forward=7168, context=4096)


def spec(strategy, **changes):
    told = {
        **specs.describe_strategy(strategy),
        "model": LARGE.transformers_config(99_487),
        "out": "", "scratch": "", "steps": 1, "batch": 32, "context": 4096, "schedule": {},
        "precision": "bf16-mixed", "seed": 0,
    }  # fmt: skip
    return specs.Spec(**(told | changes))


def test_settings_are_named_with_what_each_frees_the_cheapest_first():
    told = advise(spec(DDP(processes=8)))
    first, *others = told.split("; or ")
    assert first.startswith("batch: 16, accumulate: 2 (2 instead of 4 sequences a GPU) frees ")
    assert any(other.startswith("activation_checkpoints: true") for other in others)
    assert all(" GiB" in part for part in (first, *others))


def test_settings_that_are_there_are_counted_and_not_named_again():
    keys = {"processes": 8, "offload_optimizer": True, "sequence_parallel": 8}
    setup = setup_of(
        spec(DeepSpeed3(**keys, hpz_partition_size=4, quantized_weights=True), batch=2)
    )
    assert (setup.micro_batch, setup.tokens) == (2, 2 * 4096 // 8)
    assert (setup.hpz_partition_size, setup.quantized_weights) == (4, True)
    told = advise(spec(DeepSpeed3(**keys, hpz_partition_size=4), batch=1))
    assert "strategy.hpz_partition_size: 1" in told
    assert "strategy.offload_parameters: true" in told
    assert "offload_optimizer" not in told
    assert "sequence_parallel" not in told, "a node has no more GPUs that could share"


def test_a_model_without_formulas_gets_a_general_answer():
    assert "smaller batch" in advise(spec(Single(), model={"model_type": "mamba"}))


def test_the_worker_says_so_instead_of_a_traceback(tmp_path, monkeypatch, capsys):
    import torch

    from yoriai_train.job import loop

    def run(spec):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB. GPU 0 …")

    path = tmp_path / "spec.json"
    path.write_text(spec(DDP(processes=8)).model_dump_json())
    monkeypatch.setattr(loop, "run", run)
    monkeypatch.setattr(worker, "heed_parent_only", lambda: None)
    monkeypatch.setattr("sys.argv", ["worker", str(path)])
    assert worker.main() == 1
    told = json.loads(capsys.readouterr().out.removeprefix("@error "))
    assert told["message"] == "GPU memory ran out (CUDA out of memory)"
    assert "frees" in told["hint"]
