"""The documents behind tokens: their names from the sidecars, their text from the corpus."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from yoriai import Altered, Artifact, NotFound, YoriaiError
from yoriai.artifact import open_artifact
from yoriai_train.data.provenance import ancestors
from yoriai_train.data.windows import Piece, Samples, Text
from yoriai_train.settings.spec import Spec

NAMES = ("source", "id", "record_sha256", "start", "tokens")


@dataclass(frozen=True, slots=True)
class Name:
    """One row of a sidecar."""

    source: str
    id: str
    record_sha256: str
    start: int
    tokens: int


class Sidecars:
    """The names of the documents of a ``tokens`` artifact, read a row group at a time."""

    def __init__(self, tokens: Artifact) -> None:
        self.tokens = tokens
        self._open = lru_cache(maxsize=64)(self._open_file)

    def names_of(self, pieces: Iterable[Piece]) -> dict[tuple[str, int], Name]:
        """Whose tokens pieces are, by file and number of document.

        Each row group is read once, whatever the order of the pieces. Raises :class:`Altered` if
        a sidecar is of another shard.
        """
        wanted: dict[tuple[str, int], dict[int, int]] = {}
        for piece in pieces:
            ends = self._open(piece.file)[1]
            group = bisect_right(ends, piece.document)
            if group == len(ends):
                raise Altered(
                    f"{self._path(piece.file)} has no document {piece.document}", hint=self._hint
                )
            wanted.setdefault((piece.file, group), {})[piece.document] = piece.length
        found = {}
        for (stem, group), lengths in sorted(wanted.items()):
            first = self._open(stem)[1][group - 1] if group else 0
            numbers = sorted(lengths)
            rows = self._rows(stem, group, [number - first for number in numbers])
            for number, name in zip(numbers, rows, strict=True):
                if name.tokens != lengths[number]:
                    raise Altered(
                        f"{self._path(stem)}: document {number} has {name.tokens} tokens,"
                        f" {lengths[number]} by the index",
                        hint=self._hint,
                    )
                found[stem, number] = name
        return found

    def find(self, text: Text, wanted: Collection[str]) -> Iterator[tuple[str, int, Name]]:
        """File, number and row of each document called ``SOURCE/ID``, by going through the ids.

        10 million documents take 1.5 to 2 seconds on one core of a busy machine.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        # Sources and ids may hold slashes themselves.
        cut = {n[place + 1 :] for n in wanted for place, letter in enumerate(n) if letter == "/"}
        ids = pa.array(sorted(cut), pa.string())
        for stem in text.files:
            file, ends = self._open(stem)
            for group, first in enumerate([0, *ends[:-1]] if ends else []):
                column = self._read(file, stem, group, ["id"])["id"]
                mask = pc.equal(column, ids[0]) if len(ids) == 1 else pc.is_in(column, ids)
                places = pc.indices_nonzero(mask).to_pylist()
                for place, name in zip(places, self._rows(stem, group, places), strict=True):
                    if f"{name.source}/{name.id}" in wanted:
                        yield stem, first + place, name

    def _path(self, stem: str) -> Path:
        return self.tokens.file(f"{stem}.documents.parquet")

    def _open_file(self, stem: str) -> tuple[Any, list[int]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._path(stem)
        try:
            file = pq.ParquetFile(path)
            missing = [name for name in NAMES if name not in file.schema_arrow.names]
        except FileNotFoundError as error:
            raise NotFound(f"{path} is missing", hint=self._hint) from error
        except (OSError, pa.ArrowException) as error:
            raise self._altered(stem, error) from error
        if missing:
            raise Altered(f"{path} has no column {missing[0]!r}", hint=self._hint)
        rows = [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)]
        return file, list(accumulate(rows))

    def _rows(self, stem: str, group: int, places: Sequence[int]) -> list[Name]:
        if not places:
            return []
        table = self._read(self._open(stem)[0], stem, group, NAMES).take(list(places))
        return [Name(**row) for row in table.to_pylist()]

    def _read(self, file: Any, stem: str, group: int, columns: Sequence[str]) -> Any:
        import pyarrow as pa

        try:
            return file.read_row_group(group, columns=list(columns))
        except (OSError, pa.ArrowException) as error:
            raise self._altered(stem, error) from error

    def _altered(self, stem: str, error: Exception) -> Altered:
        return Altered(
            f"{self._path(stem)} cannot be read: {str(error).splitlines()[0]}", hint=self._hint
        )

    @property
    def _hint(self) -> str:
        return f"yoriai verify {self.tokens.path}"


