"""Real processes that are killed, starved and interrupted: tasks and processes are accounted."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from yoriai import Engine, UsageError, YoriaiError
from yoriai_corpus.engines import pool as engine
from yoriai_corpus.engines.local import Inline, Local, workers_wanted
from yoriai_corpus.engines.pool import opened, run_tasks

# Functions of a module that a worker can import, as tasks need them.
TASKS = '''
import os, pathlib, signal, time

def square(n):
    return n * n

def process_id(_):
    return os.getpid()

def wait_for(path):
    deadline = time.monotonic() + 3600
    while not pathlib.Path(path).exists():
        assert time.monotonic() < deadline, f"nobody made {path}"
        time.sleep(0.01)

def note(path, line):
    with open(path, "a") as file:
        file.write(f"{line}\\n")

def killed(task):
    """Dies with its process as often as it is told to, then answers."""
    folder, name, deaths = task
    mark = pathlib.Path(folder, name)
    died = len(mark.read_text().split()) if mark.exists() else 0
    if died < deaths:
        note(mark, os.getpid())
        if died + 1 == deaths:
            note(f"{mark}.last", "")
        os.kill(os.getpid(), signal.SIGKILL)
    return name

def mixed(task):
    """("kill", ...) as above; ("wait", path, name) is at work until the path is there."""
    if task[0] == "kill":
        return killed(task[1:])
    wait_for(task[1])
    return task[2]

def hang(folder):
    note(pathlib.Path(folder, "pids"), os.getpid())
    wait_for(pathlib.Path(folder, "never"))

def fail(task):
    folder, name, kind = task
    note(pathlib.Path(folder, "begun"), name)
    if kind == "key":
        raise KeyError(name)
    if kind == "odd":
        raise Odd(1, 2)
    if kind == "lambda":
        return lambda: name
    return name

class Odd(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")

def allocate(task):
    how, size = task
    if how == "bytes":
        return len(bytes(size))
    if how == "numpy":
        import numpy
        return numpy.ones(size, dtype="u1").nbytes
    import pyarrow
    return len(pyarrow.allocate_buffer(size))

def libraries(_):
    import numba, pyarrow
    return os.environ["OMP_NUM_THREADS"], pyarrow.cpu_count(), numba.config.NUMBA_NUM_THREADS
'''
FOREVER = """
import sys
from yoriai_corpus.engines.pool import run_tasks
from yoriai_corpus.engines.local import Local
import corpus_engine_tasks as tasks
if __name__ == "__main__":
    list(run_tasks(Local(workers=2), tasks.hang, [sys.argv[1]] * 3))
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "corpus_engine_tasks.py").write_text(TASKS)
    sys.path.insert(0, str(folder))
    yield importlib.import_module("corpus_engine_tasks")
    sys.path.remove(str(folder))
    del sys.modules["corpus_engine_tasks"]


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    yield
    assert multiprocessing.active_children() == []


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


def pids_in(folder: Path, least: int) -> list[int]:
    noted = folder / "pids"
    until(lambda: noted.exists() and len(noted.read_text().split()) >= least)
    return [int(pid) for pid in noted.read_text().split()]


@pytest.mark.parametrize("settings", [{"workers": 1}, {"workers": 2}, {}])
def test_every_task_is_answered_once(settings: dict[str, Any], tasks: Any) -> None:
    found = run_tasks(Local(**settings), tasks.square, range(100))
    assert sorted(found) == [n * n for n in range(100)]


def test_no_tasks_need_no_engine() -> None:
    class Never(Engine):
        def open(self) -> Any:
            raise AssertionError("opened for nothing")

    assert list(run_tasks(Never(), abs, [])) == []


@pytest.mark.parametrize(
    ("settings", "here"),
    [
        ({"workers": 1}, True),
        ({"workers": 1, "isolate": True}, False),
        ({"workers": 1, "memory_mb": 1024}, False),
        ({"workers": 2}, False),
    ],
)
def test_work_stays_in_this_process_only_with_one_worker_that_nothing_sets_apart(
    settings: dict[str, Any], here: bool, tasks: Any
) -> None:
    (pid,) = run_tasks(Local(**settings), tasks.process_id, [0])
    assert (pid == os.getpid()) is here


def test_the_number_of_workers_is_that_of_the_recipe_or_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("YORIAI_WORKERS", "3")
    assert (Local().processes, Local(workers=2).processes, engine.workers_wanted()) == (3, 2, 3)
    monkeypatch.setenv("YORIAI_WORKERS", "none")
    with pytest.raises(UsageError, match="is no number of processes"):
        Local().open()
    monkeypatch.delenv("YORIAI_WORKERS")
    assert workers_wanted() >= 1


