"""A model written as a Hugging Face folder, a file at a time."""

import json
import weakref

import pytest

torch = pytest.importorskip("torch")

from yoriai_train.model import export as huggingface  # noqa: E402
from yoriai_train.model.export import export  # noqa: E402
from yoriai_train.settings.shapes import GPT2, GPTNeoX, Llama  # noqa: E402

TINY = {"width": 16, "heads": 2, "context": 16, "layers": 3}
SHAPES = {
    "llama": Llama(**TINY, key_value_heads=1, feed_forward=33),
    "untied": Llama(**TINY, key_value_heads=1, feed_forward=33, tied=False),
    "gpt2": GPT2(**TINY),
    "neox": GPTNeoX(**TINY, rotary_share=0.5),
    "untied-neox": GPTNeoX(**TINY, rotary_share=0.5, tied=False),
}


def build(shape):
    from transformers import AutoConfig, AutoModelForCausalLM

    body = shape.transformers_config(261)
    config = AutoConfig.for_model(body.pop("model_type"), **body)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("size", [huggingface.FILE_BYTES, 20_000], ids=["one-file", "several"])
def test_the_bytes_are_those_of_save_pretrained(name, size, tmp_path):
    model = build(SHAPES[name])
    export(model, tmp_path / "ours", None, file_bytes=size)
    model.save_pretrained(tmp_path / "theirs", max_shard_size=size)
    ours, theirs = contents(tmp_path / "ours"), contents(tmp_path / "theirs")
    assert ours == theirs
    assert ("model.safetensors" in ours) == (size == huggingface.FILE_BYTES)
    assert "model.safetensors.index.json" in ours or size == huggingface.FILE_BYTES


def test_several_files_give_the_model_back_and_can_be_read_by_all(tmp_path):
    from transformers import AutoModelForCausalLM

    model = build(SHAPES["llama"])
    export(model, tmp_path, None, file_bytes=5_000)
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 3
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.lm_head.weight is again.model.embed_tokens.weight
    expected = model.state_dict()
    assert all(torch.equal(t, expected[n]) for n, t in again.state_dict().items())
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_what_is_held_is_one_file_and_no_more(tmp_path, monkeypatch):
    model = build(SHAPES["llama"])
    held, most, real = [], 0, huggingface.gather

    def gather(tensor, *, keep):
        nonlocal most
        whole = real(tensor, keep=keep)
        held.append(weakref.ref(whole.untyped_storage()))
        most = max(most, sum(s.nbytes() for s in (ref() for ref in held) if s is not None))
        return whole

    monkeypatch.setattr(huggingface, "gather", gather)
    export(model, tmp_path, None, file_bytes=5_000)
    largest = max(p.numel() * 4 for p in model.parameters())
    whole = sum(p.numel() * 4 for p in model.parameters())
    assert largest <= most < largest + 5_000 < whole / 2 + 5_000


def test_a_rank_that_does_not_write_holds_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    model, told, real = build(SHAPES["untied"]), [], huggingface.gather

    def gather(tensor, *, keep):
        told.append(real(tensor, keep=keep))
        return told[-1]

    monkeypatch.setattr(huggingface, "gather", gather)
    export(model, tmp_path / "out", None)
    assert len(told) == len(list(model.parameters()))
    assert sum(whole.numel() for whole in told) == 0
    assert not (tmp_path / "out").exists()


def test_masters_are_fp32_in_the_configuration_whatever_is_trained(tmp_path):
    export(build(SHAPES["llama"]).bfloat16(), tmp_path, None)
    assert json.loads((tmp_path / "config.json").read_bytes())["dtype"] == "float32"


def test_a_mixture_of_experts_is_stored_as_its_kind_is(tmp_path):
    """``transformers`` holds the experts of a block as one tensor, and stores them one by one."""
    from transformers import AutoModelForCausalLM, MixtralConfig

    config = MixtralConfig(
        hidden_size=16, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1,
        num_hidden_layers=2, num_local_experts=2, vocab_size=32,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    export(model, tmp_path / "ours", None)
    model.save_pretrained(tmp_path / "theirs")
    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")
    assert b"experts.1.w2.weight" in contents(tmp_path / "ours")["model.safetensors"]


def test_names_that_were_changed_in_reading_are_those_of_the_folder_again(tmp_path):
    """A folder of GPT-2 without the head's prefix, as on the Hub."""
    from safetensors.torch import load_file, save_file
    from transformers import AutoModelForCausalLM

    build(SHAPES["gpt2"]).save_pretrained(tmp_path / "start")
    path = tmp_path / "start" / "model.safetensors"
    bare = {n.removeprefix("transformer."): t for n, t in load_file(path).items()}
    save_file(bare, path, metadata={"format": "pt"})
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "start", dtype=torch.float32)
    export(model, tmp_path / "ours", None)
    model.save_pretrained(tmp_path / "theirs")
    assert contents(tmp_path / "ours") == contents(tmp_path / "theirs")


def test_facts_count_the_parameters_of_all_files(tmp_path):
    from yoriai_train.steps.made import describe

    model = build(SHAPES["gpt2"])
    export(model, tmp_path, None, file_bytes=20_000)
    facts = describe([{"loss": 1.0}], tmp_path)
    assert facts["parameters"] == sum(p.numel() for p in model.parameters())
