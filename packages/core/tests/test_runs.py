"""Run files: there from the first second, and they always end."""

from __future__ import annotations

import errno
import json
import os
import signal

import pytest

from yoriai import files, run_file
from yoriai.errors import YoriaiError
from yoriai.redaction import Redactor
from yoriai.run_file import list_runs, start_run, sweep

FACTS = {"recipe": "lab", "resolved": {"steps": {"z": {}, "a": {}}}}


def start(folder):
    return start_run(folder, FACTS, Redactor({}, home="", user=""))


def test_the_file_is_there_from_the_first_second(tmp_path):
    with start(tmp_path) as current:
        value = json.loads(current.path.read_bytes())
        assert (value["state"], value["recipe"], value["schema"]) == ("running", "lab", 1)
        assert value["started"]


def test_the_steps_of_the_resolved_recipe_keep_their_order(tmp_path):
    with start(tmp_path) as current:
        pass
    assert list(json.loads(current.path.read_bytes())["resolved"]["steps"]) == ["z", "a"]


def test_every_change_is_on_disk_at_once(tmp_path):
    with start(tmp_path) as current:
        current.step("text", state="running")
        assert list_runs(tmp_path)[0]["steps"] == {"text": {"state": "running"}}
        current.metric("text", {"loss": 0.5})
        [line] = current.metrics_path.read_text().splitlines()
        assert json.loads(line)["loss"] == 0.5
        current.end("completed")
    assert list_runs(tmp_path)[0]["state"] == "completed"


def test_runs_are_listed_in_the_order_in_which_they_began(tmp_path):
    ids = []
    for _ in range(20):
        with start(tmp_path) as current:
            ids.append(current.id)
    assert [row["id"] for row in list_runs(tmp_path)] == ids


def test_a_living_run_is_left_alone(tmp_path):
    with start(tmp_path):
        assert sweep(tmp_path) == []


