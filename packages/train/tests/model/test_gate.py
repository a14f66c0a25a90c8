"""Loss and gradients of families with unlike forward code are those of transformers, or refused."""

import pytest

torch = pytest.importorskip("torch")
from yoriai import UsageError  # noqa: E402
from yoriai_train.model import gate  # noqa: E402
from yoriai_train.model.cpu_llama import use_lean  # noqa: E402
from yoriai_train.model.weights import set_to_training  # noqa: E402

COMMON = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
NEOX = {"attention_dropout": 0.3, "hidden_dropout": 0.3}
# The way of the loss, and whether documents can be kept apart.
FAMILIES = {
    "llama": ({}, "chunked", True),
    "gpt2": ({"resid_pdrop": 0.4, "attn_pdrop": 0.4}, "chunked", True),
    "gpt_neox": (NEOX, "chunked", True),
    "qwen3": ({"head_dim": 8}, "chunked", True),
    "gemma2": ({"head_dim": 8, "query_pre_attn_scalar": 8}, "logits", True),
    "bloom": ({"n_layer": 2, "n_head": 4, "hidden_dropout": 0.3}, "chunked", False),
    "mixtral": ({"output_router_logits": True, "num_local_experts": 4}, "chunked", True),
    "phi": ({"resid_pdrop": 0.3, "attention_dropout": 0.3}, "chunked", True),
    "opt": ({"ffn_dim": 64, "word_embed_proj_dim": 32, "dropout": 0.3}, "chunked", None),
    "falcon": ({"hidden_dropout": 0.3, "attention_dropout": 0.3}, "chunked", None),
    "mamba": ({"state_size": 4}, "chunked", False),
    "cohere": ({"logit_scale": 0.25}, "logits", True),
    "granite": ({"logits_scaling": 8.0}, "logits", True),
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_loss_and_gradients_are_those_of_transformers_for(kind):
    extra, way, apart = FAMILIES[kind]
    body = {"model_type": kind, **COMMON, **extra}
    assert gate.choose_head(body, boundaries=False, change=use_lean) == way
    if apart:
        assert gate.choose_head(body, boundaries=True, change=use_lean) == way
    elif apart is False:
        with pytest.raises(UsageError, match=f"boundaries: a {kind} cannot keep documents apart"):
            gate.choose_head(body, boundaries=True)


@pytest.mark.parametrize("kind", ["llama", "mixtral", "gemma2"])
def test_a_large_model_is_asked_by_a_small_one_of_its_kind(kind):
    large = {
        **COMMON, "vocab_size": 100_000, "hidden_size": 4096, "intermediate_size": 11_008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
        "eos_token_id": 99_999,
    }  # fmt: skip
    way = gate.choose_head({"model_type": kind, **large}, boundaries=True)
    assert way == FAMILIES[kind][1]


def test_a_kind_whose_lists_fit_its_own_width_only_is_asked_at_that_width():
    factors = [1.0] * 48  # half a head of 96, which a narrower model does not have
    body = {
        "model_type": "phi3", "vocab_size": 1000, "hidden_size": 768, "num_attention_heads": 8,
        "num_key_value_heads": 8, "intermediate_size": 512, "num_hidden_layers": 3,
        "eos_token_id": 2, "pad_token_id": 0, "original_max_position_embeddings": 64,
        "rope_scaling": {"type": "longrope", "short_factor": factors, "long_factor": factors},
    }  # fmt: skip
    assert gate.choose_head(body, boundaries=False) == "chunked"


def test_a_loss_that_is_neither_way_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(gate, "_our_gradients", lambda *given: {})
    with pytest.raises(UsageError, match="a llama computes its loss in a way that training does"):
        gate.choose_head({"model_type": "llama", **COMMON}, boundaries=False)


def test_a_kind_that_gives_no_loss_of_its_own_is_refused_by_name():
    # Marian's decoder takes its labels to be of another vocabulary than its configuration says.
    from transformers import AutoConfig

    sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 300}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "pad_token_id": 1}
    body = AutoConfig.for_model("marian", **sizes, **heads, decoder_vocab_size=512).to_dict()
    with pytest.raises(UsageError, match="a marian gives no loss of its own"):
        gate.choose_head(body, boundaries=False)


def test_dropout_of_functions_stays_off_and_the_exported_configuration_as_it_was():
    body = {"model_type": "bloom", **COMMON, "hidden_dropout": 0.5, "attention_dropout": 0.5}
    model = set_to_training(gate._any_small_model(body))
    ids = torch.arange(16)[None]
    assert model.training
    with torch.no_grad():
        assert torch.equal(model(ids).logits, model(ids).logits)
    assert model.config.hidden_dropout == 0.5
