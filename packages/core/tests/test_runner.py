"""Running a recipe: reuse, refusal, resuming, endings."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import pytest
import yaml

from yoriai import environment, files, reachable_code, runner, stopping
from yoriai.artifact import open_artifact
from yoriai.errors import Refused, UsageError, YoriaiError
from yoriai.plugins import load_registry
from yoriai.recipe import load_recipe

SLOW = "name: slow\nseed: 3\nsteps:\n  parts: {uses: lab/slow}\n"
ROOT = Path("build/lab")


@pytest.fixture
def run(recipe):
    """Run the laboratory's recipe in this process; returns the outcome."""

    def call(*settings, text=None, root=ROOT, **options):
        environment.code_identity.cache_clear()
        reachable_code.forget()
        registry = load_registry()
        loaded = load_recipe(recipe(text) if text else recipe(), registry, settings)
        chosen = runner.Options(
            watch=lambda items, label, total: iter(items), announce=lambda line: None, **options
        )
        return runner.run_recipe(loaded, registry, root, chosen)

    return call


def states(outcome):
    return {name: step["state"] for name, step in outcome.run["steps"].items()}


def run_files(root=ROOT):
    return [json.loads(path.read_bytes()) for path in sorted(root.glob("runs/*.json"))]


def digests(root=ROOT):
    return {
        path.parent.name: open_artifact(path.parent).digest for path in root.glob("*/artifact.json")
    }


def test_a_step_that_was_made_says_what_it_took(run):
    steps = run().run["steps"]
    for step in steps.values():
        assert 0 <= step["processor_seconds"] <= step["seconds"] * (os.cpu_count() or 1) + 1
    assert all("processor_seconds" not in step for step in run().run["steps"].values())


def test_a_second_run_uses_everything_again(run):
    first = run()
    assert states(first) == {"words": "sealed", "text": "sealed"}
    assert (ROOT / "text@1/text.txt").read_text() == "ichi-ni-san"
    second = run()
    assert states(second) == {"words": "reused", "text": "reused"}
    assert second.artifacts["text"].digest == first.artifacts["text"].digest


def test_one_step_is_made_alone_beside_runs_that_make_others(run):
    """Several may work in one folder, each at a step of its own; a whole run wants it alone."""
    with pytest.raises(Refused, match="text needs words, which is not made yet") as caught:
        run(only="text")
    assert caught.value.hint.endswith("lab.yaml --until words")
    run(until="words")
    with files.hold(ROOT / ".lock", busy="x", shared=True):
        with files.hold(ROOT / ".work/text.lock", busy="x"), pytest.raises(Refused) as caught:
            run(only="text")
        assert caught.value.message == f"another run makes text in {ROOT}"
        with pytest.raises(Refused, match="another run works"):
            run()
        assert states(run(only="text")) == {"words": "reused", "text": "sealed"}
    assert states(run()) == {"words": "reused", "text": "reused"}
    with pytest.raises(Refused, match="words@1 was made from something else"):
        run("words.note=x", only="text")


def test_of_the_steps_before_it_only_those_it_needs_are_looked_at(run):
    two = "name: two\nseed: 3\nsteps:\n  a: {uses: lab/words, words: [x]}\n" + (
        "  b: {uses: lab/words, words: [y]}\n"
    )
    assert states(run(text=two, only="b")) == {"b": "sealed"}
    assert states(run(text=two)) == {"a": "sealed", "b": "reused"}


def test_the_same_recipe_in_another_folder_gives_the_same_digests(run):
    run()
    run(root=Path("elsewhere"))
    assert digests() == digests(Path("elsewhere"))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("words.note=x", "config.note:  is now x"),
        ("words.words.0=one", "config.words[0]: ichi is now one"),
        ("words.rules.0.longest=3", "config.rules[0].longest: 9 is now 3"),
        ("seed=8", "seed: 7 is now 8"),
        ("licence=CC0-1.0", "licence: MIT is now CC0-1.0"),
    ],
)
def test_a_changed_recipe_under_the_same_name_is_refused_with_the_reason(run, setting, reason):
    run()
    before = digests()
    with pytest.raises(Refused) as caught:
        run(setting)
    assert "words@1 was made from something else" in caught.value.message
    assert reason in caught.value.message
    assert "--set version=2" in caught.value.hint
    assert "--allow-drift" in caught.value.hint
    assert digests() == before
    assert run_files()[-1]["state"] == "failed"


