"""One partition: what is written of it, and records that kill the process that reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from yoriai import Document, Filter, Source, SourceCard, Unreadable, Verdict, YoriaiError
from yoriai_corpus import tables
from yoriai_corpus.build import partition
from yoriai_corpus.build.partition import Marker, PartitionTask, after_death, process
from yoriai_corpus.engines.deaths import DEATHS, KILLED
from yoriai_corpus.sources.records import guarded


class Death(BaseException):
    """Stands for the end of the process: nothing catches it, nothing is written after it."""


class Thousand(Source):
    """A thousand documents. Reading, or judging, one of them ends the process."""

    deadly: int = -1

    def card(self) -> SourceCard:
        return SourceCard(name="thousand", licence="CC0-1.0", languages=("en",))

    def read(self, partition: str) -> Iterator[Document | Unreadable]:
        for number in range(1000):
            if number == self.deadly:
                raise Death
            yield Document("thousand", str(number), f"text {number}", "en")


class Guarded(Thousand):
    """The same, but it passes over what is to be skipped."""

    def read_without(self, partition: str, skip: frozenset[int]) -> Iterator[Document | Unreadable]:
        def parse(place: str, number: int) -> Document:
            if number == self.deadly:
                raise Death
            return Document("thousand", str(number), f"text {number}", "en")

        yield from guarded("thousand", ((str(n), n) for n in range(1000)), parse, skip)


class Deadly(Filter):
    """Judging the document 700 ends the process."""

    def judge(self, document: Document) -> Verdict:
        if document.id == "700":
            raise Death
        return self.KEEP


def run_to_the_end(task: PartitionTask) -> tuple[dict[str, Any], int]:
    """What an engine does: start the task again after each death."""
    for deaths in range(9):
        try:
            return process(task), deaths
        except Death:
            task = after_death(task)
    raise AssertionError("it never ends")


def unreadable(folder: Path) -> list[tuple[str, str]]:
    paths = sorted(folder.glob("*.unreadable.parquet"))
    return [(row["id"], row["reason"]) for row in tables.read_rows(paths)]


def test_a_document_whose_judging_kills_the_process_is_quarantined_and_no_other(
    tmp_path: Path,
) -> None:
    receipt, deaths = run_to_the_end(PartitionTask(0, 0, "all", Thousand(), (Deadly(),), tmp_path))
    assert (receipt["in"], receipt["kept"], receipt["unreadable"]) == (1000, 999, 1)
    assert unreadable(tmp_path) == [("700", KILLED)]
    assert deaths == DEATHS


def test_a_record_whose_reading_kills_the_process_is_passed_over(tmp_path: Path) -> None:
    receipt, deaths = run_to_the_end(PartitionTask(0, 0, "all", Guarded(deadly=700), (), tmp_path))
    assert (receipt["in"], receipt["kept"], receipt["unreadable"]) == (1000, 999, 1)
    assert [reason for _, reason in unreadable(tmp_path)] == [KILLED]
    assert deaths == DEATHS


def test_a_reader_that_cannot_pass_over_a_record_ends_there_and_says_so(tmp_path: Path) -> None:
    receipt, deaths = run_to_the_end(PartitionTask(0, 0, "all", Thousand(deadly=700), (), tmp_path))
    assert (receipt["in"], receipt["kept"], receipt["unreadable"]) == (701, 700, 1)
    assert "was not read" in unreadable(tmp_path)[0][1]
    assert deaths == DEATHS + 1


def test_deaths_at_different_places_are_nobodys_fault(tmp_path: Path) -> None:
    task = PartitionTask(0, 0, "all", Thousand(), (), tmp_path)
    for position in (3, 500, 3, 999):
        Marker(tmp_path / f"{task.stem}.at").at(position, position)
        task = after_death(task)
    assert task.skip == frozenset()
    Marker(tmp_path / f"{task.stem}.at").at(3, 3)
    assert after_death(task).skip == {3}


def test_workers_that_die_before_they_begin_end_the_run_with_a_remedy(tmp_path: Path) -> None:
    task = after_death(after_death(PartitionTask(0, 0, "all", Thousand(), (), tmp_path)))
    with pytest.raises(YoriaiError, match="die before they begin with partition 'all'"):
        after_death(task)


def test_a_large_partition_is_written_in_parts_that_hold_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = PartitionTask(0, 0, "all", Thousand(), (), tmp_path / "whole")
    process(whole)
    monkeypatch.setattr(partition, "PART_CHARACTERS", 1000)
    monkeypatch.setattr(partition, "BATCH", 16)
    receipt = process(replace(whole, folder=tmp_path / "parts"))
    assert len(receipt["parts"]) > 5
    names = ("kept", "dropped", "unreadable")

    def rows(folder: Path, name: str) -> list[dict[str, Any]]:
        found = list(tables.read_rows(sorted(folder.glob(f"*.{name}.parquet"))))
        return [{key: row[key] for key in row if key != "place"} for row in found]

    for name in names:
        assert rows(tmp_path / "whole", name) == rows(tmp_path / "parts", name)


class Tagger(Filter):
    """Says that everything is Japanese."""

    def judge(self, document: Document) -> Verdict:
        return Verdict("edit", text=document.text, language="ja")


class Eraser(Filter):
    """Leaves nothing of Japanese documents."""

    languages: tuple[str, ...] = ("ja",)

    def judge(self, document: Document) -> Verdict:
        return Verdict("edit", text="" if document.id == "7" else document.text + "。")


def test_a_filter_may_set_the_language_that_later_rules_go_by(tmp_path: Path) -> None:
    tagger, eraser = Tagger(), Eraser()
    tagger._entry, eraser._entry = "acme/tagger", "acme/eraser"
    receipt = process(PartitionTask(0, 0, "all", Thousand(), (tagger, eraser), tmp_path))
    assert (receipt["kept"], receipt["dropped"]) == (999, 1)
    assert receipt["edits"] == {
        "thousand": {"acme/tagger": [1000, 0], "acme/eraser": [1000, 999 + len("text 7")]}
    }
    (dropped,) = tables.read_rows(next(tmp_path.glob("*.dropped.parquet")))
    assert (dropped["id"], dropped["rule"]) == ("7", "corpus/empty")
    kept = next(tables.read_rows(next(tmp_path.glob("*.kept.parquet"))))
    assert (kept["text"], kept["language"]) == ("text 0。", "ja")


class Secretive(Filter):
    """Drops everything and says what may be kept of it."""

    def judge(self, document: Document) -> Verdict:
        return Verdict("drop", text="<hidden>", span="phone")


def test_what_a_drop_says_to_keep_is_kept_in_place_of_the_text(tmp_path: Path) -> None:
    process(PartitionTask(0, 0, "all", Thousand(), (Secretive(),), tmp_path))
    rows = tables.read_rows(next(tmp_path.glob("*.dropped.parquet")))
    assert {row["text"] for row in rows} == {"<hidden>"}
