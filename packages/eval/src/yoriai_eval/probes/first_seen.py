"""Where in its training a model first saw a document, by the hops of ``yoriai explain``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yoriai import Measured, ProbeInputs
from yoriai.explaining import Point, hops_at

PARTS = 4  # of the training, equally many steps each


@dataclass(frozen=True, slots=True)
class FirstSeen:
    """``step`` is None where no step saw it; ``of`` is how many steps there were."""

    step: int | None
    of: int

    @property
    def part(self) -> str:
        if self.step is None:
            return "in no step"
        return f"in part {min(PARTS, 1 + PARTS * self.step // max(1, self.of))} of {PARTS}"


def first_seen(given: ProbeInputs, names: Sequence[str]) -> tuple[dict[str, FirstSeen], str]:
    """Of documents (``source/id``) the first step that saw them, and a note on what is not known.

    Of several trainings the first that saw a document counts.
    """
    artifact = given.the_model().artifact
    if not names:
        return {}, ""
    if artifact is None:
        return {}, "the model is a folder from elsewhere: nobody knows which step saw what"
    found: dict[str, FirstSeen] = {}
    why = ""
    point = Point(kind="documents", artifact=artifact, names=list(dict.fromkeys(names)))
    for hop in hops_at(point, given.registry):
        name = str(hop.facts.get("name", ""))
        if hop.state == "broken" or "steps" not in hop.facts:
            why = why or hop.by
        elif name not in found or found[name].step is None:
            steps = hop.facts["steps"]
            found[name] = FirstSeen(min(steps) if steps else None, int(hop.facts["of"]))
    missing = sum(name not in found for name in dict.fromkeys(names))
    return found, f"of {missing} documents the first step is not known: {why}" if missing else ""


def by_first_step(
    right: Mapping[str, bool], seen: Mapping[str, FirstSeen], what: str
) -> list[Measured]:
    """The share of documents that are ``right``, by the part of training that first saw them."""
    parts: dict[str, list[bool]] = {}
    for name, value in right.items():
        if name in seen:
            parts.setdefault(seen[name].part, []).append(value)
    return [
        Measured.share(f"{what}, first seen {part}", sum(values), len(values))
        for part, values in sorted(parts.items())
    ]
