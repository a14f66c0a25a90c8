"""Pairs of ``.bin/.idx`` that another program wrote, in all that Megatron's format allows.

The layout is that of :mod:`yoriai.shards`. Ours has one sequence a document and two types of
token; ``megatron/core/datasets/indexed_dataset.py`` of Megatron-LM also writes documents of
several sequences (``preprocess_data.py --split-sentences``) or of none, every integer type of
``DType``, and, for multimodal data, a mode of each sequence after the index. What is read here
becomes the former; floats and modes are refused by name.
"""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from yoriai import Altered, NotFound
from yoriai.shards import MAGIC
from yoriai_corpus.engines.receipts import done
from yoriai_corpus.shards.encoding import DTYPES, PIECE_DOCUMENTS, whole_file

# megatron/core/datasets/indexed_dataset.py, class DType.
TYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 8: "uint16"}
FLOATS = {6: "float64", 7: "float32"}
_HEAD = struct.Struct("<9sQBQQ")
_BLOCK = 2**20  # entries of an index, and tokens, that are looked at together
_LONGEST = 2**31 - 1  # tokens of a sequence: its length is an i32
_COPY = "the file was cut or belongs to another index; copy both again"


@dataclass(frozen=True, slots=True)
class ForeignPair:
    """A pair whose header and sizes agree. ``documents`` may have any number of ``sequences``."""

    stem: Path
    dtype: str
    sequences: int
    documents: int
    tokens: int

    @property
    def index(self) -> Path:
        return beside(self.stem, ".idx")

    @property
    def body(self) -> Path:
        return beside(self.stem, ".bin")

    def _part(self, first: int, kind: str, count: int) -> npt.NDArray[Any]:
        if not count:
            return np.zeros(0, kind)
        return np.memmap(self.index, kind, "r", offset=first, shape=(count,))

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Tokens of each sequence, mapped."""
        return self._part(_HEAD.size, "<i4", self.sequences)

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """First byte of each sequence, mapped."""
        return self._part(_HEAD.size + 4 * self.sequences, "<i8", self.sequences)

    @property
    def bounds(self) -> npt.NDArray[np.int64]:
        """First sequence of each document, and the end, mapped."""
        return self._part(_HEAD.size + 12 * self.sequences, "<i8", self.documents + 1)

    @property
    def ids(self) -> npt.NDArray[Any]:
        """All tokens, mapped."""
        if not self.tokens:
            return np.zeros(0, self.dtype)
        return np.memmap(self.body, np.dtype(self.dtype).newbyteorder("<"), "r")


def open_pair(stem: Path) -> ForeignPair:
    """Read a header and compare the sizes of both files with it.

    Raises :class:`NotFound`, and :class:`Altered` for what is no such pair, with the reason.
    """
    index, body = beside(stem, ".idx"), beside(stem, ".bin")
    try:
        with index.open("rb") as stream:
            head = stream.read(_HEAD.size)
        index_size, body_size = index.stat().st_size, body.stat().st_size
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFound(f"{error.filename} is missing", hint=_COPY) from error
    if head[:8] == b"TNTIDX\0\0":
        raise Altered(
            f"{index} is of Megatron's older format (cached, lazy)",
            hint="write it again with preprocess_data.py --dataset-impl mmap",
        )
    if len(head) < _HEAD.size or head[:9] != MAGIC:
        raise Altered(f"{index} is no Megatron index: it begins with {head[:9]!r}")
    _, version, code, sequences, bounds = _HEAD.unpack(head)
    if version != 1:
        raise Altered(f"{index} has version {version}; only 1 is known")
    if code in FLOATS:
        raise Altered(f"{index} says that its tokens are {FLOATS[code]}: these are no token ids")
    if code not in TYPES:
        raise Altered(f"{index} gives its tokens type {code}, which Megatron does not have")
    expected = _HEAD.size + sequences * 12 + bounds * 8
    if index_size == expected + sequences and sequences:
        raise Altered(
            f"{index} has a mode for each sequence (multimodal data): only text is adopted"
        )
    if not bounds or index_size != expected:
        raise Altered(
            f"{index} has {index_size:,} bytes, its header asks for {expected:,}", hint=_COPY
        )
    width = np.dtype(TYPES[code]).itemsize
    if body_size % width:
        raise Altered(f"{body} has {body_size:,} bytes, no whole number of {TYPES[code]}")
    return ForeignPair(stem, TYPES[code], sequences, bounds - 1, body_size // width)


def check_index(pair: ForeignPair) -> None:
    """Each sequence begins where the one before it ends, and the documents hold all of them.

    Raises :class:`Altered` with the number of the first sequence or document that does not.
    """
    width, place = np.dtype(pair.dtype).itemsize, 0
    for start in range(0, pair.sequences, _BLOCK):
        stop = min(start + _BLOCK, pair.sequences)
        lengths = pair.lengths[start:stop].astype(np.int64)
        offsets = np.asarray(pair.offsets[start:stop])
        ends = place + np.cumsum(lengths) * width
        wanted = ends - lengths * width
        wrong = np.flatnonzero((lengths < 0) | (offsets != wanted))
        if len(wrong):
            row = int(wrong[0])
            raise Altered(
                f"{pair.index}: sequence {start + row:,} has {lengths[row]:,} tokens from byte"
                f" {offsets[row]:,} on; the one before it ends at byte {wanted[row]:,}",
                hint=_COPY,
            )
        place = int(ends[-1])
    if place != pair.tokens * width:
        raise Altered(
            f"{pair.body} has {pair.tokens * width:,} bytes, its index asks for {place:,}",
            hint=_COPY,
        )
    before = 0
    for start in range(0, pair.documents + 1, _BLOCK):
        bounds = np.asarray(pair.bounds[start : start + _BLOCK])
        steps = np.diff(bounds, prepend=before)
        wrong = np.flatnonzero((steps < 0) | (bounds > pair.sequences))
        if start == 0 and bounds[0] != 0:
            wrong = np.zeros(1, np.int64)
        if len(wrong):
            row = int(wrong[0])
            raise Altered(
                f"{pair.index}: document {start + row:,} begins at sequence {bounds[row]:,}; there"
                f" are {pair.sequences:,}, and the one before begins at"
                f" {bounds[row] - steps[row]:,}",
                hint=_COPY,
            )
        before = int(bounds[-1])
    if before != pair.sequences:
        raise Altered(
            f"{pair.index}: its documents end at sequence {before:,} of {pair.sequences:,}: the"
            " others are of no document",
            hint="the program that wrote it did not end its last documents",
        )


# --- one file -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AdoptTask:
    """A foreign pair, and the stem of the piece it becomes (:mod:`.joining` reads that)."""

    source: Path
    name: str  # what its documents name as their source
    vocabulary_size: int
    code: int
    end: int
    piece: Path

    @property
    def receipt(self) -> Path:
        return beside(self.piece, ".json")

    def __str__(self) -> str:
        return f"shard file {self.name}"


def adopt(task: AdoptTask) -> dict[str, Any]:
    """Check a pair to the last token and write it in our form, unless the receipt is there.

    The receipt has the digests of both files as they were read, and what was counted. Raises
    :class:`Altered` with file and place of a token that no piece has.
    """
    return done(task.receipt, partial(_adopt, task))


def _adopt(task: AdoptTask) -> dict[str, Any]:
    pair = open_pair(task.source)
    check_index(pair)
    task.piece.parent.mkdir(parents=True, exist_ok=True)
    counts = dict.fromkeys(("documents", "tokens", "longest", "empty", "joined", "ended"), 0)
    lasts: Counter[int] = Counter()
    digest = hashlib.sha256()
    with (
        whole_file(beside(task.piece, ".bin")) as ids,
        whole_file(beside(task.piece, ".lengths")) as lengths,
        whole_file(beside(task.piece, ".arrow")) as rows,
        pa.ipc.new_stream(rows, PIECE_DOCUMENTS) as table,
    ):
        for numbers, starts, ends, joined in _documents(pair):
            first = int(starts[0])
            raw = pair.ids[first : int(ends[-1])]
            digest.update(raw.data)
            values = _checked(pair, raw, first, task.vocabulary_size)
            ids.write(values.astype(DTYPES[task.code]).data)
            full = ends > starts
            numbers, starts, ends = numbers[full], starts[full] - first, ends[full] - first
            sizes = (ends - starts).astype("<i4")
            lengths.write(sizes.data)
            names = [str(number) for number in numbers]
            told = [
                hashlib.sha256(values[a:b].data).hexdigest()
                for a, b in zip(starts, ends, strict=True)
            ]
            columns = [
                pa.array([task.name] * len(names), pa.string()),
                pa.array(names, pa.string()),
            ]
            columns += [pa.array(told, pa.string()), pa.array(sizes)]
            table.write_batch(pa.RecordBatch.from_arrays(columns, schema=PIECE_DOCUMENTS))
            last = values[ends - 1] if len(ends) else values[:0]
            for value, times in zip(*np.unique(last, return_counts=True), strict=True):
                lasts[int(value)] += int(times)
            counts["documents"] += len(names)
            counts["tokens"] += int(sizes.sum())
            counts["longest"] = max(counts["longest"], int(sizes.max(initial=0)))
            counts["empty"] += int(np.count_nonzero(~full))
            counts["joined"] += joined
    counts["ended"] = lasts[task.end]
    with pair.index.open("rb") as stream:
        index = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "name": task.name,
        "stem": task.piece.name,
        "dtype": pair.dtype,
        "sequences": pair.sequences,
        **counts,
        "sha256": {"bin": digest.hexdigest(), "idx": index},
        "lasts": sorted(lasts.items(), key=lambda row: (-row[1], row[0]))[:3],
    }


def _documents(
    pair: ForeignPair,
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64], int]]:
    """Runs of documents of about a million tokens: numbers, first tokens, ends, and how many have
    several sequences. The longest document is the least that is held."""
    place = 0
    for start in range(0, pair.documents, _BLOCK):
        bounds = np.asarray(pair.bounds[start : start + _BLOCK + 1])
        inside = pair.lengths[int(bounds[0]) : int(bounds[-1])].astype(np.int64)
        edges = place + np.concatenate([[0], np.cumsum(inside)])[bounds - bounds[0]]
        place = int(edges[-1])
        long = np.flatnonzero(np.diff(edges) > _LONGEST)
        if len(long):
            raise Altered(
                f"{pair.index}: document {start + int(long[0]):,} has more than {_LONGEST:,} tokens"
            )
        first = 0
        while first < len(edges) - 1:
            stop = int(np.searchsorted(edges, edges[first] + _BLOCK, side="right"))
            stop = min(max(first + 1, stop - 1), len(edges) - 1)
            several = int(np.count_nonzero(np.diff(bounds[first : stop + 1]) > 1))
            numbers = np.arange(start + first, start + stop)
            yield numbers, edges[first:stop], edges[first + 1 : stop + 1], several
            first = stop


def _checked(
    pair: ForeignPair, raw: npt.NDArray[Any], first: int, size: int
) -> npt.NDArray[np.int32]:
    """Token ids of which each has a piece, as i32."""
    if len(raw) and (int(raw.max()) >= size or int(raw.min()) < 0):
        wrong = int(np.flatnonzero((raw.astype(np.int64) >= size) | (raw.astype(np.int64) < 0))[0])
        place = first + wrong
        sequence = int(np.searchsorted(pair.offsets, place * raw.itemsize, side="right")) - 1
        document = int(np.searchsorted(pair.bounds, sequence, side="right")) - 1
        raise Altered(
            f"{pair.body}: token {place:,} (in document {document:,}) is {int(raw[wrong])}, the"
            f" vocabulary has {size:,} pieces (from 0)",
            hint="give the tokenizer that the shards were written with",
        )
    return raw.astype("<i4")


def beside(stem: Path, suffix: str) -> Path:
    # Not with_suffix, which would take the ".0" of "v1.0" for a suffix.
    return stem.with_name(stem.name + suffix)
