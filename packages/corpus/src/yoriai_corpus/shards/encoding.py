"""Text to token ids: a stretch of a corpus at a time, in any process, in any order.

SentencePiece encodes, with one thread in each worker and straight into arrays. Its ids are those
of the exported Hugging Face tokenizer (``huggingface_tokenizer``), at more than five times its
speed (``nox -s bench -- encoding``). A tokenizer without a SentencePiece model (that of a model
from elsewhere, an extended BPE) is read by :mod:`fast_tokenizer`. SentencePiece's time is linear in
the length of a document (measured up to 5 million characters), so documents are never cut.

A :class:`EncodeTask` is a pure function over some row groups of a corpus. Its results lie in files
of their own until :mod:`yoriai_corpus.shards.joining` joins them, and a receipt says that they are
there; what has a receipt is never encoded again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from yoriai import Artifact, NotFound, Refused, UsageError, files
from yoriai.shards import token_code
from yoriai_corpus import tables
from yoriai_corpus.engines.receipts import done

SplitBy = Literal["language", "source"]
DTYPES: dict[int, str] = {8: "<u2", 4: "<i4"}  # by the code in a shard's index
# Of each document, beside its number of tokens and where they begin: the walk from a batch back.
NAMES = ("source", "id", "record_sha256")
PIECE_DOCUMENTS = pa.schema([*((name, pa.string()) for name in NAMES), ("tokens", pa.int32())])
UNNAMED = "unknown"  # the shard of documents that do not say their language
_COLUMNS = (*NAMES, "text", "language")


def pieces_file(tokenizer: Artifact) -> Path:
    """The file that encodes: ``tokenizer.model``, or else ``tokenizer.json``.

    Raises :class:`NotFound` if a tokenizer artifact has neither.
    """
    for name in ("tokenizer.model", "tokenizer.json"):
        if name in tokenizer.manifest["files"]:
            return tokenizer.file(name)
    raise NotFound(
        f"{tokenizer.name} has neither tokenizer.model nor tokenizer.json",
        hint=f"yoriai verify {tokenizer.path}",
    )


def open_pieces(tokenizer: Artifact) -> Any:
    """The pieces of a tokenizer artifact: a SentencePiece processor, or what answers as one.

    Raises :class:`NotFound` if it has none, and :class:`Refused` if it cannot be read.
    """
    return _processor(str(pieces_file(tokenizer)))


@lru_cache(maxsize=2)
def _processor(path: str) -> Any:
    if path.endswith(".json"):
        from yoriai_corpus.shards.fast_tokenizer import FastPieces

        return FastPieces(Path(path))
    import sentencepiece

    try:
        return sentencepiece.SentencePieceProcessor(model_file=path)
    except (OSError, RuntimeError) as error:
        raise Refused(
            f"{Path(path).name} is no SentencePiece model: {error}",
            hint=f"copy it again; of an artifact: yoriai verify {Path(path).parent}",
        ) from error


def find_end(pieces: Any, name: str) -> int:
    """The id that ends a document: the piece called ``name``, or "" for the model's own end mark.

    Raises :class:`UsageError`, with the marks there are, if there is no such piece.
    """
    marks = [pieces.id_to_piece(i) for i in range(len(pieces)) if pieces.is_control(i)]
    hint = f"--set STEP.end=PIECE; its marks are {', '.join(marks) or 'none'}"
    if not name:
        if pieces.eos_id() < 0:
            raise UsageError("the tokenizer has no end mark, and none is named", hint=hint)
        return int(pieces.eos_id())
    found = int(pieces.piece_to_id(name))
    if pieces.id_to_piece(found) != name:
        raise UsageError(f"the tokenizer has no piece {name!r} to end documents with", hint=hint)
    if not pieces.is_control(found):
        raise UsageError(f"{name!r} can stand in a text; it cannot end documents", hint=hint)
    return found


def end_of(tokenizer: Artifact, name: str) -> int:
    """:func:`find_end` for a tokenizer of any kind: a SentencePiece model, or tokenizer.json."""
    if "tokenizer.model" in tokenizer.manifest["files"]:
        return find_end(open_pieces(tokenizer), name)
    marks = tokenizer.facts["marks"]
    if not name and "eos" in marks:
        return int(marks["eos"])
    found = _fast(tokenizer).token_to_id(name) if name else None
    if found is None:
        told = f"no piece {name!r} to end documents with" if name else "no end mark"
        known = ", ".join(str(piece_of(tokenizer, i)) for i in marks.values()) or "none"
        raise UsageError(
            f"the tokenizer has {told}", hint=f"--set STEP.end=PIECE; its marks are {known}"
        )
    return int(found)


def piece_of(tokenizer: Artifact, token: int) -> str:
    """What a token id stands for, as the tokenizer writes it; "" if nothing."""
    if "tokenizer.model" in tokenizer.manifest["files"]:
        return str(open_pieces(tokenizer).id_to_piece(token))
    return str(_fast(tokenizer).id_to_token(token) or "")


def _fast(tokenizer: Artifact) -> Any:
    import tokenizers

    return tokenizers.Tokenizer.from_file(str(tokenizer.file("tokenizer.json")))


def check_width(vocabulary_size: int) -> int:
    """The code of the token type: 8 (uint16) where every id fits, else 4 (int32).

    Megatron's format has no uint32. Raises :class:`UsageError` above 2**31 pieces.
    """
    if vocabulary_size > 2**31:
        raise UsageError(
            f"a vocabulary of {vocabulary_size:,} does not fit the 32-bit integers of Megatron's"
            " format, which end at 2,147,483,647"
        )
    return token_code(vocabulary_size)


class EncodedTexts(NamedTuple):
    """Token ids of documents, one after the other, each with its end mark."""

    ids: npt.NDArray[Any]
    lengths: npt.NDArray[np.int32]
    unknown: int


def encode(pieces: Any, texts: Sequence[bytes], end: int, dtype: str) -> EncodedTexts:
    """Encode documents (UTF-8); ``lengths`` count the end mark."""
    found = pieces.encode(list(texts), num_threads=1, return_type="numpy")
    lengths = np.fromiter((len(ids) + 1 for ids in found), dtype=np.int32, count=len(found))
    mark = np.array([end], dtype=np.int32)
    flat = np.concatenate([part for ids in found for part in (ids, mark)] or [mark[:0]])
    unknown = int(np.count_nonzero(flat == pieces.unk_id())) if pieces.unk_id() != end else 0
    return EncodedTexts(flat.astype(dtype), lengths, unknown)


# --- which text ---------------------------------------------------------------------------


class Stretch(NamedTuple):
    """Row groups ``first`` to ``after`` (not included) of one file of documents."""

    path: Path
    first: int
    after: int


def cut(paths: Sequence[Path], most_bytes: int) -> list[Stretch]:
    """Stretches of about equal text, in order; a row group (some megabytes) is never cut."""
    stretches: list[Stretch] = []
    for path in paths:
        with pq.ParquetFile(path) as file:
            sizes = tables.group_bytes(file)
        first = size = 0
        for group, more in enumerate(sizes):
            if group > first and size + more > most_bytes:
                stretches.append(Stretch(path, first, group))
                first, size = group, 0
            size += more
        if len(sizes) > first:
            stretches.append(Stretch(path, first, len(sizes)))
    return stretches


def read(stretch: Stretch, split_by: SplitBy) -> Iterator[tuple[str, pa.Table]]:
    """(shard, documents) of a stretch, row group by row group, each in the corpus's order."""
    with pq.ParquetFile(stretch.path) as file:
        for group in range(stretch.first, stretch.after):
            table = file.read_row_group(group, columns=list(_COLUMNS))
            of = np.array([name or UNNAMED for name in table[split_by].to_pylist()], dtype=object)
            names = sorted(set(of))
            for name in names:
                yield name, table if len(names) == 1 else table.filter(pa.array(of == name))


