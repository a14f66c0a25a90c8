"""Dask clusters of real processes, whose workers and schedulers are killed at work.

The queue of jobs is a stand-in for Slurm's two commands that runs a job's script at once.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")

from yoriai import UsageError, YoriaiError
from yoriai_corpus.engines.dask import Dask, job_script, lifetime_seconds
from yoriai_corpus.engines.pool import Pool, opened, run_tasks

TASKS = '''
import os, pathlib, signal, time

def square(n):
    return n * n

def wait_for(path):
    deadline = time.monotonic() + 3600
    while not pathlib.Path(path).exists():
        assert time.monotonic() < deadline, f"nobody made {path}"
        time.sleep(0.01)

def note(path, line):
    with open(path, "a") as file:
        file.write(f"{line}\\n")

def mixed(task):
    """("kill", folder, name, deaths): dies so often; ("wait", path, name): until it is there."""
    if task[0] == "wait":
        wait_for(task[1])
        return task[2]
    _, folder, name, deaths = task
    mark = pathlib.Path(folder, name)
    died = len(mark.read_text().split()) if mark.exists() else 0
    if died < deaths:
        note(mark, os.getpid())
        if died + 1 == deaths:
            note(f"{mark}.last", "")
        os.kill(os.getpid(), signal.SIGKILL)
    return name

def receipt(task):
    """Writes a result once; a name with "barrier" waits for the file of that name."""
    folder, name = task
    result = pathlib.Path(folder, f"{name}.result")
    if not result.exists():
        note(pathlib.Path(folder, "begun"), name)
        if name.startswith("barrier"):
            wait_for(pathlib.Path(folder, name))
        part = result.with_suffix(f".{os.getpid()}")
        part.write_text(name * 100)
        part.rename(result)
    return name

def reside(folder):
    """Names the worker the first time and stays there; done at once the second time."""
    import distributed
    mark = pathlib.Path(folder, "resident")
    if not mark.exists():
        part = mark.with_suffix(".part")
        part.write_text(distributed.get_worker().address)
        part.rename(mark)
        wait_for(pathlib.Path(folder, "never"))
    return "moved"

def fail(n):
    raise KeyError(f"task {n}")

def hang(folder):
    note(pathlib.Path(folder, "pids"), os.getpid())
    wait_for(pathlib.Path(folder, "never"))

def starve(n):
    raise MemoryError
'''
FOREVER = """
import sys
from yoriai_corpus.engines.pool import run_tasks
from yoriai_corpus.engines.dask import Dask
import corpus_dask_tasks as tasks
if __name__ == "__main__":
    list(run_tasks(Dask(workers=2), tasks.hang, [sys.argv[1]] * 3))
