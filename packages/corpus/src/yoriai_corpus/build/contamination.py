"""Evaluation texts in the corpus: which documents hold them, by :mod:`yoriai.same_text`.

The texts lie in one file, from which every worker builds its own index once.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from yoriai import files
from yoriai.same_text import EvaluationText
from yoriai.text_index import TextIndex
from yoriai_corpus.text.batch import Batch

VERSION = "3"


@dataclass(frozen=True, slots=True)
class ContaminationHit:
    """An item found in a document. ``share`` of its runs was found, ``least`` was enough."""

    task: str
    item: str
    kind: str
    share: float
    least: float
    span: str


def write_texts(
    path: Path, texts: Iterable[EvaluationText], ngram: int, near: float | None
) -> dict[str, Any]:
    """Write what is looked for; returns counts, also of texts too short to be looked for."""
    chosen = sorted(set(texts), key=lambda text: (text.task, text.id, text.fields))
    rows = [[text.task, text.id, text.fields, text.cluster] for text in chosen]
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomically(path, files.canonical_json([rows, ngram, near]))
    _index.cache_clear()  # of a former file at this place
    counts = collections.Counter(text.task for text in chosen)
    short = collections.Counter(chosen[number].task for number in _index(path).missed)
    return {
        task: {"texts": counts[task], "too_short": short.get(task, 0)} for task in sorted(counts)
    }


@lru_cache(maxsize=1)
def _index(path: Path) -> TextIndex:
    rows, ngram, near = json.loads(path.read_bytes())
    texts = [EvaluationText(task, id_, tuple(parts), cluster) for task, id_, parts, cluster in rows]
    return TextIndex(texts, ngram, near)


class Finder:
    """The texts of a file, ready to be found. Raises what reading a damaged file raises."""

    def __init__(self, path: Path) -> None:
        self._index = _index(path)

    def find(self, batch: Batch) -> dict[int, list[ContaminationHit]]:
        """Hits by index of the document, the worst first; documents without one are not named."""
        found: dict[int, dict[int, ContaminationHit]] = {}
        for hit in self._index.find([document.text for document in batch]):
            text = self._index.items[hit.item]
            exact = hit.kind == "exact"
            runs = int(self._index.totals[hit.item])
            least = 1 / max(1, runs) if exact else float(self._index.near or 0)
            row = ContaminationHit(text.task, text.id, hit.kind, hit.share, least, hit.span)
            # In order of kind: what is found exactly is not said again.
            found.setdefault(hit.document, {}).setdefault(hit.item, row)
        return {
            document: sorted(rows.values(), key=_severity)
            for document, rows in sorted(found.items())
        }


def _severity(hit: ContaminationHit) -> tuple[Any, ...]:
    return (hit.kind, -hit.share, hit.task, hit.item)