def texts_of(table: pa.Table) -> list[bytes]:
    return table["text"].cast(pa.binary()).to_pylist()


# --- one task -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EncodeTask:
    """A stretch of a corpus to encode, and the folder for its pieces."""

    number: int
    stretch: Stretch
    split_by: SplitBy
    model: Path
    end: int
    code: int
    context: int  # documents of more tokens are counted
    folder: Path

    @property
    def receipt(self) -> Path:
        return self.folder / f"{self.number:06d}.json"

    def stem(self, index: int) -> Path:
        """The files of the ``index``-th shard that the stretch has documents of."""
        return self.folder / f"{self.number:06d}-{index:04d}"

    def __str__(self) -> str:
        path, first, after = self.stretch
        return f"row groups {first} to {after - 1} of {path.name}"


def encode_stretch(task: EncodeTask) -> dict[str, Any]:
    """Encode, unless the receipt is there; returns the receipt: what each shard has got."""
    return done(task.receipt, partial(_encode_stretch, task))


def _encode_stretch(task: EncodeTask) -> dict[str, Any]:
    task.folder.mkdir(parents=True, exist_ok=True)
    pieces = _processor(str(task.model))
    writers: dict[str, _PieceWriter] = {}
    with contextlib.ExitStack() as stack:
        for name, table in read(task.stretch, task.split_by):
            if name not in writers:
                writer = _PieceWriter(task.stem(len(writers)), task.context)
                writers[name] = stack.enter_context(writer)
            found = encode(pieces, texts := texts_of(table), task.end, DTYPES[task.code])
            writers[name].add(table, found, sum(map(len, texts)))
    return {
        "number": task.number,
        "shards": [{"name": name, **writer.facts()} for name, writer in writers.items()],
    }


