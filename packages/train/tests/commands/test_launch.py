"""``yoriai train launch``, ``status``, ``logs`` and ``cancel`` as a user meets them."""

import json
import os

import pytest
from click.testing import CliRunner

from yoriai import NotFound, UsageError
from yoriai.cli import cli

RECIPE = {
    "name": "tiny",
    "steps": {
        "base": {
            "uses": "train/pretrain",
            "batch": 4,
            "strategy": {"use": "train/ddp", "processes": 2},
        }
    },
}


@pytest.fixture
def project(tmp_path, monkeypatch, pieces, shards):
    """A folder with a recipe, a launch file, and a yoriai that ends at once."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith(("SLURM", "YORIAI_"))]:
        monkeypatch.delenv(name)
    recipe = json.loads(json.dumps(RECIPE))
    recipe["steps"]["base"]["from"] = [str(shards.path), str(pieces.path)]
    (tmp_path / "tiny.yaml").write_text(json.dumps(recipe))
    (tmp_path / "launch.yaml").write_text("recipe: tiny.yaml\n")
    stand_in = tmp_path / "bin" / "yoriai"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\necho "ran: $*"\nexit "$(cat code 2>/dev/null || echo 0)"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:/usr/bin:/bin")
    return tmp_path


def yoriai(*words: str):
    return CliRunner().invoke(cli, ["train", *words], catch_exceptions=False, standalone_mode=False)


def launch(*words: str) -> dict:
    note = json.loads(yoriai("launch", "launch.yaml", "--json", *words).output)
    os.waitpid(int(note["job"]), 0)
    return note


def test_a_dry_run_prints_the_script_and_leaves_nothing_behind(project):
    shown = yoriai("launch", "launch.yaml", "--dry-run").output
    assert shown.startswith("#!/bin/bash\n# Job tiny-1,")
    assert not (project / "build").exists()
    (project / "launch.yaml").write_text("recipe: tiny.yaml\nwalltime: 1:00:00\n")
    shown = yoriai("launch", "launch.yaml", "--dry-run", "--scheduler", "slurm").output
    assert "#SBATCH --time=01:00:00" in shown


def test_a_job_is_launched_and_its_state_and_words_are_shown(project):
    assert launch()["id"] == "tiny-1"
    assert "tiny-1 is done (local" in yoriai("status", "tiny-1").output
    rows = json.loads(yoriai("status", "--json").output)["jobs"]
    assert [(row["id"], row["state"]) for row in rows] == [("tiny-1", "done")]
    assert "ran: run -- tiny.yaml\n" in yoriai("logs").output
    assert "ran: run -- tiny.yaml\n" in yoriai("logs", "tiny-1", "--follow").output
    assert "ran: run" in json.loads(yoriai("logs", "--json").output)["log"]
    (project / "code").write_text("4")
    launch()
    assert "tiny-2 is failed: exit code 4" in yoriai("status", "tiny-2").output
    told = yoriai("status").output.splitlines()
    assert told[0].split()[:3] == ["id", "state", "scheduler"]
    assert [line.split()[:2] for line in told[2:]] == [["tiny-1", "done"], ["tiny-2", "failed"]]


def test_a_note_holds_no_path_of_this_machine(project):
    launch()
    for path in (project / "build" / "launch").iterdir():
        if path.suffix in (".json", ".sh", ".events"):
            assert str(project) not in path.read_text()


def test_unknown_jobs_and_an_empty_folder_are_told_plainly(project):
    assert yoriai("status").output == "no jobs were launched here\n"
    with pytest.raises(NotFound, match="no jobs were launched here"):
        yoriai("logs")
    launch()
    with pytest.raises(NotFound, match="there is no job 'tiny-11'"):
        yoriai("cancel", "tiny-11")


def test_a_recipe_that_would_fail_in_the_queue_is_refused_before_it(project):
    (project / "launch.yaml").write_text("recipe: tiny.yaml\ngpus_per_node: 8\n")
    with pytest.raises(UsageError, match=r"base has 2 processes on each node.*8 GPUs") as told:
        yoriai("launch", "launch.yaml")
    assert "base.strategy.processes=8" in told.value.hint
    (project / "launch.yaml").write_text("recipe: tiny.yaml\nscheduler: torchrun\nnodes: 3\n")
    with pytest.raises(UsageError, match="batch of 4 cannot be shared by 3 nodes of 2 processes"):
        yoriai("launch", "launch.yaml")
    (project / "launch.yaml").write_text("recipe: tiny.yaml\noptions: {until: bas}\n")
    with pytest.raises(NotFound, match="no step 'bas'"):
        yoriai("launch", "launch.yaml")
    (project / "launch.yaml").write_text("recipe: other.yaml\n")
    with pytest.raises(NotFound, match=r"no recipe other\.yaml"):
        yoriai("launch", "launch.yaml")
    assert not (project / "build").exists()


def test_jobs_of_another_folder_are_named_by_it(project, tmp_path_factory, monkeypatch):
    (project / "launch.yaml").write_text(f"recipe: tiny.yaml\ndirectory: {project}\n")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    told = yoriai("launch", str(project / "launch.yaml"), "--json").output
    os.waitpid(json.loads(told)["job"] and int(json.loads(told)["job"]), 0)
    assert "is done" in yoriai("status", "tiny-1", "--directory", str(project)).output


def test_join_by_hand_is_refused(project):
    with pytest.raises(UsageError, match="no further node"):
        yoriai("join")


def test_a_log_does_nothing_to_the_terminal_and_is_decoded_across_its_chunks(project):
    job = launch()["id"]
    log = project / "build/launch" / f"{job}.log"
    log.write_bytes(b"\x1b[2Jx" + "あ".encode() * 2**19 + b"\xff\n")
    shown = yoriai("logs", job).output
    assert "\\x1b[2J" in shown
    assert shown.count("あ") == 2**19
    assert shown.count("\ufffd") == 1
