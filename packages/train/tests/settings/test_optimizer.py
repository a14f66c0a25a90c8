"""Parameter groups and AdamW against the update written out."""

import pytest
from pydantic import ValidationError

from yoriai_train.settings.optimizer import Optimizer
from yoriai_train.settings.shapes import GPT2, GPTNeoX, Llama

TINY = {"layers": 1, "width": 16, "heads": 2}


def build(shape):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    body = shape.transformers_config(20)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model(body.pop("model_type"), **body))


def names_of(model, groups):
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {group["weight_decay"]: [names[id(p)] for p in group["params"]] for group in groups}


@pytest.mark.parametrize(
    "shape", [Llama(**TINY, key_value_heads=1), GPT2(**TINY), GPTNeoX(**TINY, rotary_share=0.5)]
)
def test_matrices_decay_and_norms_and_biases_do_not(shape):
    model = build(shape)
    groups = names_of(model, Optimizer().groups(model.named_parameters()))
    vectors = [
        name
        for name, _ in model.named_parameters()
        if "norm" in name or ".ln_" in name or name.endswith(".bias")
    ]
    assert groups[0.0] == vectors
    assert len(groups[0.0]) + len(groups[0.1]) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("shape", "embeddings"),
    [
        (Llama(**TINY, key_value_heads=1, tied=False), {"model.embed_tokens.weight"}),
        (GPT2(**TINY), {"transformer.wte.weight", "transformer.wpe.weight"}),
        (GPTNeoX(**TINY, rotary_share=0.5), {"gpt_neox.embed_in.weight"}),
    ],
)
def test_only_embeddings_change_sides_when_they_are_not_to_decay(shape, embeddings):
    model = build(shape)
    with_them = names_of(model, Optimizer().groups(model.named_parameters()))
    without = Optimizer(decay_embeddings=False).groups(model.named_parameters())
    assert set(with_them[0.1]) - set(names_of(model, without)[0.1]) == embeddings


def test_frozen_parameters_are_left_out_and_no_group_is_empty():
    model = build(Llama(**TINY, key_value_heads=1))
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "norm" in name
    [group] = Optimizer().groups(model.named_parameters())
    assert group["weight_decay"] == 0.0


def test_parameters_that_zero_3_has_taken_away_are_judged_by_the_shape_they_had():
    import torch

    model = torch.nn.Linear(3, 2)
    model.weight.ds_shape, model.bias.ds_shape = model.weight.shape, model.bias.shape
    model.weight.data = torch.empty(0)
    decayed, others = Optimizer().groups(model.named_parameters())
    assert decayed["params"][0] is model.weight
    assert others["params"][0] is model.bias


def test_a_step_is_that_of_decoupled_adam_written_out():
    import torch

    torch.manual_seed(1)
    model = torch.nn.Linear(5, 4).double()
    config = Optimizer(beta1=0.8, beta2=0.9, epsilon=1e-3, weight_decay=0.2)
    optimizer, rate = config.build(model, 0.05), 0.05
    state = {p: [p.detach().clone(), 0.0, 0.0] for p in model.parameters()}
    for step in range(1, 4):
        for parameter, row in state.items():
            parameter.grad = g = torch.randn_like(parameter)
            row[1], row[2] = 0.8 * row[1] + 0.2 * g, 0.9 * row[2] + 0.1 * g * g
            decay = 0.2 if parameter.dim() == 2 else 0.0
            ahead = row[1] / (1 - 0.8**step) / ((row[2] / (1 - 0.9**step)).sqrt() + 1e-3)
            row[0] = row[0] * (1 - rate * decay) - rate * ahead
        optimizer.step()
        for parameter, (expected, _, _) in state.items():
            torch.testing.assert_close(parameter.detach(), expected)


@pytest.mark.parametrize("bad", [{"beta2": 1.0}, {"epsilon": 0}, {"clip": 0}, {"lr": 1}])
def test_impossible_values_are_refused(bad):
    with pytest.raises(ValidationError):
        Optimizer(**bad)
