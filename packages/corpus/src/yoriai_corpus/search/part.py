"""One part of a search index: some megabytes of documents, kept and not, and what is known of them.

A part is three files: ``NNNNN.text`` (the texts), ``NNNNN.names`` (name, address, rule and span
of each document, so that they are found too) and ``NNNNN.documents`` (Arrow: everything else).
Documents that agree in all of :data:`FILTERS` are a group; counts are kept by group.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from yoriai import YoriaiError
from yoriai_corpus import tables
from yoriai_corpus.search import array_file, fm_index, frequent, sortable
from yoriai_corpus.search.fm_index import FmIndex
from yoriai_corpus.search.frequent import FrequentCounts

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
State = Literal["kept", "held out", "dropped", "unreadable"]
TABLES: dict[str, State] = {
    "documents": "kept", "heldout": "held out", "dropped": "dropped", "unreadable": "unreadable"
}  # fmt: skip
_WORDS = pa.dictionary(pa.int32(), pa.string())
COLUMNS = pa.schema(
    [("source", _WORDS), ("id", pa.string()), ("language", _WORDS), ("state", _WORDS),
     ("rule", _WORDS), ("value", pa.float64()), ("threshold", pa.float64()),
     ("span", pa.string()), ("duplicate_of", pa.string()), ("licence", _WORDS),
     ("url", pa.string()), ("date", _WORDS), ("corpus", _WORDS)]
)  # fmt: skip
FILTERS = ("source", "language", "state", "rule", "licence", "corpus")
GONE = "removed"  # what stands for the name of a document that was removed
NAME_FIELDS = 4  # name, address, rule, span
SUFFIXES = (".text", ".names", ".documents")


@dataclass(frozen=True, slots=True)
class TableStretch:
    """Row groups ``first`` to ``last`` (not included) of one file of a corpus's table."""

    corpus: str
    state: State
    path: Path
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class FormerPart:
    """A part of another index, whose documents are indexed again together with others'.

    Those in ``without`` (numbers of documents of the part) are left out, those in ``kept`` are
    kept from now on, those in ``orphaned`` are duplicates of a document that is gone.
    """

    stem: Path
    without: frozenset[int] = frozenset()
    kept: frozenset[int] = frozenset()
    orphaned: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class IndexTask:
    number: int
    pieces: tuple[TableStretch | FormerPart, ...]
    folder: Path

    @property
    def stem(self) -> Path:
        return self.folder / f"{self.number:05d}"

    def __str__(self) -> str:
        return f"part {self.number} of the index"


def cut(
    corpora: Sequence[tuple[str, State, Sequence[Path]]], most_bytes: int
) -> list[list[TableStretch]]:
    """Row groups, in order, in parts of about so many bytes of text each."""
    import pyarrow.parquet as pq

    parts: list[list[TableStretch]] = [[]]
    size = 0
    for corpus, state, paths in corpora:
        for path in paths:
            with pq.ParquetFile(path) as file:
                sizes = tables.group_bytes(file)
                first = 0
                for group, grown in enumerate(sizes):
                    if size and size + grown > most_bytes:
                        if group > first:
                            parts[-1].append(TableStretch(corpus, state, path, first, group))
                        parts.append([])
                        first, size = group, 0
                    size += grown
                parts[-1].append(TableStretch(corpus, state, path, first, len(sizes)))
    return [pieces for pieces in parts if pieces]


def make(task: IndexTask) -> dict[str, Any]:
    """Write the files of a part, the last of them when the others are there; say what it holds."""
    if not task.stem.with_suffix(".documents").is_file():
        _write(task)
    return {"number": task.number, **describe(task.stem)}


def describe(stem: Path) -> dict[str, Any]:
    """How many documents of each state a part holds, and how many bytes of text."""
    states = _table(stem.with_suffix(".documents"))["state"].to_pylist()
    texts = IndexedTexts.open(stem.with_suffix(".text"))
    points = texts.index.alphabet.astype(np.int64)
    width = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
    width[-1] = 0  # the mark of a document's end
    return {
        "states": {state: states.count(state) for state in dict.fromkeys(states)},
        "text_bytes": int(width @ np.diff(texts.index.first)[1:]),
    }


