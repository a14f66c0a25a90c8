"""Experiment records: every kind of fault is found, and predictions are judged."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from yoriai.errors import UsageError
from yoriai.prediction import find_fact, judge
from yoriai.record import CAUSES, HEADINGS, list_records, read_record
from yoriai.record_draft import _was_edited, draft_record
from yoriai.record_faults import check_records
from yoriai.record_history import list_stated

STORY = "# Title\n\n" + "\n\n".join(f"## {heading}\n\nWords." for heading in HEADINGS) + "\n"
ENDED = {
    "schema": 1, "id": "0001", "title": {"en": "Warm-up", "ja": "慣らし"}, "state": "ended",
    "opened": "2026-11-01", "execution": "failed", "verdict": "not-tested",
    "failures": [{"cause": "loss-spike", "symptom": "the loss jumped"}],
    "lessons": [{"text": {"en": "Slower."}}],
}  # fmt: skip


def file(root, *, name="0001-warm-up", story=STORY, text=None, **changes):
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    value = {key: item for key, item in {**ENDED, **changes}.items() if item is not None}
    body = text or yaml.safe_dump(value, allow_unicode=True)
    (folder / "record.yaml").write_bytes(body if isinstance(body, bytes) else body.encode())
    if story:
        (folder / "README.md").write_text(story)
    return folder


def test_a_good_record_has_no_fault(tmp_path):
    file(tmp_path)
    file(tmp_path, name="0002-proposed", id="0002", state="proposed", execution=None, verdict=None,
         lessons=None, failures=None)  # fmt: skip
    assert check_records(tmp_path) == []


FAULTS = {
    "unknown key": ({"lesson": []}, "lesson: unknown key"),
    "wrong state": ({"state": "done"}, "state: "),
    "wrong cause": ({"failures": [{"cause": "bad luck", "symptom": "x"}]}, "failures[0].cause"),
    "wrong id": ({"id": "1"}, "id: "),
    "wrong language": ({"title": {"fr": "x"}}, "title.fr"),
    "no title": ({"title": {}}, "title: "),
    "ended without a verdict": ({"verdict": None}, "says execution and verdict"),
    "ended without a lesson": ({"lessons": []}, "at least one lesson"),
    "failed without a failure": ({"failures": []}, "needs at least one entry under failures"),
    "not a date": ({"opened": "yesterday"}, "opened: "),
    "other folder": ({"id": "0007"}, "the folder's name must start with 0007-"),
    "no story": ({"story": ""}, "has no heading '## Question'"),
    "a heading is missing": ({"story": STORY.replace("## What we learned", "")},
                             "has no heading '## What we learned'"),
    "a key twice": ({"text": "schema: 1\nschema: 1\n"}, ":2: the key 'schema' is given twice"),
    "bad YAML": ({"text": "a: [\n"}, "not valid YAML"),
    "not UTF-8": ({"text": "title: 寄合".encode("euc-jp")}, "is not UTF-8"),
    "a home path": ({"story": STORY + "in /home/taro/x"}, "holds a secret, or a home path"),
    "a token": ({"links": ["https://taro:pass@example.org"]}, "holds a secret, or a home path"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_each_kind_of_fault_is_found(case, tmp_path):
    changes, expected = FAULTS[case]
    file(tmp_path, **changes)
    problems = check_records(tmp_path)
    assert any(expected in problem and str(tmp_path) in problem for problem in problems), problems


def test_an_id_given_twice_is_found(tmp_path):
    file(tmp_path)
    file(tmp_path, name="0001-other")
    [problem] = check_records(tmp_path)
    assert "the id 0001 is that of 0001-other too" in problem


def test_a_folder_without_a_record_is_found(tmp_path):
    (tmp_path / "0003-lost").mkdir()
    assert check_records(tmp_path) == [f"{tmp_path / '0003-lost'}: has no record.yaml"]


def test_a_folder_above_the_records_is_told_from_an_empty_one(tmp_path, yoriai):
    assert check_records(tmp_path) == []
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(UsageError, match="holds no record, but other folders"):
        check_records(tmp_path)
    file(tmp_path / "records")
    answer = yoriai("records", "check", "--root", str(tmp_path))
    assert answer.code == 2
    assert f"yoriai records check --root {tmp_path / 'records'}" in answer.err


def test_a_run_file_that_tells_a_secret_is_found(tmp_path):
    runs = file(tmp_path) / "runs"
    runs.mkdir()
    (runs / "a.json").write_text(json.dumps({"x": "https://taro:pw@example.org"}))
    (runs / "b.json").write_bytes(b"\xff")
    found = [p.rpartition("runs/")[2] for p in check_records(tmp_path)]
    assert "a.json:1: holds a secret, or a home path" in found
    assert "b.json: is not UTF-8 (byte 0)" in found


def test_a_fault_in_one_record_hides_none_in_another(tmp_path):
    file(tmp_path, state="done")
    file(tmp_path, name="0002-x", id="0002", verdict="maybe")
    assert len(check_records(tmp_path)) == 2


# --- what a record says is worked out again ----------------------------------------------------


def predicted(text="loss at most 1.0", **keys):
    return {"predictions": [{"text": text, **keys}]}


LATE_FAULTS = {
    "held, though it failed": (predicted(measured=2.0, verdict="held"), "that is 'failed', not"),
    "failed, though it held": (predicted(measured=0.5, verdict="failed"), "that is 'held', not"),
    "a verdict without a value": (predicted(verdict="failed"), "measured nothing"),
    "a value without a verdict": (predicted(measured=0.5), "that is 'held', not 'not-measured'"),
    "no relation": (predicted("it gets better", measured=0.5, verdict="held"), "no verdict can"),
    "a relation alone": (predicted("x", relation="<"), "give both relation and limit"),
    "text against keys": (predicted(relation="<", limit=3.0), "the text says <= 1.0, the keys <"),
    "a bad relation": (predicted("x", relation="~", limit=3.0), "'~' is not known"),
    "between one": (predicted("x", relation="between", limit=3.0), "takes a limit of two"),
    "the same twice": ({"predictions": [{"text": "x < 1"}, {"text": "x < 1"}]}, "stands above"),
    "NaN measured": (predicted(measured=float("nan"), verdict="held"), "finite"),
    "supported in vain": (
        {**predicted(measured=2.0, verdict="failed"), "verdict": "supported"},
        "the predictions make it 'refuted', not 'supported'",
    ),
    "ended before opened": ({"ended": "2026-10-01"}, "before it was opened"),
    "an empty lesson": ({"lessons": [{"text": {"en": " "}}]}, "lessons[0].text.en"),
    "a lesson in no language": ({"lessons": [{"text": {}}]}, "lessons[0].text"),
    "an empty title": ({"title": {"en": ""}}, "title.en"),
    "a negative cost": ({"cost_hours": -1.0}, "cost_hours"),
    "a NaN cost": ({"cost_hours": float("nan")}, "cost_hours"),
    "an endless cost": ({"cost_hours": float("inf")}, "cost_hours"),
    "more lost than spent": ({"cost_hours": 1.0, "lost_hours": 2.0}, "lost_hours is part"),
    "found before it was": (
        {"failures": [{"cause": "network", "symptom": "x", "found_after_hours": -1}]},
        "found_after_hours",
    ),
    "a misspelt verdict": ({"verdict": "suported"}, "did you mean 'supported'?"),
    "a misspelt cause": (
        {"failures": [{"cause": "los-spike", "symptom": "x"}]}, "did you mean 'loss-spike'?"
    ),
    "a misspelt key": ({"hypotesis": "x"}, "did you mean 'hypothesis'?"),
    "withheld too long": (
        {"withheld": [{"what": "data", "why": "law", "until": "2020-01-01"}]}, "which is past"
    ),
    "questioned by nobody": ({"validity": {"status": "questioned"}}, "says by whom and why"),
    "no digest": ({"inputs": [{"kind": "corpus", "name": "a@1", "sha256": "12"}]}, "sha256"),
    "a bad ORCID": ({"people": [{"name": "A", "orcid": "12"}]}, "orcid"),
    "a link that runs": ({"links": ["javascript:alert(1)"]}, "a link is http://"),
    "markup in a title": ({"title": {"en": "<img src=x onerror=alert(1)>"}}, "holds markup"),
    "markup in the story": ({"story": STORY + "\n<b onclick=x>a</b>\n"}, "raw HTML"),
    "a record that is not there": ({"supersedes": ["0099"]}, "there is no record 0099"),
    "itself": ({"prior": ["0001"]}, "does not name itself"),
    "a turned text": ({"hypothesis": "\u202eabc"}, "control character"),
    "opened in a far year": ({"opened": "2999-01-01"}, "has not come yet"),
    "a number as id": ({"id": 1}, "write it in quotes"),
}  # fmt: skip


@pytest.mark.parametrize("case", LATE_FAULTS)
def test_each_fault_of_what_a_record_claims_is_found_with_its_line(case, tmp_path):
    changes, expected = LATE_FAULTS[case]
    file(tmp_path, **changes)
    problems = [p for p in check_records(tmp_path) if expected in p]
    assert problems, check_records(tmp_path)
    assert re.match(rf"{re.escape(str(tmp_path))}/[^:]+\.(yaml|md)(:\d+)?: ", problems[0])


def test_a_verdict_against_the_predictions_passes_if_it_is_argued(tmp_path):
    changes = predicted(measured=2.0, verdict="failed")
    file(tmp_path, **changes, execution="completed", verdict="inconclusive", argument="n = 3")
    assert check_records(tmp_path) == []


RUN = {"id": "a", "state": "completed", "started": "2026-11-28T00:00:00+00:00", "steps": {},
       "recipe": "lab"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("a.json", "{", "a.json:1: is no run file"),
        ("a.json", "[]", "it is no mapping"),
        ("a.json", '{"id": "a"}', "it lacks recipe, started, state, steps"),
        ("b.json", json.dumps(RUN), "is the file of run 'a'"),
        ("a.json", json.dumps(RUN | {"state": "fine"}), "'fine' is not one of a run"),
        ("a.json", json.dumps(RUN | {"cost": float("nan")}), "NaN is no number"),
        ("a.json", json.dumps(RUN | {"started": "soon"}), "is no run file"),
        ("a.txt", "x", "is no run file (ID.json"),
    ],
)
def test_a_broken_run_file_is_found(name, body, expected, tmp_path):
    runs = file(tmp_path, **predicted(measured=2.0, verdict="failed")) / "runs"
    runs.mkdir()
    (runs / name).write_text(body)
    assert [p for p in check_records(tmp_path) if expected in p]


def test_a_run_file_without_a_record_and_one_in_two_records_are_found(tmp_path):
    for number in ("0001", "0002"):
        runs = file(tmp_path, name=f"{number}-x", id=number) / "runs"
        runs.mkdir()
        (runs / "a.json").write_text(json.dumps(RUN))
    (tmp_path / "stray").mkdir()
    (tmp_path / "stray" / "a.json").write_text(json.dumps(RUN))
    (tmp_path / "b.json").write_text(json.dumps(RUN))
    problems = "\n".join(check_records(tmp_path))
    assert "the run stands in 0001-x too" in problems
    assert problems.count("a run file that no record owns") == 2


def test_a_secret_is_found_in_any_file_with_its_line(tmp_path):
    folder = file(tmp_path)
    (folder / "plot.svg").write_text("<svg>\nhttps://taro:pw@example.org\n</svg>")
    (folder / "notes").write_bytes(b"\xff\nhttps://taro:pw@example.org")
    found = [p.partition("0001-warm-up/")[2] for p in check_records(tmp_path)]
    assert "plot.svg:2: holds a secret, or a home path" in found
    assert "notes:2: holds a secret, or a home path" in found


def test_records_that_supersede_one_another_in_a_circle_are_found(tmp_path):
    for number, other in (("0001", "0002"), ("0002", "0001")):
        file(tmp_path, name=f"{number}-x", id=number, supersedes=[other])
    assert sum("supersedes leads back" in p for p in check_records(tmp_path)) == 2


def test_a_log_is_dated_and_in_order(tmp_path):
    folder = file(tmp_path)
    (folder / "log.md").write_text("## 2026-11-02\n\n## 2026-11-01\n\n## later\n")
    found = [p.rpartition("log.md:")[2] for p in check_records(tmp_path) if "log.md" in p]
    assert [row.partition(":")[0] for row in found] == ["3", "5"]


# --- when a prediction was written ---------------------------------------------------------------


@pytest.fixture
def repository(tmp_path):
    def git(*words, when="2026-11-20T10:00:00+00:00"):
        names = {"GIT_COMMITTER_DATE": when, "GIT_AUTHOR_DATE": when, "HOME": str(tmp_path),
                 "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}  # fmt: skip
        words = ("-c", "user.name=t", "-c", "user.email=t@example.org", *words)
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, env=names,
                       capture_output=True)  # fmt: skip

    git("init", "-q")
    return git


def stated(root):
    filed = list_records(root)
    [rows] = list_stated(root, filed).values()
    return [row.standing for row in rows], rows


def test_git_says_whether_a_prediction_came_before_the_run(tmp_path, repository):
    root = tmp_path / "records"
    proposed = {"state": "proposed", "execution": None, "verdict": None, "lessons": None,
                "failures": None}  # fmt: skip
    folder = file(root, **proposed, **predicted())
    repository("add", "-A")
    repository("commit", "-qm", "first")
    assert stated(root)[0] == ["before-result"]
    two = [{"text": "loss at most 1.0", "measured": 2.0, "verdict": "failed"}, {"text": "x < 1"}]
    file(root, predictions=two)
    (folder / "runs").mkdir()
    run = RUN | {"started": "2026-11-20T12:00:00+00:00"}
    (folder / "runs" / "a.json").write_text(json.dumps(run))
    repository("add", "-A")
    repository("commit", "-qm", "ended", when="2026-11-20T14:00:00+00:00")
    standings, rows = stated(root)
    assert standings == ["before-run", "afterwards"]
    assert rows[0].time == "2026-11-20T10:00:00+00:00"
    assert "before the first run began (2026-11-20 12:00)" in rows[0].words("en")
    assert rows[1].words("ja") == "後から書かれた"


def test_a_record_that_was_first_committed_with_its_outcome_was_written_afterwards(
    tmp_path, repository
):
    file(tmp_path / "records", **predicted(measured=2.0, verdict="failed"))
    repository("add", "-A")
    repository("commit", "-qm", "all at once")
    assert stated(tmp_path / "records")[0] == ["afterwards"]


def test_without_git_nothing_is_claimed(tmp_path):
    file(tmp_path, **predicted(measured=2.0, verdict="failed"))
    assert stated(tmp_path)[0] == ["unknown"]


def test_a_frozen_record_changes_in_errata_and_validity_only(tmp_path):
    import datetime

    from yoriai.record_history import freeze

    folder = file(tmp_path)
    freeze(read_record(folder), datetime.date(2026, 11, 28))
    (folder / "errata.md").write_text("Later: a mistake.\n")
    file(tmp_path, validity={"status": "invalidated", "by": "A", "why": "the data leaked"})
    assert [p for p in check_records(tmp_path) if "frozen" in p] == []
    file(tmp_path, hypothesis="another one")
    (folder / "extra.md").write_text("new\n")
    found = [p for p in check_records(tmp_path) if "changed after the record was frozen" in p]
    assert [p.partition("warm-up/")[2].partition(":")[0] for p in found] == [
        "extra.md", "record.yaml",
    ]  # fmt: skip


def test_the_tree_of_a_record_is_gits_own(tmp_path, repository):
    from yoriai.record_history import tree_id

    folder = file(tmp_path / "records")
    (folder / "runs").mkdir()
    (folder / "runs" / "a.json").write_text("{}")
    repository("add", "-A")
    repository("commit", "-qm", "x")
    told = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD:./"], check=True,
                          capture_output=True, text=True)  # fmt: skip
    assert tree_id(folder) == told.stdout.strip()


# --- predictions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "verdict"),
    [
        ({"fact": "base.loss", "below": 2.5}, "held"),
        ({"fact": "base.loss", "below": 2.0}, "failed"),
        ({"fact": "base.loss", "above": 1.5}, "held"),
        ({"fact": "base.loss", "above": 2.0}, "failed"),
        ({"fact": "base.loss", "than": "tuned.loss"}, "failed"),
        ({"fact": "tuned.loss", "than": "base.loss"}, "held"),
        ({"fact": "base.none", "below": 1}, "not-measured"),
        ({"fact": "base.loss", "than": "base.word"}, "not-measured"),
        ({"fact": "base.nan", "above": 1}, "not-measured"),
    ],
)
def test_a_prediction_is_compared_with_what_was_measured(prediction, verdict):
    facts = {"base": {"loss": 2.0, "word": "x", "nan": float("nan")}, "tuned": {"loss": 1.0}}
    judged = judge({"question": {"predictions": [prediction]}}, facts)
    assert judged["predictions"][0]["verdict"] == verdict
    overall = {"held": "supported", "failed": "refuted", "not-measured": "inconclusive"}
    assert judged["verdict"] == overall[verdict]


def test_without_predictions_nothing_was_tested():
    assert judge({}, {})["verdict"] == "not-tested"


def test_a_fact_is_found_by_its_place():
    assert find_fact({"a": {"b": {"ja": 1}}}, "a.b.ja") == 1.0
    assert find_fact({"a": {"b": {"ja": 1}}}, "a.b") is None
    assert find_fact({"a": 1}, "a.b.c") is None


# --- commands -------------------------------------------------------------------------------------


def test_check_fails_with_every_fault_in_words_and_in_json(tmp_path, yoriai):
    file(tmp_path / "records", state="done")
    assert yoriai("records", "check").code == 4
    answer = yoriai("records", "check", "--json")
    assert answer.code == 4
    assert len(answer.json["problems"]) == 1


def test_a_new_record_is_a_good_record_with_the_next_number(tmp_path, yoriai):
    file(tmp_path / "records")
    answer = yoriai("records", "new", "warmup-length", "--title-ja", "長さ", "--json")
    assert answer.json["folder"] == "records/0002-warmup-length"
    assert yoriai("records", "check", "--json").json == {"records": 2, "problems": []}


@pytest.mark.parametrize("slug", ["../x", "a b", "A", ""])
def test_a_new_record_needs_a_plain_name(slug, yoriai):
    assert yoriai("records", "new", slug, "--title-en", "x").code == 2
    assert not Path("records").exists()


def test_records_are_listed_by_cause_and_verdict_and_shown(tmp_path, yoriai):
    file(tmp_path / "records")
    file(tmp_path / "records", name="0002-x", id="0002", verdict="supported", execution="completed",
         failures=None)  # fmt: skip

    def ids(*words):
        return [row["id"] for row in yoriai("records", "list", *words, "--json").json["records"]]

    assert ids() == ["0001", "0002"]
    assert ids("--cause", "loss-spike") == ["0001"]
    assert ids("--verdict", "supported") == ["0002"]
    assert yoriai("records", "list", "--cause", "spike").code == 3
    assert yoriai("records", "show", "0001", "--json").json["title"]["ja"] == "慣らし"
    assert "## What we learned" in yoriai("records", "show", "0001").out
    assert yoriai("records", "show", "0009").code == 3


def test_a_finished_run_leaves_the_draft_of_a_record(recipe, yoriai):
    value = {
        "name": "lab",
        "question": {
            "title": {"en": "How many?"},
            "predictions": [{"fact": "words.count", "above": 1}],
        },
        "steps": {"words": {"uses": "lab/words"}},
    }
    answer = yoriai("run", str(recipe(json.dumps(value))), "--json")
    assert answer.json["verdict"] == "supported"
    record = read_record(Path("build/lab/record")).record
    assert record.execution == "completed"
    assert record.predictions[0].measured == 2.0
    runs = list(Path("build/lab/record/runs").glob("*.json"))
    assert [path.stem for path in runs] == [answer.json["run"]]
    story = Path("build/lab/record/README.md")
    story.write_text("mine")
    yoriai("run", str(recipe(json.dumps(value))))
    assert story.read_text() == "mine"


def test_the_word_for_the_unknown_is_a_cause_too():
    assert "unknown" in CAUSES


def test_a_draft_that_somebody_worked_on_is_not_overwritten(tmp_path):
    run = {
        "id": "r1", "recipe": "demo", "state": "completed", "started": "2026-01-02T03:04:05",
        "resolved": {}, "steps": {},
    }  # fmt: skip
    path = draft_record(tmp_path, run, {"predictions": [], "verdict": "not-tested"})
    draft_record(tmp_path, {**run, "id": "r2"}, {"predictions": [], "verdict": "supported"})
    assert "verdict: supported" in path.read_text()
    mine = path.read_text().replace("lessons: []", "lessons: [{text: {en: mine}}]")
    path.write_text(mine)
    draft_record(tmp_path, {**run, "id": "r3"}, {"predictions": [], "verdict": "refuted"})
    assert path.read_text() == mine


# --- finding, comparing, giving away ----------------------------------------------------------


def resolved(**keys):
    return {"name": "lab", "steps": {"base": {"uses": "train/pretrain", **keys}}}


@pytest.fixture
def shelf(tmp_path):
    """Two records with runs: one that failed at a high rate, one of something else."""
    root = tmp_path / "records"
    one = file(
        root,
        title={"en": "A hot start", "ja": "熱い始まり"},
        failures=[{"cause": "loss-spike", "symptom": "the loss jumped at step 8400"}],
    )
    other = file(root, name="0002-words", id="0002", prior=["0001"], execution="completed",
                 failures=None)  # fmt: skip
    for folder, name, value in (
        (one, "a", resolved(peak=0.01, steps=100, batch=16)),
        (other, "b", {"steps": {"x": {"uses": "corpus/build"}}}),
    ):
        (folder / "runs").mkdir()
        run = RUN | {"id": name, "resolved": value, "argv": ["run", "lab.yaml"],
                     "environment": {"packages": {"torch": "2.13.0", "-e evil": "1"}}}  # fmt: skip
        (folder / "runs" / f"{name}.json").write_text(json.dumps(run))
    return root


def test_the_nearest_past_records_are_found_by_configuration(shelf):
    from yoriai.record_search import list_near, tell_near

    [near] = list_near(shelf, resolved(peak=0.02, steps=100, batch=16))
    assert (near.id, near.likeness, near.causes) == ("0001", 0.6, ("loss-spike",))
    lines = tell_near([near])
    assert lines[0] == "1 near record, 1 failed or refuted:"
    assert "loss-spike: the loss jumped at step 8400" in lines[1]
    assert list_near(shelf, {"steps": {"x": {"uses": "eval/run"}}}) == []
    assert list_near(shelf / "none", resolved()) == []


def test_every_command_of_records_speaks_json(shelf, yoriai, tmp_path):
    root = ("--root", str(shelf), "--json")
    assert yoriai("records", "show", "1", *root).json["folder"] == "0001-warm-up"
    assert [r["id"] for r in yoriai("records", "search", "熱い", *root).json["records"]] == ["0001"]
    keys = [d["key"] for d in yoriai("records", "diff", "1", "2", *root).json["differences"]]
    assert {"execution", "run: train/pretrain.peak"} <= set(keys)
    assert yoriai("records", "lineage", "1", *root).json["edges"] == [
        {"from": "0002", "how": "prior", "to": "0001"}
    ]
    assert "@misc{yoriai0001" in yoriai("records", "cite", "1", *root).json["citation"]
    assert yoriai("records", "env", "1", *root).json == {"requirements": ["torch==2.13.0"]}
    assert yoriai("records", "freeze", "1", *root).code == 0
    assert yoriai("records", "freeze", "1", *root).code == 4
    assert yoriai("records", "verify", *root).json["records"][0]["state"] == "frozen"
    (shelf / "0001-warm-up" / "README.md").write_text(STORY + "more")
    assert yoriai("records", "verify", *root).code == 4
    assert yoriai("records", "show", "9", *root).code == 3
    assert "supported" in yoriai("records", "list", "--verdict", "suported", *root).json["error"][
        "hint"
    ]  # fmt: skip


def test_what_is_exported_is_read_by_others(shelf, yoriai, tmp_path):
    import sqlite3
    import xml.etree.ElementTree as ElementTree

    for form in ("json", "sqlite", "atom", "ro-crate"):
        words = ("records", "export", "--form", form, "--out", str(tmp_path / "out"))
        assert yoriai(*words, "--root", str(shelf)).code == 0
    out = tmp_path / "out"
    assert len(json.loads((out / "records.json").read_text())["records"]) == 2
    with sqlite3.connect(out / "records.db") as base:
        assert base.execute("select cause from failures").fetchall() == [("loss-spike",)]
    base.close()
    feed = ElementTree.parse(out / "records.atom").getroot()
    assert len(feed.findall("{http://www.w3.org/2005/Atom}entry")) == 2
    crate = json.loads((out / "0001-warm-up" / "ro-crate-metadata.json").read_text())
    [action] = [e for e in crate["@graph"] if e["@type"] == "CreateAction"]
    assert action["actionStatus"]["@id"].endswith("CompletedActionStatus")
    assert {part["@id"] for part in crate["@graph"][1]["hasPart"]} >= {"record.yaml", "runs/a.json"}


def test_a_record_is_started_from_a_run(shelf, yoriai, tmp_path):
    run = shelf / "0001-warm-up" / "runs" / "a.json"
    words = ("records", "new", "again", "--title-en", "Again?", "--from-run", str(run))
    answer = yoriai(*words, "--root", str(tmp_path / "fresh"), "--json")
    folder = Path(answer.json["folder"])
    assert read_record(folder).record.execution == "completed"
    assert (folder / "runs" / "a.json").is_file()
    assert yoriai(*words[:-1], str(folder), "--root", str(tmp_path)).code == 3
    assert yoriai(*words[:-1], str(folder / "README.md"), "--root", str(tmp_path)).code == 2


def test_a_record_is_read_up_to_a_bound_and_says_what_it_should_look_like(tmp_path):
    folder = file(tmp_path)
    (folder / "record.yaml").write_text("- 1\n")
    with pytest.raises(UsageError, match="a record is a mapping with id, title and state"):
        read_record(folder)
    os.truncate(folder / "record.yaml", 2**33)
    with pytest.raises(UsageError, match="more than 4,194,304 bytes; no more are read"):
        read_record(folder)


def test_a_draft_that_was_made_too_large_to_read_is_left_alone(tmp_path):
    path = tmp_path / "record.yaml"
    path.touch()
    assert not _was_edited(tmp_path / "none.yaml")
    os.truncate(path, 2**33)
    assert _was_edited(path)
