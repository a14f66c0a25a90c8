"""Shards and a tokenizer from elsewhere, from a folder of files to a trained model."""

from __future__ import annotations

import itertools
import json
import struct
import sys
from pathlib import Path

import pytest
import yaml

TEXTS = [f"ファイル{n}を開きます。設定を保存します。" * 3 for n in range(60)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs parent death signals"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face tokenizer, made by ``tokenizers`` alone, and shards encoded with it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    place = tmp_path_factory.mktemp("elsewhere")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(TEXTS, trainer)
    (place / "tok").mkdir()
    tokenizer.save(str(place / "tok" / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>",
        "auto_map": {"AutoTokenizer": ["evil.Code", None]},
    }  # fmt: skip
    (place / "tok" / "tokenizer_config.json").write_text(json.dumps(config))
    documents = [[*tokenizer.encode(text).ids, 0] for text in TEXTS]
    lengths = [len(ids) for ids in documents]
    flat = list(itertools.chain(*documents))
    (place / "ja_text_document.bin").write_bytes(struct.pack(f"<{len(flat)}H", *flat))
    offsets = [2 * sum(lengths[:n]) for n in range(len(lengths))]
    index = struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, 8, len(lengths), len(lengths) + 1)
    index += struct.pack(f"<{len(lengths)}i{len(lengths)}q", *lengths, *offsets)
    index += struct.pack(f"<{len(lengths) + 1}q", *range(len(lengths) + 1))
    (place / "ja_text_document.idx").write_bytes(index)
    return place


def test_adopted_shards_train_a_model_and_a_step_names_their_documents(folder, yoriai_cli):
    shape = {"use": "train/llama", "layers": 1, "width": 32, "heads": 2, "key_value_heads": 2,
             "feed_forward": 64, "context": 32}  # fmt: skip
    value = {
        "name": "adopted", "licence": "Apache-2.0",
        "steps": {
            "pieces": {"uses": "corpus/adopt-tokenizer", "path": str(folder / "tok")},
            "shards": {"uses": "corpus/adopt", "from": "pieces",
                       "shards": {"ja": [str(folder / "ja_text_document")]}},
            "mix": {"uses": "corpus/mixture", "from": "shards",
                    "phases": [{"name": "all", "weights": {"ja": 1}}]},
            "base": {"uses": "train/pretrain", "from": ["mix", "pieces"], "model": shape,
                     "steps": 4, "batch": 4},
        },
    }  # fmt: skip
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(value, sort_keys=False), encoding="utf-8")
    out = folder / "out"
    planned = yoriai_cli("run", str(recipe), "--out", str(out), "--dry-run")
    assert planned.code == 0, planned.err
    told = yoriai_cli("run", str(recipe), "--out", str(out), OMP_NUM_THREADS="1")
    assert told.code == 0, told.err
    config = json.loads((out / "base@1" / "config.json").read_text())
    assert (config["vocab_size"], config["eos_token_id"]) == (300, 0)
    assert (out / "base@1" / "tokenizer.json").is_file()
    assert "evil" not in (out / "pieces@1" / "tokenizer_config.json").read_text()
    seen = yoriai_cli("tokens", "replay", str(out / "base@1"), "--step", "1")
    assert seen.code == 0, seen.err
    assert "ja_text_document/" in seen.out
    verified = yoriai_cli("verify", str(out / "shards@1"))
    assert verified.code == 0, verified.err
