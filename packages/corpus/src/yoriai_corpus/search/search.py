"""Searching an index: all its parts together, by what stands in the texts and by their names."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from yoriai import Artifact, NotFound, UsageError
from yoriai_corpus.search import folded
from yoriai_corpus.search.part import NAME_FIELDS, IndexedTexts, IndexPart

I64 = npt.NDArray[np.int64]
MOST_CHARACTERS = 10_000  # of a query
FILTERS = ("state", "source", "language", "licence", "rule", "corpus")


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """What to look for. A document is found if it holds ``text``, all of ``also`` and none of
    ``without``, and its columns are as the filters say (empty: any). ``since`` and ``until`` are
    compared as text with the document's date (ISO 8601), the latter included."""

    text: str
    also: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    exact: bool = False
    names: bool = False
    state: str = ""
    source: str = ""
    language: str = ""
    licence: str = ""
    rule: str = ""
    corpus: str = ""
    since: str = ""
    until: str = ""

    def check(self) -> None:
        """Raises :class:`UsageError` or :class:`NotFound` for what cannot be looked for."""
        for text in (self.text, *self.also, *self.without):
            if not text.strip():
                raise NotFound("an empty query finds nothing", hint="give a piece of text")
            if len(text) > MOST_CHARACTERS:
                raise UsageError(
                    f"a query of {len(text):,} characters", hint=f"at most {MOST_CHARACTERS:,}"
                )
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise UsageError("the query is no UTF-8", hint="type it as text") from error


@dataclass(frozen=True, slots=True)
class IndexHit:
    """One place where it stands: which document, at which character, with what is around."""

    source: str
    id: str
    language: str
    state: str
    rule: str
    licence: str
    url: str
    corpus: str
    offset: int
    before: str
    match: str
    after: str

    @property
    def around(self) -> str:
        return " ".join(f"{self.before}{self.match}{self.after}".split("\n"))

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class SearchResult:
    """All places: by part, their positions in the part's text, ascending."""

    query: SearchQuery
    places: Sequence[I64]
    documents: int
    by_source: dict[str, dict[str, int]]

    @property
    def occurrences(self) -> int:
        return sum(map(len, self.places))


