"""Reading answers: what a model wrote becomes an answer, its scores, and a reason.

Nothing leaves the denominator: what a server refused or could not answer scores 0 like any
wrong answer, and is counted under its own reason.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from typing import Literal

from yoriai import Answer, Generated, Sample
from yoriai_eval.scoring.metrics import METRICS, NO_NUMBER, last_number, number
from yoriai_eval.scoring.protocol import Exam

Reason = Literal["correct", "wrong", "unparsed", "truncated", "refused", "errored"]
_LOST: dict[str, Reason] = {"refused": "refused", "error": "errored"}


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer as it was read.

    ``scores`` holds each metric of the exam that is taken of single answers. The reason is the
    first that holds of

    * ``refused``, ``errored``: the server would not or could not answer; the answer is empty;
    * ``correct``: the exam's first metric gives its highest value (for correlations: the number
      in the answer equals the gold's);
    * ``truncated``: the limit ended it before the protocol's cut, so more might have followed;
      under a limit of few tokens that is the usual end of any answer but the right one;
    * ``unparsed``: it is empty, or none of the exam's labels, or has no number where one is wanted;
    * ``wrong``.
    """

    answer: str
    reason: Reason
    scores: dict[str, float] = field(default_factory=dict)


def cleaned(answer: Answer, text: str) -> str:
    """What a protocol reads of a text, in the order of :class:`yoriai.Answer`'s keys.

    Without ``strip_first`` a text that begins with the cut is empty: a leading newline scores 0 in
    llm-jp-eval (its issues 88 and 122). White space to strip is Python's, the full-width space
    included.
    """
    return normalised(answer, _taken(answer, before_cut(answer, text)[0]))


def before_cut(answer: Answer, text: str) -> tuple[str, bool]:
    """A text up to the protocol's cut, and whether the cut is there."""
    if answer.drop_thoughts:
        _, closed, after = text.rpartition("</think>")
        text = after if closed else text
        if "<think>" in text:
            text = text.partition("<think>")[0]
    if answer.strip_first:
        text = text.strip()
    if not answer.cut:
        return text, False
    text, found, _ = text.partition(answer.cut)
    return text, bool(found)


def _taken(answer: Answer, text: str) -> str:
    if answer.strip:
        text = text.strip()
    if answer.pattern:
        found = None
        for found in re.finditer(answer.pattern, text):  # noqa: B007
            pass
        text = "" if found is None else found[1 if found.re.groups else 0] or ""
    if answer.take == "last-number":
        text = last_number(text)
    return text


def normalised(answer: Answer, text: str) -> str:
    """Unicode's NFKC or nothing; golds are normalised too, but neither cut nor stripped."""
    return unicodedata.normalize(answer.normalise, text) if answer.normalise else text


def read(exam: Exam, sample: Sample, generated: Generated) -> Reading:
    """The answer in what a model wrote, with its scores."""
    lost = _LOST.get(generated.ended)
    answer = "" if lost else cleaned(exam.answer, generated.text)
    golds = [normalised(exam.answer, text) for text in (sample.gold, *sample.answers)]
    if lost:
        return Reading(answer, lost, dict.fromkeys(_per_sample(exam), 0.0))
    if exam.own:
        scores = dict(exam.task.scores(sample, generated.text))
        right = scores.get(exam.metrics[0]) == 1.0
    else:
        scores = _scores(exam, answer, golds)
        right = _is_right(exam, answer, golds, scores)
    return Reading(answer, _reason(exam, answer, generated, right), scores)


def _reason(exam: Exam, answer: str, generated: Generated, right: bool) -> Reason:
    if right:
        return "correct"
    done = before_cut(exam.answer, generated.text)[1]
    if generated.ended == "length" and not done:
        return "truncated"
    if not answer.strip() or (_wants_number(exam) and number(answer) == NO_NUMBER):
        return "unparsed"
    labels = {normalised(exam.answer, label) for label in exam.labels}
    return "unparsed" if labels and answer not in labels else "wrong"


def _per_sample(exam: Exam) -> list[str]:
    if exam.own:
        return list(exam.metrics)
    return [name for name in exam.metrics if METRICS[name].sample is not None]


def _scores(exam: Exam, answer: str, golds: list[str]) -> dict[str, float]:
    return {name: METRICS[name](answer, golds) for name in _per_sample(exam)}


def _wants_number(exam: Exam) -> bool:
    return not exam.own and METRICS[exam.metrics[0]].corpus is not None


def _is_right(exam: Exam, answer: str, golds: list[str], scores: dict[str, float]) -> bool:
    if _wants_number(exam):
        wanted = number(golds[0])
        return wanted != NO_NUMBER and number(answer) == wanted
    first = METRICS[exam.metrics[0]]
    return scores.get(first.name) == first.highest
