"""Small pieces of Markdown."""

from __future__ import annotations

import html
import inspect
import json
import re
from collections.abc import Iterable, Sequence

from yoriai.plain_markdown import neutralise

NOTE = "*This page is generated from the code.*"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars inside cells are escaped. Cells hold Markdown: escape what is text."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def titled(title: str) -> str:
    """Front matter with a page's title.

    Themes take the tags out of a heading for ``<title>`` and thereby turn its entities into
    signs again; what stands in the front matter is copied as it is.
    """
    return f"---\ntitle: {json.dumps(html.escape(title), ensure_ascii=False)}\n---"


def code(text: str) -> str:
    """Text as inline code, also if it holds backticks."""
    ticks = "``" if "`" in text else "`"
    return neutralise(f"{ticks}{text}{ticks}")


def plain(docstring: str | None) -> str:
    """A docstring as Markdown without markup of its own: roles become inline code."""
    text = inspect.cleandoc(docstring or "")
    text = re.sub(r":(?:class|func|meth|data|mod|attr):`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return neutralise(text.replace("``", "`"))


def slug(heading: str) -> str:
    """The anchor that Python-Markdown's ``toc`` gives a heading."""
    text = re.sub(r"[^\w\s-]", "", heading).strip().lower()
    return re.sub(r"[-\s]+", "-", text)


_WIDE = r"[\u3000-\u30ff\u3400-\u9fff\uff01-\uff5e]"
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def join_japanese(text: str) -> str:
    """Join lines between two Japanese characters, where a browser would show a space."""
    parts = _FENCE.split(text)
    parts[::2] = [re.sub(rf"(?<={_WIDE})\n(?={_WIDE})", "", part) for part in parts[::2]]
    return "".join(parts)
