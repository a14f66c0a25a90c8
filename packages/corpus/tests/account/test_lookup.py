"""Finding documents in the tables of a corpus, against reading all rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact
from yoriai_corpus import tables
from yoriai_corpus.account import lookup

Make = Callable[..., Artifact]
ROWS = [
    {"source": "ab"[n % 2], "id": f"x/{n % 7}", "reason": "r" * (n % 3)} for n in range(3000)
]  # fmt: skip


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("lookup")
    cuts = [(0, 1100), (1100, 1100), (1100, 3000)]  # an empty file among them
    for number, (start, end) in enumerate(cuts):
        tables.write_table(folder / f"{number}.parquet", tables.UNREADABLE, ROWS[start:end])
    return sorted(folder.iterdir())


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "source": st.sampled_from("abc"),
            "id": st.sampled_from([f"x/{n}" for n in range(8)]),
        },
    )
)
def test_positions_are_those_of_looking_at_every_row(
    paths: list[Path], equal: dict[str, str]
) -> None:
    expected = [
        n for n, row in enumerate(ROWS) if all(row[key] == value for key, value in equal.items())
    ]
    assert lookup.positions(paths, equal).tolist() == expected


@given(st.lists(st.integers(0, len(ROWS) - 1), unique=True, max_size=20))
def test_rows_at_positions_are_those_rows(paths: list[Path], wanted: list[int]) -> None:
    places = np.array(sorted(wanted), dtype=np.int64)
    assert list(lookup.rows_at(paths, places)) == [ROWS[n] for n in sorted(wanted)]


def test_rows_like_any_of_several_are_found_once(paths: list[Path]) -> None:
    asked = ({"id": "x/1"}, {"source": "a", "id": "x/1"}, {"source": "b", "id": "x/2"})
    expected = [
        n for n, row in enumerate(ROWS)
        if row["id"] == "x/1" or (row["source"], row["id"]) == ("b", "x/2")
    ]  # fmt: skip
    assert lookup.positions(paths, *asked).tolist() == expected


def test_no_file_holds_no_row() -> None:
    assert lookup.positions([], {"id": "a"}).tolist() == []


def test_every_document_that_was_read_is_found_with_its_fate(make_corpus: Make) -> None:
    rows: list[Any] = [{"id": f"a/{n}", "text": f"文書の番号は{n}です。"} for n in range(20)]
    rows += [{"id": "twin", "text": rows[3]["text"]}, {"id": "s", "text": "短"}, "{"]
    rules = [{"use": "corpus/min-length", "characters": 3}]
    corpus = make_corpus(rows[:-1], rules=rules, dedup={"near": None}, heldout=0.3)
    found = {row["id"]: next(lookup.find(corpus, f"mine/{row['id']}")) for row in rows[:-1]}
    states = [row["state"] for row in found.values()]
    assert states.count("kept") == corpus.facts["kept"]
    assert states.count("held out") == corpus.facts["heldout"] > 0
    assert found["s"]["rule"] == "corpus/min-length"
    assert [row["id"] for row in found["a/3"]["stood_for"]] == ["twin"]
    assert [row["winner_id"] for row in found["twin"]["same_as"]] == ["a/3"]
    assert list(lookup.find(corpus, "a/3")) == list(lookup.find(corpus, "mine/a/3"))
    assert list(lookup.find(corpus, "nobody/a/3")) == list(lookup.find(corpus, "3")) == []
