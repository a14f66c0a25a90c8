"""Floors: what a score is without any model, on the very samples that models are asked.

A score means something only above these. LLM-jp's first model had the floor itself on three sets
(JSeM .672, JCommonsenseQA .223, JaNLI .496).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from yoriai import Sample
from yoriai_eval.scoring.answers import cleaned, normalised
from yoriai_eval.scoring.metrics import METRICS, comparable, percent_table
from yoriai_eval.scoring.protocol import Exam

BLOCK = 256  # rows of a table of similarities that are in memory at once: 9 MB for 4,442 golds
MOST_PAIRS = 200_000  # comparisons in plain Python, about a second: beyond it no `constant`
# The title and the text of a passage with a question: JSQuAD's `TITLE [SEP] paragraph`
# (yahoojapan/JGLUE) behind the mark that llm-jp-eval puts before it.
_PASSAGE = re.compile(r"文章：(?P<title>.*?) \[SEP\] (?P<text>.*)\n質問：", re.DOTALL)


def floors(exam: Exam, samples: Sequence[Sample]) -> dict[str, float]:
    """Scores without a model, under the exam's first metric; only those that exist for it.

    * ``majority``: always the commonest gold of these samples (for choices that differ between
      samples: always the commonest place);
    * ``chance``: choices drawn blindly, the mean of 1 / choices;
    * ``constant``: the one text with the highest score among the golds and the exam's labels;
    * ``copy_title`` and ``copy_start``: for passages with questions, the passage's title, or its
      beginning up to the answer's limit (a limit in tokens is taken as characters, which is about
      right for Japanese).

    Samples are as the exam puts them. Empty for the forms that count bits, and for no samples.
    """
    if not samples or exam.form not in ("generation", "ranked"):
        return {}
    if exam.form == "generation" and not exam.task.has_floors:
        return {}  # each score would cost a run of code
    known = _own(exam, samples) if exam.own else _asked(exam, samples)
    if all(sample.choices for sample in samples):
        known["chance"] = sum(1 / len(s.choices) for s in samples) / len(samples)
    return known


def _asked(exam: Exam, samples: Sequence[Sample]) -> dict[str, float]:
    metric = METRICS[exam.metrics[0]]
    golds = [normalised(exam.answer, s.gold) for s in samples]
    if exam.form == "ranked":
        return {"majority": max(_share(golds), _share(_places(samples)))}
    if metric.corpus is not None:  # a constant correlates with nothing
        return {"constant": metric.corpus([golds[0]] * len(golds), golds)}
    known = {"majority": _mean(exam, [_commonest(golds)] * len(golds), samples)}
    candidates = sorted({*golds, *(normalised(exam.answer, label) for label in exam.labels)})
    if exam.max_characters:
        candidates = [c for c in candidates if len(c) <= exam.max_characters]
    best = _best_constant(exam, candidates, samples)
    if best is not None:
        known["constant"] = best
    passages = [_PASSAGE.match(s.text) for s in samples]
    limit = exam.max_characters or exam.max_tokens
    if all(passages) and limit:
        for name, part in (("copy_title", "title"), ("copy_start", "text")):
            said = [cleaned(exam.answer, p[part][:limit]) for p in passages if p]
            known[name] = _mean(exam, said, samples)
    return known


def _own(exam: Exam, samples: Sequence[Sample]) -> dict[str, float]:
    """The same for a task asked in its own way, which scores its own answers."""
    golds = [s.gold for s in samples]
    if exam.form == "ranked":
        return {"majority": max(_share(golds), _share(_places(samples)))}

    def score(text: str) -> float:
        return sum(exam.task.score(s, text) for s in samples) / len(samples)

    known = {"majority": score(_commonest(golds))}
    candidates = sorted(set(golds))
    if len(candidates) * len(samples) <= MOST_PAIRS:
        known["constant"] = max(map(score, candidates))
    return known


def _places(samples: Sequence[Sample]) -> list[str]:
    return [str(s.answer if isinstance(s.answer, int) else _place(s)) for s in samples]


def _place(sample: Sample) -> int:
    return sample.choices.index(sample.gold) if sample.gold in sample.choices else -1


def _commonest(golds: Sequence[str]) -> str:
    """The commonest; of several the first in order, so that the order of samples is nothing."""
    counts = Counter(golds)
    return min(counts, key=lambda text: (-counts[text], text))


def _share(golds: Sequence[str]) -> float:
    return max(Counter(golds).values()) / len(golds)


def _all_golds(exam: Exam, samples: Sequence[Sample]) -> Iterator[list[str]]:
    for sample in samples:
        yield [normalised(exam.answer, text) for text in (sample.gold, *sample.answers)]


def _mean(exam: Exam, said: Sequence[str], samples: Sequence[Sample]) -> float:
    """Score of one answer for each sample, as a model would get it."""
    metric = METRICS[exam.metrics[0]]
    if not any(s.answers for s in samples):
        return metric.whole(said, [normalised(exam.answer, s.gold) for s in samples])
    pairs = zip(said, _all_golds(exam, samples), strict=True)
    return sum(metric(text, golds) for text, golds in pairs) / len(samples)


def _best_constant(
    exam: Exam, candidates: Sequence[str], samples: Sequence[Sample]
) -> float | None:
    """The highest score that one of the candidates has for all samples; None if too many to try."""
    metric = METRICS[exam.metrics[0]]
    single = not any(s.answers for s in samples)
    if metric.name == "char_f1" and single:
        golds = [normalised(exam.answer, s.gold) for s in samples]
        return _best_char_f1(candidates, golds)
    if metric.name == "exact_match":
        counts = Counter(text for golds in _all_golds(exam, samples) for text in set(golds))
        return max((counts[text] for text in candidates), default=0) / len(samples)
    if metric.sample is None or len(candidates) * len(samples) > MOST_PAIRS:
        return None
    golds_of = list(_all_golds(exam, samples))
    return max(
        (sum(metric(text, golds) for golds in golds_of) / len(samples) for text in candidates),
        default=0.0,
    )


def _best_char_f1(candidates: Sequence[str], golds: Sequence[str]) -> float:
    """All candidates against all golds, in blocks; texts that compare alike are compared once."""
    import numpy as np

    counts = Counter(map(comparable, golds))
    others, weights = list(counts), np.array(list(counts.values()), float)
    ones = list(dict.fromkeys(map(comparable, candidates)))
    best = 0.0
    for start in range(0, len(ones), BLOCK):
        table = percent_table(ones[start : start + BLOCK], others)
        best = max(best, float((table @ weights).max()))  # whole numbers: exact
    return best / 100 / len(golds)
