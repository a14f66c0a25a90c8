"""``corpus/local``: worker processes on this machine.

Each worker is one spawned process, owned by one thread of the run. So a death is known to be
that of the one task which the process worked on, and no other task suffers from it. (When a
process of ``concurrent.futures.ProcessPoolExecutor`` dies, every pending task fails, and so
would tasks that did nothing wrong.)
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from multiprocessing import connection
from typing import Any

from pydantic import Field

from yoriai import Engine, UsageError, WorkerLost, YoriaiError

PATIENCE_SECONDS = 5.0  # for an idle worker to leave by itself

# Libraries read these when they are loaded, so a worker sets them before it loads any.
# Arrow's pool for computing follows OMP_NUM_THREADS, the one for files ARROW_IO_THREADS.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "ARROW_IO_THREADS",
    "RAYON_NUM_THREADS",
)

_context = multiprocessing.get_context("spawn")  # fork would copy locks that threads hold
_starting = threading.Lock()  # multiprocessing's list of children is not made for threads


class Local(Engine):
    """Processes on this machine. With one worker the work is done in the run's own process."""

    workers: int | None = Field(
        None,
        ge=1,
        le=10**5,
        description="processes; null: YORIAI_WORKERS, else one for each CPU allowed",
    )
    memory_mb: int | None = Field(
        None, ge=384, description="most memory of one worker, in MiB (Linux); null: no limit"
    )
    tasks_per_worker: int | None = Field(
        50, ge=1, description="a worker is replaced after so many tasks; null: never"
    )
    threads: int = Field(
        1, ge=1, le=10**4, description="threads that libraries may use in one worker"
    )
    isolate: bool = Field(
        False, description="with one worker too, work in a process apart from the run's own"
    )

    @property
    def processes(self) -> int:
        """How many workers there will be."""
        return self.workers or workers_wanted()

    def open(self) -> AbstractContextManager[Executor]:
        """Workers start with the first tasks; on leaving, those still at work are killed."""
        if self.processes == 1 and not self.isolate and self.memory_mb is None:
            return contextlib.nullcontext(Inline())
        return self._open()

    @contextlib.contextmanager
    def _open(self) -> Iterator[Executor]:
        processes = Processes(self)
        try:
            yield processes
        finally:
            processes.close()


def workers_wanted() -> int:
    """Processes for data tasks: ``YORIAI_WORKERS``, else one for each CPU of this process."""
    text = os.environ.get("YORIAI_WORKERS", "")
    if not text:
        # Slurm and containers often give a process fewer CPUs than the machine has.
        allowed = getattr(os, "sched_getaffinity", None)
        return len(allowed(0)) if allowed else os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"YORIAI_WORKERS={text!r} is no number of processes")
    return int(text)


