"""Inside a model: parts found in three families, and answers that other ways of asking give."""

import numpy as np
import pytest

from yoriai import UsageError
from yoriai_eval.probes.step import ProbeStep, rows_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SHAPES = {
    "llama": ("LlamaForCausalLM", "LlamaConfig", {"hidden_size": 16, "intermediate_size": 24,
              "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"n_embd": 16, "n_layer": 3, "n_head": 4,
             "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}),
    "gpt-neox": ("GPTNeoXForCausalLM", "GPTNeoXConfig", {"hidden_size": 16,
                 "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4}),
}  # fmt: skip
TEXTS = [[1, 5, 9, 13, 2, 7], [1, 3, 3, 8], [1, 12, 6, 4, 10, 11, 2, 9]]


@pytest.fixture(params=SHAPES)
def model(request):
    made, config, keys = SHAPES[request.param]
    marks = {"bos_token_id": 0, "eos_token_id": None, "pad_token_id": None}
    with torch.random.fork_rng():
        torch.manual_seed(4)
        shape = getattr(transformers, config)(
            vocab_size=14, max_position_embeddings=32, initializer_range=0.5, **marks, **keys
        )
        built = getattr(transformers, made)(shape).eval()
        with torch.no_grad():
            for name, weights in built.named_parameters():
                if name.endswith("bias"):
                    weights.normal_(0, 0.3)
    return built


def loss(model, ids):
    """What the library itself says: mean loss of the ids after the first."""
    row = torch.tensor([ids])
    with torch.inference_mode():
        return float(model(input_ids=row, labels=row).loss)


def silence(decoder, part):
    """Take a part away by its weights: columns of the projection, or all of the network's last."""
    with torch.no_grad():
        if part.kind == "mlp":
            last = [m for m in part.layer.network.modules() if hasattr(m, "weight")][-1]
            last.weight.zero_()
            if getattr(last, "bias", None) is not None:
                last.bias.zero_()
            return
        weights = part.layer.output.weight
        turned = type(part.layer.output).__name__ == "Conv1D"
        size, head = decoder.head_size, part.head
        at = slice(None) if head is None else slice(head * size, (head + 1) * size)
        if turned:
            weights[at] = 0
        else:
            weights[:, at] = 0


def test_ablation_by_zero_is_the_loss_of_a_model_whose_weights_are_zero_there(model):
    import copy

    from yoriai_eval.probes.ablation import losses_without
    from yoriai_eval.probes.layers import decoder_of, parts_of

    decoder = decoder_of(model)
    whole, without = losses_without(decoder, TEXTS, "zero")
    assert whole == pytest.approx([loss(model, ids) for ids in TEXTS], abs=1e-5)
    assert len(without) == 3 * (4 + 2)
    for number, part in enumerate(parts_of(decoder)):
        other = decoder_of(copy.deepcopy(model))
        silence(other, list(parts_of(other))[number])
        wanted = [loss(other.model, ids) for ids in TEXTS]
        assert without[part.name] == pytest.approx(wanted, abs=1e-5), part.name
        assert np.abs(without[part.name] - whole).max() > 1e-4, part.name  # it was there before


def test_a_head_whose_weights_are_zero_can_be_taken_away_without_any_loss(model):
    from yoriai_eval.probes.ablation import losses_without
    from yoriai_eval.probes.layers import decoder_of, parts_of

    decoder = decoder_of(model)
    idle = next(part for part in parts_of(decoder) if part.name == "head 1.2")
    silence(decoder, idle)
    for how in ("mean", "zero"):
        whole, without = losses_without(decoder, TEXTS, how)
        assert without["head 1.2"] == pytest.approx(whole, abs=1e-6)
        assert np.abs(without["head 1.1"] - whole).max() > 1e-4


def test_mean_outputs_are_those_of_one_text_at_a_time(model):
    from yoriai_eval.probes.layers import decoder_of, mean_outputs

    decoder = decoder_of(model)
    together = mean_outputs(decoder, TEXTS)
    alone = [mean_outputs(decoder, [ids]) for ids in TEXTS]
    for name, value in together.items():
        wanted = sum(len(i) * a[name] for i, a in zip(TEXTS, alone, strict=True))
        wanted = wanted / sum(map(len, TEXTS))
        assert torch.allclose(value, wanted, atol=1e-5), name
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_lens_of_the_last_layer_is_the_models_own_logits(model):
    from yoriai_eval.probes.layers import decoder_of
    from yoriai_eval.probes.lens import through

    told = through(decoder_of(model), TEXTS)
    assert told.drift < 1e-5
    assert [row[-1] for row in told.loss] == pytest.approx(
        [loss(model, i) for i in TEXTS], abs=1e-5
    )
    assert all(row[-1] == 1.0 for row in told.agrees)
    assert all(row[-1] == 0.0 for row in told.divergence)
    assert all(len(row) == 4 for row in told.loss)
    # A model cut after two layers says what the lens says there.
    import copy

    cut = copy.deepcopy(model)
    blocks = next(m for m in cut.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 3)
    del blocks[2]
    cut.config.num_hidden_layers = 2
    assert [r[2] for r in told.loss] == pytest.approx([loss(cut, ids) for ids in TEXTS], abs=1e-5)


def test_logits_that_are_changed_after_the_last_layer_fail_the_lens_validation(model):
    from yoriai_eval.probes import lens
    from yoriai_eval.probes.layers import decoder_of

    handle = model.register_forward_hook(
        lambda _m, _g, told: setattr(told, "logits", told.logits.tanh()) or told
    )
    told = lens._validation(lens.through(decoder_of(model), TEXTS))
    handle.remove()
    assert told.holds is False
    assert "more follows the last norm" in told.says


def test_the_one_induction_head_of_a_model_built_by_hand_is_found():
    from yoriai_eval.probes import induction, known_circuit

    model = known_circuit.induction_model()
    told = induction.repeat(model, range(1, known_circuit.KINDS), [0], 15, 4, 0)
    scores = told.matching.mean(0)
    assert scores[known_circuit.INDUCTION] > 0.999
    assert np.delete(scores.ravel(), 4 + 2).max() < 0.05
    assert told.previous.mean(0)[known_circuit.PREVIOUS] > 0.999
    assert told.second.max() < 1e-4  # it repeats what it has seen
    assert told.first.min() > 3  # and knows nothing before
    # Heads that look at all places alike have what chance says.
    assert scores[1, 0] == pytest.approx(told.chance, abs=1e-6)


def test_without_either_head_the_model_built_by_hand_repeats_nothing():
    from yoriai_eval.probes import ablation

    for how in ("mean", "zero"):
        assert ablation._validation(how).holds is True


def test_a_head_that_was_broken_fails_the_validation(monkeypatch):
    from yoriai_eval.probes import ablation, induction, known_circuit

    real = known_circuit.induction_model

    def broken():
        model = real()
        model.transformer.h[0].attn.c_attn.weight.data.zero_()
        return model

    monkeypatch.setattr(known_circuit, "induction_model", broken)
    assert induction._validation(0).holds is False
    assert ablation._validation("zero").holds is False


def test_attention_is_told_only_while_it_is_asked_for(model):
    from yoriai_eval.probes import induction

    before = model.config._attn_implementation
    induction.repeat(model, range(1, 14), [0], 5, 2, 0)
    assert model.config._attn_implementation == before


def test_a_model_that_is_no_decoder_as_known_is_refused():
    from yoriai_eval.probes.layers import decoder_of

    config = transformers.MambaConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=2, state_size=4, expand=1, time_step_rank=2
    )
    config.num_attention_heads = 2
    with pytest.raises(UsageError, match="heads of block 0"):
        decoder_of(transformers.MambaForCausalLM(config))


def named(probe, name):
    probe._entry = f"eval/{name}"
    return probe


def test_a_plain_folder_is_looked_into_and_everything_is_said(make, yoriai_job):
    from yoriai_eval.probes.ablation import Ablation
    from yoriai_eval.probes.induction import Induction
    from yoriai_eval.probes.lens import Lens

    texts = [f"これは{n}番目" for n in range(12)]
    step = ProbeStep(
        probes=[
            named(Lens(texts=texts, tokens=16), "lens"),
            named(Ablation(texts=texts, tokens=16), "ablation"),
            named(Induction(sequences=10), "induction"),
        ],
        models={"mine": str(make.model().path)},
    )
    made = yoriai_job("looks", step, [])
    told = {name: found["mine"] for name, found in made.facts["probes"].items()}
    assert all(row["state"] == "ran" for row in told.values()), told
    assert all(row["validation"]["holds"] for row in told.values())
    assert told["eval/lens"]["measures"]["right, layer 2"]["items"] == 12
    assert told["eval/ablation"]["measures"]["nats lost without head 0.3"]["chance"] == 0.0
    assert len(told["eval/ablation"]["measures"]) == 1 + 2 * (4 + 2)
    assert told["eval/induction"]["notes"] == ["15 tokens are repeated, more do not fit"]
    assert len(list(rows_of(made, "eval/induction", "mine"))) == 8
    assert list(rows_of(made, "eval/lens", "mine"))[2]["divergence"] == 0.0


def test_without_any_text_it_is_said_before_work_starts(make, yoriai_job):
    from yoriai_eval.probes.lens import Lens

    step = ProbeStep(probes=[named(Lens(), "lens")], models={"mine": str(make.model().path)})
    with pytest.raises(UsageError, match="no text to read"):
        yoriai_job("looks", step, [])
