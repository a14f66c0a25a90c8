"""The tables and sorted keys of one part of a corpus, while they are written."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from yoriai import Document, Verdict, files
from yoriai_corpus import tables
from yoriai_corpus.build import contamination, sorted_keys
from yoriai_corpus.engines.receipts import done
from yoriai_corpus.tables import COLUMNS, TableWriter
from yoriai_corpus.text import lines, minhash
from yoriai_corpus.text.batch import Batch

BATCH = 256
_PLACE = [("place", pa.uint32())]
PART_SCHEMAS = {
    "kept": pa.schema([*tables.DOCUMENTS, *_PLACE]),
    "dropped": pa.schema([*tables.DROPPED, *_PLACE]),
    "unreadable": tables.UNREADABLE,
    "contamination": tables.CONTAMINATION,
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which keys later stages need. ``near`` is the threshold, None: no near duplicates."""

    exact: bool = True
    url: bool = False
    unit: lines.Unit | None = None
    near: float | None = None
    seed: int = 0

    def kinds(self) -> list[str]:
        found = {
            "name": True,
            "exact": self.exact,
            "url": self.url,
            "near": self.near is not None,
            "line": self.unit is not None,
        }
        return [kind for kind, wanted in found.items() if wanted]


class PartWriter:
    """The tables and keys of one part while it is written."""

    def __init__(self, folder: Path, stem: str, wanted: Wanted) -> None:
        self.stem = stem
        self.characters = 0
        self._folder = folder
        self._stack = ExitStack()
        self._tables: dict[str, TableWriter] = {}
        self._keys = KeyWriter(folder / stem, wanted)
        self._kept_places: list[int] = []

    def __enter__(self) -> PartWriter:
        for name, schema in PART_SCHEMAS.items():
            path = self._folder / f"{self.stem}.{name}.parquet"
            self._tables[name] = self._stack.enter_context(TableWriter(path, schema, level=1))
        return self

    def place(self, document: Document) -> int:
        """A place for a document, whatever becomes of it; its name is remembered there."""
        return self._keys.add_name(document)

    def unreadable(self, source: str, id_: str, reason: str) -> None:
        self._tables["unreadable"].add([_encodable(value) for value in (source, id_, reason)])

    def drop(
        self, document: Document, place: int, rule: str, version: str, verdict: Verdict
    ) -> None:
        facts = [rule, version, verdict.value, verdict.threshold, _encodable(verdict.span), ""]
        if verdict.text:
            document.text = verdict.text
        self._tables["dropped"].add([*row_of(document), *facts, place])
        self.characters += len(document.text)

    def note(self, document: Document, hit: contamination.ContaminationHit) -> None:
        row = [hit.task, hit.item, document.source, document.id, hit.kind, hit.share, hit.span]
        self._tables["contamination"].add(row)

    def keep(self, documents: Batch, places: Sequence[int]) -> None:
        for document, place in zip(documents, places, strict=True):
            self._tables["kept"].add([*row_of(document), place])
            self.characters += len(document.text)
        self._kept_places += places
        self._keys.add(documents, places)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._stack.__exit__(kind, error, trace)
        if kind is not None:
            return
        self._keys.close()
        places = np.array(self._kept_places, dtype=np.uint32)
        sorted_keys.save(self._folder / f"{self.stem}.places.npy", places)

    def facts(self) -> dict[str, Any]:
        return {
            "stem": self.stem,
            "characters": self.characters,
            **{name: table.rows for name, table in self._tables.items()},
            "keys": self._keys.counts(),
        }


