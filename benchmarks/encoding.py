"""What encoding costs, beside Hugging Face's ``tokenizers``: ``nox -s bench -- encoding``.

Both encode the same documents of ``$YORIAI_DATA/text`` with the same model, on one thread, a
language at a time, in turns (ours, peer, ours, …). Ours is what a worker of ``corpus/tokens`` does
with a row group: parquet to text, SentencePiece, end marks, ids of two bytes. The peer is the
exported fast tokenizer's ``encode_batch_fast``, its quickest call, on texts that are in memory
already, until the ids are there as Python lists. The ids of every document are compared.

Speeds are megabytes of UTF-8 in a second of CPU time of the process, medians of the runs. Two
models: one of the tour's kind (6,000 pieces) and one of LLM-jp's size (50,000; trained once, in
``build/bench``, for some minutes; ``--sizes 6000`` leaves it out). Without texts: exit code 3.
"""

from __future__ import annotations

import os

# Read by the libraries when they are loaded.
os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")

import argparse
import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import sentencepiece
import tokenizers
import zstandard
from tables import BUILD, Row, finish

from yoriai_corpus import tables
from yoriai_corpus.shards import encoding
from yoriai_corpus.tokenizers.huggingface import export_fast_tokenizer, round_scores
from yoriai_corpus.tokenizers.training import train

WORK = BUILD / "encoding-work"
LANGUAGES = ("ja", "en", "code")
GOAL = 5.0
TRAINING_MB = {6000: 2.0}  # of each language; others: all there is


def documents(data: Path, language: str, megabytes: float) -> list[str]:
    texts, size = [], 0.0
    with (data / "text" / f"{language}.jsonl.zst").open("rb") as packed:
        stream = zstandard.ZstdDecompressor().stream_reader(packed)
        for line in io.TextIOWrapper(stream, encoding="utf-8", newline="\n"):
            texts.append(json.loads(line)["text"])
            size += len(texts[-1].encode())
            if size > megabytes * 1e6:
                break
    return texts


def model(data: Path, size: int) -> Path:
    """The folder of a model of so many pieces, with its exported tokenizer; made once."""
    folder = WORK / str(size)
    path = folder / "tokenizer.model"
    if not (folder / "tokenizer.json").is_file():
        print(f"training a model of {size:,} pieces", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        sample = folder / "sample.txt"
        with sample.open("w", encoding="utf-8", newline="\n") as stream:
            for language in LANGUAGES:
                for text in documents(data, language, TRAINING_MB.get(size, 1000.0)):
                    for line in filter(str.strip, text.replace("\0", "").split("\n")):
                        stream.write(line[:1000] + "\n")
        train(sample, path, size, os.cpu_count() or 1)
        round_scores(path)
        export_fast_tokenizer(path, folder, max_length=2048)
    return folder


def write_corpus(path: Path, texts: list[str], language: str) -> None:
    """Documents as a corpus holds them."""
    with tables.TableWriter(path, tables.DOCUMENTS) as writer:
        for number, text in enumerate(texts):
            writer.add(["bench", str(number), text, language, "", "", "", "0" * 64])


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def compare(folder: Path, texts: list[str], language: str, rounds: int) -> tuple[Row, str]:
    path = WORK / f"{language}.parquet"
    write_corpus(path, texts, language)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    fast = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    fast.encode_special_tokens = True
    [stretch] = encoding.cut([path], 2**40)

    def ours() -> list[encoding.EncodedTexts]:
        return [
            encoding.encode(pieces, encoding.texts_of(table), 2, "<u2")
            for _, table in encoding.read(stretch, "language")
        ]

    def peer() -> list[list[int]]:
        return [e.ids for e in fast.encode_batch_fast(texts, add_special_tokens=False)]

    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    speeds: dict[str, list[float]] = {"ours": [], "peer": []}
    for number in range(rounds):
        seconds, found = timed(ours)
        speeds["ours"].append(megabytes / seconds)
        seconds, expected = timed(peer)
        speeds["peer"].append(megabytes / seconds)
        flat = np.concatenate([part.ids for part in found])
        wanted = [id_ for ids in expected for id_ in (*ids, 2)]
        assert np.array_equal(flat, np.array(wanted)), "the ids differ"
        a, b = speeds["ours"][-1], speeds["peer"][-1]
        print(f"  {number + 1}/{rounds} {language}: {a:.1f} and {b:.2f} MB/s", file=sys.stderr)
    row = Row(
        name=f"encoding {language}, {len(pieces):,} pieces",
        unit="MB/s of CPU",
        ours=statistics.median(speeds["ours"]),
        peer=statistics.median(speeds["peer"]),
        peer_name=f"tokenizers {tokenizers.__version__}",
        goal=GOAL,
        higher_is_better=True,
    )
    return row, f"{row.name}: {len(texts):,} documents, {megabytes:.1f} MB, equal ids on each"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="runs of each side, in turns")
    parser.add_argument("--megabytes", type=float, default=8.0, help="text of each language")
    parser.add_argument("--sizes", default="6000,50000", help="pieces of the models")
    options = parser.parse_args()
    data = Path(os.environ.get("YORIAI_DATA", ""))
    if not (data / "text" / "ja.jsonl.zst").is_file():
        print("no texts to measure on: set YORIAI_DATA to a folder with text/*.jsonl.zst")
        sys.exit(3)
    WORK.mkdir(parents=True, exist_ok=True)
    pa.set_cpu_count(1)
    rows, notes = [], []
    for size in map(int, options.sizes.split(",")):
        folder = model(data, size)
        for language in LANGUAGES:
            texts = documents(data, language, options.megabytes)
            row, note = compare(folder, texts, language, options.rounds)
            rows.append(row)
            notes.append(note)
    notes.append(f"medians of {options.rounds} runs in turns, by CPU time of one process")
    finish("encoding", rows, "\n".join(notes))


if __name__ == "__main__":
    main()
