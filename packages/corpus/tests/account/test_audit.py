"""The audit counts what it says it counts, and flags what was over-dropped."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact, UsageError
from yoriai_corpus.account.audit import ANY, OutcomeCounts, by_register, compare, count, read_groups
from yoriai_corpus.account.intervals import risk_ratio

Make = Callable[..., Artifact]
ROWS = st.lists(
    st.tuples(st.lists(st.sampled_from("ab"), unique=True), st.sampled_from(["", "r", "s"])),
    min_size=1,
)


@given(ROWS)
def test_every_comparison_is_that_of_counting_by_hand(rows: list[tuple[list[str], str]]) -> None:
    counts = OutcomeCounts()
    for groups, rule in rows:
        counts.add(groups, rule)
    for row in compare(counts):
        inside = [rule for groups, rule in rows if row.group in groups]
        outside = [rule for groups, rule in rows if row.group not in groups]
        hit = (lambda rule: bool(rule)) if row.rule == ANY else row.rule.__eq__
        assert (row.dropped, row.of) == (sum(map(hit, inside)), len(inside))
        assert (row.rest_dropped, row.rest_of) == (sum(map(hit, outside)), len(outside))
        assert (row.low, row.high) == risk_ratio(row.dropped, row.of, row.rest_dropped, row.rest_of)
        if row.ratio is not None:
            assert row.ratio == pytest.approx(row.share / row.rest_share)
        assert row.flagged == (row.low > 1.25)
        json.dumps(row.plain(), allow_nan=False)
    assert len(compare(counts)) == len(counts.group_total) * len(counts.dropped)


def filled(dropped: int, of: int, rest_dropped: int, rest_of: int) -> OutcomeCounts:
    counts = OutcomeCounts()
    for groups, hits, total in ((["g"], dropped, of), ([], rest_dropped, rest_of)):
        for number in range(total):
            counts.add(groups, "r" if number < hits else "")
    return counts


@pytest.mark.parametrize(
    ("numbers", "flagged"),
    [
        ((30, 50, 30, 500), True),  # ten times the rest
        ((12, 100, 100, 1000), False),  # a fifth more
        ((2, 3, 100, 1000), True),
        ((1, 3, 100, 1000), False),  # too few to say
        ((10, 20, 0, 500), True),  # the rest lost nothing at all
        ((0, 20, 50, 500), False),
        ((20, 20, 500, 500), False),  # everybody lost everything
    ],
)
def test_a_rule_is_flagged_if_even_the_lower_bound_is_high(
    numbers: tuple[int, int, int, int], flagged: bool
) -> None:
    row = next(row for row in compare(filled(*numbers)) if row.rule == "r")
    assert row.flagged is flagged


def test_a_group_of_everything_has_no_rest_and_no_flag() -> None:
    (row, _) = compare(filled(5, 10, 0, 0))
    assert (row.ratio, row.low, row.high, row.flagged) == (None, 0.0, math.inf, False)


@pytest.fixture(scope="module")
def corpus(make_corpus: Make) -> Artifact:
    poem = "ゆうぐれの道を\nひとりあるいて\n空をみあげる\nきみはもういない{}"
    prose = "駅前の古い商店街では、毎年秋に祭りが開かれ、遠くからも多くの人が訪れる。{}"
    number = ["いろはにほへと"[n % 7] * (n // 7 + 1) for n in range(40)]
    rows: list[dict[str, Any]] = [
        {"id": f"poem/{n}", "text": poem.format(mark), "lang": "ja"}
        for n, mark in enumerate(number)
    ]
    rows += [
        {"id": f"prose/{n}", "text": prose.format(mark) * 2, "lang": "ja"}
        for n, mark in enumerate(number)
    ]
    rows += [{"id": f"en/{n}", "text": f"Line {n}", "lang": "en"} for n in range(30)]
    rules = [{"use": "corpus/min-length", "characters": 40}]
    return make_corpus(rows, rules=rules, heldout=0.3)


def test_kept_held_out_and_dropped_documents_of_the_language_are_counted(corpus: Artifact) -> None:
    counts = count(corpus, by_register, lambda language: language == "ja")
    assert counts.total == 80
    assert counts.group_total == {"poetry": 40}
    assert counts.dropped["corpus/min-length"] == counts.group_dropped["poetry"][ANY] > 0
    (whole, rule) = compare(counts)
    assert (whole.rule, rule.rule) == (ANY, "corpus/min-length")
    assert rule.flagged


def test_groups_of_ones_own_are_named_by_id_or_source_and_id(
    corpus: Artifact, tmp_path: Path
) -> None:
    path = tmp_path / "groups.jsonl"
    rows = [
        {"id": "mine/poem/1", "group": "north"},
        {"id": "prose/2", "group": ["north", "south"]},
        {"id": "prose/2", "group": "west"},
        {"id": "nobody", "group": "east"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "\n")
    counts = count(corpus, read_groups(path), lambda language: True)
    assert counts.total == 110
    assert counts.group_total == {"north": 2, "south": 1, "west": 1}


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"id": "a"}', '{"id": 1, "group": "x"}', '{"id": "a", "group": [1]}']
)
def test_a_line_that_names_no_group_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "groups.jsonl"
    path.write_text('{"id": "a", "group": "x"}\n' + line + "\n")
    with pytest.raises(UsageError, match=r"groups.jsonl:2: needs"):
        read_groups(path)


def test_a_file_that_names_no_group_at_all_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "groups.jsonl"
    with pytest.raises(UsageError, match="cannot be read"):
        read_groups(path)
    path.write_text("\n")
    with pytest.raises(UsageError, match="names no group"):
        read_groups(path)
