"""Where the files of data sets lie, and whether they are what the registry says.

A file is looked for in the mirrors (``--mirror``, else ``YORIAI_MIRROR``), then in the cache
(``YORIAI_CACHE``), and is downloaded once if it is in neither. It is never used before its
checksum was taken and found right.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import pydantic
from pydantic import Field

from yoriai import NotFound, UsageError, YoriaiError, console
from yoriai.config import unknown_name
from yoriai.errors import Altered
from yoriai.files import write_atomically
from yoriai.strict import Strict
from yoriai_eval.sets import catalogue

UPSTREAM = "https://raw.githubusercontent.com"
ATTEMPTS = 3
PAUSE_SECONDS = 1.0  # before the second attempt; doubled before the third
SOCKET_SECONDS = 10.0  # without a byte
SILENCE_SECONDS = 600.0  # for which a host that could not be reached is not asked again
TRANSFER_SECONDS = 600.0  # for a whole file
LIMIT_BYTES = 64 * 2**20  # for a file whose size the registry does not know
CHUNK_BYTES = 2**18


# --- the registry -----------------------------------------------------------------------


class File(Strict):
    """What is known of a file's content."""

    bytes: int = Field(0, ge=0, le=10**15, description="size; 0: not known")
    sha256: str = Field("", pattern="^([0-9a-f]{64})?$", description="of the content")
    git_blob: str = Field(
        "", pattern="^([0-9a-f]{40})?$", description="git's name of the content, if no sha256"
    )
    unverified: bool = Field(False, description="nobody has taken a checksum; pinned by its commit")
    rows: int = Field(0, ge=0, description="records in it; other counts are refused; 0: any")
    folders: tuple[str, ...] = Field(
        (),
        description="where a mirror may hold the same CSV files unpacked, as in a git clone; read "
        "where the file is absent, unverified",
    )

    @pydantic.model_validator(mode="after")
    def _is_pinned(self) -> File:
        if bool(self.sha256) + bool(self.git_blob) + self.unverified != 1:
            raise ValueError("give one of sha256, git_blob and unverified: true")
        return self

    @property
    def checksum(self) -> str:
        """The digest with the name of its kind, as it is shown and compared."""
        if self.unverified:
            return "unverified"
        return f"sha256:{self.sha256}" if self.sha256 else f"git-blob:{self.git_blob}"


class Origin(Strict):
    """A data set as its authors publish it."""

    title: str
    task: str = Field("", description="its class in the room tasks, module:Name; empty: none")
    requires: tuple[str, ...] = Field((), description="distributions that its reader needs")
    repository: str = Field(description="owner/name on GitHub")
    commit: str = Field(description="the version that is read")
    licence: str = Field(description="SPDX")
    redistribution: str = Field(description="whether copies may be given on, and how")
    homepage: str
    folder: str = Field("", description="its folder in a mirror; empty: its name")
    download: bool = Field(True, description="whether the files are upstream under these paths")
    address: str = Field(
        "", description="of a file, with {repository}, {commit}, {path}; empty: raw on GitHub"
    )
    extra: bool = Field(False, description="fetched and checked only where it is asked for by name")
    note: str = Field("", description="what a reader of scores should know")
    splits: dict[str, str] = Field({}, description="how each split is made, in words")
    files: dict[str, File] = Field({}, description="by path in the repository")

    def url(self, path: str) -> str:
        """Where a file is downloaded from (``YORIAI_DATA_URL`` is another base, for tests)."""
        from urllib.parse import quote

        base = os.environ.get("YORIAI_DATA_URL")
        if self.address and not base:
            return self.address.format(
                repository=self.repository, commit=self.commit, path=quote(path)
            )
        return f"{(base or UPSTREAM).rstrip('/')}/{self.repository}/{self.commit}/{quote(path)}"


