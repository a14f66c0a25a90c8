"""Counterfactual memorisation: by its definition, and on texts that can only be learnt by heart."""

import numpy as np
import pytest

from yoriai_eval.probes.counterfactual import Counterfactual, halves, memorisation
from yoriai_eval.probes.step import ProbeStep, rows_of


def test_every_item_is_read_by_half_of_the_models():
    inside = halves(13, 6, 4)
    assert (inside.sum(0) == 3).all()
    assert set(inside.sum(1).tolist()) == {6, 7}
    assert (inside == halves(13, 6, 4)).all()
    assert not (inside[0] == inside[2]).all()


def test_memorisation_is_the_mean_with_minus_the_mean_without():
    random = np.random.Generator(np.random.PCG64(1))
    inside, right = halves(9, 8, 2), random.random((8, 9))
    found = memorisation(right, inside)
    for item in range(9):
        with_it = [right[m, item] for m in range(8) if inside[m, item]]
        without = [right[m, item] for m in range(8) if not inside[m, item]]
        assert found[item] == pytest.approx(np.mean(with_it) - np.mean(without))


def test_a_corpus_of_few_lines_is_refused_before_work_starts(make, yoriai_job):
    from yoriai import UsageError

    probe = Counterfactual()
    probe._entry = "eval/counterfactual"
    corpus = make.corpus("text", [("これは二十四文字よりも長い一つの行であるとする。", "ja")], [])
    with pytest.raises(UsageError, match="1 lines of 24 to 48 characters, 40 are needed"):
        yoriai_job("looks", ProbeStep(probes=[probe]), [corpus])


@pytest.mark.slow
def test_what_can_only_be_learnt_by_heart_is_told_from_what_is_common(make, yoriai_job):
    pytest.importorskip("torch")
    rows = [(f"第{n}回の会議では、{n * 37 % 101}番の議題について話し合うことにした。", "ja")
            for n in range(40)]  # fmt: skip
    probe = Counterfactual(lines=40, models=4)
    probe._entry = "eval/counterfactual"
    made = yoriai_job("looks", ProbeStep(probes=[probe]), [make.corpus("text", rows, [])])
    told = made.facts["probes"]["eval/counterfactual"][""]
    assert told["state"] == "ran", told
    assert told["validation"]["holds"] is True, told["validation"]
    assert told["measures"]["memorisation of lines"]["items"] == 40
    assert len(list(rows_of(made, "eval/counterfactual", ""))) == 40 + 12 + 12
