"""Sealed directories: what a step leaves behind, with a digest of every byte.

``artifact.json`` holds what identifies the artifact (kind, name, configuration, inputs,
digest of each file); their digest is the artifact's own. It also holds what does not
identify it (the run that made it, when, and why it may have drifted), so that the same
recipe gives the same digest on every machine and after any interruption.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from yoriai import files, manifest
from yoriai.errors import Altered, NotFound

MANIFEST = manifest.NAME
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

    def file(self, name: str, *, compare: bool = True) -> Path:
        """The path of one of the sealed files, whose bytes are those that were sealed.

        Raises :class:`NotFound`, and :class:`Altered` for a file that was changed or replaced by
        a link. Without ``compare`` the bytes are left to a reader that compares them as it reads.
        """
        if name not in self.manifest["files"]:
            raise NotFound(f"{self.name} has no file {name!r}", hint=f"yoriai verify {self.path}")
        if compare:
            check_files([(self, name)])
        elif problem := manifest.place_problem(self.path, name):
            raise Altered(f"{self.path / name} {problem}", hint=f"yoriai verify {self.path}")
        return self.path / name

    def files_under(self, folder: str) -> list[Path]:
        """The sealed files below a folder, in order of name; raises as :meth:`file` does."""
        names = [name for name in self.manifest["files"] if name.startswith(f"{folder}/")]
        if not names:
            raise NotFound(
                f"{self.name} has no folder {folder!r}", hint=f"yoriai verify {self.path}"
            )
        check_files([(self, name) for name in names])
        return [self.path / name for name in sorted(names)]


# Folders of the artifacts that this process opened: an error over their contents names them.
opened: dict[str, None] = {}


def open_artifact(path: Path) -> Artifact:
    """Open a sealed directory: its manifest is whole, and no name in it leads outside.

    The bytes of a file are compared when it is handed out; :func:`open_checked` compares all.
    Raises :class:`NotFound` or :class:`Altered`.
    """
    place = path / MANIFEST
    if place.is_symlink():
        raise Altered(f"{place} is a symbolic link", hint=_REMEDY)
    if not place.is_file():
        raise NotFound(
            f"{path} is no artifact: it has no {MANIFEST}",
            hint="an artifact is the folder that a finished step leaves, e.g. build/tour/text@1",
        )
    with place.open("rb") as stream:
        data = stream.read(manifest.MAX_BYTES + 1)
    value, problem = manifest.parse(data)
    if value is None:
        raise Altered(f"{place} was altered since it was sealed: {problem}", hint=_REMEDY)
    try:
        body = {key: item for key, item in value.items() if key != "seal"}
        whole = files.canonical_json(value) == data and files.digest_json(body) == value["seal"]
    except (ValueError, RecursionError):
        whole = False
    if not whole:
        raise Altered(f"{place} was altered since it was sealed", hint=_REMEDY)
    # Who seals anew could claim the digest of another artifact, and stand for it as an input.
    if files.digest_json({key: value[key] for key in IDENTITY}) != value["digest"]:
        raise Altered(f"{place} was altered: its digest is not that of its contents", hint=_REMEDY)
    opened[str(path)] = None
    return Artifact(path, value)


_REMEDY = "restore the folder from a copy, or delete it and run the recipe again"


def open_checked(path: Path) -> Artifact:
    """Open a sealed directory and compare every byte of it: for whoever reads it as a folder."""
    artifact = open_artifact(path)
    check_bytes(artifact)
    return artifact


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
    for here, *_ in os.walk(folder, topdown=False):
        if Path(here) != folder and not any(Path(here).iterdir()):
            Path(here).rmdir()  # a manifest has no word for an empty folder
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
    """Relative names and sizes of all plain files but the manifest, in order of name."""
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        if stat.S_ISREG(info.st_mode) and path != folder / MANIFEST:
            yield path.relative_to(folder).as_posix(), info.st_size


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was sealed."""

    file: str
    problem: str


# What the bytes of a file were found to be. A file that is written to gets another time of
# change (ctime), which no user can set back; the process forgets all when it ends.
_Mark = tuple[int, int, int, int, int]
_checked: dict[_Mark, str] = {}
THREADS = 8
SETTLED_NS = 2 * 10**9
Watch = Callable[[Iterable[Any], str, int | None], Iterable[Any]]


def _mark(path: Path) -> _Mark:
    info = path.stat(follow_symlinks=False)
    return info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns


def _digest(path: Path) -> str:
    """sha256 of a file, from memory if it was read before and was not touched since."""
    before = _mark(path)
    known = _checked.get(before)
    if known is None:
        known = files.digest_file(path)
        # A clock ticks every few milliseconds: what was just written may be written again unseen.
        settled = time.time_ns() - max(before[-2:]) > SETTLED_NS
        if settled and _mark(path) == before:
            _checked[before] = known
    return known


