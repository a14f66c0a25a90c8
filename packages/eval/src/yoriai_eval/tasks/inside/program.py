"""The process that runs a generated program and answers calls of its function.

It has two descriptors, calls and answers. It has neither the tests nor a word on the verdict, so a
program that takes this process over has won nothing: it can only answer calls.
"""

from __future__ import annotations

import json
import os
from typing import Any

from . import confine, values


def main(limits: dict[str, Any], folder: str, calls: int, answers: int) -> None:
    """Run the program that standard input holds; answer calls until there are no more."""
    with os.fdopen(os.dup(0), "rb") as stream:
        told = json.loads(stream.read())
    confine.shut_in(limits, folder)
    try:
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(told["program"], "program.py", "exec"), names)
        function = names[told["entry_point"]]
        answer = values.encode(("ready", None))
    except BaseException as error:
        values.send(answers, _failure(error))
        return
    while True:
        values.send(answers, answer)
        try:
            positional, named = values.decode(values.receive(calls))
        except EOFError:
            return
        try:
            answer = values.encode(("value", function(*positional, **named)))
        except BaseException as error:
            answer = _failure(error)


def _failure(error: BaseException) -> bytes:
    try:
        said = str(error)[:500]
    except BaseException:
        said = ""
    return values.encode(("error", (type(error).__name__[:100], said)))
