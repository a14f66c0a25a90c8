"""``corpus/index``: everything that was read, kept or not, searchable by any substring."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from yoriai import Job, Made, Step, files
from yoriai_corpus.account.audit import paths_of
from yoriai_corpus.engines import pool
from yoriai_corpus.search import part
from yoriai_corpus.search.part import IndexTask

MEGABYTE = 2**20
MOST_PART_MB = (
    1024  # a part's suffixes have 32 bits, and sorting them takes sixteen times its bytes
)


class IndexStep(Step):
    """Index every document, kept, held out or dropped, and what could not be read by its name.

    One name may stand there several times: in two corpora, or kept once and unreadable as a
    later duplicate. Parts are made by the engine's workers, and one that is there is not made
    again. Making one takes about sixteen times its text in memory.
    """

    version: ClassVar[str] = "3"
    makes: ClassVar[str] = "index"
    measures: ClassVar[tuple[str, ...]] = ("documents.*", "parts", "bytes")
    takes: ClassVar[tuple[str, ...]] = ("corpus",)

    part_mb: int = Field(
        64, ge=1, le=MOST_PART_MB, description="text of one part, indexed by one task"
    )

    def run(self, job: Job) -> Made:
        corpora = job.all_of("corpus")
        tables = [
            (corpus.name, state, paths_of(corpus, table))
            for corpus in corpora
            for table, state in part.TABLES.items()
        ]
        (job.scratch / "parts").mkdir(parents=True, exist_ok=True)
        (job.out / "parts").mkdir()
        tasks = [
            IndexTask(number, tuple(pieces), job.scratch / "parts")
            for number, pieces in enumerate(part.cut(tables, self.part_mb * MEGABYTE))
        ]
        counts: dict[str, int] = {}
        size = 0
        done = pool.run_tasks(job.engine, part.make, tasks)
        for made in job.progress(done, "index", len(tasks)):
            for state, count in made["states"].items():
                counts[state] = counts.get(state, 0) + count
            for name in made["files"]:
                files.link(job.scratch / "parts" / name, job.out / "parts" / name)
                size += (job.out / "parts" / name).stat().st_size
        for number, corpus in enumerate(corpora):
            for table in ("clusters", "contamination"):
                for path in paths_of(corpus, table):
                    target = job.out / table / f"{number:05d}-{path.name}"
                    target.parent.mkdir(exist_ok=True)
                    files.link(path, target)
        ordered = {state: counts[state] for state in part.TABLES.values() if state in counts}
        shown = ", ".join(f"{count:,} {state}" for state, count in ordered.items())
        return Made(
            facts={
                "documents": ordered, "parts": len(tasks), "bytes": size,
                "corpora": [corpus.name for corpus in corpora],
            },
            headline=[f"{shown}; {size / 1e6:.1f} MB; try: yoriai corpus search INDEX 検索"],
        )  # fmt: skip