class Library:
    """The corpora behind a ``tokens`` artifact, or one that is given instead; and a tokenizer.

    ``notes`` say what is gone. Texts are looked up by the hash of their record, so that one that
    was changed since is not mistaken for what the model saw.
    """

    def __init__(self, tokens: Artifact, corpora: Sequence[Artifact] | None = None) -> None:
        found, gone = ancestors(tokens, "corpus")
        self.corpora = list(corpora or found)
        self.notes = [] if corpora else [f"{i.name} is not here: {i.problem}" for i in gone]
        if not self.corpora:
            self.notes.append("no corpus is here: no text, url and licence; name one by --corpus")
        pieces, _ = ancestors(tokens, "tokenizer")
        self._decoder = _decoder(pieces)

    def rows(self, hashes: Iterable[str]) -> dict[str, Mapping[str, Any]]:
        """The corpus rows of records, by hash; those that are not there are left out."""
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        wanted = set(hashes)
        found: dict[str, Mapping[str, Any]] = {}
        for corpus in self.corpora:
            for path in corpus.files_under("documents"):
                if len(found) == len(wanted):
                    return found
                file = pq.ParquetFile(path)
                for group in range(file.num_row_groups):
                    column = file.read_row_group(group, columns=["record_sha256"])[0]
                    mask = pc.is_in(column, value_set=pa.array(sorted(wanted), pa.string()))
                    places = pc.indices_nonzero(mask)
                    if len(places):
                        columns = ["record_sha256", "text", "url", "licence", "language"]
                        rows = file.read_row_group(group, columns=columns).take(places)
                        found |= {row["record_sha256"]: row for row in rows.to_pylist()}
        return found

    def part(self, text: str | None, ids: Sequence[int], first: int, stop: int) -> tuple[str, str]:
        """The text of tokens ``first`` to ``stop`` of a document of ``ids``, and how it was found.

        ``corpus``: cut from the document itself; ``tokens``: decoded, because the corpus is gone
        or the tokenizer does not give it back letter by letter; ``about``: cut from the document
        in proportion, because the tokenizer is gone.
        """
        if text is not None and first == 0 and stop == len(ids):
            return text, "corpus"
        if self._decoder is not None:
            if text is None or self._decoder(ids) != text:
                return self._decoder(ids[first:stop]), "tokens"
            begin, end = (len(self._decoder(ids[:place])) for place in (first, stop))
            return text[begin:end], "corpus"
        if text is None:
            return "", ""
        begin, end = (round(place / len(ids) * len(text)) for place in (first, stop))
        return text[begin:end], "about"


def _decoder(tokenizers: Sequence[Artifact]) -> Any:
    for artifact in tokenizers:
        if "tokenizer.json" in artifact.manifest["files"]:
            from tokenizers import Tokenizer

            tokenizer = Tokenizer.from_file(str(artifact.file("tokenizer.json")))
            return lambda ids: tokenizer.decode(list(ids), skip_special_tokens=True)
    return None


def batch_documents(spec: Spec, data_step: int, most: int = 200) -> list[dict[str, Any]]:
    """The documents in the batch of a data step (from 1): by name, where the sidecars are whole."""
    folder = Path(spec.tokens)
    samples = Samples(folder, spec.context, spec.seed)
    per_step = spec.batch * spec.accumulate
    span = range((data_step - 1) * per_step, data_step * per_step)
    found = []
    for index, number, window in zip(span, *samples.order.draw(span), strict=True):
        text = samples.windows.texts[number]
        for piece in text.pieces(int(window) * spec.context, spec.context + 1):
            found.append((index, text.name, piece))
    found = found[:most]
    try:
        names = Sidecars(open_artifact(folder)).names_of(piece for *_, piece in found)
    except (YoriaiError, OSError):  # a missing name must not hide what it is evidence of
        names = {}
    rows = []
    for index, shard, piece in found:
        row = {"sample": index, "shard": shard, "file": piece.file, "document": piece.document}
        if name := names.get((piece.file, piece.document)):
            row |= {"source": name.source, "id": name.id}
        rows.append(row)
    return rows
