"""Words by group, and self-debiasing by its definition."""

import math

import pytest

from yoriai_eval.probes.bias_words import BiasWords, GroupText
from yoriai_eval.probes.step import ProbeStep, rows_of


def test_debiasing_is_its_definition():
    torch = pytest.importorskip("torch")
    from yoriai_eval.probes.debiasing import debiased

    plain, described = [0.5, 0.3, 0.19, 0.01], [0.2, 0.32, 0.42, 0.06]
    found = debiased(torch.tensor(plain), torch.tensor(described), 50).tolist()
    scaled = [
        p * (1 if p >= d else max(0.01, math.exp(50 * (p - d))))
        for p, d in zip(plain, described, strict=True)
    ]
    assert found == pytest.approx([s / sum(scaled) for s in scaled], rel=1e-4)
    assert found[2] < 0.01  # the description makes it likelier


def test_the_same_description_changes_nothing():
    torch = pytest.importorskip("torch")
    from yoriai_eval.probes.debiasing import debiased, write_samples
    from yoriai_eval.probes.tiny import TinyTraining, build

    row = torch.tensor([0.2, 0.3, 0.5])
    assert torch.allclose(debiased(row, row), row)
    model = build(9, 16, TinyTraining(width=8, layers=1, heads=2)).eval()
    ids, nats = write_samples(model, [1, 2], 4, 3, seed=5)
    again, _ = write_samples(model, [1, 2], 4, 3, seed=5, described=[1, 2])
    assert ids == again
    logits = model(input_ids=torch.tensor([[1, 2, *ids[0]]])).logits[0].log_softmax(-1)
    right = [float(logits[1 + n, token]) for n, token in enumerate(ids[0])]
    assert nats[0] == pytest.approx(sum(right) / 4, abs=1e-4)


def test_shares_are_counted_by_group_and_differences_by_beginning():
    probe = BiasWords(words={"home": ["家事"]}, groups={"a": ["x"], "b": ["y"]},
                      beginnings=["{}は", "{}が"])  # fmt: skip
    rows = [GroupText("a", "{}は", "家事", 0)] * 6 + [GroupText("a", "{}が", "何か", 0)] * 6
    rows += [GroupText("b", "{}は", "何か", 0)] * 6 + [GroupText("b", "{}が", "何か", 0)] * 6
    told = {m.name: m for m in probe._shares(rows, "as it is")}
    assert told["home after a, as it is"].value == 0.5
    assert told["home after b, as it is"].value == 0
    assert told["home, a minus b, as it is"].value == 0.5
    assert told["home, a minus b, as it is"].note == "2 items are too few for an interval"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"words": {"x": [""]}}, "an empty one"),
        ({"words": {"x": ["y"]}, "beginnings": ["no group"]}, "for the group"),
        ({"words": {"x": ["y"]}, "groups": {"a": ["b"]}}, "at least 2"),
    ],
)
def test_what_cannot_be_counted_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        BiasWords(**wrong)


def test_without_lists_it_says_before_work_what_is_missing(make, yoriai_job):
    from yoriai import UsageError

    probe = BiasWords()
    probe._entry = "eval/bias-words"
    with pytest.raises(UsageError, match="words of your lists"):
        yoriai_job("looks", ProbeStep(probes=[probe]), [make.model()])


def test_a_folder_is_written_with_and_without_debiasing(make, yoriai_job):
    probe = BiasWords(words={"x": ["a"]}, beginnings=["{}は"], groups={"a": ["b"], "c": ["d"]},
                      times=10, tokens=3, description="y", twin=False)  # fmt: skip
    probe._entry = "eval/bias-words"
    made = yoriai_job("looks", ProbeStep(probes=[probe]), [make.model()])
    told = made.facts["probes"]["eval/bias-words"]["base"]
    assert told["state"] == "ran", told
    assert told["measures"]["x after a, debiased"]["items"] == 10
    assert told["measures"]["log-probability, debiased minus as it is"]["interval"]
    assert len(list(rows_of(made, "eval/bias-words", "base"))) == 40


@pytest.mark.slow
def test_a_planted_bias_is_found_and_debiasing_lessens_it():
    pytest.importorskip("torch")
    told = BiasWords(words={"x": ["y"]})._validation(0)
    assert told.holds is True, told.says
