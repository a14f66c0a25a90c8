"""What people see: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from typing import Any

import click

from yoriai import terminal

QUIET_SECONDS = 10.0
LEAST_ITEMS = 5


def emit(value: Any, *, as_json: bool, text: Callable[[], str]) -> None:
    """Print a result: one JSON object for machines, or text for people."""
    if as_json:
        click.echo(json_text(value))
    else:
        click.echo(terminal.harmless(text()))


def json_text(value: Any) -> str:
    """JSON for people and programs, without a character on which a terminal acts."""
    return terminal.harmless_json(json.dumps(value, ensure_ascii=False, indent=2))


def note(message: str) -> None:
    """A line about what is going on, on stderr."""
    click.echo(terminal.harmless(message), err=True)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A plain table whose last column may be as long as it likes."""
    from unicodedata import east_asian_width

    def width(text: str) -> int:
        return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)

    cells = [
        [terminal.one_line("" if c is None else str(c)) for c in row] for row in (columns, *rows)
    ]
    widths = [max(width(row[i]) for row in cells) for i in range(len(columns))]
    lines = []
    for row in cells:
        padded = [c + " " * (widths[i] - width(c)) for i, c in enumerate(row[:-1])]
        lines.append("  ".join([*padded, row[-1]]).rstrip())
    lines.insert(1, "  ".join("-" * min(w, 60) for w in widths))
    return "\n".join(lines)


def watch(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
    """Go through items with a bar on a terminal, or a line every ten seconds elsewhere."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if sys.stderr.isatty() and not os.environ.get("YORIAI_QUIET"):
        from rich.console import Console
        from rich.progress import track

        yield from track(
            items, f"  {label}", total=total, console=Console(stderr=True), transient=True
        )
        return
    last = time.monotonic()
    first: float | None = None  # when the first item was done: its time is start-up, not work
    for done, item in enumerate(items, 1):
        yield item
        moment = time.monotonic()
        first = first or moment
        if moment - last >= QUIET_SECONDS:
            last = moment
            rest = time_left(done, total, moment - first)
            note(f"  {label}: {done:,}{f'/{total:,}' if total else ''}{rest}")


class Finite(click.FloatRange):
    """A number on the command line: never nan or infinite."""

    name = "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found: float = super().convert(value, param, ctx)
        if not math.isfinite(found):
            self.fail(f"{found} is no finite number", param, ctx)
        return found


def time_left(done: int, total: int | None, seconds: float) -> str:
    """An estimate in words, once it means something; until then nothing.

    ``seconds`` since the first item was done. Items are few and unlike at the beginning, so five
    more of them and ten seconds are waited for.
    """
    if not total or done <= LEAST_ITEMS or seconds < QUIET_SECONDS:
        return ""
    return f", about {(total - done) * seconds / (done - 1):.0f} s left"


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The ``--json`` that every command has."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)
