"""Scripts run by small stand-ins of sbatch, qsub, mpirun and their like, requeue included.

The stand-ins run the script at once and come back when it has ended, with the variables that the
scheduler sets. The stand-in of yoriai works for ever until it is told to stop, in as many attempts
as the file ``long`` says, and then is done.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from yoriai import NotFound, Refused, UsageError, YoriaiError
from yoriai_train.job.nodes import FOLDER
from yoriai_train.launch import schedulers
from yoriai_train.launch.launch_file import Launch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

HEADER = f"""#!{sys.executable} -SE
import json, os, pathlib, signal, subprocess, sys, time
place = pathlib.Path(os.environ["STAND"])
name, words = pathlib.Path(sys.argv[0]).name, sys.argv[1:]
with (place / "calls").open("a") as calls:
    calls.write(json.dumps([name, *words]) + "\\n")

def run(script, **variables):
    env = {{**os.environ, **variables}}
    return subprocess.run(["bash", script], env=env, stdin=subprocess.DEVNULL).returncode
"""

YORIAI = """
told = {k: v for k, v in os.environ.items() if k.startswith(("YORIAI", "PREPARED"))}
with (place / "yoriai").open("a") as out:
    out.write(json.dumps({"words": words, **told}) + "\\n")
if words[:2] == ["train", "join"]:
    sys.exit(int((place / "join-code").read_text()) if (place / "join-code").exists() else 0)
long = place / "long"
events = pathlib.Path("build/launch/r-1.events")
attempt = events.read_text().count("\\tstarted\\t") if events.exists() else 1
if long.exists() and attempt <= int(long.read_text()):
    # Blocked, not handled: between a handler and a pause a signal could be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for waiter in ("limit", "started"):  # named pipes: whoever opens them hears that it works
        if (place / waiter).exists():
            (place / waiter).write_text("works")
    signal.sigwait({signal.SIGTERM})
    sys.exit(int((place / "stop-code").read_text()) if (place / "stop-code").exists() else 6)
if (place / "lost").exists():
    while "gave up" not in pathlib.Path(sys.argv[0] + ".log").read_text():
        time.sleep(0.05)
sys.exit(int((place / "code").read_text()) if (place / "code").exists() else 0)
"""

# It runs the job again as often as scontrol asks for it; --signal comes when yoriai works.
SBATCH = """
(place / "limit").unlink(missing_ok=True)
text = pathlib.Path(words[-1]).read_text()
again, attempt = True, 0
while again:
    attempt += 1
    (place / "requeue").unlink(missing_ok=True)
    os.mkfifo(place / "limit")
    job = subprocess.Popen(["bash", words[-1]], env={
        **os.environ, "SLURM_JOB_ID": "4242", "SLURM_SUBMIT_DIR": os.getcwd(),
        "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_ON_NODE": "4"})
    if (place / "long").exists() and attempt <= int((place / "long").read_text()):
        (place / "limit").read_text()
        assert "--signal=B:USR1@" in text
        os.kill(job.pid, signal.SIGUSR1)
    job.wait()
    (place / "limit").unlink()
    again = (place / "requeue").exists()
print("4242;cluster")
"""
SCONTROL = """
if words[:2] == ["show", "hostnames"]:
    print("n1\\nn2")
elif words[:2] == ["--oneliner", "show"]:
    known = place / "address"
    print(f"NodeName={words[-1]} Arch=x86_64 NodeAddr=" + (known.read_text() if known.exists()
          else words[-1]) + " NodeHostName=n Version=22.05.8")
elif words[0] == "requeue":
    (place / "requeue").touch()
"""
EACH = """
rest = words[:]
count = 1
while rest and rest[0].startswith("-"):
    key, _, value = rest.pop(0).partition("=")
    if key in ("-np", "--hostfile", "--map-by", "--bind-to"):
        value = rest.pop(0)
    if key in ("--ntasks", "-np"):
        count = int(value)
    if key == "--hostfile":
        (place / "hosts-seen").write_text(pathlib.Path(value).read_text())
