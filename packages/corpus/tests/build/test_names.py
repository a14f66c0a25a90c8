"""Ids that repeat: in one file a fault, in another file another document."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yoriai import Artifact, UsageError

Make = Callable[..., Artifact]


def write(path: Path, texts: list[str]) -> None:
    rows = [{"id": number, "text": text} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def build(run_step: Any, *sources: dict[str, Any], **keys: Any) -> Artifact:
    made: Artifact = run_step("corpus/build", sources=list(sources), heldout=0, **keys)
    return made


def test_two_files_numbered_from_0_are_both_read_whole(
    run_step: Any, rows_of: Any, tmp_path: Path
) -> None:
    write(tmp_path / "a.jsonl", ["one apple a day", "two birds in the hand"])
    write(tmp_path / "b.jsonl", ["three sheets to the wind", "four candles", "five gold rings"])
    made = build(run_step, {"use": "corpus/jsonl", "paths": [f"{tmp_path}/*.jsonl"]})
    found = {row["id"]: row["text"] for row in rows_of(made, "documents")}
    assert found == {
        "0": "one apple a day",
        "1": "two birds in the hand",
        "b.jsonl/0": "three sheets to the wind",
        "b.jsonl/1": "four candles",
        "2": "five gold rings",
    }
    assert rows_of(made, "unreadable") == []
    assert made.facts["ids_with_their_file"] == 2
    from yoriai_corpus.build.part_writer import record_digest

    for row in rows_of(made, "documents"):
        assert row["record_sha256"] == record_digest(row["source"], row["id"], row["text"])


def test_the_same_text_under_the_same_id_in_another_file_is_a_duplicate_by_its_longer_name(
    run_step: Any, rows_of: Any, tmp_path: Path
) -> None:
    write(tmp_path / "a.jsonl", ["one apple a day"])
    write(tmp_path / "b.jsonl", ["one apple a day"])
    made = build(run_step, {"use": "corpus/jsonl", "paths": [f"{tmp_path}/*.jsonl"]})
    [row] = rows_of(made, "dropped")
    assert (row["id"], row["rule"]) == ("b.jsonl/0", "corpus/exact-duplicate")


def test_the_winner_over_a_duplicate_is_called_by_its_longer_name(
    run_step: Any, rows_of: Any, tmp_path: Path
) -> None:
    write(tmp_path / "a.jsonl", ["one apple a day"])
    write(tmp_path / "b.jsonl", ["two birds in the hand"])
    (tmp_path / "c.jsonl").write_text('{"id": "last", "text": "two birds in the hand"}\n')
    made = build(run_step, {"use": "corpus/jsonl", "paths": [f"{tmp_path}/*.jsonl"]})
    [row] = rows_of(made, "dropped")
    [cluster] = rows_of(made, "clusters")
    assert row["duplicate_of"] == "local/b.jsonl/0"
    assert "b.jsonl/0" in cluster.values()


def test_an_id_twice_in_the_second_file_is_one_document_and_one_fault(
    run_step: Any, rows_of: Any, tmp_path: Path
) -> None:
    write(tmp_path / "a.jsonl", ["one apple a day"])
    rows = [{"id": 0, "text": "two birds in the hand"}, {"id": 0, "text": "three sheets to wind"}]
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = build(run_step, {"use": "corpus/jsonl", "paths": [f"{tmp_path}/*.jsonl"]})
    assert {row["id"] for row in rows_of(made, "documents")} == {"0", "b.jsonl/0"}
    assert [(r["id"], r["reason"]) for r in rows_of(made, "unreadable")] == [("0", "duplicate id")]


def test_two_wikis_share_page_numbers_and_lose_no_page(
    run_step: Any, rows_of: Any, tmp_path: Path
) -> None:
    for wiki, text in (("jawiki", "日本語の記事です。"), ("enwiki", "An English article.")):
        (tmp_path / f"{wiki}.xml").write_text(
            f"<mediawiki><page><title>T</title><ns>0</ns><id>5</id><revision>"
            f"<text>{text}</text></revision></page></mediawiki>"
        )
    made = build(run_step, {"use": "corpus/wikipedia", "paths": [f"{tmp_path}/*.xml"]})
    assert {row["id"] for row in rows_of(made, "documents")} == {"5", "jawiki.xml/5"}


def test_rows_without_ids_in_files_of_one_name_are_told_apart(
    run_step: Any, rows_of: Any, tmp_path: Path
) -> None:
    for folder, text in (("x", "one apple a day"), ("y", "five gold rings")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.csv").write_text(f"text\n{text}\n")
    made = build(run_step, {"use": "corpus/csv", "paths": [f"{tmp_path}/*/a.csv"]})
    assert len({row["id"] for row in rows_of(made, "documents")}) == 2


def test_two_sources_without_a_name_are_refused_and_two_with_names_are_not(
    run_step: Any, tmp_path: Path
) -> None:
    write(tmp_path / "a.jsonl", ["one apple a day"])
    write(tmp_path / "b.jsonl", ["two birds in the hand"])
    a, b = ({"use": "corpus/jsonl", "paths": [str(tmp_path / f"{n}.jsonl")]} for n in "ab")
    with pytest.raises(UsageError, match=r"sources\[0\] and sources\[1\] have no name"):
        build(run_step, a, b)
    assert build(run_step, a, {**b, "name": "b"}).facts["kept"] == 2
