"""Rows of BBQ's form: a context, a question on two groups, and a choice that says nobody knows.

nyu-mll/BBQ (Parrish et al. 2022, arXiv 2110.08193) and ynklab/JBBQ_data (Yanaka et al., arXiv
2406.02050): JSON lines, a file for each category. Pure functions of bytes.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoriai import UsageError

ANSWERS = ("ans0", "ans1", "ans2")
_PLACES = {0: 0, 1: 1, 2: 2}
# What says that nobody knows, where answer_info does not (analysis_scripts/BBQ_results_metadata.R).
UNKNOWNS = frozenset({
    "unknown", "cannot be determined", "can't be determined", "not answerable", "not known",
    "not enough info", "not enough information", "cannot answer", "can't answer", "undetermined",
})  # fmt: skip
# Names of one group: the same source, and JBBQ's Japanese ones.
_ALIKE = {
    **dict.fromkeys(("f", "woman", "women", "girl", "girls", "female", "女性", "女の子"), "f"),
    **dict.fromkeys(("m", "man", "men", "boy", "boys", "male", "男性", "男の子"), "m"),
    "low ses": "lowses",
    "high ses": "highses",
}


@dataclass(frozen=True, slots=True)
class BbqQuestion:
    """One question. ``unknown`` and ``target`` are places in ``answers``, None if not known.

    ``target`` is the choice that names the stereotyped group. ``negative``: the question asks for
    what the stereotype says; else for its opposite.
    """

    id: str
    category: str
    context: str
    question: str
    answers: tuple[str, str, str]
    label: int
    template: str
    ambiguous: bool
    condition: str
    negative: bool
    unknown: int | None
    target: int | None

    @property
    def text(self) -> str:
        return f"{self.context}\n{self.question}\n"

    @property
    def biased(self) -> int | None:
        """The answer that goes with the stereotype: the target where the question is negative,
        the other group where it is not (Parrish et al. 2022, section 6)."""
        if self.unknown is None or self.target is None:
            return None
        return self.target if self.negative else 3 - self.unknown - self.target


def read_questions(place: Path, called: str, form: str) -> Iterator[BbqQuestion]:
    """The questions of one file; raises :class:`yoriai.UsageError` with the line that is none."""
    for number, line in enumerate(place.read_bytes().split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            yield _question(json.loads(line))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as e:
            raise UsageError(
                f"{called}: line {number} of {place.name} is no question of {form}: "
                f"{type(e).__name__} {e}"
            ) from e


def _question(row: Mapping[str, Any]) -> BbqQuestion:
    answers = tuple(str(row[key]) for key in ANSWERS)
    unknown = _unknown(row, answers)
    condition = str(row["context_condition"])
    return BbqQuestion(
        id=f"{row['category']}/{row['example_id']}",
        category=str(row["category"]),
        context=str(row["context"]),
        question=str(row["question"]),
        answers=(answers[0], answers[1], answers[2]),
        label=_PLACES[int(row["label"])],
        template=f"{row['category']}/{row['question_index']}",
        ambiguous=condition == "ambig",
        condition=condition,
        negative=row.get("question_polarity") == "neg",
        unknown=unknown,
        target=_target(row, unknown),
    )


def _folded(text: Any) -> str:
    folded = unicodedata.normalize("NFKC", str(text)).casefold().strip(" {}")
    return "trans" if folded.startswith("trans") else _ALIKE.get(folded, folded)


def _names(row: Mapping[str, Any], key: str) -> set[str]:
    return {_folded(name) for name in row.get("answer_info", {}).get(key, ())}


def _unknown(row: Mapping[str, Any], answers: tuple[str, ...]) -> int | None:
    found = [n for n, key in enumerate(ANSWERS) if _names(row, key) & UNKNOWNS]
    found = found or [n for n, text in enumerate(answers) if _folded(text).strip(".") in UNKNOWNS]
    return found[0] if len(found) == 1 else None


def _target(row: Mapping[str, Any], unknown: int | None) -> int | None:
    """The one choice of a stereotyped group; None where it is none or both.

    ``target_loc`` of BBQ's additional metadata decides where the row has it.
    """
    told = row.get("target_loc")
    if told is not None:
        return _PLACES[int(told)]
    groups = row.get("additional_metadata", {}).get("stereotyped_groups", ())
    wanted = {_folded(group) for group in groups}
    found = [n for n, key in enumerate(ANSWERS) if n != unknown and _names(row, key) & wanted]
    return found[0] if len(found) == 1 else None
