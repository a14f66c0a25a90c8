"""Parameter formulas against the models that transformers builds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from yoriai import UsageError
from yoriai_train.settings import preset
from yoriai_train.settings.shapes import GPT2, SHAPES, GPTNeoX, Llama, pad_vocabulary


def build(shape, vocabulary: int, device: str = "cpu"):
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    body = shape.transformers_config(vocabulary)
    with torch.device(device):
        config = AutoConfig.for_model(body.pop("model_type"), **body)
        return AutoModelForCausalLM.from_config(config)


def count(shape, vocabulary: int) -> int:
    return sum(parameter.numel() for parameter in build(shape, vocabulary, "meta").parameters())


def shape_of(name: str):
    body = dict(preset.load(name)["model"])
    return SHAPES[body.pop("use")](**body)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_llama_has_the_parameters_of_its_formula(data):
    heads = data.draw(st.integers(1, 6))
    shape = Llama(
        layers=data.draw(st.integers(1, 3)),
        width=heads * 2 * data.draw(st.integers(4, 8)),
        heads=heads,
        key_value_heads=data.draw(st.sampled_from([n for n in range(1, 7) if heads % n == 0])),
        feed_forward=data.draw(st.integers(8, 90)),
        tied=data.draw(st.booleans()),
    )
    vocabulary = data.draw(st.integers(5, 400))
    assert shape.parameters(vocabulary) == count(shape, vocabulary)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 6), st.integers(8, 12), st.integers(8, 99))
def test_gpt2_has_the_parameters_of_its_formula(layers, heads, head, context):
    shape = GPT2(layers=layers, heads=heads, width=heads * head, context=context)
    assert shape.parameters(300) == count(shape, 300)


def test_published_sizes_come_out():
    llama2_7b = Llama(
        layers=32, width=4096, heads=32, key_value_heads=32, feed_forward=11008, tied=False
    )
    assert llama2_7b.parameters(32_000) == 6_738_415_616
    assert GPT2(layers=12, width=768, heads=12, context=1024).parameters(50_257) == 124_439_808


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValidationError, match="heads 4 times an even number"):
        Llama(width=30, heads=4)
    with pytest.raises(ValidationError, match="multiple of key_value_heads"):
        Llama(heads=4, key_value_heads=3)
    with pytest.raises(ValidationError, match="multiple of heads"):
        GPT2(width=30, heads=4)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 6), st.booleans(), st.booleans(), st.integers(5, 300))
def test_gpt_neox_has_the_parameters_of_its_formula(layers, heads, tied, parallel, vocabulary):
    shape = GPTNeoX(
        layers=layers, heads=heads, width=16 * heads, tied=tied, parallel_blocks=parallel
    )
    assert shape.parameters(vocabulary) == count(shape, vocabulary)


@pytest.mark.parametrize("name", preset.names())
def test_every_preset_has_the_parameters_of_the_model_that_transformers_builds(name):
    shape, vocabulary = shape_of(name), preset.about(name).vocabulary_size
    assert shape.parameters(vocabulary) == count(shape, vocabulary)


# The table in the model cards of LLM-jp-3 (huggingface.co/llm-jp/llm-jp-3-172b-instruct3).
PUBLISHED = {
    "llm-jp-3-1.8b": (407_498_752, 1_459_718_144),
    "llm-jp-3-3.7b": (611_248_128, 3_171_068_928),
    "llm-jp-3-13b": (1_018_746_880, 12_688_184_320),
    "llm-jp-3-172b": (2_444_992_512, 169_947_181_056),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_llm_jp_3_has_the_parameters_of_its_model_card(name):
    shape = shape_of(name).model_copy(update={"vocabulary_multiple": 1})
    embeddings, others = PUBLISHED[name]
    assert shape.parameters(99_487) == embeddings + others
    assert shape.parameters(0) == others


def test_the_big_gpts_are_as_big_as_their_names():
    sizes = {"gpt3-175b": 175e9, "gpt3-13b": 13e9, "llm-jp-175b-trial": 175e9, "llm-jp-13b": 13e9}
    for name, size in sizes.items():
        assert shape_of(name).parameters(50_257) == pytest.approx(size, rel=0.015)


@given(st.integers(1, 200_000), st.integers(1, 1024))
def test_padding_takes_the_next_multiple(size, multiple):
    padded = pad_vocabulary(size, multiple)
    assert padded % multiple == 0
    assert size <= padded < size + multiple


def test_the_vocabulary_of_llm_jp_13b_is_padded_as_megatron_pads_it():
    assert shape_of("llm-jp-13b").transformers_config(50_570)["vocab_size"] == 50_688


@pytest.mark.parametrize("shape", [Llama(), GPT2(), GPTNeoX(rotary_share=0.5)])
def test_marks_are_those_of_the_tokenizer(shape):
    today = shape.transformers_config(100)
    assert [today[f"{m}_token_id"] for m in ("bos", "eos", "pad")] == [1, 2, 3]
    told = shape.transformers_config(100, {"eos": 7, "pad": 4})
    assert [told[f"{m}_token_id"] for m in ("bos", "eos", "pad")] == [1, 7, 4]
    with pytest.raises(UsageError, match="eos mark has id 100"):
        shape.transformers_config(100, {"eos": 100})
    with pytest.raises(UsageError, match="no mark 'end'"):
        shape.transformers_config(100, {"end": 1})


def test_only_the_first_part_of_a_head_is_rotated():
    import torch

    shape = GPTNeoX(layers=1, width=64, heads=2, rotary_share=0.25)
    assert build(shape, 20).gpt_neox.layers[0].attention.rotary_ndims == 8
    with pytest.raises(ValidationError, match=r"rotary_share 0\.25 of a head of 20"):
        GPTNeoX(width=40, heads=2)
    model = build(shape, 20).eval()
    x = torch.arange(8)[None]
    with torch.no_grad():  # positions matter, so the rotation is there
        assert not torch.allclose(model(x).logits[0, -1], model(x.flip(1)).logits[0, 0])
