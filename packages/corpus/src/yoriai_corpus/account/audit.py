"""The bias audit: which kinds of text a corpus's rules drop more often than others.

For each group of documents and each rule: the share of the group that the rule dropped, the
same share of all other documents, and the ratio of the two with its 95 % interval
(:func:`yoriai_corpus.account.intervals.risk_ratio`). Shares are of everything that was read, so
those
of a rule late in the chain are small: documents that an earlier rule dropped it never saw.
A flag is a reason to read samples, no proof: with many rules and groups, some are chance.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoriai import Artifact, UsageError
from yoriai.intervals import wilson
from yoriai_corpus import tables
from yoriai_corpus.account import registers
from yoriai_corpus.account.intervals import risk_ratio

FLAG_ABOVE = 1.25
"""A rule is flagged when even the lower bound of the ratio is above this."""
ANY = "any rule"
Groups = Callable[[Mapping[str, Any]], Iterable[str]]


@dataclass(slots=True)
class OutcomeCounts:
    """Documents, and how many of them each rule dropped: in all, and in each group."""

    total: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    group_total: Counter[str] = field(default_factory=Counter)
    group_dropped: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, groups: Iterable[str], rule: str) -> None:
        """Count one document; ``rule`` is "" if it was kept."""
        names = (rule, ANY) if rule else ()
        self.total += 1
        self.dropped.update(names)
        for group in dict.fromkeys(groups):
            self.group_total[group] += 1
            self.group_dropped.setdefault(group, Counter()).update(names)


@dataclass(frozen=True, slots=True)
class AuditComparison:
    """What one rule dropped of one group and of the rest.

    ``ratio`` is None where the rest lost nothing; ``low`` and ``high`` are the bounds of its
    95 % interval, ``high`` infinite where the data set none.
    """

    group: str
    rule: str
    dropped: int
    of: int
    rest_dropped: int
    rest_of: int
    ratio: float | None
    low: float
    high: float
    flagged: bool

    @property
    def share(self) -> float:
        return self.dropped / self.of if self.of else 0.0

    @property
    def rest_share(self) -> float:
        return self.rest_dropped / self.rest_of if self.rest_of else 0.0

    def plain(self) -> dict[str, Any]:
        """All of it as JSON; an infinite bound is null."""
        low, high = wilson(self.dropped, self.of)
        return {
            "group": self.group,
            "rule": self.rule,
            "dropped": self.dropped,
            "of": self.of,
            "share": {"value": self.share, "low": low, "high": high},
            "rest_dropped": self.rest_dropped,
            "rest_of": self.rest_of,
            "rest_share": self.rest_share,
            "ratio": {
                "value": self.ratio,
                "low": self.low,
                "high": self.high if math.isfinite(self.high) else None,
            },
            "flagged": self.flagged,
        }


def compare(counts: OutcomeCounts) -> list[AuditComparison]:
    """Every group with every rule, the groups in order of name, rules by what they dropped."""
    rules = sorted(counts.dropped, key=lambda rule: (rule != ANY, -counts.dropped[rule], rule))
    found = []
    for group, total in sorted(counts.group_total.items()):
        for rule in rules:
            dropped = counts.group_dropped[group][rule]
            rest, rest_total = counts.dropped[rule] - dropped, counts.total - total
            low, high = risk_ratio(dropped, total, rest, rest_total)
            ratio = dropped / total * rest_total / rest if rest and total else None
            found.append(
                AuditComparison(
                    group,
                    rule,
                    dropped,
                    total,
                    rest,
                    rest_total,
                    ratio,
                    low,
                    high,
                    low > FLAG_ABOVE,
                )
            )
    return found


def by_register(row: Mapping[str, Any]) -> list[str]:
    """The groups that :mod:`yoriai_corpus.account.registers` finds."""
    return registers.detect(row["text"])


def read_groups(path: Path) -> Groups:
    """Groups from JSON Lines: ``{"id": "SOURCE/ID" or "ID", "group": "a" or ["a", "b"]}``.

    Documents the file does not name belong to no group. Raises :class:`UsageError` naming
    the line that cannot be used.
    """
    known: dict[str, list[str]] = {}
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    _note_groups(known, f"{path}:{number}", line)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    if not known:
        raise UsageError(f"{path} names no group", hint='{"id": "SOURCE/ID", "group": "law"}')

    def groups(row: Mapping[str, Any]) -> list[str]:
        whole = known.get(f"{row['source']}/{row['id']}")
        return whole if whole is not None else known.get(row["id"], [])

    return groups


def _note_groups(known: dict[str, list[str]], place: str, line: bytes) -> None:
    try:
        row = json.loads(line)
        names = [row["group"]] if isinstance(row["group"], str) else list(row["group"])
        key = row["id"]
        if not isinstance(key, str) or not all(isinstance(name, str) for name in names):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f'{place}: needs "id" and "group"', hint='{"id": "SOURCE/ID", "group": "law"}'
        ) from error
    known.setdefault(key, []).extend(names)


def count(corpus: Artifact, groups: Groups, languages: Callable[[str], bool]) -> OutcomeCounts:
    """Go through all kept, held-out and dropped documents of the languages asked for."""
    counts = OutcomeCounts()
    for table in ("documents", "heldout", "dropped"):
        columns = ["source", "id", "text", "language"] + ["rule"] * (table == "dropped")
        for row in tables.read_rows(paths_of(corpus, table), columns):
            if languages(row["language"]):
                counts.add(groups(row), row.get("rule", ""))
    return counts


def paths_of(corpus: Artifact, table: str) -> list[Path]:
    """The files of a table; none if the corpus has no such table."""
    if not any(name.startswith(f"{table}/") for name in corpus.manifest["files"]):
        return []
    return corpus.files_under(table)
