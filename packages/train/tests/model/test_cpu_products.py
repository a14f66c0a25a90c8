"""Products by oneDNN against those in double precision, and layers against torch's own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from yoriai_train.model import cpu_products  # noqa: E402


@pytest.fixture(autouse=True)
def by_onednn(monkeypatch):
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(cpu_products, "ONEDNN", True)


def laid_out(matrix, how):
    """The same numbers, by rows, by columns, or as a part of something wider."""
    if how == "columns":
        return matrix.T.contiguous().T
    if how == "part":
        return functional.pad(matrix, (3, 2))[:, 3:-2]
    return matrix


LAYOUTS = st.sampled_from(["rows", "columns", "part"])


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 40), inner=st.integers(1, 40), columns=st.integers(1, 40),
    a_layout=LAYOUTS, b_layout=LAYOUTS, seed=st.integers(0, 99),
)  # fmt: skip
def test_a_product_is_right_whatever_the_layout(rows, inner, columns, a_layout, b_layout, seed):
    generator = torch.Generator().manual_seed(seed)
    a = laid_out(torch.randn(rows, inner, generator=generator), a_layout)
    b = laid_out(torch.randn(columns, inner, generator=generator), b_layout)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_products, "ONEDNN", True)
        made = cpu_products.product(a, b)
    torch.testing.assert_close(made, (a.double() @ b.double().T).float(), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_and_its_gradients_are_those_of_torch(bias):
    torch.manual_seed(1)
    plain = torch.nn.Linear(24, 40, bias=bias)
    ours = torch.nn.Linear(24, 40, bias=bias)
    ours.load_state_dict(plain.state_dict())
    assert cpu_products.use_products(torch.nn.Sequential(ours))
    outcomes = []
    for layer in (plain, ours):
        hidden = torch.linspace(-1, 1, 2 * 7 * 24).view(2, 7, 24).requires_grad_()
        (layer(hidden) ** 2).sum().backward()
        outcomes.append([hidden.grad, *(p.grad for p in layer.parameters())])
    torch.testing.assert_close(*outcomes, rtol=1e-5, atol=1e-5)


def test_a_product_gives_the_same_bits_again():
    torch.manual_seed(1)
    grad, hidden = torch.randn(512, 96), torch.randn(512, 160)
    first = cpu_products.product(grad.T, hidden.T)
    assert all(torch.equal(first, cpu_products.product(grad.T, hidden.T)) for _ in range(20))


def test_other_precisions_and_autocast_are_left_alone():
    layer = torch.nn.Linear(8, 8, bias=False)
    cpu_products.use_products(torch.nn.Sequential(layer))
    hidden = torch.randn(3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(hidden).dtype == torch.bfloat16
    assert layer.double()(hidden.double()).dtype == torch.float64


def test_parameters_and_their_names_stay():
    model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    before = {name: id(parameter) for name, parameter in model.named_parameters()}
    cpu_products.use_products(model)
    assert {name: id(parameter) for name, parameter in model.named_parameters()} == before