"""
SBATCH = """#!/bin/sh
test -e "{folder}/refuse" && echo "sbatch: error: Invalid account" >&2 && exit 1
cp "$1" "{folder}/job.sh"
setsid sh "{folder}/job.sh" > "{folder}/job.log" 2>&1 < /dev/null &
echo $! >> "{folder}/jobs"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -KILL -- "-$1"
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A module that workers can import: spawned ones by sys.path, others by PYTHONPATH."""
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "corpus_dask_tasks.py").write_text(TASKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield importlib.import_module("corpus_dask_tasks")
    del sys.modules["corpus_dask_tasks"]


@pytest.fixture(scope="module")
def pool(tasks: Any) -> Iterator[Pool]:
    """Two workers of a cluster that the engine starts."""
    with opened(Dask(workers=2)) as pool:
        yield pool


class Cluster:
    """A scheduler and workers that are not ours, with Dask's own settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "scheduler.json"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start_scheduler()
        self.engine = Dask(
            cluster="scheduler-file", scheduler_file=str(self.file), timeout_seconds=600
        )

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        self.file.unlink(missing_ok=True)
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        process = self._start("scheduler", *options)
        until(lambda: self.file.exists() and self.file.stat().st_size > 0)
        return process

    def start_workers(self, count: int) -> None:
        options = ["--nthreads", "1", "--nworkers", str(count), "--host", "127.0.0.1"]
        scratch = ["--local-directory", str(self.folder / "scratch"), "--no-dashboard"]
        self._start("worker", *options, *scratch, "--death-timeout", "30")

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}"]
        log = (self.folder / f"{what}.log").open("ab")
        process = subprocess.Popen(
            [*command, "--scheduler-file", str(self.file), *options],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self.processes.append(process)
        return process

    def lose_scheduler(self) -> None:
        self.scheduler.kill()
        self.scheduler.wait()

    def end(self) -> None:
        for process in self.processes:
            kill_group(process.pid)
            process.wait()


@pytest.fixture
def cluster(tasks: Any, tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.end()


@pytest.fixture
def queue(tasks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with sbatch and scancel; ``jobs`` in it lists the jobs' process groups."""
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(text.format(folder=tmp_path))
        command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    yield tmp_path
    for job in jobs_of(tmp_path):
        kill_group(job)


def jobs_of(queue: Path) -> list[int]:
    noted = queue / "jobs"
    return [int(job) for job in noted.read_text().split()] if noted.exists() else []


def kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"  # an orphan's new parent may be slow to bury it


def until(condition: Callable[[], Any], seconds: float = 3600) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)
    return found


def judged(pool: Pool, tasks: Any, folder: Path) -> None:
    """A deadly task gets its three strikes, and nobody beside it or behind it gets any."""
    deadly = ("kill", str(folder), "deadly", 3)
    patient = ("wait", str(folder / "deadly.last"), "patient")
    waiting = [("wait", str(folder), f"{n}") for n in range(10)]
    charged: list[Any] = []

    def strike(task: Any) -> Any:
        charged.append(task)
        return task if len(charged) < 3 else ("wait", str(folder), "spared")

    found = pool.run(tasks.mixed, [patient, deadly, *waiting], on_death=strike)
    assert sorted(found) == sorted(["patient", "spared", *(f"{n}" for n in range(10))])
    assert charged == [deadly] * 3


@pytest.mark.slow
def test_every_task_is_answered_once(pool: Pool, tasks: Any) -> None:
    assert sorted(pool.run(tasks.square, range(100))) == [n * n for n in range(100)]


@pytest.mark.slow
def test_a_death_is_charged_to_the_task_that_died_and_to_no_other(
    pool: Pool, tasks: Any, tmp_path: Path
) -> None:
    judged(pool, tasks, tmp_path)


@pytest.mark.slow
def test_running_out_of_memory_counts_as_a_death(pool: Pool, tasks: Any) -> None:
    with pytest.raises(YoriaiError, match="3 times: out of memory"):
        list(pool.run(tasks.starve, [0]))


@pytest.mark.slow
def test_an_exception_ends_the_run_and_the_pool_can_be_used_again(pool: Pool, tasks: Any) -> None:
    with pytest.raises(KeyError, match="task 7"):
        list(pool.run(tasks.fail, [7]))
    assert list(pool.run(tasks.square, [7])) == [49]


@pytest.mark.slow
def test_a_cluster_on_this_machine_is_heard_on_this_machine_only(pool: Pool, tasks: Any) -> None:
    psutil = pytest.importorskip("psutil")
    assert list(pool.run(tasks.square, [1])) == [1]
    us = psutil.Process()
    heard = [
        connection.laddr.ip
        for process in (us, *us.children(recursive=True))
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert heard
    assert set(heard) == {"127.0.0.1"}


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_run(how: signal.Signals, tasks: Any, tmp_path: Path) -> None:
    script = Path(tasks.__file__).with_name("corpus_dask_forever.py")
    script.write_text(FOREVER)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    noted = tmp_path / "pids"
    try:
        until(lambda: noted.exists() and len(noted.read_text().split()) == 2)
        if how is signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does: to the workers too
        else:
            process.send_signal(how)
        assert process.wait() in (-how, 128 + how, 1)
        pids = [int(pid) for pid in noted.read_text().split()]
        until(lambda: not any(is_running(pid) for pid in pids))
    finally:
        kill_group(process.pid)


@pytest.mark.slow
def test_jobs_come_with_the_work_when_the_cluster_adapts(tasks: Any) -> None:
    engine = Dask(adapt={"minimum": 0, "maximum": 2})
    assert sorted(run_tasks(engine, tasks.square, range(10))) == [n * n for n in range(10)]


@pytest.mark.slow
def test_a_cluster_with_other_settings_charges_deaths_alike(
    cluster: Cluster, tasks: Any, tmp_path: Path
) -> None:
    """Dask would try a task four times by itself (allowed-failures 3)."""
    cluster.start_workers(2)
    with opened(cluster.engine) as pool:
        assert sorted(pool.run(tasks.square, range(30))) == [n * n for n in range(30)]
        judged(pool, tasks, tmp_path)


@pytest.mark.slow
def test_a_worker_that_leaves_in_good_order_costs_its_task_nothing(
    cluster: Cluster, tasks: Any, tmp_path: Path
) -> None:
    from distributed import Client

    def never(task: Any) -> Any:
        raise AssertionError("charged")

    cluster.start_workers(2)
    with opened(cluster.engine) as pool:
        found = pool.run(tasks.mixed, [("wait", str(tmp_path), "x")], on_death=never)
        assert list(found) == ["x"]
        work = _Background(lambda: list(pool.run(tasks.reside, [str(tmp_path)], on_death=never)))
        mark = tmp_path / "resident"
        until(mark.exists)
        connect: Any = Client
        with connect(scheduler_file=str(cluster.file), set_as_default=False) as client:
            # Refused as long as the other worker has not come.
            until(lambda: bool(client.retire_workers([mark.read_text()])))
        assert work.result() == ["moved"]


@pytest.mark.slow
def test_a_run_goes_on_with_a_new_scheduler(cluster: Cluster, tasks: Any, tmp_path: Path) -> None:
    cluster.start_workers(1)
    names = ["a", "b", "barrier", "c", "d"]
    with opened(cluster.engine) as pool:
        found = pool.run(tasks.receipt, [(str(tmp_path), name) for name in names])
        before = next(found)
        cluster.lose_scheduler()
        cluster.scheduler = cluster.start_scheduler()
        cluster.start_workers(1)
        (tmp_path / "barrier").touch()
        assert sorted([before, *found]) == sorted(names)


@pytest.mark.slow
def test_a_run_without_a_scheduler_ends_and_the_next_one_does_the_rest(
    cluster: Cluster, tasks: Any, tmp_path: Path
) -> None:
    cluster.start_workers(1)
    work = [(str(tmp_path), name) for name in ("a", "b", "barrier", "c", "d")]
    engine = cluster.engine.model_copy(update={"timeout_seconds": 1.0})
    with opened(engine) as pool:
        found = pool.run(tasks.receipt, work)
        assert {next(found), next(found)} == {"a", "b"}
        until(lambda: "barrier" in (tmp_path / "begun").read_text())
        cluster.lose_scheduler()
        with pytest.raises(YoriaiError, match="there is no Dask scheduler") as caught:
            list(found)
        assert "same command" in caught.value.hint
    done = {path.stem for path in tmp_path.glob("*.result")}
    (tmp_path / "barrier").touch()
    (tmp_path / "begun").unlink()
    cluster.start_scheduler()
    cluster.start_workers(1)
    assert sorted(run_tasks(cluster.engine, tasks.receipt, work)) == sorted(n for _, n in work)
    again = set((tmp_path / "begun").read_text().split())
    assert done
    assert not done & again
    for _, name in work:
        assert (tmp_path / f"{name}.result").read_text() == name * 100


@pytest.mark.slow
def test_jobs_of_a_queue_do_the_work_and_one_that_is_killed_is_submitted_again(
    queue: Path, tasks: Any
) -> None:
    import dask

    engine = Dask(cluster="slurm", cores=2, memory="2GB", interface="lo", scratch=str(queue))
    soon = dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"})
    with soon, opened(engine) as pool:
        assert sorted(pool.run(tasks.square, range(20))) == [n * n for n in range(20)]
        (job,) = jobs_of(queue)
        kill_group(job)
        assert sorted(pool.run(tasks.square, range(20))) == [n * n for n in range(20)]
        assert len(jobs_of(queue)) == 2


@pytest.mark.slow
def test_a_queue_that_takes_no_job_ends_the_run_with_what_it_said(queue: Path, tasks: Any) -> None:
    (queue / "refuse").touch()
    with pytest.raises(YoriaiError, match=r"no job could be submitted.*Invalid account"):
        list(run_tasks(Dask(cluster="slurm", memory="1GB", interface="lo"), tasks.square, [1]))


FULL: dict[str, Any] = {
    "cores": 4,
    "memory": "16GiB",
    "queue": "rt_HF",
    "walltime": "04:00:00",
    "account": "gaa50000",
    "job_extra": ["-m n"],
    "prologue": ["module load python/3.11"],
    "interface": "lo",
    "scratch": "/local",
}


@pytest.mark.parametrize(
    ("keys", "lines"),
    [
        (
            {"cluster": "slurm"},
            ["-p rt_HF", "-A gaa50000", "-n 1", "--cpus-per-task=4", "--mem=16G", "-t 04:00:00"],
        ),
        (
            {"cluster": "pbs"},
            ["-q rt_HF", "-A gaa50000", "-l select=1:ncpus=4:mem=16GB", "-l walltime=04:00:00"],
        ),
        ({"cluster": "pbs", "resources": "rt_HF=1", "job_skip": ["-A"]}, ["-l rt_HF=1"]),
        ({"cluster": "sge"}, ["-q rt_HF", "-P gaa50000", "-l h_rt=04:00:00", "-cwd", "-j y"]),
    ],
)
def test_a_job_script_asks_the_queue_for_what_the_recipe_says(
    keys: dict[str, Any], lines: list[str]
) -> None:
    script = job_script(Dask(**{**FULL, **keys})).splitlines()
    mark = {"slurm": "#SBATCH ", "pbs": "#PBS ", "sge": "#$ "}[keys["cluster"]]
    asked = {line.removeprefix(mark) for line in script if line.startswith(mark)}
    assert asked >= {*lines, "-m n"}
    assert ("-A gaa50000" in asked) is ("-A gaa50000" in lines)
    assert script.index("module load python/3.11") < len(script) - 1
    assert "export DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE=False" in script
    command = script[-1]
    for option in ("--nthreads 1", "--nworkers 4", "--memory-limit 4.00GiB", "--nanny",
                   "--lifetime 14280s", "--interface lo", "--local-directory /local"):  # fmt: skip
        assert option in command


@pytest.mark.parametrize(
    ("walltime", "seconds"),
    [("04:00:00", 14280), ("00:10:00", 540), ("1-00:00:00", 86280), ("30:00", 1680), ("20", 18)],
)
def test_a_worker_leaves_before_its_walltime_is_up(walltime: str, seconds: int) -> None:
    assert lifetime_seconds(walltime) == seconds


def test_a_walltime_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="4 hours"):
        job_script(Dask(cluster="slurm", memory="1GB", walltime="4 hours"))


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"cluster": "address"}, "needs the key address"),
        ({"cluster": "scheduler-file"}, "needs the key scheduler_file"),
        ({"cluster": "slurm"}, "needs the key memory"),
        ({"cluster": "address", "address": "tcp://x:1", "adapt": {"maximum": 2}}, "not ours"),
        ({"adapt": {"minimum": 3, "maximum": 2}}, "minimum is more than maximum"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Dask(**keys)


def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.json")
    engine = Dask(cluster="scheduler-file", scheduler_file=missing, timeout_seconds=0.1)
    with pytest.raises(YoriaiError, match=r"no Dask scheduler at .*none\.json"):
        list(run_tasks(engine, abs, [1]))


def test_a_machine_without_the_queue_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="needs the command qsub"):
        list(run_tasks(Dask(cluster="pbs", memory="1GB"), abs, [1]))


class _Background:
    """One call in a thread; its result, or what it raised."""

    def __init__(self, call: Callable[[], Any]) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._threads = ThreadPoolExecutor(1)
        self._future = self._threads.submit(call)

    def result(self) -> Any:
        self._threads.shutdown(wait=False)
        return self._future.result(180)  # a nanny gives a busy worker half a minute to go
