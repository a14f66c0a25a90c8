"""The chunked loss against the usual one, and against autograd."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from yoriai_train.model import loss as losses  # noqa: E402
from yoriai_train.model.loss import IGNORED, Head, chunked_loss  # noqa: E402


def usual(hidden, weight, targets, z_loss):
    """Cross entropy of whole logits, plus z-loss by its definition (arXiv 2204.02311)."""
    logits = hidden @ weight.T
    total = functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
    log_z = logits.exp().sum(-1).log()
    return total + z_loss * (log_z[targets != IGNORED] ** 2).sum()


def case(tokens, width, pieces, seed, ignored=0.0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, width, generator=generator, dtype=torch.float64)
    weight = torch.randn(pieces, width, generator=generator, dtype=torch.float64) * 0.3
    targets = torch.randint(0, pieces, (tokens,), generator=generator)
    targets[torch.rand(tokens, generator=generator) < ignored] = IGNORED
    return hidden.requires_grad_(), weight.requires_grad_(), targets


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.integers(1, 40),
    width=st.integers(1, 12),
    pieces=st.integers(2, 50),
    rows=st.integers(1, 16),
    z_loss=st.sampled_from([0.0, 1e-4, 0.3]),
    ignored=st.sampled_from([0.0, 0.4, 1.0]),
    seed=st.integers(0, 99),
)
def test_loss_and_gradients_are_those_of_the_usual_cross_entropy(
    tokens, width, pieces, rows, z_loss, ignored, seed
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "CPU_CHUNK_BYTES", 4 * pieces * rows)
        patch.setattr(losses, "CHUNK_ROWS", 1)
        hidden, weight, targets = case(tokens, width, pieces, seed, ignored)
        total, each = chunked_loss(hidden, weight, targets, z_loss)
        (3 * total).backward()
    mine = hidden.grad.clone(), weight.grad.clone()
    hidden.grad = weight.grad = None
    expected = usual(hidden, weight, targets, z_loss)
    (3 * expected).backward()
    # Logits and softmax are fp32 whatever goes in, as in training.
    assert float(total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-5)
    torch.testing.assert_close(mine[0], hidden.grad, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mine[1], weight.grad, rtol=1e-4, atol=1e-5)
    plain = functional.cross_entropy(
        hidden @ weight.T, targets, ignore_index=IGNORED, reduction="none"
    )
    torch.testing.assert_close(each.double(), plain.detach(), rtol=1e-4, atol=1e-5)


def test_logits_are_never_held_whole(monkeypatch):
    """The largest tensor that the operation makes is one chunk of logits."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            made = function(*args, **(kwargs or {}))
            for tensor in made if isinstance(made, (tuple, list)) else [made]:
                if isinstance(tensor, torch.Tensor):
                    Largest.elements = max(Largest.elements, tensor.numel())
            return made

    monkeypatch.setattr(losses, "CPU_CHUNK_BYTES", 4 * 500 * 8)
    monkeypatch.setattr(losses, "CHUNK_ROWS", 1)
    hidden, weight, targets = case(64, 4, 500, 0)
    with Largest():
        total, _ = chunked_loss(hidden, weight, targets)
        total.backward()
    assert Largest.elements == 500 * 8


def test_under_autocast_products_are_bf16_and_sums_fp32():
    hidden, weight, targets = (t.detach() for t in case(64, 16, 50, 1))
    hidden, weight = hidden.float().requires_grad_(), weight.float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        total, _ = chunked_loss(hidden, weight, targets)
    total.backward()
    assert total.dtype == torch.float32 == hidden.grad.dtype
    exact = usual(hidden.double(), weight.double(), targets, 0.0)
    assert float(total.detach()) == pytest.approx(float(exact.detach()), rel=5e-3)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox"])
def test_a_model_with_the_loss_in_its_head_gives_the_loss_of_transformers(kind):
    transformers = pytest.importorskip("transformers")
    from yoriai_train.settings.shapes import GPT2, GPTNeoX, Llama

    shape = {"llama": Llama, "gpt2": GPT2, "gpt_neox": GPTNeoX}[kind]
    grouped = {"key_value_heads": 1} if kind == "llama" else {}
    made = shape(layers=2, width=16, heads=2, context=32, **grouped)
    body = made.transformers_config(60)
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(body.pop("model_type"), **body)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    ids = torch.randint(0, 60, (3, 32))
    before = model(input_ids=ids, labels=ids)
    before.loss.backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    head = Head(model)
    total = head.loss(model, ids[:, 1:].contiguous(), input_ids=ids[:, :-1])
    (total / ids[:, 1:].numel()).backward()
    assert float(total.detach()) / ids[:, 1:].numel() == pytest.approx(
        float(before.loss.detach()), rel=1e-5
    )
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, grads[name], rtol=1e-3, atol=1e-6)
    logits = model(input_ids=ids).logits  # outside of training it is a plain model again
    torch.testing.assert_close(logits, before.logits)
