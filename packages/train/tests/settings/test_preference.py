"""Losses of preferences: TRL's numbers on the same batch, and the papers' formulas."""

import json
import math
from pathlib import Path

import pydantic
import pytest

from yoriai_train.settings.preference import Preference

# Written by benchmarks/train_peers/dpo_trl.py with TRL 1.16.0 in an environment of its own.
TRL = json.loads(Path(__file__).with_name("dpo_trl.json").read_bytes())
CONFIG = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 260, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
PROMPTS = [[5, 9, 30, 31], [7, 8]]
CHOSEN = [[40, 41, 42, 2], [50, 51, 2]]
REJECTED = [[60, 61, 2], [70, 71, 72, 73, 2]]


def model_of(scale):
    """The model of the peer's script, whose weights are a formula."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model("llama", **CONFIG)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            places = torch.arange(parameter.numel(), dtype=torch.float64)
            values = torch.sin(places * 1.7 + number) * scale + (parameter.dim() == 1)
            parameter.copy_(values.view_as(parameter))
    return model


def batch():
    from yoriai_train.job.batches import pad

    rows = []
    for prompt, chosen, rejected in zip(PROMPTS, CHOSEN, REJECTED, strict=True):
        for answer in (chosen, rejected):
            ids = prompt + answer
            rows.append({"ids": ids, "spans": [[len(prompt), len(ids)]]})
    return pad(rows, 4, 3, 0)


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("loss", ["dpo", "ipo"])
def test_loss_and_gradients_are_those_of_trl_on_the_same_batch(loss, lean):
    import torch

    from yoriai_train.model.cpu_llama import use_lean
    from yoriai_train.model.cpu_products import use_products
    from yoriai_train.model.loss import IGNORED, Head

    x, y = batch()
    with torch.no_grad():
        reference = Head(untuned := model_of(0.1)).losses(untuned, y, input_ids=x)
    model = model_of(0.11).train()
    if lean:
        use_products(model)
        use_lean(model)
    head = Head(model, chunked=lean)
    logps = -head.losses(model, y, input_ids=x).sum(-1).view(-1, 2)
    lengths = (y != IGNORED).sum(-1).view(-1, 2)
    losses, margins = Preference(loss=loss).of(logps, -reference.sum(-1).view(-1, 2), lengths)
    losses.mean().backward()
    assert float(losses.mean()) == pytest.approx(TRL[loss]["loss"], rel=1e-5)
    assert margins.requires_grad is False
    for name, parameter in model.named_parameters():
        norm, first = TRL[loss]["gradients"][name]
        assert float(parameter.grad.double().norm()) == pytest.approx(norm, rel=1e-4)
        found = float(parameter.grad.flatten()[:8].double().sum())
        assert found == pytest.approx(first, rel=1e-3, abs=1e-4 * norm)


def test_the_formulas_are_those_of_the_papers():
    import torch

    logps = torch.tensor([[-3.0, -5.0], [-8.0, -2.0]])
    reference = torch.tensor([[-4.0, -4.5], [-6.0, -2.5]])
    lengths = torch.tensor([[2, 4], [5, 3]])
    beta, d = 0.3, (1.5, -2.5)

    def sigmoid(value):
        return 1 / (1 + math.exp(-value))

    losses, margins = Preference(beta=beta).of(logps, reference, lengths)
    assert losses.tolist() == pytest.approx([-math.log(sigmoid(beta * v)) for v in d])
    assert margins.tolist() == pytest.approx([beta * v for v in d])
    losses, _ = Preference(loss="cdpo", beta=beta, wrong=0.2).of(logps, reference, lengths)
    assert losses.tolist() == pytest.approx(
        [-0.8 * math.log(sigmoid(beta * v)) - 0.2 * math.log(sigmoid(-beta * v)) for v in d]
    )
    losses, _ = Preference(loss="ipo", beta=beta).of(logps, reference, lengths)
    by_token = (1.0 / 2 - -0.5 / 4, -2.0 / 5 - 0.5 / 3)
    assert losses.tolist() == pytest.approx([(v - 1 / (2 * beta)) ** 2 for v in by_token])


@pytest.mark.parametrize("loss", ["dpo", "ipo", "cdpo"])
def test_a_model_that_is_the_reference_has_the_loss_of_no_preference(loss):
    import torch

    given = torch.tensor([[-3.0, -5.0]])
    rule = Preference(loss=loss)
    losses, margins = rule.of(given, given, torch.tensor([[3, 3]]))
    assert losses.tolist() == pytest.approx([rule.untrained])
    assert margins.tolist() == [0.0]


@pytest.mark.parametrize("bad", [{"beta": 0}, {"wrong": 0.5}, {"loss": "kto"}])
def test_what_makes_no_loss_is_refused(bad):
    with pytest.raises(pydantic.ValidationError):
        Preference(**bad)
