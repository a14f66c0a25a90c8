"""Quantising a folder; the oracle below is written by hand, group by group."""

import json
from pathlib import Path

import pytest

from yoriai import NotFound, UsageError
from yoriai_domain_adapt.arithmetic.rounding import dequantise_weight, pack, quantise_weight
from yoriai_domain_adapt.folders.quantised import quantise_folder

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
CHOICES = [(8, 32), (4, 32), (4, 64)]


def save_llama(folder: Path, dtype=torch.float32, **changes) -> Path:
    torch.manual_seed(0)
    shape = {
        "vocab_size": 500,
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "tie_word_embeddings": True,
    }
    config = transformers.LlamaConfig(**shape | changes, initializer_range=0.2)
    model = transformers.LlamaForCausalLM(config).to(dtype)
    for name, weight in model.named_parameters():
        if name.endswith("k_proj.weight"):
            weight.data[3] = 0  # an all-zero row
    model.save_pretrained(folder)
    return folder


def by_hand(weight, bits: int, group_size: int):
    """Quantise and dequantise one group at a time in fp32."""
    result, top = torch.empty_like(weight), 2 ** (bits - 1)
    size = group_size if bits == 4 else weight.shape[1]
    for i, row in enumerate(weight):
        for start in range(0, len(row), size):
            values = row[start : start + size].float()
            peak = max(abs(values.min().item()), abs(values.max().item()))
            step = torch.tensor(peak, dtype=torch.float32).div(top - 0.5).to(weight.dtype)
            if step.float() * (top - 0.5) < peak:
                step = torch.nextafter(step, torch.ones_like(step))
            whole = [] if peak == 0 else (values / step.float()).round().tolist()
            exact = [min(max(n, -top), top - 1) * step.item() for n in whole]
            result[i, start : start + size] = torch.tensor(exact or [0.0] * len(values))
    return result


@pytest.fixture(
    scope="module",
    params=[torch.float32, torch.bfloat16, torch.float16],
    ids=["fp32", "bf16", "fp16"],
)
def source(request, tmp_path_factory):
    return save_llama(tmp_path_factory.mktemp("source"), request.param)


@pytest.mark.parametrize(("bits", "group_size"), CHOICES)
def test_transformers_computes_the_same_logits_as_weights_quantised_by_hand(
    source, tmp_path, bits, group_size
):
    pytest.importorskip("compressed_tensors")
    quantise_folder(source, tmp_path / "q", bits=bits, group_size=group_size)
    expected = transformers.AutoModelForCausalLM.from_pretrained(source)
    tokens = torch.arange(96).reshape(3, 32)
    with torch.no_grad():
        before = expected(tokens).logits
        for name, weight in expected.named_parameters():
            if name.endswith("_proj.weight"):
                weight.copy_(by_hand(weight, bits, group_size))
        loaded, report = transformers.AutoModelForCausalLM.from_pretrained(
            tmp_path / "q", output_loading_info=True
        )
        assert not any(report.values())
        after = loaded(tokens).logits
        assert torch.equal(after, expected(tokens).logits)
    assert not torch.equal(after, before)
    assert loaded.lm_head.weight is loaded.model.embed_tokens.weight
    arguments = {"max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
    fresh = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "q")
    assert torch.equal(
        fresh.generate(tokens[:1], **arguments), expected.generate(tokens[:1], **arguments)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("bits", "group"), [(8, None), (4, 32), (4, 64)])
