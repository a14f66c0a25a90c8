"""Tasks for the workers of a Dask cluster, one for each worker process at a time.

Dask blames a dead worker on every task that was assigned to it, begun or not (dask/distributed
issue 5234), and a cluster that is not ours may try such a task again by itself. So tasks are
assigned here, and what Dask's scheduler does is to carry them to the worker named and to
say which workers come and go.
"""

from __future__ import annotations

import contextlib
import functools
import pickle
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Literal

from yoriai import WorkerLost, YoriaiError

TICK_SECONDS = 1.0
REFUSALS = 5  # jobs in a row that the queue does not take, while there is no worker


@dataclass(slots=True)
class Demand:
    """What the cluster hears of the tasks, and the tasks of the cluster."""

    tasks: int = 0
    refusals: int = 0  # jobs in a row that could not be submitted, and why
    refusal: str = ""


def call(message: bytes) -> Any:
    """Do one task, in the worker."""
    work, task = pickle.loads(message)
    return work(task)


@dataclass(eq=False, slots=True)
class _Call:
    """One task: what the caller holds (``ours``) and what Dask gives (``theirs``)."""

    ours: Future[Any]
    message: bytes
    key: str = ""
    theirs: Future[Any] | None = None


@dataclass(slots=True)
class _Said:
    """Something that happened, in the order in which the one thread of state hears of it."""

    what: Literal["call", "done", "event", "workers", "close"]
    item: Any = None
    address: str = ""
    asked: int = 0


class Assigned(Executor):
    """Gives each worker one task at a time, and tells a death from an orderly leave.

    All state belongs to one thread, which hears from the others by a queue.
    """

    def __init__(self, client: Any, demand: Demand) -> None:
        self._client = client
        self._demand = demand
        self._link = client.scheduler_comm  # another one means: another scheduler, or the same anew
        self._heard: SimpleQueue[_Said] = SimpleQueue()
        self._waiting: deque[_Call] = deque()
        self._busy: dict[str, _Call] = {}
        self._idle: dict[str, Any] = {}  # address: a ClientExecutor for this worker alone
        self._changes = 0
        self._end: Exception | None = None
        client.subscribe_topic("all", lambda event: self._heard.put(_Said("event", event[1])))
        self._thread = threading.Thread(target=self._listen, name="yoriai-dask", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ARG002
        from distributed.protocol.pickle import dumps

        (task,) = args
        future: Future[Any] = Future()
        self._heard.put(_Said("call", _Call(future, dumps((fn, task)))))
        return future

    def close(self) -> None:
        """Cancel what is not done. (What a worker that is not ours has begun, it finishes.)"""
        self._heard.put(_Said("close"))
        self._thread.join()
        if self._is_linked():
            with contextlib.suppress(Exception):  # else the scheduler complains of a lost reader
                self._client.unsubscribe_topic("all")

    def _listen(self) -> None:
        asked_at = 0.0
        while True:
            if time.monotonic() - asked_at > TICK_SECONDS:
                asked_at = time.monotonic()
                self._client.loop.add_callback(self._ask_for_workers, self._changes)
            try:
                said = self._heard.get(timeout=TICK_SECONDS)
            except Empty:
                said = None
            if said is not None and said.what == "close":
                self._fail(BrokenExecutor("the engine was closed"))
                return
            if said is not None:
                getattr(self, f"_on_{said.what}")(said)
            if not self._is_linked():
                self._end = BrokenExecutor("the connection to the Dask scheduler was lost")
            elif self._demand.refusals >= REFUSALS and not (self._idle or self._busy):
                self._end = YoriaiError(
                    f"no job could be submitted: {self._demand.refusal}",
                    hint="see what `yoriai_corpus.engines.dask.job_script` gives, or `job_extra`",
                )
            if self._end is not None:
                self._fail(self._end)
            self._assign()

    def _is_linked(self) -> bool:
        return self._client.status == "running" and self._client.scheduler_comm is self._link

    def _fail(self, error: Exception) -> None:
        """No task that is here now will be done."""
        entries = [*self._busy.values(), *self._waiting]
        self._busy.clear()
        self._waiting.clear()
        self._idle.clear()
        for entry in entries:
            if self._is_linked():
                self._give_up(entry)
            if not entry.ours.cancelled():
                entry.ours.set_exception(error)

    def _assign(self) -> None:
        while self._waiting and self._idle:
            entry = self._waiting.popleft()
            if not entry.ours.running() and not entry.ours.set_running_or_notify_cancel():
                continue
            address, worker = self._idle.popitem()
            entry.key = f"yoriai-{uuid.uuid4().hex}"
            self._busy[address] = entry
            entry.theirs = worker.submit(call, entry.message, key=entry.key)
            done = _Said("done", entry, address)
            entry.theirs.add_done_callback(functools.partial(self._hear, done))
        self._demand.tasks = len(self._waiting) + len(self._busy)

    def _hear(self, said: _Said, _: Future[Any]) -> None:
        self._heard.put(said)

    def _on_call(self, said: _Said) -> None:
        self._waiting.append(said.item)

    def _on_done(self, said: _Said) -> None:
        from distributed import KilledWorker

        entry: _Call = said.item
        if self._busy.get(said.address) is not entry or entry.theirs is None:
            return
        del self._busy[said.address]
        try:
            entry.ours.set_result(entry.theirs.result())
        except CancelledError:  # nobody here cancelled it
            self._waiting.append(entry)
            self._end = BrokenExecutor("the Dask scheduler was lost or restarted")
            return
        except KilledWorker:
            entry.ours.set_exception(WorkerLost(_lost(said.address)))
            return
        except BaseException as error:
            entry.ours.set_exception(error)
        self._join(said.address)

    def _on_event(self, said: _Said) -> None:
        event = said.item
        if event.get("action") == "add-worker":
            self._changes += 1
            self._join(event["worker"])
        elif event.get("action") == "remove-worker":
            self._changes += 1
            begun = set(event.get("processing-tasks", ()))
            self._leave(event["worker"], expected=event.get("expected", False), begun=begun)

    def _on_workers(self, said: _Said) -> None:
        """The scheduler's own list, for what no event told; out of date if one came since."""
        if said.asked != self._changes:
            return
        for address in said.item - set(self._busy):
            self._join(address)
        for address in set(self._idle) - said.item:
            self._leave(address)

    def _join(self, address: str) -> None:
        if address not in self._idle and address not in self._busy:
            self._idle[address] = self._client.get_executor(
                workers=[address], allow_other_workers=False, pure=False
            )

    def _leave(
        self, address: str, *, expected: bool = True, begun: frozenset[str] | set[str] = frozenset()
    ) -> None:
        self._idle.pop(address, None)
        entry = self._busy.pop(address, None)
        if entry is None:
            return
        self._give_up(entry)
        if not expected and entry.key in begun:
            entry.ours.set_exception(WorkerLost(_lost(address)))
        else:  # it left in good order, or with the task done but not the result fetched
            self._waiting.appendleft(entry)

    def _give_up(self, entry: _Call) -> None:
        if entry.theirs is not None:
            entry.theirs.cancel()

    async def _ask_for_workers(self, asked: int) -> None:
        with contextlib.suppress(Exception):  # a scheduler that does not answer is found out above
            found = await self._client.scheduler.ncores(workers=None)
            self._heard.put(_Said("workers", set(found), asked=asked))


def _lost(address: str) -> str:
    return f"the Dask worker {address} died (killed, out of memory, or at the end of its job)"