"""
SRUN = (
    EACH
    + """
codes = [subprocess.run(rest, env={**os.environ, "SLURM_PROCID": str(i)}).returncode
         for i in range(count)]
sys.exit(max(codes))
"""
)
# As over ssh, nothing of the environment is handed on but PATH.
MPIRUN = (
    EACH
    + """
keep = {k: os.environ[k] for k in ("PATH", "STAND")}
codes = [subprocess.run(rest, env={**keep, "OMPI_COMM_WORLD_RANK": str(i)}).returncode
         for i in range(count)]
sys.exit(max(codes))
"""
)
QSUB = """
number = sum(1 for line in (place / "calls").read_text().splitlines() if '"qsub"' in line)
(place / "nodes").write_text("n1\\n" * 8 + "n2\\n" * 8)
if "-terse" in words:
    (place / "nodes").write_text("n1 8 q@n1 <NULL>\\nn2 8 q@n2 <NULL>\\n")
    while run(words[-1], JOB_ID=str(700 + number), SGE_O_WORKDIR=os.getcwd(),
              PE_HOSTFILE=str(place / "nodes")) == 99:
        pass
    print(700 + number)
else:
    run(words[-1], PBS_JOBID=f"{700 + number}.pbs1", PBS_O_WORKDIR=os.getcwd(),
        PBS_NODEFILE=str(place / "nodes"))
    print(f"{700 + number}.pbs1")
"""
# It starts a task on another host of the job: words are split at spaces, as the real one does.
QRSH = """
assert words[:2] == ["-inherit", "-nostdin"], words
with (place / "qrsh-hosts").open("a") as hosts:
    hosts.write(words[2] + "\\n")
sys.exit(subprocess.run(" ".join(words[3:]).split()).returncode)
"""
# All names resolve but those that the test has written down.
GETENT = """
unknown = place / "unknown"
sys.exit(2 if unknown.exists() and words[1] in unknown.read_text().split() else 0)
"""
# Says of a job what the test has written down; as the real ones, nothing of unknown jobs.
ANSWER = """
answer = place / f"{name}-says"
if not answer.exists():
    sys.exit("unknown job")
print(answer.read_text())
"""
STANDS = {
    "yoriai": YORIAI, "sbatch": SBATCH, "scontrol": SCONTROL, "srun": SRUN, "mpirun": MPIRUN,
    "qsub": QSUB, "squeue": ANSWER, "qstat": ANSWER, "sacct": ANSWER, "scancel": "", "qdel": "",
    "qrsh": QRSH, "getent": GETENT,
}  # fmt: skip


class Stand:
    """A folder to work in and a PATH with stand-ins of the scheduler's commands."""

    def __init__(self, folder: Path, monkeypatch) -> None:
        self.folder, self.place = folder / "work", folder / "stand"
        for name in (self.folder, self.place, folder / "bin"):
            name.mkdir()
        for name, text in STANDS.items():
            path = folder / "bin" / name
            path.write_text(HEADER + text)
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")
        monkeypatch.setenv("STAND", str(self.place))
        for name in [n for n in os.environ if n.startswith(("SLURM", "PBS", "SGE", "YORIAI_"))]:
            monkeypatch.delenv(name)

    def launch(self, scheduler: str, **changes) -> Launch:
        keys = {
            "recipe": "r.yaml", "scheduler": scheduler, "queue": "q", "group": "g",
            "walltime": "1:00:00", "directory": str(self.folder),
        }  # fmt: skip
        return Launch(**{**keys, **changes})

    def says(self, name: str, text: object) -> None:
        (self.place / name).write_text(str(text))

    def calls(self, name: str) -> list[list[str]]:
        rows = [json.loads(line) for line in (self.place / "calls").read_text().splitlines()]
        return [row[1:] for row in rows if row[0] == name]

    def yoriai(self) -> list[dict]:
        return [json.loads(line) for line in (self.place / "yoriai").read_text().splitlines()]

    def log(self, job_id: str = "r-1") -> str:
        return (self.folder / FOLDER / f"{job_id}.log").read_text()

    def events(self, job_id: str = "r-1") -> list[tuple[str, int, str]]:
        return [(e.what, e.attempt, e.value) for e in schedulers.events(self.folder, job_id)]

    def status(self, job_id: str = "r-1") -> schedulers.Status:
        return schedulers.status(self.folder, job_id)