def test_no_weight_moves_by_more_than_half_a_step(dtype, bits, group):
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(512, 192, generator=generator).to(dtype)
    whole, scale = quantise_weight(weight, bits, group)
    exact = whole.double().reshape(*scale.shape, -1) * scale.double().unsqueeze(-1)
    error = (weight.double() - exact.reshape(weight.shape)).abs()
    step = scale.double().repeat_interleave(weight.shape[1] // scale.shape[1], dim=1)
    assert (error <= step * (0.5 + 1e-5)).all()  # 1e-5: the fp32 division, at most 128 * 2**-24
    assert error.max() > 0.4 * step.min()


def test_packed_words_are_those_of_the_compressed_tensors_package():
    helpers = pytest.importorskip("compressed_tensors.compressors.pack_quantized.helpers")
    for bits, columns in [(4, 64), (8, 64), (8, 90)]:
        whole = torch.randint(-(2 ** (bits - 1)), 2 ** (bits - 1), (7, columns)).to(torch.int8)
        assert torch.equal(pack(whole, bits), helpers.pack_to_int32(whole, bits))
        assert torch.equal(helpers.unpack_from_int32(pack(whole, bits), bits, whole.shape), whole)


def test_an_all_zero_group_stays_zero():
    whole, scale = quantise_weight(torch.zeros(2, 64), 4, 32)
    assert not dequantise_weight(whole, scale).any()
    assert (scale == 1).all()


@pytest.mark.parametrize(("bits", "group_size"), CHOICES)
def test_the_same_folder_gives_the_same_bytes_for_any_number_of_threads(
    source, tmp_path, bits, group_size
):
    (source / "tokenizer.json").write_text("{}")
    threads, written = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            folder = tmp_path / str(count)
            quantise_folder(source, folder, bits=bits, group_size=group_size)
            written.append({path.name: path.read_bytes() for path in folder.iterdir()})
    finally:
        torch.set_num_threads(threads)
    assert written[0] == written[1]
    assert set(written[0]) >= {"config.json", "model.safetensors", "tokenizer.json"}


def test_the_facts_agree_with_the_files_and_the_rest_is_copied_bit_for_bit(source, tmp_path):
    from safetensors.torch import load_file

    facts = quantise_folder(source, tmp_path / "q", bits=4)
    before = load_file(source / "model.safetensors")
    after = load_file(tmp_path / "q" / "model.safetensors")
    linear = {name for name in before if name.endswith("_proj.weight")}
    assert facts["layers"].keys() == {name.removesuffix(".weight") for name in linear}
    assert facts["parameters_quantised"] == sum(before[name].numel() for name in linear)
    assert facts["parameters_kept"] == sum(before[n].numel() for n in before.keys() - linear)
    assert facts["bytes_before"] == (source / "model.safetensors").stat().st_size
    assert facts["bytes_after"] == (tmp_path / "q" / "model.safetensors").stat().st_size
    assert all(0 < e["mean_error"] < e["worst_error"] < 0.5 for e in facts["layers"].values())
    assert all(torch.equal(before[name], after[name]) for name in before.keys() - linear)


def test_eight_bits_err_less_than_four_and_small_groups_less_than_large(source, tmp_path):
    mean = []
    for i, (bits, group_size) in enumerate(CHOICES):
        facts = quantise_folder(source, tmp_path / str(i), bits=bits, group_size=group_size)
        mean.append(sum(layer["mean_error"] for layer in facts["layers"].values()))
    assert mean[0] < mean[1] < mean[2]


def test_a_folder_in_several_shards_gives_the_same_bytes_as_one_file(source, tmp_path):
    model = transformers.AutoModelForCausalLM.from_pretrained(source)
    model.save_pretrained(tmp_path / "shards", max_shard_size="300KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    for name, folder in [("a", source), ("b", tmp_path / "shards")]:
        quantise_folder(folder, tmp_path / name, bits=4)
    one, other = (tmp_path / name / "model.safetensors" for name in "ab")
    assert one.read_bytes() == other.read_bytes()


def test_an_untied_head_is_left_as_it_is(tmp_path):
    from safetensors.torch import load_file

    source = save_llama(tmp_path / "source", tie_word_embeddings=False)
    quantise_folder(source, tmp_path / "q", bits=8)
    head = [load_file(f / "model.safetensors")["lm_head.weight"] for f in (source, tmp_path / "q")]
    assert torch.equal(*head)


def test_a_quantised_folder_is_not_quantised_again(source, tmp_path):
    quantise_folder(source, tmp_path / "once", bits=8)
    with pytest.raises(UsageError, match="quantised already"):
        quantise_folder(tmp_path / "once", tmp_path / "twice", bits=4)
    with pytest.raises(ValueError, match=r"up_proj is torch\.int8, no floating"):
        quantise_weight(torch.zeros(2, 64, dtype=torch.int8), 8, None, name="up_proj")


def test_a_group_that_does_not_divide_a_row_names_the_layer_and_the_remedy(tmp_path):
    source = save_llama(tmp_path / "by32", intermediate_size=160)
    with pytest.raises(UsageError, match=r"layers\.0\.mlp\.down_proj \(160\): use group_size=32"):
        quantise_folder(source, tmp_path / "q", bits=4, group_size=64)
    source = save_llama(tmp_path / "by5", intermediate_size=90)
    with pytest.raises(UsageError, match=r"down_proj \(90\): use bits=8, one scale a row"):
        quantise_folder(source, tmp_path / "q", bits=4)
    assert not (tmp_path / "q").exists()
    quantise_folder(source, tmp_path / "q", bits=8)


def test_layers_that_are_kept_have_their_bytes_and_are_named(tmp_path):
    source = save_llama(tmp_path / "by5", intermediate_size=90)
    from safetensors import torch as safetensors

    told = quantise_folder(source, tmp_path / "q", bits=4, keep=["down_proj"])
    config = json.loads((tmp_path / "q" / "config.json").read_text())
    assert told["kept_layers"]
    assert all(name.endswith("down_proj") for name in told["kept_layers"])
    assert set(told["kept_layers"]) < set(config["quantization_config"]["ignore"])
    before, after = (
        safetensors.load_file(folder / "model.safetensors") for folder in (source, tmp_path / "q")
    )
    for name in told["kept_layers"]:
        assert torch.equal(after[f"{name}.weight"], before[f"{name}.weight"])
    transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "q")(torch.arange(8)[None])
    with pytest.raises(UsageError, match="no layer is called 'up'") as caught:
        quantise_folder(source, tmp_path / "r", bits=4, keep=["up"])
    assert "mlp.up_proj" in caught.value.hint


def test_what_cannot_be_quantised_is_refused_with_a_remedy(source, tmp_path):
    with pytest.raises(UsageError, match="bits=3 is not supported: use 4 or 8"):
        quantise_folder(source, tmp_path / "q", bits=3)
    with pytest.raises(UsageError, match="group_size=48 is not supported"):
        quantise_folder(source, tmp_path / "q", bits=4, group_size=48)
    with pytest.raises(NotFound, match=r"no config\.json"):
        quantise_folder(tmp_path, tmp_path / "q", bits=4)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(NotFound, match=r"no model\.safetensors: run model\.save_pretrained"):
        quantise_folder(tmp_path / "bare", tmp_path / "q", bits=4)
    with pytest.raises(UsageError, match="not an empty folder"):
        quantise_folder(source, source, bits=4)
    with pytest.raises(ValueError, match="q_proj has NaN or infinite"):
        quantise_weight(torch.full((1, 32), torch.nan), 4, 32, name="q_proj")
    assert not (tmp_path / "q").exists()
