"""Which evaluation texts stand in which documents: an index of the texts, held against documents.

The verdicts are those of :mod:`yoriai.same_text`. Hashes only point to what may be alike; every hit
is a comparison of texts. The index is as large as the texts, whatever the documents are. For
packages that depend on numpy; nothing of core imports it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from yoriai.folded_text import I64, U32, Codes, folded
from yoriai.run_hashes import RunTable, hash_rows, run_hashes, spread
from yoriai.same_text import (
    ASCII_FACTOR,
    FEWEST_SHINGLES,
    NEAR,
    NGRAM,
    SHINGLE,
    TEMPLATE_CLUSTERS,
    TEMPLATE_SHARE,
    EvaluationText,
    fold,
)

Bools = npt.NDArray[np.bool_]
Kind = Literal["exact", "near"]

LONGEST_SPAN = 200  # characters that are shown of a hit


@dataclass(frozen=True, slots=True)
class Hit:
    """An item (by number) in a document (by number).

    ``share`` of its runs, or shingles, stand there. ``span`` is folded text of the document: the
    first stretch that is the same, for a near hit the stretch about the middle of what is.
    """

    document: int
    item: int
    kind: Kind
    share: float
    span: str


# --- the index ----------------------------------------------------------------------------


class TextIndex:
    """Items, ready to be found. ``missed`` are the numbers of those too short to be looked for."""

    def __init__(
        self, items: Sequence[EvaluationText], ngram: int = NGRAM, near: float | None = NEAR
    ) -> None:
        self.items, self.ngram, self.near = items, ngram, near
        texts = [tuple(text for f in item.fields if (text := fold(f))) for item in items]
        # Questions on one passage share it: what is the same text is one field.
        numbers: dict[str, int] = {}
        self.of = [tuple(numbers.setdefault(text, len(numbers)) for text in row) for row in texts]
        self.fields = list(numbers)
        self.codes = Codes.of(self.fields)
        owners = [(f, i) for i, row in enumerate(self.of) for f in row]
        owners.sort()
        self.owners = np.array([i for _, i in owners], np.int64)
        self.owned = np.searchsorted([f for f, _ in owners], np.arange(len(numbers) + 1))
        self._index_runs()
        self._index_whole()
        self._index_shingles()
        looked_for = self.totals > 0
        looked_for[self.whole] = True
        for shingles in self.near_parts:
            looked_for[shingles.items] = True
        self.missed: list[int] = np.flatnonzero(~looked_for).tolist()

    def find(self, texts: Sequence[str]) -> list[Hit]:
        """All hits in documents, ordered by document, item and kind."""
        documents = _Documents(folded(texts))
        hits = [*self._exact(documents), *self._all_whole(documents)]
        for part in self.near_parts:
            hits += part.find(documents)
        return sorted(hits, key=lambda h: (h.document, h.item, h.kind))

    # Runs: exact hits.

    def _index_runs(self) -> None:
        templates = self._templates()
        tables = []
        totals = np.zeros(len(self.fields), np.int64)
        for size, of_ascii in ((self.ngram, False), (self.ngram * ASCII_FACTOR, True)):
            places, owners = [], []
            for number, text in enumerate(self.fields):
                begin = int(self.codes.starts[number])
                chosen = [
                    begin + at
                    for run, at in _runs(text, size, of_ascii).items()
                    if run not in templates.get(number, ())
                ]
                places += chosen
                owners += [number] * len(chosen)
                totals[number] += len(chosen)
            table = RunTable(self.codes.points, np.array(places, np.int64), size)
            tables.append((table, np.array(owners, np.int64)))
        self.run_tables = [(t, o) for t, o in tables if len(t)]
        self.totals = np.array([sum(totals[f] for f in row) for row in self.of], np.int64)

    def _templates(self) -> dict[int, frozenset[str]]:
        """By field, the runs that belong to the form of its task and not to its questions."""
        clusters: dict[str, dict[str, set[int]]] = {}
        for number, item in enumerate(self.items):
            name = item.cluster or f"\0{item.id}"
            clusters.setdefault(item.task, {}).setdefault(name, set()).update(self.of[number])
        found: dict[int, frozenset[str]] = {}
        for groups in clusters.values():
            if len(groups) < TEMPLATE_CLUSTERS:
                continue
            counts: Counter[str] = Counter()
            for members in groups.values():
                counts.update({run for f in members for run in self._runs_of(f)})
            limit = TEMPLATE_SHARE * len(groups)
            common = frozenset(run for run, count in counts.items() if count > limit)
            if common:
                for f in {f for members in groups.values() for f in members}:
                    found[f] = found.get(f, frozenset()) | common
        return found

    def _runs_of(self, number: int) -> Iterator[str]:
        text = self.fields[number]
        yield from _runs(text, self.ngram, False)
        yield from _runs(text, self.ngram * ASCII_FACTOR, True)

    def _exact(self, documents: _Documents) -> Iterator[Hit]:
        """One hit for each document and item that share a run."""
        counts: Counter[tuple[int, int]] = Counter()
        spans: dict[tuple[int, int], tuple[int, str]] = {}
        for table, fields_of in self.run_tables:
            found, at, runs = table.find(documents.codes)
            pairs = np.unique(found * len(table) + runs, return_index=True)
            keys = found[pairs[1]] * len(self.fields) + fields_of[runs[pairs[1]]]
            places = at[pairs[1]]
            order = np.lexsort((places, keys))
            firsts, begins, sizes = np.unique(keys[order], return_index=True, return_counts=True)
            for key, begin, size in zip(firsts.tolist(), begins, sizes.tolist(), strict=True):
                one = pairs[1][order[begin]]
                document, field = divmod(key, len(self.fields))
                place = int(at[one])
                span = self._stretch(
                    documents, document, place, field, int(table.places[runs[one]]), table.size
                )
                for item in self.owners[self.owned[field] : self.owned[field + 1]].tolist():
                    counts[document, item] += size
                    spans[document, item] = min(
                        spans.get((document, item), (place, span)), (place, span)
                    )
        for (document, item), count in counts.items():
            share = count / int(self.totals[item])
            yield Hit(document, item, "exact", share, spans[document, item][1])

    def _stretch(
        self, documents: _Documents, document: int, at: int, field: int, place: int, size: int
    ) -> str:
        """The text from the first common run for as long as document and field are the same."""
        here = documents.points(document)[at : at + LONGEST_SPAN]
        there = self.codes.points[place : min(self.codes.starts[field + 1], place + LONGEST_SPAN)]
        both = min(len(here), len(there))
        differ = np.flatnonzero(here[:both] != there[:both])
        return _text(here[: max(min(size, LONGEST_SPAN), int(differ[0]) if len(differ) else both)])

    # Short items: all of their fields, whole.

    def _index_whole(self) -> None:
        anchors: dict[int, list[tuple[int, int]]] = {}
        for item in np.flatnonzero(self.totals == 0).tolist():
            if not self.of[item]:
                continue
            longest = max(self.of[item], key=lambda f: len(self.fields[f]))
            only_ascii = all(self.fields[f].isascii() for f in self.of[item])
            size = self.ngram * (ASCII_FACTOR if only_ascii else 1) // 2
            if len(self.fields[longest]) >= size:
                anchors.setdefault(size, []).append((longest, item))
        self.anchors = []
        for size, pairs in sorted(anchors.items()):
            places = self.codes.starts[[f for f, _ in pairs]]
            table = RunTable(self.codes.points, places, size)
            self.anchors.append((table, pairs))
        self.whole = [item for pairs in anchors.values() for _, item in pairs]

    def _all_whole(self, documents: _Documents) -> Iterator[Hit]:
        for table, pairs in self.anchors:
            found, _, runs = table.find(documents.codes)
            known = np.unique(found * len(table) + runs)
            for document, run in (divmod(key, len(table)) for key in known.tolist()):
                longest, item = pairs[run]
                text = documents.text(document)
                if all(self.fields[f] in text for f in self.of[item]):
                    yield Hit(document, item, "exact", 1.0, self.fields[longest][:LONGEST_SPAN])

    # Shingles: near hits.

    def _index_shingles(self) -> None:
        self.near_parts: list[_Shingles] = []
        if self.near is None:
            return
        split: dict[int, list[int]] = {}
        for number, row in enumerate(self.of):
            only_ascii = all(self.fields[f].isascii() for f in row)
            split.setdefault(SHINGLE * (ASCII_FACTOR if only_ascii else 1), []).append(number)
        for size, numbers in sorted(split.items()):
            part = _Shingles(self, size, numbers, self.near)
            if len(part.items):
                self.near_parts.append(part)


def _runs(text: str, size: int, of_ascii: bool) -> dict[str, int]:
    """The runs of a text that count, each with its first place."""
    found: dict[str, int] = {}
    for at in range(len(text) - size + 1):
        run = text[at : at + size]
        if run.isascii() == of_ascii:
            found.setdefault(run, at)
    return found


class _Shingles:
    """The items of one shingle size, found by their rarest shingles first.

    An item with ``m`` shingles of which ``need`` must be there can miss ``m - need`` of any choice
    of them: so of its rarest ``m - need + least`` at least ``least`` must be in the document
    (prefix filtering: Chaudhuri, Ganti, Kaushik 2006; Bayardo, Ma, Srikant 2007). Only for
    documents and items that pass are all shingles counted.
    """

    def __init__(self, index: TextIndex, size: int, numbers: Sequence[int], near: float) -> None:
        self.size = size
        ids: dict[str, int] = {}
        first: list[int] = []
        of_field: dict[int, list[int]] = {}
        for f in sorted({f for i in numbers for f in index.of[i]}):
            begin, text = int(index.codes.starts[f]), index.fields[f]
            distinct = {text[at : at + size]: at for at in range(len(text) - size, -1, -1)}
            for shingle, at in distinct.items():
                if shingle not in ids:
                    ids[shingle] = len(first)
                    first.append(begin + at)
            of_field[f] = [ids[shingle] for shingle in distinct]
        shingles = {i: [s for f in index.of[i] for s in of_field[f]] for i in numbers}
        kept = [i for i in numbers if len(shingles[i]) >= FEWEST_SHINGLES]
        self.items = np.array(kept, np.int64)
        self.all = [np.array(shingles[i], np.int64) for i in kept]
        self.need = np.array([max(1, math.ceil(near * len(s) - 1e-9)) for s in self.all], np.int64)
        common = Counter(s for i in kept for s in shingles[i])
        self.least = np.maximum(1, self.need * 3 // 8)
        posts: list[tuple[int, int]] = []
        for number, chosen in enumerate(self.all):
            rarest = sorted(chosen.tolist(), key=lambda s: (common[s], s))
            count = len(chosen) - int(self.need[number]) + int(self.least[number])
            posts += [(s, number) for s in rarest[:count]]
        posts.sort()
        self.at = np.array(first, np.int64)
        self.text = index.codes.points
        used, starts = np.unique(np.array([s for s, _ in posts], np.int64), return_index=True)
        self.posts = np.array([n for _, n in posts], np.int64)
        self.starts = np.append(starts, len(posts)).astype(np.int64)
        self.table = RunTable(self.text, self.at[used], size)

    def find(self, documents: _Documents) -> Iterator[Hit]:
        found, _, shingles = self.table.find(documents.codes)
        total = max(1, len(self.table))
        pairs = np.unique(found * total + shingles)
        found, shingles = pairs // total, pairs % total
        counts = self.starts[shingles + 1] - self.starts[shingles]
        which, places = spread(self.starts[shingles], counts)
        width = len(self.items)
        keys, times = np.unique(found[which] * width + self.posts[places], return_counts=True)
        for key in keys[times >= self.least[keys % width]].tolist():
            document, number = divmod(key, width)
            there, at = documents.hold(document, self.text, self.at[self.all[number]], self.size)
            if (count := int(there.sum())) >= self.need[number]:
                length = min(LONGEST_SPAN, len(self.all[number]) + self.size - 1)
                middle = int(np.median(at[there])) - length // 2
                span = documents.points(document)[max(0, middle) :][:length]
                item = int(self.items[number])
                yield Hit(document, item, "near", count / len(there), _text(span))


class _Documents:
    """Folded documents, and what is computed of one when it is first asked for."""

    def __init__(self, codes: Codes) -> None:
        self.codes = codes
        self._texts: dict[int, str] = {}
        self._sorted: dict[tuple[int, int], tuple[U32, I64]] = {}

    def points(self, document: int) -> U32:
        return self.codes.points[self.codes.starts[document] : self.codes.starts[document + 1]]

    def text(self, document: int) -> str:
        if document not in self._texts:
            self._texts[document] = _text(self.points(document))
        return self._texts[document]

    def hold(self, document: int, text: U32, places: I64, size: int) -> tuple[Bools, I64]:
        """Which of the shingles at ``places`` of ``text`` a document holds, and where first."""
        points = self.points(document)
        if (document, size) not in self._sorted:
            values, firsts = np.unique(run_hashes(points, size), return_index=True)
            self._sorted[document, size] = values, firsts
        values, firsts = self._sorted[document, size]
        if not len(values):
            return np.zeros(len(places), np.bool_), np.zeros(len(places), np.int64)
        windows = text[places[:, None] + np.arange(size)]
        hashes = hash_rows(windows, size)
        ranks = np.minimum(np.searchsorted(values, hashes), len(values) - 1)
        at = firsts[ranks]
        there = values[ranks] == hashes
        same = (points[at[:, None] + np.arange(size)] == windows).all(axis=1)
        # Two shingles of one hash in a document: the other one may stand further on.
        for row in np.flatnonzero(there & ~same).tolist():
            at[row] = max(0, place := self.text(document).find(_text(windows[row])))
            same[row] = place >= 0
        return there & same, at


def _text(points: npt.NDArray[Any]) -> str:
    return points.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
