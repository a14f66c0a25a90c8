"""The step that quantises a model artifact, and what the package offers."""

import pytest
from pydantic import ValidationError

from yoriai import UsageError
from yoriai_domain_adapt.steps.quantise import Quantise
from yoriai_domain_adapt.steps.sections import describe


def test_the_plugin_keeps_every_promise(yoriai_registry, yoriai_conformance):
    assert yoriai_conformance(yoriai_registry, "domain-adapt") == []


@pytest.mark.parametrize("bits", [4, 8])
def test_a_model_becomes_smaller_and_still_loads(make, yoriai_job, bits):
    import torch
    import transformers

    base = make.model()
    small = yoriai_job("small", Quantise(bits=bits), [base])
    facts = small.facts
    assert facts["bits"] == bits
    assert facts["bytes_after"] == small.file("model.safetensors").stat().st_size
    assert facts["bytes_after"] < facts["bytes_before"]
    assert facts["worst_layer"].startswith("model.layers.0.")
    assert 0 < facts["worst_layer_mean_error"] < 0.2
    assert small.file("tokenizer.json").read_text() == "{}"
    assert "training.jsonl" not in small.manifest["files"]
    assert small.file("model.safetensors").stat().st_mode & 0o044
    tokens = torch.arange(20)[None]
    models = [transformers.AutoModelForCausalLM.from_pretrained(a.path) for a in (base, small)]
    with torch.no_grad():
        before, after = (model(tokens).logits for model in models)
    assert 0 < (before - after).abs().max() < 0.1


def test_the_same_model_gives_the_same_artifact(make, yoriai_registry, tmp_path):
    from yoriai.testing import make_artifact

    base, digests = make.model(), set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made = make_artifact(Quantise(bits=4), tmp_path / name / "small", [base], yoriai_registry)
        digests.add(made.digest)
    assert len(digests) == 1


def test_a_quantised_model_is_not_quantised_again(make, yoriai_job):
    small = yoriai_job("small", Quantise(), [make.model()])
    with pytest.raises(UsageError, match=r"test/small@1: .* is quantised already: start from"):
        yoriai_job("smaller", Quantise(bits=4), [small])


def test_a_group_that_does_not_fit_names_the_model_the_layer_and_the_remedy(make, yoriai_job):
    base = make.model(intermediate_size=72)
    with pytest.raises(UsageError, match=r"test/base@1: group_size=32 .*down_proj \(72\): use bit"):
        yoriai_job("small", Quantise(bits=4), [base])


def test_one_model_at_a_time_and_known_bits_only(make, yoriai_job):
    with pytest.raises(UsageError, match="needs one model, 'from' gives 2"):
        yoriai_job("small", Quantise(), [make.model(), make.model()])
    with pytest.raises(ValidationError):
        Quantise(bits=3)


def test_the_page_shows_the_size_before_and_after(make, yoriai_registry, tmp_path):
    from yoriai.testing import make_artifact

    step = Quantise()
    step._entry = "domain-adapt/quantise"
    small = make_artifact(step, tmp_path / "small", [make.model()], yoriai_registry)
    [section] = describe(small)
    sizes = dict(section.figures[0].series["weights"])
    assert sizes["after"] < sizes["before"]
    assert list(describe(make.model())) == []
