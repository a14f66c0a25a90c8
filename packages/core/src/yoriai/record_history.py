"""When things of a record were written: predictions by git, the frozen whole by digests.

A prediction made before a run is worth more than one made after it. Nobody is asked: the
history of ``record.yaml`` says in which commit each prediction stood first, and whether its
outcome was there by then.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from yoriai import files
from yoriai.errors import Refused
from yoriai.record import Filed

FROZEN = "frozen.json"
# What may change after freezing: what others found later.
OPEN_FILES = (FROZEN, "errata.md")
OPEN_KEYS = ("validity", "links", "discussion", "follow_up")
Standing = Literal["before-run", "before-result", "afterwards", "unknown"]


@dataclass(frozen=True, slots=True)
class Stated:
    """When a prediction was first committed, and what was known by then."""

    text: str
    standing: Standing
    commit: str = ""
    time: str = ""
    first_run: str = ""

    def words(self, language: str) -> str:
        """One sentence about it, in English or Japanese."""
        when = f"{self.time[:16].replace('T', ' ')} ({self.commit[:10]})"
        run = self.first_run[:16].replace("T", " ")
        english = {
            "before-run": f"committed {when}, before the first run began ({run})",
            "before-result": f"committed {when}, before its outcome was; no run file tells more",
            "afterwards": "written afterwards",
            "unknown": "not known: there is no whole git history here",
        }
        japanese = {
            "before-run": f"{when} に commit。最初の実行の開始は {run}",
            "before-result": f"{when} に commit。結果はまだなかった(実行ファイルはない)",
            "afterwards": "後から書かれた",
            "unknown": "不明(git の履歴がここにない)",
        }
        return (japanese if language == "ja" else english)[self.standing]


def _git(folder: Path, *words: str, given: bytes | None = None) -> bytes | None:
    command = ["git", "-C", str(folder), "-c", "core.quotePath=false", *words]
    try:
        done = subprocess.run(command, input=given, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def list_stated(root: Path, filed: Sequence[Filed]) -> dict[str, list[Stated]]:
    """For each record (by folder name) when each of its predictions was first committed."""
    versions = _versions(root)
    return {one.folder.name: _stated(one, versions) for one in filed}


def _versions(root: Path) -> dict[str, list[tuple[str, str, Any]]] | None:
    """Commit, time and content of every version of every record.yaml, by number, oldest first."""
    shallow = _git(root, "rev-parse", "--is-shallow-repository")
    if shallow is None or shallow.strip() != b"false":
        return None
    told = _git(root, "log", "--reverse", "--topo-order", "--full-history", "--relative",
                "--format=%x01%H %cI", "--name-only", "--diff-filter=AM", "--", ".")  # fmt: skip
    if told is None:
        return None
    prefix = (_git(root, "rev-parse", "--show-prefix") or b"").decode().strip()
    wanted: list[tuple[str, str, str]] = []
    for part in told.decode(errors="replace").split("\x01")[1:]:
        head, *names = part.splitlines()
        commit, time = head.split(" ", 1)
        wanted += [
            (commit, time, n) for n in names if n.count("/") == 1 and n[-12:] == "/record.yaml"
        ]
    asked = "".join(f"{commit}:{prefix}{name}\n" for commit, _, name in wanted)
    data = _git(root, "cat-file", "--batch", given=asked.encode()) or b""
    found: dict[str, list[tuple[str, str, Any]]] = {}
    for commit, time, name in wanted:
        first, _, data = data.partition(b"\n")
        words = first.split()
        if len(words) != 3 or words[1] != b"blob":
            continue
        size = int(words[2])
        body, data = data[:size], data[size + 1 :]
        found.setdefault(name[:4], []).append((commit, time, quick_yaml(body)))
    return found


# Anchors and merges can make a few bytes into billions of values; a record needs neither.
_ALIASES = re.compile(rb"^[^\S\n]*(?:[^#'\"\n]*[:\-,\[{][^\S\n]+)?(?:[&*]\w|<<\s*:)", re.MULTILINE)


def quick_yaml(body: bytes) -> dict[str, Any]:
    """A mapping from YAML, many a second; empty if it is none, or uses anchors."""
    if len(body) > 2**20 or _ALIASES.search(body):
        return {}
    try:
        value = yaml.load(body.decode(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _stated(filed: Filed, versions: dict[str, list[tuple[str, str, Any]]] | None) -> list[Stated]:
    first_run = first_start(filed)
    rows = []
    for prediction in filed.record.predictions:
        text = prediction.text
        if versions is None:
            rows.append(Stated(text, "unknown", first_run=first_run))
            continue
        for commit, time, value in versions.get(filed.record.id, []):
            told = [p for p in _rows(value) if " ".join(str(p.get("text", "")).split()) == text]
            if told:
                known = told[0].get("measured") is not None or value.get("state") == "ended"
                late = bool(first_run) and _moment(time) > _moment(first_run)
                standing: Standing = "before-run" if first_run else "before-result"
                standing = "afterwards" if known or late else standing
                rows.append(Stated(text, standing, commit, time, first_run))
                break
        else:
            rows.append(Stated(text, "afterwards", first_run=first_run))  # not committed at all
    return rows


def _rows(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    predictions = value.get("predictions")
    if isinstance(predictions, list):
        yield from (p for p in predictions if isinstance(p, dict))


def _moment(text: str) -> datetime.datetime:
    moment = datetime.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def first_start(filed: Filed) -> str:
    """When the first of the record's runs began, as its file says; "" without run files."""
    found = []
    for path in (filed.folder / "runs").glob("*.json"):
        try:
            started = str(json.loads(path.read_bytes())["started"])
            found.append((_moment(started), started))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return min(found)[1] if found else ""