def _file_problem(
    artifact: Artifact, name: str, digest: Callable[[Path], str] | None = _digest
) -> str:
    facts = artifact.manifest["files"][name]
    problem = manifest.place_problem(artifact.path, name)
    if problem:
        return problem
    path = artifact.path / name
    try:
        size = path.lstat().st_size
        if size != facts["bytes"]:
            return f"has {size} bytes, sealed were {facts['bytes']}"
        changed = digest is not None and digest(path) != facts["sha256"]
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return "has other bytes than were sealed" if changed else ""


def check_files(wanted: Sequence[tuple[Artifact, str]], watch: Watch | None = None) -> None:
    """Compare the bytes of files with their manifests, several at once; each once a process.

    Raises :class:`Altered`, naming the first that was changed, is missing, or is reached by a link.
    """
    with ThreadPoolExecutor(min(THREADS, max(1, len(wanted)))) as pool:
        problems: Iterable[str] = pool.map(lambda item: _file_problem(*item), wanted)
        if watch is not None:
            problems = watch(problems, "checking the bytes of inputs", len(wanted))
        for (artifact, name), problem in zip(wanted, problems, strict=True):
            if problem:
                pool.shutdown(wait=False, cancel_futures=True)
                raise Altered(
                    f"{artifact.path / name} {problem}",
                    hint=f"yoriai verify {artifact.path}  names all; {_REMEDY}",
                )


def check_bytes(*artifacts: Artifact, watch: Watch | None = None) -> None:
    """Compare every sealed file of artifacts; raises :class:`Altered`, naming the file.

    A file that was added is refused too: a folder is read by libraries that look for names.
    """
    for artifact in artifacts:
        for finding in _added(artifact):
            raise Altered(
                f"{artifact.path / finding.file} {finding.problem}",
                hint=f"yoriai verify {artifact.path}  names all; {_REMEDY}",
            )
    check_files([(a, name) for a in artifacts for name in a.manifest["files"]], watch)


def check_sizes(artifact: Artifact, quick_bytes: int) -> None:
    """Compare names and sizes of all files, and the bytes of the smallest up to so many together.

    Raises :class:`Altered`, naming the file.
    """
    left = quick_bytes
    sealed = artifact.manifest["files"]
    for name, facts in sorted(sealed.items(), key=lambda item: (item[1]["bytes"], item[0])):
        left -= facts["bytes"]
        if problem := _file_problem(artifact, name, _digest if left >= 0 else None):
            raise Altered(
                f"{artifact.path / name} {problem}",
                hint=f"yoriai verify {artifact.path}  names all; {_REMEDY}",
            )


def check_folder(folder: Path, watch: Watch | None = None) -> None:
    """Compare the bytes of the artifact that ``folder`` is, or lies in; a plain folder is left.

    For folders that a library reads by itself, such as a model's.
    """
    named, real = folder.expanduser().absolute(), folder.expanduser().resolve()
    for above in (named, *named.parents, real, *real.parents):
        if (above / MANIFEST).is_file():
            check_bytes(open_artifact(above), watch=watch)
            return


def _added(artifact: Artifact) -> list[Finding]:
    """What stands in an artifact's folder and is not in its manifest."""
    sealed = artifact.manifest["files"]
    folders = {"/".join(n.split("/")[:k]) for n in sealed for k in range(1, n.count("/") + 1)}
    found: list[Finding] = []

    def unreadable(error: OSError) -> None:
        name = os.path.relpath(error.filename or artifact.path, artifact.path)
        found.append(Finding(name, f"cannot be read: {error.strerror}"))

    for here, below, names in os.walk(artifact.path, onerror=unreadable):
        for word in (*below, *names):
            path = Path(here, word)
            name = path.relative_to(artifact.path).as_posix()
            if name in sealed or name in folders or name == MANIFEST:
                continue
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                found.append(Finding(name, "is a folder that was added after sealing"))
            else:
                kind = "" if stat.S_ISREG(mode) else f"is {manifest.kind_of(mode)} and "
                found.append(Finding(name, f"{kind}was added after sealing"))
    return sorted(found, key=lambda finding: finding.file)


def verify(path: Path, *, deep: bool = True) -> tuple[Artifact | None, list[Finding]]:
    """Compare every byte with the manifest; the findings name each altered file.

    Without ``deep`` only names and sizes are compared (what deciding on reuse does).
    """
    try:
        artifact = open_artifact(path)
    except Altered as error:
        return None, [Finding(MANIFEST, error.message)]
    names = list(artifact.manifest["files"])
    with ThreadPoolExecutor(min(THREADS, max(1, len(names)))) as pool:
        digest = files.digest_file if deep else None  # never from memory
        problems = pool.map(lambda name: _file_problem(artifact, name, digest), names)
        findings = [Finding(n, p) for n, p in zip(names, problems, strict=True) if p]
    return artifact, findings + _added(artifact)


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
