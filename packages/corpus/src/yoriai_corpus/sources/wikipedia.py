"""Dumps of Wikipedia and its sisters (``pages-articles.xml``, ``.bz2``, multistream or not).

A dump is read as one ``<page>`` after the other, each of which expat parses on its own: memory
is bounded by a page, a broken page costs only itself, and as no page can hold a document
type, there are no entities to expand. Multistream bzip2 is cut at its streams; the index file
is not needed.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import quote
from xml.parsers import expat

from pydantic import Field

from yoriai import Document, PassedOver, Unreadable
from yoriai_corpus.sources import encodings, wikitext
from yoriai_corpus.sources.files import FileSource
from yoriai_corpus.sources.packing import Damage, unpack
from yoriai_corpus.sources.records import MEGABYTE, FilePart, RecordFault, records

_REDIRECT = re.compile(r"\s*[#＃](?:redirect|転送|リダイレクト)\s*:?\s*\[\[", re.I)
_NAMESPACE = re.compile(r"<namespace key=\"(-?\d+)\"[^>]*>([^<]*)</namespace>")


@dataclass(slots=True)
class SiteInfo:
    """What the head of a dump says of the wiki."""

    base: str = ""  # address of a page without its title, such as https://ja.wikipedia.org/wiki/
    language: str = ""
    namespaces: dict[int, str] = field(default_factory=dict)

    def names(self, key: int, known: frozenset[str]) -> frozenset[str]:
        name = self.namespaces.get(key, "").lower()
        return known | {name} if name else known


@dataclass(slots=True)
class Page:
    """One page of a dump, with its last revision."""

    title: str = ""
    namespace: int = 0
    id: str = ""
    redirect: bool = False
    timestamp: str = ""
    model: str = "wikitext"
    text: str = ""


class WikipediaDump(FileSource):
    """Articles of MediaWiki dumps as plain text."""

    version: ClassVar[str] = "2"
    suffixes: ClassVar[tuple[str, ...]] = (".xml", ".xml.bz2", ".xml.gz", ".xml.zst", ".xml.xz")
    splits: ClassVar[frozenset[str]] = frozenset({"", "bz2", "zst"})
    licence: str = Field(
        "CC-BY-SA-4.0", description="licence of the pages; that of Wikipedia since June 2023"
    )
    namespaces: tuple[int, ...] = Field(
        (0,), description="numbers of the namespaces that are read; 0 are the articles"
    )
    title: bool = Field(True, description="put the page's title before its text")
    max_mb: int = Field(64, ge=1, description="a page larger than this is not read")

    def frames(self, part: FilePart) -> Iterator[tuple[str, tuple[SiteInfo, bytes]] | RecordFault]:
        head = next((c.data[:4] for c in unpack(part.file) if not isinstance(c, Damage)), b"")
        if codec := encodings.utf16_of(head):  # no byte of it is a tag as it is looked for
            yield from _pages_in(part, codec, self.max_mb * MEGABYTE)
            return
        site = site_of(part)
        for frame in records(part, delimiter=b"</page>", max_bytes=self.max_mb * MEGABYTE):
            yield frame if isinstance(frame, RecordFault) else (frame[0], (site, frame[1]))

    def document(
        self, place: str, content: tuple[SiteInfo, bytes]
    ) -> Document | Unreadable | PassedOver | None:
        site, data = content
        start = data.rfind(b"<page>")
        if start < 0:
            # Only the end of the file may lie behind the last page.
            rest = data.replace(b"</mediawiki>", b"").strip()
            return Unreadable(self.name, place, "no page begins here") if rest else None
        try:
            page = parse_page(data[start:] + b"</page>")
        except (expat.ExpatError, ValueError) as error:
            return Unreadable(self.name, place, f"not XML: {error}")
        if page.namespace not in self.namespaces:
            return PassedOver(self.name, f"page of namespace {page.namespace}")
        # Old dumps do not say by an element that a page is a redirect.
        if page.redirect or _REDIRECT.match(page.text):
            return PassedOver(self.name, "redirect")
        if page.model != "wikitext":
            return PassedOver(self.name, f"page in {page.model[:40]}")
        left_out: list[str] = []
        text = text_of(page, site, left_out)
        if self.title:
            text = f"{page.title}\n\n{text}"
        return Document(
            self.name,
            page.id or place,
            text.strip(),
            self.language or site.language,
            site.base + quote(page.title.replace(" ", "_"), safe="/:()!,'*;@") if site.base else "",
            self.licence,
            page.timestamp,
            tuple(left_out),
        )


def _pages_in(part: FilePart, codec: str, max_bytes: int) -> Iterator[RecordFault]:
    """A fault for each page of a dump in another encoding than UTF-8, which is not read."""
    begins, end = "<page>".encode(codec), "</page>".encode(codec)
    for frame in records(part, delimiter=end, max_bytes=max_bytes):
        if isinstance(frame, RecordFault):
            yield frame
        elif begins in frame[1] or (part.start == 0 and frame[0] == part.place(-1, 0)):
            yield RecordFault(frame[0], encodings.UTF16)


def text_of(page: Page, site: SiteInfo, left_out: list[str] | None = None) -> str:
    """The page's text; if its markup defeats the parser, the text without the worst of it."""
    try:
        return wikitext.plain_text(
            page.text,
            title=page.title,
            files=site.names(6, wikitext.FILE_NAMESPACES),
            categories=site.names(14, wikitext.CATEGORY_NAMESPACES),
            left_out=left_out,
        )
    except (ValueError, RecursionError, IndexError):
        stripped = re.sub(r"<[^<>]*>|\{\{[^{}]*\}\}|\[\[[^\[\]|]*\||[\[\]{}]|'{2,}", "", page.text)
        return html.unescape(stripped).strip()


def site_of(part: FilePart) -> SiteInfo:
    """Reads the head of the part's file; what it does not say stays empty."""
    head = b""
    for chunk in unpack(part.file):
        if isinstance(chunk, Damage):
            break
        head += chunk.data
        if b"</siteinfo>" in head or b"<page>" in head or len(head) > MEGABYTE:
            break
    text = head.partition(b"</siteinfo>")[0].decode("utf-8", "replace")
    base = re.search(r"<base>([^<]*)/[^</]*</base>", text)
    language = re.search(r"<mediawiki\b[^>]*\bxml:lang=\"([^\"]*)\"", text)
    spaces = {int(key): html.unescape(name) for key, name in _NAMESPACE.findall(text)}
    return SiteInfo(f"{base[1]}/" if base else "", language[1] if language else "", spaces)


def parse_page(data: bytes) -> Page:
    """A ``<page>`` element. Raises :class:`expat.ExpatError` for what is not well formed."""
    page = Page()
    path: list[str] = []
    pieces: list[str] = []

    def start(name: str, _attributes: dict[str, str]) -> None:
        path.append(name)
        pieces.clear()
        if path == ["page", "redirect"]:
            page.redirect = True

    def end(_name: str) -> None:
        value = "".join(pieces)
        pieces.clear()
        match path:
            case ["page", "title"]:
                page.title = value
            case ["page", "ns"]:
                page.namespace = int(value)
            case ["page", "id"]:
                page.id = value
            case ["page", "revision", "timestamp"]:
                page.timestamp = value
            case ["page", "revision", "model"]:
                page.model = value
            case ["page", "revision", "text"]:
                page.text = value
        path.pop()

    def refuse(*_: object) -> None:
        raise ValueError("a document type inside a page")

    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = pieces.append
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.Parse(data, True)
    return page