def test_a_run_whose_process_died_is_marked_once(tmp_path):
    child = os.fork()
    if child == 0:
        with start(tmp_path):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    [row] = list_runs(tmp_path)
    assert row["state"] == "running"
    assert sweep(tmp_path) == [row["id"]]
    assert sweep(tmp_path) == []
    [row] = list_runs(tmp_path)
    assert (row["state"], row["error"]["code"]) == ("failed", "process-died")
    assert row["ended"]
    assert [path.name for path in tmp_path.iterdir()] == [f"{row['id']}.json"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff", b'{"id": "x"}'])
def test_an_unreadable_run_file_is_listed_as_such_and_hides_no_other(tmp_path, body):
    (tmp_path / "0.json").write_bytes(body)
    with start(tmp_path):
        pass
    assert [row["state"] for row in list_runs(tmp_path)] == ["unreadable", "running"]
    assert len(sweep(tmp_path)) == 1


def test_a_run_file_that_is_a_device_or_has_no_end_is_listed_as_unreadable(tmp_path, monkeypatch):
    monkeypatch.setattr(run_file, "MOST_BYTES", 100)
    (tmp_path / "0.json").symlink_to("/dev/zero")
    (tmp_path / "1.json").write_bytes(b" " * 101)
    first, second = list_runs(tmp_path)
    assert (first["state"], second["state"]) == ("unreadable", "unreadable")
    assert "no ordinary file" in first["error"]
    assert "more than 100 bytes" in second["error"]


def test_a_full_disk_leaves_no_lock_behind(tmp_path, monkeypatch):
    def full(path, data):
        raise files.disk_error(path, OSError(28, "No space left on device"))

    monkeypatch.setattr(run_file.files, "write_atomically", full)
    with pytest.raises(YoriaiError, match="No space left"), start(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_after_kill_9_the_next_look_at_the_runs_marks_the_dead_one(recipe, process, yoriai):
    path = str(recipe("name: slow\nsteps:\n  parts: {uses: lab/slow}\n"))
    killed = process("run", path, "--out", "w", LAB=f"{int(signal.SIGKILL)}@1")
    assert killed.code == -signal.SIGKILL
    listed = yoriai("runs", "list", "w", "--json")
    assert [row["state"] for row in listed.json["runs"]] == ["failed"]
    assert "had died without a word" in listed.err
    shown = yoriai("runs", "show", "w", "latest", "--json").json
    assert shown["error"]["code"] == "process-died"
    assert shown["steps"]["parts"]["state"] == "stopped"


def test_latest_is_the_last_run(recipe, yoriai):
    path = str(recipe())
    first = yoriai("run", path, "--json").json["run"]
    second = yoriai("run", path, "--json").json["run"]
    shown = yoriai("runs", "show", "build/lab", "--json").json
    assert first < second == shown["id"]
    assert yoriai("runs", "show", "build/lab", first, "--json").json["id"] == first


@pytest.mark.parametrize(
    "words", [("list", "nowhere"), ("show", "nowhere"), ("show", "build/lab", "20990101")]
)
def test_runs_that_are_not_there_are_not_found(recipe, yoriai, words):
    yoriai("run", str(recipe()))
    assert yoriai("runs", *words).code == 3


def test_a_run_file_says_what_a_reader_needs(recipe, yoriai):
    yoriai("run", str(recipe()), "--set", "seed=9")
    value = yoriai("runs", "show", "build/lab", "--json").json
    assert value["state"] == "completed"
    assert value["resolved"]["seed"] == 9
    assert value["argv"][-2:] == ["--set", "seed=9"]
    assert value["entries"]["lab/short"] == "1"
    assert value["environment"]["plugins"]["lab"]["status"] == "ok"
    assert len(value["environment"]["plugin_fingerprint"]) == 64
    assert len(value["steps"]["text"]["digest"]) == 64
    assert value["git"] == {}


def test_the_resolved_recipe_of_a_run_file_runs_to_the_same_digests(recipe, yoriai):
    yoriai("run", str(recipe()))
    value = yoriai("runs", "show", "build/lab", "--json").json
    again = yoriai(
        "run", str(recipe(json.dumps(value["resolved"]))), "--out", "again", "--json"
    ).json
    for name, step in value["steps"].items():
        assert again["steps"][name]["digest"] == step["digest"]


def die(folder):
    child = os.fork()
    if child == 0:
        with start(folder) as current:
            current.step("text", state="running")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("reason", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("words", [("list",), ("show",)])
def test_runs_are_shown_on_a_disk_that_takes_no_writing(
    tmp_path, yoriai, monkeypatch, reason, words
):
    die(tmp_path / "w/runs")
    before = {p.name: p.read_bytes() for p in (tmp_path / "w/runs").iterdir()}

    def refuse(path, data):
        raise files.disk_error(path, OSError(reason, os.strerror(reason)))

    monkeypatch.setattr(files, "write_atomically", refuse)
    answer = yoriai("runs", *words, str(tmp_path / "w"), "--json")
    assert answer.code == 0
    row = answer.json["runs"][0] if words == ("list",) else answer.json
    step = row["steps"]["text"]
    assert (row["state"], step if isinstance(step, str) else step["state"]) == ("failed", "stopped")
    assert "not marked" in answer.err
    assert os.strerror(reason) in answer.err
    assert {p.name: p.read_bytes() for p in (tmp_path / "w/runs").iterdir()} == before


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"id": "../../escaped", "state": "running", "steps": {}}',
        b'{"id": "0", "state": "running", "steps": []}',
        b'{"id": "0", "state": "running", "steps": {"a": 3}}',
    ],
)
def test_a_hostile_run_file_is_listed_as_unreadable_and_written_nowhere(tmp_path, yoriai, body):
    folder = tmp_path / "a/b/runs"
    folder.mkdir(parents=True)
    (folder / "0.json").write_bytes(body)
    assert sweep(folder) == []
    [row] = list_runs(folder)
    assert (row["id"], row["state"]) == ("0", "unreadable")
    assert yoriai("runs", "list", str(tmp_path / "a/b")).code == 0
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [folder / "0.json"]
