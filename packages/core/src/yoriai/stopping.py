"""Signals of a user or a scheduler, and the end of ``--time-limit``, as an orderly end.

A signal raises at once where the program stands. That exception can be lost (Python ignores one
that strikes inside a finaliser; careless code catches everything), so it is also remembered, and
:func:`heed` raises it again at every step and tick. The command line holds the handlers from its
first line to its last, so that a signal before a run began, or after it ended, has the documented
exit code too.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal

TYPE_CHECKING = False  # importing `typing` takes 5 ms, in which no signal is handled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any


class StopRequest(BaseException):
    """A signal's way out. No step's ``except Exception`` may swallow it."""


_asked: list[BaseException] = []
_held = False  # whether handlers of `orderly_end` stand
_deferring = 0  # blocks of `deferred` that are open


def heed() -> None:
    """Raise what a signal asked for, if one did."""
    if _asked:
        raise _asked[0]


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Let no signal raise inside the block, which must be short; ask :func:`heed` after it."""
    global _deferring
    kept, _deferring = _deferring, _deferring + 1
    try:
        yield
    finally:
        _deferring = kept


@contextlib.contextmanager
def undeferred() -> Iterator[None]:
    """The part of a :func:`deferred` block in which signals raise as usual."""
    global _deferring
    kept, _deferring = _deferring, 0
    try:
        heed()
        yield
    finally:
        _deferring = kept


def _handler() -> Callable[[int, Any], None]:
    owner = os.getpid()

    def stop(number: int, _frame: Any) -> None:
        if os.getpid() != owner:  # a forked worker inherits this function; it just ends
            os._exit(128 + number)
        if number == signal.SIGINT:
            _asked.append(KeyboardInterrupt())
        else:
            received = f"{signal.Signals(number).name} was received"
            alarm = number == signal.SIGALRM
            _asked.append(StopRequest("the time limit was reached" if alarm else received))
        if not _deferring:
            raise _asked[-1]

    return stop


@contextlib.contextmanager
def orderly_end() -> Iterator[None]:
    """Turn SIGTERM, SIGUSR1, SIGALRM and SIGINT into :class:`StopRequest` or a KeyboardInterrupt.

    Inside another such block it does nothing. What was asked for is forgotten where it begins.
    """
    global _held
    if _held:
        yield
        return
    _asked.clear()
    numbers = [signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1]
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not under nohup
        numbers.append(signal.SIGINT)
    stop = _handler()
    try:
        former = {number: signal.signal(number, stop) for number in numbers}
    except ValueError:  # not in the main thread: the caller owns the signals
        yield
        return
    _held = True
    try:
        yield
    finally:
        _held = False
        for number, handler in former.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def time_limit(minutes: float) -> Iterator[None]:
    """Ask for the end after so many minutes (0: never), inside :func:`orderly_end`."""
    if not (_held and minutes > 0):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, minutes * 60)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _forget() -> None:
    """A forked child is no part of the run: it has handlers of its own, or just ends."""
    global _held, _deferring
    _held, _deferring = False, 0


os.register_at_fork(after_in_child=_forget)


def settle(code: int) -> None:
    """The exit code of this process is decided: a later signal only ends it sooner, with it."""
    owner = os.getpid()

    def end(number: int, _frame: Any) -> None:
        os._exit(code if os.getpid() == owner else 128 + number)

    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


def ignore_at_exit() -> None:
    """Let the last milliseconds of the interpreter, in which no handler of ours runs, pass."""

    def ignore() -> None:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

    atexit.register(ignore)
