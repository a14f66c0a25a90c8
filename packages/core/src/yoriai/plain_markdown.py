"""Markdown that strangers wrote, kept to plain text, emphasis, lists, tables, code and links.

Stories of records, docstrings of plugins and every short string end on pages that a browser
opens. Markdown passes raw HTML, attribute lists and any link through to the reader. Here all
three become text (:func:`neutralise`, :func:`escape`), and are found with their line
(:func:`find_markup`) so that ``yoriai records check`` can refuse them.

What is left in the result: no ``<`` that could begin a tag outside fenced code, no link but to
http, https or a relative place. The rules follow Python-Markdown and pymdownx, with which the
site is built (their patterns for fences, code spans, links and attribute lists).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# Read by Markdown where they stand in a line; the rest of punctuation is only read at its start.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>&#|!~^=$]|^[+\-:]|(?<=^\d)[.)]|(?<=^\d\d)[.)]")
# Control characters: some are Markdown's own marks for what it has put aside. Those that turn
# the direction of text hide what a line says (CVE-2021-42574).
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_FENCE = re.compile(r"^(`{3,}|~{3,}) ?([\w+-]*)[ \t]*$")
_FENCE_LIKE = re.compile(r"^([ \t>*+\-\d.)]*)(`{3,}|~{3,})")
_SPAN = re.compile(r"(?<!\\)(?<!`)(`+)(?!`)((?:(?!\n[ \t>]*\n).)+?)(?<!`)\1(?!`)", re.DOTALL)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_AUTOLINK = re.compile(r"<(https?://[^\s<>\"'\\]+)>")
_LINK = re.compile(r"\]\(([^()\n]*(?:\([^()\n]*\)[^()\n]*)*)\)?")
_GOAL = re.compile(
    r"(?:https?://[^\s<>\"'\\]+|(?!//)[\w./#%~?=+@,-]*)(?:[ ]+\"[^\"<>\\&]*\")?", re.ASCII
)
_DEFINITION = re.compile(r"\]:")
_ATTRIBUTES = re.compile(r"\{(?=[:#. \w])")


def escape(text: object) -> str:
    """One line of Markdown that shows ``text`` as it is."""
    line = " ".join(CONTROL.sub("\ufffd", str(text)).split())
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", line)


def is_safe_link(link: str) -> bool:
    """Whether a link leads to http, https or a relative place, and nowhere else."""
    return bool(_GOAL.fullmatch(link)) and '"' not in link


def neutralise(text: str) -> str:
    """The same Markdown with raw HTML, attribute lists and other links as text."""
    parts = []
    for kind, part, _ in _blocks(CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))):
        parts.append(part if kind == "code" else _plain(part))
    return "".join(parts)


def find_markup(text: str) -> Iterator[tuple[int, str]]:
    """Line and name of everything that :func:`neutralise` would turn into text."""
    text = text.replace("\r\n", "\n")
    for number, line in enumerate(text.splitlines(), 1):
        if found := CONTROL.search(line):
            yield number, f"the control character U+{ord(found[0]):04X}"
    for kind, part, first in _blocks(text):
        if kind == "code":
            continue
        bare = _AUTOLINK.sub(_blank, _SPAN.sub(_blank, part))
        for number, line in enumerate(bare.split("\n"), first):
            if _TAG.search(line):
                yield number, "raw HTML"
            if _FENCE_LIKE.match(line):
                yield number, "a fence that is indented, never ends or has more than a language"
            if re.search(r"\{(?:[:#.]|\s*[\w-]+=)", line):
                yield number, "an attribute list"
            for link in _LINK.finditer(line):
                if not (link[0].endswith(")") and _GOAL.fullmatch(link[1].strip())):
                    yield number, "a link that is neither http(s) nor relative"
            if re.search(r"^[ \t>*+\-\d.]*\[[^\]]*\]:", line):
                yield number, "a link that is defined apart from its text"


def _blank(found: re.Match[str]) -> str:
    return re.sub(r"[^\n]", "x", found[0])


def _blocks(text: str) -> Iterator[tuple[str, str, int]]:
    """``code`` (a whole fenced block) or ``text``, its characters, and its first line."""
    lines = text.split("\n")
    start = at = 0
    while at < len(lines):
        opened = _FENCE.match(lines[at])
        ends = (
            next(
                (i for i in range(at + 1, len(lines)) if lines[i].rstrip(" \t") == opened[1]),
                None,
            )
            if opened
            else None
        )
        if opened and ends is not None:
            if start < at:
                yield "text", "\n".join(lines[start:at]) + "\n", start + 1
            end = "\n" if ends + 1 < len(lines) else ""
            yield "code", "\n".join(lines[at : ends + 1]) + end, at + 1
            at = start = ends + 1
            continue
        at += 1
    if start < len(lines):
        yield "text", "\n".join(lines[start:]), start + 1


def _plain(text: str) -> str:
    # A line that only looks like a fence would be read as one, and its end as another's begin.
    lines = [
        _FENCE_LIKE.sub(lambda f: f[1] + "".join(f"&#{ord(c)};" for c in f[2]), line)
        for line in text.split("\n")
    ]
    paragraphs = re.split(r"(\n[ \t>]*\n)", "\n".join(lines))
    paragraphs[::2] = [_paragraph(part) for part in paragraphs[::2]]
    return "".join(paragraphs)


def _paragraph(text: str) -> str:
    parts, last = [], 0
    for span in _SPAN.finditer(text):
        parts.append(_inline(text[last : span.start()]))
        parts.append(_code(span[0], span[2]))
        last = span.end()
    return "".join([*parts, _inline(text[last:])])


def _inline(text: str) -> str:
    text = _AUTOLINK.sub(lambda found: f"[{escape(found[1])}]({found[1]})", text)
    text = _TAG.sub("&lt;", text)
    text = _LINK.sub(_link, text)
    text = _DEFINITION.sub("&#93;:", text)
    return _ATTRIBUTES.sub("&#123;", text)


def _link(found: re.Match[str]) -> str:
    whole, goal = found[0], found[1].strip()
    if whole.endswith(")") and _GOAL.fullmatch(goal):
        return whole
    return "&#93;&#40;" + whole[2:]


def _code(whole: str, inside: str) -> str:
    """A code span; where its text could be read as something else, with every sign spelt out."""
    if not (_TAG.search(inside) or _ATTRIBUTES.search(inside) or re.search(r"\][(:]", inside)):
        return whole
    shown = re.sub(r"[^\w\s]", lambda found: f"&#{ord(found[0])};", inside.strip())
    return f"<code>{shown}</code>"
