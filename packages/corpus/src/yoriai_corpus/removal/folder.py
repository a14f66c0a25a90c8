"""A removal in a folder of artifacts: what it would change, doing it, and the log of it."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoriai import Artifact, Refused, YoriaiError, files, release, run_file
from yoriai.artifact import IDENTITY, MANIFEST, check_bytes, open_artifact, seal
from yoriai.redaction import Redactor
from yoriai_corpus.account.removals import LOG, name_digest
from yoriai_corpus.removal import journal, rewriting
from yoriai_corpus.removal.journal import Changed, Journal
from yoriai_corpus.removal.selection import RemovalRequest, RemovalSelection, select

KINDS = ("corpus", "tokens", "index")
RELEASE = "release"
# Copies of tokens in another order, and of a corpus to be published: deleted, to be made anew.
COPIES = ("ngrams", RELEASE)


@dataclass(frozen=True, slots=True)
class RemovalPlan:
    """What a removal changes: artifacts in order of making, with what each holds of it.

    ``begun``: the bytes that the log had when it was begun, of a removal that is gone on with.
    """

    root: Path
    request: RemovalRequest
    chosen: RemovalSelection
    changed: Sequence[Changed]
    saw: Sequence[dict[str, str]]
    runs: Sequence[str] = field(default_factory=tuple)
    begun: int | None = None

    def plain(self) -> dict[str, Any]:
        return {
            "documents": len(self.chosen.names),
            "names": sorted("/".join(name) for name in self.chosen.names),
            "promoted": sorted("/".join(name) for name in self.chosen.promoted),
            "artifacts": [row.model_dump() for row in self.changed],
            "saw": list(self.saw),
            "runs": list(self.runs),
        }  # fmt: skip


def artifacts_of(root: Path) -> list[Artifact]:
    """All artifacts below a folder, those put aside too, each after those it was made from."""
    found = [
        open_artifact(path.parent) for path in sorted(root.rglob(MANIFEST))
        if not any(part == ".work" or journal.is_beside(part)
                   for part in path.relative_to(root).parts)
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
    if journal.read(root) is not None:
        raise Refused(
            "a removal was begun here and not ended", hint=f"yoriai corpus remove {root} --resume"
        )
    found = artifacts_of(root)
    chosen = select([artifact for artifact in found if artifact.kind == "corpus"], request)
    return _plan(root, request, chosen, found)


def resume(root: Path) -> RemovalPlan:
    """The removal that was begun, whole. Raises :class:`YoriaiError` if there is none."""
    kept = journal.read(root)
    if kept is None:
        raise YoriaiError(f"no removal is under way in {root}")
    request = RemovalRequest(
        reason=kept.reason, by=kept.by, twins=kept.twins, name_digests=frozenset({"-"})
    )
    chosen = RemovalSelection(set(kept.names), set(), set(kept.records), dict(kept.promoted))
    return RemovalPlan(root, request, chosen, kept.changed, kept.saw, kept.runs, kept.logged)


def _plan(
    root: Path, request: RemovalRequest, chosen: RemovalSelection, found: Sequence[Artifact]
) -> RemovalPlan:
    touched: set[str] = set()
    changed, saw = [], []
    for artifact in found:
        inputs = {row["digest"] for row in artifact.manifest["inputs"]}
        holds = rewriting.counts(artifact, chosen) if artifact.kind in KINDS else {}
        if not (holds or inputs & touched):
            continue
        touched.add(artifact.digest)
        row = {"name": artifact.name, "kind": artifact.kind, "digest": artifact.digest,
               "path": artifact.path.relative_to(root).as_posix()}  # fmt: skip
        if artifact.kind in (*KINDS, *COPIES):
            changed.append(Changed(**row, holds=holds))
        else:
            saw.append(row)
    changed += _releases(root, chosen)
    return RemovalPlan(root, request, chosen, changed, saw, _runs(root, touched))


def _releases(root: Path, chosen: RemovalSelection) -> list[Changed]:
    """Releases of corpora below a folder that hold the documents, whatever they were made of."""
    found = []
    for path in sorted(root.rglob(release.MANIFEST)):
        told = release.check(path.parent)
        if told["kind"] != "corpus":
            continue
        paths = {
            table: [path.parent / name for name in told["files"] if name.startswith(f"{table}/")]
            for table in rewriting.TABLES
        }
        if holds := rewriting.counts_in_tables(paths, chosen):
            found.append(Changed(
                name=told["artifact"], kind=RELEASE, digest=told["digest"],
                path=path.parent.relative_to(root).as_posix(), holds=holds,
            ))  # fmt: skip
    return found


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
    :func:`resume` goes on, to the same bytes. Raises :class:`Refused` while unfinished work lies
    beside.
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
        log = root / LOG
        for place in (log, root / journal.PENDING):
            files.clear_parts(place)
        former = log.read_bytes() if log.is_file() else b""
        for row in planned.changed:
            if row.kind not in COPIES:
                journal.settle(root / row.path)
                check_bytes(open_artifact(root / row.path))  # what was altered is not sealed anew
        if planned.begun is None:
            journal.write(root, Journal(
                reason=request.reason, by=request.by, twins=request.twins,
                names=sorted(chosen.names), records=sorted(chosen.records),
                promoted=sorted(chosen.promoted.items()), changed=list(planned.changed),
                saw=list(planned.saw), runs=list(planned.runs), logged=len(former),
            ))  # fmt: skip
        renewed: dict[str, str] = {}
        rows = []
        for row in _all_of(planned):
            after = ""  # of one that is deleted
            if row.kind not in COPIES:
                after = renewed[row.digest] = _renew(root / row.path, row, chosen, renewed)
            elif (root / row.path).exists():
                shutil.rmtree(root / row.path)
            rows.append({
                "name": row.name, "kind": row.kind, "before": row.digest, "after": after,
                "removed": row.holds,
            })  # fmt: skip
        if planned.begun is not None and len(former) > planned.begun:
            entry: dict[str, Any] = json.loads(former[planned.begun :])  # it was the last to do
        else:
            entry = _entry(planned, rows)
            if sign is not None:
                entry["signature"] = sign(files.canonical_json(entry))
            line = json.dumps(entry, ensure_ascii=False, sort_keys=True)
            files.write_atomically(log, former + line.encode() + b"\n")
        journal.end(root)
    return entry


def _all_of(planned: RemovalPlan) -> Iterator[Changed]:
    """What is to be changed; of a removal that is gone on with, also what was built since."""
    yield from planned.changed
    if planned.begun is not None:
        found = artifacts_of(planned.root)
        yield from _plan(planned.root, planned.request, planned.chosen, found).changed


def _renew(path: Path, row: Changed, chosen: RemovalSelection, renewed: Mapping[str, str]) -> str:
    """Replace an artifact, unless that was done before; returns its new digest."""
    artifact = open_artifact(path)
    if artifact.digest != row.digest and not rewriting.counts(artifact, chosen):
        return artifact.digest
    return _replace(artifact, chosen, renewed).digest


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
    out, new, old = (
        target.with_name(f".{target.name}.{word}") for word in ("without", "sealed", "former")
    )
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
