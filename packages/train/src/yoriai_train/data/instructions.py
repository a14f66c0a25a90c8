"""Instruction data: one's own files, and data made from the corpus of the recipe."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Artifact, Example, Instructions, NotFound, UsageError, files
from yoriai_train.data.rows import read_row

NAMES = {"ja": "日本語", "en": "英語", "code": "コード"}
QUESTION = "次の文章は日本語、英語、コードのどれですか。"


class Jsonl(Instructions):
    """A file of conversations: JSON Lines, or one JSON list.

    Rows may be of several forms, which :mod:`yoriai_train.data.rows` tells apart by their keys:
    an instruction and its answer, ``messages``, ShareGPT's ``conversations``, the ``text`` of
    LLM-jp, and pairs of a chosen and a rejected answer.
    """

    version: ClassVar[str] = "3"
    path: str = Field(description="the file; $NAME is a variable of the environment")
    limit: int | None = Field(None, ge=1, description="the first so many rows; null: all")

    def fingerprint(self) -> str:
        return files.digest_file(self._file())

    def is_here(self) -> bool:
        return self._place().is_file()

    def examples(self, corpora: Sequence[Artifact], seed: int) -> Iterator[Example]:  # noqa: ARG002
        return islice(self._examples(), self.limit)

    def _examples(self) -> Iterator[Example]:
        path = self._file()
        body = path.read_bytes()
        if body.lstrip()[:1] == b"[":
            rows = _parse(body, self.path)
            for number, row in enumerate(rows, 1):
                yield self._example(row, f"{path.name}:row {number}")
            return
        # Not splitlines(): JSON may hold U+2028 and other marks that it takes for line ends.
        for number, line in enumerate(body.split(b"\n"), 1):
            if line.strip():
                place = f"{path.name}:{number}"
                yield self._example(_parse(line, place), place)

    def _place(self) -> Path:
        return Path(os.path.expandvars(self.path)).expanduser()

    def _file(self) -> Path:
        path = self._place()
        if not path.is_file():
            raise NotFound(f"no file {self.path}")
        return path

    def _example(self, row: Any, place: str) -> Example:
        if not isinstance(row, dict):
            raise UsageError(f"{place}: no JSON object, but {type(row).__name__}")
        return read_row(row, place)


def _parse(text: bytes, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{place}: no JSON: {error}") from error


class LanguageNaming(Instructions):
    """Snippets of the recipe's corpora, and the question which language they are in.

    Made for the tour: a question that even a tiny model can learn to answer, from text the
    recipe has anyway. Each snippet is a line or a sentence of a training document.
    """

    version: ClassVar[str] = "1"
    count: int = Field(1500, ge=3, description="number of examples, equally many a language")
    longest: int = Field(60, ge=10, description="longest snippet in characters")

    def examples(self, corpora: Sequence[Artifact], seed: int) -> Iterable[Example]:
        import pyarrow.parquet as pq

        snippets: dict[str, list[str]] = {name: [] for name in NAMES}
        for corpus in corpora:
            table = pq.read_table(corpus.files_under("documents"), columns=["text", "language"])
            for row in table.to_pylist():
                if row["language"] in snippets:
                    snippets[row["language"]] += self._lines(row["text"])
        missing = [name for name, lines in snippets.items() if not lines]
        if missing:
            raise UsageError(
                f"the corpora under 'from' hold no text of {', '.join(missing)}",
                hint="add the corpus step under 'from'",
            )
        chooser = random.Random(seed)
        examples = [
            Example.of(QUESTION, chooser.choice(snippets[language]), NAMES[language])
            for language in NAMES
            for _ in range(self.count // len(NAMES))
        ]
        chooser.shuffle(examples)
        return examples

    def _lines(self, text: str) -> list[str]:
        lines = (line.strip() for line in text.replace("。", "。\n").splitlines())
        return [line[: self.longest] for line in lines if len(line) >= 15]
