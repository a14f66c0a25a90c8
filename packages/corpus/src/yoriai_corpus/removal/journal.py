"""What a removal is about to do, kept in its folder until it is done, so that it can go on.

An artifact is replaced by two renames. Between them it has only its former or its coming folder,
both whole; :func:`settle` gives one of them its name back.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pydantic

from yoriai import Refused, files, run_folder
from yoriai.strict import Strict, of_json
from yoriai_corpus.removal.selection import Name, Twins

PENDING = run_folder.REMOVAL_UNDER_WAY  # names, while a removal is under way; deleted at its end
MOST_BYTES = 2**30
_BESIDE = re.compile(r"\..+\.(without|sealed|former)")


class Changed(Strict):
    """An artifact or a release that is changed: where and what it is, and what it holds of it.

    ``path`` is below the folder, ``digest`` that of before; ``holds`` counts by table or part.
    """

    path: str
    name: str
    kind: str
    digest: str
    holds: dict[str, int]

    @pydantic.field_validator("path")
    @classmethod
    def _below(cls, value: str) -> str:
        if value.startswith("/") or not set(value.split("/")).isdisjoint(("", ".", "..")):
            raise ValueError("is no place below the folder")
        return value


class Journal(Strict):
    """A removal that was begun; ``logged`` is how many bytes the log had before."""

    reason: str
    by: str
    twins: Twins
    names: list[Name]
    records: list[str]
    promoted: list[tuple[Name, Name]]
    changed: list[Changed]
    saw: list[dict[str, str]]
    runs: list[str]
    logged: int = pydantic.Field(ge=0, le=2**62)


def write(root: Path, journal: Journal) -> None:
    """Keep it, in the same bytes for the same removal."""
    value = journal.model_dump(mode="json")
    files.write_atomically(root / PENDING, files.canonical_json(value))


def read(root: Path) -> Journal | None:
    """The removal that was begun in a folder, if any. Raises :class:`Refused` for an altered one,
    :class:`yoriai.UsageError` for what is no file of its size."""
    place = root / PENDING
    try:
        data = files.read_small(place, MOST_BYTES)
    except FileNotFoundError:
        return None
    hint = f"yoriai verify {root}; then delete the file, and remove again what is still there"
    found = of_json(Journal, data, str(place), hint)
    for row in found.changed:
        if not (root / row.path).resolve().is_relative_to(root.resolve()):
            raise Refused(f"{place} names {row.path[:80]!r}, which leads outside", hint=hint)
    return found


def end(root: Path) -> None:
    """Forget it: everything is done."""
    (root / PENDING).unlink()


def is_beside(name: str) -> bool:
    """Whether a folder is of a replacement under way, and no artifact of its own."""
    return bool(_BESIDE.fullmatch(name))


def settle(target: Path) -> None:
    """Give an artifact its folder back if a replacement ended between its renames.

    The coming folder is sealed whole before the former one is renamed, so it goes first.
    """
    new, old = (target.with_name(f".{target.name}.{word}") for word in ("sealed", "former"))
    if not target.exists():
        for place in (new, old):
            if place.is_dir():
                place.rename(target)
                break
    for place in (new, old, target.with_name(f".{target.name}.without")):
        if place.exists():
            shutil.rmtree(place)
