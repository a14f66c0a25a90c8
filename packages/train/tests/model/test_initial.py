"""How a model begins: numbers that depend on the seed and the name of each parameter alone."""

import pytest

pytest.importorskip("torch")
from yoriai_train.model.initial import initialise
from yoriai_train.settings.shapes import GPT2, GPTNeoX, Llama


def build(shape, vocabulary: int):
    from transformers import AutoConfig, AutoModelForCausalLM

    body = shape.transformers_config(vocabulary)
    config = AutoConfig.for_model(body.pop("model_type"), **body)
    return AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize(
    "shape",
    [
        Llama(layers=8, width=96, heads=4, tied=False, initial_deviation=0.05, scaled_outputs=True),
        GPT2(layers=8, width=96, heads=4, initial_deviation=0.05),
        GPTNeoX(layers=8, width=96, heads=4, rotary_share=0.5, initial_deviation=0.05),
    ],
)
def test_initial_values_are_normal_with_small_outputs_and_neutral_norms(shape):
    model = build(shape, 400)
    initialise(model, shape, seed=3)
    outputs = ("o_proj", "down_proj", "c_proj", "attention.dense", "dense_4h_to_h")
    seen = 0
    for name, value in model.named_parameters():
        if name.endswith(".bias"):
            assert not value.any()
        elif value.dim() < 2:
            assert (value == 1).all()
        else:
            small = name.removesuffix(".weight").endswith(outputs)
            seen += small
            expected = 0.05 / 4 if small else 0.05  # sqrt(2 x 8 layers) = 4
            assert value.std().item() == pytest.approx(expected, rel=0.05), name
            assert abs(value.mean().item()) < expected / 20
    assert seen == 16


def test_initial_values_depend_on_the_seed_and_the_name_alone():
    import torch

    shape, deeper = Llama(layers=1), Llama(layers=2)
    models = [build(s, 50) for s in (shape, shape, deeper, shape)]
    for model, seed in zip(models, (3, 3, 3, 4), strict=True):
        initialise(model, shape, seed)
    first, again, deep, other = (model.state_dict() for model in models)
    for name, value in first.items():
        assert torch.equal(value, again[name])
        assert torch.equal(value, deep[name])
    key = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(first[key], other[key])
    assert not torch.equal(first[key], first["model.layers.0.mlp.gate_proj.weight"])


def test_scaled_outputs_are_those_transformers_draws_for_gpt_2():
    shape = GPT2(layers=8, width=96, heads=4, initial_deviation=0.05)
    theirs = build(shape, 400).transformer.h[3].mlp.c_proj.weight
    assert theirs.std().item() == pytest.approx(0.05 / 4, rel=0.05)