def _write(task: IndexTask) -> None:
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS.names}
    texts, names = bytearray(), bytearray()
    text_lengths: list[int] = []
    name_lengths: list[int] = []
    for row in _rows(task.pieces):
        for name, column in columns.items():
            column.append(row[name])
        _append(texts, text_lengths, row["text"])
        for value in (f"{row['source']}/{row['id']}", row["url"], row["rule"], row["span"]):
            _append(names, name_lengths, value or "")
    if not text_lengths:
        _append(texts, text_lengths, "")
        _append(names, name_lengths, "")
    arrays = [pa.array(columns[field.name], type=field.type) for field in COLUMNS]
    table = pa.Table.from_arrays(arrays, schema=COLUMNS)
    groups = groups_of(table) if table.num_rows else np.zeros(1, dtype=np.uint32)
    _save(task.stem.with_suffix(".text"), texts, text_lengths, groups, 1)
    _save(task.stem.with_suffix(".names"), names, name_lengths, groups, NAME_FIELDS)
    path = task.stem.with_suffix(".documents")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            with pa.ipc.new_file(stream, COLUMNS) as writer:
                writer.write_table(table)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _rows(pieces: Sequence[TableStretch | FormerPart]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    empty = dict.fromkeys(COLUMNS.names, "") | {"value": None, "threshold": None, "text": ""}
    for piece in pieces:
        if isinstance(piece, FormerPart):
            former = IndexPart.open(piece.stem)
            for document in range(former.table.num_rows):
                if document in piece.without:
                    continue
                row = {**former.row(document), "text": former.text(document)}
                if document in piece.kept:
                    row |= {"state": "kept", **dict.fromkeys(("rule", "span", "duplicate_of"), "")}
                    row |= {"value": None, "threshold": None}
                elif document in piece.orphaned:
                    row["duplicate_of"] = GONE
                yield row
            continue
        with pq.ParquetFile(piece.path) as file:
            for group in range(piece.first, piece.last):
                for row in file.read_row_group(group).to_pylist():
                    reason = {"rule": row["reason"]} if "reason" in row else {}
                    yield {**empty, **row, **reason, "state": piece.state, "corpus": piece.corpus}


def _append(data: bytearray, lengths: list[int], text: str) -> None:
    data += text.encode()
    data.append(sortable.END_BYTE)
    lengths.append(len(text) + 1)


def groups_of(table: pa.Table) -> U32:
    """The group of each document: numbered as they come first."""
    codes = [table[name].combine_chunks().indices.to_numpy() for name in FILTERS]
    _, heads, inverse = np.unique(
        np.stack(codes, axis=1), axis=0, return_index=True, return_inverse=True
    )
    rank = np.empty(len(heads), dtype=np.uint32)
    rank[np.argsort(heads, kind="stable")] = np.arange(len(heads), dtype=np.uint32)
    found: U32 = rank[inverse.reshape(-1)]
    return found


def _save(path: Path, data: bytearray, lengths: Sequence[int], groups: U32, fields: int) -> None:
    starts = np.zeros(len(lengths) + 1, dtype=np.uint32)
    np.cumsum(lengths, out=starts[1:])
    index, places, before = fm_index.build(np.frombuffer(data, dtype=np.uint8))
    of_place = np.repeat(np.arange(len(lengths), dtype=np.uint32) // np.uint32(fields), lengths)
    places[0] = 0  # the end of all text, which no pattern begins
    documents = of_place[places]
    del places, of_place
    arrays = {**index.arrays(), "documents": starts, "groups": groups}
    for name, fold in COUNTS.items():
        counts = frequent.count(index, documents, before, groups, fold=fold)
        arrays |= {f"{name}.{key}": array for key, array in counts.arrays().items()}
    array_file.save(path, arrays)


COUNTS = {"exact": False, "folded": True}
_TYPES = {
    **fm_index.TYPES, "documents": np.uint32, "groups": np.uint32,
    **{f"{name}.{key}": kind for name in COUNTS for key, kind in frequent.TYPES.items()},
}  # fmt: skip


def _table(path: Path) -> pa.Table:
    try:
        with pa.memory_map(str(path)) as stream:
            table = pa.ipc.open_file(stream).read_all()
            table.validate(full=True)
    except (OSError, pa.ArrowException) as error:
        raise YoriaiError(f"{path.name} cannot be read: {error}", hint=array_file._HINT) from error
    if table.schema != COLUMNS:
        raise YoriaiError(f"{path.name} is no part of an index of this version")
    return table


@dataclass(frozen=True, slots=True)
class IndexedTexts:
    """The texts of a part, or the names: an index and where each document (or field) begins.

    ``groups``: the group of each document; ``heads``: the first document of each group.
    ``exact`` and ``folded``: counts of what is frequent.
    """

    index: FmIndex
    starts: U32
    groups: U32
    heads: I64
    exact: FrequentCounts
    folded: FrequentCounts

    @classmethod
    def open(cls, path: Path) -> IndexedTexts:
        """Raises :class:`YoriaiError` for a file that is missing, cut, foreign or damaged."""
        arrays = array_file.load(path, _TYPES)
        groups = arrays["groups"]
        try:
            index = FmIndex.of(arrays)
            known, heads = np.unique(groups, return_index=True)
            most = len(known)
            if not np.array_equal(known, np.arange(most)):
                raise ValueError("its groups do not fit together")
            exact, folded = (
                FrequentCounts.of({key: arrays[f"{name}.{key}"] for key in frequent.TYPES}, most)
                for name in COUNTS
            )
        except (ValueError, IndexError) as error:
            raise YoriaiError(f"{path.name} is damaged: {error}", hint=array_file._HINT) from error
        starts = arrays["documents"]
        if starts[0] or starts[-1] != index.length or np.any(starts[1:] <= starts[:-1]):
            raise YoriaiError(f"{path.name} is damaged: its documents", hint=array_file._HINT)
        return cls(index, starts, groups, heads.astype(np.int64), exact, folded)

    def documents(self, positions: I64) -> I64:
        """Which document (or field) each position lies in."""
        return np.searchsorted(self.starts, positions, side="right").astype(np.int64) - 1


def _as_arrow(numbers: I64) -> pa.Array:
    """Numbers as they lie.

    ``pa.array`` imports pandas, a third of a second, to ask whether they are a series of it
    (pyarrow 26, ``get_values`` in ``array.pxi``).
    """
    return pa.Array.from_buffers(pa.int64(), len(numbers), [None, pa.py_buffer(numbers)])


@dataclass(frozen=True, slots=True)
class IndexPart:
    """An opened part; ``groups``: what the documents of each group agree in."""

    texts: IndexedTexts
    names: IndexedTexts
    table: pa.Table
    groups: list[dict[str, str]]

    @classmethod
    def open(cls, stem: Path) -> IndexPart:
        texts, names = (IndexedTexts.open(stem.with_suffix(suffix)) for suffix in SUFFIXES[:2])
        table = _table(stem.with_suffix(".documents"))
        if table.num_rows and (
            len(texts.starts) - 1 != table.num_rows
            or len(names.starts) - 1 != NAME_FIELDS * table.num_rows
            or len(texts.groups) != table.num_rows
            or not np.array_equal(texts.groups, names.groups)
        ):
            raise YoriaiError(f"the files of part {stem.name} are of different parts")
        groups: list[dict[str, str]] = []
        if table.num_rows:
            groups = table.select(FILTERS).take(_as_arrow(texts.heads)).to_pylist()
        return cls(texts, names, table, groups)

    def characters(self, document: int) -> int:
        begin, end = self.texts.starts[document : document + 2].tolist()
        return int(end - begin - 1)

    def text(self, document: int, offset: int = 0, most: int | None = None) -> str:
        """A document's text, or at most so many characters of it from the ``offset`` on."""
        begin, end = self.texts.starts[document : document + 2].tolist()
        begin, end = min(begin + offset, end - 1), end - 1
        return self.texts.index.extract(begin, end if most is None else min(end, begin + most))

    def named(self, documents: I64) -> list[dict[str, str]]:
        """Names and addresses of documents, and what their groups agree in."""
        columns = self.table.select(("id", "url")).take(_as_arrow(documents))
        groups = self.texts.groups[documents].tolist()
        return [
            {**self.groups[group], "id": name or "", "url": url or ""}
            for group, name, url in zip(
                groups, columns["id"].to_pylist(), columns["url"].to_pylist(), strict=True
            )
        ]

    def called(self, name: str) -> list[int]:
        """The documents called ``source/id``, or just ``id``, or of an address; ascending."""
        if not self.table.num_rows:
            return []
        rows = np.arange(*self.names.index.range_of(name, ended=True), dtype=np.int64)
        places = self.names.index.locate(rows)
        fields = self.names.documents(places)
        documents, kinds = np.divmod(fields, NAME_FIELDS)
        whole = self.names.starts[fields] == places
        ends = documents[(kinds == 0) & ~whole]
        ids = self.table["id"].take(_as_arrow(ends)).to_pylist()
        found = set(documents[(kinds < 2) & whole].tolist())  # name or address
        found |= {n for n, id_ in zip(ends.tolist(), ids, strict=True) if id_ == name}
        return sorted(found)

    def row(self, document: int) -> dict[str, Any]:
        """All that is known of a document but its text."""
        row: dict[str, Any] = self.table.slice(document, 1).to_pylist()[0]
        return row
