"""The log of what was removed from a folder of artifacts, which names documents by digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pydantic

from yoriai import NotFound, YoriaiError, files, run_folder
from yoriai.strict import Strict, of_json

LOG = run_folder.REMOVALS
MOST_ENTRY_BYTES = 2**30  # 67 bytes a document


class Removed(NotFound):
    """A document that was taken down: only when and why is known of it."""

    status = 410


def name_digest(source: str, id_: str) -> str:
    """What a log says of a document: the sha256 of its name."""
    return hashlib.sha256(f"{source}/{id_}".encode("utf-8", "surrogatepass")).hexdigest()


class _LogRow(Strict):
    """An artifact that a removal replaced."""

    model_config = pydantic.ConfigDict(extra="ignore")
    kind: str = ""
    before: str = ""
    removed: dict[str, int] = {}


class _LogEntry(Strict):
    """What commands read of an entry of the log; the rest is for people."""

    model_config = pydantic.ConfigDict(extra="ignore")
    names_sha256: list[str]
    artifacts: list[_LogRow] = []
    date: str = ""
    reason: str = ""


def logged(root: Path) -> list[dict[str, Any]]:
    """The entries of a log. Raises :class:`YoriaiError` for a line that is none."""
    found = []
    try:
        with files.open_ordinary(root / LOG) as stream:
            for number, line in enumerate(iter(lambda: stream.readline(MOST_ENTRY_BYTES), b""), 1):
                place = f"{root / LOG}:{number}"
                of_json(_LogEntry, line, place, "restore it from a copy: it names what was removed")
                found.append(dict(json.loads(line)))
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


def removed_since(root: Path, digest: str) -> str:
    """When documents were removed from the corpus of this digest in a folder; "" if none were."""
    for entry in logged(root) if (root / LOG).is_file() else ():
        for row in entry.get("artifacts", ()):
            if row.get("kind") == "corpus" and row.get("before") == digest and row.get("removed"):
                return entry.get("date") or "an unknown day"
    return ""
