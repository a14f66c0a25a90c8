"""Mixing general text into a domain's."""

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from yoriai import Altered, UsageError
from yoriai.mixture import read_mixture
from yoriai.shards import Shard
from yoriai_domain_adapt.steps.mix import Mix, Replay

WEIGHTS = st.dictionaries(st.sampled_from(["ja", "en", "code"]), st.floats(0.01, 9), min_size=1)


@pytest.fixture(scope="module")
def registry():
    from yoriai.plugins import load_registry

    return load_registry()


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(WEIGHTS, WEIGHTS, st.floats(0, 0.99))
def test_weights_sum_to_one_and_keep_the_share_and_the_proportions(
    make, registry, tmp_path_factory, domain, general, share
):
    from yoriai.testing import make_artifact

    inputs = [make.tokens("domain", domain), make.tokens("general", general)]
    folder = tmp_path_factory.mktemp("replay") / "mix"
    mixed = make_artifact(Mix(share=share), folder, inputs, registry)
    weights = read_mixture(mixed.path).phases[0].weights
    assert sum(weights.values()) == pytest.approx(1)
    replayed = sum(value for name, value in weights.items() if name.startswith("general-"))
    assert replayed == pytest.approx(share)
    for label, given_weights, part in (("domain", domain, 1 - share), ("general", general, share)):
        whole = sum(given_weights.values())
        for name, weight in given_weights.items():
            assert weights[f"{label}-{name}"] == pytest.approx(part * weight / whole)


def test_shards_and_their_documents_are_copied_byte_for_byte(make, yoriai_job):
    domain, general = make.tokens("domain", {"ja": 1}), make.tokens("general", {"ja": 2, "en": 1})
    mixed = yoriai_job("mix", Mix(share=0.25), [domain, general])
    found = read_mixture(mixed.path)
    counts = {name: shard.tokens for name, shard in found.shards.items()}
    assert counts == {"domain-ja": 10, "general-ja": 10, "general-en": 11}
    assert found.phases[0].weights == pytest.approx(
        {"domain-ja": 0.75, "general-ja": 0.25 * 2 / 3, "general-en": 0.25 / 3}
    )
    assert (found.tokenizer, found.vocabulary_size, found.end_id) == ("abc", 300, 2)
    for label, source in (("domain", domain), ("general", general)):
        for name in read_mixture(source.path).shards:
            for suffix in (".bin", ".idx", ".documents.parquet"):
                copy = mixed.file(f"{label}-{name}{suffix}")
                assert copy.read_bytes() == source.file(name + suffix).read_bytes()
            assert len(Shard(mixed.path / f"{label}-{name}")) == 1
    assert mixed.facts["share"] == 0.25
    assert "25% replay" in mixed.facts["headline"][0]


def test_a_mix_can_be_mixed_again(make, yoriai_job):
    parts = [make.tokens(name, {"ja": 1.0}) for name in ("a", "b", "c")]
    first = yoriai_job("first", Mix(share=0.5), parts[:2])
    again = yoriai_job("again", Mix(share=0.5), [parts[2], first])
    assert again.facts["weights"] == {
        "domain-ja": 0.5, "general-domain-ja": 0.25, "general-general-ja": 0.25
    }  # fmt: skip


@pytest.mark.parametrize("which", ["domain", "general"])
@pytest.mark.parametrize("suffix", [".bin", ".idx", ".documents.parquet"])
@pytest.mark.parametrize("how", ["cut", "changed"])
def test_a_shard_that_was_cut_or_changed_is_refused_by_name_and_not_sealed_again(
    make, yoriai_job, which, suffix, how
):
    inputs = {name: make.tokens(name, {"ja": 1, "en": 1}) for name in ("domain", "general")}
    path = inputs[which].file(f"en{suffix}")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + (b"" if how == "cut" else bytes([data[-1] ^ 1])))
    with pytest.raises(Altered, match=re.escape(str(path))) as told:
        yoriai_job("mix", Mix(), [*inputs.values()])
    assert "run the recipe again" in told.value.hint


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_inputs_is_refused(make, yoriai_job, count):
    inputs = [make.tokens("t", {"ja": 1}) for _ in range(count)]
    with pytest.raises(UsageError, match=f"needs two token artifacts.* not {count}") as told:
        yoriai_job("mix", Mix(), inputs)
    assert "DOMAIN_TOKENS, GENERAL_TOKENS" in told.value.hint


def test_different_tokenizers_are_refused_by_name(make, yoriai_job):
    inputs = [make.tokens("domain", {"ja": 1}), make.tokens("general", {"ja": 1}, "other")]
    with pytest.raises(UsageError, match="test/domain@1 and test/general@1 were written with diff"):
        yoriai_job("mix", Mix(), inputs)


@pytest.mark.parametrize("share", [-0.1, 1.0, 2])
def test_a_share_that_leaves_no_domain_is_refused(share):
    with pytest.raises(ValidationError):
        Mix(share=share)


def test_the_old_name_answers_and_says_the_new_one(make, yoriai_job, capsys):
    given = [make.tokens("domain", {"ja": 1}), make.tokens("general", {"ja": 1})]
    old, new = yoriai_job("old", Replay(share=0.5), given), yoriai_job("new", Mix(share=0.5), given)
    assert old.facts["weights"] == new.facts["weights"]
    assert "domain-adapt/replay is now domain-adapt/mix" in capsys.readouterr().err