@pytest.fixture
def stand(tmp_path, monkeypatch):
    return Stand(tmp_path, monkeypatch)


def finish(stand: Stand, note: dict) -> None:
    """Wait for a detached job without polling: its process is our child."""
    os.waitpid(int(note["job"]), 0)


@pytest.mark.parametrize(
    ("scheduler", "head", "number"),
    [("slurm", "n1", 4242), ("pbs", "n1", 701), ("sge", "n1", 701), ("sge-pe", "n1", 701),
     ("mpirun", "a", 0), ("torchrun", "127.0.0.1", 0)],
)  # fmt: skip
def test_a_job_of_two_nodes_runs_the_recipe_on_the_head_and_join_on_the_other(
    stand, scheduler, head, number
):
    (stand.folder / "hosts").write_text("# ours\na slots=8\na slots=8\n\nb slots=8\n")
    changes = {"hostfile": "hosts"} if scheduler == "mpirun" else {}
    if scheduler == "sge-pe":
        changes = {"parallel_environment": "spread", "cpus_per_node": 8}
    changes["setup"] = ["PREPARED=yes", "export PREPARED"]
    launch = stand.launch(scheduler.partition("-")[0], nodes=2, **changes)
    note = schedulers.submit(launch)
    if not number:
        finish(stand, note)
    told = {row["YORIAI_NODE_RANK"]: row for row in stand.yoriai()}
    assert told["0"]["words"] == ["run", "--", "r.yaml"]
    assert told["1"]["words"] == ["train", "join"]
    host, port = told["0"]["YORIAI_RENDEZVOUS"].split(":")
    assert (host, told["0"]["PREPARED"]) == (head, "yes")
    assert int(port) == 20_000 + number if number else 20_000 <= int(port) < 30_000
    different = ("YORIAI_NODE_RANK", "words")
    assert [{k: v for k, v in told[r].items() if k not in different} for r in "01"] == [
        {k: v for k, v in told["0"].items() if k not in different}
    ] * 2
    assert told["0"]["YORIAI_JOB"] == "r-1.1"
    assert stand.status().state == "done"
    if scheduler in ("pbs", "sge", "mpirun"):
        other = "b" if scheduler == "mpirun" else "n2"
        assert (stand.place / "hosts-seen").read_text() == f"{other} slots=1\n"
    if scheduler == "sge-pe":
        assert (stand.place / "qrsh-hosts").read_text() == "n2\n"
        assert stand.calls("qsub")[0] == ["-terse", "build/launch/r-1.sh"]
    if scheduler == "sge":
        assert stand.calls("qsub")[0] == ["-terse", "-g", "g", "build/launch/r-1.sh"]


