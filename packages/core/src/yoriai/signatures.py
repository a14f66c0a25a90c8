"""The signature of an artifact: a small file beside its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from yoriai import files, signing
from yoriai.artifact import Artifact
from yoriai.errors import Altered, UsageError

SUFFIX = ".signature.json"
MOST_BYTES = 2**16


def place_of(folder: Path) -> Path:
    """Where the signature of the artifact in ``folder`` lies."""
    folder = folder.absolute()
    return folder.with_name(folder.name + SUFFIX)


def _statement(name: str, digest: str) -> bytes:
    return files.canonical_json(
        {"statement": "an artifact of yoriai", "name": name, "digest": digest}
    )


def make(artifact: Artifact, private: Any) -> dict[str, str]:
    """A signature of an artifact's name and digest."""
    made = signing.sign(private, _statement(artifact.name, artifact.digest))
    return {"name": artifact.name, "digest": artifact.digest, **made}


def check(artifact: Artifact, public: Any) -> None:
    """Raises :class:`Altered` where the artifact is not signed by this key, as it is now."""
    place = place_of(artifact.path)
    hint = f"yoriai sign {artifact.path} --key FILE"
    try:
        value = json.loads(files.read_small(place, MOST_BYTES))
        if not isinstance(value, dict):
            raise ValueError("holds no mapping")
    except FileNotFoundError as error:
        raise Altered(f"{artifact.path} is not signed", hint=hint) from error
    except (OSError, ValueError, RecursionError, UsageError) as error:
        raise Altered(f"{place} cannot be read: {error}", hint=hint) from error
    if value.get("digest") != artifact.digest or value.get("name") != artifact.name:
        raise Altered(f"{place} is of another digest or name", hint=hint)
    signing.check(public, _statement(artifact.name, artifact.digest), value)
