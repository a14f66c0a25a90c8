"""Web pages to text, and files of web pages as a source.

The work is Resiliparse's (main content by the rules of its ``html2text``), about twelve times
as fast as trafilatura, which can be had instead. What Resiliparse 2.0 does not do well for
Japanese pages is prepared for before it reads them; each preparation says what and why.
Pages on which a tree builder takes time quadratic in their size lose their tags instead.
"""

from __future__ import annotations

import html as entities
import re
from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Document, Unreadable
from yoriai_corpus.sources.encodings import declared_in, decode
from yoriai_corpus.sources.files import FileSource
from yoriai_corpus.sources.records import FilePart, RecordFault
from yoriai_corpus.sources.text_files import whole_files

Extractor = Literal["resiliparse", "trafilatura", "everything"]

DEEPEST = 512  # elements inside one another; browsers stop at 512 too
LONGEST_TAG = 8192  # characters; looking up attributes is quadratic in their number
FEW_TAGS = 2000  # pages with no more cannot be slow

_WIDE = r"\u2e80-\u9fff\uf900-\ufaff\uff01-\uffee"
_LINE_END = re.compile(rf"\n(?<=[{_WIDE}]\n)[ \t]*(?=[{_WIDE}])")
_PRE = re.compile(r"(<(?:pre|textarea)\b.*?(?:</(?:pre|textarea)|\Z))", re.I | re.S)
_LONE = re.compile(r">(\s*[\u0800-\ud7ff\uf900-\uffee])(?=\s*<)")
_JOINER = "\u2060"  # WORD JOINER: has no width and no meaning of its own
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_LONG_TAG = re.compile(rf"<([a-zA-Z][a-zA-Z0-9]*)[^<>]{{{LONGEST_TAG},}}>?")
_LIST = re.compile(r"<(/?)ul\b([^>]*)", re.I)
_LINK = re.compile(r"<a\b[^>]*>(.*?)</a\b", re.I | re.S)
_NAVIGATION = re.compile(r"nav|menu|crumb|pager|pagination|social|share|sns|footer|tab", re.I)
_ANY_TAG = re.compile(r"<[^<>]*>")
_TITLE = re.compile(r"<title\b[^>]*>([^<]*)", re.I)
_LANG = re.compile(r"<html\b[^>]{0,2000}?\blang\s*=\s*[\"']?\s*([A-Za-z-]+)", re.I)
_KANA = re.compile(r"[\u3041-\u3096\u30a1-\u30fa]")

# For pages without a tree: what is no text, and what ends a line.
_NO_TEXT = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|head|noscript|template|textarea|svg)\b.*?(?:</\1\s*>|\Z)",
    re.I | re.S,
)
_BLOCK = re.compile(
    r"</?(?:p|div|br|li|ul|ol|dl|dt|dd|h[1-6]|tr|table|section|article|pre|blockquote|hr|form)\b",
    re.I,
)

# Elements whose end tag may be left out, or that have none: they nest no deeper for it.
_FLAT_TAGS = frozenset(
    re.findall(
        r"\w+",
        "area base br col embed hr img input link meta param source track wbr p li dt dd tr td th"
        " tbody thead tfoot option optgroup colgroup rt rp html head body",
    )
)


def text_of(html: str, extractor: Extractor = "resiliparse") -> str:
    """The text of a page: headings, paragraphs, list items and table rows as lines.

    ``everything`` is Resiliparse without its choice of the main content. "" if there is none.
    """
    html = html.replace("\r\n", "\n").replace("\0", "")
    if max(map(len, html.split("<"))) > LONGEST_TAG:
        html = _LONG_TAG.sub(r"<\1>", html)
    if html.count("<") > FEW_TAGS and depth_of(html) > DEEPEST:
        return without_tags(html)
    html = _join_lines(html)
    if extractor == "trafilatura":
        return _trafilatura(html)
    from resiliparse.extract.html2text import extract_plain_text

    if extractor == "resiliparse":
        html = _LONE.sub(rf">\1{_JOINER}", _keep_lists(html))
    text = extract_plain_text(
        html,
        preserve_formatting=True,
        main_content=extractor == "resiliparse",
        list_bullets=False,
        alt_texts=False,
        skip_elements=["rt", "rp", "script", "style", "template", "svg"],
    )
    return _tidy(text.replace(_JOINER, ""), indented="<pre" in html)


def title_of(html: str) -> str:
    found = _TITLE.search(html[: 1 << 16])
    return " ".join(entities.unescape(found[1]).split()) if found else ""


