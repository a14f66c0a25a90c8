"""What stands in the folder of a run beside the bytes of its artifacts, and what is gone from it.

The bytes of each artifact are :mod:`yoriai.artifact`'s to compare. Here it is asked whether the
artifacts are those that were made here: each under its name, none gone or replaced whole, and
nothing beside them that the project did not write.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoriai import files, manifest, run_file
from yoriai.artifact import MANIFEST, Artifact, Finding, open_artifact
from yoriai.errors import Altered, NotFound, UsageError
from yoriai.release import MANIFEST as RELEASE

RUNS, SUPERSEDED, WORK = "runs", "superseded", ".work"
OWN = (RUNS, SUPERSEDED, "page", "record")  # folders that runs write, see yoriai.workspace
# The log of removals and the plan of one under way (yoriai corpus remove): they name by digest the
# artifacts that it made anew or deleted, or will.
REMOVALS, REMOVAL_UNDER_WAY = "removals.jsonl", ".removal.json"
MOST_LOG_BYTES = 2**30
MOST_NAMED = 8
_STEP = re.compile(r"[^~/\\][^/\\]*@[0-9]+")  # the name of an artifact's folder in a workspace


@dataclass(slots=True)
class Folder:
    """What is wrong with a folder (``findings``) and what else to know of it (``notes``)."""

    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)


@dataclass(slots=True)
class _Wanted:
    """An artifact that others tell of, and that is not found by its digest."""

    name: str
    place: str
    children: list[str] = field(default_factory=list)
    run: str = ""
    is_left_out: bool = False  # by the newest run of its recipe


def artifacts_below(root: Path) -> list[Path]:
    """The folders of artifacts directly below a folder, in order of name."""
    # A folder called step@version is an artifact, even if somebody took its manifest away.
    return sorted(
        p
        for p in root.glob("*/")
        if not p.name.startswith(".") and ("@" in p.name or (p / MANIFEST).exists())
    )


def look(root: Path, found: Mapping[str, Artifact | None]) -> Folder:
    """What is to be said of the folder ``root`` that holds the artifacts ``found``, by folder.

    One that could not be opened is None; it was told of already. A folder without ``runs/`` is
    somebody's collection of artifacts: nothing is a finding there, all of it is a note.
    """
    told = Folder()
    for folder, artifact in found.items():
        sealed_as = artifact.name.rpartition("/")[2] if artifact else folder
        if sealed_as != folder:
            told.findings.append(Finding(folder, f"was sealed as {sealed_as}"))
    _look_for_inputs(root, found, told)
    _look_beside(root, found, told)
    if not (root / RUNS).exists():
        told.findings, told.notes = [], told.findings + told.notes
    return told


# --- what is gone --------------------------------------------------------------------------


def _look_for_inputs(root: Path, found: Mapping[str, Artifact | None], told: Folder) -> None:
    here = {artifact.digest for artifact in found.values() if artifact}
    here |= {artifact.digest for artifact in _opened_in(root / SUPERSEDED)}
    wanted: dict[str, _Wanted] = {}
    for folder, artifact in found.items():
        if artifact is None:
            continue
        places = artifact.manifest["circumstances"].get("folders", [])
        for position, item in enumerate(artifact.manifest["inputs"]):
            place = os.path.normpath(places[position]) if position < len(places) else ""
            one = wanted.setdefault(item["digest"], _Wanted(item["name"], place))
            one.children.append(folder)
    for digest, one in _made_by_runs(root).items():
        wanted.setdefault(digest, one)
    removed = _removed(root)
    for digest, one in wanted.items():
        if digest not in here:
            _tell(root, found, digest, one, removed, told)


def _tell(
    root: Path, found: Mapping[str, Artifact | None], digest: str, one: _Wanted, removed: str,
    told: Folder,
) -> None:  # fmt: skip
    why = f"run {one.run} left it here"
    if one.children:
        why = f"{_several(one.children)} came from it"
    who = f"{one.name[:80]} ({digest[:12]}; {why})"
    goes_to = told.notes if one.is_left_out and not one.children else told.findings
    if digest in removed:
        told.notes.append(Finding("", f"{who} was made anew or deleted by a removal"))
    elif not _STEP.fullmatch(one.place):  # it stood in another folder
        if problem := _problem_elsewhere(root, one.place, digest):
            told.notes.append(Finding("", f"{who} {problem}"))
    elif one.place not in found:
        goes_to.append(Finding(one.place, f"is gone: {who}"))
    elif found[one.place] is not None:  # else it is told that its manifest is damaged
        problem = f"is not {who}, which is not in {SUPERSEDED}/ either"
        goes_to.append(Finding(one.place, problem))


def _problem_elsewhere(root: Path, place: str, digest: str) -> str:
    if not place:
        return "is not here, and nobody wrote down where it stood"
    try:
        there = open_artifact(root.resolve() / Path(place).expanduser())
    except (NotFound, Altered, RuntimeError, ValueError, OSError):  # "~nobody", a zero byte
        return f"is no longer where it stood: {place[:200]}"
    return "" if there.digest == digest else f"stood in {place[:200]}, which holds another now"


def _opened_in(folder: Path) -> Iterator[Artifact]:
    for place in sorted(folder.glob(f"*/{MANIFEST}")):
        try:
            yield open_artifact(place.parent)
        except (NotFound, Altered, OSError):
            continue


def _made_by_runs(root: Path) -> dict[str, _Wanted]:
    """By digest, what the newest run that tells of a step sealed or used in this folder."""
    made: dict[str, _Wanted] = {}
    newest: dict[str, str] = {}  # run by recipe
    seen: set[tuple[str, str]] = set()
    for path in sorted((root / RUNS).glob("*.json"), reverse=True):
        try:
            value = json.loads(files.read_small(path, run_file.MOST_BYTES))
        except (OSError, ValueError, RecursionError, UsageError):
            continue  # a run file is no evidence of bytes; yoriai runs names one that is damaged
        recipe, steps = str(_key(value, "recipe")), _key(value, "steps")
        run = newest.setdefault(recipe, path.stem)
        for step, row in steps.items() if isinstance(steps, Mapping) else ():
            name, digest = _key(row, "artifact"), _key(row, "digest")
            if isinstance(name, str) and isinstance(digest, str) and (recipe, step) not in seen:
                seen.add((recipe, step))
                place = name.rpartition("/")[2]
                one = _Wanted(name, place, run=path.stem, is_left_out=run != path.stem)
                made.setdefault(digest, one)
    return made


def _key(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def _removed(root: Path) -> str:
    """What the log of removals says of artifacts, and one under way, as text."""
    found = []
    for name in (REMOVALS, REMOVAL_UNDER_WAY):
        try:
            data = files.read_small(root / name, MOST_LOG_BYTES)
        except (OSError, UsageError):
            continue
        for line in data.splitlines() if name == REMOVALS else [data]:
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            found.append(json.dumps([_key(value, "artifacts"), _key(value, "changed")]))
    return "\n".join(found)


# --- what stands beside --------------------------------------------------------------------


def _look_beside(root: Path, found: Mapping[str, Artifact | None], told: Folder) -> None:
    foreign, empty = [], []
    if (root / REMOVAL_UNDER_WAY).exists():
        problem = f"tells of a removal that did not end: yoriai corpus remove {root} --resume"
        told.notes.append(Finding(REMOVAL_UNDER_WAY, problem))
    for path in sorted(root.iterdir()):
        mode = path.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            told.findings.append(Finding(path.name, f"is {manifest.kind_of(mode)}"))
        elif stat.S_ISREG(mode) or path.name in found or path.name == WORK:
            continue
        elif path.name in OWN:
            told.findings += _not_plain(root, path)
        elif not _has_any(path):
            empty.append(path.name)
        elif not (_is_release(path) or any(_is_release(below) for below in path.glob("*/"))):
            foreign.append(path.name)
    if empty:
        told.notes.append(Finding("", f"empty folders that no run writes: {_several(empty)}"))
    if foreign:
        problem = f"folders that no run writes, not looked into: {_several(foreign)}"
        told.notes.append(Finding("", problem))


def _not_plain(root: Path, folder: Path) -> Iterator[Finding]:
    for here, below, names in os.walk(folder):
        for word in sorted((*below, *names)):
            mode = Path(here, word).lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                name = Path(here, word).relative_to(root).as_posix()
                yield Finding(name, f"is {manifest.kind_of(mode)}")


def _has_any(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except OSError:
        return True  # it cannot be looked into, which is what is said of it


def _is_release(folder: Path) -> bool:
    return (folder / RELEASE).is_file()


def _several(names: list[str]) -> str:
    shown = ", ".join(dict.fromkeys(names[:MOST_NAMED]))
    return shown + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")
