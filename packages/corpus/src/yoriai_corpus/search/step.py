"""``corpus/index``: everything that was read, kept or not, searchable by any substring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Artifact, Job, Made, Step, UsageError, files
from yoriai_corpus.account.audit import paths_of
from yoriai_corpus.engines import pool
from yoriai_corpus.search import part
from yoriai_corpus.search.part import FormerPart, IndexTask

MEGABYTE = 2**20
MOST_PART_MB = (
    1024  # a part's suffixes have 32 bits, and sorting them takes sixteen times its bytes
)
RELATED = ("clusters", "contamination")


class IndexStep(Step):
    """Index every document, kept, held out or dropped, and what could not be read by its name.

    One name may stand there several times: in two corpora, or kept once and unreadable as a
    later duplicate. Parts are made by the engine's workers, and one that is there is not made
    again. Making one takes about sixteen times its text in memory.

    The parts of an index given under ``from`` are taken over, and only corpora that it does not
    hold are indexed; parts of it that are small are made into larger ones.
    """

    version: ClassVar[str] = "4"
    makes: ClassVar[str] = "index"
    measures: ClassVar[tuple[str, ...]] = ("documents.*", "parts", "bytes")
    takes: ClassVar[tuple[str, ...]] = ("corpus",)
    optional: ClassVar[tuple[str, ...]] = ("index",)

    part_mb: int = Field(
        64, ge=1, le=MOST_PART_MB, description="text of one part, indexed by one task"
    )

    def run(self, job: Job) -> Made:
        former = job.all_of("index")
        corpora = _held(former)
        new = [corpus for corpus in job.all_of("corpus") if _is_new(corpus, corpora)]
        scratch = job.scratch / "parts"
        scratch.mkdir(parents=True, exist_ok=True)
        for name in ("parts", *RELATED):
            (job.out / name).mkdir()
        most = self.part_mb * MEGABYTE
        tables = [
            (corpus.name, state, paths_of(corpus, table))
            for corpus in new
            for table, state in part.TABLES.items()
        ]
        groups: list[Sequence[Any]] = [*_joined(former, most), *part.cut(tables, most)]
        tasks = [
            IndexTask(number, tuple(pieces), scratch)
            for number, pieces in enumerate(groups)
            if not _is_whole(pieces)
        ]
        done = pool.run_tasks(job.engine, part.make, tasks)
        made = {row["number"]: row for row in job.progress(done, "index", len(tasks))}
        counts: dict[str, int] = {}
        text_bytes, size = [], 0
        for number, pieces in enumerate(groups):
            stem = pieces[0].stem if _is_whole(pieces) else scratch / f"{number:05d}"
            row = made.get(number) or part.describe(stem)
            for state, count in row["states"].items():
                counts[state] = counts.get(state, 0) + count
            text_bytes.append(row["text_bytes"])
            for suffix in part.SUFFIXES:
                target = job.out / "parts" / f"{number:05d}{suffix}"
                files.link(stem.with_suffix(suffix), target)
                size += target.stat().st_size
        _link_related(job, former, new)
        corpora += [{"name": corpus.name, "digest": corpus.digest} for corpus in new]
        ordered = {state: counts[state] for state in part.TABLES.values() if state in counts}
        shown = ", ".join(f"{count:,} {state}" for state, count in ordered.items())
        return Made(
            facts={
                "documents": ordered, "parts": len(groups), "text_bytes": text_bytes,
                "bytes": size, "corpora": corpora,
            },
            headline=[f"{shown}; {size / 1e6:.1f} MB; try: yoriai corpus search INDEX 検索"],
        )  # fmt: skip


def _held(former: Sequence[Artifact]) -> list[dict[str, str]]:
    """The corpora of indexes; refuses one that stands in two of them."""
    corpora: list[dict[str, str]] = []
    for index in former:
        for corpus in index.facts["corpora"]:
            if any(corpus["name"] == known["name"] for known in corpora):
                raise UsageError(
                    f"two indexes under 'from' hold {corpus['name']}",
                    hint="give one of them, and the corpora that it lacks",
                )
            corpora.append(dict(corpus))
    return corpora


def _is_new(corpus: Artifact, held: Sequence[dict[str, str]]) -> bool:
    known = next((row["digest"] for row in held if row["name"] == corpus.name), None)
    if known is not None and known != corpus.digest:
        raise UsageError(
            f"the index under 'from' holds another {corpus.name} ({known[:12]}, not"
            f" {corpus.digest[:12]})",
            hint="give the new corpus another version, or leave the index out to make it anew",
        )
    return known is None


def _joined(former: Sequence[Artifact], most_bytes: int) -> list[list[FormerPart]]:
    """Parts of other indexes; small ones that follow one another together, up to so many bytes."""
    groups: list[list[FormerPart]] = []
    filled = 0
    for index in former:
        for number, size in enumerate(index.facts["text_bytes"]):
            stem = index.file(f"parts/{number:05d}.text").with_suffix("")
            for suffix in part.SUFFIXES:
                index.file(f"parts/{number:05d}{suffix}")
            if groups and filled + size <= most_bytes:
                groups[-1].append(FormerPart(stem))
            else:
                groups.append([FormerPart(stem)])
                filled = 0
            filled += size
    return groups


def _is_whole(pieces: Sequence[Any]) -> bool:
    """Whether it is one part of another index as it is."""
    return len(pieces) == 1 and isinstance(pieces[0], FormerPart) and not pieces[0].without


def _link_related(job: Job, former: Sequence[Artifact], new: Sequence[Artifact]) -> None:
    """Clusters and contamination of each corpus, under its number."""
    number = 0
    for index in former:
        for own in range(len(index.facts["corpora"])):
            for name in sorted(index.manifest["files"]):
                table, _, rest = name.partition("/")
                if table in RELATED and rest.startswith(f"{own:05d}-"):
                    target = job.out / table / f"{number:05d}-{rest[6:]}"
                    files.link(index.file(name), target)
            number += 1
    for corpus in new:
        for table in RELATED:
            for path in paths_of(corpus, table):
                files.link(path, _named(job.out / table, number, path))
        number += 1


def _named(folder: Path, number: int, path: Path) -> Path:
    return folder / f"{number:05d}-{path.name}"
