"""Strategies: what is refused, and what Lightning, torchrun and DeepSpeed are told.

That all of them train the same model is tested in test_parity.py.
"""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from yoriai import UsageError
from yoriai_train.job.ranks import command
from yoriai_train.settings.strategies import (
    DDP,
    FSDP2,
    DeepSpeed1,
    DeepSpeed2,
    DeepSpeed3,
    Single,
    trainer_arguments,
)


def test_importing_the_module_imports_none_of_the_heavy_libraries():
    code = (
        "from yoriai_train.settings import strategies as s; import sys; s.DeepSpeed3(); s.FSDP2();"
        "heavy = {'torch', 'lightning', 'deepspeed', 'transformers', 'numpy'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_unknown_fields_stages_and_later_changes_are_refused():
    with pytest.raises(ValidationError, match="extra"):
        DDP(procesess=4)
    with pytest.raises(ValidationError, match="extra"):
        DeepSpeed2(stage=3)
    with pytest.raises(ValidationError, match="processes"):
        Single(processes=2)
    with pytest.raises(ValidationError, match="frozen"):
        DDP().processes = 4
    with pytest.raises(ValidationError, match="extra"):
        DeepSpeed2(hpz_partition_size=2)  # parameters are whole in stage 2
    with pytest.raises(ValidationError, match="divisor"):
        DeepSpeed1(processes=4, sequence_parallel=3)


@pytest.mark.parametrize(("kind", "stage"), [(DeepSpeed1, 1), (DeepSpeed2, 2), (DeepSpeed3, 3)])
def test_buckets_are_large_on_a_gpu_and_small_without_one(kind, stage):
    on_gpu, on_cpu = (kind().config(on_gpu=x)["zero_optimization"] for x in (True, False))
    assert on_gpu["stage"] == on_cpu["stage"] == stage
    assert on_gpu["reduce_bucket_size"] == on_gpu["allgather_bucket_size"] == 200_000_000
    assert on_cpu["reduce_bucket_size"] == on_cpu["allgather_bucket_size"] == 1_000_000
    assert (on_gpu["overlap_comm"], on_cpu["overlap_comm"]) == (True, False)


def test_one_process_is_plain_python_and_several_are_torchrun_on_a_free_port():
    assert command(Single(), ["worker.py", "a"]) == [sys.executable, "worker.py", "a"]
    line = " ".join(command(DDP(processes=4), ["worker.py", "a"]))
    assert "-m torch.distributed.run" in line
    assert "--nproc-per-node 4" in line
    assert "--rdzv-endpoint localhost:0" in line
    assert "--local-addr 127.0.0.1" in line
    assert line.endswith("worker.py a")


def test_several_processes_outside_torchrun_are_refused_instead_of_started_again():
    with pytest.raises(RuntimeError, match=r"torch\.distributed\.run --nproc-per-node 2"):
        trainer_arguments(DDP())


def test_single_refuses_more_than_one_node():
    with pytest.raises(ValueError, match="one node"):
        Single().build(num_nodes=2)


def test_fsdp2_shards_data_over_every_process_of_every_node():
    strategy = FSDP2(processes=8).build(num_nodes=12)
    assert strategy._data_parallel_size == 96
    assert strategy._tensor_parallel_size == 1


def test_options_of_stage_three_reach_deepspeed_under_its_names():
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    asked = DeepSpeed3(
        offload_parameters=True,
        offload_optimizer=True,
        hpz_partition_size=2,
        quantized_gradients=True,
        quantized_weights=True,
    ).config(on_gpu=True)["zero_optimization"]
    read = DeepSpeedZeroConfig(**asked)  # refuses names that it does not know
    assert (read.offload_param.device, read.offload_optimizer.device) == ("cpu", "cpu")
    assert read.zero_hpz_partition_size == 2
    assert read.zero_quantized_gradients
    assert read.zero_quantized_weights
    plain = DeepSpeedZeroConfig(**DeepSpeed3().config(on_gpu=True)["zero_optimization"])
    assert (plain.offload_param, plain.zero_hpz_partition_size) == (None, 1)
    assert not plain.zero_quantized_weights


@pytest.mark.parametrize(
    ("options", "nodes", "words"),
    [
        ({"hpz_partition_size": 3}, 2, "4 processes cannot be cut into groups of 3"),
        ({"quantized_gradients": True}, 1, "does nothing on one node"),
        ({"quantized_gradients": True}, 2, "quantized_gradients needs GPUs"),
        ({"quantized_weights": True}, 1, "quantized_weights needs GPUs"),
    ],
)
def test_what_deepspeed_cannot_do_on_these_machines_is_refused_by_name(
    options, nodes, words, monkeypatch
):
    monkeypatch.setattr("yoriai_train.settings.strategies._has_gpu", lambda: False)
    with pytest.raises(UsageError, match=words):
        DeepSpeed3(**options).build(num_nodes=nodes)


def test_parts_of_sequences_make_the_whole_again_with_their_positions():
    import torch

    from yoriai_train.job.batches import cut

    whole = {
        "input_ids": torch.arange(12).view(2, 6),
        "targets": torch.arange(1, 13).view(2, 6),
        "sources": torch.tensor([0, 1]),
    }
    parts = [cut(whole, part, 3) for part in range(3)]
    for name in ("input_ids", "targets"):
        assert torch.cat([part[name] for part in parts], 1).equal(whole[name])
    positions = torch.cat([part["position_ids"] for part in parts], 1)
    assert positions.tolist() == [[0, 1, 2, 3, 4, 5]] * 2
    assert all(part["sources"].equal(whole["sources"]) for part in parts)


def test_only_models_of_llamas_kind_share_sequences():
    from types import SimpleNamespace

    from yoriai_train.settings.strategies import share_sequences

    def model(**keys):
        return SimpleNamespace(config=SimpleNamespace(model_type="some", **keys))

    with pytest.raises(UsageError, match="some with 4 heads"):
        share_sequences(model(num_attention_heads=4), 2, 1)
    with pytest.raises(UsageError, match="between 3 processes"):
        share_sequences(model(num_attention_heads=4, num_key_value_heads=4), 3, 1)