def test_one_pool_serves_several_stages(tasks: Any) -> None:
    with opened(Local(workers=1, isolate=True)) as pool:
        stages = [list(pool.run(tasks.process_id, range(3))) for _ in range(3)]
    assert len({pid for stage in stages for pid in stage}) == 1


def test_tasks_are_read_when_they_are_needed(tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "PENDING", 8)
    read: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            read.append(len(read))
            yield read[-1]

    for settings, most in (({"workers": 1}, 5), ({"workers": 2}, 5 + 8)):
        read.clear()
        found = run_tasks(Local(**settings), tasks.square, endless())
        assert len([next(found) for _ in range(5)]) == 5
        found.close()  # type: ignore[attr-defined]
        assert len(read) <= most


def test_a_task_whose_process_is_killed_is_done_again(tasks: Any, tmp_path: Path) -> None:
    work = [(str(tmp_path), name, deaths) for name, deaths in (("a", 0), ("b", 2), ("c", 1))]
    assert sorted(run_tasks(Local(workers=2), tasks.killed, work)) == ["a", "b", "c"]


def test_a_task_that_kills_its_process_three_times_is_named(tasks: Any, tmp_path: Path) -> None:
    work = [(str(tmp_path), name, deaths) for name, deaths in (("good", 0), ("deadly", 99))]
    with pytest.raises(YoriaiError, match=r"3 times.*SIGKILL.*deadly") as caught:
        list(run_tasks(Local(workers=2), tasks.killed, work))
    assert "same command" in caught.value.hint
    assert len((tmp_path / "deadly").read_text().split()) == 3


def test_a_death_is_charged_to_the_task_that_died_and_to_no_other(
    tasks: Any, tmp_path: Path
) -> None:
    """Neighbours are at work, and others are waiting, during all three deaths."""
    deadly = ("kill", str(tmp_path), "deadly", 3)
    patient = ("wait", str(tmp_path / "deadly.last"), "patient")
    waiting = [("wait", str(tmp_path), f"{n}") for n in range(20)]
    charged: list[Any] = []

    def strike(task: Any) -> Any:
        charged.append(task)
        return task if len(charged) < 3 else ("wait", str(tmp_path), "spared")

    found = run_tasks(Local(workers=2), tasks.mixed, [patient, deadly, *waiting], on_death=strike)
    assert sorted(found) == sorted(["patient", "spared", *(f"{n}" for n in range(20))])
    assert charged == [deadly] * 3


def test_who_is_told_of_a_death_may_give_up(tasks: Any, tmp_path: Path) -> None:
    def give_up(task: Any) -> Any:
        raise YoriaiError(f"{task[1]} is too much")

    with pytest.raises(YoriaiError, match="deadly is too much"):
        list(
            run_tasks(
                Local(workers=2), tasks.killed, [(str(tmp_path), "deadly", 1)], on_death=give_up
            )
        )


@pytest.mark.skipif(sys.platform != "linux", reason="memory is capped on Linux only")
@pytest.mark.parametrize("how", ["bytes", "numpy", "arrow"])
def test_more_memory_than_allowed_is_a_death_of_the_task(how: str, tasks: Any) -> None:
    charged: list[Any] = []

    def smaller(task: Any) -> Any:
        charged.append(task)
        return (how, 1000)

    work = [(how, 2**30), (how, 2**20)]
    cap = Local(workers=1, memory_mb=512)
    assert sorted(run_tasks(cap, tasks.allocate, work, on_death=smaller)) == [1000, 2**20]
    assert charged == [(how, 2**30)]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is capped on Linux only")
def test_running_out_of_memory_is_called_so(tasks: Any) -> None:
    with pytest.raises(YoriaiError, match=r"out of memory \(memory_mb: 512\)"):
        list(run_tasks(Local(workers=1, memory_mb=512), tasks.allocate, [("bytes", 2**30)]))


def test_a_worker_is_replaced_after_its_share_of_tasks(tasks: Any) -> None:
    engine = Local(workers=1, isolate=True, tasks_per_worker=2)
    pids = list(run_tasks(engine, tasks.process_id, range(5)))
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4] != pids[1]


