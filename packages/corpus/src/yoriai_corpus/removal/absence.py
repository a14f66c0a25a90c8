"""Whether texts are anywhere below a folder: every file is looked into as what it is."""

from __future__ import annotations

import gzip
import html
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoriai import UsageError, YoriaiError
from yoriai.artifact import MANIFEST, open_artifact
from yoriai.shards import Shard
from yoriai_corpus.search import array_file
from yoriai_corpus.search.part import IndexedTexts

BLOCK_BYTES = 2**22
MOST_UNPACKED = 2**36
ARCHIVES = (".zip", ".tar", ".xz", ".bz2", ".7z", ".rar")


@dataclass(frozen=True, slots=True)
class TextPlace:
    """A file that holds a text, and in which form."""

    path: str
    form: str
    text: int  # which of the texts, from 0


@dataclass(frozen=True, slots=True)
class AbsenceReport:
    """Where texts were found, how many files were looked into, and which could not be."""

    found: Sequence[TextPlace]
    looked: int
    closed: Sequence[tuple[str, str]]  # path, why


def look(root: Path, texts: Sequence[str]) -> AbsenceReport:
    """Look for texts in all files below a folder, hidden ones too.

    Texts are looked for as UTF-8 and UTF-16, as JSON and as HTML write them; in parquet, packed
    files, index parts and token shards as they stand when read. Raises :class:`UsageError` for a
    text of less than 8 characters, which would be found by chance.
    """
    if not texts or any(len(text.strip()) < 8 for text in texts):
        raise UsageError("give texts of at least 8 characters")
    found: list[TextPlace] = []
    closed: list[tuple[str, str]] = []
    looked = 0
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        name = path.relative_to(root).as_posix()
        looked += 1
        if path.suffix in ARCHIVES:
            closed.append((name, "archives are not opened"))
        try:
            for form, number in _in_file(path, texts):
                found.append(TextPlace(name, form, number))
        except (OSError, ValueError, YoriaiError, EOFError) as error:
            closed.append((name, str(error).splitlines()[0][:200]))
    for path in sorted(root.rglob(MANIFEST)):
        for place in _in_tokens(root, path.parent, texts, closed):
            found.append(place)
    return AbsenceReport(list(dict.fromkeys(found)), looked, closed)


def _forms(text: str) -> list[tuple[str, bytes]]:
    forms = {
        "UTF-8": text.encode(),
        "UTF-16": text.encode("utf-16-le"),
        "UTF-16 (big-endian)": text.encode("utf-16-be"),
        "JSON": json.dumps(text)[1:-1].encode(),
        "JSON (UTF-8)": json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        "HTML": html.escape(text).encode(),
    }
    seen: dict[bytes, str] = {}
    for form, data in forms.items():
        seen.setdefault(data, form)
    return [(form, data) for data, form in seen.items()]


def _in_file(path: Path, texts: Sequence[str]) -> Iterator[tuple[str, int]]:
    if path.suffix == ".parquet":
        yield from _in_parquet(path, texts)
        return
    if path.suffix in (".text", ".names") and path.parent.name == "parts":
        opened = IndexedTexts.open(path)
        for number, text in enumerate(texts):
            if opened.index.count(text):
                yield "index", number
        return
    with path.open("rb") as stream:
        yield from _in_stream(stream, texts)
    if path.suffix == ".gz":
        with gzip.open(path) as packed:
            yield from _in_stream(packed, texts)
    elif path.suffix == ".zst":
        import zstandard

        with path.open("rb") as stream:
            reader = zstandard.ZstdDecompressor().stream_reader(stream, read_across_frames=True)
            yield from _in_stream(reader, texts)


def _in_stream(stream: Any, texts: Sequence[str]) -> Iterator[tuple[str, int]]:
    forms = [(number, *form) for number, text in enumerate(texts) for form in _forms(text)]
    longest = max(len(data) for _, _, data in forms)
    tail, total = b"", 0
    seen: set[tuple[str, int]] = set()
    while block := stream.read(BLOCK_BYTES):
        total += len(block)
        if total > MOST_UNPACKED:
            raise ValueError("unpacks to more than 64 GB")
        window = tail + block
        for number, form, data in forms:
            if (form, number) not in seen and data in window:
                seen.add((form, number))
                yield form, number
        tail = window[-longest:]


def _in_parquet(path: Path, texts: Sequence[str]) -> Iterator[tuple[str, int]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    seen: set[tuple[str, int]] = set()
    with pq.ParquetFile(path) as file:
        yield from _in_stream(io.BytesIO(str(file.metadata).encode()), texts)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            for column in table.column_names:
                kind = table.schema.field(column).type
                if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                    continue
                for value in table[column].to_pylist():
                    for number, text in enumerate(texts):
                        key = (f"column {column}", number)
                        if value and text in value and key not in seen:
                            seen.add(key)
                            yield key


def _in_tokens(
    root: Path, folder: Path, texts: Sequence[str], closed: list[tuple[str, str]]
) -> Iterator[TextPlace]:
    """Documents of token shards, decoded by the tokenizer below the same folder."""
    import numpy as np

    name = folder.relative_to(root).as_posix()
    try:
        artifact = open_artifact(folder)
        if artifact.kind not in ("tokens", "ngrams"):
            return
        model = _tokenizer(root, artifact.facts["tokenizer"])
        if model is None:
            closed.append((name, "its tokenizer is not here: its tokens cannot be read"))
            return
        for path in sorted(folder.glob("*.ngrams")):
            kinds = {row["file"]: row["type"] for row in artifact.facts["files"]}
            ids = array_file.load(path, {"ids": np.dtype(kinds[path.name]).type})["ids"]
            for piece in np.split(ids, np.flatnonzero(ids == artifact.facts["end_id"])):
                decoded = model.decode(piece.tolist())
                for number, text in enumerate(texts):
                    if text in decoded:
                        yield TextPlace(path.relative_to(root).as_posix(), "tokens", number)
        for path in sorted(folder.glob("*.bin")):
            shard = Shard(path.with_suffix(""))
            ids = np.fromfile(path, dtype=np.dtype(shard.dtype))
            place = 0
            for length in list(shard.lengths):
                decoded = model.decode(ids[place : place + length - 1].tolist())
                place += length
                for number, text in enumerate(texts):
                    if text in decoded:
                        yield TextPlace(path.relative_to(root).as_posix(), "tokens", number)
    except (OSError, KeyError, ValueError, YoriaiError) as error:
        closed.append((name, str(error).splitlines()[0][:200]))


def _tokenizer(root: Path, digest: str) -> Any:
    from yoriai_corpus.shards.encoding import open_pieces

    for path in sorted(root.rglob(MANIFEST)):
        artifact = open_artifact(path.parent)
        if artifact.digest == digest:
            return open_pieces(artifact)
    return None
