"""What a page of strangers' text may hold, as a browser would read it.

``yoriai.plain_markdown`` makes text of markup. Here each page that holds records or plugins is
rendered as mkdocs will render it and read again: a tag, an attribute or the goal of a link that is
not in the lists below stops the build and is named with its page and line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from yoriai.plain_markdown import is_safe_link

# What Markdown makes with the extensions of mkdocs.yml, and the pages' own tables and figures.
TAGS = frozenset({
    *("p", "a", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "em", "strong", "code"),
    *("pre", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "br", "hr", "div"),
    *("span", "img"),
})  # fmt: skip
ATTRIBUTES = frozenset({"class", "id", "href", "src", "alt", "title", "start", "style"})
# What pages of ours tell assets/site.js, the theme's search and readers of languages.
OURS = frozenset({
    ("data-search-exclude", ""), ("data-facets", "what"), ("data-facets", "precision,licence"),
    ("lang", "en"), ("lang", "ja"), ("hreflang", "en"), ("hreflang", "ja"),
    ("data-answers", "../answers.json"), ("data-records", "../by-number/"),
})  # fmt: skip
# Pages made of records, and of what plugins say of themselves.
PLACES = ("records", "reference", "*/contracts")
# The theme reads its settings from the element with the id __config, and names others likewise.
THEME_IDS = "__"


class Reader(HTMLParser):
    """Collects what may not be there."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.faults.append(f"the tag {tag[:40]!r}")
        for name, value in attrs:
            if not _is_allowed(name, value or ""):
                self.faults.append(f"{tag[:40]!r} with {name[:40]}={(value or '')[:80]!r}")

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"the comment {data[:40]!r}")

    def handle_decl(self, decl: str) -> None:
        self.faults.append(f"the declaration {decl[:40]!r}")

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"the instruction {data[:40]!r}")

    def unknown_decl(self, data: str) -> None:
        self.faults.append(f"the declaration {data[:40]!r}")


def _is_allowed(name: str, value: str) -> bool:
    if name in ("href", "src"):
        return is_safe_link(value) or value.startswith("#")
    if name == "style":  # the alignment of a table's column
        return value in ("text-align: left;", "text-align: center;", "text-align: right;")
    if name == "id":
        return not value.startswith(THEME_IDS)
    return name in ATTRIBUTES or (name, value) in OURS


def extensions(config: Path) -> dict[str, Any]:
    """``extensions`` and ``extension_configs`` for Python-Markdown, from a ``mkdocs.yml``."""
    from mkdocs.utils.yaml import yaml_load

    with config.open(encoding="utf-8") as lines:
        named = yaml_load(lines)["markdown_extensions"]
    configs: dict[str, Any] = {}
    for one in named:
        configs |= one if isinstance(one, Mapping) else {one: {}}
    return {"extensions": list(configs), "extension_configs": configs}


def find_active(text: str, config: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Line of the Markdown ``text`` by which a fault stands in its HTML, and the fault."""
    from markdown import Markdown

    def read(part: str) -> list[str]:
        return Reader(Markdown(**config).convert(part)).faults

    lines = text.split("\n")
    faults = read(text)
    if not faults:
        return
    low, high = 0, len(lines)  # a part without a fault, and one with a fault
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if read("\n".join(lines[:middle])) else (middle, high)
    yield high, faults[0]


def refuse_active(folder: Path, config: Path) -> int:
    """Read every page of records and plugins below ``folder``; returns how many.

    Raises :class:`SystemExit` with page, line and fault of each that is not plain.
    """
    settings = extensions(config)
    pages = sorted(page for place in PLACES for page in folder.glob(f"{place}/**/*.md"))
    faults = [
        f"{page}:{line}: {fault}, which no text of a record or plugin may make"
        for page in pages
        for line, fault in find_active(_body(page.read_text(encoding="utf-8")), settings)
    ]
    if faults:
        raise SystemExit("\n".join(faults))
    return len(pages)


def _body(page: str) -> str:
    """A page with its front matter as empty lines, so that lines keep their number."""
    if not page.startswith("---\n"):
        return page
    front, end, body = page[4:].partition("\n---\n")
    return "\n" * (front.count("\n") + 3) + body if end else page
