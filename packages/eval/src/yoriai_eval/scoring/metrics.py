"""Metrics: how an answer is compared with the gold, each with its published quirks.

Answers and golds come here cut, stripped and normalised as the protocol says (``answers``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from yoriai_eval.scoring.overlap import chrf

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from yoriai.contracts import Form

NO_NUMBER = -2.0  # what stands for an answer without a number: below every gold of JSTS (0 to 5)
_NOT_NUMERIC = re.compile(r"[^0-9.]")
_NOT_WORD = re.compile(r"\W")
_LATIN_1 = dict.fromkeys(range(128, 256))


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric and how it is taken.

    ``sample`` compares one answer with the golds that count as right and gives a number between
    ``lowest`` and ``highest``; a task's score is the mean. ``corpus`` takes all answers of a task
    and one gold each, and gives the score itself. Where neither is there, the number comes from
    likelihoods, where the question is asked. ``pairs`` gives what ``sample`` gives for many
    answers and one gold each, faster.
    """

    name: str
    form: Form
    source: str
    sample: Callable[[str, Sequence[str]], float] | None = None
    corpus: Callable[[Sequence[str], Sequence[str]], float] | None = None
    pairs: Callable[[Sequence[str], Sequence[str]], list[float]] | None = None
    lowest: float = 0.0
    highest: float = 1.0
    higher_is_better: bool = True

    def __call__(self, prediction: str, golds: Sequence[str]) -> float:
        """The value of one answer; raises TypeError for a metric that is not taken of one."""
        if self.sample is None:
            raise TypeError(f"{self.name} is no metric of single answers")
        return self.sample(prediction, golds)

    def each(self, predictions: Sequence[str], golds: Sequence[str]) -> list[float]:
        """The value of every answer, with one gold each."""
        if self.pairs is not None:
            return self.pairs(predictions, golds)
        return [self(p, (g,)) for p, g in zip(predictions, golds, strict=True)]

    def whole(self, predictions: Sequence[str], golds: Sequence[str]) -> float:
        """The score of a whole task; 0 for no answers."""
        if self.corpus is not None:
            return self.corpus(predictions, golds)
        values = self.each(predictions, golds)
        return sum(values) / len(values) if values else 0.0


def exact_match(prediction: str, golds: Sequence[str]) -> float:
    """1 if the answer is a gold, character for character and in the same case."""
    return float(prediction in golds)


_OPERAND = re.compile(r"[0-9A-Za-z)\]]")  # a sign behind one of these is an operator
# Digits of any width, thousands in groups of three, a decimal point.
_A_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[-+]?\.\d+")


def last_number(text: str) -> str:
    """The last number in a text, as NFKC writes it, without the commas of thousands; "" for none.

    ``2,125``, ``18個``, full-width digits and ``x = -3.5`` have one; a sign counts only where no
    digit, Latin letter or bracket stands before it: ``16-7`` ends in 7.
    """
    folded = unicodedata.normalize("NFKC", text).replace("\u2212", "-")
    found = None
    for found in _A_NUMBER.finditer(folded):  # noqa: B007
        pass
    if found is None:
        return ""
    said, start = found[0], found.start()
    if said[0] in "+-" and start and _OPERAND.match(folded[start - 1]):
        said = said[1:]
    return said.replace(",", "").removeprefix("+")


def number_match(prediction: str, golds: Sequence[str]) -> float:
    """1 if the last number in the answer equals that of a gold: ``18.0``, ``18個`` and ``18``."""
    said = last_number(prediction)
    if not said:
        return 0.0
    mine = Decimal(said)
    wanted = [last_number(gold) for gold in golds]
    return float(any(text and Decimal(text) == mine for text in wanted))


def char_f1(prediction: str, golds: Sequence[str]) -> float:
    """LLM-jp's ``char_f1``: no F1 of characters, but fuzzywuzzy's ``token_sort_ratio`` / 100.

    The best over the golds, in whole hundredths; see :func:`comparable` and :func:`percent`.
    """
    mine = comparable(prediction)
    return max((percent(mine, comparable(gold)) for gold in golds), default=0) / 100


