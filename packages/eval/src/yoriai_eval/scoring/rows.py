"""The rows of a sealed scores artifact, and the models that they are of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from yoriai import Altered, Artifact

SAMPLES = "samples.jsonl"


def models_of(artifact: Artifact) -> list[str]:
    """The models that a scores artifact scored."""
    return [
        name
        for name, value in artifact.facts.items()
        if isinstance(value, dict) and name != "floors"
    ]


def rows_of(artifact: Artifact, *, edited: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of ``samples.jsonl``, one at a time.

    Raises :class:`yoriai.Altered` for a line that is no row and, unless rows that were ``edited``
    are what is looked for, at the end if the bytes are not those that were sealed.
    """
    path, digest = artifact.file(SAMPLES), hashlib.sha256()
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            digest.update(line)
            try:
                row = json.loads(line)
                row["model"], row["task"], row["id"]
            except (ValueError, KeyError, TypeError) as error:
                raise Altered(
                    f"{path}:{number} is no sample", hint=f"yoriai verify {artifact.path}"
                ) from error
            yield row
    if not edited and digest.hexdigest() != artifact.manifest["files"][SAMPLES]["sha256"]:
        raise Altered(
            f"{path} has other bytes than were sealed",
            hint=f"what was changed: yoriai eval rescore {artifact.path}",
        )
