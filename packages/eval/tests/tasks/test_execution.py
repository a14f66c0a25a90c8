"""Programs that models write: judged from outside, shut in, gone when they end."""

import contextlib
import ctypes
import os
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoriai import UsageError
from yoriai_eval.tasks import execution
from yoriai_eval.tasks.execution import Problem, ProgramLimits, run
from yoriai_eval.tasks.inside import values

SPACES = pytest.mark.skipif(
    execution.isolation() == "none", reason="this system gives no namespaces"
)
HEAD = 'def f(x):\n    """Twice x."""\n'
PROBLEM = Problem(
    HEAD, "f", "def check(f):\n    assert f(2) == 4\n    assert f([1, 'あ']) == [1, 'あ'] * 2\n"
)
OPEN = ProgramLimits(unisolated=True)


def asks(expression, before=""):
    """A problem whose tests say one expression of ``f``."""
    return Problem(HEAD, "f", f"{before}\ndef check(f):\n    assert {expression}\n")


def told(body, limits=OPEN):
    """What a program says of its surroundings, in an error."""
    program = f"import os, sys\ndef f(x):\n    r = []\n{body}\n    raise ValueError(r)\n"
    return run(PROBLEM, program, limits).detail


def test_a_right_function_passes():
    assert run(PROBLEM, HEAD + "    return x * 2\n", OPEN).passed


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (HEAD + "    return x\n", "AssertionError"),
        ("def f(:", "SyntaxError"),
        ("x = 1", "KeyError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("import torch\ndef f(x): return x * 2", "ModuleNotFoundError"),
        ("\ud800", "UnicodeEncodeError"),
    ],
)
def test_anything_else_fails_and_says_why(program, said):
    outcome = run(PROBLEM, program, OPEN)
    assert (outcome.passed, outcome.reason) == (False, "failed")
    assert said in outcome.detail


# Each would make its process, or the interpreter that held the tests, look like success.
FORGERIES = {
    "frames": """
import sys
def f(x):
    frame = sys._getframe()
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            if isinstance(value, dict):
                value.update(passed=True, detail="")
        frame = frame.f_back
    return 1""",
    "gc": """
import gc
for found in gc.get_objects():
    if isinstance(found, dict) and "test" in found and "prompt" in found:
        f = lambda x: eval(found["test"])
f = globals().get("f", lambda x: 1)""",
    "excepthook": "import os, sys\nsys.excepthook = lambda *_: os._exit(0)\ndef f(x): return 1 / 0",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 1",
    "exit at once": "import os\nos._exit(0)",
    "exit in a call": "import os\ndef f(x): os._exit(0)",
    "an equal number": """
class Same(int):
    __hash__ = int.__hash__
    def __eq__(self, other): return True
def f(x): return Same(1)""",
    "an equal object": """
class Same:
    def __eq__(self, other): return True
def f(x): return Same()""",
    "an equal list": """
class Same(list):
    def __eq__(self, other): return True
def f(x): return Same([1])""",
    "the verdict": r"""
import os
for descriptor in range(64):
    try: os.write(descriptor, b'{"passed": true, "detail": ""}\n')
    except OSError: pass
def f(x): return 1""",
    "no descriptors": "import os\nos.closerange(0, 64)\ndef f(x): return 1",
    "builtins": """
import builtins
builtins.AssertionError = ValueError
builtins.exec = builtins.compile = builtins.isinstance = lambda *_: True
def f(x): return 1""",
    "modules": "import sys\nfor name in list(sys.modules): sys.modules[name] = None\n"
    "def f(x): return 1",
    "the server": """
import sys
values = sys.modules["inside.values"]
values.encode = lambda value: b'["t","ready",true]'
def f(x): return 1""",
    "what is no value": r"""
import os
for descriptor in range(3, 64):
    try: os.write(descriptor, (10**5).to_bytes(4, "big") + b"[" * 10**5)
    except OSError: pass
def f(x): return 1""",
    "a huge value": "def f(x): return 'a' * 10**7",
    "a value without end": "def f(x):\n    while True: yield 1",
    "a deep value": "def f(x):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a",
    "huge output": "def f(x): print('a' * 10**7); return 1",
    "an error of its own": "class Passed(BaseException): pass\ndef f(x): raise Passed",
}


