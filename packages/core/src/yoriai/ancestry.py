"""The artifacts that an artifact was made from, nearest first, for whoever describes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoriai.artifact import MANIFEST, Artifact, open_artifact
from yoriai.errors import Altered, NotFound


@dataclass(frozen=True, slots=True)
class Ancestry:
    """An artifact first, then what it was made from; ``missing`` names what is not here."""

    artifacts: list[Artifact] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def of_kind(self, kind: str) -> list[Artifact]:
        return [one for one in self.artifacts if one.kind == kind]

    def in_order(self) -> list[Artifact]:
        """Every artifact after those that it was made from."""
        made = {one.digest: one for one in self.artifacts}
        found: dict[str, Artifact] = {}
        waiting = [(self.artifacts[0], False)]
        while waiting:
            one, parents_are_in = waiting.pop()
            if one.digest in found:
                continue
            if parents_are_in:
                found[one.digest] = one
                continue
            waiting.append((one, True))
            parents = [made[i["digest"]] for i in one.manifest["inputs"] if i["digest"] in made]
            waiting += [(parent, False) for parent in reversed(parents)]
        return list(found.values())

    def line(self) -> list[Artifact]:
        """The models that led to this one, the oldest first: the first model each was made of."""
        made = {one.digest: one for one in self.artifacts}
        found, here = [], self.artifacts[0]
        while True:
            found.append(here)
            parents = [made[i["digest"]] for i in here.manifest["inputs"] if i["digest"] in made]
            models = [parent for parent in parents if parent.kind == "model"]
            if not models:
                return found[::-1]
            here = models[0]


def ancestry(artifact: Artifact) -> Ancestry:
    """Walk from an artifact to what it was made from, each once, by breadth.

    Inputs are looked for where they stood when they were used; what is gone, or is another by
    now, is named and passed by.
    """
    found = Ancestry([artifact])
    seen = {artifact.digest}
    for here in found.artifacts:  # grows while it is walked
        folders = here.manifest["circumstances"].get("folders", [])
        for position, item in enumerate(here.manifest["inputs"]):
            if item["digest"] in seen:
                continue
            seen.add(item["digest"])
            parent = _opened(here, folders[position] if position < len(folders) else "", item)
            if parent is None:
                found.missing.append(str(item["name"]))
            else:
                found.artifacts.append(parent)
    return found


def _opened(child: Artifact, folder: str, item: dict[str, Any]) -> Artifact | None:
    if not folder:
        return None
    try:
        parent = open_artifact(child.path.resolve().parent / Path(folder).expanduser())
    except (NotFound, Altered, RuntimeError, ValueError, OSError):  # "~nobody", a zero byte
        return None
    return parent if parent.digest == item["digest"] else None


def beside(artifact: Artifact, kind: str) -> Iterable[Artifact]:
    """Artifacts of a kind in the same workspace that were made from this one, by name."""
    for place in sorted(artifact.path.resolve().parent.glob(f"*/{MANIFEST}")):
        try:
            other = open_artifact(place.parent)
        except (NotFound, Altered):
            continue
        made_from = {item["digest"] for item in other.manifest["inputs"]}
        if other.kind == kind and artifact.digest in made_from:
            yield other
