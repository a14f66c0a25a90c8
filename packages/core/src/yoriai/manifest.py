"""What a manifest must look like, and where a name in it may lead: nowhere but into its folder.

A manifest comes with the folder of a stranger, who can seal whatever is written in it. So its
shape is checked as data before anything reads a key, and the names of its files as text before
any of them becomes a path.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unicodedata import normalize

from yoriai import terminal

NAME = "artifact.json"
MAX_BYTES = 256 * 2**20
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEXTS = ("kind", "name", "step", "digest", "licence", "seal")
_MAPPINGS = ("config", "outside", "facts", "files", "circumstances")
_LISTS = ("inputs", "sources")


def parse(data: bytes) -> tuple[dict[str, Any] | None, str]:
    """The manifest, or None and why it is none."""
    if len(data) > MAX_BYTES:
        return None, f"has {len(data):,} bytes; a manifest has at most {MAX_BYTES:,}"
    try:
        value = json.loads(data)
    except RecursionError:
        return None, "is nested too deeply to be read"
    except ValueError:
        return None, "is not JSON"
    problem = shape_problem(value)
    return (None, problem) if problem else (value, "")


def shape_problem(value: Any) -> str:
    """What is wrong with the shape of a manifest; ``""`` if nothing is."""
    if not isinstance(value, dict):
        return "holds no mapping"
    for keys, wanted, words in (
        (_TEXTS, str, "text"),
        (_MAPPINGS, dict, "mapping"),
        (_LISTS, list, "list"),
    ):
        for key in keys:
            if not isinstance(value.get(key), wanted):
                return f"the key {key!r} is missing or holds no {words}"
    for key in ("schema", "code", "seed"):
        if key not in value:
            return f"the key {key!r} is missing"
    for row in value["inputs"]:
        if not (_is_text_in(row, "name") and _is_text_in(row, "digest")):
            return "an item of 'inputs' has no name and digest"
    if not all(isinstance(row, dict) for row in value["sources"]):
        return "an item of 'sources' is no mapping"
    folders = value["circumstances"].get("folders", [])
    if not (isinstance(folders, list) and all(isinstance(item, str) for item in folders)):
        return "'circumstances.folders' is no list of texts"
    folded: dict[str, str] = {}
    for name, facts in value["files"].items():
        problem = name_problem(name) or _facts_problem(facts)
        if problem:
            return f"the file {name[:80]!r} {problem}"
        # On a Mac or under Windows these are one file, and one digest stands for the other.
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            part = "/".join(parts[:count])
            other = folded.setdefault(_folded(part), part)
            if other != part:
                return f"{other[:80]!r} and {part[:80]!r} differ in case or accents only"
    return ""


def _folded(name: str) -> str:
    return name if name.isascii() and name.islower() else normalize("NFC", name).casefold()


def _is_text_in(row: Any, key: str) -> bool:
    return isinstance(row, dict) and isinstance(row.get(key), str)


def _facts_problem(facts: Any) -> str:
    if not _is_text_in(facts, "sha256") or not _DIGEST.fullmatch(facts["sha256"]):
        return "has no sha256"
    size = facts.get("bytes")
    return "" if type(size) is int and size >= 0 else "has no number of bytes"


def name_problem(name: str) -> str:
    """Why a name may not be one of a sealed file; ``""`` if it may."""
    if name.startswith("/") or "\\" in name or re.match(r"[A-Za-z]:", name):
        return "has an absolute or foreign name"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "has a name that leads outside, or in circles"
    if any(ord(c) < 32 for c in name) or terminal.harmless(name) != name:
        return "has control characters in its name"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "has a name that is no Unicode"
    return "is the manifest itself" if name == NAME else ""


def place_problem(folder: Path, name: str) -> str:
    """Why ``folder/name`` is not a plain file inside the folder; ``""`` if it is.

    No part of it may be a link, not even one that ends inside: its target can change.
    """
    problem = name_problem(name)
    if problem:
        return problem
    path = folder
    parts = name.split("/")
    for number, part in enumerate(parts, 1):
        path = path / part
        try:
            mode = path.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return "is missing"
        except OSError as error:
            return f"cannot be looked at: {error.strerror}"
        wanted = stat.S_ISREG if number == len(parts) else stat.S_ISDIR
        if not wanted(mode):
            return f"is {kind_of(mode)}" if number == len(parts) else f"lies below {kind_of(mode)}"
    return ""


def kind_of(mode: int) -> str:
    """A word for what a path is, from its ``st_mode``."""
    words: Mapping[int, str] = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFDIR: "a folder",
        stat.S_IFREG: "a file",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }
    return words.get(stat.S_IFMT(mode), "a device")
