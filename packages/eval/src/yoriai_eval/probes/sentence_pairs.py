"""Pairs of sentences that differ in the group they speak of, and where they come from.

``ja`` is the project's own set (``tasks/data/bias-pairs-ja.jsonl``); ``crows-pairs-ja`` the gender
part of CrowS-Pairs in Japanese, fetched as the registry says; anything else is a file of JSON lines
in the form of the first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoriai import NotFound, UsageError
from yoriai_eval.sets import store
from yoriai_eval.tasks.own import DATA

OWN = "ja"
CROWS = "crows-pairs-ja"
CROWS_FILE = "translated_data/japanese.json"
OWN_FILE = DATA / "bias-pairs-ja.jsonl"


@dataclass(frozen=True, slots=True)
class SentencePair:
    """Two sentences; ``more`` says what the stereotype says, ``less`` says it of another group.

    ``words`` are those that differ, in the same order; ``group`` is whom the stereotype is about;
    ``direction`` is ``stereo`` or ``antistereo`` where the set says which of the two was written
    first (CrowS-Pairs).
    """

    id: str
    category: str
    more: str
    less: str
    words: tuple[str, str]
    group: str = ""
    direction: str = ""


def read_pairs(name: str) -> list[SentencePair]:
    """All pairs of a set, in its order.

    Raises :class:`yoriai.NotFound` where it is not here, and :class:`yoriai.UsageError` with the
    line that is no pair.
    """
    if name == CROWS:
        return list(_crows(store.read(CROWS, CROWS_FILE)))
    place = OWN_FILE if name == OWN else Path(name).expanduser()
    try:
        lines = place.read_bytes().split(b"\n")
    except OSError as error:
        raise NotFound(
            f"{name} cannot be read: {error.strerror}",
            hint=f"sets are {OWN}, {CROWS}, or a file of JSON lines",
        ) from error
    found = [_of_line(line, place.name, n) for n, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise UsageError(f"{place.name} holds no pair")
    seen: set[str] = set()
    for pair in found:
        if pair.id in seen:
            raise UsageError(f"{place.name}: two pairs are called {pair.id}")
        seen.add(pair.id)
    return found


def missing(name: str) -> str:
    """Why a set cannot be read, with the remedy; empty if it can. Downloads nothing."""
    if name == CROWS:
        state = store.look(CROWS, CROWS_FILE)
        if state.state in ("ok", "unverified"):
            return ""
        told = store.complaint(state)
        return f"{told.message}; {told.hint}"
    if name == OWN or Path(name).expanduser().is_file():
        return ""
    return f"sets: there is no file {name}; sets are {OWN}, {CROWS}, or a file of JSON lines"


def different(more: str, less: str) -> tuple[str, str]:
    """What is left of two texts without the beginning and the end that they share.

    Where nothing is left of one (彼 and 彼女), the character before it, or else after it, is taken
    as well: nothing is no word whose likelihood could be compared.
    """
    start = 0
    while start < min(len(more), len(less)) and more[start] == less[start]:
        start += 1
    end = 0
    while end < min(len(more), len(less)) - start and more[-1 - end] == less[-1 - end]:
        end += 1
    if start + end == min(len(more), len(less)):
        if start:
            start -= 1
        else:
            end = max(0, end - 1)
    return more[start : len(more) - end], less[start : len(less) - end]


def _of_line(line: bytes, file: str, number: int) -> SentencePair:
    try:
        row = json.loads(line)
        more, less = row["more"], row["less"]
        words = row.get("words") or different(more, less)
        pair = SentencePair(
            id=str(row.get("id", number)),
            category=row["category"],
            more=more,
            less=less,
            words=(words[0], words[1]),
            group=row.get("group", ""),
            direction=row.get("direction", ""),
        )
        texts = (pair.category, more, less, *pair.words, pair.group, pair.direction)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("all of it is text")
        if not (more.strip() and less.strip()) or more == less:
            raise ValueError("'more' and 'less' are two sentences")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"line {number} of {file} is no pair: {type(error).__name__} {error}",
            hint='{"id": "1", "category": "age", "more": "…", "less": "…"}',
        ) from error
    return pair


def _crows(content: bytes) -> Iterator[SentencePair]:
    rows: list[dict[str, Any]] = json.loads(content)
    for number, row in enumerate(rows):
        more, less = row["stereotype"], row["anti-stereotype"]
        yield SentencePair(
            id=str(number),
            category=row["bias_type"],
            more=more,
            less=less,
            words=different(more, less),
            direction=row["direction"],
        )
