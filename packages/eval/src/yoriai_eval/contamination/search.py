"""Searching the files of corpora for items, one by one or in an engine; what was found is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from yoriai import files
from yoriai.same_text import EvaluationText
from yoriai.text_index import TextIndex

MOST_PLACES = 20  # documents that are named of one sample; all are counted
BATCH_CHARACTERS = 1 << 19  # documents that are searched together

Place = tuple[str, str, str, float, str]  # corpus, source, id of a document; share; span
Found = dict[str, tuple[int, list[Place]]]  # by kind: how many documents, and the first of them


@dataclass(frozen=True, slots=True)
class SearchTask:
    """One file of a corpus, the items to look for, and where to write what was found."""

    corpus: str
    documents: Path
    items: Path
    out: Path


@lru_cache(maxsize=1)
def index_of(items: Path) -> TextIndex:
    """Built once in each process."""
    told, ngram, near = json.loads(items.read_bytes())
    rows = [EvaluationText(task, id_, tuple(parts), cluster) for task, id_, parts, cluster in told]
    return TextIndex(rows, ngram, near)


def search(task: SearchTask) -> None:
    """Search the documents of one file, some at a time, and write what was found."""
    if task.out.is_file():
        return
    index = index_of(task.items)
    found: dict[int, Found] = {}
    read = {"documents": 0, "characters": 0}
    for batch in _batches(task.documents):
        texts = [text for _, _, text in batch]
        read["documents"] += len(texts)
        read["characters"] += sum(map(len, texts))
        for hit in index.find(texts):
            source, id_, _ = batch[hit.document]
            place = (task.corpus, source, id_, round(hit.share, 4), hit.span)
            merge(found, {hit.item: {hit.kind: (1, [place])}})
    files.write_atomically(task.out, json.dumps({"read": read, "found": found}).encode())


def merge(found: dict[int, Found], more: dict[int, Found]) -> None:
    for item, kinds in more.items():
        for kind, (count, places) in kinds.items():
            before, known = found.setdefault(item, {}).get(kind, (0, []))
            known += places[: MOST_PLACES - len(known)]
            found[item][kind] = (before + count, known)


def _batches(path: Path) -> Iterator[list[tuple[str, str, str]]]:
    """(source, id, text) of the documents of a file, a row group in memory at a time."""
    import pyarrow.parquet as pq

    batch: list[tuple[str, str, str]] = []
    characters = 0
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            table = file.read_row_group(number, columns=["source", "id", "text"])
            for part in table.to_batches(max_chunksize=64):
                columns = [part.column(name).to_pylist() for name in ("source", "id", "text")]
                for source, id_, text in zip(*columns, strict=True):
                    batch.append((source or "", id_ or "", text or ""))
                    characters += len(text or "")
                    if characters >= BATCH_CHARACTERS:
                        yield batch
                        batch, characters = [], 0
    if batch:
        yield batch


def run(pool: Executor | None, tasks: Sequence[SearchTask]) -> Iterator[None]:
    if pool is None:
        yield from map(search, tasks)
        return
    for future in as_completed([pool.submit(search, task) for task in tasks]):
        yield future.result()
