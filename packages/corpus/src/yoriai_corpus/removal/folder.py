"""A removal in a folder of artifacts: what it would change, doing it, and the log of it."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoriai import Artifact, Refused, YoriaiError, files, run_file
from yoriai.artifact import IDENTITY, MANIFEST, check_bytes, open_artifact, seal
from yoriai.redaction import Redactor
from yoriai.strict import Strict
from yoriai_corpus.account.removals import LOG, name_digest
from yoriai_corpus.removal import rewriting
from yoriai_corpus.removal.selection import Name, RemovalRequest, RemovalSelection, Twins, select

PENDING = ".removal.json"  # names, while a removal is under way; deleted at its end
MOST_PENDING_BYTES = 2**30
KINDS = ("corpus", "tokens", "index")
COPIES = ("ngrams",)  # copies of tokens in another order: deleted, to be made anew


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What a removal changes: artifacts in order of making, with what each holds of it."""

    root: Path
    request: RemovalRequest
    chosen: RemovalSelection
    held: Mapping[str, Mapping[str, int]]
    changed: Sequence[Artifact]
    saw: Sequence[Mapping[str, str]]
    runs: Sequence[str] = field(default_factory=tuple)

    def plain(self) -> dict[str, Any]:
        return {
            "documents": len(self.chosen.names),
            "names": sorted("/".join(name) for name in self.chosen.names),
            "promoted": sorted("/".join(name) for name in self.chosen.promoted),
            "artifacts": [
                {"name": artifact.name, "kind": artifact.kind, "digest": artifact.digest,
                 "path": str(artifact.path.relative_to(self.root)),
                 "holds": dict(self.held.get(artifact.digest, {}))}
                for artifact in self.changed
            ],
            "saw": list(self.saw),
            "runs": list(self.runs),
        }  # fmt: skip


def artifacts_of(root: Path) -> list[Artifact]:
    """All artifacts below a folder, those put aside too, each after those it was made from."""
    found = [
        open_artifact(path.parent) for path in sorted(root.rglob(MANIFEST))
        if ".work" not in path.relative_to(root).parts
    ]  # fmt: skip
    ordered: list[Artifact] = []
    done: set[str] = set()
    left = found
    while left:
        digests = {artifact.digest for artifact in left}
        ready = [
            artifact for artifact in left
            if not digests & {row["digest"] for row in artifact.manifest["inputs"]}
        ] or left  # fmt: skip
        ordered += ready
        done |= {artifact.digest for artifact in ready}
        left = [artifact for artifact in left if artifact.digest not in done]
    return ordered


def plan(root: Path, request: RemovalRequest) -> RemovalPlan:
    """What a request would change. Raises :class:`YoriaiError` where nothing here is meant."""
    request.check()
    pending = _pending(root)
    if pending is not None:
        raise Refused(
            "a removal was begun here and not ended", hint=f"yoriai corpus remove {root} --resume"
        )
    found = artifacts_of(root)
    chosen = select([artifact for artifact in found if artifact.kind == "corpus"], request)
    return _plan(root, request, chosen, found)


def resume(root: Path) -> RemovalPlan:
    """The rest of a removal that was begun. Raises :class:`YoriaiError` if there is none."""
    pending = _pending(root)
    if pending is None:
        raise YoriaiError(f"no removal is under way in {root}")
    request = RemovalRequest(
        reason=pending.reason, by=pending.by, twins=pending.twins, name_digests=frozenset({"-"})
    )
    chosen = RemovalSelection(
        set(pending.names), set(), set(pending.records), dict(pending.promoted)
    )
    return _plan(root, request, chosen, artifacts_of(root))


def _plan(
    root: Path, request: RemovalRequest, chosen: RemovalSelection, found: Sequence[Artifact]
) -> RemovalPlan:
    held = {a.digest: rewriting.counts(a, chosen) for a in found if a.kind in KINDS}
    touched: set[str] = set()
    changed, saw = [], []
    for artifact in found:
        inputs = {row["digest"] for row in artifact.manifest["inputs"]}
        if not (held.get(artifact.digest) or inputs & touched):
            continue
        touched.add(artifact.digest)
        if artifact.kind in (*KINDS, *COPIES):
            changed.append(artifact)
        else:
            path = str(artifact.path.relative_to(root))
            saw.append({"name": artifact.name, "kind": artifact.kind, "digest": artifact.digest,
                        "path": path})  # fmt: skip
    return RemovalPlan(root, request, chosen, held, changed, saw, _runs(root, touched))


def _runs(root: Path, digests: Iterable[str]) -> list[str]:
    """Names of run files that tell of any of these artifacts."""
    wanted = tuple(digests)
    found = []
    for path in sorted((root / "runs").glob("*.json")):
        text = files.read_small(path, run_file.MOST_BYTES).decode(errors="replace")
        if any(digest in text for digest in wanted):
            found.append(path.stem)
    return found


