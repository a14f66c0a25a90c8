"""Running data tasks: pure functions that leave their results and receipts on disk.

A task is done wherever an :class:`yoriai.Engine` has it done, perhaps more than once, and
that changes nothing but the time it takes: its result is written whole or not at all, and its
receipt says that it is there.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from yoriai import Engine, WorkerLost, YoriaiError
from yoriai_corpus.engines.deaths import DEATHS
from yoriai_corpus.engines.local import Local, workers_wanted

__all__ = ["Pool", "opened", "run_tasks", "workers_wanted"]

Task = TypeVar("Task")
Result = TypeVar("Result")

PENDING = 4096  # tasks handed over at a time: more than there are workers anywhere
REOPENINGS = 2  # how often a step finds itself a new pool after losing the whole of one


@dataclass(slots=True)
class _Attempt(Generic[Task]):
    task: Task
    deaths: int = 0


class Pool:
    """Workers for a whole step; opened with the first task, see :func:`opened`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._context = contextlib.ExitStack()
        self._executor: Executor | None = None
        self._losses = 0

    def run(
        self,
        work: Callable[[Task], Result],
        tasks: Iterable[Task],
        *,
        on_death: Callable[[Task], Task] | None = None,
    ) -> Iterator[Result]:
        """Results as they are done, in any order; ``tasks`` is read as they are needed.

        ``work`` is a function of a module; it and the tasks can be pickled. When the process
        working on a task dies or is out of memory, ``on_death(task)`` gives the task to try
        next, or raises to give up. Without it a task is tried three times.

        What a task raises is raised here and ends the run. Then, and when the caller goes no
        further (Ctrl-C, ``close()``), tasks not begun never begin and those begun are killed.
        Raises :class:`yoriai.YoriaiError` when a task or the whole pool is lost for good.
        """
        upcoming = iter(tasks)
        again: deque[_Attempt[Task]] = deque()
        flying: dict[Future[Result], _Attempt[Task]] = {}
        done: SimpleQueue[Future[Result]] = SimpleQueue()
        try:
            while True:
                while len(flying) < PENDING and (done.empty() or not flying):
                    attempt = again.popleft() if again else _next(upcoming)
                    if attempt is None:
                        break
                    future = self._submit(work, attempt.task)
                    flying[future] = attempt
                    future.add_done_callback(done.put)
                if not flying:
                    return
                future = done.get()
                attempt = flying.pop(future, None)
                if attempt is None:
                    continue  # belonged to a pool that was lost
                try:
                    result = future.result()
                except (WorkerLost, MemoryError) as error:
                    again.append(_after_death(attempt, error, on_death))
                except BrokenExecutor as error:
                    self._lose(error)
                    again.append(attempt)
                    for other in [each for each in flying if not _is_answered(each)]:
                        again.append(flying.pop(other))
                else:
                    yield result
        finally:
            if flying:
                self.close()

    def close(self) -> None:
        """End the workers; the next task opens them again."""
        self._executor = None
        self._context.close()

    def _submit(self, work: Callable[[Task], Result], task: Task) -> Future[Result]:
        if self._executor is None:
            self._executor = self._context.enter_context(self._engine.open())
        try:
            return self._executor.submit(work, task)
        except BrokenExecutor as error:
            future: Future[Result] = Future()
            future.set_exception(error)
            return future

    def _lose(self, error: BrokenExecutor) -> None:
        self.close()
        self._losses += 1
        if self._losses > REOPENINGS:
            raise YoriaiError(
                f"all workers were lost {self._losses} times: {error}",
                hint="run the same command again: finished tasks are not done again",
            ) from error


@contextlib.contextmanager
def opened(engine: Engine | None = None) -> Iterator[Pool]:
    """A pool of the engine's workers for several :meth:`Pool.run` in a row; None: ``Local()``.

    Nothing is started before the first task; nothing is left running afterwards.
    """
    pool = Pool(engine if engine is not None else Local())
    try:
        yield pool
    finally:
        pool.close()


def run_tasks(
    engine: Engine | None,
    work: Callable[[Task], Result],
    tasks: Iterable[Task],
    *,
    on_death: Callable[[Task], Task] | None = None,
) -> Iterator[Result]:
    """:meth:`Pool.run` in a pool for these tasks alone."""
    with opened(engine) as pool:
        yield from pool.run(work, tasks, on_death=on_death)


def _next(upcoming: Iterator[Task]) -> _Attempt[Task] | None:
    for task in upcoming:
        return _Attempt(task)
    return None


def _is_answered(future: Future[Any]) -> bool:
    """Whether the future holds an answer about its task, not about a pool that was lost."""
    if not future.done() or future.cancelled():
        return False
    return not isinstance(future.exception(), BrokenExecutor)


def _after_death(
    attempt: _Attempt[Task],
    error: WorkerLost | MemoryError,
    on_death: Callable[[Task], Task] | None,
) -> _Attempt[Task]:
    if on_death is not None:
        return _Attempt(on_death(attempt.task), attempt.deaths + 1)
    if attempt.deaths + 1 < DEATHS:
        return _Attempt(attempt.task, attempt.deaths + 1)
    name = str(attempt.task)
    reason = error.message if isinstance(error, WorkerLost) else "out of memory"
    raise YoriaiError(
        f"a task failed {DEATHS} times: {reason}; task: {name[:200]}{'…' * (len(name) > 200)}",
        hint="give workers more memory (fewer of them, a higher memory_mb) and run the same"
        " command again: finished tasks are not done again",
    ) from error
