"""From a model to its training, and from a document to the steps that saw it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from yoriai import Altered, Artifact
from yoriai.artifact import check_files
from yoriai.explaining import Hop, Point, State, checked
from yoriai_train.data.provenance import TrainingOrder, training_of, trainings_of
from yoriai_train.data.seen import places_of

SHOWN = 8  # steps that are named


def hops(point: Point) -> Iterator[Hop]:
    """The training of a model, or the steps that saw documents; nothing for other points.

    Raises :class:`yoriai.NotFound` where the tokens are not here, or the model was not trained
    here.
    """
    if point.kind not in ("model", "document", "documents"):
        return
    if point.kind == "documents":
        for one in trainings_of(point.artifact):
            yield from _steps(one, point.names, *_order_checked(one.tokens))
        return
    training = training_of(point.artifact)
    tokens, steps = training.tokens, training.steps or 0
    state, by = checked(tokens)
    if point.kind == "document":
        yield from _steps(training, [point.name], state, by)
        return
    kept = sorted({n.split("/")[1] for n in point.artifact.manifest["files"]
                   if n.startswith("checkpoints/")})  # fmt: skip
    yield Hop(
        kind="training", state=state, by=by, facts={"checkpoints": kept, "seed": training.seed},
        says=f"{training.model}: {steps:,} steps of {training.per_step} windows of "
        f"{training.context} tokens of {tokens.name}, seed {training.seed}, "
        f"{len(kept)} checkpoints kept",
    )  # fmt: skip


def _order_checked(tokens: Artifact) -> tuple[State, str]:
    """Whether the files that the order of the data follows from are those that were sealed.

    The tokens themselves, by far the most bytes, do not decide which document a step saw.
    """
    try:
        check_files([(tokens, n) for n in tokens.manifest["files"] if not n.endswith(".bin")])
    except Altered as error:
        return "broken", error.message
    return "checked", f"the names and lengths in {tokens.name} are those of {tokens.digest[:12]}"


def _steps(training: TrainingOrder, names: Sequence[str], state: State, by: str) -> Iterator[Hop]:
    tokens, steps = training.tokens, training.steps or 0
    for name, places in places_of(training, names, steps).items():
        facts: dict[str, Any] = {"name": name, "model": training.model, "of": steps}
        if not places:
            why = f"{tokens.name} has no such document: it was not encoded, or is another's"
            yield Hop(kind="steps", says=name, state="broken", by=why, facts=facts)
            continue
        hashes = [row["record_sha256"] for row in places]
        tokens_of = sum(row["tokens"] for row in places)
        seen = sorted({item["step"] for row in places for item in row["seen"]})
        named = ", ".join(map(str, seen[:SHOWN])) + (" …" if len(seen) > SHOWN else "")
        says = f"{name} was in the batches of {len(seen)} of {steps:,} steps"
        more = f"; the order follows from seed {training.seed}; what was beside it: "
        yield Hop(
            kind="steps", state=state, by=f"{by}{more}yoriai tokens replay",
            says=f"{says}: {named}" if seen else f"{name} was in no batch of {steps:,} steps",
            facts=facts | {"steps": seen, "record_sha256": hashes, "tokens": tokens_of},
        )  # fmt: skip
