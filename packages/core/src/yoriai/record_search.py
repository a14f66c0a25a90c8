"""Finding records: by words, by configuration, by how they follow one another.

Before a run starts, the records of runs that were configured nearly like it are worth more than
any search by words: what failed there may fail here. Nothing is asked of a network.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoriai.record import Filed
from yoriai.record_history import quick_yaml

NEAR = 0.35
MAX_RUN_MB = 4
# What says nothing about how a run was configured.
_APART = ("name", "version", "question", "licence", "seed")


@dataclass(frozen=True, slots=True)
class NearRecord:
    """A past record, how like it is (0 to 1), and what became of it."""

    id: str
    title: str
    likeness: float
    execution: str
    verdict: str
    causes: tuple[str, ...]
    symptom: str
    folder: str


def settings_of(resolved: Mapping[str, Any]) -> set[tuple[str, str]]:
    """A resolved recipe as a set of keys and values; each step's keys below what it uses."""
    found: set[tuple[str, str]] = set()
    steps = resolved.get("steps")
    for step in steps.values() if isinstance(steps, Mapping) else ():
        if isinstance(step, Mapping):
            uses = str(step.get("uses", ""))
            found.add(("uses", uses))
            body = {key: item for key, item in step.items() if key not in ("uses", "from")}
            found |= {(f"{uses}.{key}", value) for key, value in _flat(body)}
    rest = {k: v for k, v in resolved.items() if k not in (*_APART, "steps")}
    return found | set(_flat(rest))


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _flat(item, place + "[]")
    elif value not in (None, "", 0, False):
        yield place, str(value)[:80]


def list_near(root: Path, resolved: Mapping[str, Any], at_most: int = 5) -> list[NearRecord]:
    """Past records whose runs were configured nearly like this, the nearest first.

    Likeness is the share of settings in common (Jaccard). A record without run files is read by
    the recipe that its plan names, if that lies in the repository.
    """
    mine = settings_of(resolved)
    found = []
    for path in sorted(root.glob("*/record.yaml")) if root.is_dir() else ():
        theirs = [settings_of(value) for value in _configurations(path.parent)]
        likeness = max((_share(mine, other) for other in theirs), default=0.0)
        if likeness >= NEAR:
            found.append(_near(path, round(likeness, 3)))
    return sorted(found, key=lambda one: (-one.likeness, one.id))[:at_most]


def _share(one: set[tuple[str, str]], other: set[tuple[str, str]]) -> float:
    return len(one & other) / len(one | other) if one and other else 0.0


def _configurations(folder: Path) -> Iterator[Mapping[str, Any]]:
    for path in sorted((folder / "runs").glob("*.json")):
        try:
            if path.stat().st_size < MAX_RUN_MB * 2**20:
                value = json.loads(path.read_bytes())["resolved"]
                if isinstance(value, dict):
                    yield value
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # `yoriai records check` names it; a launch is not the place


def _near(path: Path, likeness: float) -> NearRecord:
    value = quick_yaml(path.read_bytes())
    title = value.get("title")
    listed = value.get("failures")
    failures = [f for f in listed if isinstance(f, dict)] if isinstance(listed, list) else []
    return NearRecord(
        id=path.parent.name[:4],
        title=str(next(iter(title.values()), "")) if isinstance(title, dict) else "",
        likeness=likeness,
        execution=str(value.get("execution") or ""),
        verdict=str(value.get("verdict") or ""),
        causes=tuple(str(f.get("cause", "")) for f in failures),
        symptom=str(failures[0].get("symptom", ""))[:160] if failures else "",
        folder=path.parent.name,
    )


def tell_near(found: Sequence[NearRecord]) -> list[str]:
    """Lines for the terminal: how many are near, how many failed, and why."""
    if not found:
        return []
    bad = [one for one in found if one.causes or one.verdict == "refuted"]
    lines = [f"{len(found)} near records, {len(bad)} failed or refuted:"]
    for one in found:
        ended = one.verdict or one.execution or "open"
        why = f": {', '.join(one.causes)}: {one.symptom}" if one.causes else f": {one.title}"
        text = f"  {one.id} {ended} ({one.likeness:.0%} alike){why}"
        lines.append("".join(c if c.isprintable() else "?" for c in text))
    return [*lines, f"  yoriai records show {found[0].id}"]


# --- by words -----------------------------------------------------------------------------


def search(filed: Sequence[Filed], text: str) -> list[tuple[float, Filed]]:
    """Records that hold every word, the densest first; story and keys alike."""
    words = [_plain(word) for word in text.split()]
    found = []
    for one in filed:
        story = one.folder / "README.md"
        body = story.read_text(encoding="utf-8", errors="replace") if story.is_file() else ""
        head = _plain(json.dumps(one.record.model_dump(mode="json"), ensure_ascii=False))
        body = _plain(body)
        if words and all(word in head or word in body for word in words):
            found.append((sum(3.0 * head.count(w) + body.count(w) for w in words), one))
    return sorted(found, key=lambda row: (-row[0], row[1].record.id))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


# --- two records, and what led to one -----------------------------------------------------


def differences(one: Filed, other: Filed) -> list[tuple[str, Any, Any]]:
    """Keys that differ: of the records, and of the configuration of their first runs."""
    rows = []
    left, right = (_whole(filed) for filed in (one, other))
    for key in [*left, *(k for k in right if k not in left)]:
        if left.get(key) != right.get(key):
            rows.append((key, left.get(key), right.get(key)))
    return rows


def _whole(filed: Filed) -> dict[str, str]:
    value = filed.record.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    told = _joined(_flat({k: v for k, v in value.items() if k not in ("id", "title")}))
    first = next(_configurations(filed.folder), {})
    return told | {f"run: {k}": v for k, v in _joined(sorted(settings_of(first))).items()}


def _joined(rows: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in rows:
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def lineage(filed: Sequence[Filed], number: str) -> list[tuple[str, str, str]]:
    """Everything that leads to a record or from it: record, how, other record."""
    edges = [
        (one.record.id, how, other)
        for one in filed
        for how, numbers in one.record.references().items()
        for other in numbers
    ]
    seen, todo = {number}, [number]
    while todo:
        here = todo.pop()
        for one, _, other in edges:
            for near, far in ((one, other), (other, one)):
                if near == here and far not in seen:
                    seen.add(far)
                    todo.append(far)
    return [edge for edge in edges if edge[0] in seen]
