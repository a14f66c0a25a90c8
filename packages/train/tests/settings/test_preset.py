"""Presets: that they say where they come from, how recipes change them, and how twins follow."""

import re
from importlib import resources

import pydantic
import pytest

from yoriai import NotFound
from yoriai_train.settings import preset
from yoriai_train.settings.optimizer import Optimizer
from yoriai_train.settings.schedule import Schedule
from yoriai_train.settings.shapes import SHAPES

BIG, ALL = preset.names(twins=False), preset.names()
FOLDER = resources.files("yoriai_train.settings") / "presets"
KEYS = {
    "model", "strategy", "steps", "batch", "accumulate", "schedule", "optimizer", "z_loss",
    "precision", "boundaries", "activation_checkpoints", "checkpoint",
}  # fmt: skip


def test_the_runs_that_matter_are_there_each_with_a_twin():
    wanted = {"gpt3-175b", "llm-jp-13b", "llm-jp-1.3b", "llm-jp-175b-trial", "llm-jp-3-13b"}
    wanted |= {"llm-jp-3-172b", "llm-jp-3-172b-exp1", "llm-jp-3-1.8b"}
    assert wanted <= set(BIG)
    assert sorted([*BIG, *(f"{name}-small" for name in BIG)]) == ALL


@pytest.mark.parametrize("name", ALL)
def test_every_preset_has_the_keys_of_a_training_and_each_part_is_valid(name):
    body = preset.load(name)
    assert set(body) == KEYS
    model = dict(body["model"])
    SHAPES[model.pop("use")].model_validate(model)
    Schedule.model_validate(body["schedule"])
    Optimizer.model_validate(body["optimizer"])
    nodes = 1 if name.endswith(preset.SMALL) else preset.about(name).nodes
    ranks = nodes * body["strategy"].get("processes", 1)
    assert body["batch"] % ranks == 0, "the ranks cannot share the batch"
    assert preset.about(name).title


@pytest.mark.parametrize("name", BIG)
def test_every_value_of_a_preset_names_its_source(name):
    text = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    known = set(re.findall(r"^#   \[(.+?)\]", text, re.MULTILINE))
    assert known
    body = text[text.index("\nmodel:") : text.index("\ntwin:")]
    for line in body.splitlines():
        code, mark, comment = line.partition("# ")
        if code.rstrip() in ("", "model:", "schedule:", "optimizer:") or "use:" in code:
            continue
        assert mark, f"{name}: no source for {code.strip()}"
        for cited in re.findall(r"\[([^\]]+)\]", comment):
            assert set(cited.split(", ")) <= known, f"{name}: {cited} is not explained"


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("gpt3-175b", 300),
        ("gpt3-13b", 300),
        ("llm-jp-175b-trial", 108),
        ("llm-jp-3-172b", 2072.488),
        ("llm-jp-3-172b-exp1", 2100.002),
        ("llm-jp-3-13b", 2072.488),
        ("llm-jp-3-1.8b", 2072.488),
        ("llm-jp-13b", 304),
    ],
)
def test_steps_and_batch_come_to_the_published_tokens(name, billions):
    body = preset.load(name)
    tokens = body["steps"] * body["batch"] * body["accumulate"] * body["model"]["context"]
    assert tokens / 1e9 == pytest.approx(billions, rel=1e-3)


def test_failed_runs_say_what_failed_and_are_no_references():
    failed = {name: preset.about(name) for name in BIG if preset.about(name).failed}
    assert set(failed) == {"llm-jp-3-13b-exp1", "llm-jp-3-13b-exp3", "llm-jp-3-172b-exp1"}
    assert not any(known.reference for known in failed.values())


@pytest.mark.parametrize("name", BIG)
def test_a_twin_keeps_everything_but_size_and_machine(name):
    big, small = preset.load(name), preset.load(f"{name}-small")
    assert small["optimizer"] == big["optimizer"]
    assert small["z_loss"] == big["z_loss"]
    sizes = {"layers", "width", "heads", "key_value_heads", "feed_forward", "context"}
    for key in set(big["model"]) - sizes - {"initial_deviation"}:
        assert small["model"][key] == big["model"][key]
    wider = big["model"]["width"] / small["model"]["width"]
    assert small["schedule"]["peak"] == pytest.approx(big["schedule"]["peak"] * wider, rel=5e-3)
    ratio = small["model"]["initial_deviation"] / big["model"]["initial_deviation"]
    assert ratio**2 == pytest.approx(wider, rel=1e-2)
    if "key_value_heads" in sizes & set(big["model"]):
        for body in (big, small):
            body["grouped"] = body["model"]["heads"] / body["model"]["key_value_heads"]
            body["fat"] = body["model"]["feed_forward"] / body["model"]["width"]
        assert big["grouped"] == small["grouped"]
        assert big["fat"] == pytest.approx(small["fat"], rel=0.01)
    first, last = (Schedule(**body["schedule"]) for body in (big, small))
    for part in (0.3, 0.6, 0.9, 1.0):  # the same shape, but for a longer warm-up
        a = first.rate(round(part * big["steps"]) - 1, big["steps"]) / first.peak
        b = last.rate(round(part * small["steps"]) - 1, small["steps"]) / last.peak
        assert a == pytest.approx(b, abs=0.06)
    assert last.warmup_steps >= small["steps"] / 20
    shape = dict(small["model"])
    assert SHAPES[shape.pop("use")](**shape).parameters(6000) < 5e6


