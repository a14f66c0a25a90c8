"""Membership inference: it finds known members, and says where there is nothing to find."""

import pytest

from yoriai import UsageError
from yoriai_eval.probes.membership import BLIND, Membership, known_members
from yoriai_eval.probes.step import ProbeStep

pytest.importorskip("torch")


def step(**options):
    probe = Membership(twin=False, tokens=16, **options)
    probe._entry = "eval/membership"
    return ProbeStep(probes=[probe])


@pytest.fixture
def corpus(make):
    texts = [(f"番号{n:04d}の文書について述べる。" * 4, "ja") for n in range(24)]
    return make.corpus("text", texts[:12], texts[12:])


@pytest.mark.slow
def test_members_of_a_model_that_knows_them_are_found_by_every_method():
    told = {m.name: m for m in known_members(4, 0.2, each=40)}
    for name in ("loss", "zlib", "mink", "minkpp"):
        assert told[name].value > 0.95
    assert told[BLIND].interval[0] < 0.5 < told[BLIND].interval[1]


def test_an_untrained_model_tells_no_members_and_the_probe_says_so(make, corpus, yoriai_job):
    told = yoriai_job("looks", step(items=12), [make.model(), corpus])
    told = told.facts["probes"]["eval/membership"]["base"]
    assert told["state"] == "ran", told
    assert "no method is better than chance here" in told["notes"]
    assert any("no reference model" in note for note in told["notes"])
    assert "AUC reference" not in told["measures"]
    assert "less than one" in told["measures"]["TPR at 1 % FPR loss"]["note"]
    assert set(told["figures"][0]["series"]) == {"loss", "zlib", "mink", "minkpp"}


def test_a_reference_model_takes_part_and_an_equal_one_sees_nothing(make, corpus, yoriai_job):
    model = make.model()
    looks = step(items=12, reference=str(model.path))
    told = yoriai_job("looks", looks, [model, corpus]).facts["probes"]["eval/membership"]["base"]
    assert told["measures"]["AUC reference"]["value"] == 0.5
    with pytest.raises(UsageError, match="is no Hugging Face folder"):
        yoriai_job("more", step(reference="nowhere"), [model, corpus])


def test_held_out_texts_of_another_kind_are_noticed_without_a_model(make, yoriai_job):
    plain = [("あ" * (60 + n), "ja") for n in range(12)]
    varied = [("".join(chr(0x4E00 + (n * 977 + i * 31) % 9000) for i in range(60)), "ja")
              for n in range(12)]  # fmt: skip
    corpus = make.corpus("text", varied, plain)
    told = yoriai_job("looks", step(items=12), [make.model(), corpus])
    notes = told.facts["probes"]["eval/membership"]["base"]["notes"]
    assert any("without any model the AUC is 0.00" in note for note in notes)
