"""How well rules agree with people: precision and recall on labelled documents.

The measure is LLM-jp's (``llm-jp-corpus:scripts/evaluate_filtering.py``, 500 pages of mC4
labelled acceptable, harmful or low quality): what should have been dropped is what is looked
for. Theirs scored a whole filter once; here every rule is scored, with its uncertainty.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoriai import Document, Filter, Unreadable, UsageError, YoriaiError
from yoriai.intervals import wilson
from yoriai_corpus.account.intervals import f1
from yoriai_corpus.rules.judging import judge_each

# Whether a label says "drop". The numbers are those of LLM-jp's benchmark.
LABELS = {
    "keep": False, "acceptable": False, "0": False,
    "drop": True, "harmful": True, "1": True,
    "low-quality": True, "low_quality": True, "low quality": True, "2": True,
}  # fmt: skip
ALL = "all rules"
_BATCH = 256


@dataclass(frozen=True, slots=True)
class Labelled:
    """A document and what people said of it."""

    document: Document
    label: str
    drop: bool


def read_labels(
    path: Path,
    *,
    text_field: str = "text",
    label_field: str = "",
    keep: Collection[str] = (),
    language: str = "",
) -> tuple[list[Labelled], list[Unreadable]]:
    """The rows of a JSON Lines file (.gz too), and those that cannot be used.

    Keys: ``text``; ``label`` (or ``meta.label``, as LLM-jp's), one of :data:`LABELS`, or,
    with ``keep``, any word: those in ``keep`` say keep, all others drop; and, if there,
    ``id``, ``lang`` or ``language``, ``url``. ``language`` is for rows that do not say.
    """
    found: list[Labelled] = []
    unusable: list[Unreadable] = []
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if not line.strip():
                    continue
                row = _row(f"{path.name}:{number}", line, text_field, label_field, keep, language)
                (found if isinstance(row, Labelled) else unusable).append(row)  # type: ignore[arg-type]
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}:{number + 1}: cannot be read: {error}") from error
    if not found:
        first = f"; the first row: {unusable[0].reason}" if unusable else ""
        raise UsageError(
            f"{path} has no labelled document{first}",
            hint='rows are like {"text": "…", "label": "keep"} or "drop"; see --help',
        )
    return found, unusable


def _row(
    place: str,
    line: bytes,
    text_field: str,
    label_field: str,
    keep: Collection[str],
    language: str,
) -> Labelled | Unreadable:
    def unusable(reason: str) -> Unreadable:
        return Unreadable("labels", place, reason)

    try:
        row: Any = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        return unusable(f"not JSON: {type(error).__name__}")
    text = row.get(text_field) if isinstance(row, dict) else None
    if not isinstance(text, str):
        return unusable(f"no text under {text_field!r}")
    meta = row.get("meta")
    places = [row] if label_field or not isinstance(meta, dict) else [row, meta]
    values = [
        place_[label_field or "label"] for place_ in places if (label_field or "label") in place_
    ]
    if not values:
        return unusable(f"no label under {label_field or 'label'!r}")
    label = str(values[0])
    if keep:
        drop = label not in keep
    elif label.lower() in LABELS:
        drop = LABELS[label.lower()]
    else:
        return unusable(f"{label[:40]!r} is no known label")
    if _surrogate(text):
        return unusable("holds half of a surrogate pair")

    def given(*keys: str) -> str:
        return next((row[key] for key in keys if isinstance(row.get(key), str) and row[key]), "")

    id_ = row.get("id")
    named = isinstance(id_, (str, int)) and not isinstance(id_, bool) and id_ != ""
    document = Document(
        "labels",
        str(id_) if named else place,
        text,
        given("lang", "language") or language,
        given("url"),
    )
    return Labelled(document, label, drop)


def _surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


@dataclass(slots=True)
class Score:
    """The counts for one rule, or for all together (:data:`ALL`).

    ``true``: dropped, rightly; ``false``: dropped, wrongly; ``missed``: kept, wrongly.
    ``alone_true`` and ``alone_false`` count what no other rule drops: what leaving the rule
    out would cost, and save. ``by_label`` has (dropped, of) for each label.
    """

    rule: str
    version: str
    asked: int = 0
    true: int = 0
    false: int = 0
    missed: int = 0
    alone_true: int = 0
    alone_false: int = 0
    by_label: dict[str, list[int]] = field(default_factory=dict)
    wrongly: list[str] = field(default_factory=list)

    def count(self, row: Labelled, dropped: bool, alone: bool) -> None:
        cell = self.by_label.setdefault(row.label, [0, 0])
        cell[1] += 1
        cell[0] += dropped
        self.true += dropped and row.drop
        self.false += dropped and not row.drop
        self.missed += row.drop and not dropped
        self.alone_true += alone and row.drop
        self.alone_false += alone and not row.drop
        if dropped and not row.drop:
            self.wrongly.append(row.document.id)

    def measures(self) -> dict[str, dict[str, float | None]]:
        """``precision``, ``recall`` and ``f1``: value and 95 % interval.

        The value is None where nothing was dropped (precision), or should have been (recall).
        """
        dropped, due = self.true + self.false, self.true + self.missed
        parts = {
            "precision": (self.true, dropped, wilson(self.true, dropped)),
            "recall": (self.true, due, wilson(self.true, due)),
            "f1": (2 * self.true, dropped + due, f1(self.true, self.false, self.missed)),
        }
        return {
            name: {"value": part / whole if whole else None, "low": low, "high": high}
            for name, (part, whole, (low, high)) in parts.items()
        }

    def plain(self) -> dict[str, Any]:
        """All of it as JSON."""
        return {
            "rule": self.rule,
            "version": self.version,
            "asked": self.asked,
            "dropped_rightly": self.true,
            "dropped_wrongly": self.false,
            "missed": self.missed,
            "alone_rightly": self.alone_true,
            "alone_wrongly": self.alone_false,
            **self.measures(),
            "by_label": {
                label: {"dropped": dropped, "of": of}
                for label, (dropped, of) in sorted(self.by_label.items())
            },
            "wrongly": self.wrongly,
        }


def score(labelled: Sequence[Labelled], rules: Sequence[Filter]) -> list[Score]:
    """One :class:`Score` a rule, in order, and last the one for all of them.

    Every rule judges every document, as edited by the rules before it, whether or not
    another rule drops it. Raises :class:`YoriaiError` if a rule fails.
    """
    scores: list[Score] = []
    whole = Score(ALL, "")
    for start in range(0, len(labelled), _BATCH):
        part = labelled[start : start + _BATCH]
        table: list[list[bool]] = []
        for position, judgement in enumerate(judge_each([row.document for row in part], rules)):
            rule = judgement.rule
            if judgement.failure:
                raise YoriaiError(
                    f"{rule.entry} failed: {judgement.failure}", hint="leave the rule out"
                )
            if position == len(scores):
                scores.append(Score(rule.entry or type(rule).__name__, rule.version))
            scores[position].asked += sum(v is not None for v in judgement.verdicts)
            table.append([v is not None and v.action == "drop" for v in judgement.verdicts])
        for index, row in enumerate(part):
            drops = [answers[index] for answers in table]
            for counted, dropped in zip(scores, drops, strict=True):
                counted.count(row, dropped, dropped and sum(drops) == 1)
            whole.count(row, any(drops), False)
    whole.asked = len(labelled)
    return [*scores, whole]
