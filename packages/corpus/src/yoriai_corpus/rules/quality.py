"""Quality as a trained classifier sees it.

A linear classifier on words and n-grams of words (fastText, arXiv 1607.01759) is how DCLM
(arXiv 2406.11794, section 4.4: "hq" against "cc") and many others choose pages. The model is the
user's own file; it was trained on texts cut in a certain way, and texts to judge must be cut
the same (fastText splits at spaces, which Japanese does not have).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from yoriai import UsageError, files
from yoriai_corpus.rules.base import Limit
from yoriai_corpus.rules.language import fasttext_model
from yoriai_corpus.text.batch import F64, Batch

_PREFIX = "__label__"


class FastTextQuality(Limit):
    """Drop documents to which a fastText model gives a label with low probability.

    The text is one line to the model: newlines become spaces, nothing else is changed.
    Raises :class:`yoriai.NotFound` if the file is no model, :class:`yoriai.UsageError` if the
    model has no such label.
    """

    version: ClassVar[str] = "1"
    model: Path = Field(description="a fastText classifier, .bin or .ftz")
    label: str = Field(min_length=1, description="the wanted label, with or without __label__")
    min_probability: float = Field(0.5, ge=0, le=1, description="smallest probability")
    characters: int = Field(0, ge=0, description="how many characters are looked at; 0: all")

    def fingerprint(self) -> str:
        return files.digest_file(self.model)

    def measure(self, batch: Batch) -> F64:
        return np.array([self._probability(text) for text in batch.texts], dtype=np.float64)

    def limits(self) -> tuple[float, float]:
        return self.min_probability, np.inf

    def _probability(self, text: str) -> float:
        line = text[: self.characters or None].replace("\n", " ")
        # Every label: fastText says nothing of one that is not among the first k.
        labels, chances = fasttext_model(self.model).predict(line, k=-1, threshold=-1.0)
        wanted = _PREFIX + self.label.removeprefix(_PREFIX)
        for label, chance in zip(labels, chances, strict=True):
            if label == wanted:
                return min(max(float(chance), 0.0), 1.0)
        if not labels:  # nothing in the text that the model knows
            return 0.0
        known = ", ".join(sorted(label.removeprefix(_PREFIX) for label in labels)[:20])
        raise UsageError(f"{self.model.name} has no label {self.label!r}", hint=f"it has {known}")
