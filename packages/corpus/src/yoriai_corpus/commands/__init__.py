"""What the commands share: opening an artifact of the right kind."""

from __future__ import annotations

from pathlib import Path

import click

from yoriai import NotFound
from yoriai.artifact import Artifact, open_checked

folder = click.Path(path_type=Path)


def open_kind(path: Path, *kinds: str) -> Artifact:
    """The artifact at a path; raises :class:`NotFound` if it is of none of the kinds."""
    artifact = open_checked(path)
    if artifact.kind not in kinds:
        wanted = " or ".join(kinds)
        raise NotFound(f"{path} is a {artifact.kind}, this command reads a {wanted}")
    return artifact