class SearchIndex:
    """An opened index; it may be asked from several threads at a time."""

    def __init__(self, artifact: Artifact) -> None:
        """Raises :class:`yoriai.YoriaiError` where a part is missing, cut, foreign or damaged."""
        self.artifact = artifact
        stems = [
            artifact.file(f"parts/{number:05d}.text").with_suffix("")
            for number in range(artifact.facts["parts"])
        ]
        self.parts = [IndexPart.open(stem) for stem in stems]

    def count(self, text: str, *, exact: bool = True) -> int:
        """How often a text occurs in all texts, kept or not; overlapping occurrences count each."""
        return sum(
            high - low
            for each in self.parts
            for low, high in folded.ranges(each.texts.index, text, exact=exact)
        )

    def find(self, query: SearchQuery) -> SearchResult:
        """All places of a query; every one is located, which takes some microseconds each."""
        query.check()
        places: list[I64] = []
        documents = 0
        by_source: dict[str, dict[str, int]] = {}
        for each in self.parts:
            here, held = _places(each, query)
            places.append(here)
            names, counts = np.unique(held, return_counts=True)
            documents += len(names)
            column = each.table["source"]
            for document, count in zip(names.tolist(), counts.tolist(), strict=True):
                row = by_source.setdefault(column[document].as_py(), {})
                row["occurrences"] = row.get("occurrences", 0) + count
                row["documents"] = row.get("documents", 0) + 1
        return SearchResult(query, places, documents, dict(sorted(by_source.items())))

    def page(
        self, found: SearchResult, *, offset: int = 0, limit: int | None = 10, margin: int = 40
    ) -> Iterator[IndexHit]:
        """Hits in the order of the documents, from the ``offset``-th on."""
        end = found.occurrences if limit is None else offset + limit
        yield from self._hits(found, range(offset, min(end, found.occurrences)), margin)

    def sample(
        self, found: SearchResult, count: int, *, seed: int, margin: int = 40
    ) -> Iterator[IndexHit]:
        """So many of all hits, each as likely as any other; the same for the same seed."""
        total = found.occurrences
        chosen = random.Random(seed).sample(range(total), min(count, total))
        yield from self._hits(found, sorted(chosen), margin)

    def _hits(self, found: SearchResult, numbers: Sequence[int], margin: int) -> Iterator[IndexHit]:
        ends = np.cumsum([len(places) for places in found.places])
        for number in numbers:
            where = int(np.searchsorted(ends, number, side="right"))
            position = int(found.places[where][number - int(ends[where])])
            yield _hit(self.parts[where], position, found.query, margin)

    def explain(self, name: str) -> Iterator[dict[str, Any]]:
        """What became of the documents called ``source/id`` (or just ``id``).

        A row has the document's columns and text, and ``stood_for``, ``same_as`` and
        ``contamination`` as those of :func:`yoriai_corpus.account.lookup.find`.
        """
        pieces = name.split("/")
        for each in self.parts:
            ids = each.table["id"]
            for cut in range(len(pieces)):
                mask = pc.equal(ids, "/".join(pieces[cut:]))
                for document in np.flatnonzero(mask.to_numpy(zero_copy_only=False)).tolist():
                    row = each.row(document)
                    if cut and row["source"] != "/".join(pieces[:cut]):
                        continue
                    row["text"] = each.text(document)
                    yield {**row, **self._relations(row)}

    def _relations(self, row: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        from yoriai_corpus.account import lookup

        number = self.artifact.facts["corpora"].index(row["corpus"])
        return lookup.relations(
            self._related("clusters", number), self._related("contamination", number), row
        )

    def _related(self, table: str, corpus: int) -> list[Path]:
        names = sorted(self.artifact.manifest["files"])
        found = [name for name in names if name.startswith(f"{table}/{corpus:05d}-")]
        return [self.artifact.file(name) for name in found]


def _places(each: IndexPart, query: SearchQuery) -> tuple[I64, I64]:
    """Where the query stands in a part, and in which document each place lies."""
    field = each.names if query.names else each.texts
    positions = _locate(field, query.text, exact=query.exact)
    held = _documents(field, positions, query)
    keep = _mask(each, query)[held]
    for text in query.also:
        keep &= np.isin(held, _documents(field, _locate(field, text, exact=query.exact), query))
    for text in query.without:
        keep &= ~np.isin(held, _documents(field, _locate(field, text, exact=query.exact), query))
    return positions[keep], held[keep]


def _locate(field: IndexedTexts, text: str, *, exact: bool) -> I64:
    found = [
        field.index.locate(np.arange(low, high, dtype=np.int64))
        for low, high in folded.ranges(field.index, text, exact=exact)
    ]
    return np.sort(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)


def _documents(field: IndexedTexts, positions: I64, query: SearchQuery) -> I64:
    held = field.documents(positions)
    return held // NAME_FIELDS if query.names else held


def _mask(each: IndexPart, query: SearchQuery) -> npt.NDArray[np.bool_]:
    mask = np.ones(max(1, each.table.num_rows), dtype=np.bool_)
    for name in FILTERS:
        value = getattr(query, name)
        if value:
            mask &= pc.equal(each.table[name], value).to_numpy(zero_copy_only=False)
    if query.since or query.until:
        dates = np.array(each.table["date"].to_pylist(), dtype=object)
        mask &= np.array([bool(date) for date in dates], dtype=np.bool_)
        if query.since:
            mask &= np.array([(d or "") >= query.since for d in dates], dtype=np.bool_)
        if query.until:
            size = len(query.until)
            mask &= np.array([(d or "")[:size] <= query.until for d in dates], dtype=np.bool_)
    return mask


def _hit(each: IndexPart, position: int, query: SearchQuery, margin: int) -> IndexHit:
    field = each.names if query.names else each.texts
    number = int(field.documents(np.array([position]))[0])
    begin, end = int(field.starts[number]), int(field.starts[number + 1]) - 1
    row = each.row(number // NAME_FIELDS if query.names else number)
    after = position + len(query.text)
    start, stop = max(begin, position - margin), min(end, after + margin)
    text = field.index.extract(start, stop)
    match = position - start
    return IndexHit(
        row["source"], row["id"], row["language"], row["state"], row["rule"], row["licence"],
        row["url"], row["corpus"], position - begin,
        ("…" if start > begin else "") + text[:match],
        text[match : match + len(query.text)],
        text[match + len(query.text) :] + ("…" if stop < end else ""),
    )  # fmt: skip
