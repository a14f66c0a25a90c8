"""A sparse autoencoder: planted directions are found again, and what is explained is counted."""

import numpy as np
import pytest

from yoriai_eval.probes.step import ProbeStep, rows_of

torch = pytest.importorskip("torch")


def test_as_many_principal_components_explain_what_numpy_says():
    from yoriai_eval.probes import sparse_features

    random = np.random.Generator(np.random.PCG64(2))
    data = random.normal(size=(90, 6)) @ np.diag([5, 4, 3, 1, 1, 1])
    parts = list(torch.tensor(data, dtype=torch.float32).split(5))
    components = sparse_features._Components(torch.cat(parts), 2)
    told = sparse_features._explained("v", parts, components, 0)
    values = np.linalg.svd(data - data.mean(0), compute_uv=False) ** 2
    assert told.value == pytest.approx(values[:2].sum() / values.sum(), abs=1e-5)
    assert told.interval[0] <= told.value <= told.interval[1] <= 1
    assert told.items == 18


def test_states_are_those_that_the_library_gives_without_the_first(make):
    from yoriai_eval.probes.reading import open_folder
    from yoriai_eval.probes.sparse_features import states

    model = open_folder(make.model().path).model
    (told,) = states(model, [[1, 9, 20, 7]], 1)
    with torch.inference_mode():
        wanted = model(torch.tensor([[1, 9, 20, 7]]), output_hidden_states=True).hidden_states[1]
    assert torch.equal(told, wanted[0, 1:].float())


@pytest.mark.slow
def test_planted_directions_are_found_again_the_same_ones_each_time():
    pytest.importorskip("sparsify")
    from yoriai_eval.probes import sparse_features

    one, two = (sparse_features._validation(0) for _ in range(2))
    assert one.holds is True
    assert one == two


@pytest.mark.slow
def test_a_layer_of_a_model_is_described_on_held_out_text(make, yoriai_job, monkeypatch):
    pytest.importorskip("sparsify")
    from yoriai_eval.probes import sparse_features

    monkeypatch.setattr(sparse_features, "STEPS", 60)
    rows = [(f"文書{n}は{n * n}を述べる。", "ja") for n in range(40)]
    corpus = make.corpus("text", rows[:25], rows[25:])
    probe = sparse_features.SparseFeatures(tokens=24, k=4)
    probe._entry = "eval/sparse-features"
    step = ProbeStep(probes=[probe], models={"mine": str(make.model().path)})
    made = yoriai_job("looks", step, [corpus])
    told = made.facts["probes"]["eval/sparse-features"]["mine"]
    assert told["state"] == "ran", told
    assert told["measures"]["variance explained, held out"]["items"] == 15
    assert told["measures"]["directions that are never used"]["items"] == 4 * 32
    assert told["notes"][0] == "after layer 1 of 2, 4 of 128 directions at a time"
    first = next(rows_of(made, "eval/sparse-features", "mine"))
    assert all("⟦" in place for place in first["strongest"])
