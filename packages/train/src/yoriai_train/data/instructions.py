"""Instruction data: one's own files, and data made from the corpus of the recipe."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from yoriai import Artifact, Example, Instructions, NotFound, UsageError, files

NAMES = {"ja": "日本語", "en": "英語", "code": "コード"}
QUESTION = "次の文章は日本語、英語、コードのどれですか。"


class Jsonl(Instructions):
    """JSON Lines with ``instruction``, ``input`` (may be missing) and ``output``."""

    version: ClassVar[str] = "1"
    path: str = Field(description="the file")

    def fingerprint(self) -> str:
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise NotFound(f"no file {self.path}")
        return files.digest_file(path)

    def examples(self, corpora: Sequence[Artifact], seed: int) -> Iterator[Example]:
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise NotFound(f"no file {self.path}")
        # Not splitlines(): JSON may hold U+2028 and other marks that it takes for line ends.
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if line.strip():
                yield self._example(line, f"{self.path}:{number}")

    def _example(self, line: bytes, place: str) -> Example:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{place}: no JSON: {error}") from error
        if not isinstance(row, dict):
            raise UsageError(f"{place}: no JSON object, but {type(row).__name__}")
        for key in ("instruction", "output"):
            if not isinstance(row.get(key), str):
                raise UsageError(f"{place}: {key!r} is missing or no text")
        if not isinstance(row.get("input") or "", str):
            raise UsageError(f"{place}: 'input' is no text")
        return Example(row["instruction"], row.get("input") or "", row["output"])


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
            Example(QUESTION, chooser.choice(snippets[language]), NAMES[language])
            for language in NAMES
            for _ in range(self.count // len(NAMES))
        ]
        chooser.shuffle(examples)
        return examples

    def _lines(self, text: str) -> list[str]:
        lines = (line.strip() for line in text.replace("。", "。\n").splitlines())
        return [line[: self.longest] for line in lines if len(line) >= 15]
