"""corpus/mixture: other weights and phases for shards that are encoded already."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yoriai import Altered, Artifact, UsageError
from yoriai.artifact import open_artifact
from yoriai.mixture import read_mixture

Make = Callable[..., Artifact]


@pytest.fixture(scope="module")
def shards(three_languages: Artifact, tokenizer: Artifact, run_step: Make) -> Artifact:
    return run_step("corpus/tokens", [three_languages, tokenizer], name="shards")


def test_the_same_shards_get_phases_without_being_encoded_or_copied(
    shards: Artifact, run_step: Make
) -> None:
    tokens = shards.facts["tokens"]
    phases: list[dict[str, Any]] = [
        {"name": "main", "tokens": 2000, "weights": {"ja": 3, "en": 1}},
        {"name": "end", "budgets": {"code": tokens["code"]}},
    ]
    made = run_step("corpus/mixture", [shards], name="mix", phases=phases)
    for name in ("ja", "en", "code"):
        for suffix in (".bin", ".idx", ".documents.parquet"):
            assert made.file(name + suffix).samefile(shards.file(name + suffix))
    mixture = read_mixture(made.path)
    assert mixture.length == 2000 + tokens["code"]
    assert made.facts["tokens"] == tokens
    assert mixture.tokenizer == read_mixture(shards.path).tokenizer


def test_shards_of_one_name_are_told_apart_by_their_steps(
    shards: Artifact, three_languages: Artifact, tokenizer: Artifact, run_step: Make
) -> None:
    other = run_step("corpus/tokens", [three_languages, tokenizer], name="other")
    phases = [{"name": "all", "weights": {"shards.ja": 1, "other.ja": 1}}]
    made = run_step("corpus/mixture", [shards, other], name="mix", phases=phases)
    assert {"shards.ja", "other.ja"} <= set(made.facts["tokens"])
    assert made.file("other.ja.bin").samefile(other.file("ja.bin"))


def test_a_budget_above_the_data_says_how_many_epochs_it_takes(
    shards: Artifact, run_step: Make
) -> None:
    count = shards.facts["tokens"]["en"]
    phases = [{"name": "main", "budgets": {"en": 3 * count}}]
    with pytest.raises(UsageError, match="3 epochs, allowed 1"):
        run_step("corpus/mixture", [shards], phases=phases)
    with pytest.raises(UsageError, match="did you mean 'code'"):
        run_step("corpus/mixture", [shards], phases=[{"name": "a", "weights": {"cod": 1}}])


def test_shards_of_different_tokenizers_are_not_mixed(
    shards: Artifact, three_languages: Artifact, run_step: Make
) -> None:
    pieces = run_step("corpus/tokenizer", [three_languages], name="pieces", size=410, context=64)
    other = run_step("corpus/tokens", [three_languages, pieces], name="other")
    with pytest.raises(UsageError, match="different tokenizers"):
        run_step("corpus/mixture", [shards, other], phases=[{"name": "a", "weights": {"ja": 1}}])


@pytest.mark.parametrize("name", ["ja.bin", "ja.idx", "ja.documents.parquet", "mixture.yaml"])
def test_altered_shards_are_not_sealed_a_second_time(
    name: str,
    shards: Artifact,
    run_step: Make,
    tmp_path: Path,
) -> None:
    copy = tmp_path / "shards@1"
    shutil.copytree(shards.path, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(Altered, match=rf"{name} has other bytes than were sealed"):
        run_step(
            "corpus/mixture", [open_artifact(copy)], phases=[{"name": "a", "weights": {"ja": 1}}]
        )
