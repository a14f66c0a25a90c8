"""Folders of strangers: what is read of a tokenizer, a header and weights is looked at first."""

import json
import shutil

import pytest

from yoriai import NotFound, Refused, UsageError
from yoriai_domain_adapt.arithmetic.pieces import PieceMerge
from yoriai_domain_adapt.folders import tensors, vocabulary
from yoriai_domain_adapt.folders.gguf_vocabulary import read_vocabulary

torch = pytest.importorskip("torch")
TEXT = "a text of words and words"


@pytest.fixture(scope="module")
def published(make):
    return make.byte_level("base", [TEXT] * 3, 262, kind="model").path


@pytest.fixture
def folder(published, tmp_path):
    shutil.copytree(published, tmp_path / "m")
    return tmp_path / "m"


def change(path, **keys):
    """Change a JSON file; ``model`` is merged into what stands there."""
    value = json.loads(path.read_text())
    if "model" in keys and isinstance(keys["model"], dict):
        keys["model"] = value["model"] | keys["model"]
    path.write_text(json.dumps(value | keys))


def change_header(folder, edit):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    edit(header["model.norm.weight"])
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[start:])


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"dtype": "F4"}, r"model\.norm\.weight has the dtype 'F4', which is not read"),
        ({"dtype": "\x1b[2J"}, r"the dtype '\\x1b\[2J'"),
        (
            {"shape": [2**62, 4]},
            r"is \[4611686018427387904, 4\] of F32, which is not the 128",
        ),
        ({"shape": [0]}, r"is \[0\] of F32, which is not the 128 bytes"),
    ],
)
def test_a_tensor_of_no_such_type_or_size_is_refused_by_name(told, said, folder):
    change_header(folder, lambda entry: entry.update(told))
    with pytest.raises(Refused, match=said):
        tensors.Weights(folder)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64", "float8_e5m2"])
@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(dtype, number, folder):
    from safetensors.torch import load_file, save_file

    held = load_file(folder / "model.safetensors")
    whole = {
        "model.norm.weight": torch.ones(32, dtype=getattr(torch, dtype)),
        "empty": torch.ones(0),
    }
    save_file(held | whole, folder / "model.safetensors")
    assert len(tensors.Weights(folder).read("model.norm.weight")) == 32
    assert len(tensors.Weights(folder).read("empty")) == 0
    whole["model.norm.weight"][5] = number
    save_file(held | whole, folder / "model.safetensors")
    said = r"m: model\.norm\.weight in model\.safetensors holds numbers that are not finite"
    with pytest.raises(Refused, match=said):
        tensors.Weights(folder).read("model.norm.weight")


def test_a_shard_that_is_not_there_is_named(folder):
    index = {"weight_map": {"a": "model-1.safetensors"}}
    (folder / tensors.INDEX).write_text(json.dumps(index))
    with pytest.raises(NotFound, match=r"lacks model-1\.safetensors"):
        tensors.Weights(folder)


def test_weights_of_other_shapes_than_the_configuration_are_refused(folder):
    from yoriai_domain_adapt.folders.layers import outline

    assert outline(folder).config.hidden_size == 32
    change(folder / "config.json", intermediate_size=64)
    with pytest.raises(Refused, match=r"mlp\.\w+\.weight is \[.*\], config\.json asks for \["):
        outline(folder)


def test_a_configuration_without_pieces_is_no_language_model(folder):
    value = json.loads((folder / "config.json").read_text())
    del value["vocab_size"]
    (folder / "config.json").write_text(json.dumps(value))
    with pytest.raises(UsageError, match=r"config\.json of m says no vocab_size"):
        tensors.vocabulary_size(tensors.Weights(folder))


