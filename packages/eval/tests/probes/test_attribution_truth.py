"""Attribution against the truth: the exact derivative, and subsets that are trained on again."""

import numpy as np
import pytest

from yoriai_eval.probes import datamodelling

torch = pytest.importorskip("torch")


def tiny_run(seed=1):
    from yoriai_eval.probes import unrolled

    random = np.random.Generator(np.random.PCG64(seed))
    rows = random.integers(1, 9, (10, 7)).tolist()
    queries = torch.tensor(random.integers(1, 9, (2, 7)))
    return unrolled.prepare(rows, 9, epochs=2, batch=5, seed=seed), queries


def test_the_exact_derivative_is_what_training_with_a_little_more_weight_gives():
    from yoriai_eval.probes.unrolled import exact_influence, retrained

    training, queries = tiny_run()
    exact = exact_influence(training, queries)
    assert exact.shape == (2, 10)
    step = 3e-3  # norms are of 32-bit floats whatever the rest is, so smaller steps drown
    for item in (0, 3, 8):
        changed = [torch.ones(10, dtype=torch.float64) for _ in range(2)]
        changed[0][item] += step
        changed[1][item] -= step
        more, less = retrained(training, queries, changed)
        wanted = ((more - less) / (2 * step)).numpy()
        assert exact[:, item].numpy() == pytest.approx(wanted, rel=3e-3, abs=1e-5)


def test_an_item_without_weight_is_as_if_it_were_not_there():
    from dataclasses import replace

    from yoriai_eval.probes.unrolled import retrained

    training, queries = tiny_run()
    weights = torch.ones(10, dtype=torch.float64)
    weights[3] = 0
    other = training.ids.clone()
    other[3] = 8
    one = retrained(training, queries, [weights])
    two = retrained(replace(training, ids=other), queries, [weights])
    assert torch.equal(one, two)
    assert not torch.allclose(one, retrained(training, queries, [torch.ones(10).double()]))


def test_ranks_and_their_correlation_are_those_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    random = np.random.Generator(np.random.PCG64(0))
    for _ in range(20):
        one, two = random.integers(0, 6, (2, 15)).astype(float)
        assert datamodelling.ranks(one).tolist() == (stats.rankdata(one) - 1).tolist()
        wanted = stats.spearmanr(one, two).statistic
        assert datamodelling.spearman(one, two) == pytest.approx(wanted, abs=1e-12)
    assert datamodelling.spearman(np.ones(5), np.arange(5.0)) == 0


def test_scores_that_foretell_everything_have_one_and_random_ones_are_chance():
    random = np.random.Generator(np.random.PCG64(3))
    truth = random.normal(size=(6, 40))
    subsets = (random.random((30, 40)) < 0.5).astype(float)
    outcomes = subsets @ truth.T
    whole = datamodelling.measured_score("LDS of all", truth, subsets, outcomes, 0)
    assert whole.value == pytest.approx(1.0)
    assert whole.above_chance
    blind = random.normal(size=(6, 40))
    none = datamodelling.measured_score("LDS of none", blind, subsets, outcomes, 0)
    assert none.above_chance is False
    turned = datamodelling.measured_score("LDS of less", -truth, subsets, outcomes, 0)
    assert turned.value == pytest.approx(-1.0)
    few = datamodelling.measured_score("LDS of few", truth, subsets[:9], outcomes[:9], 0)
    assert few.interval is None
    assert few.note == "9 items are too few for an interval"


def test_what_is_no_better_than_chance_is_said():
    from yoriai import Measured
    from yoriai_eval.probes.attribution_truth import in_words

    rows = [
        Measured(name="LDS of a", value=0.5, items=24, interval=(0.3, 0.6), chance=0.0),
        Measured(name="LDS of b", value=0.1, items=24, interval=(-0.1, 0.3), chance=0.0),
        Measured(name="rank agreement of b", value=0.0, items=48, interval=(-1, 1), chance=0.0),
    ]
    assert in_words(rows) == (
        "linear datamodelling score over 24 subsets: a 0.50, b 0.10; no better than chance: b"
    )
    assert "chance" not in in_words(rows[:1])


@pytest.mark.slow
def test_on_lines_of_text_the_exact_derivative_foretells_what_subsets_teach():
    from yoriai_eval.probes import attribution_truth

    random = np.random.Generator(np.random.PCG64(0))
    words = ["春の", "山に", "鳥が", "海へ", "月を", "町で", "風と", "道も", "花は", "空の"]
    lines = ["".join(random.choice(words, 12)) for _ in range(60)]
    found = attribution_truth.measures(attribution_truth.score(lines, 16, 0), 0)
    told = {m.name: m for m in found}
    assert told["LDS of exact derivative"].above_chance
    assert len(told) == 4 + 3