@cache
def origins() -> dict[str, Origin]:
    """All data sets of the registry, by name."""
    found: dict[str, Origin] = {}
    for name, value in catalogue.read().items():
        origin = Origin.model_validate(value)
        found[name] = origin.model_copy(update={"folder": origin.folder or name})
    return found


def origin(dataset: str) -> Origin:
    """One data set; raises :class:`yoriai.NotFound` with the nearest name."""
    if dataset not in origins():
        raise unknown_name(dataset, origins(), "data set")
    return origins()[dataset]


def file(dataset: str, path: str) -> File:
    """One file of a data set; raises :class:`yoriai.NotFound` with the nearest path."""
    files = origin(dataset).files
    if path not in files:
        raise unknown_name(path, files, f"file of {dataset}")
    return files[path]


def digest_of(known: File, content: bytes) -> str:
    """The digest of some content, of the kind by which a file is pinned (sha256 if by none)."""
    if known.sha256 or known.unverified:
        return f"sha256:{hashlib.sha256(content).hexdigest()}"
    head = f"blob {len(content)}\0".encode()
    return f"git-blob:{hashlib.sha1(head + content, usedforsecurity=False).hexdigest()}"


# --- places -----------------------------------------------------------------------------


def mirrors(given: Sequence[Path] = ()) -> list[Path]:
    """The folders to look in first: those given, else ``YORIAI_MIRROR`` (several with ``:``).

    Raises :class:`yoriai.UsageError` for one that is no folder.
    """
    named = list(given)
    if not named:
        text = os.environ.get("YORIAI_MIRROR", "")
        named = [Path(part) for part in text.split(os.pathsep) if part]
    for place in named:
        if not place.is_dir():
            raise UsageError(
                f"the mirror {place} is no folder", hint="give one, or unset YORIAI_MIRROR"
            )
    return named


def cache_folder() -> Path:
    """Where downloads are kept: ``YORIAI_CACHE``/eval, else ``~/.cache/yoriai/eval``."""
    if root := os.environ.get("YORIAI_CACHE"):
        return Path(root) / "eval"
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise UsageError(
            "there is no home folder for the cache", hint="set YORIAI_CACHE"
        ) from error
    return base / "yoriai" / "eval"


@dataclass(frozen=True, slots=True)
class FileState:
    """How it stands with one file. ``digest`` is what was found, "" if nothing was."""

    dataset: str
    path: str
    state: Literal["ok", "unverified", "missing", "changed", "unreadable"]
    place: Path | None = None
    digest: str = ""


_digests: dict[tuple[str, str], tuple[int, int, str]] = {}
_downloading = threading.Lock()


def look(dataset: str, path: str, *, given: Sequence[Path] = ()) -> FileState:
    """Look for a file in mirrors and cache, and check it; downloads nothing.

    The first place that has the file counts: a changed file in a mirror is not passed over.
    """
    known = file(dataset, path)
    for root in (*mirrors(given), cache_folder()):
        place = root / origin(dataset).folder / path
        if not place.is_file():
            if clone := next((root / f for f in known.folders if _members(root / f)), None):
                digest = f"sha256:{hashlib.sha256(_packed(clone)).hexdigest()}"
                return FileState(dataset, path, "unverified", clone, digest)
            continue
        try:
            digest = _digest(place, known)
        except OSError as error:
            return FileState(dataset, path, "unreadable", place, error.strerror or str(error))
        if known.unverified:
            return FileState(dataset, path, "unverified", place, digest)
        return FileState(
            dataset, path, "ok" if digest == known.checksum else "changed", place, digest
        )
    return FileState(dataset, path, "missing")


def _members(folder: Path) -> list[Path]:
    """The CSV files right under a folder, by name; links are not followed."""
    found = folder.glob("*.csv") if folder.is_dir() else ()
    return sorted(p for p in found if p.is_file() and not p.is_symlink())