def apply(planned: RemovalPlan, *, sign: Any = None) -> dict[str, Any]:
    """Do it, and add what was done to the log; ``sign`` makes a signature of the entry's bytes.

    Each artifact is replaced whole and what it was is deleted. If it ends in between,
    :func:`resume` goes on. Raises :class:`Refused` while unfinished work lies beside.
    """
    root, request, chosen = planned.root, planned.request, planned.chosen
    unfinished = root / ".work"
    if unfinished.is_dir() and any(unfinished.iterdir()):
        raise Refused(
            f"{unfinished} holds unfinished work, which may hold the text",
            hint="end it with yoriai run, or delete the folder",
        )
    busy = f"another run works in {root}"
    with files.hold(root / ".lock", busy=busy):
        for artifact in planned.changed:
            check_bytes(artifact)  # what was altered is not sealed anew
        _write_pending(root, request, chosen)
        renewed: dict[str, str] = {}
        rows = []
        for artifact in planned.changed:
            after = ""  # of one that is deleted
            if artifact.kind in COPIES:
                shutil.rmtree(artifact.path)
            else:
                after = renewed[artifact.digest] = _replace(artifact, chosen, renewed).digest
            rows.append({
                "name": artifact.name, "kind": artifact.kind, "before": artifact.digest,
                "after": after, "removed": dict(planned.held.get(artifact.digest, {})),
            })  # fmt: skip
        entry = _entry(planned, rows)
        if sign is not None:
            entry["signature"] = sign(files.canonical_json(entry))
        log = root / LOG
        former = log.read_bytes() if log.is_file() else b""
        line = json.dumps(entry, ensure_ascii=False, sort_keys=True)
        files.write_atomically(log, former + line.encode() + b"\n")
        (root / PENDING).unlink()
    return entry


def _entry(planned: RemovalPlan, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An entry of the log: who asked why and what was done; no text, and no name of a document."""
    redactor = Redactor()
    return {
        "schema": 1,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "reason": redactor.text(planned.request.reason),
        "by": redactor.text(planned.request.by),
        "twins": planned.request.twins,
        "documents": len(planned.chosen.names),
        "promoted": len(planned.chosen.promoted),
        "names_sha256": sorted(name_digest(*name) for name in planned.chosen.names),
        "records_sha256": sorted(planned.chosen.records),
        "artifacts": list(rows),
        "saw": list(planned.saw),
        "runs": list(planned.runs),
    }


def _replace(artifact: Artifact, chosen: RemovalSelection, renewed: Mapping[str, str]) -> Artifact:
    target = artifact.path
    out = target.with_name(f".{target.name}.without")
    new = target.with_name(f".{target.name}.sealed")
    old = target.with_name(f".{target.name}.former")
    for place in (out, new, old):
        shutil.rmtree(place, ignore_errors=True)
    out.mkdir()
    facts = rewriting.rewrite(artifact, chosen, out)
    if artifact.kind == "index":
        facts["corpora"] = [
            {**row, "digest": renewed.get(row["digest"], row["digest"])} for row in facts["corpora"]
        ]
    manifest = artifact.manifest
    identity = {key: manifest[key] for key in IDENTITY if key not in ("schema", "files")}
    identity["facts"] = facts
    identity["inputs"] = [
        {**row, "digest": renewed.get(row["digest"], row["digest"])} for row in manifest["inputs"]
    ]
    made = seal(out, new, identity=identity, circumstances=manifest["circumstances"])
    target.rename(old)
    new.rename(target)
    files.fsync_directory(target.parent)
    shutil.rmtree(old)
    return Artifact(target, made.manifest)


def _write_pending(root: Path, request: RemovalRequest, chosen: RemovalSelection) -> None:
    value = {
        "reason": request.reason, "by": request.by, "twins": request.twins,
        "names": sorted(chosen.names), "records": sorted(chosen.records),
        "promoted": sorted(chosen.promoted.items()),
    }  # fmt: skip
    files.write_atomically(root / PENDING, files.canonical_json(value))


class _Pending(Strict):
    """What :func:`_write_pending` writes."""

    reason: str
    by: str
    twins: Twins
    names: list[Name]
    records: list[str]
    promoted: list[tuple[Name, Name]]


def _pending(root: Path) -> _Pending | None:
    place = root / PENDING
    try:
        data = files.read_small(place, MOST_PENDING_BYTES)
    except FileNotFoundError:
        return None
    hint = f"yoriai verify {root}; then delete the file, and remove again what is still there"
    return _Pending.of_json(data, str(place), hint)
