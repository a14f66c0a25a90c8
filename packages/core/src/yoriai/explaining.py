"""From a score to the documents behind it, hop by hop, each checked against digests.

Core walks; plugins know the hops. A plugin is shown a :class:`Point` (a sample of scores, a text,
a document, a model) and answers with :class:`Hop` objects, which lead to further points. Whatever
cannot be followed is a hop that says where the chain breaks and why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from yoriai.artifact import Artifact, check_bytes, open_artifact
from yoriai.errors import Altered, NotFound, YoriaiError
from yoriai.registry import Registry

State = Literal["checked", "unchecked", "broken"]
MOST_POINTS = 60  # that are followed; a chain of more says so
MARKS: Mapping[State, str] = {"checked": "✓", "unchecked": "?", "broken": "✗"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where one stands: something to be explained, and the artifact that it lies in.

    ``sample``: ``name`` is the id of a row of scores, ``artifact`` those scores. ``text``: ``text``
    is what a model wrote, ``artifact`` an index of the corpus. ``model``: ``artifact`` is a model.
    ``document``: ``name`` is ``source/id``, ``artifact`` the model that may have seen it.
    ``documents``: ``names`` are many of those, and each hop of the answer has its own under
    ``name`` of its facts. ``model`` and ``task`` narrow down a sample; ``of`` is the model that
    wrote a text.
    """

    kind: Literal["sample", "text", "model", "document", "documents"]
    artifact: Artifact
    name: str = ""
    names: Sequence[str] = ()
    text: str = ""
    model: str = ""
    task: str = ""
    of: Artifact | None = None
    registry: Registry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hop:
    """One step of the chain: what it is, what it says, and how it was checked.

    ``checked``: its bytes are those of a digest that was written before, named in ``by``;
    ``unchecked``: nothing was written that it could be compared with, and ``by`` says so;
    ``broken``: the chain ends here, and ``by`` says why.
    """

    kind: str
    says: str
    state: State
    by: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    leads_to: Sequence[Point] = ()
    depth: int = 0

    def plain(self) -> dict[str, Any]:
        return {
            "hop": self.kind, "says": self.says, "state": self.state, "by": self.by,
            "facts": dict(self.facts), "depth": self.depth,
        }  # fmt: skip


def parents(artifact: Artifact) -> Iterator[tuple[str, str, Artifact | None, str]]:
    """Name and digest of each input, the artifact itself where it still stands, or why not."""
    folders = artifact.manifest["circumstances"].get("folders", [])
    here = artifact.path.resolve().parent
    for place, item in enumerate(artifact.manifest["inputs"]):
        name, digest = str(item["name"]), str(item["digest"])
        if place >= len(folders):
            yield name, digest, None, "nobody wrote down where it stood"
            continue
        try:
            found = open_artifact(here / Path(folders[place]).expanduser())
        except (NotFound, Altered) as error:
            yield name, digest, None, error.message
            continue
        if found.digest == digest:
            yield name, digest, found, ""
        else:
            yield name, digest, None, f"its folder now holds {found.digest[:12]}"


def corpora_of(artifact: Artifact) -> set[str]:
    """Digests of the corpora that an artifact was made from, as far as the line is here."""
    found: set[str] = set()
    for _, digest, parent, _ in parents(artifact):
        if parent is not None:
            found |= {digest} if parent.kind == "corpus" else corpora_of(parent)
    return found


def find_index(scores: Artifact, corpora: set[str]) -> Artifact | None:
    """An index beside scores that was made of one of these corpora, by digest."""
    for place in sorted(scores.path.resolve().parent.glob("*@*/artifact.json")):
        try:
            found = open_artifact(place.parent)
        except (NotFound, Altered):
            continue
        made_of = {item["digest"] for item in found.manifest["inputs"]}
        if found.kind == "index" and made_of & corpora:
            return found
    return None


def explain(start: Point, registry: Registry) -> list[Hop]:
    """The chain from a point, breadth after depth: each hop is followed by those it leads to."""
    found: list[Hop] = []
    seen: set[tuple[str, str, str, str]] = set()
    _walk(start, registry, 0, found, seen)
    return found


def trace(text: str, index: Artifact, registry: Registry, *, of: Artifact | None) -> list[Hop]:
    """The chain from a text to the documents of an index that hold pieces of it.

    ``of`` is the model that wrote it, if it is one: what it saw of the documents is told, too.
    Raises :class:`NotFound` for an artifact that is no index.
    """
    if index.kind != "index":
        raise NotFound(f"{index.path} is a {index.kind}, a trace needs an index")
    if not text.strip():
        return []
    return explain(Point(kind="text", artifact=index, text=text, of=of), registry)


def in_lines(hops: Sequence[Hop]) -> list[str]:
    """A chain for a terminal: two lines a hop, further in as they lead on."""
    found = []
    for hop in hops:
        indent = "  " * hop.depth
        found += [f"{indent}{MARKS[hop.state]} {hop.kind}: {hop.says}", f"{indent}    {hop.by}"]
    return found


def _walk(point: Point, registry: Registry, depth: int, found: list[Hop], seen: set[Any]) -> None:
    key = (point.kind, point.artifact.digest, point.name, point.text)
    if key in seen:
        return
    if len(seen) >= MOST_POINTS:
        if not found or found[-1].kind != "limit":
            found.append(Hop(kind="limit", says="further points are not followed", state="broken",
                             by=f"{MOST_POINTS} points were", depth=depth))  # fmt: skip
        return
    seen.add(key)
    for hop in hops_at(point, registry):
        found.append(_at(hop, depth))
        for further in hop.leads_to:
            _walk(further, registry, depth + 1, found, seen)


def hops_at(point: Point, registry: Registry) -> Iterator[Hop]:
    """What the plugins say of one point, or a broken hop that says that none knows it."""
    answered = False
    for plugin, moment in registry.moments("yoriai_hops"):
        try:
            hops = list(moment(point=point) or ())
        except YoriaiError as error:
            hint = f"; {error.hint}" if error.hint else ""
            why = f"{error.message}{hint}"
            hops = [Hop(kind=point.kind, says=_named(point), state="broken", by=why)]
        except Exception as error:
            why = f"plugin {plugin!r} raised {type(error).__name__}: {error}"
            hops = [Hop(kind=point.kind, says=_named(point), state="broken", by=why)]
        answered = answered or bool(hops)
        yield from hops
    if not answered:
        why = "no installed plugin knows how to go on from here: yoriai plugins"
        yield Hop(kind=point.kind, says=_named(point), state="broken", by=why)


def _at(hop: Hop, depth: int) -> Hop:
    return replace(hop, leads_to=(), depth=depth)


def _named(point: Point) -> str:
    return point.name or point.text[:60] or point.artifact.name


def checked(artifact: Artifact) -> tuple[State, str]:
    """Whether all bytes of an artifact are those that were sealed, in words."""
    try:
        check_bytes(artifact)
    except Altered as error:
        return "broken", error.message
    return "checked", f"all bytes of {artifact.name} are those of {artifact.digest[:12]}"
