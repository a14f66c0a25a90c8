"""Trainings side by side: the accident of LLM-jp-3 172B exp1 must be seen, good runs stay quiet."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yoriai_train.plan.difference import compare, describe, nearest, show, warnings
from yoriai_train.settings import preset

BIG = preset.names(twins=False)
GOOD = [name for name in BIG if preset.about(name).reference]


def of(name, **changes):
    return preset.merge(preset.load(name), changes)


def test_the_epsilon_of_172b_exp1_is_told_with_what_it_cost():
    [text] = [t for t in warnings(of("llm-jp-3-172b-exp1")) if "epsilon" in t]
    assert "optimizer.epsilon 1e-5" in text
    assert "every named reference uses 1e-8" in text
    assert "LLM-jp-3 172B exp1 used 1e-5 and lost 1.4T tokens" in text
    assert "0.7 to 1.0 million H100-hours" in text
    assert warnings(of("llm-jp-3-172b")) == []


def test_exp1_and_exp2_differ_by_epsilon_and_rate_and_length_only():
    a, b = (
        describe(of(name), vocabulary_size=99_487)
        for name in ("llm-jp-3-172b-exp1", "llm-jp-3-172b")
    )
    different = {row.key: row.ratio for row in compare(a, b) if not row.same}
    assert different.pop("optimizer.epsilon") == pytest.approx(1e-3)
    assert different.pop("schedule.peak") == pytest.approx(0.8)
    assert set(different) == {"last_rate", "decay_steps", "steps", "tokens", "tokens_per_parameter"}


@pytest.mark.parametrize("name", GOOD)
def test_no_good_reference_departs_from_the_others(name):
    assert warnings(of(name)) == []


@pytest.mark.parametrize("name", [n for n in preset.names() if n.endswith("-small")])
def test_a_twin_departs_only_where_its_original_does(name):
    original = warnings(of(name.removesuffix("-small")))
    assert [t.split()[0] for t in warnings(of(name))] == [t.split()[0] for t in original]


def test_the_accident_is_seen_in_a_model_of_any_size_and_dialect():
    config = {"model": {"use": "train/gpt2"}, "optimizer": {"epsilon": 1e-5}}
    [text] = warnings(config)
    assert "lost 1.4T tokens" in text
    [text] = warnings({"optimizer": {"epsilon": 1e-6}})
    assert text.startswith("optimizer.epsilon 1e-6")
    assert "lost" not in text
    assert warnings({}) == []


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("optimizer.beta1", {"optimizer": {"beta1": 0.95}}),
        ("optimizer.beta2", {"optimizer": {"beta2": 0.999}}),
        ("optimizer.clip", {"optimizer": {"clip": 5.0}}),
        ("optimizer.weight_decay", {"optimizer": {"weight_decay": 0.0}}),
        ("schedule.peak", {"schedule": {"peak": 1.1e-3}}),
        ("schedule.peak", {"schedule": {"peak": 4e-5}}),
        ("model.initial_deviation", {"model": {"initial_deviation": 0.05}}),
        ("tokens_per_step", {"accumulate": 64}),
        ("schedule.warmup_steps", {"steps": 2000}),
        ("schedule.decay_steps", {"steps": 100_000}),
    ],
)
def test_each_departure_is_told_alone(key, change):
    [text] = warnings(of("llm-jp-3-13b", **change))
    assert text.split()[0] == key


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": {"epsilon": 1.0000000001e-8}},
        {"schedule": {"peak": 3e-4}},
        {"schedule": {"peak": 6e-5}},
        {"z_loss": 0.0},
        {"z_loss": 1e-5},
        {"accumulate": 4},
        {"precision": "32-true"},
        {"steps": 100_000, "schedule": {"decay_steps": None}},
    ],
)
def test_what_is_near_some_reference_is_no_departure(change):
    assert warnings(of("llm-jp-3-13b", **change)) == []


def test_values_that_depend_on_size_are_not_judged_where_no_reference_is_near():
    tiny = {"model": {"use": "train/llama", "width": 64}, "schedule": {"peak": 0.02}}
    assert warnings(tiny) == []


def test_fp8_is_told_although_it_is_no_departure_by_rule():
    [text] = warnings(of("llm-jp-3-13b", precision="fp8-hybrid"))
    assert text.startswith("precision fp8-hybrid: LLM-jp-3 13B exp1 was unstable")


def test_the_nearest_are_of_the_dialect_first_and_of_the_size_then():
    assert nearest(of("llm-jp-3-172b-exp1"))[0] == "llm-jp-3-172b"
    assert nearest(of("llm-jp-3-13b-exp1"), 2) == ["llm-jp-3-13b", "llm-jp-3-7.2b"]
    assert nearest({"model": "train/gpt2"}, 4)[-1] == "gpt3-175b"
    assert set(nearest(of("llm-jp-3-1.8b"), 5)) == {n for n in GOOD if n.startswith("llm-jp-3")}
    assert len(nearest({"model": {"use": "acme/mamba", "context": 8}})) == 3


def test_computed_values_are_those_of_the_model_cards():
    told = describe(of("llm-jp-3-172b"), vocabulary_size=99_487)
    assert told["tokens_per_step"] == 1728 * 4096
    assert told["tokens"] == pytest.approx(2_072_488_058_295, rel=1e-5)
    assert told["parameters_outside_embeddings"] == 169_947_181_056
    assert told["tokens_per_parameter"] == pytest.approx(12.0, abs=0.1)
    assert told["warmup_tokens"] == 2000 * 1728 * 4096
    assert told["last_rate"] == pytest.approx(8e-6)


def test_models_of_before_had_clip_and_decay_at_the_top():
    told = describe({"clip": 0.5, "weight_decay": 0.2})
    assert (told["optimizer.clip"], told["optimizer.weight_decay"]) == (0.5, 0.2)


def test_a_preset_is_filled_in_and_a_shape_of_another_plugin_is_shown_as_it_is():
    assert describe({"preset": "llm-jp-13b"})["model.layers"] == 40
    told = describe({"model": {"use": "acme/mamba", "layers": 3, "context": 64}, "steps": 10})
    assert (told["model.layers"], told["tokens"]) == (3, 10 * 16 * 64)
    assert told["parameters"] is None


def test_what_is_left_out_has_the_defaults_of_the_step():
    from yoriai_train.plan.difference import _DEFAULTS
    from yoriai_train.steps.pretrain import Pretrain

    fields = Pretrain.model_fields
    for key, value in _DEFAULTS.items():
        if key in fields and key != "model":
            assert fields[key].default == value, key


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(BIG), st.sampled_from(BIG))
def test_comparing_is_symmetric_and_nothing_differs_from_itself(a, b):
    left, right = describe(of(a)), describe(of(b))
    assert all(row.same and row.ratio is None for row in compare(left, left))
    there, back = compare(left, right), compare(right, left)
    assert [row.same for row in there] == [row.same for row in back]
    for one, other in zip(there, back, strict=True):
        if one.ratio and other.ratio:
            assert one.ratio * other.ratio == pytest.approx(1)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-5, "1e-5"), (1e-8, "1e-8"), (2.5e-4, "2.5e-4"), (1e-4, "1e-4"), (0.02, "0.02"),
        (0.1, "0.1"), (1.0, "1"), (0.0, "0"), (8192, "8,192"), (10_000.0, "10,000"),
        (True, "yes"), (None, "not known"), ("cosine", "cosine"), (12.178, "12.18"),
        (2_072_490_541_056, "2,072,490,541,056"), (1.5e9, "1.5e9"),
    ],
)  # fmt: skip
def test_values_are_shown_as_people_write_them(value, text):
    assert show(value) == text