@pytest.mark.parametrize("name", ALL)
def test_every_preset_is_a_step_that_departs_from_nothing_more_once_it_is_checked(name):
    from yoriai.config import build, plain
    from yoriai.plugins import load_registry
    from yoriai_train.plan.difference import describe, warnings
    from yoriai_train.steps.pretrain import Pretrain

    step = build(Pretrain, {"preset": name}, load_registry())
    checked = {**plain(step), "model": {"use": step.model.entry, **plain(step.model)}}
    assert describe(checked) == describe(preset.load(name))
    assert warnings(checked) == warnings(preset.load(name))


def test_the_recipe_wins_key_by_key():
    value = {
        "preset": "llm-jp-3-13b",
        "steps": 10,
        "schedule": {"peak": 1.0},
        "model": {"layers": 2},
        "optimizer": {"epsilon": 1e-6},
        "prompts": ["a"],
    }
    made, body = preset.fill(value), preset.load("llm-jp-3-13b")
    assert made["steps"] == 10
    assert made["schedule"] == {**body["schedule"], "peak": 1.0}
    assert made["model"] == {**body["model"], "layers": 2}
    assert made["optimizer"] == {**body["optimizer"], "epsilon": 1e-6}
    assert made["batch"] == body["batch"]
    assert (made["prompts"], made["preset"]) == (["a"], "llm-jp-3-13b")
    assert value["schedule"] == {"peak": 1.0}, "the recipe's own mapping was changed"
    assert preset.load("llm-jp-3-13b") == body


@pytest.mark.parametrize("model", ["train/gpt2", {"use": "train/gpt2", "layers": 2}])
def test_another_dialect_takes_no_key_of_the_preset(model):
    made = preset.fill({"preset": "llm-jp-3-13b", "model": model})
    wanted = {"use": "train/gpt2"} if isinstance(model, str) else model
    assert made["model"] == wanted
    made = preset.fill({"preset": "llm-jp-3-13b", "model": "train/llama"})
    assert made["model"] == preset.load("llm-jp-3-13b")["model"]


def test_another_strategy_takes_no_key_of_the_preset():
    made = preset.fill({"preset": "llm-jp-3-13b", "strategy": "train/single"})
    assert made["strategy"] == {"use": "train/single"}
    made = preset.fill({"preset": "llm-jp-3-13b", "strategy": {"processes": 2}})
    assert made["strategy"] == {"use": "train/deepspeed-2", "processes": 2}


def test_a_step_without_a_preset_stays_as_it_is():
    assert preset.fill({"steps": 3}) == {"steps": 3}
    assert preset.fill({"preset": "", "steps": 3}) == {"preset": "", "steps": 3}
    assert preset.before("not a mapping") == "not a mapping"


def test_an_unknown_preset_is_told_with_the_nearest():
    with pytest.raises(NotFound) as caught:
        preset.load("llmjp-3-172b")
    assert caught.value.hint == "did you mean 'llm-jp-3-172b'?"
    for name in ("../secret", "llm-jp-13b-small-small", ""):
        with pytest.raises(NotFound):
            preset.load(name)


def test_as_a_validator_an_unknown_preset_is_a_fault_with_a_hint():
    before = preset.before

    class Training(pydantic.BaseModel):
        preset: str = ""
        steps: int = 1
        _fill = pydantic.model_validator(mode="before")(before)

    assert Training.model_validate({"preset": "llm-jp-13b-small"}).steps == 400
    with pytest.raises(pydantic.ValidationError) as caught:
        Training.model_validate({"preset": "gpt3-176b"})
    [error] = caught.value.errors()
    assert error["type"] == "uses"
    assert error["ctx"]["hint"] == "did you mean 'gpt3-175b'?"


@pytest.mark.parametrize("name", preset.tunings())
def test_every_preset_of_a_tuning_is_a_step_and_names_the_source_of_each_value(name):
    from yoriai.config import build, plain
    from yoriai.plugins import load_registry
    from yoriai_train.steps.tune import Tune

    data = [{"use": "train/jsonl", "path": "a.jsonl"}]
    step = build(Tune, {"preset": name, "data": data, "epochs": 3}, load_registry())
    body, made = preset.load_tuning(name), plain(step)
    assert made["epochs"] == 3  # the recipe wins
    assert made["schedule"]["peak"] == body["schedule"]["peak"]
    assert made["optimizer"] | body["optimizer"] == made["optimizer"]
    assert step.method.entry == body["method"]["use"]
    text = (FOLDER.parent / "tunings" / f"{name}.yaml").read_text(encoding="utf-8")
    known = set(re.findall(r"^#   \[(.+?)\]", text, re.MULTILINE))
    for line in text[text.index("\nmethod:") :].splitlines():
        code, mark, comment = line.partition("# ")
        if code.strip() and not code.rstrip().endswith(":") and "use: train/" not in code:
            assert mark, f"{name}: no source for {code.strip()}"
        assert set(re.findall(r"\[([a-z]+)\]", comment)) <= known


def test_a_preset_of_pre_training_is_none_of_a_tuning():
    with pytest.raises(NotFound, match="preset of a tuning"):
        preset.load_tuning("llm-jp-13b")
