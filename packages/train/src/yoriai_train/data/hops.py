"""From a model to its training, and from a document to the steps that saw it."""

from __future__ import annotations

from collections.abc import Iterator

from yoriai.explaining import Hop, Point, checked
from yoriai_train.data.provenance import training_of
from yoriai_train.data.seen import places_of

SHOWN = 8  # steps that are named


def hops(point: Point) -> Iterator[Hop]:
    """The training of a model, or the steps that saw a document; nothing for other points.

    Raises :class:`yoriai.NotFound` where the tokens are not here, or the model was not trained
    here.
    """
    if point.kind not in ("model", "document"):
        return
    training = training_of(point.artifact)
    tokens, steps = training.tokens, training.steps or 0
    state, by = checked(tokens)
    if point.kind == "model":
        kept = sorted({n.split("/")[1] for n in point.artifact.manifest["files"]
                       if n.startswith("checkpoints/")})  # fmt: skip
        yield Hop(
            kind="training", state=state, by=by, facts={"checkpoints": kept, "seed": training.seed},
            says=f"{training.model}: {steps:,} steps of {training.per_step} windows of "
            f"{training.context} tokens of {tokens.name}, seed {training.seed}, "
            f"{len(kept)} checkpoints kept",
        )  # fmt: skip
        return
    places = places_of(training, point.name, steps)
    if not places:
        why = f"{tokens.name} has no such document: it was not encoded, or is another's"
        yield Hop(kind="steps", says=point.name, state="broken", by=why)
        return
    seen = sorted({item["step"] for row in places for item in row["seen"]})
    named = ", ".join(map(str, seen[:SHOWN])) + (" …" if len(seen) > SHOWN else "")
    says = f"{point.name} was in the batches of {len(seen)} of {steps:,} steps"
    more = (
        f"; the order follows from seed {training.seed}; what was beside it: yoriai tokens replay"
    )
    yield Hop(
        kind="steps", state=state, by=f"{by}{more}",
        says=f"{says}: {named}" if seen else f"{point.name} was in no batch of {steps:,} steps",
        facts={"steps": seen, "record_sha256": [row["record_sha256"] for row in places]},
    )  # fmt: skip
