"""Pruning and rounding that look at the data, against plain loops without blocks."""

import pytest

torch = pytest.importorskip("torch")

from yoriai_domain_adapt.arithmetic import rounding, second_order, sparsity  # noqa: E402


@pytest.fixture
def layer():
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(24, 192, generator=generator)
    mixing = torch.randn(192, 192, generator=generator) / 14 + torch.eye(192)
    inputs = torch.randn(1000, 192, generator=generator) @ mixing
    return weight, inputs.t() @ inputs


def inverse(moment):
    damped = moment.double() + torch.eye(len(moment)) * 0.01 * moment.double().diagonal().mean()
    return torch.linalg.inv(damped)


def obs_columns(weight, moment, new_value):
    """Optimal brain surgeon column by column: the inverse is shrunk after each, no Cholesky."""
    work, left = weight.double().clone(), inverse(moment)
    for column in range(work.shape[1]):
        value = new_value(work, left, column)
        error = (work[:, column] - value) / left[column, column]
        work[:, column:] -= error[:, None] * left[column, column:]
        work[:, column] = value
        row = left[column].clone()
        left -= torch.outer(row, row) / row[column]
    return work


@pytest.mark.parametrize(("bits", "group"), [(4, 32), (4, 64), (8, None)])
def test_gptq_is_the_surgeon_that_rounds(layer, bits, group):
    weight, moment = layer
    scales = {}

    def rounded(work, left, column):
        size = group or work.shape[1]
        if column % size == 0:
            ahead = work[:, column : column + size].float()
            scales["now"] = rounding.group_scale(ahead, bits, None)[:, 0].double()
        whole = torch.round(work[:, column] / scales["now"])
        return whole.clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) * scales["now"]

    expected = obs_columns(weight, moment, rounded)
    whole, scale = second_order.gptq(weight, moment, bits, group)
    found = rounding.dequantise_weight(whole, scale).double()
    # fp32 against fp64: a value at the edge of two integers may fall to either side.
    assert (found - expected).abs().median() < 1e-5
    share = ((found - expected).abs() > 1e-3).double().mean()
    assert share < 0.02


def test_gptq_errs_less_than_rounding_to_the_nearest_on_the_data(layer):
    weight, moment = layer
    plain = rounding.dequantise_weight(*rounding.quantise_weight(weight, 4, 32))
    better = rounding.dequantise_weight(*second_order.gptq(weight, moment, 4, 32))
    errors = [second_order.output_error(weight, w, moment) for w in (better, plain)]
    assert errors[0] < 0.7 * errors[1]


def test_sparse_gpt_prunes_the_share_and_errs_less_than_magnitude(layer):
    weight, moment = layer
    found = sparsity.sparse_gpt(weight, moment, 0.5)
    assert float((found == 0).double().mean()) == pytest.approx(0.5, abs=0.01)
    mask = sparsity.mask_smallest(weight.abs(), 0.5, by_row=False)
    plain = torch.where(mask, 0.0, weight)
    assert second_order.output_error(weight, found, moment) < 0.75 * second_order.output_error(
        weight, plain, moment
    )


def test_sparse_gpt_moves_what_stays_as_the_surgeon_does(layer):
    weight, moment = layer
    found = sparsity.sparse_gpt(weight, moment, 0.5)
    mask = found == 0

    def zeroed(work, left, column):
        return torch.where(mask[:, column], 0.0, work[:, column])

    expected = obs_columns(weight, moment, zeroed)
    assert torch.allclose(found.double(), expected, atol=1e-3)


def test_two_of_four_leaves_two_of_each_four(layer):
    weight, moment = layer
    for pruned in (
        torch.where(sparsity.mask_two_of_four(weight.abs()), 0.0, weight),
        sparsity.sparse_gpt(weight, moment, 0.5, two_of_four=True),
    ):
        assert ((pruned.reshape(-1, 4) == 0).sum(1) == 2).all()
    with pytest.raises(ValueError, match="no multiple of 4"):
        sparsity.mask_two_of_four(torch.ones(2, 6))


def test_wanda_prefers_weights_whose_inputs_are_large():
    weight = torch.tensor([[1.0, 2.0]])
    moment = torch.diag(torch.tensor([100.0, 1.0]))
    score = sparsity.wanda_score(weight, moment.diagonal())
    assert score.tolist() == [[10.0, 2.0]]
    assert sparsity.mask_smallest(score, 0.5, by_row=True).tolist() == [[False, True]]


def test_the_masks_drop_the_share_asked_for_and_the_smallest():
    score = torch.arange(12.0).reshape(3, 4)
    assert sparsity.mask_smallest(score, 0.25, by_row=False).sum() == 3
    assert sparsity.mask_smallest(score, 0.25, by_row=False)[0, :3].all()
    assert sparsity.mask_smallest(score, 0.25, by_row=True)[:, 0].all()


def test_of_equal_scores_the_first_go_as_a_stable_sort_has_them():
    score = torch.randint(0, 3, (50, 40), generator=torch.Generator().manual_seed(4)).float()
    for by_row in (True, False):
        rows = score if by_row else score.reshape(1, -1)
        first = torch.argsort(rows, dim=1, stable=True)[:, : rows.shape[1] // 2]
        wanted = torch.zeros_like(rows, dtype=torch.bool).scatter_(1, first, True)
        found = sparsity.mask_smallest(score, 0.5, by_row=by_row)
        assert torch.equal(found, wanted.reshape(score.shape))


def test_awq_is_never_worse_than_plain_rounding_and_better_where_inputs_differ():
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(32, 64, generator=generator)
    size = torch.logspace(-1, 1.5, 64)
    inputs = torch.randn(400, 64, generator=generator) * size
    moment, magnitude = inputs.t() @ inputs, inputs.abs().mean(0)
    scale, exponent = second_order.awq_scale([weight], moment, magnitude, 4, 32)
    rounded = rounding.dequantise_weight(*rounding.quantise_weight(weight * scale, 4, 32)) / scale
    plain = rounding.dequantise_weight(*rounding.quantise_weight(weight, 4, 32))
    assert exponent > 0
    assert second_order.output_error(weight, rounded, moment) < second_order.output_error(
        weight, plain, moment
    )


def test_smoothing_moves_the_peaks_and_keeps_the_product():
    weight, inputs = torch.tensor([[1.0, 4.0]]), torch.tensor([[100.0, 1.0]])
    scale = second_order.smooth_scale([weight], inputs.abs().amax(0), 0.5)
    assert torch.allclose(scale, torch.tensor([10.0, 0.5]))
    assert torch.allclose((inputs / scale) @ (weight * scale).t(), inputs @ weight.t())


def test_inputs_that_were_always_zero_do_no_harm(layer):
    weight, moment = layer
    moment = moment.clone()
    moment[3], moment[:, 3] = 0, 0
    assert torch.isfinite(sparsity.sparse_gpt(weight, moment, 0.5)).all()
    assert torch.isfinite(
        rounding.dequantise_weight(*second_order.gptq(weight, moment, 4, 32))
    ).all()
