"""Rows with named fields, whatever file they come from, as documents.

JSON Lines, parquet, CSV and Hugging Face data sets differ in how rows are stored and agree in
what a row is: fields with names, some of them inside others (``meta.url``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from pydantic import Field

from yoriai import Document, Unreadable
from yoriai.config import Configured
from yoriai_corpus.sources import encodings
from yoriai_corpus.sources.checks import fault
from yoriai_corpus.sources.files import FileSource
from yoriai_corpus.sources.packing import Damage, unpack
from yoriai_corpus.sources.records import FilePart, RecordFault, records

Layout = Literal["plain", "mc4", "pile", "stack"]


class Names(NamedTuple):
    """Which fields hold what; of several the first that is there and not empty counts."""

    text: tuple[str, ...]
    id: tuple[str, ...]
    url: tuple[str, ...]
    language: tuple[str, ...]
    licence: tuple[str, ...]
    date: tuple[str, ...]

    def all(self) -> list[str]:
        return [name for names in self for name in names]


# Field names as published:
# * mC4 (allenai/c4, config "multilingual"): text, url, timestamp.
# * The Pile (EleutherAI/the-pile; huggingface/datasets, the_pile/README.md): text, meta with
#   pile_set_name.
# * The Stack (bigcode/the-stack): content, lang, ext, hexsha and, of the repository with most
#   stars that has the file, max_stars_repo_name, _path, _head_hexsha, _licenses (a list).
LAYOUTS: dict[Layout, Names] = {
    "plain": Names(
        ("text",), ("id",), ("url",), ("lang", "language"), ("licence", "license"), ("date",)
    ),
    "mc4": Names(("text",), (), ("url",), (), (), ("timestamp",)),
    "pile": Names(("text",), (), (), (), (), ()),
    "stack": Names(("content",), (), (), (), ("max_stars_repo_licenses",), ()),
}
# What a layout needs besides.
_MORE: dict[Layout, tuple[str, ...]] = {
    "pile": ("meta.pile_set_name",),
    "stack": ("max_stars_repo_name", "max_stars_repo_path", "max_stars_repo_head_hexsha"),
}


class RowFields(Configured):
    """The keys that say which field holds what."""

    layout: Layout = Field(
        "plain", description="the names of fields in a published corpus: mc4, pile, stack"
    )
    text_field: str = Field("", description="the field that holds the text (plain: text)")
    id_field: str = Field("", description="the field that names the document (plain: id)")
    url_field: str = Field("", description="the field for the address (plain: url)")
    language_field: str = Field("", description="the field for the language (plain: lang)")
    licence_field: str = Field("", description="the field for the licence (plain: licence)")
    date_field: str = Field("", description="the field for the date (plain: date; mc4: timestamp)")

    def names(self) -> Names:
        """The layout's names, where no key says otherwise."""
        given = (
            self.text_field,
            self.id_field,
            self.url_field,
            self.language_field,
            self.licence_field,
            self.date_field,
        )
        rows = zip(given, LAYOUTS[self.layout], strict=True)
        return Names(*((name,) if name else names for name, names in rows))

    def wanted(self) -> list[str]:
        """Every field that is looked at, for readers that can leave out the others."""
        return [*self.names().all(), *_MORE.get(self.layout, ())]


class RowSource(RowFields, FileSource):
    """Files of rows."""

    def parser(self) -> Callable[[str, Any], Document | Unreadable | None]:
        return row_reader(self, self.name, self.language, self.licence)


def getter(names: Iterable[str]) -> Callable[[Mapping[str, Any]], Any]:
    """A function that finds the first of the named fields which holds something."""
    paths = [(name, name.split(".")) for name in names]
    if not paths:
        return lambda _row: None
    if len(paths) <= 2 and all(len(steps) == 1 for _, steps in paths):
        first, last = paths[0][0], paths[-1][0]
        if first == last:
            return lambda row: row.get(first)

        def find_two(row: Mapping[str, Any]) -> Any:
            value = row.get(first)
            return row.get(last) if value is None or value == "" else value

        return find_two

    def find(row: Mapping[str, Any]) -> Any:
        for name, steps in paths:
            value: Any = row.get(name)
            if value is None and len(steps) > 1:
                value = row
                for step in steps:
                    value = value.get(step) if isinstance(value, Mapping) else None
            if value is not None and value != "":
                return value
        return None

    return find


