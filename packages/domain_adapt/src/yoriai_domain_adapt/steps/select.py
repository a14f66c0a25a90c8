"""``domain-adapt/select``: a domain's documents out of a general corpus."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from yoriai import Artifact, Job, Made, Step, UsageError, files

CHOSEN = "selection.jsonl"
SHOWN = 5
LOOKED_AT = 20_000_000  # bytes of each corpus that the models of both are made from


class Select(Step):
    """Keep those documents of the second corpus under ``from`` that are most like the first.

    ``selection.jsonl`` says of every document whether it was taken, its score, the threshold in
    force and what spoke for it. The result is a corpus with the documents taken, in their order.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "corpus"
    takes: ClassVar[tuple[str, ...]] = ("corpus",)

    method: Literal["n-grams", "classifier", "perplexity"] = Field(
        "n-grams", description="how alike is measured"
    )
    share: float = Field(0.1, gt=0, le=1, description="share of the documents to take")
    sample: bool = Field(
        False, description="n-grams: draw by importance (DSIR) and not the best alone"
    )

    def run(self, job: Job) -> Made:
        corpora = job.all_of("corpus")
        if len(corpora) != 2:
            raise UsageError(
                f"select needs two corpora, the domain's and the general, not {len(corpora)}",
                hint="from: [DOMAIN, GENERAL]",
            )
        domain, general = corpora
        score, why = self._scorer(domain, general)
        keys: list[float] = []
        for number, text in enumerate(
            job.progress(_texts(general), "score", general.facts.get("documents"))
        ):
            keys.append(score(text) + self._noise(number, job.seed))
        if not keys:
            raise UsageError(f"{general.name} has no documents")
        wanted = max(1, round(self.share * len(keys)))
        order = sorted(range(len(keys)), key=lambda place: (-keys[place], place))
        taken = set(order[:wanted])
        threshold = keys[order[wanted - 1]]
        facts = self._write(job, general, keys, taken, threshold, why)
        examples = facts.pop("examples")
        return Made(
            facts={
                **facts, "method": self.method, "share": self.share,
                "threshold": round(threshold, 4), "examples": examples,
            },
            headline=[
                f"{wanted:,} of {len(keys):,} documents taken by {self.method},"
                f" score {threshold:.3g} or more",
                *[f"{row['id']}: {', '.join(row['why'])}" for row in examples],
            ],
            sources=list(general.manifest["sources"]),
        )  # fmt: skip

    def _scorer(
        self, domain: Artifact, general: Artifact
    ) -> tuple[Callable[[str], float], Callable[[str], list[str]]]:
        from yoriai_domain_adapt.arithmetic import importance

        one, two = (importance.distribution(_texts(c, LOOKED_AT)) for c in (domain, general))

        def why(text: str) -> list[str]:
            return importance.top_reasons(text, one, two)

        if self.method == "n-grams":
            if self.sample:
                return lambda text: importance.log_importance(text, one, two), why
            # A long text has a large sum whatever it says: by word, where the best are taken.
            return (
                lambda text: (
                    importance.log_importance(text, one, two) / max(1, len(importance.words(text)))
                ),
                why,
            )
        if self.method == "classifier":
            texts = [list(_texts(c, LOOKED_AT // 4)) for c in (domain, general)]
            weights, bias = importance.fit_classifier(*texts)
            return lambda text: importance.classifier_score(text, weights, bias), why
        models = [importance.Trigrams(_texts(c, LOOKED_AT)) for c in (domain, general)]
        return (
            lambda text: models[1].bits_per_character(text) - models[0].bits_per_character(text),
            why,
        )

    def _noise(self, number: int, seed: int) -> float:
        if not self.sample:
            return 0.0
        import numpy as np

        return float(np.random.default_rng([seed, number]).gumbel())

    def _write(
        self,
        job: Job,
        general: Artifact,
        keys: list[float],
        taken: set[int],
        threshold: float,
        why: Callable[[str], list[str]],
    ) -> dict[str, Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        place, counts, size = 0, 0, 0
        languages: dict[str, dict[str, int]] = {}
        examples: list[dict[str, Any]] = []
        with (job.out / CHOSEN).open("wb") as account:
            for path in general.files_under("documents"):
                table = pq.read_table(path)
                rows = table.select(["source", "id", "text", "language"]).to_pylist()
                keep = []
                for row in rows:
                    is_taken = place in taken
                    told: dict[str, Any] = {
                        "source": row["source"], "id": row["id"], "taken": is_taken,
                        "score": round(keys[place], 6), "threshold": round(threshold, 6),
                    }  # fmt: skip
                    if is_taken:
                        told["why"] = why(row["text"])
                        counts += 1
                        bytes_ = len(row["text"].encode())
                        size += bytes_
                        held = languages.setdefault(row["language"], {"documents": 0, "bytes": 0})
                        held["documents"] += 1
                        held["bytes"] += bytes_
                        if len(examples) < SHOWN:
                            examples.append({"id": row["id"], "why": told["why"]})
                    keep.append(is_taken)
                    account.write(
                        json.dumps(told, ensure_ascii=False, sort_keys=True).encode() + b"\n"
                    )
                    place += 1
                if any(keep):
                    target = job.out / path.relative_to(general.path)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    pq.write_table(table.filter(pa.array(keep)), target, compression="zstd")
        for path in general.path.glob("heldout/**/*"):
            if path.is_file():
                target = job.out / path.relative_to(general.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        digest = files.digest_file(job.out / CHOSEN)
        return {
            "documents": counts, "bytes": size, "by_language": dict(sorted(languages.items())),
            "looked_at": place, "selection_sha256": digest, "examples": examples,
        }  # fmt: skip


def _texts(corpus: Artifact, limit_bytes: int | None = None) -> Iterator[str]:
    from yoriai_domain_adapt.folders.vocabulary import read_texts

    yield from read_texts(corpus, "documents", limit_bytes if limit_bytes else 2**62)
