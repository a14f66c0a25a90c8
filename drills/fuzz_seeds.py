"""Good inputs for each reader of foreign bytes: what fuzzing begins with."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path


def array_files() -> list[bytes]:
    import numpy as np

    from yoriai_corpus.search import array_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.arrays")
        array_file.save(path, {"a": np.arange(9, dtype=np.uint8), "b": np.arange(5)})
        return [path.read_bytes()]


def tokenizer_files() -> list[bytes]:
    value = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": 0, "content": "<unk>", "single_word": False, "lstrip": False,
                          "rstrip": False, "normalized": False, "special": True}],
        "normalizer": {"type": "NFKC"}, "pre_tokenizer": {"type": "Metaspace", "replacement": "▁",
                                                        "prepend_scheme": "always", "split": True},
        "post_processor": None, "decoder": {"type": "ByteFallback"},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "byte_fallback": True,
                  "vocab": {"<unk>": 0, "a": 1, "b": 2, "ab": 3}, "merges": [["a", "b"]]},
    }  # fmt: skip
    # fmt: off
    unigram = {**value, "model": {"type": "Unigram", "unk_id": 0, "byte_fallback": False,
                                  "vocab": [["<unk>", 0.0], ["a", -1.0], ["ab", -2.0]]}}
    # fmt: on
    return [json.dumps(value).encode(), json.dumps(unigram).encode(), sentencepiece_file()]


def sentencepiece_file() -> bytes:
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["これは試しの文です", "文を書く"] * 20), model_writer=out,
        vocab_size=24, hard_vocab_limit=False, minloglevel=9,
    )  # fmt: skip
    return out.getvalue()


def safetensors_files() -> list[bytes]:
    head = json.dumps({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    return [len(head).to_bytes(8, "little") + head + bytes(16)]


def mo_file() -> bytes:
    texts = [(b"", b"Content-Type: text/plain; charset=UTF-8\n"), (b"a", "あ".encode())]
    table, strings, at = b"", b"", 28 + 16 * len(texts)
    for side in (0, 1):
        for row in texts:
            table += len(row[side]).to_bytes(4, "little") + (at + len(strings)).to_bytes(
                4, "little"
            )
            strings += row[side] + b"\0"
    head = [0x950412DE, 0, len(texts), 28, 28 + 8 * len(texts), 0, 28 + 16 * len(texts)]
    return b"".join(n.to_bytes(4, "little") for n in head) + table + strings


TEXT = "これは試しの文章です。機械が読む言葉を書く。" * 3


ROWS = "".join(
    json.dumps({"id": str(n), "text": TEXT, "date": "2026-01-01"}, ensure_ascii=False) + "\n"
    for n in range(3)
).encode()


ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Encoding: gzip\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + gzip.compress(b"")[:20] + b"\r\n0\r\n\r\n"
)


MANIFEST = json.dumps(
    {
        "schema": 1, "kind": "corpus", "name": "a/text@1", "step": "corpus/build", "config": {},
        "code": "a", "seed": 1, "outside": {}, "inputs": [{"name": "a", "digest": "0" * 64}],
        "sources": [], "licence": "MIT", "facts": {"documents": 1},
        "files": {"a.txt": {"bytes": 1, "sha256": hashlib.sha256(b"a").hexdigest()}},
        "digest": "0" * 64, "circumstances": {"folders": ["../b"], "run": "r"}, "seal": "0" * 64,
    }
).encode()  # fmt: skip


RECORD = b"""title: a
status: valid
date: 2026-01-01
question: does it hold?
\0# A record

[a](https://example.org) `code` <b>
"""


TASK = b"""name: own
licence: CC0-1.0
source: made up
form: generation
data: rows.jsonl
text: "{q}"
answer: "{a}"
"""


KNP = "\n".join(
    (
        "# S-ID:1", "* 1D", '+ 1D <rel type="ガ" target="人" sid="1" id="0"/>', "人 ひと 人 名詞",
        "* -1D", "+ -1D", "来る くる 来る 動詞", "EOS", "",
    )
).encode()  # fmt: skip


RUN = b'{"id": "20260101-000000-abcd", "state": "ok", "steps": {"a": {}}}'


VALUE = b'["l",["n","ff"],["f","0x1p3"],null,"a",["d","a",["r","0","9","1"]]]'


CP932 = TEXT.encode("cp932")


WIKITEXT = f"{TEXT}[[山|川]]{{{{雨|1}}}}<ref>a</ref>{{|\n|a\n|}}".encode()


def foreign_files(ending: str) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        import readers

        return [readers.good()[ending][1]]

    return seeds


def zip_file() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "a.txt", f"題\n著者\n\n{TEXT}｜山《やま》［＃改ページ］\n\n底本：本\n".encode("cp932")
        )
    return out.getvalue()


def zstd_file() -> bytes:
    import zstandard

    return bytes(zstandard.compress(ROWS))


def index_file() -> bytes:
    import struct

    head = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ", 1, 8, 2, 3)
    return (
        head + struct.pack("<ii", 16, 16) + struct.pack("<qq", 0, 32) + struct.pack("<qqq", 0, 1, 2)
    )


def these(*data: bytes) -> Callable[[], list[bytes]]:
    return lambda: list(data)


def small_recipe() -> bytes:
    import small

    return small.RECIPE.encode()


MIXTURE = b"""format: 1
tokenizer: f9d9bc2c352350f7e64bc74eb1f26f606281e597bd035b8adfa16cf1aedf9338
vocabulary_size: 6000
end_id: 2
shards:
  en: {files: [en], tokens: 382607, documents: 168}
  ja: {files: [ja-0, ja-1], tokens: 141016, documents: 5389}
phases:
- {name: first, tokens: 1000, weights: {ja: 2.0, en: 1.0}, max_epochs: {ja: 1.5}}
- {name: last, budgets: {en: 5000}}
"""
