"""Which files a source means: patterns, folders and addresses, each file under a short name.

A name is the file's own name, or its path below the fixed part of the pattern; never a folder
outside the pattern. So no home folder gets into ids, and they stay when the data moves.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from yoriai import NotFound, UsageError, YoriaiError
from yoriai_corpus.sources import package_archives

_PIECE = re.compile(r"(.+)@(\d+)-(\d+)")
_MAGIC = re.compile(r"[*?\[]")


class NothingMatches(NotFound):
    """A path or a pattern that means no file."""


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source: its short name, and where it lies (a path, or an address)."""

    name: str
    path: str

    @property
    def is_remote(self) -> bool:
        return "://" in self.path

    def open(self, buffer: int = 1 << 18) -> IO[bytes]:
        """Its bytes as they lie there. Raises :class:`OSError` for what is no plain file."""
        if self.is_remote:
            system, path = _file_system(self.path)
            info = system.info(path) if self.path.startswith("http") else {"partial": True}
            return system.open(path, "rb") if info.get("partial") else _fetch(system, path, info)
        # A pipe would wait for ever; O_NONBLOCK opens it so that it can be told from a file.
        handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
            os.close(handle)
            raise OSError(0, "it is a folder" if is_folder else "it is no plain file")
        return os.fdopen(handle, "rb", buffer)

    def size(self) -> int:
        """Bytes; 0 where nobody can tell."""
        try:
            if self.is_remote:
                system, path = _file_system(self.path)
                return int(system.info(path).get("size") or 0)
            return os.stat(self.path).st_size
        except Exception:  # an address: its library's own errors
            return 0

    def stamp(self) -> list[Any]:
        """What changes when the file is written again, without reading it.

        Size and time of writing; for an address what its file system knows (``ukey``), with
        size, ETag and date where the server tells them, since a ukey of HTTP is the URL alone.
        """
        try:
            if not self.is_remote:
                found = os.stat(self.path)
                return [found.st_size, found.st_mtime_ns]
            system, path = _file_system(self.path)
            info = system.info(path)
            keys = ("size", "ETag", "etag", "LastModified", "Last-Modified")
            known = [str(info.get(key, "")) for key in keys]
            return [system.ukey(path), *known]
        except (YoriaiError, MemoryError):
            raise
        except Exception as error:
            return [f"unreadable: {reason_of(error)}"]


def reason_of(error: Exception) -> str:
    """An error of the system in words, without the path that it may hold."""
    words = getattr(error, "strerror", None)
    if isinstance(words, str) and words:
        return words
    message = "" if isinstance(error, OSError) else str(error).partition("\n")[0][:120]
    return f"{type(error).__name__}: {message}".removesuffix(": ")


def list_files(
    patterns: Iterable[str], *, suffixes: Sequence[str] = (), tree: bool = False
) -> list[SourceFile]:
    """The files that the patterns mean, in order of name, none of them twice.

    ``suffixes`` are those that count inside a folder (empty: folders are refused; ``"*"``:
    every file). With ``tree`` a name is the path below the fixed part of its pattern. Equal
    names are told apart by a number. Raises :class:`NothingMatches`.
    """
    found: dict[str, tuple[str, str, str]] = {}  # real place -> (sorts, path, name)
    for pattern in patterns:
        pattern = _with_variables(pattern.removeprefix("file://"))
        if pattern.startswith(package_archives.PREFIX):
            pattern = str(package_archives.locate(pattern))
        match = _remote if "://" in pattern else _local
        count = 0
        for path, below in match(pattern, suffixes):
            count += 1
            real = path if "://" in path else os.path.realpath(path)
            # Of several ways to one file the direct one gives the name.
            row = (f"{real != os.path.abspath(path):d}{path}", path, below)
            found[real] = min(found.get(real, row), row)
        if not count:
            raise NothingMatches(
                f"no file matches {pattern}", hint="check the path and the pattern"
            )
    files: dict[str, SourceFile] = {}
    for path, below in sorted((path, below) for _, path, below in found.values()):
        stem = below if tree else below.rpartition("/")[2]
        if _PIECE.fullmatch(stem):
            stem += "#"  # else it might be taken for a piece of another file
        name, number = stem, 1
        while name in files:
            number += 1
            name = f"{stem}#{number}"
        files[name] = SourceFile(name, path)
    return sorted(files.values(), key=lambda file: file.name)


def other_files(patterns: Iterable[str], suffixes: Sequence[str]) -> dict[str, int]:
    """Files inside the folders among the patterns that do not count, by ending."""
    kinds: Counter[str] = Counter()
    for pattern in patterns:
        if "://" in pattern.removeprefix("file://"):
            continue
        path = Path(_with_variables(pattern.removeprefix("file://"))).expanduser()
        if not suffixes or not path.is_dir():
            continue
        for inner in _walk(path):
            if not _counts(inner.name, suffixes) and not inner.is_dir():
                ending = inner.suffix.lower()
                told = f"file {ending}" if re.fullmatch(r"\.\w{1,12}", ending) else "other file"
                kinds[told] += 1
    return dict(sorted(kinds.items()))


_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")


