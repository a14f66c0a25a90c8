"""What a request is answered with, as plain data: the JSON of the API, and what pages show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yoriai import NotFound
from yoriai_corpus.account.removals import check_not_removed
from yoriai_corpus.search import trace as tracing
from yoriai_corpus.search.near import near_spans
from yoriai_corpus.search.query import Check, SearchQuery
from yoriai_corpus.search.search import SearchIndex
from yoriai_corpus.search.seen import Trainings
from yoriai_corpus.serve.limits import ServeLimits

MOST_FOUND = 20  # documents of one name
RELATED = 20  # duplicates and items named of a document
SHORTEST = 8
SPANS = 200
NEAR = 50
DROPPED = 20
BEGINNING = 300  # characters of a document in a list


def search(
    index: SearchIndex, query: SearchQuery, *, offset: int, limit: int, check: Check
) -> dict[str, Any]:
    """Counts by facet, and a page of hits."""
    found = index.find(query, check=check)
    hits = index.page(found, offset=offset, limit=limit, check=check)
    return {
        "occurrences": found.occurrences,
        "documents": found.documents,
        "facets": found.facets,
        "offset": offset,
        "hits": [hit.plain() for hit in hits],
    }


def document(
    index: SearchIndex, name: str, *, offset: int, limits: ServeLimits, trainings: Trainings
) -> list[dict[str, Any]]:
    """What became of a document, with a stretch of its text from ``offset`` on."""
    found = []
    for row in index.explain(name, offset=offset, most=limits.shown_characters):
        for key in ("stood_for", "same_as", "contamination"):
            row[f"{key}_count"] = len(row[key])
            row[key] = row[key][:RELATED]
        found.append({**row, "offset": min(offset, row["characters"])})
        if len(found) == MOST_FOUND:
            break
    if not found:
        roots = [artifact.path.parent for artifact in index.artifacts]
        check_not_removed(roots, *name.rpartition("/")[::2])
        raise NotFound(f"no document {name[:200]!r} was read", hint="search finds names, too")
    _add_seen(found, trainings)
    return found


def trace(
    index: SearchIndex, text: str, *, near: bool, check: Check, trainings: Trainings
) -> dict[str, Any]:
    """Spans of a text that stand in the corpus word for word and, if asked, ``near`` ones.

    Near ones take longer: 0.19 s of CPU for 500 characters in 9 MB of text, as measured.
    """
    spans = tracing.trace(index, text, shortest=SHORTEST, places=5, check=check)
    shown = [span.plain() for span in spans[:SPANS]]
    found: dict[str, Any] = {
        "characters": len(text),
        "covered": tracing.covered(spans),
        "spans": shown,
        "spans_count": len(spans),
    }
    held = [place for span in shown for place in span["places"]]
    if near:
        close = near_spans(index, text, check=check)
        found |= {
            "near": [span.plain() for span in close.spans[:NEAR]],
            "near_count": len(close.spans),
            "near_frequent_seeds": close.frequent_seeds,
            "near_stretches_left_out": close.stretches_left_out,
        }
        held += [span["place"] for span in found["near"]]
    _add_seen(held, trainings)
    return found


def _add_seen(rows: Sequence[dict[str, Any]], trainings: Trainings) -> None:
    """Put what the trainings saw of each document into its row, under ``seen``."""
    names = [f"{row['source']}/{row['id']}" for row in rows]
    seen = trainings.saw(zip(names, (row["state"] for row in rows), strict=True))
    for row, name in zip(rows, names, strict=True):
        row["seen"] = [one.plain() for one in seen[name]]


def overview(index: SearchIndex) -> dict[str, Any]:
    """How many documents there are of each state, rule, source, language and licence."""
    facets: dict[str, dict[str, int]] = {}
    for part in index.parts:
        counts = np.bincount(part.texts.groups, minlength=len(part.groups)).tolist()
        for group, count in zip(part.groups, counts, strict=False):
            for name, value in group.items():
                facet = facets.setdefault(name, {})
                facet[value] = facet.get(value, 0) + count
    return {
        "indexes": [artifact.name for artifact in index.artifacts],
        "parts": len(index.parts),
        "facets": {name: dict(sorted(facet.items())) for name, facet in facets.items()},
    }


def dropped(index: SearchIndex, rule: str, *, offset: int) -> list[dict[str, Any]]:
    """Documents that a rule dropped, in order: value, threshold and how they begin."""
    found: list[dict[str, Any]] = []
    for part in index.parts:
        passes = np.array([group["rule"] == rule for group in part.groups], dtype=np.bool_)
        numbers = np.flatnonzero(passes[part.texts.groups]) if len(passes) else np.zeros(0, int)
        if offset >= len(numbers):
            offset -= len(numbers)
            continue
        for number in numbers[offset : offset + DROPPED - len(found)].tolist():
            starts = part.texts.starts
            begin = int(starts[number])
            end = min(begin + BEGINNING, int(starts[number + 1]) - 1)
            found.append({**part.row(number), "text": part.texts.index.extract(begin, end)})
        offset = 0
        if len(found) == DROPPED:
            break
    return found
