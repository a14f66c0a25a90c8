"""What the tests of this package share: short ways from rows to artifacts."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from yoriai import Artifact, Step
from yoriai.config import build
from yoriai.registry import Registry
from yoriai.testing import make_artifact
from yoriai_corpus import tables

JAPANESE = [
    f"{who}{where}{what}"
    for who in ("私は", "先生が", "友だちは", "古い時計が", "小さな猫は", "駅前の店は")
    for where in ("東京で", "静かな部屋で", "海の近くで", "雨の日に", "朝早くから")
    for what in (
        "本を読んでいます。",
        "歌をうたった。",
        "長いあいだ待っていた。",
        "カメラを直した。",
    )
]
ENGLISH = [
    f"{who} {what} {where}."
    for who in ("The old clock", "My neighbour", "A small cat", "Every student", "Nobody")
    for what in ("waits for rain", "reads a long letter", "forgot the key", "likes this <tag>")
    for where in ("in Tokyo", "by the sea", "before 7 o'clock", "without a word", "at home")
]
CODE = [f"def f{n}(x):\n    return [x + {n}, {{'k{n}': x}}]\n" for n in range(60)]


@pytest.fixture(autouse=True, scope="session")
def one_worker() -> Iterator[None]:
    """No process pool unless a test asks for one: it only costs time here."""
    former = os.environ.get("YORIAI_WORKERS")
    os.environ["YORIAI_WORKERS"] = "1"
    yield
    os.environ.pop("YORIAI_WORKERS")
    if former is not None:
        os.environ["YORIAI_WORKERS"] = former


@pytest.fixture(scope="session")
def new_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """A fresh folder at each call, also within one hypothesis test."""
    return lambda: tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="session")
def run_step(yoriai_registry: Registry, new_folder: Callable[[], Path]) -> Callable[..., Artifact]:
    """Call as ``run_step("corpus/tokens", [corpus, tokenizer], mixture={"ja": 1})``."""

    def run(
        entry: str, inputs: Iterable[Artifact] = (), *, name: str = "", seed: int = 0, **keys: Any
    ) -> Artifact:
        target = yoriai_registry.load(yoriai_registry.get("steps", entry))
        step: Step = build(target, keys, yoriai_registry)
        step._entry = entry
        folder = new_folder() / (name or entry.partition("/")[2])
        return make_artifact(step, folder, list(inputs), yoriai_registry, seed=seed)

    return run


@pytest.fixture(scope="session")
def write_jsonl(new_folder: Callable[[], Path]) -> Callable[..., Path]:
    """Rows (or texts, or raw bytes) as a JSON Lines file."""

    def write(rows: bytes | Iterable[Mapping[str, Any] | str], name: str = "docs.jsonl") -> Path:
        path = new_folder() / name
        if not isinstance(rows, bytes):
            full = [{"text": row} if isinstance(row, str) else row for row in rows]
            rows = "".join(json.dumps(row) + "\n" for row in full).encode()
        path.write_bytes(rows)
        return path

    return write


@pytest.fixture(scope="session")
def make_corpus(
    run_step: Callable[..., Artifact], write_jsonl: Callable[..., Path]
) -> Callable[..., Artifact]:
    """Call as ``make_corpus(["a text", {"id": "b", "text": …}], rules=["corpus/kana"])``."""

    def make(rows: bytes | Iterable[Mapping[str, Any] | str], **keys: Any) -> Artifact:
        source = {"use": "corpus/jsonl", "paths": [str(write_jsonl(rows))], "name": "mine"}
        plain = {"dedup": {"exact": False, "near": None}, "heldout": 0, "name": "text"}
        return run_step("corpus/build", **{**plain, "sources": [source], **keys})

    return make


@pytest.fixture(scope="session")
def rows_of() -> Callable[[Artifact, str], list[dict[str, Any]]]:
    """The rows of one of a corpus's tables."""
    return lambda corpus, table: list(tables.read_rows(corpus.files_under(table)))


@pytest.fixture(scope="session")
def three_languages(make_corpus: Callable[..., Artifact]) -> Artifact:
    """A small corpus of Japanese, English and code with a tenth held out."""
    rows = [
        {"id": f"{language}/{number:03d}", "text": text, "lang": language}
        for language, texts in (("ja", JAPANESE), ("en", ENGLISH), ("code", CODE))
        for number, text in enumerate(texts)
    ]
    return make_corpus(rows, heldout=0.1)


@pytest.fixture(scope="session")
def tokenizer(three_languages: Artifact, run_step: Callable[..., Artifact]) -> Artifact:
    return run_step("corpus/tokenizer", [three_languages], name="pieces", size=400, context=64)