def _with_variables(pattern: str) -> str:
    """``$NAME/…`` with the environment's value, so that a recipe need not say where data lies.

    Only at the beginning: elsewhere a ``$`` is a character of a name.
    """
    match = _VARIABLE.match(pattern)
    if not match:
        return pattern
    name = match[1].strip("{}")
    if not os.environ.get(name):
        raise NothingMatches(
            f"{pattern}: the environment variable {name} is not set",
            hint=f"export {name}=FOLDER",
        )
    return os.environ[name] + pattern[match.end() :]


def piece_of(partition: str) -> tuple[str, int, int] | None:
    """``name@start-end`` taken apart; None for a whole file's name."""
    match = _PIECE.fullmatch(partition)
    return (match[1], int(match[2]), int(match[3])) if match else None


# --- on this machine ----------------------------------------------------------------------


def _local(pattern: str, suffixes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(path, path below the fixed part) of everything a pattern means."""
    path = Path(pattern).expanduser()
    if path.is_dir() and suffixes:
        for inner in _walk(path):
            if _counts(inner.name, suffixes):
                yield str(inner), inner.relative_to(path).as_posix()
        return
    if os.path.lexists(path):
        yield str(path), path.name
        return
    parts = path.parts
    fixed = next((i for i, part in enumerate(parts) if _MAGIC.search(part)), len(parts))
    root = Path(*parts[:fixed]) if fixed else Path()
    if fixed == len(parts) or not root.is_dir():
        return
    rest = Path(*parts[fixed:]).as_posix()
    # A folder is passed over where "*" met it, and reported where its name was described.
    folders_count = rest.rpartition("/")[2].strip("*?") != ""
    matches = _match_below(root, rest) if "**" in rest else root.glob(rest)
    for match in matches:
        if folders_count or not match.is_dir():
            yield str(match), match.relative_to(root).as_posix()


def _match_below(root: Path, pattern: str) -> Iterator[Path]:
    expression = re.compile(_translate(pattern))
    for path in _walk(root):
        if expression.fullmatch(path.relative_to(root).as_posix()):
            yield path


def _translate(pattern: str) -> str:
    """A pattern with ``**`` as a regular expression over a path with slashes."""
    if pattern == "**" or pattern.endswith("/**"):
        pattern += "/*"
    expression, at = "", 0
    while at < len(pattern):
        if pattern.startswith("**/", at):
            expression, at = expression + "(?:[^/]+/)*", at + 3
        elif pattern[at] == "*":
            expression, at = expression + "[^/]*", at + 1
        elif pattern[at] == "?":
            expression, at = expression + "[^/]", at + 1
        elif pattern[at] == "[" and (closing := pattern.find("]", at + 2)) > 0:
            inner = pattern[at + 1 : closing].replace("\\", "\\\\")
            inner = "^/" + inner[1:] if inner.startswith("!") else inner
            expression, at = f"{expression}[{inner}]", closing + 1
        else:
            expression, at = expression + re.escape(pattern[at]), at + 1
    return expression


def _walk(root: Path) -> Iterator[Path]:
    """Every file below, in a fixed order; a folder met again by a link is not entered twice."""
    seen: set[str] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(names):
            yield Path(folder, name)


def _counts(name: str, suffixes: Sequence[str]) -> bool:
    plain = name.lower()
    for packing in (".gz", ".zst", ".bz2", ".xz"):
        plain = plain.removesuffix(packing)
    return any(suffix == "*" or plain.endswith(suffix) for suffix in suffixes)


# --- by fsspec ----------------------------------------------------------------------------


def _file_system(address: str) -> tuple[Any, str]:
    import fsspec
    from fsspec.registry import known_implementations

    protocol = address.partition("://")[0].rpartition("::")[2]
    try:
        system, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        known: Any = known_implementations.get(protocol, {})
        raise NotFound(
            f"addresses that begin with {protocol}:// need another package",
            hint=known.get("err") or str(error),
        ) from error
    except ValueError as error:
        raise UsageError(f"{protocol}:// is no kind of address that fsspec knows") from error
    return system, path


def _fetch(system: Any, path: str, info: dict[str, Any]) -> IO[bytes]:
    """A file of a web server that gives no part of a file, as a temporary one on this disk."""
    copy = tempfile.TemporaryFile()
    with system.open(path, "rb", block_size=0) as stream:
        shutil.copyfileobj(stream, copy, 1 << 20)
    if info.get("size") and copy.tell() != info["size"]:
        raise OSError(0, f"{copy.tell()} of {info['size']} bytes came")
    copy.seek(0)
    return copy


def _remote(pattern: str, suffixes: Sequence[str]) -> Iterator[tuple[str, str]]:
    system, path = _file_system(pattern)
    # In an address "?" begins a query, it is no pattern.
    magic = re.search(r"[*\[]", path)
    try:
        if magic:
            matches = [p for p in system.glob(path) if not system.isdir(p)]
            root = path[: magic.start()].rpartition("/")[0]
        elif suffixes and system.isdir(path):
            matches = [p for p in system.find(path) if _counts(p, suffixes)]
            root = path
        else:
            matches = [path] if system.exists(path) else []
            root = path.rpartition("/")[0]
    except OSError as error:
        raise NotFound(f"{pattern} cannot be listed: {reason_of(error)}") from error
    head = system._strip_protocol(root).rstrip("/") + "/"
    for match in sorted(map(str, matches)):
        inside = system._strip_protocol(match)
        below = inside.removeprefix(head) if inside.startswith(head) else inside
        yield system.unstrip_protocol(match), below.partition("?")[0].lstrip("/") or "file"