@pytest.mark.parametrize("scheduler", ["slurm", "pbs", "sge", "sge-pe", "local"])
def test_at_its_wall_time_limit_a_job_stops_in_order_and_is_queued_again(
    stand, scheduler, monkeypatch
):
    times, limit = (2 if scheduler == "slurm" else 1), {}
    # bash reads this first: the clock of the first attempt begins at its limit.
    clock = stand.place / "clock"
    clock.write_text("[ -e build/launch/r-1.events ] || SECONDS=3600\n")
    monkeypatch.setenv("BASH_ENV", "" if scheduler == "slurm" else str(clock))
    stand.says("long", times)
    if scheduler == "sge-pe":
        limit["parallel_environment"] = "smp"
    note = schedulers.submit(stand.launch(scheduler.partition("-")[0], **limit))
    if scheduler == "local":
        finish(stand, note)
    jobs = {"slurm": ["4242"] * 3, "sge-pe": ["701"] * 2, "local": [str(note["job"])] * 2}.get(
        scheduler, [f"{700 + n}{'.pbs1' * (scheduler == 'pbs')}" for n in (1, 2)]
    )
    expected = []
    for attempt in range(1, times + 2):
        code = "stopped" if attempt <= times else "0"
        expected += [("started", attempt, jobs[attempt - 1]), ("ended", attempt, code)]
    # On a busy machine the limit comes before yoriai has begun to listen: it dies of the signal.
    stopped = {("ended", code): "stopped" for code in ("6", "137", "143")}
    found = [(what, n, stopped.get((what, value), value)) for what, n, value in stand.events()]
    assert [e for e in found if e[0] != "requeued"] == expected
    # (These qsubs come back when the next attempt has ended, so their notes are in no order.)
    assert sorted(e[1] for e in stand.events() if e[0] == "requeued") == [*range(1, times + 1)]
    assert "training writes a checkpoint first" in stand.log()
    one = stand.status()
    assert (one.state, one.attempt, one.job) == ("done", times + 1, jobs[times])


def test_after_so_many_requeues_a_job_is_given_up(stand):
    stand.says("long", 9)
    schedulers.submit(stand.launch("slurm", requeues=1))
    assert stand.events()[-1] == ("gave-up", 2, "1")
    one = stand.status()
    assert (one.state, one.detail) == ("stopped", "at the wall-time limit, after 1 requeues")
    assert "raise requeues" in stand.log()


def test_a_job_that_cannot_be_queued_again_says_so(stand):
    stand.says("long", 1)
    (Path(os.environ["PATH"].split(":")[0]) / "scontrol").write_text("#!/bin/sh\nexit 1\n")
    schedulers.submit(stand.launch("slurm"))
    assert stand.events()[-1][0] == "requeue-failed"
    assert stand.status().state == "stopped"


def test_a_run_that_fails_of_itself_while_it_is_stopped_is_not_queued_again(stand):
    stand.says("long", 1)
    stand.says("stop-code", 1)
    schedulers.submit(stand.launch("slurm"))
    assert stand.events() == [("started", 1, "4242"), ("ended", 1, "1")]
    assert not stand.calls("scontrol")


@pytest.mark.parametrize("code", [1, 2, 4, 6, 137])
def test_a_run_that_fails_for_a_reason_of_its_own_is_not_queued_again(stand, code):
    stand.says("code", code)
    schedulers.submit(stand.launch("slurm"))
    assert stand.events() == [("started", 1, "4242"), ("ended", 1, str(code))]
    assert not stand.calls("scontrol")
    one = stand.status()
    assert (one.state, one.detail) == ("failed", f"exit code {code}")


def test_a_node_that_gives_up_is_told_and_the_job_not_queued_again(stand):
    stand.says("join-code", 7)
    stand.says("lost", "")
    stand.says("code", 1)
    log = Path(os.environ["PATH"].split(":")[0]) / "yoriai.log"
    log.symlink_to(stand.folder / FOLDER / "r-1.log")
    schedulers.submit(stand.launch("slurm", nodes=2))
    assert "another node gave up (exit code 7)" in stand.log()
    assert stand.status().state == "failed"


def test_fewer_nodes_than_asked_for_end_the_job_with_their_names(stand):
    schedulers.submit(stand.launch("slurm", nodes=3))
    assert "3 nodes are wanted and 2 were found: n1 n2" in stand.log()
    assert stand.status().detail == "exit code 1"


def test_a_node_that_slurm_knows_by_an_address_is_met_at_that(stand):
    stand.says("unknown", "n1 n2")
    stand.says("address", "10.0.0.7")
    schedulers.submit(stand.launch("slurm", nodes=2))
    told = {row["YORIAI_RENDEZVOUS"] for row in stand.yoriai()}
    assert told == {"10.0.0.7:24242"}
    assert stand.status().state == "done"


