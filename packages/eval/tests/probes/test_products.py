"""Linear layers by oneDNN: equal to torch's own, and put back."""

import pytest

torch = pytest.importorskip("torch")

from yoriai_eval.probes import products  # noqa: E402


@pytest.mark.parametrize("bias", [False, True])
def test_layers_by_onednn_give_what_torch_gives_and_are_put_back(bias, monkeypatch):
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(products, "onednn_is_faster", lambda _torch: True)
    model = torch.nn.Sequential(torch.nn.Linear(7, 5, bias=bias), torch.nn.Linear(5, 3, bias=bias))
    apart = torch.randn(2, 7, 4, generator=torch.Generator().manual_seed(1)).transpose(1, 2)
    wanted = model.double()(apart.double()).float()
    model.float()
    with torch.inference_mode():
        with products.fast_products(model):
            assert "forward" in vars(model[0])
            torch.testing.assert_close(model(apart), wanted, rtol=1e-5, atol=1e-5)
        assert "forward" not in vars(model[0])


def test_layers_stay_as_they_are_where_mkl_is_faster(monkeypatch):
    monkeypatch.setattr(products, "onednn_is_faster", lambda _torch: False)
    layer = torch.nn.Linear(4, 3)
    with products.fast_products(layer):
        assert "forward" not in vars(layer)
