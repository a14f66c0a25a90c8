"""Which documents of a corpus a probe looks at, and how often a text stands in all of them."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from yoriai import Artifact, NotFound, ProbeInputs

TABLES = ("documents", "heldout")


@dataclass(frozen=True, slots=True, order=True)
class CorpusText:
    """A document, where it stands, and the number by which it was drawn."""

    drawn: str
    source: str
    id: str
    corpus: str
    text: str
    licence: str = ""


def at_hand(given: ProbeInputs, count: int, written: Sequence[str] = ()) -> tuple[list[str], str]:
    """Texts to read a model with, and a note that says which they are.

    Those that are ``written``; else held-out documents of the corpora, or kept ones; else the
    samples of the tasks. None where there is none of them.
    """
    if written:
        return list(written)[:count], "the texts read are those that were written down"
    corpora = given.all_of("corpus")
    for table, words in (("heldout", "held-out documents"), ("documents", "training documents")):
        if drawn := draw(corpora, table, count, given.seed, shortest=2):
            return [document.text for document in drawn], f"the texts read are {words}"
    for task in given.tasks:
        samples = islice(task.samples(given.artifacts), count)
        if found := [sample.text for sample in samples if len(sample.text) > 1]:
            return found, f"the texts read are the questions of {task.entry}"
    return [], ""


def nothing_at_hand(given: ProbeInputs, written: Sequence[str]) -> str:
    """Why there is nothing to read a model with; empty where there may be something."""
    if written or given.all_of("corpus") or given.tasks:
        return ""
    return "there is no text to read: name a corpus under 'from', a task, or texts: [...]"


def has_table(corpus: Artifact, table: str) -> bool:
    return any(name.startswith(f"{table}/") for name in corpus.manifest["files"])


def draw(
    corpora: Sequence[Artifact], table: str, count: int, seed: int, *, shortest: int = 1
) -> list[CorpusText]:
    """``count`` documents of at least ``shortest`` characters, by a hash of their names and seed.

    The same for any order of files; all are gone through once, and only those kept are held.
    """
    return draw_fitting(corpora, table, count, seed, lambda text: len(text) >= shortest).texts


@dataclass(frozen=True, slots=True)
class Fitting:
    """Texts that fit; ``passed_over`` did not, of the ``tried`` ones that were drawn for them."""

    texts: list[CorpusText]
    passed_over: int
    tried: int


def draw_fitting(
    corpora: Sequence[Artifact],
    table: str,
    count: int,
    seed: int,
    fits: Callable[[str], bool],
    *,
    most: int = 0,
) -> Fitting:
    """The first ``count`` documents that fit, in the order of a hash of their names and ``seed``.

    With ``most``, no more than about that many, chosen by the same hash, may be tried (0: all).
    The same for any order of files; all are gone through once, and only those kept are held.
    """
    rows = count_rows(corpora, table)
    below = int(2**256 * most / rows) if most and rows > most else 2**256
    kept: list[tuple[int, CorpusText]] = []
    others: list[str] = []
    for found in all_texts(corpora, table, seed):
        number = int(found.drawn, 16)
        if number >= below or (len(kept) == count and number > -kept[0][0]):
            continue  # it could not be among them
        if not fits(found.text):
            others.append(found.drawn)
        elif len(kept) < count:
            heapq.heappush(kept, (-number, found))
        else:
            heapq.heappushpop(kept, (-number, found))
    documents = sorted(found for _, found in kept)
    # Where enough were found, the rest was not needed.
    last = documents[-1].drawn if len(documents) == count else "g"
    passed_over = sum(drawn < last for drawn in others)
    return Fitting(documents, passed_over, len(documents) + passed_over)


def count_rows(corpora: Sequence[Artifact], table: str) -> int:
    """Documents of a table, by the files' own count."""
    import pyarrow.parquet as pq

    return sum(
        pq.read_metadata(path).num_rows
        for corpus in corpora
        if has_table(corpus, table)
        for path in corpus.files_under(table)
    )


def all_texts(corpora: Sequence[Artifact], table: str, seed: int = 0) -> Iterator[CorpusText]:
    """Every document of a table, a row group in memory at a time."""
    import pyarrow.parquet as pq

    for corpus in corpora:
        if not has_table(corpus, table):
            continue
        for path in corpus.files_under(table):
            with pq.ParquetFile(path) as file:
                known = set(file.schema_arrow.names)
                names = [n for n in ("source", "id", "text", "licence") if n in known]
                for group in range(file.num_row_groups):
                    for row in file.read_row_group(group, columns=names).to_pylist():
                        name = f"{row['source']}/{row['id']}"
                        drawn = hashlib.sha256(f"{seed}\n{name}".encode()).hexdigest()
                        yield CorpusText(
                            drawn, row["source"] or "", row["id"] or "", corpus.name,
                            row["text"] or "", row.get("licence") or "",
                        )  # fmt: skip


def count_copies(corpora: Sequence[Artifact], texts: Sequence[str]) -> list[int]:
    """How often each text stands in the documents, overlapping ones counted once each place."""
    counts = dict.fromkeys(texts, 0)
    for document in all_texts(corpora, "documents"):
        for text in counts:
            counts[text] += occurrences(document.text, text)
    return [counts[text] for text in texts]


def occurrences(text: str, piece: str) -> int:
    """Places of a piece in a text, overlapping ones included; 0 for an empty piece."""
    count, at = 0, text.find(piece) if piece else -1
    while at >= 0:
        count += 1
        at = text.find(piece, at + 1)
    return count


def context_of(folder: Path) -> int:
    """Positions of a model by its ``config.json``; 0 where that does not say."""
    try:
        body = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise NotFound(f"{folder.name} has no config.json that can be read") from error
    inner = body.get("text_config") if isinstance(body, dict) else None
    for told in (t for t in (body, inner) if isinstance(t, dict)):
        for key in ("max_position_embeddings", "n_positions"):
            if isinstance(told.get(key), int):
                return int(told[key])
    return 0


def weights_bytes(folder: Path) -> int:
    """Size of a folder's weights on the disk."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))
