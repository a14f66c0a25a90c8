"""The text that a tokenizer learns from: a sample of whole documents that can be named again.

Documents of each group (a language, or a source of a language) come in the order of a keyed hash
of their names, until the megabytes of the group are spent; the last one is cut at a line. They
are written in the order of the corpus. So the sample depends on the seed and on which
documents there are, not on files, workers or time, and a larger one holds the smaller one.
(LLM-jp published the numbers of the lines it had drawn, ``data/training/ids``; here rule,
seed and digest of the names say the same.)
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoriai import Artifact
from yoriai_corpus import tables

RULE = "documents by blake2b-64 of seed, source and id, up to the megabytes; the last cut at a line"
LINE_CHARACTERS = 1000  # SentencePiece skips lines of more than 4192 bytes
Group = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True, slots=True)
class TextSample:
    """Which documents were drawn: bytes taken of each, by ``(source, id)``."""

    seed: int
    taken: Mapping[tuple[str, str], int]
    groups: Mapping[str, Mapping[str, int]]  # documents and bytes of each group

    def facts(self) -> dict[str, Any]:
        """What the artifact stores: the rule and a digest of the names, in order."""
        names = hashlib.sha256()
        for source, name in self.taken:
            names.update(f"{source}\0{name}\n".encode())
        return {
            "rule": RULE,
            "seed": self.seed,
            "documents_sha256": names.hexdigest(),
            "groups": {name: dict(counts) for name, counts in self.groups.items()},
        }


def by_language(row: Mapping[str, Any]) -> str:
    return str(row["language"])


def by_source(row: Mapping[str, Any]) -> str:
    return f"{row['language']}/{row['source']}"


def draw(
    corpus: Artifact,
    megabytes: float,
    *,
    seed: int,
    group: Group = by_language,
    languages: Iterable[str] | None = None,
) -> TextSample:
    """Choose documents of a corpus, at most so many megabytes of text of each group."""
    wanted = None if languages is None else set(languages)
    budget = int(megabytes * 1e6)
    found: dict[str, list[tuple[bytes, int, str, str]]] = {}
    order: dict[tuple[str, str], int] = {}
    for row in _rows(corpus):
        if wanted is not None and row["language"] not in wanted:
            continue
        name = (row["source"], row["id"])
        order[name] = len(order)
        size = len(row["text"].encode())
        found.setdefault(group(row), []).append((_key(seed, *name), size, *name))
    taken: dict[tuple[str, str], int] = {}
    groups: dict[str, dict[str, int]] = {}
    for label in sorted(found):
        left, documents = budget, 0
        for _, size, source, identity in sorted(found[label]):
            if left <= 0:
                break
            taken[source, identity] = min(size, left)
            left -= size
            documents += 1
        groups[label] = {"documents": documents, "bytes": budget - max(0, left)}
    return TextSample(seed, dict(sorted(taken.items(), key=lambda item: order[item[0]])), groups)


def read(corpus: Artifact, sample: TextSample) -> Iterator[tuple[str, Iterator[str]]]:
    """The language and the lines of each drawn document; blank lines are left out.

    NUL is taken out, which SentencePiece takes for the end of a line, and lines are cut after
    :data:`LINE_CHARACTERS` characters.
    """
    for row in _rows(corpus):
        budget = sample.taken.get((row["source"], row["id"]), 0)
        if budget:
            yield row["language"], _lines(row["text"], budget)


def _rows(corpus: Artifact) -> Iterator[dict[str, Any]]:
    columns = ["source", "id", "text", "language"]
    return tables.read_rows(corpus.files_under("documents"), columns)


def _key(seed: int, source: str, name: str) -> bytes:
    value = f"{seed}\0{source}\0{name}".encode()
    return hashlib.blake2b(value, digest_size=8).digest()


def _lines(text: str, budget: int, width: int = LINE_CHARACTERS) -> Iterator[str]:
    used = 0
    for line in text.split("\n"):
        line = line.replace("\0", "")
        for start in range(0, len(line), width):
            piece = line[start : start + width]
            if piece.strip():
                if used >= budget:
                    return
                used += len(piece.encode())
                yield piece


def write(lines: Iterable[str], path: Path) -> tuple[int, int]:
    """Write lines to a file; gives their number and bytes, newlines left out."""
    count = size = 0
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        for line in lines:
            stream.write(line + "\n")
            count += 1
            size += len(line.encode())
    return count, size
