"""``corpus/tokens``: corpora as token ids, in Megatron shards by language or source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import Field

from yoriai import Artifact, Job, Made, Step, UsageError, YoriaiError, files
from yoriai.mixture import Phase, build_mixture
from yoriai_corpus.build.ledger import sources_of
from yoriai_corpus.engines import pool as engine
from yoriai_corpus.shards import encoding, joining
from yoriai_corpus.shards import expected as outlook
from yoriai_corpus.shards.encoding import EncodeTask, LookedAt, SplitBy
from yoriai_corpus.shards.expected import Held
from yoriai_corpus.shards.joining import JoinPieces

MEGABYTE = 2**20
MOST_UNKNOWN = 0.01  # share of unknown pieces at which a tokenizer is not for this text
NO_LIMIT = 2**31 - 1

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Tokens(Step):
    """Encode every document, end it with the end mark, and write shards by language or source.

    ``mixture`` says how often each shard is drawn in training, relative to the others, and
    ``phases`` the same for stretches of training. (To try several mixtures of the same shards
    without encoding again, use ``corpus/mixture``.) Beside each file STEM.bin lies
    ``STEM.documents.parquet``, which says which tokens are whose.
    """

    version: ClassVar[str] = "2"
    makes: ClassVar[str] = "tokens"
    measures: ClassVar[tuple[str, ...]] = (
        "vocabulary_size",
        "end_id",
        "tokens.*",
        "weights.*",
        "counts.*.*",
    )
    takes: ClassVar[tuple[str, ...]] = ("corpus", "tokenizer")

    split_by: SplitBy = Field("language", description="one shard for each language, or source")
    mixture: dict[str, Weight] = Field(
        {}, description="weight of each shard; empty: by number of tokens"
    )
    phases: list[Phase] = Field(
        [], description="stretches of training with their own weights or budgets, instead"
    )
    end: str = Field(
        "", description="the piece that ends a document, such as <EOD>; empty: the tokenizer's own"
    )
    shard_mb: int = Field(
        32_768, ge=1, description="largest .bin file; a shard of more is several files"
    )
    task_mb: int = Field(
        64, ge=1, description="text that one task encodes, and what a killed one loses"
    )

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        made = [value["made"] for value in inputs if "made" in value]
        expected: dict[str, Any] = {}
        size = next((value["vocabulary_size"] for value in inputs if "vocabulary_size" in value), 0)
        size = next((a.facts["pieces"] for a in made if a.kind == "tokenizer"), size)
        if size:
            expected["vocabulary_size"] = size
            expected["bytes_per_token"] = 2 if encoding.check_width(size) == 8 else 4
        self._check_given()
        by_source = self.split_by == "source"
        names = sources_of(inputs, f"by_{self.split_by}")
        if names and (by_source or len(made) == len(inputs)):
            self._check_names(names)
            expected["shards"] = names
        if len(made) == len(inputs):
            corpora = [artifact for artifact in made if artifact.kind == "corpus"]
            [tokenizer] = [artifact for artifact in made if artifact.kind == "tokenizer"]
            expected |= self._look(corpora, tokenizer).held.plain()
        phases = self.phases
        if self.mixture:
            phases = [Phase(name="all", weights=self.mixture)]
        return {**expected, **outlook.asked(phases, expected.get("bytes_per_token", 2))}

    def run(self, job: Job) -> Made:
        corpora, tokenizer = job.all_of("corpus"), job.one("tokenizer")
        if not corpora:
            job.one("corpus")
        self._check_given()
        seen = self._look(corpora, tokenizer)
        stretches = encoding.cut(seen.paths, self.task_mb * MEGABYTE)
        context = int(tokenizer.config.get("context") or NO_LIMIT)
        tasks = [
            EncodeTask(
                number, stretch, self.split_by, encoding.pieces_file(tokenizer),
                seen.told["end_id"], seen.code, context, job.scratch / "pieces",
            )
            for number, stretch in enumerate(stretches)
        ]  # fmt: skip
        with engine.opened(job.engine) as pool:
            done = job.progress(pool.run(encoding.encode_stretch, tasks), "encode", len(tasks))
            receipts = sorted(done, key=lambda receipt: receipt["number"])
            joins = self._joins(receipts, tasks, job.scratch / "shards", seen.code)
            flat = [task for tasks_of in joins.values() for task in tasks_of]
            joined = pool.run(joining.join, flat)
            for _ in job.progress(joined, "join", len(flat)):
                pass
        for task in flat:
            for suffix in joining.SUFFIXES:
                name = task.stem.name + suffix
                files.link(task.stem.with_name(name), job.out / name)
        return self._made(job, receipts, joins, seen.told)

    def _look(self, corpora: Sequence[Artifact], tokenizer: Artifact) -> _EncodingInputs:
        """Refuse what can be known to fail, by the accounts and a look at some documents.

        A small corpus is counted; the sizes of a larger one are estimates, and only budgets that
        are too large for any error of them are refused here, the others when all is encoded.
        """
        pieces = encoding.open_pieces(tokenizer)
        size = len(pieces)
        code, end = encoding.check_width(size), encoding.find_end(pieces, self.end)
        told = {"vocabulary_size": size, "end_id": end, "tokenizer": tokenizer.digest}
        by_bytes = _held(corpora, self.split_by)
        self._check_names(list(by_bytes))
        paths = [path for corpus in corpora for path in corpus.files_under("documents")]
        sample = encoding.look(pieces, paths, self.split_by, end)
        if not sample:
            raise _empty(corpora)
        _check_spelling(sample, tokenizer)
        held = outlook.estimate(by_bytes, sample)
        outlook.suppose(held, self._phases(list(by_bytes)), told)
        return _EncodingInputs(paths, code, told, held)

    def _check_given(self) -> None:
        if self.mixture and self.phases:
            raise UsageError("give either a mixture or phases, not both")
        if self.mixture and not any(weight > 0 for weight in self.mixture.values()):
            raise UsageError("every weight of the mixture is zero")

    def _check_names(self, names: Sequence[str]) -> None:
        """Refuse a mixture of shards that there will not be."""
        outlook.suppose(outlook.only_names(names), self._phases(names))

    def _phases(self, names: Sequence[str]) -> list[dict[str, Any]]:
        if self.phases:
            return [phase.model_dump(exclude_defaults=True) for phase in self.phases]
        return [{"name": "all", "weights": self.mixture or dict.fromkeys(names, 1.0)}]

    def _joins(
        self,
        receipts: Sequence[Mapping[str, Any]],
        tasks: Sequence[EncodeTask],
        folder: Path,
        code: int,
    ) -> dict[str, list[JoinPieces]]:
        """By shard, in order of name: whole pieces, in order, up to ``shard_mb`` a file."""
        width = 2 if code == 8 else 4
        shards: dict[str, list[tuple[list[Path], int]]] = {}
        for receipt, task in zip(receipts, tasks, strict=True):
            for row in receipt["shards"]:
                size = row["tokens"] * width
                parts = shards.setdefault(row["name"], [([], 0)])
                if parts[-1][0] and parts[-1][1] + size > self.shard_mb * MEGABYTE:
                    parts.append(([], 0))
                paths, so_far = parts[-1]
                parts[-1] = ([*paths, task.folder / row["stem"]], so_far + size)
        stems = stems_of(sorted(shards))
        return {
            name: [
                JoinPieces(
                    folder / (stem if len(shards[name]) == 1 else f"{stem}-{number:05d}"),
                    tuple(paths),
                    code,
                )
                for number, (paths, _) in enumerate(shards[name])
            ]
            for name, stem in stems.items()
        }

    def _made(
        self,
        job: Job,
        receipts: Sequence[Mapping[str, Any]],
        joins: Mapping[str, Sequence[JoinPieces]],
        told: Mapping[str, Any],
    ) -> Made:
        shards = _sum(row for receipt in receipts for row in receipt["shards"])
        tokens = {name: row["tokens"] for name, row in shards.items()}
        phases = self._phases(list(shards))
        if not self.phases and not self.mixture:
            phases = [{"name": "all", "weights": {n: float(count) for n, count in tokens.items()}}]
        value = {
            **told,
            "shards": {
                name: {
                    "files": [task.stem.name for task in joins[name]],
                    "tokens": row["tokens"],
                    "documents": row["documents"],
                }
                for name, row in shards.items()
            },
            "phases": phases,
        }
        try:
            mixture = build_mixture(value)
        except UsageError as error:
            raise UsageError(
                error.message,
                hint="encode without phases, and give them to corpus/mixture: there they can be"
                " changed without encoding again",
            ) from error
        mixture.save(job.out)
        facts = {**mixture.facts(), "counts": shards}
        return Made(facts=facts, headline=_headline(shards))


class _EncodingInputs(NamedTuple):
    """What was found out before encoding."""

    paths: list[Path]
    code: int
    told: dict[str, Any]
    held: Held


def stems_of(names: Sequence[str]) -> dict[str, str]:
    """A file name for each shard: its own name, with ``_`` for what files should not be called."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w.+-]", "_", name).lstrip(".") or "_"
        stem, number = plain, 1
        while stem.lower() in (other.lower() for other in found.values()):
            number += 1
            stem = f"{plain}_{number}"
        found[name] = stem
    return found


