"""Merging, pruning, distilling and calibrated rounding of model artifacts."""

import json

import pytest

from yoriai import Refused, UsageError
from yoriai_domain_adapt.steps.distil import Distil
from yoriai_domain_adapt.steps.merge import Merge
from yoriai_domain_adapt.steps.prune import Prune
from yoriai_domain_adapt.steps.quantise import Quantise

torch = pytest.importorskip("torch")


def state(artifact):
    from safetensors.torch import load_file

    return load_file(artifact.path / "model.safetensors")


@pytest.fixture
def text(make):
    """A tokens artifact with enough of them for a few windows."""
    return make.many_tokens(4000, 100)


def test_a_merge_is_the_mean_of_its_models(make, yoriai_job):
    one, other = make.model(seed=1), make.model(seed=2)
    made = state(yoriai_job("merged", Merge(), [one, other]))
    for name, tensor in state(one).items():
        assert torch.allclose(made[name], (tensor + state(other)[name]) / 2, atol=1e-6)


@pytest.mark.parametrize("method", ["task-arithmetic", "ties", "dare"])
def test_a_merge_with_the_base_alone_changes_nothing(make, yoriai_job, method):
    base = make.model(seed=1)
    made = state(yoriai_job("merged", Merge(method=method), [base, base]))
    assert all(torch.equal(made[name], tensor) for name, tensor in state(base).items())


def test_models_of_different_shapes_are_not_merged(make, yoriai_job):
    with pytest.raises(UsageError, match=r"is \[.*\] in test/base@1 and"):
        yoriai_job("merged", Merge(), [make.model(), make.model(intermediate_size=128)])
    with pytest.raises(UsageError, match="slerp merges two models"):
        yoriai_job("one", Merge(method="slerp"), [make.model()])


@pytest.mark.parametrize("method", ["magnitude", "wanda", "sparsegpt"])
@pytest.mark.parametrize("pattern", ["any", "2:4"])
def test_half_of_each_layer_goes(make, yoriai_job, text, method, pattern):
    step = Prune(method=method, pattern=pattern, samples=4, length=32)
    given = [make.model()] if method == "magnitude" else [make.model(), text]
    made = yoriai_job("sparse", step, given)
    for name, tensor in state(made).items():
        if name.endswith("_proj.weight"):
            assert float((tensor == 0).double().mean()) == pytest.approx(0.5, abs=0.02)
            if pattern == "2:4":
                assert ((tensor.reshape(-1, 4) == 0).sum(1) == 2).all()


def test_a_layer_is_left_out_and_the_others_close_up(make, yoriai_job):
    import transformers

    base = make.model(num_hidden_layers=3)
    made = yoriai_job("short", Prune(share=0, drop_layers=(1,)), [base])
    one, other = state(base), state(made)
    stem = "self_attn.q_proj.weight"
    assert torch.equal(other[f"model.layers.1.{stem}"], one[f"model.layers.2.{stem}"])
    loaded = transformers.AutoModelForCausalLM.from_pretrained(made.path)
    assert len(loaded.model.layers) == 2
    with pytest.raises(UsageError, match="there is no layer 3"):
        yoriai_job("other", Prune(share=0, drop_layers=(3,)), [base])


@pytest.mark.parametrize("method", ["gptq", "awq", "smoothquant"])
def test_calibrated_models_load_and_stay_near(make, yoriai_job, text, method):
    import transformers

    base = make.model(num_hidden_layers=2)
    step = Quantise(method=method, bits=8, samples=4, length=32)
    made = yoriai_job("small", step, [base, text])
    ids = torch.arange(20)[None]
    with torch.no_grad():
        one, other = (
            transformers.AutoModelForCausalLM.from_pretrained(a.path)(ids).logits
            for a in (base, made)
        )
    assert 0 < (one - other).abs().max() < 0.1


def test_a_method_that_reads_text_asks_for_it(make, yoriai_job, text):
    with pytest.raises(UsageError, match="gptq reads text, and no tokens"):
        yoriai_job("small", Quantise(method="gptq"), [make.model()])
    with pytest.raises(UsageError, match=r"is too small: .* windows of 32") as told:
        yoriai_job("less", Prune(method="wanda", samples=10_000, length=32), [make.model(), text])
    assert "samples: " in told.value.hint


def test_text_of_another_tokenizer_is_refused_with_how_to_make_the_right_one(make, yoriai_job):
    larger = make.many_tokens(4000, 120)
    for step in (
        Quantise(method="gptq", bits=8, length=32),
        Prune(method="wanda", length=32),
        Distil(length=32, steps=2),
    ):
        with pytest.raises(UsageError, match="120 pieces, the model has 100 rows") as told:
            yoriai_job(step.version + type(step).__name__, step, [make.model(), larger])
        assert "count: 0" in told.value.hint


@pytest.mark.parametrize("changes", [{}, {"hidden": 1.0}, {"on_policy": 0.5}])
def test_a_student_of_half_its_teacher_learns(make, yoriai_job, text, changes):
    teacher = make.model(num_hidden_layers=4)
    step = Distil(layers=2, feed_forward=48, heads=1, steps=12, batch=2, length=16, **changes)
    made = yoriai_job("student", step, [teacher, text])
    assert made.facts["blocks_kept"] == [0, 3]
    assert made.facts["parameters"] < made.facts["parameters_before"]
    assert made.facts["last_loss"] < made.facts["first_loss"]


def test_a_student_with_other_pieces_is_refused(make, yoriai_job, text):
    with pytest.raises(UsageError, match="their logits cannot be compared"):
        yoriai_job("student", Distil(), [make.model(), make.model(vocab_size=120), text])


@pytest.fixture
def empty_headed(make):
    """A model whose configuration makes NaN of good weights: its angles are divided by zero."""
    made = make.model(num_hidden_layers=2)
    config = json.loads((made.path / "config.json").read_text())
    config["rope_parameters"] = {"rope_type": "default", "rope_theta": 0}
    (made.path / "config.json").write_text(json.dumps(config))
    return made


@pytest.mark.parametrize("step", [
    Quantise(method="gptq", bits=4, group_size=32, samples=4, length=32),
    Prune(method="wanda", samples=4, length=32),
])  # fmt: skip
def test_a_model_that_computes_no_numbers_is_refused_where_it_begins(
    step, empty_headed, yoriai_job, text
):
    with pytest.raises(Refused, match=r"model\.layers\.\d\.\S+ is fed numbers that are not finite"):
        yoriai_job("made", step, [empty_headed, text])


def test_a_loss_that_is_no_number_ends_distilling(empty_headed, yoriai_job, text):
    step = Distil(layers=1, steps=3, batch=2, length=16)
    with pytest.raises(Refused, match="the loss of step 0 of distilling is nan"):
        yoriai_job("student", step, [empty_headed, text])
