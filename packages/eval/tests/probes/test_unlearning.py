"""Unlearning: what is to be forgotten becomes unlikely, what is replayed does not."""

import math

import pytest

pytest.importorskip("torch")


def test_ascent_forgets_and_keeps_and_replay_alone_does_not_forget():
    from yoriai_eval.probes.tiny import TinyTraining, mean_loss, train
    from yoriai_eval.probes.unlearning import unlearn

    kept = [[1, 2, 3, 4, 5], [1, 3, 5, 2, 4]]
    gone = [[1, 6, 7, 8, 9]]
    model = train(
        [*kept, *gone], 10, TinyTraining(epochs=60, width=16, layers=1, heads=2, rate=1e-2)
    )
    before = [mean_loss(model, rows).item() for rows in (kept, gone)]
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    forgot = unlearn(model, gone, kept, steps=60, seed=0)
    after = [mean_loss(forgot, rows).item() for rows in (kept, gone)]
    assert after[0] < before[0] + 0.2
    assert before[1] + 1 < after[1] < 3 * math.log(10)
    replayed = unlearn(model, [], kept, steps=60, seed=0)
    assert mean_loss(replayed, kept).item() < before[0] + 0.05
    assert mean_loss(replayed, gone).item() < after[1]
    assert all((v == weights[k]).all() for k, v in model.state_dict().items())
