"""Running a program that a model wrote, and judging it from outside.

Two processes, each shut in on its own. One runs the program and answers calls of its function; it
has neither the tests nor the verdict. The other runs the tests: it sends arguments and compares
the plain values that come back in its own interpreter. What the program does to its own
interpreter, or answers, is at most a wrong value. A change that the function makes to its arguments
is not seen by the tests.

In ``namespaces`` (Linux) each process has no network, sees no process but its own, no files but
Python's own and the system's libraries, read only, and may write only to a small ``/tmp`` that is
gone when it ends, as does all that it started. It is one kernel: against a hole in
that, use a virtual machine. Without namespaces nothing is run
unless :class:`ProgramLimits` says ``unisolated``; then only resource limits are left, and the
program can read and write what you can, also the process of the judge.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import Field

from yoriai import UsageError, YoriaiError
from yoriai.strict import Strict
from yoriai_eval.tasks.inside import confine

_START = """\
import sys, json
place, name, rest = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
sys.path.insert(0, place)
from inside import judge, program
del sys.path[0]
sys.argv = [""]
{"judge": judge, "program": program}[name].main(*rest)
"""
_MOST_VERDICT = 2**16  # bytes
_JUDGE = {"cpu_seconds": 60, "memory": 2**30, "file": 2**20, "folder": 2**22, "processes": 8}


class ProgramLimits(Strict):
    """Of one run."""

    seconds: float = Field(10.0, gt=0, le=86400, description="by the clock; then it is killed")
    cpu_seconds: int = Field(5, ge=1, le=86400, description="of processor time, each process")
    memory_mb: int = Field(512, ge=64, le=2**20, description="address space, each process")
    file_mb: int = Field(1, ge=0, le=2**14, description="largest file; its folder holds four")
    processes: int = Field(8, ge=1, le=1000, description="processes and threads, with its own")
    unisolated: bool = Field(
        False,
        description="run also where the system gives no namespaces: it can then do what you can",
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """A function to write: its head, its name, and the text of tests that define ``check``."""

    prompt: str
    entry_point: str
    test: str


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """How a run went; ``detail`` is what failed first, in words that may be the program's."""

    passed: bool
    reason: Literal["passed", "failed", "timed out", "killed"]
    detail: str = ""


@cache
def isolation() -> Literal["namespaces", "none"]:
    """The strongest that this system gives, found by trying it."""
    if sys.platform != "linux":
        return "none"
    try:
        problem = Problem("def f():\n", "f", "def check(f):\n    assert f() == 1\n")
        tried = _run(problem, "def f():\n    return 1\n", ProgramLimits(seconds=60), "namespaces")
    except (YoriaiError, OSError):
        return "none"
    return "namespaces" if tried.passed else "none"


def require(limits: ProgramLimits) -> Literal["namespaces", "none"]:
    """The isolation under which programs are run; raises UsageError if there is none."""
    if isolation() == "none" and not limits.unisolated:
        raise UsageError(
            "this system gives no namespaces to shut generated programs in, so none is run",
            hint="limits: {unisolated: true}, only in a container or machine that you can lose",
        )
    return isolation()


def run(problem: Problem, program: str, limits: ProgramLimits | None = None) -> ExecutionResult:
    """Run a program against the tests of its problem; both are text of strangers.

    Raises :class:`yoriai.UsageError` where it cannot be shut in and ``limits`` does not allow
    that, :class:`yoriai.YoriaiError` where the processes cannot be set up.
    """
    limits = limits or ProgramLimits()
    return _run(problem, program, limits, require(limits))


def _run(
    problem: Problem, program: str, limits: ProgramLimits, how: Literal["namespaces", "none"]
) -> ExecutionResult:
    end = time.monotonic() + limits.seconds
    size = limits.file_mb * 2**20
    own: dict[str, Any] = {
        "isolation": how,
        "cpu_seconds": limits.cpu_seconds,
        "memory": limits.memory_mb * 2**20,
        "file": size,
        "folder": max(2**16, 4 * size),
        "processes": limits.processes if how == "namespaces" else 4096,
    }
    judge = {**_JUDGE, "isolation": how} | ({} if how == "namespaces" else {"processes": 4096})
    tests = {"prompt": problem.prompt, "entry_point": problem.entry_point, "test": problem.test}
    with ExitStack() as stack:
        folders = [
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="yoriai-run-", ignore_cleanup_errors=True)
            )
            for _ in range(2)
        ]
        calls, answers, verdict = os.pipe(), os.pipe(), os.pipe()
        left = {*calls, *answers, *verdict}
        stack.callback(lambda: list(map(os.close, left)))
        words = [own, folders[0], calls[0], answers[1]]
        written = {"program": program, "entry_point": problem.entry_point}
        worker, said = _start(stack, "program", words, written)
        words = [judge, folders[1], calls[1], answers[0], verdict[1]]
        judging, judge_said = _start(stack, "judge", words, tests)
        for descriptor in (*calls, *answers, verdict[1]):
            os.close(descriptor)
            left.discard(descriptor)
        told = _hear(verdict[0], end)
        if told is None:
            late = time.monotonic() >= end
            _end(judging)
            _end(worker)
            _refuse_broken((worker, said), (judging, judge_said))
            reason: Literal["timed out", "killed"] = "timed out" if late else "killed"
            return ExecutionResult(False, reason, "" if late else "the judge ended")
        if told["passed"] is True:
            return ExecutionResult(True, "passed")
        try:  # the cause that the system knows, if the program is at its end
            worker.wait(timeout=min(1.0, max(0.0, end - time.monotonic())))
        except subprocess.TimeoutExpired:
            _end(worker)
            return ExecutionResult(False, "failed", str(told["detail"]))
        _end(judging)
        _refuse_broken((worker, said), (judging, judge_said))
        killed = worker.returncode == confine.KILLED
        return ExecutionResult(False, "killed" if killed else "failed", str(told["detail"]))


def _start(
    stack: ExitStack, name: str, words: list[Any], told: dict[str, str]
) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """A process that is ended, with all that it started, when the stack is left."""
    given = stack.enter_context(tempfile.TemporaryFile())
    said = stack.enter_context(tempfile.TemporaryFile())
    given.write(json.dumps(told).encode("ascii"))
    given.seek(0)
    command = [sys.executable, "-I", "-S", "-B", "-c", _START, str(Path(__file__).parent), name]
    process = subprocess.Popen(
        [*command, json.dumps(words)],
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": "/tmp", "TMPDIR": "/tmp"},
        cwd="/",
        stdin=given,
        stdout=subprocess.DEVNULL,
        stderr=said,
        pass_fds=[word for word in words if isinstance(word, int)],
        start_new_session=True,
    )
    stack.callback(_end, process)
    return process, said


def _hear(descriptor: int, end: float) -> dict[str, Any] | None:
    """The verdict; None if the judge ended without one, or too late."""
    content = b""
    while not content.endswith(b"\n") and len(content) < _MOST_VERDICT:
        left = end - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return None
        part = os.read(descriptor, _MOST_VERDICT)
        if not part:
            return None
        content += part
    told: dict[str, Any] = json.loads(content)
    return told


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started; nothing of it is left when this comes back."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _refuse_broken(*processes: tuple[subprocess.Popen[bytes], IO[bytes]]) -> None:
    for process, said in processes:
        if process.returncode in (1, confine.BROKEN):
            said.seek(0)
            lines = said.read(10_000).decode("utf-8", "replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "no reason was given")
            raise YoriaiError(f"a program could not be shut in: {last[:300]}")