class KeyWriter:
    """The keys of documents, by which the later stages find those that are the same."""

    def __init__(self, stem: Path, wanted: Wanted) -> None:
        self._stem, self._wanted = stem, wanted
        self._names: list[bytes] = []
        self._pieces: dict[str, list[np.ndarray[Any, Any]]] = {k: [] for k in wanted.kinds()}

    def add_name(self, document: Document) -> int:
        self._names.append(digest(f"{document.source}\0{document.id}".encode()))
        return len(self._names) - 1

    def add(self, documents: Batch, at: Sequence[int]) -> None:
        """The keys of a batch whose documents have these places in the part."""
        if not documents:
            return
        wanted, places = self._wanted, np.array(at, dtype=np.uint32)
        if wanted.exact or wanted.near is not None:
            folded = minhash.fold(documents.codes)
        if wanted.exact:
            data, starts = folded.points.tobytes(), (folded.starts * 4).tolist()
            marks = [digest(data[a:b]) for a, b in pairwise(starts)]
            self._pieces["exact"].append(_records("exact", marks, places))
        if wanted.url:
            with_url = [i for i, document in enumerate(documents) if document.url]
            marks = [digest(normal_url(documents[i].url).encode()) for i in with_url]
            self._pieces["url"].append(_records("url", marks, places[with_url]))
        if wanted.near is not None:
            size = minhash.rows_for(wanted.near)
            bands = minhash.band_keys(minhash.signatures(folded, wanted.seed), size)
            records = np.zeros(bands.size, dtype=sorted_keys.KINDS["near"])
            records["key"], records["place"] = bands.ravel(), np.repeat(places, bands.shape[1])
            self._pieces["near"].append(records)
        if wanted.unit is not None:
            hashes, owners, first_lines = lines.unit_hashes(documents.codes, wanted.unit)
            records = np.zeros(len(hashes), dtype=sorted_keys.KINDS["line"])
            records["key"], records["place"] = hashes, places[owners]
            records["line"] = first_lines
            self._pieces["line"].append(records)

    def close(self) -> None:
        """Write each kind sorted by key."""
        if self._names:
            everyone = np.arange(len(self._names), dtype=np.uint32)
            self._pieces["name"].append(_records("name", self._names, everyone))
        for kind, pieces in self._pieces.items():
            empty = np.zeros(0, dtype=sorted_keys.KINDS[kind])
            sorted_keys.save_sorted(key_file(self._stem, kind), np.concatenate([empty, *pieces]))

    def counts(self) -> dict[str, int]:
        return {kind: sum(map(len, pieces)) for kind, pieces in self._pieces.items()}


def key_file(stem: Path, kind: str) -> Path:
    return stem.with_name(f"{stem.name}.{kind}.npy")


@dataclass(frozen=True, slots=True)
class ReferenceTask:
    """A file of another corpus, whose documents win over ours and are not copied."""

    path: Path
    folder: Path
    stem: str
    wanted: Wanted


def index_reference(task: ReferenceTask) -> dict[str, Any]:
    """Write the keys of a table of documents; returns what a part's facts hold."""
    return done(task.folder / f"{task.stem}.json", partial(_index_reference, task))


def _index_reference(task: ReferenceTask) -> dict[str, Any]:
    writer = KeyWriter(task.folder / task.stem, task.wanted)
    place = 0
    batch = Batch()
    for row in tables.read_rows(task.path, COLUMNS):
        batch.append(Document(**row))
        if len(batch) == BATCH:
            writer.add(batch, range(place, place + len(batch)))
            place, batch = place + len(batch), Batch()
    writer.add(batch, range(place, place + len(batch)))
    writer.close()
    return {"stem": task.stem, "keys": writer.counts()}


def digest(data: bytes) -> bytes:
    """128 bits by which names and texts are told apart."""
    return hashlib.blake2b(data, digest_size=16).digest()


def _records(
    kind: str, marks: Sequence[bytes], places: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    records = np.zeros(len(marks), dtype=sorted_keys.KINDS[kind])
    halves = np.frombuffer(b"".join(marks), dtype="<u8").reshape(-1, 2)
    records["key"], records["check"], records["place"] = halves[:, 0], halves[:, 1], places
    return records


_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://(?:www\.)?", re.IGNORECASE)


def normal_url(url: str) -> str:
    """An address without scheme, www., fragment and closing slash; the host in lower case."""
    bare = _SCHEME.sub("", url.strip().partition("#")[0])
    host, slash, path = bare.partition("/")
    return f"{host.lower()}{slash}{path}".rstrip("/")


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def record_digest(source: str, id_: str, text: str) -> str:
    """What identifies a document's name and text (the column ``record_sha256``)."""
    return files.digest_bytes("\0".join((source, id_, text)).encode())


def row_of(document: Document) -> list[Any]:
    """The values of a document's row, in the order of :data:`tables.DOCUMENTS`."""
    mark = record_digest(document.source, document.id, document.text)
    return [
        document.source, document.id, document.text, document.language, document.url,
        document.licence, document.date, mark,
    ]  # fmt: skip
