"""A folder ready to be published: files, card, licences, provenance, and a digest of each file.

::

    README.md          the card, in the Hub's form
    LICENCES.md        the licence of the whole and of each source
    provenance.json    what it was made of: names, digests, settings, runs
    release.json       every file with its sha256; what was hidden, and where
    …                  the artifact's own files; of a corpus its kept and held-out documents

Text that people or tools wrote (settings, logs, cards) passes the same redaction as run files do;
weights, documents and pieces are copied as they were sealed.
"""

from __future__ import annotations

import fnmatch
import json
import math
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yoriai import artifact as artifacts
from yoriai import dataset_card, files, hub_licences, manifest, model_card
from yoriai.ancestry import Ancestry, ancestry, beside
from yoriai.artifact import Artifact
from yoriai.errors import Altered, NotFound, Refused, UsageError, YoriaiError
from yoriai.redaction import Redactor

SCHEMA = 1
MANIFEST = "release.json"
WRITTEN = ("README.md", "LICENCES.md", "provenance.json")
KINDS = {"model": "model", "corpus": "dataset", "tokenizer": "model"}
"""Kinds of artifacts that can be released, and the Hub's kind of repository for each."""
REDACTED = (".json", ".jsonl", ".md", ".txt", ".yaml")
AS_SEALED = ("tokenizer.json", "vocab.json", "added_tokens.json")  # pieces, which are no words
LEFT_OUT = ("dropped/", "unreadable/", "clusters/", "contamination/")
MOST_TEXT = 50_000_000  # bytes of a text file that is redacted; a larger one is refused

Watch = Callable[[Iterable[Any], str, int | None], Iterator[Any]]


def assemble(
    artifact: Artifact,
    target: Path,
    *,
    scores: Sequence[Artifact] = (),
    probes: Sequence[Artifact] = (),
    failures: str = "",
    with_dropped: bool = False,
    watch: Watch = lambda items, _label, _total: iter(items),
) -> dict[str, Any]:
    """Write the release of an artifact to the new folder ``target``; what ``release.json`` holds.

    Every byte of the artifact is compared first. Without ``scores`` or ``probes`` those in the
    same workspace that asked the model are taken. Raises :class:`UsageError` for a kind that is not
    released or a target that exists, and leaves nothing behind when it fails.
    """
    if artifact.kind not in KINDS:
        raise UsageError(
            f"{artifact.name} is a {artifact.kind}: {', '.join(KINDS)} can be released",
            hint="yoriai lineage FOLDER  shows what it was made of",
        )
    if target.exists():
        raise UsageError(f"{target} exists already", hint="choose another --out")
    artifacts.check_bytes(artifact)
    made_of = ancestry(artifact)
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        told = _fill(artifact, made_of, part, scores, probes, failures, with_dropped, watch)
        files.fsync_tree(part)
        part.replace(target)
    except OSError as error:
        raise files.disk_error(target, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return told


def _fill(
    artifact: Artifact,
    made_of: Ancestry,
    part: Path,
    scores: Sequence[Artifact],
    probes: Sequence[Artifact],
    failures: str,
    with_dropped: bool,
    watch: Watch,
) -> dict[str, Any]:
    redactor = Redactor()
    names = [
        name
        for name in sorted(artifact.manifest["files"])
        if name not in (*WRITTEN, MANIFEST)
        and (with_dropped or artifact.kind != "corpus" or not name.startswith(LEFT_OUT))
    ]
    hidden: dict[str, int] = {}
    for name in watch(names, "copy", len(names)):
        place = part / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if count := _copy(artifact.path / name, place, redactor):
            hidden[name] = count
    if (croissant := part / "croissant.json").is_file():
        _rewrite_croissant(croissant, part)
    sources = model_card.sources_of(artifact, made_of)
    written = {
        "README.md": _card_of_facts(artifact, made_of, names, scores, probes, failures),
        "LICENCES.md": hub_licences.list_of(
            artifact.name, artifact.kind, str(artifact.manifest["licence"]), sources
        ),
        "provenance.json": files.ordered_json(redactor.value(_provenance(made_of))).decode(),
    }
    for name, text in written.items():
        clean = redactor.text(text) if name.endswith(".md") else text
        (part / name).write_text(clean, encoding="utf-8")
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "artifact": artifact.name,
        "kind": artifact.kind,
        "digest": artifact.digest,
        "licence": str(artifact.manifest["licence"]),
        "left_out": len(artifact.manifest["files"]) - len(names),
        "hidden": hidden,
        "files": {
            path.relative_to(part).as_posix(): {
                "sha256": files.digest_file(path), "bytes": path.stat().st_size
            }
            for path in sorted(part.rglob("*")) if path.is_file()
        },
    }  # fmt: skip
    (part / MANIFEST).write_bytes(files.ordered_json(told))
    return told