def test_with_a_reason_the_old_result_is_kept_aside_and_the_reason_is_stored(run):
    old = run().artifacts["words"]
    outcome = run("words.note=x", allow_drift="the note was wrong")
    assert states(outcome) == {"words": "sealed", "text": "sealed"}
    manifest = open_artifact(ROOT / "words@1").manifest
    assert manifest["circumstances"]["drift"] == "the note was wrong"
    assert run_files()[-1]["steps"]["words"]["drift"] == "the note was wrong"
    kept = open_artifact(ROOT / "superseded" / f"words@1.{old.digest[:12]}")
    assert kept.digest == old.digest


def test_a_drift_that_was_interrupted_must_be_allowed_again(run):
    old = run().artifacts["words"]
    with pytest.raises(RuntimeError):
        run("words.crash=boom", allow_drift="try")
    assert open_artifact(ROOT / "words@1").digest == old.digest
    with pytest.raises(Refused):
        run("words.note=x")


def test_a_new_version_is_made_beside_the_old_and_reuses_what_did_not_change(run):
    first = run()
    second = run("version=2", "text.with_=+")
    assert states(second) == {"words": "reused", "text": "sealed"}
    assert second.artifacts["words"].path == ROOT / "words@1"
    assert second.artifacts["text"].name == "lab/text@2"
    assert open_artifact(ROOT / "text@1").digest == first.artifacts["text"].digest


def test_changed_code_is_a_change(run, lab):
    run()
    with (lab / "steps.py").open("a") as stream:
        stream.write("\nMENDED = True\n")
    with pytest.raises(Refused, match=r"code\[0\]: lab\+"):
        run()


def test_comments_docstrings_and_modules_that_no_step_reaches_are_no_change(run, lab):
    run()
    source = (lab / "steps.py").read_text()
    assert '"""' in source
    (lab / "steps.py").write_text("# a word\n" + source.replace('"""', '"""Changed: ', 1))
    (lab / "commands.py").write_text("NEW = 1\n")
    assert set(states(run()).values()) == {"reused"}