@pytest.mark.parametrize("scheduler", ["slurm", "pbs", "sge"])
def test_a_head_whose_name_nobody_knows_ends_the_job_before_anything_is_started(stand, scheduler):
    stand.says("unknown", "n1")
    schedulers.submit(stand.launch(scheduler, nodes=2))
    assert "the address of the first node, n1, is found by no one here" in stand.log()
    assert stand.status().detail == "exit code 1"
    assert not (stand.place / "yoriai").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_job_that_is_ended_from_outside_is_cancelled_and_not_failed(stand, number):
    os.mkfifo(stand.place / "started")
    stand.says("long", 5)
    note = schedulers.submit(stand.launch("local", walltime=0))
    (stand.place / "started").read_text()
    os.kill(int(note["job"]), number)
    finish(stand, note)
    assert [e[0] for e in stand.events()] == ["started", "signalled", "ended"]
    one = stand.status()
    assert (one.state, one.detail) == ("cancelled", schedulers.SIGNALLED)


def test_a_job_whose_nodes_were_taken_for_another_is_queued_while_slurm_says_so(stand):
    waiting(stand, "slurm", "7")
    lines = ["t\tstarted\t1\t7", "t\tsignalled\t1\t", "t\tended\t1\t6", ""]
    (stand.folder / FOLDER / "r-1.events").write_text("\n".join(lines))
    stand.says("squeue-says", "PENDING")
    assert stand.status().state == "queued"
    stand.says("squeue-says", "")
    assert stand.status().state == "cancelled"


def test_a_run_that_failed_while_it_was_told_to_end_has_failed(stand):
    waiting(stand, "slurm", "7")
    lines = ["t\tstarted\t1\t7", "t\tsignalled\t1\t", "t\tended\t1\t1", ""]
    (stand.folder / FOLDER / "r-1.events").write_text("\n".join(lines))
    assert stand.status().state == "failed"


def test_a_machine_without_yoriai_says_what_to_add(stand):
    schedulers.submit(stand.launch("slurm", setup=["PATH=/usr/bin:/bin"]))
    assert "yoriai is not on PATH here; put into 'setup'" in stand.log()
    assert stand.status().detail == "exit code 127"


def test_a_detached_job_is_seen_running_and_is_cancelled_once(stand):
    os.mkfifo(stand.place / "started")
    stand.says("long", 5)
    note = schedulers.submit(stand.launch("local", walltime=0))
    (stand.place / "started").read_text()
    assert stand.status().state == "running"
    assert os.getsid(int(note["job"])) == int(note["job"])
    schedulers.cancel(stand.folder, "r-1")
    finish(stand, note)
    assert stand.status().state == "cancelled"
    assert [e[0] for e in stand.events()] == ["started", "cancelled", "ended"]
    with pytest.raises(Refused, match="cancelled already"):
        schedulers.cancel(stand.folder, "r-1")


def test_a_killed_job_has_vanished_and_a_reused_number_does_not_revive_it(stand):
    os.mkfifo(stand.place / "started")
    stand.says("long", 5)
    note = schedulers.submit(stand.launch("local", walltime=0))
    (stand.place / "started").read_text()
    os.killpg(int(note["job"]), signal.SIGKILL)
    finish(stand, note)
    one = stand.status()
    assert one.state == "vanished"
    assert "killed from outside" in one.detail
    place = stand.folder / FOLDER / "r-1.json"
    place.write_text(json.dumps({**note, "job": str(os.getpid())}))
    assert stand.status().state == "vanished"


def waiting(stand: Stand, scheduler: str, job: str) -> None:
    """Note a job that was submitted and has not started."""
    (stand.folder / FOLDER).mkdir(parents=True, exist_ok=True)
    note = {
        "id": "r-1", "scheduler": scheduler, "job": job, "began": 0, "submitted": "t", "nodes": 1,
        "recipe": "r.yaml", "requeues": 1,
    }  # fmt: skip
    (stand.folder / FOLDER / "r-1.json").write_text(json.dumps(note))


