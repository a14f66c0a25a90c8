"""Text of others on a terminal: it is read, and does nothing.

A name, a summary or an error of somebody else's code may hold characters on which a terminal
acts: the controls C0 and C1 (ECMA-48: colours, titles, moving up a line to write over it), the
marks that turn the direction of writing (Unicode UAX #9, abused as in Unicode TR #36), the line
separators U+2028 and U+2029, and lone surrogates, which no terminal can be sent. They are shown
as ``\\x1b`` and the like.
"""

from __future__ import annotations

import logging
import re
import warnings
from typing import Any

LONGEST_LINE = 2_000  # characters of a line that a library writes

_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def harmless(text: str) -> str:
    """The text with every acting character written out; line ends and tabs are kept."""
    return _ACTING.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    """:func:`harmless`, with line ends and tabs as spaces: a cell of a table."""
    return harmless(re.sub(r"[\r\n\t]+", " ", text))


def harmless_json(text: str) -> str:
    """JSON that means the same, with no acting character in it (JSON escapes C0 by itself)."""
    return _ACTING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def clip(text: str, most: int) -> str:
    """At most about ``most`` characters, from both ends; how many are left out is said."""
    if len(text) <= most:
        return text
    head, tail = most * 3 // 4, most // 4
    return f"{text[:head]} … ({len(text) - head - tail:,} characters left out) … {text[-tail:]}"


def clip_lines(text: str, most: int, lines: int = 100) -> str:
    """Each line clipped to ``most`` characters, and no more than ``lines`` lines."""
    rows = text.splitlines()
    shown = [clip(row, most) for row in rows[:lines]]
    if len(rows) > lines:
        shown.append(f"… ({len(rows) - lines:,} lines left out)")
    return "\n".join(shown)


class _HarmlessRecord(logging.LogRecord):
    """A line of a log. Libraries that open a folder write what stands there into theirs."""

    def getMessage(self) -> str:
        return clip_lines(harmless(super().getMessage()), LONGEST_LINE)


def guard_logs() -> None:
    """Make what libraries log and warn of harmless from now on, in this process.

    Their handlers write to the terminal themselves; the record is what all of them are given.
    """
    logging.setLogRecordFactory(_HarmlessRecord)
    warnings.formatwarning = _harmless_warning


_former_warning = warnings.formatwarning


def _harmless_warning(*args: Any, **keys: Any) -> str:
    return clip_lines(harmless(_former_warning(*args, **keys)), LONGEST_LINE) + "\n"
