"""Rules for text in any language."""

from __future__ import annotations

import math
import re
import zlib
from typing import ClassVar

import numpy as np
from pydantic import Field

from yoriai import Document, Filter, Verdict
from yoriai_corpus.rules.base import Limit
from yoriai_corpus.text.batch import F64, Batch
from yoriai_corpus.text.characters import LETTERS, Class, share

VISIBLE = tuple(kind for kind in Class if kind > Class.NEWLINE)


class MinLength(Limit):
    """Drop documents shorter than ``characters`` after surrounding space is taken off.

    Uzushio's ``DocLength`` starts at 50 characters (``pipeline_03a.conf``); messages of
    catalogues are short by nature, so the default is lower.
    """

    version: ClassVar[str] = "1"
    characters: int = Field(20, ge=1, description="fewest characters a document may have")

    def measure(self, batch: Batch) -> F64:
        return np.array([len(text.strip()) for text in batch.texts], dtype=np.float64)

    def limits(self) -> tuple[float, float]:
        return self.characters, math.inf


class Letters(Limit):
    """Drop documents in which fewer than ``min_ratio`` of the visible characters are letters.

    Gopher (arXiv 2112.11446, appendix A1.1) asks that 80 % of words hold a letter; the share
    of letters does the same where words are not parted by spaces. Letters are what
    ``str.isalpha`` says, and since version 2 also 〇, a number to Unicode but a kanji to a reader.
    """

    version: ClassVar[str] = "2"
    min_ratio: float = Field(0.4, ge=0, le=1, description="smallest share of letters")

    def measure(self, batch: Batch) -> F64:
        return share(batch, LETTERS, of=VISIBLE)

    def limits(self) -> tuple[float, float]:
        return self.min_ratio, math.inf


class Compression(Limit):
    """Drop documents that deflate shrinks too well (repetition) or hardly at all (noise).

    The ratio is compressed bytes over bytes of UTF-8, deflate level 9. The upper limit is that
    of LLM-jp-13B on web pages (``llm-jp-corpus:scripts/filters.py``: 0.30 to 0.70). Of thousands
    of texts with 1,000 bytes or more the highest ratio was 0.69 (Japanese), 0.61 (English) and
    0.64 (code); base64 has 0.76, random printable ASCII 0.84, random kanji 0.73, so that 0.85,
    the limit of version 1, never dropped anything. What it cannot see: hexadecimal digits
    (0.57), random kana (0.41), text decoded wrongly (0.2 to 0.35). Short texts compress badly,
    so only texts of ``min_bytes`` are judged.
    """

    version: ClassVar[str] = "2"
    min_ratio: float = Field(0.15, description="below this the text repeats itself")
    max_ratio: float = Field(0.7, description="above this the text is noise")
    min_bytes: int = Field(1000, description="shorter documents are not judged")

    def measure(self, batch: Batch) -> F64:
        return np.array([self._ratio(text.encode()) for text in batch.texts])

    def _ratio(self, data: bytes) -> float:
        if len(data) < self.min_bytes:
            return math.nan
        return len(zlib.compress(data, 9)) / max(1, len(data))

    def limits(self) -> tuple[float, float]:
        return self.min_ratio, self.max_ratio


class MaskEmail(Filter):
    """Replace e-mail addresses by ``replacement`` (HojiChar masks them the same way).

    What surrounds an address does not save it: ``_a@b.jp_`` and ``--a@b.jp--`` are masked.
    Addresses written in other scripts, or spelled out ("a at b dot jp"), are not found.
    """

    version: ClassVar[str] = "1"
    replacement: str = Field("xxxx@yyy.tld", description="what stands in the text instead")
    _pattern: ClassVar[re.Pattern[str]] = re.compile(
        r"[\w.%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])",
        re.ASCII,
    )

    def judge(self, document: Document) -> Verdict:
        if "@" not in document.text:
            return self.KEEP
        text, count = self._pattern.subn(self.replacement, document.text)
        edited = text != document.text  # a mask that is there already is no edit
        return Verdict("edit", text=text, value=count) if edited else self.KEEP