@pytest.mark.parametrize(
    ("scheduler", "command", "says", "state"),
    [
        ("slurm", "squeue", "PENDING", "queued"), ("slurm", "squeue", "RUNNING", "running"),
        ("slurm", "squeue", "", "vanished"), ("slurm", "squeue", None, "vanished"),
        ("pbs", "qstat", "Job Id: 7.pbs1\n    job_state = Q\n", "queued"),
        ("pbs", "qstat", "Job Id: 7.pbs1\n    job_state = R\n", "running"),
        ("pbs", "qstat", "Job Id: 7.pbs1\n    job_state = F\n", "vanished"),
        ("sge", "qstat", "job-ID prior name user state\n---\n 7 0.5 r-1 me qw 01/01", "queued"),
        ("sge", "qstat", "job-ID prior name user state\n---\n 7 0.5 r-1 me r 01/01", "running"),
        ("sge", "qstat", "job-ID prior name user state\n---\n 8 0.5 r-2 me r 01/01", "vanished"),
    ],
)  # fmt: skip
def test_the_schedulers_words_for_a_state_are_understood(stand, scheduler, command, says, state):
    waiting(stand, scheduler, "7.pbs1" if scheduler == "pbs" else "7")
    if says is not None:
        stand.says(f"{command}-says", says)
    assert stand.status().state == state


def test_of_a_vanished_job_slurms_accounting_is_quoted(stand):
    waiting(stand, "slurm", "7")
    stand.says("sacct-says", "OUT_OF_MEMORY\n")
    assert stand.status().detail == "Slurm says OUT_OF_MEMORY"


@pytest.mark.parametrize(("scheduler", "command"), [("slurm", "scancel"), ("pbs", "qdel")])
def test_a_queued_job_is_cancelled_by_its_number_and_never_runs(stand, scheduler, command):
    waiting(stand, scheduler, "7")
    stand.says("squeue-says", "PENDING")
    stand.says("qstat-says", "job_state = Q")
    assert schedulers.cancel(stand.folder, "r-1").state == "queued"
    assert stand.calls(command) == [["7"]]
    assert stand.status().state == "cancelled"


def test_a_missing_scheduler_asks_whether_this_is_a_login_node(stand, monkeypatch):
    monkeypatch.setenv("PATH", str(stand.folder))  # whatever this machine has
    with pytest.raises(UsageError, match="sbatch is not on PATH: are you on a login node"):
        schedulers.submit(stand.launch("slurm"))
    assert list((stand.folder / FOLDER).iterdir()) == []


def test_a_refusal_is_told_in_the_schedulers_words_and_leaves_nothing(stand):
    path = Path(os.environ["PATH"].split(":")[0]) / "sbatch"
    path.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: q' >&2\nexit 1\n")
    with pytest.raises(Refused, match="invalid partition specified: q"):
        schedulers.submit(stand.launch("slurm"))
    assert list((stand.folder / FOLDER).iterdir()) == []
    path.write_text("#!/bin/sh\necho welcome\n")
    with pytest.raises(YoriaiError, match="gave no number: 'welcome'"):
        schedulers.submit(stand.launch("slurm"))


def test_ids_count_up_and_an_unknown_one_names_the_nearest(stand):
    for _ in range(2):
        schedulers.submit(stand.launch("slurm", name="tour"))
    assert schedulers.ids(stand.folder) == ["tour-1", "tour-2"]
    with pytest.raises(NotFound, match="there is no job 'tuor-2'") as told:
        stand.status("tuor-2")
    assert "tour-2" in told.value.hint
    with pytest.raises(NotFound):
        stand.status("../../etc/passwd")


def test_the_numbers_that_sites_print_are_read():
    read = schedulers._number
    assert read("slurm", "4242;mdx\n") == "4242"
    assert read("pbs", "1234.pbs1\n") == "1234.pbs1"
    assert read("sge", 'Your job 12345 ("tour-1") has been submitted\n') == "12345"
    assert read("sge", "12345\n") == "12345"


