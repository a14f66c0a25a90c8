# SPDX-License-Identifier: Apache-2.0
"""Tests for the export of a SentencePiece model as a Hugging Face fast tokenizer."""

from __future__ import annotations

import json
import pydoc_data.topics
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yoriai_corpus.tokenizers.huggingface import export_fast_tokenizer, round_scores

# This package does without transformers; test_tokenizer.py checks the ids with tokenizers alone.
pytest.importorskip("transformers", reason="transformers is not installed")

TRAINING: dict[str, Any] = {
    "model_type": "unigram",
    "normalization_rule_name": "identity",
    "add_dummy_prefix": False,
    "remove_extra_whitespaces": False,
    "byte_fallback": True,
    "allow_whitespace_only_pieces": True,
    "split_digits": True,
    "user_defined_symbols": ["\n"],
    "unk_id": 0,
    "bos_id": 1,
    "eos_id": 2,
    "pad_id": 3,
    "num_threads": 1,
    "minloglevel": 2,
}
SUBJECTS = [
    *("私は", "友だちは", "先生が", "母も", "駅前の店は", "古い時計が", "新しい本を"),
    *("小さな猫が", "明日の朝", "雨の日には"),
]
PREDICATES = [
    *("東京へ行きました。", "とても静かです。", "ゆっくり歩いている。", "カメラを買った。"),
    *("何も知らない、と言った。", "夕方まで待つつもりだ。", "窓のそばで眠っている。"),
    *("コンピュータの勉強を始めた。", "海が見える。", "よく笑う!"),
]
JAPANESE = ["".join(pair) for pair in product(SUBJECTS, PREDICATES)]
MARKUP = ["<s>struck</s> out", "<p>text</p>", "<0x41>", "if a < b > c:", "<pad> and <unk>"]

HARD_TEXTS = [
    "",
    " ",
    "  two spaces before, three after   ",
    "\n\nnewlines around\n",
    "CR LF\r\nCR\rLF\n",
    "\ttab\t\ttabs\t",
    "a" + " " * 37 + "b" + " " * 300 + "c",
    "<s>",
    "</s><unk><pad><s>",
    "text</s>text <s> <unk>text",
    "<0x41><0x0A><0xFF><0xff><0x",
    "zero\x00byte \x00\x01\x1b\x7f\x85\u2028\ufeff\ufffd\ufffe\U0010ffff",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family",
    "flag \U0001f3f3\ufe0f\u200d\U0001f308, thumb \U0001f44d\U0001f3fd",
    "e\u0301 か\u3099 ﷺ ㍻ ﬁ ① \uff12\uff10\uff12\uff15 \u3000全角\u3000",
    "私は東京へ行きました。 def f(x):\n    return {'a': 1}\n",
    "𠮷野家 と 葛\U000e0100城",
]
fragments = st.sampled_from(
    [*HARD_TEXTS, *JAPANESE[::9], "<", ">", "s", "/", "0x", "    ", "--------", "return", "▁"]
)
texts = st.text() | st.lists(fragments | st.text(max_size=5), max_size=12).map("".join)


def train(prefix: Path, sentences: list[str], **changes: Any) -> Path:
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_prefix=str(prefix), **{**TRAINING, **changes}
    )
    return prefix.with_suffix(".model")


@pytest.fixture(scope="session")
def sentences() -> list[str]:
    topics = "\n".join(list(pydoc_data.topics.topics.values())[:300]).split("\n")
    return [line for line in topics if line] + 3 * JAPANESE + 3 * MARKUP


@pytest.fixture(scope="session")
def model_path(tmp_path_factory: pytest.TempPathFactory, sentences: list[str]) -> Path:
    path = train(tmp_path_factory.mktemp("model") / "rounded", sentences, vocab_size=2000)
    round_scores(path)
    return path


@pytest.fixture(scope="session")
def processor(model_path: Path) -> Any:
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_file=str(model_path))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, model_path: Path) -> Path:
    path = tmp_path_factory.mktemp("export") / "tokenizer"
    export_fast_tokenizer(model_path, path, max_length=4096)
    return path


@pytest.fixture(scope="session")
def tokenizer(folder: Path) -> Any:
    return load(folder)


@pytest.fixture(scope="session")
def saved_again(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Any:
    path = tmp_path_factory.mktemp("saved")
    tokenizer.save_pretrained(path)
    return load(path)


def load(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_hard_texts_get_the_ids_of_sentencepiece_and_come_back_unchanged(
    text: str, processor: Any, tokenizer: Any, saved_again: Any
) -> None:
    ids = processor.encode(text)
    assert tokenizer.encode(text) == ids
    assert saved_again.encode(text) == ids
    assert tokenizer.decode(ids) == text
    assert saved_again.decode(ids, skip_special_tokens=True) == text


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=texts)
def test_any_text_gets_the_ids_of_sentencepiece_and_comes_back_unchanged(
    processor: Any, tokenizer: Any, text: str
) -> None:
    ids = processor.encode(text)
    assert tokenizer.encode(text) == ids
    assert tokenizer.decode(ids) == text.replace("▁", " ") == processor.decode(ids)


def test_every_character_of_every_plane_gets_the_ids_of_sentencepiece(
    processor: Any, tokenizer: Any
) -> None:
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(codes), 4096):
        text = "".join(map(chr, codes[start : start + 4096]))
        ids = processor.encode(text)
        assert tokenizer.encode(text) == ids
        assert tokenizer.decode(ids) == text.replace("▁", " ")