def check(folder: Path) -> dict[str, Any]:
    """``release.json`` of a release, when every file is as it was written.

    Raises :class:`NotFound` or :class:`Altered`.
    """
    place = folder / MANIFEST
    if not place.is_file():
        raise NotFound(
            f"{folder} is no release: it has no {MANIFEST}",
            hint="yoriai release ARTIFACT --out FOLDER",
        )
    if place.is_symlink():
        raise Altered(f"{place} is a symbolic link", hint=_AGAIN)
    try:
        with place.open("rb") as stream:
            data = stream.read(manifest.MAX_BYTES + 1)
        if len(data) > manifest.MAX_BYTES:
            raise ValueError(f"it has more than {manifest.MAX_BYTES:,} bytes")
        told: dict[str, Any] = json.loads(data)
        _check_shape(told)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Altered(f"{place} cannot be read: {str(error)[:200]}", hint=_AGAIN) from error
    for name, row in told["files"].items():
        if problem := manifest.place_problem(folder, name):
            raise Altered(f"{place}: {name[:80]!r} {problem}", hint=_AGAIN)
        path = folder / name
        if path.stat().st_size != row["bytes"] or files.digest_file(path) != row["sha256"]:
            raise Altered(f"{path} is not as it was released", hint=_AGAIN)
    return told


_AGAIN = "make the release again in a new folder"


def _check_shape(told: dict[str, Any]) -> None:
    """Raise ValueError, KeyError or TypeError for what is no ``release.json``."""
    for key in ("artifact", "kind", "digest", "licence"):
        if not isinstance(told[key], str):
            raise TypeError(f"the key {key!r} holds no text")
    if told["kind"] not in KINDS:
        raise ValueError(f"a {told['kind'][:40]!r} is not released")
    for name, row in told["files"].items():
        if type(row["bytes"]) is not int or not isinstance(row["sha256"], str):
            raise TypeError(f"the file {name[:80]!r} has no size and digest")


def _copy(source: Path, target: Path, redactor: Redactor) -> int:
    """Copy a file, redacted where it is text that somebody wrote; the lines that changed."""
    if source.suffix not in REDACTED or source.name in AS_SEALED:
        shutil.copyfile(source, target)
        return 0
    if source.stat().st_size > MOST_TEXT:
        raise YoriaiError(
            f"{source.name} has more than {MOST_TEXT // 10**6} MB of text to look through for"
            " secrets",
            hint="leave the file out of the artifact",
        )
    text = source.read_text(encoding="utf-8")
    clean = redactor.text(text)
    target.write_text(clean, encoding="utf-8")
    pairs = zip(text.split("\n"), clean.split("\n"), strict=False)
    return sum(one != two for one, two in pairs)


def _card_of_facts(artifact: Artifact, *others: Any) -> str:
    """:func:`_card`; raises :class:`Refused` where facts are not of the form that steps write."""
    try:
        return _card(artifact, *others)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Refused(
            f"no card can be written of {artifact.name}: its facts, or those of what it was made"
            f" of, its scores or probes, are not as steps write them ({error!r:.200})",
            hint="yoriai lineage FOLDER  names them; make the one that was written by hand again",
        ) from error


