"""Influence by Kronecker factors, against its definition by brute force."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("kronfluence", reason="the extra ekfac is not installed")


@pytest.fixture(scope="module")
def tiny():
    from yoriai_eval.probes.tiny import TinyTraining, build

    model = build(7, 8, TinyTraining(width=8, layers=1, heads=2, seed=2)).eval()
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    items = [[1, 2, 3, 4], [1, 5, 6], [1, 2, 2, 2, 3, 3], [1], [1, 6, 5, 4, 3]]
    queries = [([1, 2, 3, 5], 2), ([1, 4, 4], 1)]
    return model, items, queries


def gradients(model, ids, first):
    """The gradient of the last layer, and what it is given and gives back, by autograd."""
    layer = model.get_output_embeddings()
    seen = []
    hook = layer.register_forward_hook(lambda _m, given, out: seen.extend([given[0], out]))
    logits = model(input_ids=torch.tensor([ids[:-1]]), use_cache=False).logits[0]
    hook.remove()
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")[
        first - 1 :
    ]
    whole, back = torch.autograd.grad(losses.sum(), [layer.weight, seen[1]])
    return whole.double(), seen[0][0].double().detach(), back[0].double()


def test_without_curvature_it_is_the_dot_product_of_tracin(tiny):
    from yoriai_eval.probes.attribution import influence
    from yoriai_eval.probes.kronecker import kronecker_influence

    model, items, queries = tiny
    before = {k: v.clone() for k, v in model.state_dict().items()}
    found = kronecker_influence(model, items, queries, strategy="identity", layers=["lm_head"])
    wanted, _ = influence(model, items, queries)
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-5)
    assert found[3] == 0
    each = kronecker_influence(model, items, queries, strategy="identity", layers=["lm_head"],
                               each=True)  # fmt: skip
    assert each.shape == (2, 5)
    assert each.sum(0) == pytest.approx(found, abs=1e-4)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


@pytest.mark.parametrize("strategy", ["kfac", "ekfac"])
def test_it_is_its_definition(tiny, strategy):
    from yoriai_eval.probes.kronecker import kronecker_influence

    model, items, queries = tiny
    damping = 0.05
    found = kronecker_influence(model, items, queries, strategy=strategy, layers=["lm_head"],
                                empirical=True, damping=damping)  # fmt: skip
    real = [ids for ids in items if len(ids) > 1]
    told = [gradients(model, ids, 1) for ids in real]
    tokens = sum(len(ids) - 1 for ids in real)
    inputs = sum(h.T @ h for _, h, _ in told) / tokens
    outputs = sum(g.T @ g for _, _, g in told) / tokens
    left_values, left = torch.linalg.eigh(outputs)
    right_values, right = torch.linalg.eigh(inputs)
    if strategy == "ekfac":
        curvature = sum((left.T @ whole @ right) ** 2 for whole, _, _ in told) / len(told)
    else:
        curvature = left_values[:, None] * right_values[None]
    query = sum(gradients(model, ids, first)[0] for ids, first in queries)
    solved = left @ ((left.T @ query @ right) / (curvature + damping)) @ right.T
    wanted = [float((solved * whole).sum()) for whole, _, _ in told]
    assert found[[0, 1, 2, 4]] == pytest.approx(np.array(wanted), rel=1e-2, abs=1e-3)


def test_labels_are_drawn_by_the_seed(tiny):
    from yoriai_eval.probes.kronecker import kronecker_influence

    model, items, queries = tiny
    first, again = (kronecker_influence(model, items, queries, seed=4) for _ in range(2))
    assert (first == again).all()
    assert np.abs(first).max() > 0