def test_a_lower_one_eighth_block_has_the_ids_of_a_space_in_both_libraries(
    processor: Any, tokenizer: Any
) -> None:
    assert processor.encode("a▁b") == processor.encode("a b") == tokenizer.encode("a▁b")
    assert tokenizer.decode(tokenizer.encode("a▁b")) == "a b"
    in_bytes = tokenizer.convert_tokens_to_ids(["<0xE2>", "<0x96>", "<0x81>"])
    assert tokenizer.decode(in_bytes) == processor.decode(in_bytes) == "▁"


def test_rounded_scores_keep_long_texts_equal_where_ties_are_many(
    processor: Any, tokenizer: Any, sentences: list[str]
) -> None:
    text = "\n".join(" " * (n % 90) + "-" * (n % 37) + line for n, line in enumerate(sentences))
    assert len(text) > 500_000
    assert tokenizer.encode(text) == processor.encode(text)


def test_rounded_scores_are_multiples_of_a_64th_close_to_the_trained_ones(
    tmp_path: Path, sentences: list[str]
) -> None:
    import sentencepiece

    path = train(tmp_path / "raw", sentences[:3000], vocab_size=600)
    raw = sentencepiece.SentencePieceProcessor(model_file=str(path))
    round_scores(path)
    rounded = sentencepiece.SentencePieceProcessor(model_file=str(path))
    for id_ in range(600):
        assert (rounded.get_score(id_) * 64).is_integer()
        assert abs(rounded.get_score(id_) - raw.get_score(id_)) <= 1 / 128
    once = path.read_bytes()
    round_scores(path)
    assert path.read_bytes() == once


