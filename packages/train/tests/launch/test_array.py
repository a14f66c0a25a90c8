"""Arrays of jobs: what is submitted, what each task makes, and tasks that are queued again.

Small stand-ins of sbatch and qsub run an array's tasks one after the other, with the variables
that the real ones set.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from yoriai import UsageError
from yoriai_train.launch import array, schedulers
from yoriai_train.launch.launch_file import Launch

HEADER = f"""#!{sys.executable} -SE
import json, os, pathlib, re, signal, subprocess, sys
place = pathlib.Path(os.environ["STAND"])
name, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
with (place / "calls").open("a") as calls:
    calls.write(json.dumps([name, *words]) + "\\n")
number = (place / "calls").read_text().count(f'["{{name}}"') + 700

def run(**variables):
    env = {{**os.environ, **variables}}
    return subprocess.run(["bash", words[-1]], env=env, stdin=subprocess.DEVNULL).returncode

text = pathlib.Path(words[-1]).read_text() if words and words[-1].endswith(".sh") else ""
"""
SBATCH = """
found = re.search("^#SBATCH --array=1-([0-9]+)$", text, re.M)
here = {"SLURM_SUBMIT_DIR": os.getcwd(), "SLURM_JOB_NODELIST": "n1"}
for task in range(1, int(found[1]) + 1) if found else [0]:
    more = {"SLURM_ARRAY_TASK_ID": str(task)} if task else {}
    run(SLURM_JOB_ID=str(number * 10 + task), **here, **more)
print(number)
"""
QSUB = """
told = dict(word.split("=") for word in words if word.startswith("YORIAI_INDEX="))
found = re.search("^#(PBS -J|[$] -t) 1-([0-9]+)$", text, re.M)
terse = "-terse" in words
for task in range(1, int(found[2]) + 1) if found else [0]:
    if terse:
        more = {"SGE_TASK_ID": str(task) if task else "undefined"}
        code = run(JOB_ID=str(number), SGE_O_WORKDIR=os.getcwd(), **told, **more)
        if code == 99:
            run(JOB_ID=str(number), SGE_O_WORKDIR=os.getcwd(), **told, **more)
    else:
        more = {"PBS_ARRAY_INDEX": str(task)} if task else {}
        job = f"{number}[{task}].srv" if task else f"{number}.srv"
        run(PBS_JOBID=job, PBS_O_WORKDIR=os.getcwd(), **told, **more)
if terse:
    print(f"{number}.1-{found[2]}:1" if found else number)
else:
    print(f"{number}[].srv" if found else f"{number}.srv")
"""
YORIAI = """
with (place / "yoriai").open("a") as out:
    out.write(json.dumps(words) + "\\n")
if "--only" in words and words[2] == os.environ.get("LONG"):
    events = pathlib.Path("build/launch/r-1-2.events").read_text()
    if events.count("\\tstarted\\t") == 1:  # until it is told to end
        signal.pause()
