"""Questions of one split that are also in another, of the same task or of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from yoriai.same_text import LABEL, fields, fold

How = Literal["input", "fields", "swapped"]
ORDER: tuple[How, ...] = ("input", "fields", "swapped")


@dataclass(frozen=True, slots=True)
class FoldedQuestion:
    """What two questions are compared by, folded: input, labels, and fields in any order."""

    input: str
    labels: tuple[str, ...]
    fields: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> FoldedQuestion:
        parts = fields(text)
        found = LABEL.findall(text) if parts != (text,) else []
        return cls(fold(text), tuple(map(fold, found)), tuple(sorted(map(fold, parts))))


@dataclass(frozen=True, slots=True)
class Same:
    """``item`` (by number) is the same question as another. How:

    * ``input``: the whole input is the same;
    * ``fields``: the same fields under other labels, in any order (a pair of sentences whose
      likeness was asked, and now whether one follows from the other);
    * ``swapped``: the same fields under the same labels, in another order (premise and hypothesis
      exchanged: another question on the same pair).
    """

    item: int
    how: How


class FoldedQuestions:
    """The questions of the splits that are asked, found by those of other splits."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._questions = [FoldedQuestion.of(text) for text in texts]
        self._by_input: dict[str, list[int]] = {}
        self._by_fields: dict[tuple[str, ...], list[int]] = {}
        for number, question in enumerate(self._questions):
            if question.input:
                self._by_input.setdefault(question.input, []).append(number)
            if all(question.fields):
                self._by_fields.setdefault(question.fields, []).append(number)

    def same(self, text: str) -> Iterator[Same]:
        """Those that are the same question as ``text``."""
        other = FoldedQuestion.of(text)
        found = self._by_input.get(other.input, ())
        for number in found:
            yield Same(number, "input")
        for number in self._by_fields.get(other.fields, ()):
            if number not in found:
                labels = self._questions[number].labels
                yield Same(number, "swapped" if labels == other.labels else "fields")