def test_a_model_without_the_characters_of_the_special_tokens_still_gets_equal_ids(
    tmp_path: Path,
) -> None:
    import sentencepiece

    path = train(
        tmp_path / "japanese", ["空 白", *JAPANESE], vocab_size=420, hard_vocab_limit=False
    )
    round_scores(path)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    export_fast_tokenizer(path, tmp_path / "folder", max_length=16)
    tokenizer = load(tmp_path / "folder")
    for text in [*HARD_TEXTS, *JAPANESE]:
        assert tokenizer.encode(text) == processor.encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_tokens_keep_their_ids_and_only_they_are_skipped(
    tokenizer: Any, saved_again: Any
) -> None:
    for loaded in (tokenizer, saved_again):
        assert loaded.split_special_tokens is True
        assert loaded.model_max_length == 4096
        names = ["unk_token", "bos_token", "eos_token", "pad_token"]
        assert [getattr(loaded, name) for name in names] == ["<unk>", "<s>", "</s>", "<pad>"]
        assert [getattr(loaded, f"{name}_id") for name in names] == [0, 1, 2, 3]
        assert loaded.get_added_vocab() == {"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3, "\n": 4}
        ids = [1, *loaded.encode("<s> text</s>\n"), 2, 3]
        assert loaded.decode(ids) == "<s><s> text</s>\n</s><pad>"
        assert loaded.decode(ids, skip_special_tokens=True) == "<s> text</s>\n"
        assert len(loaded) == loaded.vocab_size == 2000
        assert set(loaded("a b")) == {"input_ids", "attention_mask"}


def test_saving_with_transformers_writes_the_same_tokenizer_json(
    folder: Path, tmp_path: Path
) -> None:
    load(folder).save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


@pytest.mark.parametrize("model_type", ["llama", "mistral", "qwen3", "gemma2", "gpt_neox"])
def test_the_model_config_beside_the_tokenizer_changes_nothing(
    model_type: str, folder: Path, tmp_path: Path, processor: Any
) -> None:
    shutil.copytree(folder, tmp_path / "model")
    config = {"model_type": model_type, "transformers_version": "5.23.0"}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    tokenizer = load(tmp_path / "model")
    for text in HARD_TEXTS:
        assert tokenizer.encode(text) == processor.encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_chat_template_is_kept_and_removed_again_without_one(
    model_path: Path, tmp_path: Path
) -> None:
    template = "{% for m in messages %}\n利用者: {{ m.content }}{{ eos_token }}{% endfor %}"
    export_fast_tokenizer(model_path, tmp_path, max_length=8, chat_template=template)
    assert load(tmp_path).chat_template == template
    export_fast_tokenizer(model_path, tmp_path, max_length=8)
    assert load(tmp_path).chat_template is None
    names = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_special_tokens_of_a_template_work_while_those_of_the_user_stay_text(
    model_path: Path, tmp_path: Path, processor: Any
) -> None:
    template = "{% for m in messages %}{{ bos_token }}{{ m.content }}{{ eos_token }}{% endfor %}"
    export_fast_tokenizer(model_path, tmp_path, max_length=8, chat_template=template)
    tokenizer = load(tmp_path)
    messages = [{"role": "user", "content": "say </s> now"}]
    plain = tokenizer.apply_chat_template(messages, return_dict=False)
    assert plain == processor.encode("<s>say </s> now</s>")
    tokenizer.split_special_tokens = False
    ids = tokenizer.apply_chat_template(messages, return_dict=False, sanitize_control_tokens=True)
    assert (ids[0], ids[-1], ids.count(1), ids.count(2)) == (1, 2, 1, 1)
    assert tokenizer.decode(ids) == "<s>say </s> now</s>"


def test_the_same_model_gives_the_same_bytes(
    model_path: Path, folder: Path, tmp_path: Path
) -> None:
    export_fast_tokenizer(model_path, tmp_path, max_length=4096)
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("setting", "changes"),
    [
        ("model_type", {"model_type": "char"}),
        ("allow_whitespace_only_pieces", {"allow_whitespace_only_pieces": False}),
        ("treat_whitespace_as_suffix", {"treat_whitespace_as_suffix": True}),
        ("user_defined_symbols", {"user_defined_symbols": ["\n", "<user>"]}),
        ("add_dummy_prefix", {"add_dummy_prefix": True}),
        ("remove_extra_whitespaces", {"remove_extra_whitespaces": True}),
    ],
)
def test_a_model_with_another_setting_is_refused_by_its_name(
    setting: str, changes: dict[str, Any], tmp_path: Path, sentences: list[str]
) -> None:
    path = train(tmp_path / "other", sentences[:2000], vocab_size=600, **changes)
    with pytest.raises(ValueError, match=rf"\b{setting}\b.* must be "):
        export_fast_tokenizer(path, tmp_path / "folder", max_length=8)
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"model_type": "bpe"},
        {"model_type": "bpe", "split_digits": False, "split_by_whitespace": False},
        {"byte_fallback": False},
        {"split_digits": False, "split_by_unicode_script": False},
        {"control_symbols": ["<sep>", "<|turn|>"], "pad_piece": "<padding>"},
        {"pad_id": -1, "bos_id": 2, "eos_id": 1},
        {"model_type": "bpe", "user_defined_symbols": ["\n", "<user>"]},
    ],
)
def test_a_model_with_another_setting_gets_the_ids_of_sentencepiece(
    changes: dict[str, Any], tmp_path: Path, sentences: list[str]
) -> None:
    import sentencepiece

    path = train(tmp_path / "other", sentences[:4000], vocab_size=900, **changes)
    if changes.get("model_type") != "bpe":
        round_scores(path)
    export_fast_tokenizer(path, tmp_path / "folder", max_length=8)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    tokenizer = load(tmp_path / "folder")
    lossless = changes.get("byte_fallback", True)

    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(text=texts | st.sampled_from([*HARD_TEXTS, *MARKUP, "<user><sep>", "a<user"]))
    def same(text: str) -> None:
        ids = processor.encode(text)
        assert tokenizer.encode(text) == ids
        if lossless:
            assert tokenizer.decode(ids) == text.replace("▁", " ") == processor.decode(ids)

    same()
    long = "\n".join(sentences)
    assert tokenizer.encode(long) == processor.encode(long)


def test_special_pieces_get_the_names_that_transformers_has_for_them(
    tmp_path: Path, sentences: list[str]
) -> None:
    changes = {"control_symbols": ["<mask>", "<CLS>", "<SEP>", "<EOD>"], "pad_id": -1}
    path = train(tmp_path / "other", sentences[:2000], vocab_size=600, **changes)
    export_fast_tokenizer(path, tmp_path / "folder", max_length=8)
    tokenizer = load(tmp_path / "folder")
    names = [tokenizer.mask_token, tokenizer.cls_token, tokenizer.sep_token]
    assert names == ["<mask>", "<CLS>", "<SEP>"]
    assert tokenizer.pad_token is None
    assert "<EOD>" in tokenizer.all_special_tokens
    place = tokenizer.convert_tokens_to_ids("<EOD>")
    assert tokenizer.decode([place], skip_special_tokens=True) == ""
    assert place not in tokenizer.encode("a<EOD>b")


def test_a_model_with_a_character_that_is_no_piece_is_refused(
    model_path: Path, tmp_path: Path
) -> None:
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto.FromString(model_path.read_bytes())
    next(piece for piece in proto.pieces if piece.piece == "e").piece = "ee€"
    (tmp_path / "other.model").write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match="the character 'e' needs a piece of its own"):
        export_fast_tokenizer(tmp_path / "other.model", tmp_path / "folder", max_length=8)
