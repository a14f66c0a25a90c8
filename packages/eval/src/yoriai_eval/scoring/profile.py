"""What is wrong or odd about the samples of an exam, said before a model is asked."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from yoriai import Sample
from yoriai_eval.scoring.metrics import comparable
from yoriai_eval.scoring.protocol import Exam

_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?\D{0,3}")
SHOWN = 3  # samples that are named of each kind


def fault(sample: Sample) -> str:
    """Why a sample's right answer would have to be guessed; empty if it need not."""
    for what, value in (("text", sample.text), ("instruction", sample.instruction)):
        if not isinstance(value, str):
            return f"its {what} is {_kind(value)}, not text"
    for what, several, each in (
        ("choices", sample.choices, "one of its choices"),
        ("further answers", sample.answers, "one of its further answers"),
    ):
        if not isinstance(several, tuple | list):
            return f"its {what} are {_kind(several)}, not a tuple of texts"
        if wrong := [value for value in several if not isinstance(value, str)]:
            return f"{each} is {_kind(wrong[0])}, not text"
    answer = sample.answer
    if isinstance(answer, bool) or not isinstance(answer, str | int):
        return f"its answer is {_kind(answer)}, neither text nor the number of a choice"
    if isinstance(answer, int) and not 0 <= answer < len(sample.choices):
        return f"its answer is choice {answer} of {len(sample.choices)} (from 0)"
    return ""


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def shown_and_asked(exam: Exam, samples: Iterable[Sample]) -> list[str]:
    """Ids of samples whose text is that of an example that is shown before them."""
    texts = {" ".join(shot.text.split()) for shot in exam.shots}
    return [s.id for s in samples if " ".join(s.text.split()) in texts] if texts else []


def profile(exam: Exam, samples: Iterable[Sample]) -> list[str]:
    """Notes on an exam, one for each kind of oddness, with a count and the first samples."""
    found: dict[str, list[str]] = {}
    samples = list(samples)
    for sample in samples:
        for what in _odd(exam, sample):
            found.setdefault(what, []).append(sample.id)
    if asked := shown_and_asked(exam, samples):
        found["asked with its own answer shown among the examples"] = asked
    return [
        f"{exam.name}: {len(ids)} of {len(samples)} samples: {what} "
        f"({', '.join(ids[:SHOWN])}{' …' if len(ids) > SHOWN else ''})"
        for what, ids in found.items()
    ]


def _odd(exam: Exam, sample: Sample) -> Iterator[str]:
    if exam.form == "ranked":
        if any(choice != choice.strip() for choice in sample.choices):
            yield "a choice has white space at an end, which its likelihood counts"
        if not all(choice.strip() for choice in sample.choices):
            yield "a choice is empty"
        if len(set(sample.choices)) < len(sample.choices):
            yield "two choices are equal; either counts as the right one"
        if isinstance(sample.answer, str) and sample.answer not in sample.choices:
            yield "the right answer is none of the choices"
        return
    answer = sample.gold
    normal = unicodedata.normalize("NFKC", answer)
    if not answer.strip():
        yield "the right answer is empty"
    elif exam.metrics[:1] == ("char_f1",) and not comparable(answer):
        yield "char_f1 compares nothing of the right answer, which is signs alone"
    elif exam.metrics[:1] == ("exact_match",) and _GROUPED.fullmatch(normal):
        yield "the right answer is a number with commas, compared as text (number_match would not)"
