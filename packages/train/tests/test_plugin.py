"""What the package offers to the registry, the page and the command line."""

import json

import pytest

from yoriai_train.model.generation import continue_texts
from yoriai_train.steps.made import describe
from yoriai_train.steps.sections import describe as sections


def test_the_plugin_keeps_every_promise(yoriai_registry, yoriai_conformance):
    assert yoriai_conformance(yoriai_registry, "train") == []


def test_the_page_shows_loss_and_rate_of_models_trained_here_only(make, tmp_path):
    rows = [{"step": n, "loss": 5 - n / 100, "learning_rate": 1e-3} for n in range(1, 101)]
    facts = {"headline": ["small", "loss 5"], "continued": [["a", "b"]]}
    made = []
    for name, step in (("base", "train/pretrain"), ("other", "acme/train")):
        (tmp_path / f"{name}.out").mkdir()
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.out" / "training.jsonl").write_text(text)
        target = tmp_path / name
        made.append(make.seal(tmp_path / f"{name}.out", target, "model", step, facts))
    [section] = sections(made[0])
    assert section.figures[0].series["all"][0] == (1, 4.99)
    assert section.quote == "a ⇒b"
    assert list(sections(made[1])) == []


def test_facts_take_the_last_tenth_of_the_losses(make):
    rows = [{"step": n, "loss": float(100 - n)} for n in range(1, 41)]
    facts = describe(rows, make.model().path)
    assert (facts["first_loss"], facts["last_loss"]) == (99.0, 61.5)


def test_a_prompt_longer_than_the_context_and_an_empty_one_are_continued(make):
    rows = continue_texts(make.model().path, ["x" * 500, ""], tokens=4)
    assert [len(prompt) for prompt, _ in rows] == [500, 0]


@pytest.mark.slow
def test_generate_prints_a_continuation_and_refuses_what_is_no_model(make, pieces, yoriai_cli):
    model = make.model()
    told = yoriai_cli("train", "generate", str(model.path), "Say", "--instruct", "--json")
    assert told.code == 0, told.err
    assert told.json["prompt"] == "Say"
    told = yoriai_cli("train", "generate", str(pieces.path), "Say")
    assert told.code == 3
    assert "is a tokenizer, not a model" in told.err
