"""Which steps of which trainings saw a document, asked of whatever plugin trained the models.

Only names are compared (``source/id``): whether a model was trained on the very corpus that is
searched, is told by the digests of both lines, and said where it was another.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from yoriai import Artifact
from yoriai.explaining import Point, State, corpora_of, hops_at
from yoriai.registry import Registry

SHOWN = 50  # steps of a document that are named; of more, how many there are is said
MOST_DOCUMENTS = 200  # that are asked for at once


@dataclass(frozen=True, slots=True)
class SeenBy:
    """The steps of a model's training that saw a document: the first of them, and how many.

    ``model`` is the one asked for, or one that it was trained on from. ``state`` and ``by`` are
    those of :class:`yoriai.explaining.Hop`; ``count`` is None where nobody knows,
    and ``by`` says why. ``tokens`` are those of the document in the shards of that training, None
    where nobody says.
    """

    model: str
    steps: Sequence[int]
    count: int | None
    of: int | None
    state: State
    by: str
    tokens: int | None = None

    def plain(self) -> dict[str, Any]:
        return asdict(self)


class Trainings:
    """Models whose trainings are asked; from one thread at a time, whoever calls."""

    def __init__(
        self,
        models: Sequence[Artifact],
        indexes: Sequence[Artifact],
        registry: Registry | None,
    ) -> None:
        """``registry`` may be None where there are no models."""
        self._models, self._registry = tuple(models), registry
        self._lock = threading.Lock()
        searched = set().union(*map(_corpora, indexes))
        self.notes = [
            f"{model.name} was not trained on a corpus of this index, as far as its line is here:"
            " documents are compared by name"
            for model in models
            if not searched & corpora_of(model)
        ]

    def __bool__(self) -> bool:
        return bool(self._models)

    def saw(self, documents: Iterable[tuple[str, str]]) -> dict[str, list[SeenBy]]:
        """By ``source/id``, what each model saw of documents; they are given with their states.

        What was not kept was never trained on, and is not asked for; nor is what comes after
        :data:`MOST_DOCUMENTS` others, which is said.
        """
        states = dict(documents)
        kept = [name for name, state in states.items() if state == "kept"]
        asked, found = kept[:MOST_DOCUMENTS], {}
        told = [self._ask(model, asked) for model in self._models] if asked else []
        for name, state in states.items():
            if state != "kept":
                by = f"it was {state}, and what was not kept is not trained on"
                found[name] = [SeenBy(m.name, [], 0, None, "checked", by) for m in self._models]
            elif name in asked:
                found[name] = [seen for of_model in told for seen in of_model[name]]
            else:
                by = f"not asked: {MOST_DOCUMENTS} other documents were"
                found[name] = [
                    SeenBy(m.name, [], None, None, "unchecked", by) for m in self._models
                ]
        return found

    def _ask(self, model: Artifact, names: Sequence[str]) -> dict[str, list[SeenBy]]:
        assert self._registry is not None
        point = Point(kind="documents", artifact=model, names=names)
        with self._lock:  # a plugin that is asked has the standard streams to itself
            hops = list(hops_at(point, self._registry))
        found: dict[str, list[SeenBy]] = {name: [] for name in names}
        why = "no plugin answered for it"
        for hop in hops:
            of_name = found.get(hop.facts.get("name", ""))
            if of_name is None:
                why = hop.by
                continue
            steps = hop.facts.get("steps")
            count = None if steps is None else len(steps)
            of_name.append(SeenBy(
                hop.facts.get("model", model.name), list(steps or ())[:SHOWN], count,
                hop.facts.get("of"), hop.state, hop.by, hop.facts.get("tokens"),
            ))  # fmt: skip
        nobody = [SeenBy(model.name, [], None, None, "broken", why)]
        return {name: seen or nobody for name, seen in found.items()}


def _corpora(artifact: Artifact) -> set[str]:
    return {artifact.digest} if artifact.kind == "corpus" else corpora_of(artifact)


def in_words(seen: SeenBy, *, steps: int = 8) -> str:
    """``base@1: 7 of 480 steps (65, 69, …), 53 tokens``, or why nobody knows."""
    if seen.count is None or (not seen.count and seen.of is None):
        return f"{seen.model}: {seen.by}"
    of = f"{seen.count:,} of {seen.of:,} steps"
    named = ", ".join(map(str, seen.steps[:steps])) + (" …" if seen.count > steps else "")
    tokens = "" if seen.tokens is None else f", {seen.tokens:,} tokens"
    return f"{seen.model}: {of}" + (f" ({named})" if named else "") + tokens