def _packed(folder: Path) -> bytes:
    """The CSV files of a folder as an archive: of the same files always the same bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for member in _members(folder):
            archive.writestr(zipfile.ZipInfo(f"{folder.name}/{member.name}"), member.read_bytes())
    return made.getvalue()


def _digest(place: Path, known: File) -> str:
    """The file's digest; taken once for each state (time, size) of the file in a process."""
    stat = place.stat()
    key = (str(place.absolute()), known.checksum.partition(":")[0])
    seen = _digests.get(key)
    if seen and seen[:2] == (stat.st_mtime_ns, stat.st_size):
        return seen[2]
    digest = digest_of(known, place.read_bytes())
    _digests[key] = (stat.st_mtime_ns, stat.st_size, digest)
    return digest


def locate(dataset: str, path: str, *, given: Sequence[Path] = ()) -> Path:
    """The place of a file that was checked; downloads it into the cache if it is nowhere.

    Raises :class:`yoriai.errors.Altered` for a file that is not what the registry says, and
    :class:`yoriai.NotFound` for one that is not here and cannot be had.
    """
    found = look(dataset, path, given=given)
    if found.state == "missing":
        with _downloading:
            found = look(dataset, path, given=given)
            if found.state == "missing":
                return _download(dataset, path)
    if found.state not in ("ok", "unverified") or found.place is None:
        raise complaint(found)
    return found.place


def read(dataset: str, path: str, *, given: Sequence[Path] = ()) -> bytes:
    """The content of a file that was checked; of a folder that stands for it, packed."""
    place = locate(dataset, path, given=given)
    return _packed(place) if place.is_dir() else place.read_bytes()


def complaint(found: FileState, why: str = "") -> YoriaiError:
    """What to say of a file that is changed, unreadable or missing."""
    name = f"{found.dataset}: {found.path}"
    if found.state == "unreadable":
        return YoriaiError(f"{name} cannot be read: {found.digest}", hint=f"ls -l {found.place}")
    if found.state == "changed":
        known = file(found.dataset, found.path)
        hint = f"put the upstream file at {found.place}"
        if found.place is not None and found.place.is_relative_to(cache_folder()):
            hint = f"rm {found.place} && yoriai eval data get {found.dataset}"
        return Altered(
            f"{name} is not the file that was registered: expected {known.checksum}, "
            f"found {found.digest}",
            hint=hint,
        )
    source = origin(found.dataset)
    wanted = f"{source.folder}/{found.path}"
    remedy = f"put it into a folder as {wanted} and give that folder: --mirror DIR or YORIAI_MIRROR"
    if not source.download:
        return NotFound(f"{name} is in no mirror, and upstream has no such file", hint=remedy)
    told = why or "it is in no mirror and not in the cache"
    hint = remedy if why else f"yoriai eval data get {found.dataset}, or {remedy}"
    return NotFound(f"{name} is not here: {told} ({source.url(found.path)})", hint=hint)


# --- downloading ------------------------------------------------------------------------

# When a host could not be reached, and why: only the first file of a run waits for it.
_unreachable: dict[str, tuple[float, str]] = {}


class _Trouble(Exception):
    """A transfer that failed; ``final`` if another attempt cannot help.

    ``host`` is the one that was not reached, or fell silent.
    """

    def __init__(self, why: str, *, final: bool = False, host: str = "") -> None:
        super().__init__(why)
        self.final = final
        self.host = host

    def remember(self) -> None:
        """Let nobody wait for the host again; called where it is given up."""
        if self.host:
            _unreachable[self.host] = time.monotonic(), str(self)


def _download(dataset: str, path: str) -> Path:
    """Fetch a file into the cache, whole and checked, or not at all."""
    source, known = origin(dataset), file(dataset, path)
    missing = FileState(dataset, path, "missing")
    if not source.download:
        raise complaint(missing)
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            content = _fetch(source.url(path), known.bytes, f"download {dataset}/{path}")
            break
        except _Trouble as trouble:
            if trouble.final or attempt == ATTEMPTS - 1:
                trouble.remember()
                raise complaint(missing, str(trouble)) from trouble
    digest = digest_of(known, content)
    if digest != known.checksum and not known.unverified:
        raise Altered(
            f"{dataset}: {source.url(path)} is not the file that was registered: expected "
            f"{known.checksum}, found {digest}; nothing was kept",
            hint="a proxy may have answered in its place; open the address, or use --mirror DIR",
        )
    place = cache_folder() / source.folder / path
    write_atomically(place, content)
    return place


