"""Calling somebody else's code so that it cannot take the process along.

What it raises (``KeyboardInterrupt`` and ``BaseException`` too), how long it takes, what it prints
(also straight to descriptors 1 and 2), and what it changes of the working folder, the environment
variables and the standard streams stays its own affair: :func:`call` reports it and puts things
back. This guards against failure, not against malice: the code has the user's rights.

The code runs in a thread of its own. So a real Ctrl-C reaches the caller and never the code, code
that does not end can be left behind whatever it catches, and threads that it starts are daemons,
which do not keep the process from ending.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from yoriai import terminal
from yoriai.errors import PluginBroken

PRINTED_CHARACTERS = 2_000
_STREAMS = ("stdin", "stdout", "stderr", "__stdin__", "__stdout__", "__stderr__")


class TookTooLong(BaseException):
    """Raised inside code whose time is up; no ``except Exception`` swallows it."""


@dataclass(slots=True)
class Came:
    """What came of a call: a value or an error, what was changed, and what was printed."""

    value: Any = None
    error: BaseException | None = None
    changes: list[str] = field(default_factory=list)
    printed: str = ""


def call(function: Callable[[], Any], seconds: float) -> Came:
    """Call ``function`` for at most ``seconds``. Raises only what is meant for the caller.

    ``error`` is :class:`TookTooLong` if the time was up.
    """
    import threading

    inside = Came()
    done = threading.Event()

    def work() -> None:
        try:
            inside.value = function()
        except BaseException as error:
            inside.error = error
        done.set()

    came = Came()
    with _streams(came), _surroundings(came):
        thread = threading.Thread(target=work, daemon=True, name="plugin")
        thread.start()
        try:
            in_time = done.wait(seconds)
        except BaseException:  # the caller is interrupted, and the code with it
            _stop(thread.ident)
            raise
        if in_time:
            came.value, came.error = inside.value, inside.error
        else:
            ended = _stop(thread.ident) and done.wait(1.0)
            came.error = TookTooLong(f"it did not end within {seconds:g} seconds")
            if not ended:
                came.changes.append("is still running, and was left behind")
    return came


# How often code is told that its time is up before the process ends without it.
_TOLD_TIMES = 10


def within(function: Callable[[], Any], seconds: float, what: str, *, waits: bool = True) -> Any:
    """Call ``function`` in this very thread, for at most ``seconds``; returns what it returns.

    For imports: a module may want the main thread (signals, thread-local settings), and what it
    changes of its surroundings is its purpose. When the time is up :class:`TookTooLong` is raised
    in it, every second again; code that catches all of them ends the process with the exit code of
    a broken plugin, and ``what`` it was doing is said. In another thread than the main one, a wait
    inside a library is not broken off. Without ``waits`` (it only computes) no thread watches it:
    a timer of the kernel does, which reaches a computation that never lets other threads run.
    """
    import threading
    import time

    over = threading.Event()
    striking = threading.Lock()
    ident = threading.get_ident()
    in_main = threading.current_thread() is threading.main_thread()

    end = time.monotonic() + seconds

    def strike(_number: int = 0, _frame: Any = None) -> None:
        # The timer counts the processor time of all threads; the watch what a clock shows.
        if not over.is_set() and time.monotonic() >= end:
            raise TookTooLong(f"it did not end within {seconds:g} seconds")

    def watch() -> None:
        wait = seconds
        for _ in range(_TOLD_TIMES):
            if over.wait(wait):
                return
            with striking:
                if over.is_set():
                    return
                if in_main:
                    signal.pthread_kill(ident, signal.SIGVTALRM)
                else:
                    _stop(ident)
            wait = 1.0
        if not over.wait(wait):
            told = f"{what} did not end within {seconds:g} seconds and cannot be stopped\n"
            os.write(2, terminal.harmless(told).encode("utf-8", "backslashreplace"))
            os._exit(PluginBroken.exit_code)

    former: Any = None
    timer = (0.0, 0.0)
    if in_main:
        former = signal.signal(signal.SIGVTALRM, strike)
        timer = signal.setitimer(signal.ITIMER_VIRTUAL, seconds + 0.01, 1.0)
    if waits or not in_main:
        threading.Thread(target=watch, daemon=True, name="time limit").start()
    try:
        try:
            return function()
        finally:
            over.set()
    finally:
        over.set()
        with striking:
            pass
        if in_main:
            signal.setitimer(signal.ITIMER_VIRTUAL, *timer)
            signal.signal(signal.SIGVTALRM, former)


def _stop(thread: int | None) -> bool:
    """Raise :class:`TookTooLong` in a thread, as soon as it executes Python again."""
    import ctypes

    reached = ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread or 0), ctypes.py_object(TookTooLong)
    )
    return bool(reached == 1)


# Without these nothing can be imported after it, or no thread can start. What is added to a list,
# and another hook in the place of the former, may be there for a reason.
_KEPT_OF_SYS = ("path", "meta_path", "path_hooks", "excepthook", "flags")


def _copy(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


def _lost(here: Any, kept: Any, copy: Any) -> bool:
    if isinstance(kept, list):
        return not isinstance(here, list) or any(item not in here for item in copy)
    return not callable(here) if callable(kept) else here is not kept


@contextlib.contextmanager
def _surroundings(came: Came) -> Iterator[None]:
    """Put the working folder and the environment variables back, and say so."""
    environ, variables = os.environ, dict(os.environ)
    interpreter = {name: (value := getattr(sys, name), _copy(value)) for name in _KEPT_OF_SYS}
    try:
        folder = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # it was deleted, or may not be read
        folder = -1
    try:
        yield
    finally:
        for name, (kept, copy) in interpreter.items():
            here = getattr(sys, name, None)
            if _lost(here, kept, copy):
                if isinstance(kept, list):
                    kept[:] = copy
                setattr(sys, name, kept)
                came.changes.append(f"changed sys.{name} (put back)")
        if os.environ is not environ:
            os.environ = environ  # noqa: B003  (the very object, put back)
            came.changes.append("replaced os.environ (put back)")
        if (now := dict(environ)) != variables:
            names = sorted(n for n in {*now, *variables} if now.get(n) != variables.get(n))
            for name in names:
                if name in variables:
                    environ[name] = variables[name]
                else:
                    del environ[name]
            shown = terminal.clip(terminal.one_line(", ".join(names)), 200)
            came.changes.append(f"changed environment variables: {shown} (put back)")
        if folder >= 0:
            with contextlib.suppress(OSError):  # the descriptor itself may have been closed
                if not _is_here(folder):
                    os.fchdir(folder)
                    came.changes.append("changed the working folder (put back)")
                os.close(folder)


def _is_here(folder: int) -> bool:
    try:
        return os.path.samestat(os.fstat(folder), os.stat("."))
    except OSError:
        return False


@contextlib.contextmanager
def _streams(came: Came) -> Iterator[None]:
    """Catch what is written to descriptors 1 and 2; reading from 0 finds the end of the file.

    The streams that the code sees write to descriptor 2: kept by the code (a log handler, say),
    they go on working afterwards, and never get into a command's answer.
    """
    former = {name: getattr(sys, name) for name in _STREAMS}
    for name in ("stdout", "stderr"):
        with contextlib.suppress(Exception):
            former[name].flush()
    kept = {number: _keep(number) for number in range(3)}
    caught = _nameless_file()
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    try:
        for number in range(3):
            os.dup2(caught if number else nothing, number)
        for name in _STREAMS:
            number, mode = (0, "r") if "stdin" in name else (2, "w")
            setattr(sys, name, _open(number, mode))
        yield
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        with contextlib.suppress(Exception):
            sys.stdout.flush()
        for number, copy in kept.items():
            with contextlib.suppress(OSError):
                if copy is None:
                    os.close(number)
                else:
                    os.dup2(copy, number)
                    os.close(copy)
        for name, stream in former.items():
            if getattr(stream, "closed", False):
                number, mode = (0, "r") if "stdin" in name else (1 + ("err" in name), "w")
                stream = _open(number, mode)
                came.changes.append(f"closed sys.{name} (opened again)")
            setattr(sys, name, stream)
        with contextlib.suppress(OSError):
            os.close(nothing)
        with contextlib.suppress(OSError):
            size = os.fstat(caught).st_size
            start = os.pread(caught, PRINTED_CHARACTERS, 0).decode("utf-8", "backslashreplace")
            came.printed = terminal.harmless(start.strip("\r\n"))
            if size > PRINTED_CHARACTERS:
                came.printed += f"\n… ({size - PRINTED_CHARACTERS:,} bytes left out)"
            os.close(caught)


def _keep(number: int) -> int | None:
    """A copy of a descriptor, out of the way of low numbers; None if it is closed."""
    import fcntl

    try:
        return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 64)
    except OSError:
        return None


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("printed", os.MFD_CLOEXEC)
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _open(number: int, mode: str) -> Any:
    return open(
        number,
        mode,
        encoding="utf-8",
        errors="backslashreplace" if mode == "w" else "replace",
        buffering=1,
        closefd=False,
    )
