"""What the commands share: opening artifacts of the right kind, and asking trainings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yoriai import NotFound, console
from yoriai.artifact import Artifact, open_artifact, open_checked
from yoriai.cli import Context

if TYPE_CHECKING:
    from yoriai_corpus.search.seen import Trainings

folder = click.Path(path_type=Path)
model_option = click.option(
    "--model", "models", type=folder, multiple=True, metavar="MODEL",
    help="Say which steps of its training saw a document; may be repeated.",
)  # fmt: skip


def open_kind(path: Path, *kinds: str) -> Artifact:
    """The artifact at a path; raises :class:`NotFound` if it is of none of the kinds."""
    artifact = open_checked(path)
    if artifact.kind not in kinds:
        wanted = " or ".join(kinds)
        raise NotFound(f"{path} is a {artifact.kind}, this command reads a {wanted}")
    return artifact


def open_trainings(
    models: Sequence[Path], indexes: Sequence[Artifact], shared: Context
) -> Trainings:
    """The trainings of models, and on standard error where they are of another corpus."""
    from yoriai_corpus.search.seen import Trainings

    opened = [open_artifact(place) for place in models]
    for place, artifact in zip(models, opened, strict=True):
        if artifact.kind != "model":
            raise NotFound(f"{place} is a {artifact.kind}, --model takes a model")
    made = Trainings(opened, indexes, shared.registry if opened else None)
    for note in made.notes:
        console.note(note)
    return made