def row_reader(
    rows: RowFields, source: str, language: str, licence: str
) -> Callable[[str, Any], Document | Unreadable]:
    """A function from (place, row) to a document, for rows laid out as ``rows`` says.

    Texts must be what UTF-8 can hold; readers that cannot be sure ask ``partition.fault``.
    """
    names = rows.names()
    text_of, id_of, url_of, language_of, licence_of, date_of = (getter(n) for n in names)
    wanted = " or ".join(map(repr, names.text))
    identify = {"pile": _pile_id, "stack": _stack_id}.get(rows.layout)
    is_stack = rows.layout == "stack"
    language = language or ("code" if is_stack else "")
    known = {"", language}

    def document(place: str, row: Any) -> Document | Unreadable:
        text = text_of(row) if isinstance(row, Mapping) else None
        if not isinstance(text, str):
            return Unreadable(source, place, f"no text under {wanted}")
        if not text or text.isspace():
            return Unreadable(source, place, "no text")
        id_ = id_of(row)
        if identify is not None and id_ is None:
            id_ = identify(place, row)
        named = isinstance(id_, (str, int)) and not isinstance(id_, bool) and id_ != ""
        url, own_language, own_licence, date = (
            url_of(row), language_of(row), licence_of(row), date_of(row),
        )  # fmt: skip
        if isinstance(own_licence, (list, tuple)):
            own_licence = ", ".join(item for item in own_licence if isinstance(item, str))
        if is_stack and not url:
            url = _stack_url(row)
        item = Document(
            source,
            str(id_) if named else place,
            text,
            own_language if isinstance(own_language, str) and own_language else language,
            url if isinstance(url, str) else "",
            own_licence if isinstance(own_licence, str) and own_licence else licence,
            date if isinstance(date, str) else "" if date is None else _date(date),
        )
        if item.language not in known:
            # The place in the file says more than an id that may itself be what is wrong.
            reason = fault(item)
            if reason:
                return Unreadable(source, place, reason)
            if len(known) < 1000:
                known.add(item.language)
        return item

    if rows.layout in ("pile", "stack") or not all(_is_plain(n) for n in names):
        return document
    text_name, id_name, url_name, date_name = (
        next(iter(n), None) for n in (names.text, names.id, names.url, names.date)
    )
    language_1, language_2 = ((*names.language, None) * 2)[:2]
    licence_1, licence_2 = ((*names.licence, None) * 2)[:2]

    def quick(place: str, row: Any) -> Document | Unreadable:
        """The same for the common row: a dictionary in which what is there is text."""
        if type(row) is not dict:
            return document(place, row)
        get = row.get
        text, id_, url, date = get(text_name), get(id_name), get(url_name), get(date_name)
        own_language = get(language_1) or get(language_2)
        own_licence = get(licence_1) or get(licence_2)
        if (
            type(text) is str
            and text
            and not text[0].isspace()
            and (id_ is None or type(id_) is str or type(id_) is int)
            and (url is None or type(url) is str)
            and (date is None or type(date) is str)
            and (own_licence is None or type(own_licence) is str)
            and (own_language is None or (type(own_language) is str and own_language in known))
        ):
            return Document(
                source,
                place if id_ is None or id_ == "" else str(id_),
                text,
                own_language or language,
                url or "",
                own_licence or licence,
                date or "",
            )
        return document(place, row)

    return quick


def _is_plain(names: tuple[str, ...]) -> bool:
    return len(names) <= 2 and not any("." in name for name in names)


def _date(value: Any) -> str:
    """A date or time as ISO 8601; "" for what is neither."""
    form = getattr(value, "isoformat", None)
    return str(form()) if callable(form) else ""


def _pile_id(place: str, row: Mapping[str, Any]) -> str:
    meta = row.get("meta")
    part = meta.get("pile_set_name") if isinstance(meta, Mapping) else None
    return f"{part}/{place}" if isinstance(part, str) and part else place


def _stack_id(place: str, row: Mapping[str, Any]) -> str:
    path, name = row.get("max_stars_repo_path"), row.get("max_stars_repo_name")
    if not isinstance(path, str) or not path:
        return place
    return f"{name if isinstance(name, str) and name else place}/{path}"


def _stack_url(row: Mapping[str, Any]) -> str:
    parts = [row.get(f"max_stars_repo_{key}") for key in ("name", "head_hexsha", "path")]
    if not all(isinstance(part, str) and part for part in parts):
        return ""
    return f"https://github.com/{parts[0]}/blob/{parts[1]}/{parts[2]}"


def line_end(part: FilePart) -> tuple[str, bytes]:
    """How a file ends its lines: ("", its mark), or, of UTF-16 and 32, the encoding and its mark.

    Carriage returns alone, as old Macs wrote them, are told by a first stretch without line feeds.
    """
    head = next((c.data for c in unpack(part.file) if not isinstance(c, Damage)), b"")
    if codec := encodings.utf16_of(head[:4]):
        return codec, "\n".encode(codec)
    return "", b"\r" if b"\r" in head and b"\n" not in head else b"\n"


def is_strange(first: bytes) -> bool:
    """Whether a file whose first line is this may end its lines otherwise: see `line_end`."""
    return b"\0" in first[:4] or first[:1] >= b"\xfe" or b"\r" in first[:-1]


def other_encoding(part: FilePart, end: bytes, max_bytes: int) -> Iterator[RecordFault]:
    """A fault for each row of a file in UTF-16 or 32, which is not read."""
    for frame in records(part, delimiter=end, max_bytes=max_bytes):
        yield frame if isinstance(frame, RecordFault) else RecordFault(frame[0], encodings.UTF16)