# --- freezing -----------------------------------------------------------------------------


def tree_id(folder: Path) -> str:
    """The folder's git tree, which is its Software Heritage id (``swh:1:dir:…``)."""
    rows = []
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            rows.append((path.name + "/", b"40000 " + path.name.encode(), tree_id(path)))
        elif path.is_file():
            body = path.read_bytes()
            mode = b"100755 " if path.stat().st_mode & 0o100 else b"100644 "
            rows.append((path.name, mode + path.name.encode(), _sha1("blob", body)))
    body = b"".join(head + b"\0" + bytes.fromhex(digest) for _, head, digest in sorted(rows))
    return _sha1("tree", body)


def _sha1(kind: str, body: bytes) -> str:
    # git's own object format; no claim of secrecy rests on it, sha256 stands beside it.
    return hashlib.sha1(f"{kind} {len(body)}\0".encode() + body, usedforsecurity=False).hexdigest()


def digests(filed: Filed) -> dict[str, str]:
    """SHA-256 of each file that freezing closes; of record.yaml, of the keys that it closes."""
    value = filed.record.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    closed = {key: item for key, item in value.items() if key not in OPEN_KEYS}
    found = {"record.yaml": files.digest_json(closed)}
    for path in sorted(filed.folder.rglob("*")):
        name = path.relative_to(filed.folder).as_posix()
        if path.is_file() and name not in (*OPEN_FILES, "record.yaml"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def freeze(filed: Filed, today: datetime.date) -> Path:
    """Write ``frozen.json``: from now on only errata, validity and links may change."""
    path = filed.folder / FROZEN
    if filed.record.state not in ("ended", "withdrawn"):
        raise Refused(f"{filed.record.id} is {filed.record.state}; what has ended is frozen")
    if path.exists():
        raise Refused(f"{filed.record.id} is frozen already", hint="yoriai records verify")
    value = {"schema": 1, "frozen": str(today), "files": digests(filed)}
    files.write_atomically(path, files.ordered_json(value))
    return path


def frozen_faults(filed: Filed) -> list[str]:
    """What was changed since the record was frozen; empty if nothing, or not frozen."""
    path = filed.folder / FROZEN
    if not path.is_file():
        return []
    try:
        sealed = dict(json.loads(path.read_bytes())["files"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return [f"{path}: is no list of digests"]
    now = digests(filed)
    names = sorted(sealed.keys() | now.keys())
    return [
        f"{filed.folder / name}: was changed after the record was frozen; write errata.md"
        for name in names
        if sealed.get(name) != now.get(name)
    ]
