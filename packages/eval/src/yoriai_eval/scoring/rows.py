"""The rows of a sealed scores artifact, and the models that they are of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from yoriai import Altered, Artifact

SAMPLES = "samples.jsonl"


def models_of(artifact: Artifact) -> list[str]:
    """The models that a scores artifact scored."""
    return list(scored(artifact.facts))


def scored(facts: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the facts of scores say of each model.

    Scores sealed before models had a key of their own hold them beside the other keys.
    """
    if "models" in facts:
        return dict(facts["models"])
    return {n: v for n, v in facts.items() if n != "floors" and isinstance(v, dict)}


def rows_of(artifact: Artifact, *, edited: bool = False) -> Iterator[dict[str, Any]]:
    """The rows of ``samples.jsonl``, one at a time.

    Raises :class:`yoriai.Altered` for a line that is no row and, unless rows that were ``edited``
    are what is looked for, at the end if the bytes are not those that were sealed.
    """
    path, digest = artifact.file(SAMPLES, compare=False), hashlib.sha256()
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