def test_texts_are_neither_cut_nor_filled_up_whatever_the_file_says(folder):
    before = vocabulary.read_tokenizer(folder).encode(TEXT).ids
    change(
        folder / "tokenizer.json",
        truncation={"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0},
        padding={
            "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None,
            "pad_id": 9, "pad_type_id": 0, "pad_token": "x",
        },
    )  # fmt: skip
    assert vocabulary.read_tokenizer(folder).encode(TEXT).ids == before
    assert len(before) > 1


UNIGRAM = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a", -1]]}
FALSE = {
    "cut off": "{",
    "a list": "[]",
    "nested without end": "[" * 100_000,
    "a number beyond all": {"model": {"vocab": {"a": 2**31}, "merges": []}},
    "a negative number": {"model": {"vocab": {"a": -1}, "merges": []}},
    "a number that is a word": {"model": {"vocab": {"a": "1"}, "merges": []}},
    "pieces in a list": {"model": {"vocab": [["a", 1.0]]}},
    "no pieces": {"model": {"vocab": {}, "merges": []}, "added_tokens": []},
    "a merge of what is not there": {"model": {"merges": [["qq", "rr"]]}},
    "merges in a word": {"model": {"merges": "a b"}},
    "an unknown piece that is not there": {"model": UNIGRAM | {"unk_id": 99}},
    "an unknown piece that has no name": {
        "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "zz"}
    },
    "a rule for tokens that are not there": {
        "post_processor": {
            "type": "TemplateProcessing", "pair": [], "special_tokens": {},
            "single": [{"SpecialToken": {"id": "zz", "type_id": 0}}],
        }
    },
}  # fmt: skip


@pytest.mark.parametrize("case", FALSE)
def test_a_false_tokenizer_is_refused_with_its_file(case, folder):
    told = FALSE[case]
    if isinstance(told, str):
        (folder / "tokenizer.json").write_text(told)
    else:
        change(folder / "tokenizer.json", **told)
    for read in (vocabulary.read_tokenizer, lambda f: read_vocabulary(f, 400)):
        with pytest.raises(Refused, match=r"m.*(is refused as a model|pieces, the highest)"):
            read(folder)


@pytest.mark.parametrize("score", [1e308, -1e308])
def test_a_score_beyond_all_is_refused_with_its_piece(score, folder):
    model = UNIGRAM | {"byte_fallback": True, "vocab": [["<unk>", 0], ["a", score]]}
    value = json.loads((folder / "tokenizer.json").read_text())
    value |= {"model": model, "added_tokens": [], "pre_tokenizer": None}
    (folder / "tokenizer.json").write_text(json.dumps(value))
    with pytest.raises(Refused, match=r"gives the piece 'a' the score -?1e\+308"):
        read_vocabulary(folder, 262)


def test_a_tokenizer_written_by_an_old_library_is_read_alike(published, folder):
    value = json.loads((published / "tokenizer.json").read_text())
    merges = [" ".join(merge) for merge in value["model"]["merges"]]
    old = {"vocab": value["model"]["vocab"], "merges": merges}
    (folder / "tokenizer.json").write_text(json.dumps(value | {"model": old}))
    assert read_vocabulary(folder, 262) == read_vocabulary(published, 262)
    added = vocabulary.extend_bpe(folder, folder.parent / "out", [PieceMerge("w", "o", 1)])
    made = vocabulary.read_tokenizer(folder.parent / "out")
    assert made.get_vocab_size() == len(value["model"]["vocab"]) + added


@pytest.mark.parametrize("mark", [5, ["a"], {"content": 5}, {"content": ["a"]}, "", None, "zz"])
def test_a_mark_that_is_no_piece_is_none(mark, folder):
    change(folder / "tokenizer_config.json", bos_token=mark)
    assert set(read_vocabulary(folder, 262).marks) == {"eos"}


@pytest.mark.parametrize("template", [5, ["x"], {"default": "x"}])
def test_a_template_that_is_no_text_is_left_out(template, folder):
    change(folder / "tokenizer_config.json", chat_template=template)
    assert read_vocabulary(folder, 262).template == ""


def test_what_stands_beside_a_tokenizer_is_refused_by_file_too(folder):
    (folder / "chat_template.jinja").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Refused, match=r"chat_template\.jinja is no text"):
        read_vocabulary(folder, 262)
    (folder / "tokenizer_config.json").write_text("[]")
    with pytest.raises(Refused, match=r"tokenizer_config\.json cannot be read: no mapping"):
        read_vocabulary(folder, 262)


def test_a_gguf_has_the_defaults_of_what_the_configuration_leaves_out(folder, tmp_path):
    pytest.importorskip("gguf")
    from yoriai_domain_adapt.folders.gguf_file import write_gguf

    write_gguf(folder, tmp_path / "whole.gguf", "f32", name="m")
    value = json.loads((folder / "config.json").read_text())
    for key in ("rms_norm_eps", "max_position_embeddings", "num_key_value_heads"):
        del value[key]
    (folder / "config.json").write_text(json.dumps(value))
    write_gguf(folder, tmp_path / "less.gguf", "f32", name="m")
    assert (tmp_path / "less.gguf").read_bytes() == (tmp_path / "whole.gguf").read_bytes()