class Inline(Executor):
    """Does each task at once, where it is submitted."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Processes(ThreadPoolExecutor):
    """One thread for each worker: it hands over a task and waits for the answer or the death."""

    def __init__(self, engine: Local) -> None:
        super().__init__(engine.processes, thread_name_prefix="yoriai-worker")
        self._engine = engine
        self._own = threading.local()
        self._workers: set[_Worker] = set()
        self._closing = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ARG002
        (task,) = args
        return super().submit(self._ask, fn, task)

    def close(self) -> None:
        """Begin nothing more, kill what is at work, and wait until no process is left."""
        with _starting:
            self._closing = True
            workers = list(self._workers)
        self.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.dismiss()
        self.shutdown(wait=True)
        for worker in workers:
            worker.reap()

    def _ask(self, work: Callable[[Any], Any], task: Any) -> Any:
        message = pickle.dumps((work, task), pickle.HIGHEST_PROTOCOL)
        worker: _Worker | None = getattr(self._own, "worker", None)
        if worker is None:
            with _starting:
                if self._closing:
                    raise CancelledError
                worker = self._own.worker = _Worker(self._engine)
                self._workers.add(worker)
        try:
            return worker.ask(message)
        finally:
            if worker.spent:
                self._own.worker = None
                worker.dismiss()
                worker.reap()
                self._workers.discard(worker)


class _Worker:
    """The parent's side of one process."""

    def __init__(self, engine: Local) -> None:
        self._memory_mb = engine.memory_mb
        self._left = engine.tasks_per_worker or sys.maxsize
        self._busy = False
        self._channel, theirs = _context.Pipe()
        # The kernel signals the death of a parent when the *thread* that started the process
        # ends; that thread is the owner of this worker and outlives it.
        self._process = _context.Process(
            target=_serve, args=(theirs, engine.memory_mb, engine.threads), daemon=True
        )
        self._process.start()
        theirs.close()

    @property
    def spent(self) -> bool:
        """Whether the process is gone or has done its share."""
        return self._left <= 0

    def ask(self, message: bytes) -> Any:
        """The result of one task; raises what the task raised, or :class:`WorkerLost`."""
        self._left -= 1
        self._busy = True
        try:
            self._channel.send_bytes(message)
            connection.wait([self._channel, self._process.sentinel])
            done, answer = pickle.loads(self._channel.recv_bytes())
        except (EOFError, OSError):
            self._left = 0
            raise WorkerLost(f"the worker process {self._fate()}") from None
        self._busy = False
        if done:
            return answer
        if isinstance(answer, MemoryError):
            self._left = 0  # what is left of its memory may be in pieces
            limit = f" (memory_mb: {self._memory_mb})" if self._memory_mb else ""
            raise WorkerLost(f"the worker process ran out of memory{limit}") from answer
        raise answer

    def dismiss(self) -> None:
        """Tell the process to go; one that is at work is killed."""
        if self._busy:
            self._process.kill()
        else:
            self._channel.close()

    def reap(self) -> None:
        """Wait until the process is gone."""
        connection.wait([self._process.sentinel], PATIENCE_SECONDS)
        with _starting:
            self._process.kill()
            self._process.join()
        self._channel.close()

    def _fate(self) -> str:
        connection.wait([self._process.sentinel], PATIENCE_SECONDS)
        with _starting:
            self._process.join(PATIENCE_SECONDS)
            status = self._process.exitcode
        if status == -signal.SIGKILL:
            return "was killed (SIGKILL): the kernel does so when memory runs out"
        if status == -signal.SIGABRT and self._memory_mb:
            return f"gave up (SIGABRT), as many libraries do over memory_mb: {self._memory_mb}"
        if status is not None and status < 0:
            return f"crashed ({signal.Signals(-status).name})"
        return f"ended with status {status}"


# --- in the worker process --------------------------------------------------------------


def _serve(channel: connection.Connection, memory_mb: int | None, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    _die_with_parent()
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    if memory_mb is not None:
        _limit_memory(memory_mb)
    while True:
        try:
            message = channel.recv_bytes()
        except EOFError:
            return
        answer = _answer(message)
        with contextlib.suppress(BrokenPipeError):
            channel.send_bytes(answer)


def _answer(message: bytes) -> bytes:
    """The pickled pair of success and result, or of failure and exception."""
    try:
        work, task = pickle.loads(message)
        return pickle.dumps((True, work(task)), pickle.HIGHEST_PROTOCOL)
    except MemoryError:
        return pickle.dumps((False, MemoryError()))  # the original may hold on to arrays
    except BaseException as error:
        error.add_note("in a worker process:\n" + traceback.format_exc())
        try:
            answer = pickle.dumps((False, error), pickle.HIGHEST_PROTOCOL)
            pickle.loads(answer)  # some exceptions can be written but not read
        except Exception:
            plain = YoriaiError(f"{type(error).__name__}: {error}")
            plain.add_note(error.__notes__[-1])
            answer = pickle.dumps((False, plain), pickle.HIGHEST_PROTOCOL)
        return answer


def _die_with_parent() -> None:
    """After ``kill -9`` of the parent no worker may go on."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent.pid:  # it died before the call above
            os._exit(1)
        # If memory runs out, the kernel should take a worker, not the run itself.
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write("500")
    else:
        sentinel = parent.sentinel

        def follow() -> None:
            connection.wait([sentinel])
            os._exit(1)

        threading.Thread(target=follow, daemon=True).start()


def _limit_memory(memory_mb: int) -> None:
    """Cap private writable memory (Linux 4.7 and later).

    RLIMIT_DATA and not RLIMIT_AS: address space is reserved and not used by many (glibc's arenas,
    libraries, memory-mapped files), and under an RLIMIT_AS of 512 MiB numba and Arrow
    hang. Under an RLIMIT_DATA of 384 MiB both load and work, and what is too large raises
    MemoryError. Arrow's own allocator reserves 1 GiB at once, which counts, so it is not used.
    """
    if sys.platform == "linux":
        import resource

        os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"
        size = memory_mb * 2**20
        resource.setrlimit(resource.RLIMIT_DATA, (size, size))
