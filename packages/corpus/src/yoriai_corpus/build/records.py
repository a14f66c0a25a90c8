"""One digest over all records of a corpus, and what it proves of a single one.

``records.sha256`` holds the digest of each kept document (``record_sha256``, 32 bytes each) in
the order of the table. The root of the Merkle tree over them (:mod:`yoriai.merkle`) stands in the
manifest, so that a signature of the artifact is one of every record, a document is proved to be
in a corpus without the corpus, and of an altered file the altered record is named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from yoriai import Altered, Artifact, NotFound, UsageError, merkle
from yoriai_corpus import tables
from yoriai_corpus.build.part_writer import record_digest

NAME = "records.sha256"
MOST_NAMED = 20  # altered records of one file
MOST_PROOF_BYTES = 2**20


def write(out: Path) -> dict[str, Any]:
    """Write the digests of the table in ``out``; returns their number and the root."""
    digests = bytearray()
    for path in sorted((out / "documents").glob("*.parquet")):
        for row in tables.read_rows(path, ("record_sha256",)):
            digests += bytes.fromhex(row["record_sha256"])
    (out / NAME).write_bytes(digests)
    items = _items(bytes(digests))
    return {"count": len(items), "root": merkle.root_of(items).hex()}


def _items(data: bytes) -> list[bytes]:
    size = merkle.HASH_BYTES
    if len(data) % size:
        raise Altered(f"{NAME} ends within a digest")
    return [data[place : place + size] for place in range(0, len(data), size)]


def _sealed(corpus: Artifact) -> list[bytes]:
    if "records" not in corpus.facts:
        raise NotFound(
            f"{corpus.name} has no digests of its records", hint="it was made by an older version"
        )
    return _items(corpus.file(NAME).read_bytes())


def altered(corpus: Artifact, name: str) -> Iterator[str]:
    """Which records of an altered file of documents are not those that were sealed."""
    if not name.startswith("documents/") or "records" not in corpus.facts:
        return
    items = _sealed(corpus)
    before = sorted(n for n in corpus.manifest["files"] if n.startswith("documents/") and n < name)
    try:
        place = 0
        for other in before:
            place += pq.read_metadata(corpus.path / other).num_rows
        told = 0
        rows = tables.read_rows(corpus.path / name, ("source", "id", "text"))
        for count, row in enumerate(rows):
            digest = record_digest(row["source"], row["id"], row["text"])
            sealed = items[place + count].hex() if place + count < len(items) else ""
            if digest != sealed:
                yield f"record {count} of {name}, {row['source']}/{row['id']}, was altered"
                told += 1
            if told == MOST_NAMED:
                yield "and perhaps others"
                return
    except (OSError, pa.ArrowInvalid, KeyError, UnicodeError) as error:
        yield f"the records of {name} cannot be read: {str(error).splitlines()[0][:200]}"


def prove(corpus: Artifact, name: str) -> dict[str, Any]:
    """A proof that the document called ``source/id`` is in a corpus.

    Raises :class:`NotFound` for one that was not kept.
    """
    items = _sealed(corpus)
    index = 0
    for path in corpus.files_under("documents"):
        for row in tables.read_rows(path, ("source", "id", "record_sha256")):
            if f"{row['source']}/{row['id']}" == name:
                return {
                    "schema": 1, "corpus": corpus.name, "digest": corpus.digest,
                    "root": corpus.facts["records"]["root"], "count": len(items), "index": index,
                    "source": row["source"], "id": row["id"],
                    "record_sha256": row["record_sha256"],
                    "path": [digest.hex() for digest in merkle.inclusion_proof(items, index)],
                }  # fmt: skip
            index += 1
    raise NotFound(f"{corpus.name} kept no document {name!r}", hint="yoriai corpus why CORPUS NAME")


def read_proof(path: Path) -> dict[str, Any]:
    """Raises :class:`NotFound`, or :class:`UsageError` for what is no proof."""
    try:
        with path.open("rb") as stream:
            value = json.loads(stream.read(MOST_PROOF_BYTES))
        texts = ("corpus", "root", "source", "id", "record_sha256")
        sound = (
            all(isinstance(value[key], str) for key in texts)
            and all(type(value[key]) is int for key in ("count", "index"))
            and all(isinstance(digest, str) for digest in value["path"])
        )
    except OSError as error:
        raise NotFound(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError):
        sound, value = False, {}
    if not sound:
        raise UsageError(
            f"{path} is no proof", hint="yoriai corpus prove CORPUS SOURCE/ID --out FILE"
        )
    return dict(value)


def check(proof: Mapping[str, Any], root: str, text: str | None = None) -> None:
    """Raises :class:`Altered` where a proof does not lead to the root, or is of another text."""
    try:
        item = bytes.fromhex(proof["record_sha256"])
        path = [bytes.fromhex(digest) for digest in proof["path"]]
    except ValueError as error:
        raise Altered("the proof holds a digest that is none") from error
    found = merkle.root_by_proof(item, proof["index"], proof["count"], path)
    if found is None or found.hex() != root.lower():
        raise Altered("the proof does not lead to this root: the record is not in this corpus")
    if text is None:
        return
    if record_digest(proof["source"], proof["id"], text) != proof["record_sha256"]:
        raise Altered("the record in the corpus has another text, or another name")
