"""Pages: data into HTML, by templates that escape everything they are given."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jinja2

from yoriai_corpus.serve.asked import Fields
from yoriai_corpus.serve.words import LANGUAGES, say

FOLDER = Path(__file__).parent / "templates"
FACETS = ("source", "state", "rule", "language", "licence", "corpus")
MOST_BARS = 12
# Control characters change what a terminal or browser does; they are shown by their pictures.
_PICTURES = {code: 0x2400 + code for code in range(0x20) if code not in (0x09, 0x0A)}
_PICTURES |= {
    0x7F: 0x2421,
    **dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), 0xFFFD),
}
_STEERING = re.compile("[" + re.escape("".join(map(chr, _PICTURES))) + "]")


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters["visible"] = visible
    made.filters["number"] = lambda value: f"{value:,}"
    return made


def visible(text: Any) -> str:
    """Text without characters that would steer whoever shows it."""
    shown = str(text)
    return shown.translate(_PICTURES) if _STEERING.search(shown) else shown


def render(name: str, *, language: str, fields: Fields, path: str, **values: Any) -> str:
    other = next(code for code in LANGUAGES if code != language)
    return _environment().get_template(f"{name}.html").render(
        say=partial(say, language), language=language, fields=fields, path=path,
        other=other, other_name=LANGUAGES[other], link=fields.link, **values,
    )  # fmt: skip


def shown_hits(language: str, hits: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Hits as a page shows them, in one go: a macro for each of their fields takes as long as
    the search."""
    found = []
    for hit in hits:
        row = {key: visible(hit[key]) for key in ("before", "match", "after", "rule", "licence")}
        name = f"{hit['source']}/{hit['id']}"
        state = hit["state"]
        row["name"] = visible(name)
        row["link"] = "/document?" + urlencode({"name": name, "ui": language}, errors="replace")
        row["at"] = say(language, "at", hit["offset"])
        row["state"] = say(language, "dropped_state" if state == "dropped" else state)
        found.append(row)
    return found


def bars(facet: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """The most frequent values, with the length of a bar (of 100) for each."""
    rows = sorted(facet.items(), key=lambda item: (-item[1]["occurrences"], item[0]))
    most = max((row["occurrences"] for _, row in rows), default=1) or 1
    return [
        {"value": value, **row, "width": math.ceil(100 * row["occurrences"] / most)}
        for value, row in rows[:MOST_BARS]
    ]


def marked(text: str, spans: Sequence[Mapping[str, Any]]) -> list[tuple[str, int]]:
    """A text in pieces, each with the number (from 1) of the rarest span over it, or 0."""
    cuts = sorted({0, len(text), *(s["begin"] for s in spans), *(s["end"] for s in spans)})
    pieces: list[tuple[str, int]] = []
    for begin, end in itertools.pairwise(cuts):
        over = [n for n, s in enumerate(spans) if s["begin"] <= begin and end <= s["end"]]
        number = max(over, key=lambda n: spans[n]["bits"]) + 1 if over else 0
        if pieces and pieces[-1][1] == number:
            pieces[-1] = (pieces[-1][0] + text[begin:end], number)
        else:
            pieces.append((text[begin:end], number))
    return pieces
