"""``domain-adapt/mix``: the tokens for going on with training in a domain.

Training on a domain alone makes a model forget the rest. Mixing general text back in (replay)
is what Swallow did with 10 % English beside 90 % Japanese (arXiv 2404.17790); here the share is
a key of the recipe.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Artifact, Job, Made, Step, UsageError, console
from yoriai.artifact import check_bytes
from yoriai.mixture import build_mixture, read_mixture


class Mix(Step):
    """Join two token artifacts: first the domain's, then the general one.

    Of a mixture of several phases the shares over all of them are taken.
    """

    version: ClassVar[str] = "2"
    makes: ClassVar[str] = "tokens"
    measures: ClassVar[tuple[str, ...]] = (
        "vocabulary_size",
        "end_id",
        "tokens.*",
        "weights.**",
        "share",
    )
    takes: ClassVar[tuple[str, ...]] = ("tokens",)

    share: float = Field(0.3, ge=0, lt=1, description="share of general text in training")

    def run(self, job: Job) -> Made:
        given = job.all_of("tokens")
        if len(given) != 2:
            raise UsageError(
                f"mix needs two token artifacts, the domain's and the general, not {len(given)}",
                hint="from: [DOMAIN_TOKENS, GENERAL_TOKENS]",
            )
        for artifact in job.progress(given, "verify", len(given)):
            check_bytes(artifact)
        parts = {"domain": read_mixture(given[0].path), "general": read_mixture(given[1].path)}
        if parts["domain"].tokenizer != parts["general"].tokenizer:
            raise UsageError(
                f"{given[0].name} and {given[1].name} were written with different tokenizers",
                hint="encode the domain with the tokenizer of the model",
            )
        shares = {"domain": 1 - self.share, "general": self.share}
        held: dict[str, Any] = {}
        weights: dict[str, float] = {}
        for (label, mixture), artifact in zip(parts.items(), given, strict=True):
            drawn = mixture.weights()
            for name, shard in mixture.shards.items():
                for stem in shard.files:
                    copy_shard(artifact, stem, job.out / f"{label}-{stem}")
                names = [f"{label}-{stem}" for stem in shard.files]
                held[f"{label}-{name}"] = {**shard.model_dump(), "files": names}
                weights[f"{label}-{name}"] = shares[label] * drawn[name]
        joined = build_mixture(
            {
                "tokenizer": parts["general"].tokenizer,
                "vocabulary_size": parts["general"].vocabulary_size,
                "end_id": parts["general"].end_id,
                "shards": held,
                "phases": [{"name": "main", "weights": weights}],
            }
        )
        joined.save(job.out)
        shown = sum(shard.tokens for shard in parts["domain"].shards.values())
        return Made(
            facts={**joined.facts(), "share": self.share},
            headline=[f"{shown:,} tokens of the domain, {self.share:.0%} replay of general text"],
        )


class Replay(Mix):
    """The name of ``domain-adapt/mix`` before 0.2, answered for one release."""

    def run(self, job: Job) -> Made:
        console.note(
            f"step {job.name!r}: domain-adapt/replay is now domain-adapt/mix; the old name ends"
            " with 0.2"
        )
        return super().run(job)


def copy_shard(artifact: Artifact, stem: str, target: Path) -> None:
    """Copy a pair and its table of documents; raises :class:`NotFound` if one is not sealed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for suffix in (".bin", ".idx", ".documents.parquet"):
        shutil.copyfile(artifact.file(stem + suffix), target.with_name(target.name + suffix))
