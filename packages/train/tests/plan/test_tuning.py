"""What a tuning needs: an adapter's parameters as PEFT counts them, and arithmetic by hand."""

import pytest

from yoriai_train.plan.decoder import Shape
from yoriai_train.plan.plan import Assumptions, plan
from yoriai_train.plan.tuning import (
    Rows,
    TuningPlan,
    adapter_parameters,
    flops_per_token,
    trained_of,
)
from yoriai_train.settings.methods import LoRA

KINDS = {
    "llama": {
        "hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 50, "head_dim": 8,
    },
    "gpt2": {"n_embd": 16, "n_layer": 3, "n_head": 2, "n_inner": 24, "vocab_size": 50},
    "gpt_neox": {
        "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
        "num_attention_heads": 2, "vocab_size": 50,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "method",
    [
        {"rank": 4},
        {"rank": 2, "targets": ["attention"]},
        {"rank": 2, "targets": ["feed-forward"], "dora": True},
        {"rank": 3, "dora": True, "modules": "last"},
    ],
    ids=["all", "attention", "feed-forward", "named"],
)
def test_the_parameters_of_an_adapter_are_those_that_peft_makes(kind, method):
    from transformers import AutoConfig, AutoModelForCausalLM

    method = dict(method)
    if "modules" in method:
        method["modules"] = {
            "llama": ["q_proj", "mlp.down_proj"], "gpt2": ["c_attn", "c_proj"],
            "gpt_neox": ["attention.dense", "dense_4h_to_h"],
        }[kind]  # fmt: skip
    lora = LoRA(**method)
    config = AutoConfig.for_model(kind, **KINDS[kind])
    model = AutoModelForCausalLM.from_config(config)
    lora.adapt(model)
    made = sum(p.numel() for p in model.parameters() if p.requires_grad)
    told = lora.model_dump()
    assert trained_of(told, Shape.of(config.to_dict())) == made


def tuning(trained=None, pairs=False, mfu=0.4, epochs=2.0, **changes):
    model = {"use": "train/llama", "layers": 2, "width": 64, "feed_forward": 160, "context": 128}
    machine = plan(
        {"model": model, "batch": 8, "accumulate": 2},
        vocabulary_size=1000, gpus_per_node=1, nodes=1, gpu="cpu",
        assumptions=Assumptions(yen_per_gpu_hour=100.0),
    )  # fmt: skip
    told = {"machine": machine, "trained": trained, "rows": Rows(100, 5000.0)}
    return TuningPlan(**{**told, "epochs": epochs, "pairs": pairs, "mfu": mfu, **changes})


def test_time_and_money_follow_from_tokens_and_the_share_of_the_peak():
    made = tuning()
    assert made.steps == 13  # 200 examples seen, 16 a step
    flops = 2 * 5000 * made.machine.shape.flops_per_token(50)
    assert made.flops == pytest.approx(flops)
    hours = flops / (0.096e12 * 0.4) / 3600
    assert made.gpu_hours == pytest.approx((hours, hours))
    assert made.yen == pytest.approx((100 * hours, 100 * hours))
    assert made.seconds == pytest.approx((hours * 3600, hours * 3600))
    # A share that nobody measured is a guess between the ends of what is published.
    least, most = tuning(mfu=None).seconds
    assert (least, most) == pytest.approx((hours * 3600 * 0.4 / 0.5, hours * 3600 * 0.4 / 0.2))


def test_frozen_weights_have_no_gradients_and_no_states():
    shape = tuning().machine.shape
    whole, frozen = (flops_per_token(shape, 64, frozen=f) for f in (False, True))
    assert whole - frozen == 2 * shape.multiplied_parameters
    full, adapted = tuning(), tuning(trained=1000)
    share = 1000 / shape.total_parameters
    parts = {part.name: part.bytes for part in adapted.memory.parts}
    of_full = {part.name: part.bytes for part in full.memory.parts}
    assert parts["parameters"] == of_full["parameters"]
    for name in ("gradients", "optimizer states"):
        assert parts[name] == pytest.approx(of_full[name] * share)
    assert parts["adapter"] == 4000
    assert adapted.memory.peak_bytes < full.memory.peak_bytes


def test_pairs_are_two_rows_and_a_forward_pass_of_the_untuned_model():
    made = tuning(pairs=True)
    each = made.machine.shape.flops_per_token(25)  # 100 pairs, 5,000 tokens of both sides
    assert made.flops == pytest.approx(5000 * each * (2 + 1 / 3))


def test_a_method_without_rank_trains_all():
    shape = tuning().machine.shape
    assert trained_of({}, shape) is None
    assert adapter_parameters(shape, rank=1, targets=[], dora=False) == 0
