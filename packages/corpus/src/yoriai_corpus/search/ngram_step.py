"""``corpus/ngrams``: token shards, countable by any run of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from yoriai import Job, Made, Step, UsageError, files
from yoriai.mixture import read_mixture
from yoriai.shards import Shard
from yoriai_corpus.engines import pool
from yoriai_corpus.search import array_file, ngrams


@dataclass(frozen=True, slots=True)
class SortTokens:
    """One file of a shard, whose suffixes are to be sorted."""

    stem: Path
    target: Path
    vocabulary_size: int

    def __str__(self) -> str:
        return f"the n-grams of {self.stem.name}"


def sort_tokens(task: SortTokens) -> None:
    """Write a file's tokens and the order of their suffixes, unless they are there."""
    if task.target.is_file():
        return
    shard = Shard(task.stem)
    shard.check_index()
    ids = np.frombuffer(shard.tokens, dtype=np.dtype(shard.dtype))
    for place in np.flatnonzero((ids < 0) | (ids >= task.vocabulary_size))[:1]:
        raise shard.outside(int(place), int(ids[place]), task.vocabulary_size)
    if len(ids) > ngrams.MOST_TOKENS:
        raise UsageError(
            f"{task.stem.name} has {len(ids):,} tokens, at most {ngrams.MOST_TOKENS:,} are sorted",
            hint="encode with a smaller shard_mb",
        )
    array_file.save(task.target, {"ids": ids, "order": ngrams.suffix_order(ids)})


class NgramStep(Step):
    """Sort the suffixes of token shards, so that any run of tokens is counted at once.

    Takes four bytes a token beside the tokens; sorting takes about twelve times the tokens' bytes
    in memory. It copies the tokens, so a removal from the shards deletes it.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "ngrams"
    takes: ClassVar[tuple[str, ...]] = ("tokens",)

    def run(self, job: Job) -> Made:
        artifact = job.one("tokens")
        mixture = read_mixture(artifact.path)
        rows: list[dict[str, Any]] = []
        tasks = []
        for name, shard in mixture.shards.items():
            for stem in shard.files:
                for suffix in (".bin", ".idx"):
                    artifact.file(stem + suffix)
                opened = Shard(artifact.path / stem)
                file = f"{len(rows):05d}.ngrams"
                kind = np.dtype(opened.dtype).str
                rows.append({"shard": name, "file": file, "type": kind, "tokens": opened.total})
                tasks.append(
                    SortTokens(artifact.path / stem, job.scratch / file, mixture.vocabulary_size)
                )
        done = pool.run_tasks(job.engine, sort_tokens, tasks)
        for _ in job.progress(done, "sort", len(tasks)):
            pass
        for row in rows:
            files.link(job.scratch / row["file"], job.out / row["file"])
        total = sum(row["tokens"] for row in rows)
        return Made(
            facts={
                "files": rows, "tokens": total, "vocabulary_size": mixture.vocabulary_size,
                "tokenizer": mixture.tokenizer, "end_id": mixture.end_id,
            },
            headline=[f"{total:,} tokens of {len(mixture.shards)} shards"],
        )  # fmt: skip