def fetch(url: str, sha256: str) -> Path:
    """The place of a file that is pinned by its checksum alone; downloaded once into the cache.

    Raises :class:`yoriai.NotFound` if it cannot be had, and :class:`yoriai.errors.Altered` if it
    is another.
    """
    place = cache_folder() / "pinned" / sha256
    known = File(sha256=sha256)
    if not place.is_file():
        try:
            content = _fetch(url, 0, url.rpartition("/")[2] or url)
        except _Trouble as trouble:
            trouble.remember()
            raise NotFound(f"{url} cannot be had: {trouble}", hint="give a local file") from trouble
        if (digest := digest_of(known, content)) != known.checksum:
            raise Altered(
                f"{url} is another file: expected {known.checksum}, found {digest}",
                hint="correct the sha256, after a look at what changed",
            )
        write_atomically(place, content)
    if (digest := _digest(place, known)) != known.checksum:
        raise Altered(f"{place} was changed: found {digest}", hint=f"rm {place}")
    return place


def _fetch(url: str, size: int, label: str) -> bytes:
    """The content at an address. ``size`` is what the registry expects (0: not known).

    A host that was given up is not asked again for ``SILENCE_SECONDS``.
    """
    import http.client
    import socket
    import urllib.error
    import urllib.parse
    import urllib.request

    if not url.startswith(("https://", "http://")):
        raise _Trouble("this is no web address", final=True)
    host = urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
    since, why = _unreachable.get(host, (0.0, ""))
    if why and time.monotonic() - since < SILENCE_SECONDS:
        raise _Trouble(f"{why}, and was not asked again", final=True)
    answered = False
    limit = size or LIMIT_BYTES
    request = urllib.request.Request(url, headers={"User-Agent": "yoriai"})
    started = time.monotonic()
    try:
        with urllib.request.urlopen(request, timeout=SOCKET_SECONDS) as answer:
            answered = True
            length = answer.headers.get("Content-Length") or ""
            promised = int(length) if length.isdecimal() else 0
            if promised > limit:
                raise _Trouble(f"{promised} bytes are promised, at most {limit} wanted", final=True)
            content = bytearray()
            chunks = iter(lambda: answer.read(CHUNK_BYTES), b"")
            steps = -(-promised // CHUNK_BYTES) or None
            for chunk in console.watch(chunks, label, total=steps):
                content += chunk
                if len(content) > limit:
                    raise _Trouble(f"it is longer than {limit} bytes", final=True)
                if time.monotonic() - started > TRANSFER_SECONDS:
                    raise _Trouble(f"it takes longer than {TRANSFER_SECONDS:.0f} s", final=True)
    except urllib.error.HTTPError as error:
        passing = error.code >= 500 or error.code in (408, 425, 429)
        raise _Trouble(f"the server says {error.code} {error.reason}", final=not passing) from error
    except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", None) or error
        silent = isinstance(reason, TimeoutError)
        why = f"nothing came within {SOCKET_SECONDS:.0f} s" if silent else str(reason)
        # Without a network names are not found; asking again would only cost time, as it does
        # where nobody says a word.
        final = isinstance(reason, socket.gaierror) or (silent and not answered)
        what = "the connection broke" if answered else "it cannot be reached"
        why = f"{host}: {what}: {why or type(reason).__name__}"
        raise _Trouble(why, final=final, host=host) from error
    if len(content) < (promised or size):
        raise _Trouble(f"it broke off after {len(content)} of {promised or size} bytes")
    return bytes(content)