def test_changed_code_of_a_plugin_in_one_file_is_a_change(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    module = tmp_path / "single_file.py"
    module.write_text("A = 1\n")
    before = environment.code_identity("single_file")
    environment.code_identity.cache_clear()
    reachable_code.forget()
    module.write_text("A = 2\n")
    assert environment.code_identity("single_file") != before


def test_an_altered_result_is_not_used_again(run):
    run()
    (ROOT / "words@1/words.txt").write_text("longer than it was before")
    with pytest.raises(Refused, match=r"words\.txt has 25 bytes, sealed were"):
        run()


def test_runs_are_in_order_though_the_clock_was_set_back(run):
    run(until="words")
    [path] = ROOT.glob("runs/*.json")
    value = json.loads(path.read_bytes())
    later = "29991231T235959999999Z-abcdef"
    path.with_name(f"{later}.json").write_text(json.dumps({**value, "id": later}))
    for state in ("sealed", "reused"):
        assert states(run(until="text"))["text"] == state
    names = [path.stem for path in sorted(ROOT.glob("runs/*.json"))]
    assert names[1] == later
    assert run_files()[-1]["steps"]["text"]["state"] == "reused"


def test_a_cache_that_cannot_be_written_is_none(run, monkeypatch, tmp_path):
    (tmp_path / "cache/yoriai/code.json").mkdir(parents=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert set(states(run()).values()) == {"sealed"}


def test_until_stops_after_a_step(run):
    assert states(run(until="words")) == {"words": "sealed"}


def test_an_artifact_from_elsewhere_is_an_input(run):
    run(root=Path("other"))
    text = "name: use\nsteps:\n  text: {uses: lab/join, from: other/words@1}\n"
    outcome = run(text=text)
    assert states(outcome) == {"text": "sealed"}
    folders = outcome.artifacts["text"].manifest["circumstances"]["folders"]
    assert (ROOT / folders[0]).resolve() == Path("other/words@1").resolve()
    assert outcome.artifacts["text"].manifest["sources"][0]["name"] == "lab"


# --- resuming ---------------------------------------------------------------------------------


def test_a_killed_step_resumes_and_ends_with_the_digest_of_an_uninterrupted_run(
    recipe, process, tmp_path
):
    path, log = str(recipe(SLOW)), str(tmp_path / "log")
    assert process("run", path, "--out", "whole").code == 0
    killed = process("run", path, "--out", "cut", LAB=f"{int(signal.SIGKILL)}@3", LAB_LOG=log)
    assert killed.code == -signal.SIGKILL
    [left] = run_files(Path("cut"))
    assert left["state"] == "running"
    plan = process("run", path, "--out", "cut", "--dry-run", "--json").json["plan"]
    assert plan[0]["resumes"] is True
    again = process("run", path, "--out", "cut", LAB_LOG=log)
    assert again.code == 0
    assert "had died without a word" in again.err
    assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "3", "4"]
    assert digests(Path("cut")) == digests(Path("whole"))
    dead, done = run_files(Path("cut"))
    assert (dead["state"], dead["error"]["code"]) == ("failed", "process-died")
    assert done["state"] == "completed"
    assert done["steps"]["parts"]["resumed"] is True
    assert list(Path("cut/.work").iterdir()) == []


@pytest.mark.parametrize(
    ("number", "state", "code", "error"),
    [
        (signal.SIGINT, "cancelled", 130, "interrupted"),
        (signal.SIGTERM, "timed-out", 6, "timed-out"),
        (signal.SIGUSR1, "timed-out", 6, "timed-out"),
    ],
)
def test_a_signal_ends_the_run_in_good_order_though_the_step_swallows_exceptions(
    recipe, yoriai, monkeypatch, number, state, code, error
):
    monkeypatch.setenv("LAB", f"{int(number)}@2")
    answer = yoriai("run", str(recipe(SLOW)), "--out", "cut", "--json")
    assert answer.code == code
    assert answer.json["error"]["code"] == error
    [value] = run_files(Path("cut"))
    assert (value["state"], value["steps"]["parts"]["state"]) == (state, "stopped")
    assert value["ended"]
    assert value["error"]["code"] == error
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    monkeypatch.delenv("LAB")
    assert yoriai("run", str(recipe(SLOW)), "--out", "cut").code == 0


def test_the_time_limit_ends_the_run_in_good_order(recipe, yoriai, monkeypatch):
    monkeypatch.setenv("LAB", "wait")
    answer = yoriai("run", str(recipe(SLOW)), "--out", "cut", "--time-limit", "0.001")
    assert answer.code == 6
    assert "the time limit was reached" in answer.err
    assert run_files(Path("cut"))[0]["state"] == "timed-out"


def test_a_failing_step_is_written_down_and_what_was_sealed_is_used_again(run):
    text = yaml.safe_dump({"name": "lab", "steps": {
        "good": {"uses": "lab/words"}, "bad": {"uses": "lab/words", "crash": "boom"},
    }}, sort_keys=False)  # fmt: skip
    with pytest.raises(RuntimeError, match="boom"):
        run(text=text)
    [value] = run_files()
    assert value["state"] == "failed"
    assert value["error"]["message"] == "boom"
    assert value["error"]["type"] == "RuntimeError"
    assert any("steps.py" in line for line in value["error"]["traceback"])
    places = [line for line in value["error"]["traceback"] if 'File "' in line]
    assert any('File "yoriai/runner.py"' in line for line in places)
    assert not any('File "/' in line for line in places)
    assert value["steps"]["good"]["state"] == "sealed"
    assert value["steps"]["bad"]["state"] == "stopped"
    assert states(run("bad.crash=", text=text)) == {"good": "reused", "bad": "sealed"}


def test_a_second_run_in_the_same_folder_is_refused(recipe, yoriai):
    ROOT.mkdir(parents=True)
    with files.hold(ROOT / ".lock", busy=""):
        answer = yoriai("run", str(recipe()), "--json")
    assert answer.code == 4
    assert answer.json["error"]["message"] == "another run works in build/lab"
    assert not list(ROOT.glob("runs/*.json"))


# --- the disk ---------------------------------------------------------------------------------


def full(*arguments, **options):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_disk_that_fills_up_while_a_step_works_is_a_clear_error(run, monkeypatch):
    monkeypatch.setattr(runner.artifacts.files, "fsync_tree", full)
    with pytest.raises(YoriaiError, match="No space left on device") as caught:
        run()
    assert "free some space" in caught.value.hint
    assert run_files()[0]["state"] == "failed"
    monkeypatch.undo()


def test_too_little_space_is_told_before_anything_runs(run, monkeypatch):
    monkeypatch.setattr(runner, "MINIMUM_FREE_MB", 2**60)
    with pytest.raises(YoriaiError, match="MB are free"):
        run()
    assert not list(ROOT.glob("*/artifact.json"))


def test_a_place_that_cannot_be_written_is_told(run):
    Path("taken").write_text("")
    with pytest.raises(YoriaiError, match="cannot write"):
        run(root=Path("taken/here"))


# --- moment hooks -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError('no GPU')",
        "return 3",
        "return {'x': object()}",
        "return {'x': float('nan')}",
    ],
)
def test_a_moment_hook_that_goes_wrong_is_recorded_and_the_run_goes_on(plant, run, body):
    plant(
        "ant",
        f"from yoriai import hookimpl\n\n@hookimpl\ndef yoriai_run_started(run):\n    {body}\n",
    )
    assert states(run()) == {"words": "sealed", "text": "sealed"}
    [value] = run_files()
    assert value["state"] == "completed"
    [row] = value["plugin_errors"]
    assert (row["plugin"], row["hook"]) == ("ant", "yoriai_run_started")