class _PieceWriter:
    """``STEM.bin`` (ids), ``STEM.lengths`` (i32) and ``STEM.arrow`` (whose they are)."""

    def __init__(self, stem: Path, context: int) -> None:
        self._stem = stem
        self._context = context
        self._stack = contextlib.ExitStack()
        self._counts = dict.fromkeys(
            ("documents", "tokens", "bytes", "unknown", "longest", "over_context"), 0
        )

    def __enter__(self) -> _PieceWriter:
        with self._stack:  # what was opened is closed if opening the next one fails
            self._ids = self._open("bin")
            self._lengths = self._open("lengths")
            rows = self._open("arrow")
            self._rows = self._stack.enter_context(pa.ipc.new_stream(rows, PIECE_DOCUMENTS))
            self._stack = self._stack.pop_all()
        return self

    def _open(self, suffix: str) -> BinaryIO:
        path = self._stem.with_name(f"{self._stem.name}.{suffix}")
        return self._stack.enter_context(whole_file(path))

    def add(self, table: pa.Table, found: EncodedTexts, size: int) -> None:
        self._ids.write(found.ids.data)
        self._lengths.write(found.lengths.astype("<i4").data)
        columns = [table[name] for name in NAMES]
        lengths = pa.array(found.lengths)
        self._rows.write_table(pa.Table.from_arrays([*columns, lengths], schema=PIECE_DOCUMENTS))
        self._counts["documents"] += len(found.lengths)
        self._counts["tokens"] += len(found.ids)
        self._counts["bytes"] += size
        self._counts["unknown"] += found.unknown
        self._counts["longest"] = max(self._counts["longest"], int(found.lengths.max(initial=0)))
        self._counts["over_context"] += int(np.count_nonzero(found.lengths > self._context))

    def __exit__(self, *raised: Any) -> None:
        self._stack.__exit__(*raised)

    def facts(self) -> dict[str, int | str]:
        return {"stem": self._stem.name, **self._counts}


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that gets its name, on the disk, when all of it is there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        if files.is_disk_trouble(error):
            raise files.disk_error(path, error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


# --- a look beforehand --------------------------------------------------------------------

LOOK_PLACES = 64
LOOK_ROWS = 64  # documents of a place
LOOK_BYTES = 2**18  # text of a place; one document may be more
WHOLE_BYTES = 2**25  # a corpus of less is counted, not estimated: a few seconds


class LookedAt(NamedTuple):
    """What some documents of a shard came to; ``places`` has (bytes, tokens) of each place."""

    documents: int
    bytes: int
    tokens: int
    unknown: int
    places: tuple[tuple[int, int], ...]
    whole: bool  # these are all documents there are


def look(pieces: Any, paths: Sequence[Path], split_by: SplitBy, end: int) -> dict[str, LookedAt]:
    """By shard: documents from places all over the corpus, encoded; all of a small corpus."""
    groups = cut(paths, 0)
    size = sum(_text_bytes(path) for path in paths)
    whole = size <= WHOLE_BYTES
    step = 1 if whole else max(1, len(groups) / LOOK_PLACES)
    chosen = groups if whole else [groups[int(n * step)] for n in range(int(len(groups) / step))]
    found: dict[str, LookedAt] = {}
    for stretch in chosen:
        for name, table in read(stretch, split_by):
            texts = texts_of(table if whole else table.slice(0, LOOK_ROWS))
            if not whole:
                texts = list(_up_to(texts, LOOK_BYTES))
            answer = encode(pieces, texts, end, "<i4")
            read_bytes, tokens = sum(map(len, texts)), len(answer.ids)
            old = found.get(name, LookedAt(0, 0, 0, 0, (), whole))
            found[name] = LookedAt(
                old.documents + len(texts),
                old.bytes + read_bytes,
                old.tokens + tokens,
                old.unknown + answer.unknown,
                (*old.places, (read_bytes, tokens)),
                whole,
            )
    return found


def _text_bytes(path: Path) -> int:
    with pq.ParquetFile(path) as file:
        return sum(tables.group_bytes(file))


def _up_to(texts: Sequence[bytes], most: int) -> Iterator[bytes]:
    """Texts until they come to so many bytes, the last one whole."""
    size = 0
    for text in texts:
        yield text
        size += len(text)
        if size >= most:
            return