def _held(corpora: Iterable[Artifact], split_by: SplitBy) -> dict[str, int]:
    """Bytes of text for each shard to be, by the corpora's own accounts."""
    held: dict[str, int] = {}
    for corpus in corpora:
        for name, row in corpus.facts[f"by_{split_by}"].items():
            if row.get("documents", row.get("kept", 0)):
                held[name] = held.get(name, 0) + int(row["bytes"])
    if not held:
        raise _empty(corpora)
    return dict(sorted(held.items()))


def _empty(corpora: Iterable[Artifact]) -> YoriaiError:
    names = ", ".join(corpus.name for corpus in corpora)
    return YoriaiError(
        f"there is no document in {names}",
        hint="yoriai corpus stats CORPUS says what became of them",
    )


def _check_spelling(sample: Mapping[str, LookedAt], tokenizer: Artifact) -> None:
    """Refuse a tokenizer that cannot spell the text: it was made for another one."""
    for name, row in sample.items():
        share = row.unknown / max(1, row.tokens)
        if share > MOST_UNKNOWN:
            raise UsageError(
                f"the tokenizer {tokenizer.name} does not know {share:.1%} of the pieces of"
                f" {row.documents:,} documents of {name!r}: what is unknown is lost",
                hint="train the tokenizer on this corpus, or with byte fallback",
            )


def _sum(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    shards: dict[str, dict[str, int]] = {}
    for row in rows:
        counts = shards.setdefault(row["name"], {})
        for key, number in row.items():
            if key == "longest":
                counts[key] = max(counts.get(key, 0), number)
            elif key not in ("name", "stem"):
                counts[key] = counts.get(key, 0) + number
    return dict(sorted(shards.items()))


def _headline(shards: Mapping[str, Mapping[str, int]]) -> list[str]:
    total = sum(row["tokens"] for row in shards.values())
    shown = ", ".join(f"{name} {row['tokens']:,}" for name, row in shards.items())
    lines = [f"{total:,} tokens: {shown}"]
    over = sum(row["over_context"] for row in shards.values())
    if over:
        lines.append(
            f"{over:,} documents are longer than the tokenizer's context; windows cut them"
        )
    unknown = sum(row["unknown"] for row in shards.values())
    if unknown:
        lines.append(f"{unknown:,} pieces are unknown to the tokenizer: their text is lost")
    return lines
