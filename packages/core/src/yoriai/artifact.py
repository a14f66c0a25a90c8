"""Sealed directories: what a step leaves behind, with a digest of every byte.

``artifact.json`` holds what identifies the artifact (kind, name, configuration, inputs,
digest of each file); their digest is the artifact's own. It also holds what does not
identify it (the run that made it, when, and why it may have drifted), so that the same
recipe gives the same digest on every machine and after any interruption.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from yoriai import files
from yoriai.errors import Altered, NotFound

MANIFEST = "artifact.json"
SCHEMA = 1
# Keys that say what the artifact is; the digest is taken over exactly these.
IDENTITY = (
    "schema",
    "kind",
    "name",
    "step",
    "config",
    "code",
    "seed",
    "outside",
    "inputs",
    "sources",
    "licence",
    "facts",
    "files",
)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A sealed directory, opened. ``manifest`` is its parsed ``artifact.json``."""

    path: Path
    manifest: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def name(self) -> str:
        """``recipe/step@version``."""
        return str(self.manifest["name"])

    @property
    def step(self) -> str:
        """The step's name in its recipe."""
        return self.name.rpartition("/")[2].partition("@")[0]

    @property
    def digest(self) -> str:
        return str(self.manifest["digest"])

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the step measured and is the same whenever it is run."""
        return dict(self.manifest["facts"])

    @property
    def config(self) -> Mapping[str, Any]:
        return dict(self.manifest["config"])

    def file(self, name: str) -> Path:
        """The path of one of the sealed files; raises :class:`NotFound`."""
        if name not in self.manifest["files"]:
            raise NotFound(f"{self.name} has no file {name!r}", hint=f"yoriai verify {self.path}")
        return self.path / name

    def files_under(self, folder: str) -> list[Path]:
        """The sealed files below a folder, in order of name; raises :class:`NotFound`."""
        names = [name for name in self.manifest["files"] if name.startswith(f"{folder}/")]
        if not names:
            raise NotFound(
                f"{self.name} has no folder {folder!r}", hint=f"yoriai verify {self.path}"
            )
        return [self.path / name for name in sorted(names)]


def open_artifact(path: Path) -> Artifact:
    """Open a sealed directory. Raises :class:`NotFound` or :class:`Altered`."""
    manifest = path / MANIFEST
    if not manifest.is_file():
        raise NotFound(
            f"{path} is no artifact: it has no {MANIFEST}",
            hint="an artifact is the folder that a finished step leaves, e.g. build/tour/text@1",
        )
    data = manifest.read_bytes()
    try:
        value = json.loads(data)
        sealed = value["seal"]
        body = {key: item for key, item in value.items() if key != "seal"}
        whole = files.canonical_json(value) == data and files.digest_json(body) == sealed
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise Altered(f"{manifest} was altered since it was sealed", hint=_REMEDY)
    return Artifact(path, value)


_REMEDY = "restore the folder from a copy, or delete it and run the recipe again"


def seal(
    folder: Path,
    target: Path,
    *,
    identity: Mapping[str, Any],
    circumstances: Mapping[str, Any],
    replace: bool = False,
) -> Artifact:
    """Give ``folder`` its manifest, flush it and move it to ``target`` in one rename.

    ``identity`` has the keys of :data:`IDENTITY` except schema and files. With ``replace``
    what stands at ``target`` is put aside, but only now that its successor is whole.
    """
    if any(path.is_symlink() for path in folder.rglob("*")):
        raise Altered(f"{folder} holds symbolic links; an artifact holds plain files only")
    value: dict[str, Any] = {
        **identity,
        "schema": SCHEMA,
        "files": {
            name: {"sha256": files.digest_file(folder / name), "bytes": size}
            for name, size in list_files(folder)
        },
    }
    value["digest"] = files.digest_json({key: value[key] for key in IDENTITY})
    value["circumstances"] = dict(circumstances)
    value["seal"] = files.digest_json(value)
    (folder / MANIFEST).write_bytes(files.canonical_json(value))
    files.fsync_tree(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    if replace and target.exists():
        put_aside(target)
    folder.replace(target)
    files.fsync_directory(target.parent)
    return Artifact(target, value)


def list_files(folder: Path) -> Iterator[tuple[str, int]]:
    """Relative names and sizes of all files but the manifest, in order of name."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path != folder / MANIFEST:
            yield path.relative_to(folder).as_posix(), path.stat().st_size


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was sealed."""

    file: str
    problem: str


def check_bytes(artifact: Artifact) -> None:
    """Read every file, and refuse one that was changed; what is copied on is sealed as whole.

    Raises :class:`Altered`, naming the file. A file that was added is no matter: nobody reads it.
    """
    sealed = artifact.manifest["files"]
    for finding in (f for f in verify(artifact.path)[1] if f.file in sealed):
        raise Altered(f"{artifact.path / finding.file} {finding.problem}", hint=_REMEDY)


def verify(path: Path, *, deep: bool = True) -> tuple[Artifact | None, list[Finding]]:
    """Compare every byte with the manifest; the findings name each altered file.

    Without ``deep`` only names and sizes are compared (what reusing an artifact does).
    """
    try:
        artifact = open_artifact(path)
    except Altered as error:
        return None, [Finding(MANIFEST, error.message)]
    findings: list[Finding] = []
    present = dict(list_files(path))
    for name, facts in artifact.manifest["files"].items():
        if name not in present:
            findings.append(Finding(name, "is missing"))
        elif present.pop(name) != facts["bytes"]:
            size = (path / name).stat().st_size
            findings.append(Finding(name, f"has {size} bytes, sealed were {facts['bytes']}"))
        elif deep and files.digest_file(path / name) != facts["sha256"]:
            findings.append(Finding(name, "has other bytes than were sealed"))
    findings += [Finding(name, "was added after sealing") for name in present]
    identity = {key: artifact.manifest[key] for key in IDENTITY}
    if files.digest_json(identity) != artifact.digest:
        findings.append(Finding(MANIFEST, "its digest is not that of its contents"))
    return artifact, findings


def lineage(artifact: Artifact) -> dict[str, Any]:
    """The tree of what an artifact was made from, back to the sources.

    Inputs are looked for where they stood when they were used, beside the artifact; one
    that is gone is still listed, by name and digest, with ``"here": False``.
    """
    inputs = []
    folders = artifact.manifest["circumstances"].get("folders", [])
    for position, item in enumerate(artifact.manifest["inputs"]):
        row: dict[str, Any] = {"name": item["name"], "digest": item["digest"], "here": False}
        inputs.append(row)
        if position >= len(folders):
            row["problem"] = "nobody wrote down where it stood"
            continue
        try:
            here = artifact.path.resolve().parent
            parent = open_artifact(here / Path(folders[position]).expanduser())
            if parent.digest == item["digest"]:
                row |= {**lineage(parent), "here": True}
            else:
                row["problem"] = f"the folder now holds {parent.digest[:12]}"
        except (NotFound, Altered) as error:
            row["problem"] = error.message
    return {
        "name": artifact.name,
        "kind": artifact.kind,
        "step": artifact.manifest["step"],
        "digest": artifact.digest,
        "licence": artifact.manifest["licence"],
        "run": artifact.manifest["circumstances"].get("run", ""),
        "sources": artifact.manifest["sources"],
        "inputs": inputs,
    }


def put_aside(path: Path) -> Path:
    """Move an artifact out of the way without losing it; returns its new place."""
    label = "unreadable"
    with contextlib.suppress(NotFound, Altered):
        label = open_artifact(path).digest[:12]
    names = (f"{path.name}.{label}" + (f".{n}" if n else "") for n in count())
    target = next(p for name in names if not (p := path.parent / "superseded" / name).exists())
    target.parent.mkdir(exist_ok=True)
    path.replace(target)
    return target