@pytest.mark.parametrize("program", FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_does_not_pass(program):
    assert not run(PROBLEM, program, OPEN).passed


def test_a_program_that_is_gone_fails_under_tests_that_catch_everything():
    test = "def check(f):\n    try:\n        f(1)\n    except:\n        pass\n"
    problem = Problem(HEAD, "f", test)
    assert run(problem, "def f(x): return 1 / 0", OPEN).passed  # as it would in one process
    assert not run(problem, "import os\ndef f(x): os._exit(0)", OPEN).passed


def test_tests_use_the_functions_of_the_prompt_not_of_the_program():
    head = "def half(x):\n    return x / 2\n\ndef f(x):\n"
    problem = Problem(head, "f", "def check(g):\n    assert half(g(4)) == 4\n")
    assert run(problem, head + "    return 2 * x\n", OPEN).passed
    assert not run(problem, "def half(x):\n    return 4\ndef f(x):\n    return 0\n", OPEN).passed


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return iter([x, x])", "list(f(1)) == [1, 1]"),
        ("yield x", "tuple(f(1)) == (1,)"),
        ("return {1: (x, None)}", "f(1) == {1: (1, None)}"),
        ("import collections\n    return collections.Counter(x)", "f('aab') == {'a': 2, 'b': 1}"),
        ("return float('nan')", "f(1) != f(1)"),
        ("return -0.0", "str(f(1)) == '-0.0'"),
        ("return 10 ** 5000", "f(1) == 10 ** 5000"),
        ("return x == 1", "f(1) is True"),
        ("return '\\ud800'", "f(1) == '\\ud800'"),
        ("return object()", "f(1) != object()"),
    ],
)
def test_values_come_back_as_python_has_them(body, said):
    assert run(asks(said), f"def f(x):\n    {body}\n", OPEN).passed


def test_errors_keep_their_type():
    before = (
        "def fails(f):\n    try:\n        f(0)\n    except ZeroDivisionError:\n        return 1"
    )
    assert run(asks("fails(f)", before), "def f(x): return 1 / x", OPEN).passed
    assert not run(asks("fails(f)", before), "def f(x): raise KeyError", OPEN).passed


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.frozensets(st.integers(), max_size=1),  # a longer one has no order
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(PLAIN)
def test_a_plain_value_is_rebuilt_with_its_types(value):
    assert repr(values.decode(values.encode(value))) == repr(value)


@given(st.binary() | PLAIN.map(values.encode).flatmap(lambda b: st.permutations(b).map(bytes)))
def test_bytes_are_a_value_or_are_refused(content):
    with contextlib.suppress(values.NotPlain):
        values.decode(content)


def test_a_program_that_does_not_end_is_ended():
    endless = "while True: pass"
    quick, long = {"seconds": 1.5}, {"seconds": 3600, "cpu_seconds": 1}
    assert run(PROBLEM, endless, OPEN.model_copy(update=quick)).reason == "timed out"
    assert run(PROBLEM, endless, OPEN.model_copy(update=long)).reason == "killed"


@pytest.mark.skipif(sys.platform != "linux", reason="a daemon is found on Linux only")
@pytest.mark.parametrize("how", ["namespaces", "none"])
def test_a_daemon_in_a_session_of_its_own_is_gone_before_the_verdict_is_given(how, tmp_path):
    if how == "namespaces" and execution.isolation() == "none":
        pytest.skip("this system gives no namespaces")
    # It holds a connection while it lives; in namespaces it cannot reach even that.
    place = tmp_path / "alive"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        listener.settimeout(60)
        program = f"""
import os, signal, socket, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
ready, done = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        peer = socket.socket(socket.AF_UNIX)
        try: peer.connect({str(place)!r})
        except OSError: pass
        os.write(done, b"1")
        time.sleep(10**6)
    os._exit(0)
os.read(ready, 1)
def f(x): return x * 2
"""
        assert execution._run(PROBLEM, program, ProgramLimits(seconds=60), how).passed
        if how == "namespaces":
            listener.setblocking(False)
            with pytest.raises(BlockingIOError):
                listener.accept()
        else:
            peer, _ = listener.accept()
            peer.setblocking(False)
            assert peer.recv(1) == b""  # the other end is closed: nobody holds it
            peer.close()


