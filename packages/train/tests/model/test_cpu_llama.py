"""Blocks that keep less, against transformers' own: numbers, gradients, and what is kept."""

import copy

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from yoriai_train.model import cpu_llama, cpu_products  # noqa: E402


def llama(**changes):
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        **{
            "vocab_size": 61, "hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 3,
            "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
            "tie_word_embeddings": True, **changes,
        }
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # norms of one hide a wrong gradient
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
    return model.train()


def both(*, apart=False, **changes):
    plain = llama(**changes)
    ours = copy.deepcopy(plain)
    cpu_products.use_products(ours)
    assert cpu_llama.use_lean(ours, apart=apart)
    return plain, ours


def outcome(model, **inputs):
    ids = torch.arange(2 * 16).view(2, 16) % 61
    logits = model(input_ids=ids, use_cache=False, **inputs).logits
    loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), ids.flatten())
    loss.backward()
    return logits, {name: parameter.grad for name, parameter in model.named_parameters()}


def kept_bytes(model):
    """Bytes of what autograd keeps of a forward pass, each storage once, without parameters."""
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    found = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.model(input_ids=torch.zeros(2, 16, dtype=torch.long), use_cache=False)
    return sum(storage.nbytes() for storage in found.values())


@pytest.mark.parametrize("onednn", [False, True])
@pytest.mark.parametrize("key_value_heads", [1, 2, 4])
def test_logits_and_gradients_are_those_of_transformers(onednn, key_value_heads, monkeypatch):
    if onednn and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(cpu_products, "ONEDNN", onednn)
    plain, ours = both(num_key_value_heads=key_value_heads)
    torch.testing.assert_close(outcome(ours), outcome(plain), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("key_value_heads", [1, 2, 4])
def test_positions_that_begin_again_mask_the_same(apart, key_value_heads):
    plain, ours = both(apart=apart, num_key_value_heads=key_value_heads)
    rows = [[5, 11], [1, 1, 14]]
    places = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in rows])
    torch.testing.assert_close(
        outcome(ours, position_ids=places),
        outcome(plain, position_ids=places),
        rtol=1e-4,
        atol=1e-6,
    )


def test_rows_of_one_document_need_no_positions():
    plain, ours = both(apart=True)
    torch.testing.assert_close(outcome(ours), outcome(plain), rtol=1e-4, atol=1e-6)


def test_documents_that_are_attended_to_one_by_one_go_through_activation_checkpoints():
    plain, ours = both(apart=True)
    ours.gradient_checkpointing_enable({"use_reentrant": False})
    places = {"position_ids": torch.cat([torch.arange(5), torch.arange(11)]).expand(2, -1)}
    torch.testing.assert_close(
        outcome(ours, **places), outcome(plain, **places), rtol=1e-4, atol=1e-6
    )


def test_a_mask_is_refused_where_positions_keep_documents_apart():
    _, ours = both(apart=True)
    with pytest.raises(ValueError, match="mask is not looked at"):
        outcome(ours, attention_mask=torch.tensor([[0] * 4 + [1] * 12] * 2))


def test_with_activation_checkpoints_the_gradients_are_the_same():
    plain, ours = both()
    ours.gradient_checkpointing_enable({"use_reentrant": False})
    torch.testing.assert_close(outcome(ours), outcome(plain), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("autocast", [False, True])
def test_in_16_bit_the_numbers_differ_by_its_rounding_alone(autocast):
    plain, ours = both()
    exact_logits, exact = outcome(copy.deepcopy(plain))
    if not autocast:
        plain, ours = plain.bfloat16(), ours.bfloat16()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        theirs_logits, theirs = outcome(plain)
        ours_logits, own = outcome(ours)

    def error(made, exact):
        return (made.float() - exact).square().sum()

    assert error(ours_logits, exact_logits) <= 1.5 * error(theirs_logits, exact_logits)
    assert all(own[name].dtype == theirs[name].dtype for name in own)
    errors = [sum(error(g[name], exact[name]) for name in exact) for g in (own, theirs)]
    assert errors[0] <= 1.5 * errors[1]


def test_about_half_is_kept():
    plain, ours = both()
    assert kept_bytes(ours) < 0.55 * kept_bytes(plain)


def test_models_of_another_kind_are_left_alone():
    config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=11)
    assert not cpu_llama.use_lean(transformers.GPT2LMHeadModel(config))
    assert not cpu_llama.use_lean(llama(hidden_act="gelu"))