def comparable(text: str) -> str:
    """What fuzzywuzzy 0.18.0 compares of a text (``_process_and_sort``, ``full_process``).

    The code points 128 to 255 are deleted (``force_ascii`` deletes no more than these), each other
    character that is no letter, digit or underscore becomes a space, the rest is lower-cased, and
    the tokens between spaces are sorted and joined by one space.
    """
    return " ".join(sorted(_NOT_WORD.sub(" ", text.translate(_LATIN_1)).lower().split()))


def percent(one: str, other: str) -> int:
    """Similarity of two texts from :func:`comparable`, in whole percent (``fuzz.ratio``).

    Equal texts have 100, even two empty ones; an empty text else has 0. Otherwise it is
    100 (1 - d / n), d the insertions and deletions that lead from one to the other and n their
    lengths together: ``Levenshtein.ratio``, which llm-jp-eval installs (difflib, without it, gives
    other values), rounded half to even as ``round`` does.
    """
    if one == other:
        return 100
    if not one or not other:
        return 0
    from rapidfuzz.distance import Indel

    return round(100 * (1 - Indel.distance(one, other) / (len(one) + len(other))))


def char_f1_pairs(predictions: Sequence[str], golds: Sequence[str]) -> list[float]:
    """:func:`char_f1` of each answer with the gold in its place."""
    import numpy as np
    from rapidfuzz import process
    from rapidfuzz.distance import Indel

    if len(predictions) != len(golds):
        raise ValueError(f"{len(predictions)} answers, {len(golds)} golds")
    if not golds:
        return []
    mine, theirs = [comparable(p) for p in predictions], [comparable(g) for g in golds]
    distances = process.cpdist(mine, theirs, scorer=Indel.distance, dtype=np.int64)
    totals = np.array([len(m) + len(t) for m, t in zip(mine, theirs, strict=True)])
    values: list[float] = (_percents(distances, totals) / 100).tolist()
    return values


def percent_table(ones: Sequence[str], others: Sequence[str]) -> npt.NDArray[np.float64]:
    """:func:`percent` of each text of ``ones`` (rows) with each of ``others`` (columns)."""
    import numpy as np
    from rapidfuzz import process
    from rapidfuzz.distance import Indel

    distances = process.cdist(ones, others, scorer=Indel.distance, dtype=np.int64)
    lengths = [np.array([len(text) for text in texts], np.int64) for texts in (ones, others)]
    return _percents(distances, lengths[0][:, None] + lengths[1][None, :])


def _percents(distances: Any, totals: Any) -> npt.NDArray[np.float64]:
    # The same operations as in `percent`, in the same order, so the same ties. Two empty texts
    # have no distance. (rint, like round, goes from a half to the even neighbour.)
    import numpy as np

    values: npt.NDArray[np.float64] = np.rint(100 * (1 - distances / np.maximum(totals, 1)))
    return values


@lru_cache(maxsize=8192)
def number(text: str) -> float:
    """The number in an answer; :data:`NO_NUMBER` where there is none.

    All but ``[0-9.]`` is dropped first, so "-3" is 3, "1 or 2" is 12, and "1.5.2" is none
    (``parse_float`` of llm-jp-eval, swallow-llm/swallow-evaluation:llm-jp-eval/src/llm_jp_eval/
    utils.py at c1479c3).
    """
    try:
        return float(_NOT_NUMERIC.sub("", text))
    except ValueError:
        return NO_NUMBER


def pearson(predictions: Sequence[str], golds: Sequence[str]) -> float:
    """Pearson's correlation of the numbers read from answers and golds.

    0 where it does not exist (llm-jp-eval turns NaN into 0): all answers alike, fewer than two.
    """
    return _correlation(_numbers(predictions), _numbers(golds))