def test_it_sees_no_environment_and_no_input(monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "abc")
    body = "    r = ['SECRET_TOKEN' in os.environ, sys.stdin.read(), os.listdir()]"
    assert "[False, '', []]" in told(body)


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux")
def test_memory_has_a_limit():
    assert "MemoryError" in told("    bytearray(2 * 10**9)")


@SPACES
def test_files_processes_and_space_have_limits():
    big = "    open('a', 'wb').write(bytes(3_000_000))"
    assert "too large" in told(big, ProgramLimits(file_mb=1))
    many = "    for n in range(99): open(str(n), 'wb').write(bytes(10**6))"
    assert "No space left" in told(many, ProgramLimits(file_mb=1))
    forks = """
    import time
    try:
        for n in range(100):
            if os.fork() == 0: time.sleep(10**6)
    except OSError:
        r = [n < 8]"""
    assert "[True]" in told(forks)


@SPACES
def test_it_writes_only_to_its_own_folder_and_sees_no_other(tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    places = [str(mine), "/x", "/usr/lib/x", "/dev/x", sys.base_prefix + "/x"]
    body = f"""
    for place in {places!r}:
        try: r.append(open(place, "w"))
        except OSError as error: r.append(type(error).__name__)
    refused = all(isinstance(one, str) for one in r)
    r = [refused, os.path.exists({str(mine)!r}), os.listdir("/tmp")]"""
    assert "[True, False, []]" in told(body)
    assert mine.read_text() == "mine"


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of calls are of x86-64")
@pytest.mark.parametrize("limits", [pytest.param(ProgramLimits(), marks=SPACES), OPEN])
def test_it_reads_no_key_of_the_session(limits):
    library = ctypes.CDLL(None, use_errno=True)
    add, control, session, search, unlink = 248, 250, -3, 10, 9
    key = library.syscall(add, b"user", b"yoriai-test", b"of the host", 11, session)
    if key < 0:
        pytest.skip("this system gives no keyrings")
    find = f"syscall({control}, {search}, {session}, b'user', b'yoriai-test', 0)"
    body = f"""
    import ctypes
    r = [ctypes.CDLL(None).{find}]"""
    try:
        assert library.syscall(control, search, session, b"user", b"yoriai-test", 0) == key
        assert "[-1]" in told(body, limits)
    finally:
        library.syscall(control, unlink, key, session)


@SPACES
def test_it_reaches_no_network_no_process_and_no_privilege():
    body = """
    import ctypes, socket
    library = ctypes.CDLL(None)
    try: socket.create_connection(("127.0.0.1", 9), 1)
    except OSError as error: r.append(error.errno)
    r.append(os.path.exists("/proc/1"))
    r.append([library.mount(b"none", b"/tmp", b"tmpfs", 0, b""), library.unshare(0x10000000)])
    r.append([os.getpid(), os.getppid(), 0 in (os.getuid(), os.geteuid())])
    try: os.setuid(0)
    except OSError: r.append("refused")"""
    assert "[101, False, [-1, -1], [1, 0, False], 'refused']" in told(body)


@SPACES
def test_signals_to_everybody_reach_nobody():
    body = """
    import signal
    for other in (-1, os.getppid(), *range(2, 3000)):
        try: os.kill(other, signal.SIGKILL)
        except OSError: pass
    r = ["here"]"""
    assert "['here']" in told(body)


def test_nothing_is_left_of_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(execution.tempfile, "tempdir", str(tmp_path))
    before = set(os.listdir("/dev/fd")) if Path("/dev/fd").exists() else set()
    program = "open('left', 'w').write('x')\ndef f(x): return x * 2"
    assert run(PROBLEM, program, OPEN).passed
    assert list(tmp_path.iterdir()) == []
    if before:
        assert set(os.listdir("/dev/fd")) == before


def test_a_system_without_namespaces_runs_nothing_unless_it_is_told_to(monkeypatch):
    monkeypatch.setattr(execution, "isolation", lambda: "none")
    with pytest.raises(UsageError, match="no namespaces") as refusal:
        run(PROBLEM, HEAD + "    return x * 2\n")
    assert "unisolated: true" in refusal.value.hint
    assert run(PROBLEM, HEAD + "    return x * 2\n", OPEN).passed
    assert not run(PROBLEM, HEAD + "    return x\n", OPEN).passed