"""
STANDS = {
    "sbatch": SBATCH, "qsub": QSUB, "yoriai": YORIAI, "scancel": "", "qdel": "",
    "qstat": 'print((place / "qstat-says").read_text())',
}  # fmt: skip
PARTS = ["a-full", "b-full", "c"]
AFTER = ["yoriai", "train", "matrix", "--run", "--", "m.yaml"]


@pytest.fixture
def stand(tmp_path, monkeypatch):
    for name in ("work", "stand", "bin"):
        (tmp_path / name).mkdir()
    for name, text in STANDS.items():
        (tmp_path / "bin" / name).write_text(HEADER + text)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("STAND", str(tmp_path / "stand"))
    for name in [n for n in os.environ if n.startswith(("SLURM", "PBS", "SGE", "YORIAI_"))]:
        monkeypatch.delenv(name)
    return tmp_path


def launch_of(stand: Path, scheduler: str, **changes) -> Launch:
    keys = {
        "recipe": "r.yaml", "scheduler": scheduler.partition("-")[0], "queue": "q", "group": "g",
        "walltime": "1:00:00", "directory": str(stand / "work"), "options": {"out": "o"},
    }  # fmt: skip
    if scheduler == "sge-pe":
        keys |= {"parallel_environment": "smp"}
    return Launch(**{**keys, **changes})


def read(place: Path) -> list:
    return [json.loads(line) for line in place.read_text().splitlines()]


@pytest.mark.parametrize(
    ("scheduler", "first", "waits", "last", "tasks"),
    [
        ("slurm", [], ["--dependency=afterok:701", "--kill-on-invalid-dep=yes"],
         ["--dependency=afterany:702", "--kill-on-invalid-dep=yes"], "702_2"),
        ("pbs", [], ["-W", "depend=afterok:701.srv"], ["-W", "depend=afterany:702[].srv"],
         "702[2].srv"),
        ("sge", ["-terse", "-g", "g"], ["-terse", "-g", "g", "-hold_jid", "701"],
         ["-terse", "-g", "g", "-hold_jid", "702"], "702.2"),
        ("sge-pe", ["-terse"], ["-terse", "-hold_jid", "701"], ["-terse", "-hold_jid", "702"],
         "702.2"),
    ],
)  # fmt: skip
def test_steps_before_then_each_part_as_a_task_then_what_comes_after(
    stand, scheduler, first, waits, last, tasks
):
    launch = launch_of(stand, scheduler)
    made = array.scripts(launch, until="base", parts=PARTS, after=AFTER)
    notes = array.submit(launch, made, PARTS)
    assert [n["id"] for n in notes] == ["r-1-before", "r-1-1", "r-1-2", "r-1-3", "r-1-after"]
    assert notes[2]["job"] == tasks
    calls = [words[1:] for words in read(stand / "stand/calls") if words[0] in ("sbatch", "qsub")]
    parsable = ["--parsable"] if scheduler == "slurm" else []
    assert calls == [
        [*parsable, *first, "build/launch/r-1-before.sh"],
        [*parsable, *waits, "build/launch/r-1.sh"],
        [*parsable, *last, "build/launch/r-1-after.sh"],
    ]
    assert read(stand / "stand/yoriai") == [
        ["run", "--until", "base", "--out", "o", "--", "r.yaml"],
        *(["run", "--only", part, "--out", "o", "--", "r.yaml"] for part in PARTS),
        AFTER[1:],
    ]
    # Each task is a job of its own for status, logs and cancel.
    assert set(schedulers.ids(stand / "work")) == {n["id"] for n in notes}
    second = schedulers.status(stand / "work", "r-1-2").job
    assert second == {"slurm": "7022"}.get(scheduler, tasks)
    states = {n["id"]: schedulers.status(stand / "work", n["id"]).state for n in notes}
    assert set(states.values()) == {"done"}


@pytest.mark.parametrize("scheduler", ["pbs", "sge", "sge-pe"])
def test_a_task_at_its_limit_is_queued_again_alone(stand, scheduler, monkeypatch):
    clock = stand / "stand" / "clock"
    # bash reads this first: the clock of the first attempt of the second task is at its limit.
    clock.write_text(
        '[ "${SGE_TASK_ID:-${PBS_ARRAY_INDEX:-}}" = 2 ] && [ ! -e build/launch/r-1-2.events ]'
        " && SECONDS=3600\n"
    )
    monkeypatch.setenv("BASH_ENV", str(clock))
    monkeypatch.setenv("LONG", "b-full")
    launch = launch_of(stand, scheduler)
    made = array.scripts(launch, until="", parts=PARTS, after=AFTER)
    assert made.before == ""
    array.submit(launch, made, PARTS)
    done = [words[2] for words in read(stand / "stand/yoriai") if "--only" in words]
    assert set(done) == set(PARTS)  # the first attempt may end before it says anything
    assert done.count("a-full") == done.count("c") == 1
    told = schedulers.status(stand / "work", "r-1-2")
    assert (told.state, told.attempt) == ("done", 2)
    again = [words for words in read(stand / "stand/calls") if "YORIAI_INDEX=2" in words]
    if scheduler == "sge-pe":  # exit code 99 is enough
        assert not again
        return
    assert again[0][-5:] == [
        "-v", "YORIAI_INDEX=2", "-o", "build/launch/r-1-2.out", "build/launch/r-1-2.sh"
    ]  # fmt: skip
    kept = (stand / "work/build/launch/r-1-2.sh").read_text().splitlines()
    whole = made.texts["r-1"].splitlines()
    [left_out] = [line for line in whole if line not in kept]
    assert left_out in ("#PBS -J 1-3", "#$ -t 1-3")


def test_a_task_writes_what_the_scheduler_says_into_a_file_of_its_own(stand):
    for scheduler, line in (
        ("slurm", "#SBATCH --output=build/launch/r-1-%a.out"),
        ("pbs", "#PBS -o build/launch/r-1-^array_index^.out"),
        ("sge", "#$ -o build/launch/r-1-$TASK_ID.out"),
    ):
        launch = launch_of(stand, scheduler)
        made = array.scripts(launch, until="", parts=PARTS, after=AFTER)
        assert line in made.texts["r-1"].splitlines()
        subprocess.run(["bash", "-n"], input=made.texts["r-1"], text=True, check=True)


def test_a_waiting_task_of_grid_engine_is_found_and_cancelled_by_its_number(stand):
    launch = launch_of(stand, "sge")
    (stand / "work/build/launch").mkdir(parents=True)
    for number in (1, 2, 7):
        schedulers.write_note(launch, f"r-1-{number}", f"702.{number}")
    (stand / "stand/qstat-says").write_text(
        "job-ID prior name user state submit/start at queue slots ja-task-ID\n"
        "-----\n"
        "702 0.5 r-1 me r 11/29/2026 10:00:00 all.q@n1 1 1\n"
        "702 0.5 r-1 me qw 11/29/2026 10:00:00 1 2-6:1\n"
    )
    found = [schedulers.status(stand / "work", f"r-1-{n}").state for n in (1, 2, 7)]
    assert found == ["running", "queued", "vanished"]
    schedulers.cancel(stand / "work", "r-1-2")
    assert ["qdel", "702", "-t", "2"] in read(stand / "stand/calls")


def test_without_a_queue_there_is_no_array(stand):
    launch = launch_of(stand, "local", walltime=0)
    with pytest.raises(UsageError, match="local has no arrays") as caught:
        array.scripts(launch, until="", parts=PARTS, after=AFTER)
    assert "--run" in caught.value.hint
    launch = launch_of(stand, "slurm", options={"until": "base"})
    with pytest.raises(UsageError, match=r"options\.until"):
        array.scripts(launch, until="", parts=PARTS, after=AFTER)