def test_facts_of_a_moment_hook_are_in_the_run_file(plant, run):
    code = "from yoriai import hookimpl\n\n@hookimpl\ndef yoriai_run_started(run):\n"
    plant("ant", code + "    return {'steps': list(run.steps), 'recipe': run.recipe}\n")
    run()
    [value] = run_files()
    assert value["environment"]["ant"] == {"steps": ["words", "text"], "recipe": "lab"}


ENGINES = """
from yoriai import Entry, hookimpl


def entry(name, attribute):
    return Entry(name=name, target=f"ant.rules:{attribute}", summary=f"{name}.", licence="MIT")


@hookimpl
def yoriai_engines():
    return [entry("bench", "Bench")]


@hookimpl
def yoriai_steps():
    return [entry("ask", "Ask")]
"""
BENCH = """
from yoriai import Engine, Made, Step


class Bench(Engine):
    workers: int = 1


class Ask(Step):
    makes = "words"

    def run(self, job):
        (job.out / "words.txt").write_text("same")
        job.metric(workers=job.engine.workers if job.engine else 0)
        return Made()
"""


def test_an_engine_reaches_the_steps_and_is_no_part_of_what_they_make(plant, run):
    plant("ant", ENGINES, files={"rules.py": BENCH})
    text = "name: e\n{}steps: {{a: {{uses: ant/ask}}}}\n"
    without = run(text=text.format(""))
    setting = "engine={use: ant/bench, workers: 7}"
    named = run(setting, text=text.format(""), root=ROOT / "again")
    assert named.artifacts["a"].digest == without.artifacts["a"].digest
    asked = [
        json.loads(line)["workers"]
        for path in sorted((ROOT / "again").glob("runs/*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert asked == [7]
    assert named.run["resolved"]["engine"] == {"use": "ant/bench", "workers": 7}


def test_a_misspelt_engine_is_refused_with_the_nearest_name_and_the_line(plant, run):
    plant("ant", ENGINES, files={"rules.py": BENCH})
    text = "name: e\nengine: {use: ant/bench, worker: 2}\nsteps: {a: {uses: ant/ask}}\n"
    with pytest.raises(UsageError, match=r":2: engine\.worker: unknown key.*'workers'"):
        run(text=text)


def test_an_input_of_the_wrong_kind_is_refused_by_the_job_too(registry):
    from yoriai.step import Job

    job = Job(name="a", out=Path(), scratch=Path(), inputs=(), seed=0, registry=registry,
              metric=print, watch=lambda items, label, total: iter(items))  # fmt: skip
    with pytest.raises(UsageError, match="step 'a' needs one words, 'from' gives 0"):
        job.one("words")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_strikes_inside_a_callback_is_not_lost():
    class Finalised:
        def __del__(self):  # Python ignores what is raised here
            signal.raise_signal(signal.SIGINT)

    def watch(items, label, total):
        return iter(items)

    with pytest.raises(KeyboardInterrupt), stopping.orderly_end():  # noqa: PT012
        Finalised()
        list(runner._heeding(watch)([1, 2], "work", 2))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


SIGNALS = [
    (signal.SIGINT, "cancelled", 130),
    (signal.SIGTERM, "timed-out", 6),
    (signal.SIGUSR1, "timed-out", 6),
]


def knock(monkeypatch, where, name, number, *, before=True):
    """Let a signal strike as a function is called, or as it returns; only the first time."""
    real, left = getattr(where, name), [True]

    def call(*words, **options):
        strike = left and left.pop()
        if strike and before:
            signal.raise_signal(number)
        value = real(*words, **options)
        if strike and not before:
            signal.raise_signal(number)
        return value

    monkeypatch.setattr(where, name, call)


@pytest.mark.parametrize(("number", "state", "code"), SIGNALS)
@pytest.mark.parametrize("name", ["load_recipe", "describe_environment"])
def test_a_signal_before_the_run_began_has_the_documented_exit_code(
    recipe, yoriai, monkeypatch, number, state, code, name
):
    from yoriai import recipe as recipes

    knock(monkeypatch, recipes if name == "load_recipe" else environment, name, number)
    assert yoriai("run", str(recipe(SLOW)), "--out", "cut").code == code
    assert run_files(Path("cut")) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


KNOCKING = """
import os, sys
os.kill(os.getpid(), {number})
sys.path.remove(os.path.dirname(os.path.dirname(__file__)))
del sys.modules["click"]
import click
"""


@pytest.mark.parametrize(("number", "state", "code"), SIGNALS)
def test_a_signal_while_the_program_is_imported_has_the_documented_exit_code(
    recipe, process, tmp_path, number, state, code
):
    (tmp_path / "first" / "click").mkdir(parents=True)
    script = tmp_path / "first" / "click" / "__init__.py"
    script.write_text(KNOCKING.format(number=int(number)))
    first = str(tmp_path / "first")
    answer = process("run", str(recipe(SLOW)), "--out", "cut", "--json", PYTHONPATH=first)
    assert answer.code == code
    assert answer.json["error"]["code"] in ("interrupted", "timed-out")
    assert "Traceback" not in answer.err
    assert not Path("cut").exists()
    other = process("list", PYTHONPATH=first)  # no run: Python's own way out, without a traceback
    assert other.code == (130 if number == signal.SIGINT else -number)
    assert "Traceback" not in other.err


@pytest.mark.parametrize(("number", "state", "code"), SIGNALS)
@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_while_the_run_file_is_first_written_ends_the_run_in_good_order(
    recipe, yoriai, monkeypatch, number, state, code, times
):
    for _ in range(times):
        knock(monkeypatch, files, "write_atomically", number, before=False)
    assert yoriai("run", str(recipe(SLOW)), "--out", "cut").code == code
    [value] = run_files(Path("cut"))
    assert (value["state"], bool(value["ended"])) == (state, True)
    assert not list(Path("cut/runs").glob(".*"))


@pytest.mark.parametrize(("number", "state", "code"), SIGNALS)
def test_a_signal_after_the_run_has_ended_leaves_it_completed_and_keeps_its_exit_code(
    recipe, yoriai, monkeypatch, number, state, code
):
    from yoriai import page

    knock(monkeypatch, page, "write_page", number)
    assert yoriai("run", str(recipe(SLOW)), "--out", "cut").code == code
    assert run_files(Path("cut"))[0]["state"] == "completed"
    assert yoriai("run", str(recipe(SLOW)), "--out", "cut").code == 0
    assert Path("cut/page").exists()


@pytest.mark.parametrize(("number", "state", "code"), SIGNALS)
def test_a_second_signal_while_the_end_is_written_down_does_not_lose_it(
    recipe, yoriai, monkeypatch, number, state, code
):
    monkeypatch.setenv("LAB", f"{int(number)}@2")
    knock(monkeypatch, runner, "_ending", number)
    assert yoriai("run", str(recipe(SLOW)), "--out", "cut").code == code
    [value] = run_files(Path("cut"))
    assert (value["state"], value["steps"]["parts"]["state"]) == (state, "stopped")


def test_no_unfinished_work_is_left_after_a_kill_between_the_sealing_and_the_tidying(
    recipe, yoriai, monkeypatch
):
    path = str(recipe())
    with monkeypatch.context() as patch:
        patch.setattr(runner.Workspace, "forget_work", lambda self, step: None)
        assert yoriai("run", path, "--out", "cut").code == 0
    assert len(list(Path("cut/.work").iterdir())) == 2
    assert yoriai("run", path, "--out", "cut").code == 0
    assert list(Path("cut/.work").iterdir()) == []


def test_a_signal_is_told_though_the_disk_takes_no_ending(recipe, yoriai, monkeypatch):
    def end(self, *words):
        raise YoriaiError("no space")

    monkeypatch.setenv("LAB", f"{int(signal.SIGTERM)}@2")
    monkeypatch.setattr("yoriai.run_file.Run.end", end)
    answer = yoriai("run", str(recipe(SLOW)), "--out", "cut")
    assert answer.code == 6
    assert "the run file says no end: no space" in answer.err
