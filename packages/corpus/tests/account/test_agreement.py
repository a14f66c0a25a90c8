"""Rules against labels: counts by brute force, and every way a labelled file may be wrong."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Document, Filter, UsageError, Verdict, YoriaiError
from yoriai.intervals import wilson
from yoriai_corpus.account.agreement import ALL, Labelled, read_labels, score


class Without(Filter):
    """Drop texts that hold ``letter``."""

    letter: str

    def judge(self, document: Document) -> Verdict:
        return Verdict("drop") if self.letter in document.text else self.KEEP


class Erase(Filter):
    """Take ``letter`` out."""

    letter: str

    def judge(self, document: Document) -> Verdict:
        text = document.text.replace(self.letter, "")
        return Verdict("edit", text=text) if text != document.text else self.KEEP


class Broken(Filter):
    """Fail."""

    def judge(self, document: Document) -> Verdict:
        raise ValueError("no")


def row(id_: str, text: str, drop: bool, language: str = "ja") -> Labelled:
    label = "drop" if drop else "keep"
    return Labelled(Document("labels", id_, text, language), label, drop)


ROWS = st.lists(
    st.builds(
        row,
        st.uuids().map(str),
        st.text("abc", max_size=4),
        st.booleans(),
        st.sampled_from(["ja", "en"]),
    ),
    min_size=1,
    max_size=300,
)


@given(ROWS)
def test_the_counts_are_those_of_asking_one_by_one(rows: list[Labelled]) -> None:
    a, b = Without(letter="a", languages=("ja",)), Without(letter="b")
    first, second, whole = score(rows, [a, b])
    drops = {
        0: [r.document.language == "ja" and "a" in r.document.text for r in rows],
        1: ["b" in r.document.text for r in rows],
    }
    either = [x or y for x, y in zip(*drops.values(), strict=True)]
    for counted, dropped in ((first, drops[0]), (second, drops[1]), (whole, either)):
        pairs = list(zip(dropped, rows, strict=True))
        assert counted.true == sum(d and r.drop for d, r in pairs)
        assert counted.false == sum(d and not r.drop for d, r in pairs)
        assert counted.missed == sum(r.drop and not d for d, r in pairs)
        assert counted.wrongly == [r.document.id for d, r in pairs if d and not r.drop]
    only = [x and not y for x, y in zip(*drops.values(), strict=True)]
    assert first.alone_true + first.alone_false == sum(only)
    assert first.asked == sum(r.document.language == "ja" for r in rows)
    assert whole.rule == ALL


def test_a_rule_sees_the_text_as_the_rules_before_it_left_it() -> None:
    rows = [row("1", "ab", True)]
    assert [s.true for s in score(rows, [Erase(letter="a"), Without(letter="a")])] == [0, 0, 0]
    assert [s.true for s in score(rows, [Without(letter="a"), Erase(letter="a")])] == [1, 0, 1]


def test_precision_recall_and_f1_come_with_their_intervals() -> None:
    rows = [row(str(n), "a" if n % 3 else "b", n % 2 == 0) for n in range(60)]
    counted = score(rows, [Without(letter="a")])[0]
    assert (counted.true, counted.false, counted.missed) == (20, 20, 10)
    measures = counted.measures()
    assert measures["precision"]["value"] == 0.5
    assert measures["recall"]["value"] == pytest.approx(2 / 3)
    assert measures["f1"]["value"] == pytest.approx(4 / 7)
    assert (measures["recall"]["low"], measures["recall"]["high"]) == wilson(20, 30)
    nothing = score(rows, [Without(letter="z")])[0].measures()
    assert nothing["precision"] == {"value": None, "low": 0.0, "high": 1.0}
    assert nothing["recall"]["value"] == 0
    json.dumps(counted.plain())


def test_each_label_has_its_own_share() -> None:
    labels = [("harmful", "a"), ("harmful", "b"), ("low-quality", "b"), ("acceptable", "a")]
    rows = [
        Labelled(Document("l", str(n), text), label, label != "acceptable")
        for n, (label, text) in enumerate(labels)
    ]
    assert score(rows, [Without(letter="a")])[0].plain()["by_label"] == {
        "acceptable": {"dropped": 1, "of": 1},
        "harmful": {"dropped": 1, "of": 2},
        "low-quality": {"dropped": 0, "of": 1},
    }


def test_a_rule_that_fails_is_named() -> None:
    broken = Broken()
    broken._entry = "acme/broken"
    with pytest.raises(YoriaiError, match="acme/broken failed: ValueError: no"):
        score([row("1", "a", True)], [broken])


# --- reading -------------------------------------------------------------------------------


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(*rows: Any, name: str = "labels.jsonl") -> Path:
        lines = [r if isinstance(r, bytes) else json.dumps(r).encode() for r in rows]
        data = b"".join(line + b"\n" for line in lines)
        path = tmp_path / name
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


def test_labels_are_words_or_llm_jps_numbers(write: Callable[..., Path]) -> None:
    said = ["keep", "drop", "Acceptable", "harmful", "low_quality", "low-quality", 0, 1, "2"]
    rows, unusable = read_labels(write(*({"text": "t", "label": label} for label in said)))
    assert [r.drop for r in rows] == [False, True, False, True, True, True, False, True, True]
    assert unusable == []
    rows, _ = read_labels(write({"text": "t", "meta": {"label": "1"}}, name="l.jsonl.gz"))
    assert rows[0].drop


def test_other_words_are_sorted_by_naming_those_that_keep(write: Callable[..., Path]) -> None:
    path = write({"body": "a", "class": "good"}, {"body": "b", "class": "spam"})
    rows, _ = read_labels(path, text_field="body", label_field="class", keep=("good",))
    assert [(r.label, r.drop) for r in rows] == [("good", False), ("spam", True)]


def test_rows_that_cannot_be_used_are_kept_aside_with_their_place(
    write: Callable[..., Path],
) -> None:
    path = write(
        b"{", b"", b"[1]", {"text": 1, "label": "keep"}, {"text": "a"},
        {"text": "a", "label": "perhaps"}, b'{"text": "\\ud800", "label": "keep"}',
        {"text": "a", "label": "keep", "id": 5, "lang": "en"},
    )  # fmt: skip
    rows, unusable = read_labels(path, language="ja")
    assert [(r.document.id, r.document.language) for r in rows] == [("5", "en")]
    assert [(u.id.rpartition(":")[2], u.reason.split()[0]) for u in unusable] == [
        ("1", "not"), ("3", "no"), ("4", "no"), ("5", "no"), ("6", "'perhaps'"), ("7", "holds")
    ]  # fmt: skip


def test_a_file_without_labels_says_what_it_wants(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="the first row: no label under 'label'") as caught:
        read_labels(write({"text": "a"}))
    assert '"label": "keep"' in caught.value.hint
    with pytest.raises(UsageError, match="cannot be read"):
        read_labels(tmp_path / "none.jsonl")
