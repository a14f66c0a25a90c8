"""corpus/build as a whole: the account, duplicates, contamination, what is held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import Artifact, Document, Filter, Source, SourceCard, YoriaiError
from yoriai.artifact import verify
from yoriai_corpus.build.final_tables import Account, is_held_out
from yoriai_corpus.build.ledger import account, headline
from yoriai_corpus.build.partition import PartitionTask, process

Make = Callable[..., Artifact]


def test_the_ledger_of_a_hand_made_corpus_says_what_became_of_each(
    make_corpus: Make, rows_of: Any
) -> None:
    rows = [
        {"id": "kept", "text": "これは日本語の文章です。", "lang": "ja"},
        {"id": "same", "text": "これは日本語の文章です。", "lang": "ja"},
        {"id": "short", "text": "短い", "lang": "ja"},
        {"id": "mail", "text": "write to me@example.org please", "lang": "en"},
        {"id": "kept", "text": "名前がもうある文章です。", "lang": "ja"},
        {"id": "broken"},
    ]
    rules = [{"use": "corpus/min-length", "characters": 5}, "corpus/mask-email"]
    corpus = make_corpus(rows, rules=rules, dedup={"near": None})
    ledger = json.loads(corpus.file("ledger.json").read_bytes())
    assert ledger == {
        "in": 6,
        "kept": 2,
        "heldout": 0,
        "dropped": 2,
        "unreadable": 2,
        "dropped_by_rule": {"corpus/exact-duplicate": 1, "corpus/min-length": 1},
        "unreadable_by_reason": {"duplicate id": 1, "no text under …": 1},
        "passed_over": {},
        "edited_by_rule": {"corpus/mask-email": {"documents": 1, "characters": 2}},
        "by_source": {
            "mine": {
                "in": 6, "kept": 2, "heldout": 0, "dropped": 2, "unreadable": 2,
                "bytes": 64,
                "dropped_by_rule": {"corpus/exact-duplicate": 1, "corpus/min-length": 1},
                "edited_by_rule": {"corpus/mask-email": {"documents": 1, "characters": 2}},
                "passed_over": {},
            }
        },
        "by_language": {
            "en": {"bytes": 28, "documents": 1}, "ja": {"bytes": 36, "documents": 1}
        },
        "by_licence": {"unknown": {"bytes": 64, "documents": 2}},
        "contamination": {},
        "partitions": [
            {"source": 0, "partition": "docs.jsonl", "in": 6, "kept": 2, "heldout": 0,
             "dropped": 2, "unreadable": 2}
        ],
    }  # fmt: skip
    partitions = ledger.pop("partitions")
    assert len(partitions) == 1
    assert {key: corpus.facts[key] for key in ledger} == ledger
    dropped = {row["id"]: row for row in rows_of(corpus, "dropped")}
    assert dropped["same"]["duplicate_of"] == "mine/kept"
    assert (dropped["short"]["value"], dropped["short"]["threshold"]) == (2, 5)
    assert verify(corpus.path)[1] == []


def test_a_lost_document_stops_the_work() -> None:
    receipt = {"in": 2, "edits": {}, "parts": [{}], "partition": "p", "source_index": 0}
    part = {"by_source": {"s": {"kept": 1}}, "dropped": {}, "edited": {}, "sizes": {}}
    with pytest.raises(AssertionError, match="2 documents came in from p"):
        account([receipt], [part], {})


def test_every_document_carries_the_digest_of_its_name_and_text(
    make_corpus: Make, rows_of: Any
) -> None:
    (row,) = rows_of(make_corpus([{"id": "a", "text": "some text"}]), "documents")
    assert row["record_sha256"] == hashlib.sha256(b"mine\0a\0some text").hexdigest()


def test_an_earlier_source_wins_over_a_later_duplicate(
    write_jsonl: Callable[..., Path], run_step: Make, rows_of: Any
) -> None:
    sources = [
        {"use": "corpus/jsonl", "paths": [str(write_jsonl(["the same text"]))], "name": name}
        for name in ("zebra", "ant")
    ]
    corpus = run_step("corpus/build", sources=sources, heldout=0)
    assert [row["source"] for row in rows_of(corpus, "documents")] == ["zebra"]
    assert [row["source"] for row in rows_of(corpus, "dropped")] == ["ant"]


def test_near_duplicates_are_dropped_with_similarity_and_winner(
    make_corpus: Make, rows_of: Any
) -> None:
    text = "".join(chr(0x4E00 + n) for n in range(200))
    rows = [{"id": "a", "text": text}, {"id": "b", "text": text[:-1] + "X"}, "another"]
    (row,) = rows_of(make_corpus(rows, dedup={"exact": False, "near": 0.9}), "dropped")
    assert (row["rule"], row["id"], row["duplicate_of"]) == (
        "corpus/near-duplicate", "b", "mine/a"
    )  # fmt: skip
    # 196 shingles each, of which only the last one differs.
    assert row["value"] == pytest.approx(195 / 197)
    assert row["threshold"] == 0.9


def test_with_deduplication_off_everything_stays(make_corpus: Make) -> None:
    rows = ["same"] * 3
    assert make_corpus(rows, dedup={"exact": False, "near": None}).facts["kept"] == 3
    assert make_corpus(rows, dedup={"exact": True, "near": None}).facts["kept"] == 1
    assert make_corpus(rows, dedup={"exact": False, "near": 1.0}).facts["kept"] == 1


@given(share=st.floats(0, 0.9), name=st.text(max_size=5), seed=st.integers(0, 9))
def test_more_held_out_never_takes_a_document_back(share: float, name: str, seed: int) -> None:
    row = {"source": "s", "id": name}
    if is_held_out(row, share, seed):
        assert is_held_out(row, share + 0.1, seed)
    assert not is_held_out(row, 0, seed)


def test_the_share_held_out_is_the_one_asked_for_and_another_seed_takes_others() -> None:
    rows = [{"source": "s", "id": str(n)} for n in range(10_000)]
    first, second = ([is_held_out(row, 0.05, seed) for row in rows] for seed in (0, 1))
    assert abs(sum(first) - 500) < 4 * (10_000 * 0.05 * 0.95) ** 0.5
    assert first != second


def test_where_a_document_stands_does_not_change_whether_it_is_held_out(
    make_corpus: Make, rows_of: Any
) -> None:
    rows = [{"id": str(n), "text": f"document {n}"} for n in range(200)]
    one = {row["id"] for row in rows_of(make_corpus(rows, heldout=0.1), "heldout")}
    fewer = [row for row in rows[::-1] if int(row["id"]) % 3]
    two = {row["id"] for row in rows_of(make_corpus(fewer, heldout=0.1), "heldout")}
    assert two == {id_ for id_ in one if int(id_) % 3}


@pytest.mark.parametrize(
    ("rows", "keys", "message", "hint"),
    [
        (["a", "b"], {"rules": ["corpus/min-length"]}, "corpus/min-length 2", "text.rules"),
        (b"not json\n", {}, "unreadable 1", "not JSON"),
        (b"", {}, "nothing was read", "other sources"),
        (["only one"], {"heldout": 0.999999}, "held out 1", "text.heldout=0"),
    ],
)
def test_a_corpus_with_nothing_left_says_what_took_it_all(
    rows: Any, keys: dict[str, Any], message: str, hint: str, make_corpus: Make
) -> None:
    with pytest.raises(YoriaiError, match="no document is left") as caught:
        make_corpus(rows, **keys)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_corpus_of_one_document_is_a_corpus(make_corpus: Make) -> None:
    assert make_corpus(["only one"]).facts["kept"] == 1


class Broken(Source):
    """A third party's source whose documents hold what no file can."""

    def card(self) -> SourceCard:
        return SourceCard(name="broken", licence="MIT", languages=())

    def read(self, partition: str) -> Iterable[Any]:  # type: ignore[override]
        yield Document("s", "fine", "text")
        yield Document("s", "half \ud800", "text")
        yield Document("s", "text", "half \udfff")
        yield Document("s", "fine", "again")


