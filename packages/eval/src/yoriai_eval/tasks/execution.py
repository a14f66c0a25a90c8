"""Running a program that a model wrote.

What it keeps off: the CPU, memory, file sizes and time are limited; the program starts in an empty
folder that is deleted, with no environment, no input and no packages but Python's own; where the
system allows it (user namespaces on Linux) it has no network. What it does not: the files that you
may read, the program may read; and a program that looks for the word by which its end is told can
forge a pass, since it runs in the same interpreter. Against code that means harm, run the whole
evaluation in a container or a virtual machine.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field

from yoriai.strict import Strict

KEPT = 2000  # characters of what the program wrote last

# The program's own part of the process: limits first, then the program, then the word that says it
# came to its end. The word comes by standard input and is read before the program starts, so that
# `exit(0)` in the middle does not look like success.
_INSIDE = """\
import sys
seconds, memory, size = map(int, sys.argv[1:4])
word = sys.stdin.readline().strip()
try:
    import resource
except ImportError:
    resource = None
for name, limit in (("CPU", seconds), ("AS", memory), ("FSIZE", size), ("CORE", 0), ("NPROC", 64)):
    try:
        resource.setrlimit(getattr(resource, "RLIMIT_" + name), (limit, limit))
    except (AttributeError, ValueError, OSError):
        pass  # macOS does not limit the address space
with open("program.py", encoding="utf-8") as stream:
    code = compile(stream.read(), "program.py", "exec")
sys.argv = ["program.py"]
report = sys.__stdout__
write, flush = report.write, report.flush
exec(code, {"__name__": "__main__"})
write("\\n" + word + "\\n")
flush()
"""


class ProgramLimits(Strict):
    """Of one run."""

    seconds: float = Field(10.0, gt=0, description="by the clock; then it is killed")
    cpu_seconds: int = Field(5, ge=1, description="of processor time")
    memory_mb: int = Field(512, ge=64, description="address space")
    file_mb: int = Field(1, ge=0, description="largest file that it may write")
    network: Literal["off", "if possible off"] = Field(
        "if possible off", description="off: refuse to run where it cannot be cut off"
    )


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """How a run went; ``detail`` is the end of what it wrote to standard error."""

    passed: bool
    reason: Literal["passed", "failed", "timed out", "killed"]
    detail: str = ""


@cache
def isolation() -> tuple[str, ...]:
    """The words before a command that take the network from it; none where that is not possible."""
    place = shutil.which("unshare")
    if not place:
        return ()
    words = (place, "--user", "--map-root-user", "--net", "--")
    tried = subprocess.run([*words, sys.executable, "-c", ""], capture_output=True, check=False)
    return words if tried.returncode == 0 else ()


def run(program: str, limits: ProgramLimits | None = None) -> ExecutionResult:
    """Run a Python program to its end; it passes if it gets there without an error.

    Raises :class:`yoriai.UsageError` if the network is to be off and cannot be.
    """
    from yoriai import UsageError

    limits = limits or ProgramLimits()
    before = isolation()
    if limits.network == "off" and not before:
        raise UsageError(
            "the network cannot be taken from a program on this system",
            hint="limits: {network: if possible off}, in a container without a network",
        )
    word = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="yoriai-run-") as folder:
        (Path(folder) / "program.py").write_text(program, encoding="utf-8", errors="replace")
        sizes = (limits.cpu_seconds, limits.memory_mb * 2**20, limits.file_mb * 2**20)
        command = [*before, sys.executable, "-I", "-S", "-B", "-c", _INSIDE, *map(str, sizes)]
        out, err = Path(folder) / "stdout", Path(folder) / "stderr"
        with out.open("wb") as written, err.open("wb") as complaints:
            child = subprocess.Popen(
                command,
                cwd=folder,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": folder, "TMPDIR": folder},
                stdin=subprocess.PIPE,
                stdout=written,
                stderr=complaints,
                start_new_session=True,
            )
            late = False
            try:
                child.communicate(f"{word}\n".encode(), timeout=limits.seconds)
            except subprocess.TimeoutExpired:
                late = True
            finally:
                _kill(child)
        told = _tail(err)
        if late:
            return ExecutionResult(False, "timed out", told)
        if child.returncode == 0 and _tail(out).rstrip("\n").endswith(f"\n{word}"):
            return ExecutionResult(True, "passed")
        return ExecutionResult(False, "killed" if child.returncode < 0 else "failed", told)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the process and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _tail(place: Path) -> str:
    with place.open("rb") as stream:
        stream.seek(max(0, place.stat().st_size - KEPT))
        return stream.read().decode("utf-8", "replace")
