"""Every error a user may see, each with its exit code.

::

    YoriaiError                exit 1  the work failed
    ├── UsageError             exit 2  wrong option, key or value
    ├── NotFound               exit 3  something asked for is not there
    ├── Refused                exit 4  a check failed, inputs drifted, a name is taken
    │   └── Altered            exit 4  bytes are not those that were sealed
    ├── PluginBroken           exit 5  a plugin is broken and strict mode is on
    └── TimedOut               exit 6  the time is up: the same command goes on from here

0 means done and 130 interrupted (Ctrl-C), after the run file was completed.
"""

from __future__ import annotations

EXIT_CODES: dict[int, str] = {
    0: "done",
    1: "the work failed; `train plan`: it does not fit; `doctor`: something is missing",
    2: "usage or configuration error",
    3: "something asked for is not there",
    4: "refused: a check failed, or inputs changed under the same name",
    5: "a plugin is broken (strict mode)",
    6: "the time is up (--time-limit, SIGTERM, SIGUSR1): the same command goes on from here",
    130: "interrupted; the run file was completed first",
}


class YoriaiError(Exception):
    """What happened (``message``), and the line to type next (``hint``)."""

    exit_code = 1
    code = "failed"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(YoriaiError):
    exit_code = 2
    code = "usage"


class NotFound(YoriaiError):
    exit_code = 3
    code = "not-found"


class Refused(YoriaiError):
    exit_code = 4
    code = "refused"


class Altered(Refused):
    code = "altered"


class WorkerLost(YoriaiError):
    """The process that worked on a task died: killed, out of memory, or crashed in a library."""

    code = "worker-lost"


class PluginBroken(YoriaiError):
    exit_code = 5
    code = "plugin-broken"


class TimedOut(YoriaiError):
    """The time is up: ``--time-limit``, or a signal of a scheduler. A script may start it again."""

    exit_code = 6
    code = "timed-out"


def is_failure(error: BaseException) -> bool:
    """Whether it is an error to be told: what a library in Rust calls a panic is no Exception."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"  # of pyo3
