"""corpus/union: several corpora read as one, and the account still adds up."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yoriai import Artifact, UsageError
from yoriai_corpus import tables

Make = Callable[..., Artifact]


@pytest.fixture(scope="module")
def others(run_step: Make, write_jsonl: Callable[..., Path]) -> Artifact:
    rows = [{"id": f"{n}", "text": f"another text {n}", "lang": "en"} for n in range(40)]
    path = write_jsonl([*rows, {"id": "0", "text": "the same name again"}, {"no": "text"}])
    source = {"use": "corpus/jsonl", "paths": [str(path)], "name": "others"}
    return run_step(
        "corpus/build", name="others", sources=[source], dedup={"near": None}, heldout=0.2
    )


@pytest.fixture(scope="module")
def union(three_languages: Artifact, others: Artifact, run_step: Make) -> Artifact:
    return run_step("corpus/union", [others, three_languages])


def test_every_table_holds_the_rows_of_all_in_order(
    union: Artifact, three_languages: Artifact, others: Artifact, rows_of: Any
) -> None:
    for table in tables.SCHEMAS:
        expected = rows_of(others, table) + rows_of(three_languages, table)
        assert rows_of(union, table) == expected
    assert union.files_under("documents")[0].samefile(others.files_under("documents")[0])


def test_the_account_is_the_sum_and_adds_up(
    union: Artifact, three_languages: Artifact, others: Artifact
) -> None:
    both = (three_languages.facts, others.facts)
    for key in ("in", "kept", "heldout", "dropped", "unreadable"):
        assert union.facts[key] == sum(facts[key] for facts in both)
    outcomes = ("kept", "heldout", "dropped", "unreadable")
    assert union.facts["in"] == sum(union.facts[key] for key in outcomes)
    english = [facts["by_language"]["en"]["documents"] for facts in both]
    assert union.facts["by_language"]["en"]["documents"] == sum(english)
    assert set(union.facts["by_source"]) == {"mine", "others"}
    assert {card["name"] for card in union.manifest["sources"]} == {"mine", "others"}
    account = json.loads(union.file("ledger.json").read_bytes())
    assert [row["source"] for row in account["partitions"]] == [0, 1]
    assert sum(row["in"] for row in account["partitions"]) == account["in"]


def test_a_source_in_two_corpora_is_refused(
    three_languages: Artifact, make_corpus: Make, run_step: Make
) -> None:
    again = make_corpus(["a text"], name="again")
    with pytest.raises(UsageError, match="both have documents of source 'mine'"):
        run_step("corpus/union", [three_languages, again])
