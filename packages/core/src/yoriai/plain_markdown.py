"""Markdown that strangers wrote, kept to plain text, emphasis, lists, tables, code and links.

Stories of records, docstrings of plugins and every short string end on pages that a browser
opens. Markdown passes raw HTML, attribute lists and any link through to the reader. Here all
three become text (:func:`neutralise`, :func:`escape`), and are found with their line
(:func:`find_markup`) so that ``yoriai records check`` can refuse them.

Nothing depends on where Markdown sees a code span or the end of a fence: each piece of the result
is harmless as text and as code. Code that holds markup is written as ``<code>`` or ``<pre>`` with
every sign spelt out. The one exception is a fence with an empty line before and after it: no other
line of the result can open or close a fence, so pymdownx.superfences reads it as it stands.

What is left in the result: no ``<`` that could begin a tag but those of ``code`` and ``pre``, no
``{``, no ``](`` but before a goal of http, https or a relative place, no ``]:``, outside such a
fence. The rules follow Python-Markdown and pymdownx, with which the site is built (their patterns
for fences, code spans, links and attribute lists).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

# Read by Markdown where they stand in a line; the rest of punctuation is only read at its start.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>&#|!~^=$]|^[+\-:]|(?<=^\d)[.)]|(?<=^\d\d)[.)]")
# Control characters: some are Markdown's own marks for what it has put aside. Those that turn
# the direction of text hide what a line says (CVE-2021-42574).
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_FENCE = re.compile(r"(`{3,}|~{3,}) ?[\w+-]*[ \t]*")
# Signs of a goal on the web: none that Markdown, an attribute or a table could end it with.
# Nor an entity, which a browser would read as such a sign.
_WEB = r"(?:[^\s<>\"'\\`{}\[\]()|&]|&(?!\#?\w+;))"
_GOAL = rf"(?:https?://{_WEB}+(?:\({_WEB}*\){_WEB}*)*|(?!//)[A-Za-z0-9_./#%~?=+@,-]*)"
_SAFE_LINK = re.compile(_GOAL)
_TITLE = r"\"[^\"<>\\&`{}\[\]\n]*\""
_ACTIVE = re.compile(r"<[A-Za-z/!?]|\{|\][(:]")
# What has a meaning inside a line, in the order in which Markdown looks for it.
_TOKEN = re.compile(
    rf"""(?P<escaped>\\[\\`*_{{}}\[\]()>\#+\-.!|])
    |(?P<ticks>`+)
    |<(?P<auto>https?://{_WEB}+(?:\({_WEB}*\){_WEB}*)*)>
    |(?P<tag><(?=[A-Za-z/!?]))
    |(?P<link>\]\([ ]{{0,3}}{_GOAL}(?:[ ]{{1,3}}{_TITLE})?[ ]{{0,3}}\))
    |(?P<badlink>\]\()
    |(?P<defined>\](?=:))
    |(?P<brace>\{{)
    |(?P<tildes>~{{3,}})
    |(?P<admonition>!!!)""",
    re.VERBOSE,
)
# Quotes are ended by an empty line of their own, whose marks stand no deeper than Markdown's.
_EMPTY_LINE = re.compile(r"(\n(?: {0,3}>(?: {0,4}>)*)? ?\n)")
_LINE_START = re.compile(r"[ >*+\-\d.)]*")
_WORDS = {
    "tag": "raw HTML",
    "badlink": "a link that is neither http(s) nor relative",
    "defined": "a link that is defined apart from its text",
    "brace": "an attribute list (braces belong in code)",
    "admonition": "an admonition",
    "fence": "a fence that is indented, never ends or has more than a language",
    "placed": "a fence that holds markup and has no empty line before and after it, "
    "or a line inside it that looks like a fence",
    "code": "code that holds markup where backticks do not pair within each line",
}


class _Piece(NamedTuple):
    """Plain Markdown for the text that begins at ``start``; ``fault`` is a key of _WORDS."""

    start: int
    plain: str
    fault: str = ""


def escape(text: object) -> str:
    """One line of Markdown that shows ``text`` as it is."""
    line = " ".join(CONTROL.sub("\ufffd", str(text)).split())
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", line)


def is_safe_link(link: str) -> bool:
    """Whether a link leads to http, https or a relative place, and nowhere else."""
    return bool(_SAFE_LINK.fullmatch(link))


def neutralise(text: str) -> str:
    """The same Markdown with raw HTML, attribute lists and other links as text."""
    return "".join(piece.plain for piece in _pieces(CONTROL.sub("\ufffd", _spaced(text))))


def find_markup(text: str) -> Iterator[tuple[int, str]]:
    """Line and name of what :func:`neutralise` would turn into text.

    Code is named, too, if it holds markup and Markdown may see its begin or end elsewhere. A text
    of which nothing is named stays without tags and attributes when Markdown reads it as it is.
    """
    text = _spaced(text)
    for number, words in enumerate(text.split("\n"), 1):
        if found := CONTROL.search(words):
            yield number, f"the control character U+{ord(found[0]):04X}"
    line, last = 1, 0
    for start, fault in sorted((p.start, p.fault) for p in _pieces(text) if p.fault):
        line, last = line + text.count("\n", last, start), start
        yield line, _WORDS[fault]


def _spaced(text: str) -> str:
    """Ends of lines, tabs and lines of spaces as Python-Markdown's ``normalize_whitespace``."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4)
    return re.sub(r"(?<=\n) +\n", "\n", text)


def _pieces(text: str) -> Iterator[_Piece]:
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    ends: dict[str, list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        if line.startswith(("```", "~~~")):
            ends[line.rstrip(" ")].append(number)
    pairs = _Pairs()
    begun = at = 0
    while at < len(lines):
        opened = _FENCE.fullmatch(lines[at])
        closing = ends[opened[1]] if opened else []
        nearest = bisect_left(closing, at + 1)
        if not opened or nearest == len(closing):
            at += 1
            continue
        end = closing[nearest]
        yield from _text(text[starts[begun] : starts[at]], starts[begun], pairs)
        if at and not lines[at - 1]:
            yield from pairs.end()
        yield _fenced(lines, at, end, starts[at])
        at = begun = end + 1
        if at < len(lines) and not lines[at]:
            yield from pairs.end()
    if begun < len(lines):
        yield from _text(text[starts[begun] :], starts[begun], pairs)
    yield from pairs.end()


def _fenced(lines: list[str], at: int, end: int, start: int) -> _Piece:
    """A whole fenced block, from line ``at`` to line ``end``."""
    inside = lines[at + 1 : end]
    newline = "\n" if end + 1 < len(lines) else ""
    parted = (at == 0 or not lines[at - 1]) and (end + 1 == len(lines) or not lines[end + 1])
    alone = not any(line.lstrip(" >").startswith(("```", "~~~")) for line in inside)
    body = "\n".join(inside)
    if alone and (parted or not _ACTIVE.search(body)):
        return _Piece(start, "\n".join(lines[at : end + 1]) + newline)
    return _Piece(start, f"\n\n<pre><code>{_spelt(body)}&#10;</code></pre>\n\n", "placed")


def _spelt(text: str) -> str:
    """Signs as numbers, line ends too: no reader of lines or signs finds anything in it."""
    return re.sub(r"[^\w .,:;/'\"()%@?-]|_", lambda found: f"&#{ord(found[0])};", text)


class _Pairs:
    """Code that holds markup in one block of Markdown, and whether its backticks surely pair.

    A block ends at an empty line; a fence inside it does not end it.
    """

    def __init__(self) -> None:
        self.doubtful = False  # backticks may pair in another way
        self.active: list[int] = []  # where code that holds markup begins

    def end(self) -> Iterator[_Piece]:
        for start in self.active if self.doubtful else ():
            yield _Piece(start, "", "code")
        self.doubtful, self.active = False, []


def _text(text: str, start: int, pairs: _Pairs) -> Iterator[_Piece]:
    for number, part in enumerate(_EMPTY_LINE.split(text)):
        if number % 2:
            yield _Piece(start, part)
            yield from pairs.end()
        else:
            yield from _paragraph(part, start, pairs)
        start += len(part)


def _paragraph(text: str, start: int, pairs: _Pairs) -> Iterator[_Piece]:
    runs: dict[int, list[int]] = defaultdict(list)
    for run in re.finditer("`+", text):
        runs[len(run[0])].append(run.start())
    last = 0
    line = _Line(-1, 0, 0)
    while found := _TOKEN.search(text, last):
        kind, at, whole = str(found.lastgroup), found.start(), found[0]
        if at > line.end:
            line = _line_at(text, at)
        first = at <= line.words
        if last < at:
            yield _Piece(start + last, text[last:at])
        last = found.end()
        plain, fault = "".join(f"&#{ord(sign)};" for sign in whole), ""
        if kind == "ticks":
            closing = runs[len(whole)]
            nearest = bisect_left(closing, last)
            fault = "fence" if first and len(whole) > 2 else ""
            if nearest == len(closing):
                pairs.doubtful = True
            else:
                inside = text[last : closing[nearest]]
                last = closing[nearest] + len(whole)
                pairs.doubtful |= "\n" in inside or "|" in inside
                if _ACTIVE.search(inside):
                    pairs.active.append(start + at)
                plain = _code(text[at:last], inside)
        elif kind == "escaped":
            pairs.doubtful |= whole == "\\`"
            plain = plain.removeprefix("&#92;") if whole != "\\\\" else "&#92;"
            if whole == "\\]":
                fault = {":": "defined", "(": "badlink"}.get(text[last : last + 1], "")
        elif kind == "link":
            plain = whole
        elif kind == "auto":
            plain = f"[{escape(found['auto'])}]({found['auto']})"
        elif kind == "brace":
            fault = kind if at < line.brace else ""
        elif kind in ("tildes", "admonition"):
            fault = ("fence" if kind == "tildes" else kind) if first else ""
        else:
            fault = kind
        yield _Piece(start + at, plain, fault)
    yield _Piece(start + last, text[last:])


class _Line(NamedTuple):
    """Where a line ends, where its words begin, and where its last closing brace stands."""

    end: int
    words: int
    brace: int


def _line_at(text: str, at: int) -> _Line:
    begin = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    words = _LINE_START.match(text, begin)
    return _Line(end, words.end() if words else begin, text.rfind("}", begin, end))


def _code(whole: str, inside: str) -> str:
    """A code span; where its text could be read as something else, with every sign spelt out."""
    if not (_ACTIVE.search(inside) or re.search("`{3}|~{3}", whole)):
        return whole
    return f"<code>{_spelt(inside.strip().replace(chr(10), ' '))}</code>"
