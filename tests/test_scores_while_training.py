"""Training that scores its model on tasks of another package, met through the registry."""

import json
import sys
from pathlib import Path

import pytest
import yaml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="needs parent death signals"),
]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scored")
    sentences = "ファイル{}を開きます。設定を保存します。"
    rows = [{"id": str(n), "text": sentences.format(n) * 4} for n in range(400)]
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "ja.jsonl").write_text(text, encoding="utf-8")
    source = {"use": "corpus/jsonl", "paths": [str(folder / "ja.jsonl")], "language": "ja"}
    value = {
        "name": "scored",
        "licence": "Apache-2.0",
        "steps": {
            "text": {"uses": "corpus/build", "sources": [source], "heldout": 0.1,
                     "dedup": {"exact": True, "near": None}},
            "pieces": {"uses": "corpus/tokenizer", "from": "text", "size": 288, "context": 32},
            "shards": {"uses": "corpus/tokens", "from": ["text", "pieces"]},
            "base": {
                "uses": "train/pretrain", "from": ["shards", "pieces", "text"],
                "model": {"use": "train/llama", "layers": 1, "width": 32, "heads": 2,
                          "key_value_heads": 2, "feed_forward": 64, "context": 32},
                "steps": 40, "batch": 4, "checkpoint": {"every_steps": 100, "early": True},
                "evaluate": {"every_steps": 20, "limit": 20,
                             "tasks": ["eval/heldout", "eval/ja-forms", "eval/ja-language"]},
            },
            "scores": {
                "uses": "eval/run", "from": ["base", "text"], "tasks": ["eval/heldout"],
                "limit": 20,
            },
            "early": {
                "uses": "eval/run", "from": ["base", "text"], "tasks": ["eval/heldout"],
                "limit": 20, "backend": {"use": "eval/checkpoint", "step": 4},
            },
        },
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(value, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def test_a_model_is_scored_while_it_is_trained_and_the_last_score_is_that_of_the_end(
    recipe, yoriai_cli
):
    out = recipe.parent / "out"
    told = yoriai_cli("run", str(recipe), "--out", str(out), OMP_NUM_THREADS="1")
    assert told.code == 0, told.err
    lines = (out / "base@1" / "evaluations.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows] == [20, 40]
    assert set(rows[0]["tasks"]) == {"heldout", "ja-forms", "ja-language"}
    first, last = (row["tasks"]["heldout"]["text.ja"] for row in rows)
    assert last < first
    scores = json.loads((out / "scores@1" / "scores.json").read_text())
    assert scores["models"]["base"]["bits_per_byte"]["text"]["ja"] == pytest.approx(last, abs=2e-4)
    early = json.loads((out / "early@1" / "scores.json").read_text())
    assert early["models"]["base"]["bits_per_byte"]["text"]["ja"] > first
    kept = sorted(p.name for p in (out / "base@1" / "checkpoints").iterdir())
    assert kept == [f"step-{n:07d}" for n in (1, 2, 4, 8, 16, 32)]
    page = (out / "page" / "index.html").read_text()
    assert "While training: heldout" in page