def test_a_script_submitted_by_hand_keeps_a_copy_to_queue_again(stand):
    from yoriai_train.launch.launch_file import script

    place = stand.folder / "mine.sh"
    place.write_text(script(stand.launch("slurm"), "r-1"))
    stand.says("long", 1)
    subprocess.run(["sbatch", "mine.sh"], cwd=stand.folder, check=True, capture_output=True)
    assert (stand.folder / FOLDER / "r-1.sh").read_text() == place.read_text()
    assert stand.events()[-1] == ("ended", 2, "0")


NOTE = {
    "id": "r-1", "scheduler": "local", "job": "4711", "began": 0, "submitted": "2026-11-29",
    "nodes": 1, "recipe": "r.yaml", "requeues": 0,
}  # fmt: skip


def noted(folder: Path, value: object, name: str = "r-1") -> Path:
    place = folder / FOLDER / f"{name}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(value))
    return place


@pytest.mark.parametrize(
    "change",
    [
        *({key: wrong} for key in NOTE for wrong in (None, [], {"a": 1}, True, 1.5)),
        {"job": "-1"}, {"job": "0"}, {"job": "--all"}, {"job": "1 2"}, {"job": "1\n"},
        {"scheduler": "slurm", "job": "-u"}, {"scheduler": "slurm", "job": "1,2"},
        {"scheduler": "none"}, {"id": "../r-1"}, {"id": "r-2"}, {"began": -1},
    ],
)  # fmt: skip
def test_a_note_that_was_altered_is_refused_and_nothing_is_cancelled_by_it(
    tmp_path, change, monkeypatch
):
    monkeypatch.setattr(schedulers, "_end", lambda *_: pytest.fail("something was ended"))
    monkeypatch.setattr(schedulers, "_call", lambda *_, **__: pytest.fail("something was called"))
    place = noted(tmp_path, NOTE | change)
    for ask in (schedulers.note_of, schedulers.cancel):
        with pytest.raises(Refused, match=r"r-1\.json is ") as caught:
            ask(tmp_path, "r-1")
        assert caught.value.hint == f"if it is no job of yours: mv {place} elsewhere"


def test_a_note_that_leads_nowhere_or_without_end_is_refused(tmp_path):
    place = noted(tmp_path, NOTE)
    assert schedulers.ids(tmp_path) == ["r-1"]
    for target, kind in (("nowhere", Refused), ("/dev/zero", UsageError)):
        place.unlink()
        place.symlink_to(target)
        with pytest.raises(kind, match=r"r-1\.json"):
            schedulers.ids(tmp_path)


def test_events_that_were_altered_are_left_out(tmp_path):
    noted(tmp_path, NOTE)
    place = tmp_path / FOLDER / "r-1.events"
    long = "9" * 5000
    place.write_bytes(
        f"t\tstarted\t1\t4711\nt\tstarted\t{long}\t1\nt\tstarted\t²\t1\n".encode() + b"\xff\n"
    )
    assert [event.attempt for event in schedulers.events(tmp_path, "r-1")] == [1]
    place.write_text("t\tstarted\t1\t--all\n")
    assert schedulers.status(tmp_path, "r-1").job == "4711"
    place.unlink()
    place.symlink_to("/dev/zero")
    with pytest.raises(UsageError, match="no ordinary file"):
        schedulers.events(tmp_path, "r-1")


def test_only_the_process_of_the_note_is_ended(tmp_path, monkeypatch):
    ended = []
    monkeypatch.setattr(schedulers, "_end", lambda *words: ended.append(words))
    monkeypatch.setattr(schedulers, "_began", lambda _: 7)
    noted(tmp_path, NOTE | {"began": 7})
    (tmp_path / FOLDER / "r-1.events").write_text("t\tstarted\t1\t1\n")
    schedulers.cancel(tmp_path, "r-1")
    assert ended == [(4711, 7)]
