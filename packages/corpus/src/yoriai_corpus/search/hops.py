"""From a text to the spans of it that stand in an index, and to their documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from yoriai import Artifact
from yoriai.explaining import Hop, Point, checked, parents
from yoriai_corpus.search import trace as tracing
from yoriai_corpus.search.search import open_index

SPANS, PLACES = 5, 3  # that are followed, the rarest first


def hops(point: Point) -> Iterator[Hop]:
    """The rarest spans of a text with their documents; nothing for other points."""
    if point.kind != "text":
        return
    index = point.artifact
    state, by = checked(index)
    if state == "broken":
        yield Hop(kind="spans", says=index.name, state=state, by=by)
        return
    spans = tracing.trace(open_index(index), point.text, places=PLACES)
    share = tracing.covered(spans) / max(1, len(point.text))
    yield Hop(
        kind="spans", state=state, by=by, facts={"spans": len(spans), "covered": share},
        says=f"{share:.0%} of {len(point.text)} characters stand in the corpus, in {len(spans)} "
        f"spans of {tracing.SHORTEST} or more",
    )  # fmt: skip
    corpora = [a for _, _, a, _ in parents(index) if a is not None]
    for span in sorted(spans, key=lambda s: -s.bits)[:SPANS]:
        yield Hop(
            kind="span", says=f"{span.text!r}, {span.occurrences} times, {span.bits:.0f} bits",
            state=state, by=by, facts={"begin": span.begin, "end": span.end},
        )  # fmt: skip
        for place in span.places:
            yield _document(point, span.text, place, corpora)


def _document(point: Point, text: str, place: Any, corpora: list[Artifact]) -> Hop:
    name = f"{place.source}/{place.id}"
    says = f"{name}, character {place.offset}; licence {place.licence or 'unstated'}; {place.state}"
    facts = {"source": place.source, "id": place.id, "licence": place.licence,
             "url": place.url, "state": place.state}  # fmt: skip
    state, by = _compare(text, place, corpora)
    # What was held out or dropped was never trained on.
    follow = point.of is not None and place.state == "kept" and state != "broken"
    leads = [Point(kind="document", artifact=point.of, name=name)] if follow and point.of else []
    return Hop(kind="document", says=says, state=state, by=by, facts=facts, leads_to=leads)  # type: ignore[arg-type]


def _compare(text: str, place: Any, corpora: list[Artifact]) -> tuple[str, str]:
    """Whether the corpus itself, whose bytes are compared, has the span at this place."""
    import pyarrow.parquet as pq

    table = {"kept": "documents", "held out": "heldout", "dropped": "dropped"}.get(place.state, "")
    corpus = next((c for c in corpora if c.name == place.corpus), None)
    if corpus is None or not table:
        return "unchecked", f"{place.corpus} is not here, only the index of it"
    rows = pq.read_table(
        corpus.files_under(table), columns=["source", "text"], filters=[("id", "=", place.id)]
    ).to_pylist()
    held = [row["text"] or "" for row in rows if row["source"] == place.source]
    if any(t[place.offset : place.offset + len(text)] == text for t in held):
        return "checked", f"{corpus.name} ({corpus.digest[:12]}) holds it there"
    return "broken", f"{corpus.name} ({corpus.digest[:12]}) does not hold it there"
