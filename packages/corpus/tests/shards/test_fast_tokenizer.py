"""Tokenizers that are a tokenizer.json alone: ids of the library, marks never out of text."""

import json
from pathlib import Path

import pytest
import tokenizers

from yoriai import YoriaiError
from yoriai_corpus.shards import encoding
from yoriai_corpus.shards.fast_tokenizer import FastPieces

TEXTS = ["The ship left.", "吾輩は猫である。\n名前はまだ無い。", "", "a<|end|>b", "😀 naïve"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("bpe")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|end|>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator(TEXTS * 3, trainer)
    made.save(str(place / "tokenizer.json"))
    (place / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"}))
    return place


def test_texts_come_back_from_their_ids_and_each_ends_with_the_mark(folder):
    pieces = FastPieces(folder / "tokenizer.json")
    end = encoding.find_end(pieces, "")
    found = encoding.encode(pieces, [text.encode() for text in TEXTS], end, "<u2")
    made = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    start = 0
    for text, length in zip(TEXTS, found.lengths, strict=True):
        ids = found.ids[start : start + length].tolist()
        assert made.decode(ids[:-1], skip_special_tokens=False) == text
        assert ids[-1] == end
        assert end not in ids[:-1]  # a text that spells the mark does not give it
        start += length
    assert found.unknown == 0


def test_an_end_that_is_no_mark_is_refused_with_the_marks_there_are(folder):
    pieces = FastPieces(folder / "tokenizer.json")
    with pytest.raises(Exception, match="can stand in a text"):
        encoding.find_end(pieces, "a")
    with pytest.raises(Exception, match="no piece") as caught:
        encoding.find_end(pieces, "<eot>")
    assert "<|end|>" in caught.value.hint


def test_a_file_that_is_no_tokenizer_is_refused_by_name(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(YoriaiError, match=r"tokenizer\.json is no tokenizer"):
        FastPieces(tmp_path / "tokenizer.json")
