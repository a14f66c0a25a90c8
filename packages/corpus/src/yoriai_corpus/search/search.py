"""Searching indexes: all their parts together, by what stands in the texts and by their names."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from yoriai import Altered, Artifact, NotFound, Refused, YoriaiError
from yoriai.artifact import open_artifact
from yoriai_corpus.account.removals import removed_since
from yoriai_corpus.search import folded, places
from yoriai_corpus.search.part import FILTERS, NAME_FIELDS, IndexPart
from yoriai_corpus.search.places import PlacesInPart
from yoriai_corpus.search.query import Check, SearchQuery, unchecked

Facet = dict[str, dict[str, int]]
HITS_AT_A_TIME = 256


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
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found, part after part; ``facets``: counts by value of each filter's column."""

    query: SearchQuery
    parts: Sequence[PlacesInPart]
    documents: int
    facets: dict[str, Facet]

    @property
    def occurrences(self) -> int:
        return sum(part.occurrences for part in self.parts)

    @property
    def by_source(self) -> Facet:
        return self.facets["source"]


class SearchIndex:
    """Opened indexes, as one; it may be asked from several threads at a time."""

    def __init__(self, *artifacts: Artifact) -> None:
        """Raises :class:`yoriai.YoriaiError` where a part is missing, cut, foreign or damaged."""
        self.artifacts = artifacts
        self.parts: list[IndexPart] = []
        self._homes: list[Artifact] = []
        self._compared: dict[tuple[Path, str], list[Path]] = {}
        for artifact in artifacts:
            for number in range(artifact.facts["parts"]):
                stem = artifact.file(f"parts/{number:05d}.text").with_suffix("")
                for suffix in ("names", "documents"):
                    artifact.file(f"parts/{number:05d}.{suffix}")
                self.parts.append(IndexPart.open(stem))
                self._homes.append(artifact)

    def count(self, text: str, *, exact: bool = True) -> int:
        """How often a text occurs in all texts, kept or not; overlapping occurrences count each."""
        return sum(
            high - low
            for each in self.parts
            for low, high, _ in folded.ranges(each.texts.index, text, exact=exact)
        )

    def find(self, query: SearchQuery, *, check: Check = unchecked) -> SearchResult:
        """What a query finds; ``check`` is called now and then, and may raise to give up."""
        query.check()
        found: list[PlacesInPart] = []
        documents = 0
        facets: dict[str, Facet] = {name: {} for name in FILTERS}
        for each in self.parts:
            check()
            here = places.find(each, query, check)
            found.append(here)
            documents += int(here.documents.sum())
            held = np.flatnonzero(here.documents)
            for group in held.tolist():
                for name, facet in facets.items():
                    value = each.groups[group][name]
                    counts = facet.setdefault(value, {"occurrences": 0, "documents": 0})
                    counts["occurrences"] += int(here.times[group])
                    counts["documents"] += int(here.documents[group])
        ordered = {name: dict(sorted(facet.items())) for name, facet in facets.items()}
        return SearchResult(query, found, documents, ordered)

    def page(
        self,
        found: SearchResult,
        *,
        offset: int = 0,
        limit: int | None = 10,
        margin: int = 40,
        check: Check = unchecked,
    ) -> Iterator[IndexHit]:
        """Hits from the ``offset``-th on, part after part, in the order of :mod:`.places`."""
        left = found.occurrences if limit is None else limit
        for here in found.parts:
            if left <= 0:
                return
            count = min(left, here.occurrences - offset)
            if count <= 0:
                offset -= here.occurrences
                continue
            yield from _hits(here, here.hits(offset, count, check), margin)
            left, offset = left - count, 0

    def sample(
        self,
        found: SearchResult,
        count: int,
        *,
        seed: int,
        margin: int = 40,
        check: Check = unchecked,
    ) -> Iterator[IndexHit]:
        """So many of all hits, each as likely as any other; the same for the same seed."""
        chance = random.Random(seed)
        sizes = [here.occurrences for here in found.parts]
        drawn = chance.sample(range(sum(sizes)), min(count, sum(sizes)))
        of_part = np.searchsorted(np.cumsum(sizes), drawn, side="right")
        for here, wanted in zip(
            found.parts, np.bincount(of_part, minlength=len(sizes)).tolist(), strict=True
        ):
            yield from _hits(here, here.sample(wanted, chance, check), margin)

    def explain(
        self, name: str, *, offset: int = 0, most: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """What became of the documents called ``source/id`` (or just ``id``), or of an address.

        A row has the document's columns, how many ``characters`` its text has and, of these, at
        most ``most`` from ``offset`` on; and ``stood_for``, ``same_as`` and ``contamination`` as
        those of :func:`yoriai_corpus.account.lookup.find`.
        """
        for each, home in zip(self.parts, self._homes, strict=True):
            for document in each.called(name):
                row = each.row(document)
                row["characters"] = each.characters(document)
                row["text"] = each.text(document, offset, most)
                yield {**row, **self._relations(home, row)}

    def _relations(self, home: Artifact, row: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
        from yoriai_corpus.account import lookup

        try:
            number = [corpus["name"] for corpus in home.facts["corpora"]].index(row["corpus"])
        except ValueError as error:
            raise YoriaiError(
                f"{home.name} names no corpus {row['corpus']!r}", hint=f"yoriai verify {home.path}"
            ) from error

        def related(table: str) -> list[Path]:
            stem = f"{table}/{number:05d}-"
            key = (home.path, stem)
            if key not in self._compared:  # a file's bytes are compared once, as those of parts
                names = sorted(home.manifest["files"])
                self._compared[key] = [home.file(n) for n in names if n.startswith(stem)]
            return self._compared[key]

        return lookup.relations(related("clusters"), related("contamination"), row)


def open_index(*artifacts: Artifact) -> SearchIndex:
    """Indexes as one, as commands and pages ask them.

    Raises :class:`yoriai.Refused` for one that still holds what was removed from its corpus: a
    removal replaces the indexes in the corpus's own folder, and cannot reach others.
    """
    for artifact in artifacts:
        for item, folder in _corpora(artifact):
            if day := removed_since(folder.parent, item["digest"]):
                raise Refused(
                    f"{artifact.name} holds documents that were removed from {item['name']} on"
                    f" {day[:40]}",
                    hint=f"make it anew from {folder}: run its recipe again",
                )
    return SearchIndex(*artifacts)


def newer(artifact: Artifact) -> list[str]:
    """Names of the corpora of an index whose folder holds other bytes by now, or none."""
    found = []
    for item, folder in _corpora(artifact):
        try:
            now = open_artifact(folder)
        except (NotFound, Altered):
            continue  # moved away or under way: nothing says that there is a newer one
        if now.digest != item["digest"]:
            found.append(now.name)
    return found


def _corpora(artifact: Artifact) -> Iterator[tuple[dict[str, str], Path]]:
    """Each corpus that an index was made from, with where it was then."""
    return zip(artifact.manifest["inputs"], corpus_folders(artifact), strict=False)


def corpus_folders(artifact: Artifact) -> list[Path]:
    """Where the corpora of an index were when it was made, in the order of its inputs."""
    near = artifact.path.resolve().parent
    named = artifact.manifest["circumstances"].get("folders", [])
    return [near / Path(folder).expanduser() for folder in named]


def _hits(here: PlacesInPart, found: Iterable[tuple[int, int]], margin: int) -> Iterator[IndexHit]:
    """The hits at positions, each with its length; some are cut out of the index at a time."""
    each, query = here.part, here.query
    field = places.field_of(each, query)
    pairs = iter(found)
    while some := list(itertools.islice(pairs, HITS_AT_A_TIME)):
        cut = np.array(some, dtype=np.int64)
        numbers = field.documents(cut[:, 0])
        begins, ends = field.starts[numbers].tolist(), (field.starts[numbers + 1] - 1).tolist()
        stretches = [
            (max(begin, position - margin), min(end, position + length + margin))
            for begin, end, (position, length) in zip(begins, ends, some, strict=True)
        ]
        rows = each.named(numbers // NAME_FIELDS if query.names else numbers)
        texts = field.index.extract_all(stretches)
        for (position, length), begin, end, (start, stop), row, text in zip(
            some, begins, ends, stretches, rows, texts, strict=True
        ):
            match = position - start
            yield IndexHit(
                row["source"], row["id"], row["language"], row["state"], row["rule"],
                row["licence"], row["url"], row["corpus"], position - begin,
                ("…" if start > begin else "") + text[:match],
                text[match : match + length],
                text[match + length :] + ("…" if stop < end else ""),
            )  # fmt: skip
