"""The small recipe of the drills: a corpus, a tokenizer, shards and an index, from made-up text.

It needs nothing but corpus, reads nothing outside its folder, and takes some seconds.
"""

# ruff: noqa: E501
from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

RECIPE = """\
name: drill
licence: CC0-1.0
seed: 11
steps:
  text:
    uses: corpus/build
    sources: [{use: corpus/jsonl, paths: ["PLACE/text.jsonl"], name: made, language: ja, licence: CC0-1.0}]
    rules: [{use: corpus/min-length, characters: 10}]
    heldout: 0.05
  pieces: {uses: corpus/tokenizer, from: text, size: 400, context: 64}
  shards: {uses: corpus/tokens, from: [text, pieces]}
  index: {uses: corpus/index, from: text}
"""
STEPS = ("text", "pieces", "shards", "index")
WORDS = [
    "今日",
    "昨日",
    "は",
    "が",
    "を",
    "に",
    "山",
    "川",
    "雨",
    "風",
    "本",
    "学校",
    "行く",
    "見る",
    "読む",
    "書く",
    "静か",
    "新しい",
    "言葉",
    "機械",
    "学習",
]


def write_small(folder: Path, documents: int = 400) -> Path:
    """Write the text and the recipe; returns the recipe. The same bytes each time."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = random.Random(11)
    with (folder / "text.jsonl").open("w", encoding="utf-8") as stream:
        for number in range(documents):
            text = "。".join(
                "".join(chosen.choices(WORDS, k=chosen.randint(4, 12))) for _ in range(6)
            )
            row = {"id": str(number), "text": f"{number}番。{text}。"}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    recipe = folder / "drill.yaml"
    recipe.write_text(RECIPE.replace("PLACE", str(folder.resolve())), encoding="utf-8")
    return recipe


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "yoriai", "--plugins", "corpus", *words]


def environment() -> dict[str, str]:
    """The environment without Yoriai's own settings: strict mode, say, stops at a bad plugin."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith("YORIAI_")}
    return {**rest, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def call(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own."""
    return subprocess.run(
        command(*words), capture_output=True, text=True, check=False, env=environment(), cwd=cwd
    )


def digests(out: Path) -> dict[str, str]:
    """The digest of each finished step."""
    return {
        path.parent.name: json.loads(path.read_bytes())["digest"]
        for path in sorted(out.glob("*/artifact.json"))
    }
