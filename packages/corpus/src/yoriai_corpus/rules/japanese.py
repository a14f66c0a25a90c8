"""Rules for Japanese."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numba import njit
from pydantic import Field

from yoriai_corpus.rules.base import Limit
from yoriai_corpus.text.batch import F64, I64, U32, Batch


class Kana(Limit):
    """Drop documents without hiragana or katakana in their first ``within`` characters.

    HojiChar's ``AcceptJapanese`` with its 50 characters, which LLM-jp-13B v1 used as it is
    (``hojichar/filters/document_filters.py``, ``llm-jp-corpus:scripts/filters.py``). Kana are
    ぁ to ん and ァ to ン there: ー ヴ ヵ ヶ alone (二ヶ月) are not enough, nor are half-width ones.
    The check is cheap and tells Japanese from Chinese.
    """

    version: ClassVar[str] = "2"
    languages: tuple[str, ...] = Field(("ja",), description="languages it judges; empty: all")
    within: int = Field(50, ge=1, description="how many characters are looked at")

    def measure(self, batch: Batch) -> F64:
        return _kana(*batch.codes, self.within).astype(np.float64)

    def limits(self) -> tuple[float, float]:
        return 1, np.inf

    def span(self, text: str) -> str:
        return text[: self.within][:40]


@njit(cache=True, nogil=True)
def _kana(points: U32, starts: I64, within: int) -> I64:
    counts = np.zeros(len(starts) - 1, dtype=np.int64)
    for document in range(len(starts) - 1):
        end = min(starts[document] + within, starts[document + 1])
        for index in range(starts[document], end):
            point = points[index]
            if 0x3041 <= point <= 0x3093 or 0x30A1 <= point <= 0x30F3:  # ぁ-ん, ァ-ン
                counts[document] += 1
    return counts