def _card(
    artifact: Artifact,
    made_of: Ancestry,
    names: list[str],
    scores: Sequence[Artifact],
    probes: Sequence[Artifact],
    failures: str,
) -> str:
    if artifact.kind == "corpus":
        return dataset_card.dataset_card(artifact, made_of, names)
    if artifact.kind == "tokenizer":
        return dataset_card.tokenizer_card(artifact, made_of)
    found, asked = list(scores), None
    for one in reversed(made_of.line()):
        if found:
            break
        found, asked = list(beside(one, "scores")), one
    looked = list(probes)
    for one in reversed(made_of.line()):
        looked = looked or list(beside(one, "probes"))
    return model_card.model_card(
        artifact,
        made_of,
        scores=found,
        asked=asked if asked is not artifact else None,
        contamination=list(beside(artifact, "contamination")),
        probes=looked,
        energy_kwh=_energy(artifact),
        failures=failures,
    )


def _energy(artifact: Artifact) -> float | None:
    """What the run that made it counted, if it is here and the machine counts energy."""
    run = str(artifact.manifest["circumstances"].get("run", ""))
    place = artifact.path.resolve().parent / "runs" / f"{Path(run).name}.metrics.jsonl"
    if not run or not place.is_file():
        return None
    found: dict[str, float] = {}
    with place.open(encoding="utf-8") as stream:
        for line in stream:
            try:
                row = json.loads(line)
                if "energy_kwh" in row:
                    found[str(row.get("step_name", row.get("task", "")))] = float(row["energy_kwh"])
            except (ValueError, TypeError, AttributeError, RecursionError):
                continue
    counted = [value for value in found.values() if math.isfinite(value)]
    return sum(counted) if counted else None


def _provenance(made_of: Ancestry) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "artifacts": [
            {
                "name": one.name,
                "kind": one.kind,
                "step": one.manifest["step"],
                "digest": one.digest,
                "licence": one.manifest["licence"],
                "config": one.manifest["config"],
                "seed": one.manifest["seed"],
                "code": one.manifest["code"],
                "inputs": one.manifest["inputs"],
                "sources": one.manifest["sources"],
                "run": one.manifest["circumstances"].get("run", ""),
                "made": one.manifest["circumstances"].get("made", ""),
            }
            for one in made_of.artifacts
        ],
        "missing": made_of.missing,
    }


def _rewrite_croissant(place: Path, folder: Path) -> None:
    """Describe the files that are here: sets without a file and their records are taken out.

    Names in it are compared with those of the release, and none becomes a path: the file may be a
    stranger's. Raises :class:`Refused` for what is no description.
    """
    here = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    here.discard(place.name)
    try:
        value: dict[str, Any] = json.loads(place.read_bytes())
        kept, gone = [], []
        for item in value.get("distribution", ()):
            if not _is_here(item, here):
                gone.append(item.get("@id"))
                continue
            if item.get("@type") == "cr:FileObject":
                path = folder / item["@id"]
                size, digest = f"{path.stat().st_size} B", files.digest_file(path)
                item = {**item, "contentSize": size, "sha256": digest}
            kept.append(item)
        value["distribution"] = kept
        value["recordSet"] = [
            records
            for records in value.get("recordSet", ())
            if not any(_file_set(field) in gone for field in records.get("field", ()))
        ]
        place.write_bytes(files.ordered_json(value))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(
            f"{place.name} is no description of files: {str(error)[:200]}",
            hint="make the corpus again, or leave the file out of it",
        ) from error


def _is_here(item: Mapping[str, Any], here: Collection[str]) -> bool:
    if item.get("@type") == "cr:FileSet":
        return bool(fnmatch.filter(here, str(item.get("includes", ""))))
    return item.get("@id") in here


def _file_set(field: Mapping[str, Any]) -> Any:
    return field.get("source", {}).get("fileSet", {}).get("@id")
