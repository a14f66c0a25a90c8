"""Predictions: what was expected of a number, and whether it came so.

A prediction's verdict is never taken on trust: it follows from its text (or from ``relation``
and ``limit``) and the value that was measured, and ``yoriai records check`` works it out again.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

RELATIONS = ("<", "<=", ">", ">=", "=", "between")
_NUMBER = r"([-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?)"
_WORDS = {
    "less than": "<", "below": "<", "under": "<", "fewer than": "<", "at most": "<=",
    "no more than": "<=", "more than": ">", "above": ">", "over": ">", "at least": ">=",
    "no less than": ">=", "exactly": "=",
}  # fmt: skip
_SIGNS = {"<=": "<=", ">=": ">=", "≤": "<=", "≥": ">=", "<": "<", ">": ">", "=": "=", "==": "="}
_TAIL = re.compile(
    rf"(?:(?P<sign><=|>=|==|[<>=≤≥])|\b(?P<word>{'|'.join(_WORDS)}))\s*{_NUMBER}\s*\S{{0,12}}$"
)
_BETWEEN = re.compile(rf"\bbetween\s+{_NUMBER}\s+and\s+{_NUMBER}\s*\S{{0,12}}$")

Limit = float | tuple[float, float]


def relation_of(text: str) -> tuple[str, Limit] | None:
    """The relation and number a text ends in (``… at most 1.00``), or ``None``."""
    text = text.strip().rstrip(".。")
    if found := _BETWEEN.search(text):
        low, high = (float(part.replace(",", "")) for part in found.groups())
        return "between", (low, high)
    if found := _TAIL.search(text):
        sign = _SIGNS[found["sign"]] if found["sign"] else _WORDS[found["word"]]
        return sign, float(found[3].replace(",", ""))
    return None


def holds(measured: float, relation: str, limit: Limit) -> bool:
    """Whether the measured value stands in that relation to the limit."""
    if isinstance(limit, (tuple, list)):
        return limit[0] <= measured <= limit[1]
    return {
        "<": measured < limit,
        "<=": measured <= limit,
        ">": measured > limit,
        ">=": measured >= limit,
        "=": measured == limit,
    }[relation]


def verdict_of(measured: float | None, relation: str, limit: Limit | None) -> str:
    """``held``, ``failed`` or ``not-measured``."""
    if measured is None or limit is None:
        return "not-measured"
    return "held" if holds(measured, relation, limit) else "failed"


def overall(verdicts: Iterable[str]) -> str:
    """A record's verdict from those of its predictions."""
    found = set(verdicts)
    if not found:
        return "not-tested"
    if "failed" in found:
        return "refuted"
    return "inconclusive" if "not-measured" in found else "supported"


def judge(resolved: Mapping[str, Any], facts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Compare a recipe's predictions with the facts its artifacts hold."""
    rows: list[dict[str, Any]] = []
    for prediction in (resolved.get("question") or {}).get("predictions", []):
        measured = find_fact(facts, prediction["fact"])
        other = prediction.get("than") or ""
        if other:
            relation, limit = "<", find_fact(facts, other)
            text = f"{prediction['fact']} < {other}"
        else:
            relation = "<" if prediction.get("below") is not None else ">"
            limit = prediction["below"] if relation == "<" else prediction["above"]
            text = f"{prediction['fact']} {relation} {limit}"
        row = {"text": text, "measured": measured, "relation": relation, "limit": limit}
        rows.append({**row, "verdict": verdict_of(measured, relation, limit)})
    return {"predictions": rows, "verdict": overall(row["verdict"] for row in rows)}


def find_fact(facts: Mapping[str, Any], place: str) -> float | None:
    """``scores.base.bits_per_byte.ja`` in nested facts; ``None`` if it is no finite number.

    ``scores.base`` is short for ``scores.models.base``.
    """
    value: Any = facts
    for key in place.split("."):
        if isinstance(value, Mapping) and key not in value and "models" in value:
            value = value["models"]
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def nearest_fact(fact: str, known: Sequence[str]) -> str | None:
    """``None`` if a fact is among the known ones, else the nearest of these ("" if none is near).

    ``known`` holds names as ``tokens.*``: ``*`` is one name, ``**`` at the end all that follows.
    As in :func:`find_fact`, ``base`` is short for ``models.base``.
    """
    names = fact.split(".")
    patterns = [pattern.split(".") for pattern in known]
    patterns += [parts[1:] for parts in patterns if parts[0] == "models"]
    if any(_fits(names, parts) for parts in patterns):
        return None
    filled = dict.fromkeys(".".join(_filled(names, parts)) for parts in patterns)
    return next(iter(difflib.get_close_matches(fact[:300], list(filled), 1, 0.5)), "")


def _fits(names: Sequence[str], parts: Sequence[str]) -> bool:
    if parts[-1] == "**":
        parts, names = parts[:-1], (names[: len(parts) - 1] if len(names) >= len(parts) else ())
    pairs = zip(names, parts, strict=False)
    return len(names) == len(parts) and all(part in ("*", name) and name for name, part in pairs)


def _filled(names: Sequence[str], parts: Sequence[str]) -> list[str]:
    """The pattern with what was asked for where it leaves names open."""
    if parts[-1] == "**":
        return _filled(names, parts[:-1]) + list(names[len(parts) - 1 :] or ["…"])
    asked = dict(enumerate(names))
    return [asked.get(n, "…") if part == "*" else part for n, part in enumerate(parts)]
