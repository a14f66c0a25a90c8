"""What is refused, and what is said, before a training begins."""

import json

import pytest

from yoriai import UsageError
from yoriai_train.plan.decoder import Shape
from yoriai_train.settings.shapes import Llama
from yoriai_train.settings.strategies import DDP, DeepSpeed2
from yoriai_train.steps.pretrain import Pretrain

SHAPE = {"layers": 1, "width": 16, "heads": 2, "key_value_heads": 1, "feed_forward": 32}


def made(*artifacts):
    return [{"made": artifact} for artifact in artifacts]


def step(context=64, **keys):
    return Pretrain(model=Llama(**SHAPE, context=context), **{"steps": 2, "batch": 4, **keys})


def test_the_context_and_size_are_those_of_the_model_to_go_on_from(make, shards):
    base = make.model(context=32)
    known = Pretrain(steps=3, batch=4).expect([{"vocabulary_size": 260}, *made(shards, base)])
    assert (known["context"], known["tokens_seen"]) == (32, 3 * 4 * 32)
    body = json.loads((base.path / "config.json").read_bytes())
    assert known["parameters"] == Shape.of(body).total_parameters
    from_folder = Pretrain(steps=3, batch=4, start=str(base.path)).expect(made(shards))
    assert {key: known[key] for key in from_folder} == from_folder


def test_a_context_beside_a_model_of_another_is_refused_with_both_numbers(make, shards):
    base = make.model(context=32)
    words = "model.context is 64, and test/base@1 goes on with 32 tokens at a time"
    with pytest.raises(UsageError, match=words) as told:
        step().expect(made(shards, base))
    assert "leave model out" in told.value.hint
    # The same of a model that is not there yet, and of a folder.
    with pytest.raises(UsageError, match="model under 'from' goes on with 32"):
        step().expect([{"context": 32, "parameters": 5}, *made(shards)])
    with pytest.raises(UsageError, match=f"{base.path} goes on with 32"):
        step(start=str(base.path)).expect(made(shards))
    assert step(32).expect(made(shards, base))["context"] == 32


def test_shards_that_hold_no_window_of_the_context_are_refused_by_name(shards):
    with pytest.raises(UsageError, match="no full window of 100,000 tokens of text for ") as told:
        step(100_000).expect(made(shards))
    assert "model.context" in told.value.hint


def test_a_training_beyond_the_phases_is_refused_whether_their_shards_are_there_or_not(
    make, pieces
):
    phases = [{"name": "main", "weights": {"ja": 1}, "tokens": 640}]
    there = make.tokens(pieces, phases)
    with pytest.raises(UsageError, match="asks for 1,024 tokens, the phases of the"):
        step(steps=4).expect(made(there))
    expected = {"phase": {"main": "640 tokens"}, "tokens": 640}
    with pytest.raises(UsageError, match="1,024 tokens, 16 windows of 64; the phases"):
        step(steps=4).expect([expected])
    for inputs in (made(there), [expected]):
        assert step().expect(inputs)["tokens_seen"] == 512
        assert step(32, steps=5).expect(inputs)["tokens_seen"] == 640


def test_a_batch_or_a_context_that_processes_cannot_share_is_refused(shards):
    with pytest.raises(UsageError, match="a batch of 4 cannot be shared by 3 processes"):
        step(strategy=DDP(processes=3)).expect(made(shards))
    four = DeepSpeed2(processes=4, sequence_parallel=4)
    words = "4 needs a context that 4 divides, .* the context is 66, boundaries off"
    with pytest.raises(UsageError, match=words):
        step(66, strategy=four).expect(made(shards))
    with pytest.raises(UsageError, match="boundaries on"):
        step(strategy=four, boundaries=True).expect(made(shards))
    assert step(strategy=four).expect(made(shards))["context"] == 64


def test_sequences_may_be_shorter_than_the_context_and_never_longer(make, shards):
    base = make.model(context=64)
    known = Pretrain(steps=3, batch=4, length=16).expect(made(shards, base))
    assert (known["context"], known["tokens_seen"]) == (64, 3 * 4 * 16)
    with pytest.raises(UsageError, match="length: 65 is more than the 64 tokens of test/base@1"):
        Pretrain(steps=3, batch=4, length=65).expect(made(shards, base))
    with pytest.raises(UsageError, match="length: 65 is more than the 64 tokens of the model's"):
        step(64, length=65).expect(made(shards))