def is_in(html: str, language: str) -> bool:
    """Whether a page says that it is in a language, in ``<html lang>`` or by its title's script.

    The lever of Swallow (Okazaki et al. 2024, section 3.1): a look at the page's head, without
    extraction. Only kana tell a language, so the title counts for Japanese alone.
    """
    found = _LANG.search(html[: 1 << 13])
    if found and found[1].lower().partition("-")[0] == language.lower():
        return True
    return language.lower() == "ja" and bool(_KANA.search(title_of(html)))


def depth_of(html: str) -> int:
    """How many elements lie inside one another at most; an estimate from the tags alone."""
    depth = deepest = 0
    opened: dict[str, int] = {}
    for closing, name in _TAG.findall(html):
        name = name.lower()
        if name in _FLAT_TAGS:
            continue
        count = opened.get(name, 0)
        if not closing:
            opened[name] = count + 1
            depth += 1
            deepest = max(deepest, depth)
        elif count:  # an end tag without a start tag closes nothing
            opened[name] = count - 1
            depth -= 1
    return deepest


def without_tags(html: str) -> str:
    """All text, by tags alone: linear in the size of the page, whatever it holds."""
    html = _BLOCK.sub(r"\n\g<0>", _NO_TEXT.sub("\n", html))
    return _tidy(entities.unescape(_ANY_TAG.sub("", html)), indented=False)


def _join_lines(html: str) -> str:
    """Removes ends of lines between Japanese characters, which a browser would make spaces."""
    if "\n" not in html:
        return html
    pieces = _PRE.split(html)  # every second one is preformatted
    pieces[::2] = [_LINE_END.sub("", piece) for piece in pieces[::2]]
    return "".join(pieces)


def _keep_lists(html: str) -> str:
    """Renames lists that are text, not links.

    Resiliparse takes every ``<ul>`` less than three elements below the body for navigation
    (html2text.pyx, ``_is_main_content_node``), so the lists of plainly built pages were lost.
    ``<ol>`` is left alone, and without numbers it gives the same lines.
    """
    pieces: list[str] = []
    done = depth = start = 0
    attributes = ""
    for token in _LIST.finditer(html):
        if not token[1]:
            if depth == 0:
                start, attributes = token.start(), token[2]
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0 and not _NAVIGATION.search(attributes):
                block = html[start : token.end()]
                letters = len("".join(_ANY_TAG.sub("", block).split()))
                linked = sum(len(_ANY_TAG.sub("", link)) for link in _LINK.findall(block))
                if linked < letters / 2:
                    pieces += [html[done:start], re.sub(r"(?i)<(/?)ul\b", r"<\1ol", block)]
                    done = token.end()
    return "".join([*pieces, html[done:]])


def _tidy(text: str, indented: bool) -> str:
    """One tab between cells, no spaces at the ends of lines, at most one empty line."""
    text = text.replace("\xa0", " ")
    if "\t" in text:
        text = re.sub(r"(?<=\S)[ \t]*\t[ \t]*", "\t", text)
    lines = [line.rstrip() if indented else line.strip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _trafilatura(html: str) -> str:
    import trafilatura

    text = trafilatura.extract(html, include_comments=False, include_tables=True)
    return text or ""


class HtmlSource(FileSource):
    """What sources of web pages share."""

    extractor: Extractor = Field(
        "resiliparse",
        description="resiliparse: main content, fast; trafilatura: slower, for quality;"
        " everything: the whole page",
    )
    title: bool = Field(False, description="put the page's title before its text")

    def _page(self, place: str, html: str) -> str | Unreadable:
        text = text_of(html, self.extractor)
        if not text.strip():
            return Unreadable(self.name, place, "no text in the page")
        heading = title_of(html) if self.title else ""
        if heading and not text.startswith(heading):
            text = f"{heading}\n\n{text}"
        return text


class HtmlFiles(HtmlSource):
    """Web pages as files, one document each."""

    version: ClassVar[str] = "1"
    suffixes: ClassVar[tuple[str, ...]] = tuple(
        f".{name}{packing}"
        for name in ("html", "htm", "xhtml")
        for packing in ("", ".gz", ".zst", ".bz2", ".xz")
    )
    tree: ClassVar[bool] = True
    gathers: ClassVar[bool] = True
    max_mb: int = Field(32, ge=1, description="a file larger than this is not read")

    def frames(self, part: FilePart) -> Iterator[tuple[str, bytes] | RecordFault]:
        return whole_files(part, self.max_mb)

    def document(self, place: str, content: bytes) -> Document | Unreadable:
        try:
            html, _ = decode(content, declared_in(content))
        except UnicodeError as error:
            return Unreadable(self.name, place, str(error))
        text = self._page(place, html)
        if isinstance(text, Unreadable):
            return text
        return Document(self.name, place, text, self.language, "", self.licence)
