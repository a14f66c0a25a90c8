"""Finding single documents in the tables of a corpus, without an index.

Names are read column by column, which is quick; texts only where a document was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from yoriai import Artifact
from yoriai_corpus.account.audit import paths_of

Positions = npt.NDArray[np.int64]
STATES = {
    "documents": "kept", "heldout": "held out", "dropped": "dropped", "unreadable": "unreadable"
}  # fmt: skip


def positions(paths: Sequence[Path], *equal: Mapping[str, str]) -> Positions:
    """Which rows, counted through all files, have all values of any of these mappings."""
    found: list[Positions] = []
    start = 0
    columns = list(dict.fromkeys(column for values in equal for column in values))
    for path in paths:
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            table = file.read(columns=columns)
        mask = np.zeros(rows, dtype=bool)
        for values in equal:
            here = np.ones(rows, dtype=bool)
            for column, value in values.items():
                here &= pc.equal(table[column], value).to_numpy()
            mask |= here
        found.append(np.flatnonzero(mask) + start)
        start += rows
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def rows_at(paths: Sequence[Path], wanted: Positions) -> Iterator[dict[str, Any]]:
    """The rows at these ascending positions; only the row groups that hold them are read."""
    start = 0
    for path in paths:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                here = wanted[(wanted >= start) & (wanted < start + rows)] - start
                if len(here):
                    yield from file.read_row_group(group).take(pa.array(here)).to_pylist()
                start += rows


def find(corpus: Artifact, name: str) -> Iterator[dict[str, Any]]:
    """The rows called ``SOURCE/ID`` (or just ``ID``) in all tables, with their ``state``.

    Besides the table's columns a row has ``stood_for`` (the duplicates it was kept for),
    ``same_as`` (the row of the cluster it was dropped for) and ``contamination``.
    """
    clusters, items = paths_of(corpus, "clusters"), paths_of(corpus, "contamination")
    for table, state in STATES.items():
        paths = paths_of(corpus, table)
        for row in rows_at(paths, positions(paths, *_cuts(name))):
            yield {**row, "state": state, "corpus": corpus.name, **relations(clusters, items, row)}


def _cuts(name: str) -> list[dict[str, str]]:
    """``a/b/c`` is the id ``a/b/c`` of any source, ``b/c`` of ``a``, or ``c`` of ``a/b``."""
    parts = name.split("/")
    cuts = [
        {"source": "/".join(parts[:cut]), "id": "/".join(parts[cut:])}
        for cut in range(1, len(parts))
    ]
    return [{"id": name}, *cuts]


def relations(
    clusters: Sequence[Path], contamination: Sequence[Path], row: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """What the tables of clusters and of evaluation items say of one document."""
    name = {"source": row["source"], "id": row["id"]}
    won = {"winner_source": row["source"], "winner_id": row["id"]}
    return {
        "stood_for": [r for r in rows_at(clusters, positions(clusters, won)) if not _self(r)],
        "same_as": [r for r in rows_at(clusters, positions(clusters, name)) if not _self(r)],
        "contamination": list(rows_at(contamination, positions(contamination, name))),
    }


def _self(row: Mapping[str, Any]) -> bool:
    return (row["source"], row["id"]) == (row["winner_source"], row["winner_id"])
