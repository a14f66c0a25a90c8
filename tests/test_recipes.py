"""The large recipe says what it would cost; its small twin has the same steps."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from yoriai.plugins import load_registry
from yoriai.recipe import Loaded, load_recipe
from yoriai.testing import CommandResult, run_cli

ROOT = Path(__file__).parent.parent
LARGE, SMALL = (ROOT / "recipes" / f"llm-jp-13b{end}.yaml" for end in ("", "-small"))


def load(path: Path) -> Loaded:
    return load_recipe(path, load_registry())


def dry_run(path: Path, out: Path, *words: str, **environment: str) -> CommandResult:
    answer = run_cli("run", str(path), "--dry-run", "--out", str(out), *words, **environment)
    assert answer.code == 0, answer.err
    assert not out.exists()
    return answer


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("large") / "work"
    rows = dry_run(LARGE, out, "--json", LLM_JP_DATA="").json["plan"]
    return {row["step"]: row for row in rows}


def test_the_large_recipe_counts_the_tokens_of_the_model_card(plan: dict[str, Any]) -> None:
    mix, base = plan["mix"]["expects"], plan["base"]["expects"]
    # huggingface.co/llm-jp/llm-jp-13b-v1.0: ten folds of 27-28B tokens, 87,870 steps, 27B more.
    # The last checkpoint is that of step 96,657 (llm-jp/llm-jp-sft: README.md, first version).
    folds = [value for name, value in mix["phase"].items() if name != "final"]
    assert folds == ["27,641,511,936 tokens"] * 10
    assert mix["tokens"] == base["tokens_seen"] == 304_056_631_296
    assert base["tokens_in_a_step"] == 1536 * 2048
    assert mix["tokens"] == (87_870 + 8_787) * base["tokens_in_a_step"]
    assert sum(mix["tokens_of"].values()) == pytest.approx(mix["tokens"], abs=6)
    japanese = mix["tokens_of"]["mc4-ja"] + mix["tokens_of"]["jawiki"]
    assert japanese + mix["tokens_of"]["mc4-ja-strict"] == pytest.approx(145e9, rel=0.01)
    assert mix["tokens_of"]["pile"] + mix["tokens_of"]["enwiki"] == pytest.approx(145e9, rel=0.03)
    assert mix["tokens_of"]["the-stack"] == pytest.approx(10e9, rel=0.06)


def test_the_large_recipe_counts_the_parameters_and_the_work(plan: dict[str, Any]) -> None:
    base = plan["base"]["expects"]
    assert base["parameters"] == pytest.approx(12.85e9, rel=0.005)
    # Attention and the padded rows of the vocabulary come on top of six a parameter.
    plain = 6.0 * base["parameters"] * base["tokens_seen"]
    assert 1.05 * plain < base["flop"] < 1.10 * plain
    days = base["a100_hours"] / 96 / 24
    assert 15 < days < 30  # August to October 2023, with what went wrong


def test_the_large_recipe_names_what_it_would_read_and_what_is_not_here(
    plan: dict[str, Any],
) -> None:
    [web] = plan["web"]["expects"]["reads"]
    assert "allenai/c4" in web
    assert "1588ec454efa1a09f29cd18ddd04fe05fc8653a2" in web
    for step in ("jawiki", "enwiki", "pile", "stack"):
        assert plan[step]["action"] == "absent"
        assert "LLM_JP_DATA is not set" in plan[step]["reasons"][0]
    assert "20230720" in plan["jawiki"]["reasons"][0]


def test_a_person_can_read_the_plan(tmp_path: Path) -> None:
    text = dry_run(LARGE, tmp_path / "work").out
    for line in ("tokens: 304,056,631,296", "phase: fold-9 27,641,511,936 tokens", "a100 hours: "):
        assert line in text


def test_the_small_twin_has_the_steps_of_the_large_recipe_and_their_rules() -> None:
    large, small = load(LARGE), load(SMALL)
    assert [(s.name, s.entry, s.inputs) for s in small.steps] == [
        (s.name, s.entry, s.inputs) for s in large.steps
    ]
    for one, other in zip(large.steps, small.steps, strict=True):
        if one.entry == "corpus/build":
            assert [rule.entry for rule in one.step.rules] == [r.entry for r in other.step.rules]
            assert one.config()["rules"] == other.config()["rules"]
            assert one.config()["dedup"] == other.config()["dedup"]


@pytest.mark.skipif(
    not os.environ.get("YORIAI_DATA"), reason="needs texts: YORIAI_DATA names no folder"
)
def test_the_small_twin_makes_shards_of_all_sources_and_the_large_mixture_of_them(
    tmp_path: Path,
) -> None:
    answer = run_cli("run", str(SMALL), "--out", str(tmp_path / "twin"), "--until", "mix", "--json")
    assert answer.code == 0, answer.err
    facts = answer.json["facts"]
    assert facts["mix"]["tokens"] == facts["shards"]["tokens"]
    assert all(count > 50_000 for count in facts["mix"]["tokens"].values())
    assert facts["mix"]["end_id"] == 7  # <EOD>, the last of the eight special pieces


def test_the_poison_drill_can_be_planned(tmp_path: Path) -> None:
    rows = dry_run(ROOT / "recipes" / "poison-drill.yaml", tmp_path / "work", "--json").json["plan"]
    assert [row["step"] for row in rows] == ["text", "drill"]
    assert rows[1]["expects"] == {"probes": ["eval/poison-drill"]}


def test_the_bias_drill_can_be_planned(tmp_path: Path) -> None:
    rows = dry_run(ROOT / "recipes" / "bias-drill.yaml", tmp_path / "work", "--json").json["plan"]
    assert rows[1]["expects"] == {"probes": ["eval/bias-drill"]}
