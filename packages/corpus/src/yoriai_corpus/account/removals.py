"""The log of what was removed from a folder of artifacts, which names documents by digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from yoriai import NotFound, YoriaiError

LOG = "removals.jsonl"


class Removed(NotFound):
    """A document that was taken down: only when and why is known of it."""

    status = 410


def name_digest(source: str, id_: str) -> str:
    """What a log says of a document: the sha256 of its name."""
    return hashlib.sha256(f"{source}/{id_}".encode("utf-8", "surrogatepass")).hexdigest()


def logged(root: Path) -> list[dict[str, Any]]:
    """The entries of a log. Raises :class:`YoriaiError` for a line that is none."""
    found = []
    try:
        with (root / LOG).open("rb") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    found.append(dict(json.loads(line)))
                except (ValueError, TypeError, RecursionError) as error:
                    raise YoriaiError(f"{LOG}:{number} is no entry of a log") from error
    except FileNotFoundError as error:
        raise YoriaiError(f"nothing was removed in {root}: it has no {LOG}") from error
    return found


def check_not_removed(roots: Iterable[Path], source: str, id_: str) -> None:
    """Raises :class:`Removed` for a document that the log of one of these folders has."""
    digest = name_digest(source, id_)
    for root in dict.fromkeys(roots):
        for entry in logged(root) if (root / LOG).is_file() else ():
            if digest in entry.get("names_sha256", ()):
                raise Removed(
                    f"{source}/{id_} was removed on {entry.get('date', 'an unknown day')}",
                    hint=f"the reason: {entry.get('reason') or 'unstated'}",
                )