def spearman(predictions: Sequence[str], golds: Sequence[str]) -> float:
    """Spearman's rank correlation, ties at their mean rank; 0 where it does not exist."""
    return _correlation(_ranks(_numbers(predictions)), _ranks(_numbers(golds)))


def _numbers(texts: Sequence[str]) -> npt.NDArray[np.float64]:
    import numpy as np

    return np.array([number(text) for text in texts], float)


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _correlation(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    import numpy as np

    if len(x) != len(y):
        raise ValueError(f"{len(x)} answers, {len(y)} golds")
    # Exactly equal values first: their mean may miss them by a hair, which would correlate.
    if len(x) < 2 or (x == x[0]).all() or (y == y[0]).all():
        return 0.0
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return 0.0  # four hundred digits in a row are an infinite number; scipy gives NaN
    # Scaled first, so that a huge number does not overflow when it is squared.
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(np.clip(float(x @ y) / norm, -1.0, 1.0)) if norm > 0 else 0.0


def set_f1(prediction: str, golds: Sequence[str]) -> float:
    """F1 of the set of lines in the answer and that in a gold, the best over the golds.

    Lines are stripped and empty ones dropped; two empty sets agree. Recall is over the lines of the
    gold (llm-jp-eval counted otherwise until its pull request 41).
    """
    mine = _lines(prediction)
    return max((_set_f1(mine, _lines(gold)) for gold in golds), default=0.0)


def _lines(text: str) -> set[str]:
    return {line.strip() for line in text.split("\n")} - {""}


def _set_f1(mine: set[str], theirs: set[str]) -> float:
    together = len(mine) + len(theirs)
    return 2 * len(mine & theirs) / together if together else 1.0


_LLM_JP = "llm-jp-eval (swallow-llm/swallow-evaluation:llm-jp-eval at c1479c3 and 78de0db)"
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(name="exact_match", form="generation", sample=exact_match, source=_LLM_JP),
        Metric(
            name="number_match",
            form="generation",
            sample=number_match,
            source="the last number, compared as a number",
        ),
        Metric(
            name="char_f1",
            form="generation",
            sample=char_f1,
            pairs=char_f1_pairs,
            source=f"{_LLM_JP}: fuzzywuzzy 0.18.0 token_sort_ratio on python-Levenshtein",
        ),
        Metric(
            name="set_f1", form="generation", sample=set_f1, source="llm-jp-eval, pull request 41"
        ),
        Metric(
            name="chrf",
            form="generation",
            sample=chrf,
            source="chrF2 of single sentences (Popovic 2015; sacrebleu's sentence_chrf / 100)",
        ),
        Metric(name="pearson", form="generation", corpus=pearson, lowest=-1.0, source=_LLM_JP),
        Metric(name="spearman", form="generation", corpus=spearman, lowest=-1.0, source=_LLM_JP),
        Metric(name="accuracy", form="ranked", sample=exact_match, source="likeliest choice"),
        Metric(
            name="accuracy_characters",
            form="ranked",
            sample=exact_match,
            source="likeliest choice per character (Gu et al. 2024, OLMES, arXiv 2406.08446)",
        ),
        Metric(
            name="accuracy_bytes",
            form="ranked",
            sample=exact_match,
            source="likeliest choice per UTF-8 byte (Gao 2021, EleutherAI's blog)",
        ),
        Metric(
            name="accuracy_pmi",
            form="ranked",
            sample=exact_match,
            source="choice that the question raises most (Holtzman et al. 2021, arXiv 2104.08315)",
        ),
        Metric(
            name="gold_bits_per_byte",
            form="gold",
            highest=float("inf"),
            higher_is_better=False,
            source="bits that the gold costs after the prompt, by its UTF-8 bytes",
        ),
        Metric(
            name="bits_per_byte",
            form="bits-per-byte",
            highest=float("inf"),
            higher_is_better=False,
            source="bits that a text costs, by its UTF-8 bytes",
        ),
    )
}
