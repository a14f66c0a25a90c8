"""Bytes on disk: digests, canonical JSON, writes that are whole or not there, locks."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from yoriai.errors import Refused, UsageError, YoriaiError


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value: sorted keys, two-space indent, UTF-8, one newline.

    Floats are written by ``repr`` (shortest form that reads back equal); NaN and infinity
    are refused because JSON has no such numbers.
    """
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False)
    return text.encode() + b"\n"


def ordered_json(value: Any) -> bytes:
    """JSON for reading, keys in their own order: the steps of a recipe are a story."""
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False).encode() + b"\n"


def open_ordinary(path: Path) -> IO[bytes]:
    """Open an ordinary file of others for reading.

    A pipe that nobody writes to would be waited for without end, and a device has no end: those
    raise :class:`UsageError`. Errors of opening are the system's own.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise UsageError(f"{path} is no ordinary file", hint=f"ls -l {path}")
    return os.fdopen(handle, "rb")


def read_small(path: Path, most_bytes: int) -> bytes:
    """The bytes of a file that :func:`open_ordinary` opens; :class:`UsageError` for more."""
    with open_ordinary(path) as stream:
        data = stream.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise UsageError(
            f"{path} has more than {most_bytes:,} bytes; no more are read", hint=f"ls -l {path}"
        )
    return data


def digest_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_json(value: Any) -> str:
    return digest_bytes(canonical_json(value))


def digest_file(path: Path) -> str:
    """sha256 of a file's bytes, read once, in constant memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def fsync_directory(path: Path) -> None:
    """Make the names inside ``path`` durable (a rename is only safe after this)."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def fsync_tree(root: Path) -> None:
    """Flush every file below ``root`` and every folder that names them."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            handle = os.open(Path(folder, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        fsync_directory(Path(folder))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old bytes or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise disk_error(path, error) from error
    fsync_directory(path.parent)


def clear_parts(path: Path) -> None:
    """Delete what writers of this file left that were killed; nobody else may write it now."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        part.unlink(missing_ok=True)


def link(path: Path, name: Path) -> None:
    """Give a finished file a second name without copying it, where the disk can do that."""
    name.unlink(missing_ok=True)
    try:
        os.link(path, name)
    except OSError:
        shutil.copyfile(path, name)


def is_disk_trouble(error: BaseException) -> bool:
    """Whether an error means that nothing more can be written here."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)  # EFBIG: a limit on file sizes
    return isinstance(error, OSError) and error.errno in full


def disk_error(path: Path, error: OSError) -> YoriaiError:
    """What kept ``path`` from being written, in words."""
    where = next((p for p in (path, *path.parents) if p.is_dir()), Path("/"))
    free_mb = shutil.disk_usage(where).free // 2**20
    # numpy's tofile gives words alone: "5898240 requested and 1048576 written".
    why = error.strerror or str(error) or "it could not be written whole"
    return YoriaiError(
        f"cannot write {path.name}: {why} ({free_mb} MB free)",
        hint="free some space or choose another place with --out DIR, then run again: "
        "what was finished is kept",
    )


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock (the kernel drops it when the holder dies)."""
    if not path.exists():
        return False
    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


# A forked child (a worker of a process pool) shares its parent's locks. It lets go of them at
# once: a worker that outlives a killed run must not make the run look alive.
_held: set[IO[bytes]] = set()


def _let_go() -> None:
    for stream in _held:
        stream.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


@contextmanager
def hold(path: Path, *, busy: str, shared: bool = False) -> Iterator[None]:
    """Hold an advisory lock while the block runs; refuse with ``busy`` if somebody has it.

    A ``shared`` one may be held by several who all share it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = path.open("ab")
    except OSError as error:
        raise disk_error(path, error) from error
    with stream:
        try:
            fcntl.flock(stream, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused(busy, hint="wait for it to end, or choose another --out DIR") from None
        _held.add(stream)
        try:
            yield
        finally:
            _held.discard(stream)
            if not stream.closed:
                fcntl.flock(stream, fcntl.LOCK_UN)