def test_libraries_in_a_worker_use_the_threads_allowed(tasks: Any) -> None:
    for threads in (1, 2):
        engine = Local(workers=1, isolate=True, threads=threads)
        found = list(run_tasks(engine, tasks.libraries, [0]))
        assert found == [(str(threads), threads, threads)]


def test_an_exception_ends_the_run_and_what_was_not_begun_never_begins(
    tasks: Any, tmp_path: Path
) -> None:
    work = [(str(tmp_path), "bad", "key")] + [(str(tmp_path), f"{n}", "") for n in range(5000)]
    with pytest.raises(KeyError, match="bad") as caught:
        list(run_tasks(Local(workers=2), tasks.fail, work))
    assert "raise KeyError(name)" in caught.value.__notes__[0]
    assert len((tmp_path / "begun").read_text().split()) < 5000


@pytest.mark.parametrize(
    ("kind", "says"), [("odd", "Odd: 1 and 2"), ("lambda", "Can't pickle|AttributeError")]
)
def test_what_cannot_be_pickled_is_reported_and_no_death(
    kind: str, says: str, tasks: Any, tmp_path: Path
) -> None:
    with pytest.raises(Exception, match=says):
        list(run_tasks(Local(workers=2), tasks.fail, [(str(tmp_path), "x", kind)] * 2))


def test_a_caller_that_goes_no_further_leaves_no_process(tasks: Any, tmp_path: Path) -> None:
    with opened(Local(workers=2)) as pool:
        work = [("wait", str(tmp_path), "first"), ("wait", str(tmp_path / "never"), "stuck")]
        found = pool.run(tasks.mixed, work)
        assert next(found) == "first"
        found.close()  # type: ignore[attr-defined]
        assert multiprocessing.active_children() == []
        assert list(pool.run(tasks.square, [3])) == [9]  # and the pool is there again


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_outlives_its_run(how: signal.Signals, tasks: Any, tmp_path: Path) -> None:
    script = Path(tasks.__file__).with_name("corpus_engine_forever.py")
    script.write_text(FOREVER)
    process = subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        pids = pids_in(tmp_path, 2)
        if how is signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does: to the workers too
        else:
            process.send_signal(how)
        assert process.wait() in (-how, 128 + how, 1)
        until(lambda: not any(is_running(pid) for pid in pids))
        assert len(set(pids)) == 2  # the third was never begun
    finally:
        process.kill()


class Flimsy(Engine):
    """An executor that breaks with its ``lasts``-th task, for the first ``times`` it is opened."""

    lasts: int = 3
    times: int = 1

    @contextmanager
    def open(self) -> Iterator[Executor]:
        opened_times.append(self)
        whole = len(opened_times) > self.times
        left = [self.lasts]

        class Breaking(Inline):
            def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
                left[0] -= 1
                if not whole and left[0] == 0:
                    raise BrokenExecutor("the scheduler is gone")
                return super().submit(fn, *args, **kwargs)

        yield Breaking()


opened_times: list[Engine] = []


def test_a_pool_that_is_lost_is_opened_again_and_nothing_is_done_twice() -> None:
    opened_times.clear()
    done: list[int] = []

    def work(n: int) -> int:
        done.append(n)
        return n

    assert sorted(run_tasks(Flimsy(times=2), work, range(10))) == list(range(10))
    assert sorted(done) == list(range(10))
    assert len(opened_times) == 3


def test_tasks_that_were_under_way_when_a_pool_was_lost_are_done_in_the_next() -> None:
    """The first executor answers 0, takes everything else, and breaks when it has seven."""
    opened_times.clear()
    held: list[Future[Any]] = []

    class Holding(Inline):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            if args == (0,):
                return super().submit(fn, *args)
            held.append(Future())
            if len(held) == 7:
                for future in held:
                    future.set_exception(BrokenExecutor("the scheduler is gone"))
            return held[-1]

    class Lossy(Engine):
        @contextmanager
        def open(self) -> Iterator[Executor]:
            opened_times.append(self)
            yield Holding() if len(opened_times) == 1 else Inline()

    assert sorted(run_tasks(Lossy(), abs, range(10))) == list(range(10))
    assert len(opened_times) == 2


def test_a_pool_that_is_lost_again_and_again_ends_the_run_with_a_remedy() -> None:
    opened_times.clear()
    with pytest.raises(YoriaiError, match="the scheduler is gone") as caught:
        list(run_tasks(Flimsy(times=99), abs, range(10)))
    assert "same command" in caught.value.hint
    assert len(opened_times) == 3
