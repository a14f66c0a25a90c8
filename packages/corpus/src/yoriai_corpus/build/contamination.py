"""Evaluation texts in the corpus: an index of the items' n-grams, and documents held against it.

Texts are compared folded (NFKC, case, width, katakana as hiragana) and without space. A document
holds an item *exactly* if they share one long n-gram (GPT-3 took 13 words, arXiv 2005.14165,
appendix C; 16 Japanese characters say about as much), *nearly* if most of the item's short
n-grams stand in it, which small edits leave intact.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from yoriai import files
from yoriai_corpus.text.batch import I64, U32, Batch, CodePoints, codes_of, fold_table
from yoriai_corpus.text.minhash import U64, fold_without_space, ngram_hashes

VERSION = "2"
# Sixteen characters say as much in Japanese as 48 in English; with 16 for all,
# "self.assertEqual" alone took four fifths of the code (record 0002).
ASCII_FACTOR = 3
NEAR_NGRAM = 5
NEAR_MIN_NGRAMS = 20  # of a shorter item, any long document holds most short n-grams
# n-grams in more than this share of a task's items are its template, not its questions.
TEMPLATE_SHARE, TEMPLATE_ITEMS = 0.1, 20
_BITMAP_BITS = 24


@dataclass(frozen=True, slots=True)
class EvaluationText:
    """One text that must not be in the corpus."""

    task: str
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class ContaminationHit:
    """An item found in a document. ``share`` of its n-grams were found, ``least`` was enough."""

    task: str
    item: str
    kind: str
    share: float
    least: float
    span: str


@cache
def kana_folded() -> U32:
    """The folding table with katakana as hiragana (ァ to ヶ lie 0x60 behind ぁ to ゖ)."""
    table = fold_table().copy()
    table[(table >= 0x30A1) & (table <= 0x30F6)] -= np.uint32(0x60)
    return table


def folded(texts: Iterable[str]) -> CodePoints:
    return fold_without_space(codes_of(texts), kana_folded())


def write_index(
    path: Path, items: Iterable[EvaluationText], ngram: int, near: float | None
) -> dict[str, Any]:
    """Write the index of all items; returns counts, also of items too short to be looked for."""
    rows: dict[tuple[str, str, str], EvaluationText] = {}
    for item in items:
        rows.setdefault((item.task, item.id, item.text), item)
    all_items = [rows[key] for key in sorted(rows)]
    codes = folded([item.text for item in all_items])
    spans = [codes.points[a:b] for a, b in zip(codes.starts, codes.starts[1:], strict=False)]
    grams = {"exact": (ngram, 1), "near": (NEAR_NGRAM, NEAR_MIN_NGRAMS)}
    tables: dict[str, npt.NDArray[Any]] = {}
    searched = np.zeros(len(all_items), dtype=bool)
    names = []
    for kind, (size, fewest) in grams.items():
        if kind == "near" and near is None:
            continue
        for ascii_ in (False, True):
            n = size * (ASCII_FACTOR if ascii_ else 1)
            of = [
                np.unique(ngram_hashes(span, n))
                if len(span) >= n and bool((span < 128).all()) == ascii_
                else np.zeros(0, dtype=np.uint64)
                for span in spans
            ]
            of = [g if len(g) >= fewest else g[:0] for g in of]
            if kind == "exact":
                of = _without_templates(all_items, of)
            searched |= np.array([len(g) > 0 for g in of], dtype=bool)
            name = f"{kind}{n}"
            names.append(name)
            tables |= {f"{name}.{key}": value for key, value in _postings(of).items()}
    lists = {
        "items": [[item.task, item.id] for item in all_items],
        "tables": names,
        "near": near,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path.with_suffix(".json"), files.canonical_json(lists))
    temporary = path.with_suffix(".part.npz")
    np.savez(temporary, allow_pickle=False, **tables)
    temporary.replace(path)
    counts = collections.Counter(item.task for item in all_items)
    short = collections.Counter(
        item.task for item, found in zip(all_items, searched, strict=True) if not found
    )
    return {
        task: {"texts": counts[task], "too_short": short.get(task, 0)} for task in sorted(counts)
    }


def _without_templates(items: list[EvaluationText], grams: list[U64]) -> list[U64]:
    by_task: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        by_task.setdefault(item.task, []).append(index)
    found = list(grams)
    for members in by_task.values():
        # Choices of one question repeat its text; that is no template.
        questions = len({items[i].id for i in members})
        if questions < TEMPLATE_ITEMS:
            continue
        by_id: dict[str, list[U64]] = {}
        for i in members:
            by_id.setdefault(items[i].id, []).append(grams[i])
        each = [np.unique(np.concatenate(pieces)) for pieces in by_id.values()]
        values, counts = np.unique(np.concatenate(each), return_counts=True)
        common = values[counts > TEMPLATE_SHARE * questions]
        for i in members:
            found[i] = np.setdiff1d(grams[i], common, assume_unique=True)
    return found


def _postings(grams: list[U64]) -> dict[str, npt.NDArray[Any]]:
    totals = np.array([len(g) for g in grams], dtype=np.int64)
    owners = np.repeat(np.arange(len(grams), dtype=np.int64), totals)
    flat = np.concatenate(grams) if grams else np.zeros(0, dtype=np.uint64)
    order = np.lexsort((owners, flat))
    values, starts = np.unique(flat[order], return_index=True)
    starts = np.append(starts, len(flat)).astype(np.int64)
    return {"values": values, "starts": starts, "owners": owners[order], "totals": totals}


class Finder:
    """An index, opened. Raises what reading a damaged file raises."""

    def __init__(self, path: Path) -> None:
        import json

        lists = json.loads(path.with_suffix(".json").read_bytes())
        self._items: list[list[str]] = lists["items"]
        self._near: float | None = lists["near"]
        self._tables = []
        with np.load(path, allow_pickle=False) as arrays:
            for name in lists["tables"]:
                table = [
                    arrays[f"{name}.{key}"] for key in ("values", "starts", "owners", "totals")
                ]
                if len(table[0]):
                    kind = name.rstrip("0123456789")
                    self._tables.append(
                        (kind, int(name.removeprefix(kind)), table, _bitmap(table[0]))
                    )

    def find(self, batch: Batch) -> dict[int, list[ContaminationHit]]:
        """Hits by index of the document, the worst first; documents without one are not named."""
        if not self._tables:
            return {}
        codes = fold_without_space(batch.codes, kana_folded())
        found: dict[int, dict[tuple[str, str], ContaminationHit]] = {}
        for kind, n, (values, starts, owners, totals), bitmap in self._tables:
            least = 0.0 if kind == "exact" else float(self._near or 0)
            hits = _find(
                codes.points, codes.starts, n, values, starts, owners, totals, bitmap, least
            )
            for document, item, count, at in zip(*(c.tolist() for c in hits), strict=True):
                share = count / int(totals[item])
                task, id_ = self._items[item]
                begin = int(codes.starts[document]) + at
                span = codes.points[begin : begin + n].tobytes().decode("utf-32-le")
                needed = 1 / int(totals[item]) if kind == "exact" else least
                hit = ContaminationHit(task, id_, kind, share, needed, span)
                rows = found.setdefault(document, {})
                former = rows.get((task, id_))
                if former is None or (hit.kind, -hit.share) < (former.kind, -former.share):
                    rows[(task, id_)] = hit
        order = _severity
        return {
            document: sorted(rows.values(), key=order) for document, rows in sorted(found.items())
        }


def _severity(hit: ContaminationHit) -> tuple[Any, ...]:
    return (hit.kind, -hit.share, hit.task, hit.item)


def _bitmap(values: U64) -> npt.NDArray[np.uint8]:
    """One bit for each hash's upper bits: nearly every n-gram of a clean text ends here."""
    bits = np.zeros(2**_BITMAP_BITS // 8, dtype=np.uint8)
    at = (values >> np.uint64(64 - _BITMAP_BITS)).astype(np.int64)
    np.bitwise_or.at(bits, at >> 3, (1 << (at & 7)).astype(np.uint8))
    return bits


@numba.njit(cache=True, nogil=True)
def _find(
    points: U32,
    starts: I64,
    n: int,
    values: U64,
    posts: I64,
    owners: I64,
    totals: I64,
    bitmap: npt.NDArray[np.uint8],
    least: float,
) -> tuple[I64, I64, I64, I64]:
    seen = np.full(len(values), -1, dtype=np.int64)
    counts = np.zeros(len(totals), dtype=np.int64)
    first = np.zeros(len(totals), dtype=np.int64)
    touched = np.empty(len(totals), dtype=np.int64)
    out = [np.empty(64, dtype=np.int64) for _ in range(4)]
    length = 0
    for document in range(len(starts) - 1):
        if starts[document + 1] - starts[document] < n:
            continue
        hashes = ngram_hashes(points[starts[document] : starts[document + 1]], n)
        touches = 0
        for at in range(len(hashes)):
            value = hashes[at]
            bit = np.int64(value >> np.uint64(64 - _BITMAP_BITS))
            if not (bitmap[bit >> 3] >> np.uint8(bit & 7)) & 1:
                continue
            place = np.searchsorted(values, value)
            if place == len(values) or values[place] != value or seen[place] == document:
                continue
            seen[place] = document
            for post in range(posts[place], posts[place + 1]):
                item = owners[post]
                if counts[item] == 0:
                    touched[touches] = item
                    first[item] = at
                    touches += 1
                counts[item] += 1
        for index in range(touches):
            item = touched[index]
            if counts[item] >= least * totals[item]:
                if length == len(out[0]):
                    out = [np.concatenate((column, np.empty_like(column))) for column in out]
                out[0][length] = document
                out[1][length] = item
                out[2][length] = counts[item]
                out[3][length] = first[item]
                length += 1
            counts[item] = 0
    return out[0][:length], out[1][:length], out[2][:length], out[3][:length]


def items_of(name: str, samples: Iterable[Any]) -> Iterator[EvaluationText]:
    """The texts of a task's samples: each question with each of its choices, or by itself."""
    for sample in samples:
        for text in [sample.text + str(choice) for choice in sample.choices] or [sample.text]:
            yield EvaluationText(name, sample.id, text)
