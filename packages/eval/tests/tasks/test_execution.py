"""Programs that models write: they run in limits, and only what reaches its end passes."""

import os
import select
import sys

import pytest

from yoriai import UsageError
from yoriai_eval.tasks import execution
from yoriai_eval.tasks.execution import ProgramLimits, run


@pytest.mark.parametrize("program", ["", "assert 1 + 1 == 2", "print('あ')", "import json, math"])
def test_what_runs_to_its_end_passes(program):
    assert run(program).passed


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("assert 1 == 2", "AssertionError"),
        ("def f(:", "SyntaxError"),
        ("raise SystemExit(0)", ""),
        ("import os; os._exit(0)", ""),
        ("print('passed'); import sys; sys.exit(0)", ""),
        ("import torch", "ModuleNotFoundError"),
        ("\ud800", ""),
    ],
)
def test_anything_else_fails_and_says_why(program, said):
    outcome = run(program)
    assert (outcome.passed, outcome.reason) == (False, "failed")
    assert said in outcome.detail


def test_a_program_that_does_not_end_is_ended():
    assert run("while True: pass", ProgramLimits(seconds=0.5)).reason == "timed out"
    assert run("while True: pass", ProgramLimits(seconds=3600, cpu_seconds=1)).reason == "killed"


def test_children_end_with_it(tmp_path):
    place = tmp_path / "pid"
    program = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
open({str(place)!r}, "w").write(str(child.pid))
"""
    assert run(program).passed
    try:
        child = os.pidfd_open(int(place.read_text()))
    except ProcessLookupError:
        return
    # It was sent SIGKILL before run() came back; when the system lets it end is not ours.
    ended, _, _ = select.select([child], [], [], 3600)
    os.close(child)
    assert ended


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux")
def test_memory_and_files_have_limits():
    assert "MemoryError" in run("x = bytearray(2 * 10**9)").detail
    assert (
        "too large"
        in run("open('a', 'wb').write(bytes(3_000_000))", ProgramLimits(file_mb=1)).detail
    )
    assert run("open('a', 'wb').write(bytes(500_000))", ProgramLimits(file_mb=1)).passed


def test_it_sees_no_environment_and_an_empty_folder(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    assert run("import os\nassert 'SECRET_TOKEN' not in os.environ").passed
    assert run("import os\nassert set(os.listdir()) <= {'program.py', 'stdout', 'stderr'}").passed
    assert run("import sys\nassert sys.stdin.read() == ''").passed


@pytest.mark.skipif(not execution.isolation(), reason="no user namespaces here")
def test_it_has_no_network():
    program = "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)"
    assert "unreachable" in run(program, ProgramLimits(network="off")).detail


def test_a_system_that_cannot_cut_the_network_may_be_refused(monkeypatch):
    monkeypatch.setattr(execution, "isolation", lambda: ())
    assert run("x = 1").passed
    with pytest.raises(UsageError, match="network cannot be taken"):
        run("x = 1", ProgramLimits(network="off"))