def test_what_any_source_gives_is_checked_before_it_is_written(
    run_step: Make, rows_of: Any
) -> None:
    corpus = run_step("corpus/build", sources=[Broken()], heldout=0)
    assert [(row["id"], row["reason"]) for row in rows_of(corpus, "unreadable")] == [
        ("fine", "duplicate id"),
        ("half \\ud800", "holds half of a surrogate pair"),
        ("text", "holds half of a surrogate pair"),
    ]


class Counting(Filter):
    """Remembers how often it was asked."""

    asked: ClassVar[list[str]] = []

    def judge(self, document: Document) -> Any:
        self.asked.append(document.id)
        return self.KEEP


def test_a_partition_with_a_receipt_is_not_read_again(tmp_path: Path) -> None:
    task = PartitionTask(0, 0, "all", Broken(), (Counting(),), tmp_path)
    first = process(task)
    assert process(task) == first
    assert Counting.asked == ["fine", "fine"]  # which of the two is one too many is found later


@pytest.mark.parametrize("workers", ["0", "-1", "two", "²", "1.5"])
def test_a_number_of_workers_that_is_none_is_refused(
    workers: str, make_corpus: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YORIAI_WORKERS", workers)
    with pytest.raises(YoriaiError, match="is no number of processes"):
        make_corpus(["a text"])


def test_a_source_that_gives_nothing_and_what_is_passed_over_are_told() -> None:
    part = {
        "by_source": {"s": {"kept": 9, "unreadable": 1}}, "dropped": {}, "edited": {}, "sizes": {},
        "unreadable_by_reason": {"no text": 1},
    }  # fmt: skip
    receipt = {
        "in": 10, "edits": {}, "parts": [{}], "partition": "p", "source_index": 0,
        "passed_over": {"s": {"response 404": 2}},
    }  # fmt: skip
    found = account([receipt], [part], {}, {"empty": {"file .csv": 3}, "s": {}})
    assert found["passed_over"] == {"file .csv": 3, "response 404": 2}
    assert found["by_source"]["empty"]["in"] == 0
    told = " ".join(headline(found))
    assert "passed over, by kind: file .csv 3, response 404 2" in told
    assert "unreadable, by reason: no text 1" in told
    assert "warning: source empty gave nothing; passed over: file .csv 3" in told
    assert "warning: 10.0% of source s is unreadable" in told


def test_reasons_leave_out_what_differs_from_row_to_row_and_keep_the_numbers_of_names():
    account = Account(0)
    for row in (7, 1_200):
        account.unreadable(
            "a", f"row {row:,} holds 'x{row}': iconv -f UTF-16 -t utf8 makes a sha256"
        )
    assert account.reasons == {"row … holds …: iconv -f UTF-16 -t utf8 makes a sha256": 2}
    account.unreadable("a", "long " * 30)
    assert [(len(kind), kind[-1]) for kind in account.reasons][1] == (100, "…")
