"""The process that runs the tests of a problem and says the verdict.

The function under test is not here: a call is sent to the other process and a plain value comes
back. What helps the tests (functions that the prompt defines) is taken from the prompt, not from
the program.
"""

from __future__ import annotations

import builtins
import json
import os
from typing import Any

from . import confine, values


class ProgramGone(BaseException):
    """The program is gone or says no value; not an Exception, which tests may catch."""


class FunctionUnderTest:
    """The function under test, as the tests see it."""

    def __init__(self, calls: int, answers: int) -> None:
        self._calls, self._answers = calls, answers
        self.broken = ""

    def hear(self) -> tuple[str, Any]:
        """The next answer: ``ready``, ``value`` or ``error``, and what of it."""
        if not self.broken:
            try:
                kind, what = values.decode(values.receive(self._answers))
                if kind == "error":
                    name, said = what
                    return "error", (str(name)[:100], str(said)[:500])
                if kind in ("ready", "value"):
                    return kind, what
                self.broken = "the program said no value"
            except (EOFError, OSError):
                self.broken = "the program ended"
            except (values.NotPlain, ValueError, TypeError, MemoryError) as error:
                self.broken = f"the program said {error}"
        raise ProgramGone(self.broken)

    def __call__(self, *positional: Any, **named: Any) -> Any:
        message = values.encode((positional, named))
        try:
            values.send(self._calls, message)
        except OSError:
            self.broken = self.broken or "the program ended"
        kind, what = self.hear()
        if kind == "error":
            raise _rebuilt(*what)
        if kind != "value":
            self.broken = "the program said no value"
            raise ProgramGone(self.broken)
        return what


def _rebuilt(name: str, said: str) -> Exception:
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(said)
        except TypeError:  # it wants more than a text
            pass
    return RuntimeError(f"{name}: {said}")


def main(limits: dict[str, Any], folder: str, calls: int, answers: int, verdict: int) -> None:
    """Judge the problem that standard input holds; write the verdict as JSON."""
    with os.fdopen(os.dup(0), "rb") as stream:
        told = json.loads(stream.read())
    confine.shut_in(limits, folder)
    candidate = FunctionUnderTest(calls, answers)
    detail = ""
    try:
        kind, what = candidate.hear()
        if kind != "ready":
            raise ProgramGone(": ".join(what) if kind == "error" else "the program said no value")
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(_prompt(told["prompt"]), names)
        names[told["entry_point"]] = candidate
        exec(compile(told["test"], "test.py", "exec"), names)
        names["check"](candidate)
    except ProgramGone as error:
        detail = str(error) or "failed"
    except BaseException as error:
        detail = f"{type(error).__name__}: {error}"
    detail = detail or candidate.broken
    content = json.dumps({"passed": not detail, "detail": detail[:1000]}).encode("ascii")
    os.write(verdict, content + b"\n")


def _prompt(text: str) -> Any:
    """The head of a function as it stands or, without a docstring, with an empty body."""
    try:
        return compile(text, "prompt.py", "exec")
    except SyntaxError:
        return compile(text.rstrip() + "\n    pass\n", "prompt.py", "exec")
