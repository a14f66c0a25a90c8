"""Whether texts are anywhere below a folder: every file is looked into as what it is."""

from __future__ import annotations

import html
import json
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoriai import UsageError, YoriaiError
from yoriai.artifact import MANIFEST, open_artifact
from yoriai.shards import Shard
from yoriai_corpus.removal import packed
from yoriai_corpus.search import array_file
from yoriai_corpus.search.part import IndexedTexts

BLOCK_BYTES = 2**22
MOST_UNPACKED = 2**36


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

    Texts are looked for in the encodings of :data:`ENCODINGS`, as JSON, HTML and addresses write
    them; in parquet, packed files, index parts and token shards as they stand when read. What a
    file is, its first bytes say, not its name. Raises :class:`UsageError` for a text of less than
    8 characters, which would be found by chance.
    """
    if not texts or any(len(text.strip()) < 8 for text in texts):
        raise UsageError("give texts of at least 8 characters")
    found: list[TextPlace] = []
    closed: list[tuple[str, str]] = []
    looked = 0
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            closed.append((name, "is a link; what it leads to is not looked into"))
            continue
        if not path.is_file():
            if not path.is_dir():
                closed.append((name, "is no file"))
            continue
        looked += 1
        try:
            for form, number in _in_file(path, texts):
                found.append(TextPlace(name, form, number))
        except packed.errors() as error:
            closed.append((name, (str(error) or type(error).__name__).splitlines()[0][:200]))
    for path in sorted(root.rglob(MANIFEST)):
        for place in _in_tokens(root, path.parent, texts, closed):
            found.append(place)
    return AbsenceReport(list(dict.fromkeys(found)), looked, closed)


ENCODINGS = {
    "UTF-8": "utf-8",
    "UTF-16": "utf-16-le",
    "UTF-16 (big-endian)": "utf-16-be",
    "UTF-32": "utf-32-le",
    "Shift JIS": "cp932",
    "EUC-JP": "euc_jp",
}


def _forms(text: str) -> list[tuple[str, bytes]]:
    """Bytes that a text can be written as, and what each form is called."""
    as_json = json.dumps(text)[1:-1]
    upper = re.sub(r"\\u[0-9a-f]{4}", lambda code: "\\u" + code[0][2:].upper(), as_json)
    forms = [
        ("JSON", as_json.encode()),
        ("JSON (capitals)", upper.encode()),
        ("JSON (UTF-8)", json.dumps(text, ensure_ascii=False)[1:-1].encode()),
        ("HTML", html.escape(text).encode()),
        ("address", urllib.parse.quote(text).encode()),
    ]
    for form, encoding in ENCODINGS.items():
        try:
            forms.insert(0, (form, text.encode(encoding)))
        except UnicodeEncodeError:
            continue  # it cannot stand in a file of this encoding
    return [(form, data) for data, form in {data: form for form, data in forms[::-1]}.items()]


def _in_file(path: Path, texts: Sequence[str]) -> Iterator[tuple[str, int]]:
    if path.suffix in (".text", ".names") and path.parent.name == "parts":
        opened = IndexedTexts.open(path)
        for number, text in enumerate(texts):
            if opened.index.count(text):
                yield "index", number
        return
    with path.open("rb") as stream:
        yield from _in_stream(stream, texts)
        stream.seek(0)
        kind = packed.kind_of(stream)
        if kind == "parquet":
            yield from _in_parquet(path, texts)
        elif not kind and path.suffix in packed.SUFFIXES:
            raise ValueError(f"is no {path.suffix} file")  # cut at its head: the rest is packed
        elif kind:
            for inner in packed.streams(stream, kind):
                yield from _in_stream(inner, texts)


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
    import pyarrow.parquet as pq

    forms = [(number, data) for number, text in enumerate(texts) for _, data in _forms(text)]
    seen: set[tuple[str, int]] = set()
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for column in file.schema_arrow.names:
                for values in packed.leaves(file.read_row_group(group, [column])[column]):
                    whole = packed.data_of(values)
                    for number, data in forms:
                        key = (f"column {column}", number)
                        # The bytes of all values stand in a row: one may end in the midst of it.
                        if key not in seen and data in whole and any(
                            value is not None and data in value for value in values.to_pylist()
                        ):  # fmt: skip
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
    except (OSError, KeyError, ValueError, IndexError, YoriaiError) as error:
        closed.append((name, str(error).splitlines()[0][:200]))


def _tokenizer(root: Path, digest: str) -> Any:
    from yoriai_corpus.shards.encoding import open_pieces

    for path in sorted(root.rglob(MANIFEST)):
        artifact = open_artifact(path.parent)
        if artifact.digest == digest:
            return open_pieces(artifact)
    return None
