"""What the site shows of finished runs: numbers as CSV, answers side by side, a timeline."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from yoriai.errors import Refused

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
try:
    import publish
    from sitemaker.answers import answers_pages
    from sitemaker.benchmarks import benchmark_page, ratio_of
    from sitemaker.published import as_csv, leaderboard, list_published
    from sitemaker.timeline import timeline_page
finally:
    sys.path.remove(str(ROOT / "docs"))


def test_every_number_of_the_leaderboard_stands_in_the_csv_with_its_count():
    runs = list_published(ROOT)
    rows = list(csv.DictReader(io.StringIO(as_csv(runs))))
    for run in runs:
        for scores in run.scores.values():
            for name, one in scores["models"].items():
                key = (run.name, name)  # models of two runs may have one name
                mine = {r["measured_on"]: r for r in rows if (r["run"], r["model"]) == key}
                for task, told in one["tasks"].items():
                    assert float(mine[task]["value"]) == told["score"]
                    assert int(mine[task]["count"]) == told["samples"]
                assert (
                    int(mine["text: ja"]["count"]) == one["bits_per_byte_documents"]["text"]["ja"]
                )
                assert mine["text: ja"]["precision"] in ("float32", "8 bits")
                assert int(mine["text: ja"]["tokens_read"]) > 300_000
    page = leaderboard(runs)
    assert "text: ja (bits/byte, 298 documents)" in page
    assert "ja-forms (120 questions)" in page


def test_no_cell_of_the_csv_is_a_formula(tmp_path):
    folder = tmp_path / "published" / "evil"
    folder.mkdir(parents=True)
    for path in (ROOT / "published" / "tour").glob("*.json"):
        (folder / path.name).write_bytes(path.read_bytes())
    place = folder / "base-1.artifact.json"
    told = json.loads(place.read_text())
    place.write_text(json.dumps(told | {"licence": "=HYPERLINK(0)"}))
    rows = list(csv.reader(io.StringIO(as_csv(list_published(tmp_path)))))
    assert "'=HYPERLINK(0)" in {cell for row in rows for cell in row}
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "@", "+"))]


def test_every_question_that_is_shown_has_an_answer_of_every_model_and_an_open_licence():
    found = json.loads(answers_pages(ROOT)["records/answers.json"])
    assert {"tour: eval/ja-forms", "tour: eval/ja-language"} <= set(found)
    scores = json.loads((ROOT / "published/tour/scores-1.scores.json").read_text())
    for name, told in found.items():
        assert told["licence"] in publish.MAY_BE_SHOWN
        task = name.rpartition("/")[2]
        for model, one in scores["models"].items():
            said = [row["by"][model] for row in told["rows"]]
            assert len(said) == one["tasks"][task]["samples"]
            assert sum(score for *_, score in said) / len(said) == pytest.approx(
                one["tasks"][task]["score"], abs=5e-5
            )


def test_a_set_whose_licence_does_not_allow_it_is_not_shown(monkeypatch, tmp_path):
    monkeypatch.setattr(publish, "MAY_BE_SHOWN", ("CC0-1.0",))
    with pytest.raises(Refused, match=r"eval/ja-forms is under CC-BY-4\.0: it may not be shown"):
        publish.answers(tmp_path, ["eval/ja-forms"])


def test_the_timeline_holds_every_record_and_decision_newest_first():
    page = timeline_page(ROOT)
    dates = [line[2:12] for line in page.splitlines() if line.startswith("| 20")]
    assert dates == sorted(dates, reverse=True)
    decisions = (ROOT / "docs/en/decisions.md").read_text().count("\n| 20")
    assert page.count("| decision |") == decisions
    for folder in (ROOT / "records").glob("0*"):
        assert f"({folder.name}.md)" in page


def test_a_ratio_above_one_says_that_ours_is_faster_or_smaller():
    assert ratio_of({"ours": 6, "theirs": 3, "better": "higher"}) == 2
    assert ratio_of({"ours": 3, "theirs": 6, "better": "lower"}) == 2


def test_a_goal_that_was_missed_is_told_first_and_each_bench_is_a_command(tmp_path):
    page = benchmark_page(ROOT)["records/benchmarks.md"]
    first = page.index("## Goals that were missed")
    missed = page[first : page.index("\n## ", first + 3)]
    assert "litgpt" in missed
    assert "0.94" in missed
    for line in page.splitlines():
        if line.startswith("`nox -s bench -- "):
            name = line.split("`")[1].split()[4]
            assert (ROOT / "benchmarks" / f"{name}.py").is_file(), name
    assert benchmark_page(tmp_path) == {}
