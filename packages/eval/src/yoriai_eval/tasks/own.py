"""Tasks that ship with Yoriai."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from yoriai import Artifact, Sample, Task, UsageError

DATA = Path(__file__).with_name("data")


@cache
def _rows(name: str) -> list[dict[str, Any]]:
    text = (DATA / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


class Heldout(Task):
    """Bits per byte on the documents that a corpus held out, by corpus and language."""

    version: ClassVar[str] = "1"
    form: ClassVar[Literal["bits-per-byte"]] = "bits-per-byte"
    longest: int = Field(
        4000, ge=100, description="longer documents are read up to so many characters"
    )

    def samples(self, artifacts: Sequence[Artifact]) -> Iterable[Sample]:
        import pyarrow.parquet as pq

        corpora = [a for a in artifacts if a.kind == "corpus"]
        if not corpora:
            raise UsageError("eval/heldout needs a corpus", hint="add the corpus step under 'from'")
        for corpus in corpora:
            table = pq.read_table(
                corpus.files_under("heldout"), columns=["source", "id", "text", "language"]
            )
            for row in table.to_pylist():
                if not row["text"]:
                    continue  # no bytes, so no bits per byte
                yield Sample(
                    id=f"{corpus.step}/{row['source']}/{row['id']}",
                    text=row["text"][: self.longest],
                    group=f"{corpus.step}.{row['language']}",
                )


class JaForms(Task):
    """Minimal pairs of Japanese grammar and software wording, written for this project.

    The ending with the higher log-likelihood is the answer; both are (nearly) equally long.
    """

    version: ClassVar[str] = "1"
    form: ClassVar[Literal["ranked"]] = "ranked"

    def samples(self, artifacts: Sequence[Artifact]) -> Iterator[Sample]:  # noqa: ARG002
        for row in _rows("ja-forms.jsonl"):
            yield Sample(
                id=row["id"],
                text=row["context"],
                choices=tuple(row["choices"]),
                answer=row["answer"],
                group=row["phenomenon"],
            )


class JaLanguage(Task):
    """Name the language of a snippet: 日本語, 英語 or コード. The answer must be exact."""

    version: ClassVar[str] = "1"
    form: ClassVar[Literal["generation"]] = "generation"
    instruction: str = Field(
        "次の文章は日本語、英語、コードのどれですか。", description="the question"
    )

    def samples(self, artifacts: Sequence[Artifact]) -> Iterator[Sample]:  # noqa: ARG002
        for row in _rows("ja-language.jsonl"):
            yield Sample(
                id=row["id"],
                text=row["input"],
                instruction=self.instruction,
                answer=row["output"],
                group=row["output"],
            )

    def score(self, sample: Sample, output: str) -> float:
        first = output.strip().partition("\n")[0].strip(" 。.")
        return float(unicodedata.normalize("NFKC", first) == sample.answer)
