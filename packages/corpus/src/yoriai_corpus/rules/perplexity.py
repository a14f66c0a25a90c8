"""Rules by perplexity, and the step that trains the model for them."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from yoriai import UsageError, files
from yoriai_corpus.rules.base import Limit
from yoriai_corpus.text import character_model
from yoriai_corpus.text.batch import F64, Batch


class Perplexity(Limit):
    """Drop documents that a character model finds too surprising, or too easy.

    The limits depend on the model: look at what ``yoriai corpus judge`` shows for good text.
    Uzushio's (5 to 1e6, then 7 to 5e5) are those of a word model. How the model works:
    :mod:`yoriai_corpus.text.character_model`. Raises UsageError and YoriaiError if it cannot be
    read.
    """

    version: ClassVar[str] = "1"
    model: str = Field(description="a model.npz, or the folder of a character-model artifact")
    min_perplexity: float = Field(0.0, ge=0, description="smallest perplexity per character")
    max_perplexity: float = Field(math.inf, gt=1, description="largest perplexity per character")
    outliers: float = Field(
        0.1, ge=0, lt=1, description="share of the least likely characters that is left out"
    )

    def fingerprint(self) -> str:
        return files.digest_bytes(character_model.find(self.model).read_bytes())

    def measure(self, batch: Batch) -> F64:
        model = character_model.load(character_model.find(self.model))
        return character_model.perplexities(model, batch, self.outliers)

    def limits(self) -> tuple[float, float]:
        return self.min_perplexity, self.max_perplexity


class KenlmPerplexity(Limit):
    """Drop documents by the perplexity that a KenLM model (ARPA or binary) gives them.

    ``unit`` is what the model was trained on: ``words`` are what stands between spaces,
    ``characters`` are parted by us. Every line that is not blank is a sentence; the least
    likely share ``outliers`` of all units is left out.
    Needs the package ``kenlm``, and a compiler to install it.
    """

    version: ClassVar[str] = "1"
    model: str = Field(description="an ARPA or binary file of KenLM")
    unit: Literal["characters", "words"] = Field("words", description="what the model reads")
    min_perplexity: float = Field(0.0, ge=0, description="smallest perplexity per unit")
    max_perplexity: float = Field(math.inf, gt=1, description="largest perplexity per unit")
    outliers: float = Field(0.1, ge=0, lt=1, description="share of unlikely units left out")

    def fingerprint(self) -> str:
        return files.digest_bytes(character_model.find(self.model).read_bytes())

    def measure(self, batch: Batch) -> F64:
        model = _kenlm(str(character_model.find(self.model)))
        return np.array([self._perplexity(model, text) for text in batch.texts], dtype=np.float64)

    def _perplexity(self, model: Any, text: str) -> float:
        found: list[float] = []
        for line in text.splitlines():
            words = line.split() if self.unit == "words" else list("".join(line.split()))
            if words:
                found += [score for score, _, _ in model.full_scores(" ".join(words))]
        if not found:
            return math.nan
        found = sorted(found)[int(self.outliers * len(found)) :]
        return float(10 ** -(math.fsum(found) / len(found)))

    def limits(self) -> tuple[float, float]:
        return self.min_perplexity, self.max_perplexity


@lru_cache(maxsize=4)
def _kenlm(path: str) -> Any:
    try:
        import kenlm
    except ImportError as error:
        raise UsageError("the rule kenlm-perplexity needs the package kenlm") from error
    return kenlm.Model(path)
