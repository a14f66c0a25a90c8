"""``corpus/character-model``: the model that the rule ``corpus/perplexity`` reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from yoriai import Artifact, Job, Made, Step
from yoriai_corpus import tables
from yoriai_corpus.text import character_model


class CharacterModelStep(Step):
    """Train a character model on the kept documents of a corpus, in their order.

    Its ``model.npz`` is what the rule ``corpus/perplexity`` reads.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "character-model"
    measures: ClassVar[tuple[str, ...]] = ("order", "characters", "ngrams")
    takes: ClassVar[tuple[str, ...]] = ("corpus",)

    order: int = Field(5, ge=1, le=8, description="characters in the longest n-gram")
    min_count: int = Field(2, ge=1, description="rarer n-grams of three and more are left out")
    languages: tuple[str, ...] = Field((), description="languages to learn from; empty: all")
    megacharacters: float = Field(50.0, gt=0, description="at most so much text is read")

    def run(self, job: Job) -> Made:
        texts = list(self._texts(job.one("corpus")))
        model = character_model.train(texts, self.order, self.min_count)
        character_model.save(model, job.out / "model.npz")
        characters = sum(map(len, texts))
        return Made(
            facts={"order": self.order, "characters": characters, "ngrams": model.size},
            headline=[f"{model.size:,} n-grams of {characters:,} characters"],
        )

    def _texts(self, corpus: Artifact) -> Iterator[str]:
        left = int(self.megacharacters * 1e6)
        paths = corpus.files_under("documents")
        for row in tables.read_rows(paths, ["text", "language"]):
            if self.languages and row["language"] not in self.languages:
                continue
            yield row["text"][:left]
            left -= len(row["text"])
            if left <= 0:
                return
