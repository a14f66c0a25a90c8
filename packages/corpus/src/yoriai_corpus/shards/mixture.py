"""``corpus/mixture``: another mixture, or phases, of shards that are encoded already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Artifact, Job, Made, Step, UsageError, files
from yoriai.artifact import check_bytes
from yoriai.mixture import Mixture, Phase, build_mixture, read_mixture
from yoriai_corpus.shards import expected
from yoriai_corpus.shards.joining import SUFFIXES
from yoriai_corpus.shards.tokens import stems_of


class MixtureStep(Step):
    """Say what a model sees of one or more ``tokens`` artifacts: weights or budgets, by phase.

    The shards get a second name here (a hard link, where the disk can do that); nothing is
    encoded or copied. Shards of one name in several artifacts are told apart as ``STEP.NAME``.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "tokens"
    measures: ClassVar[tuple[str, ...]] = ("vocabulary_size", "end_id", "tokens.*", "weights.**")
    takes: ClassVar[tuple[str, ...]] = ("tokens",)

    phases: list[Phase] = Field(min_length=1, description="stretches of training, in order")

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        known: dict[str, Any] = {}
        for value in inputs:
            facts = {**value, **(value["made"].facts if "made" in value else {})}
            known |= {k: facts[k] for k in ("vocabulary_size", "bytes_per_token") if k in facts}
        held = [expected.read_held(value) for value in inputs]
        names = [
            list(have.tokens) if have else value.get("shards", [])
            for have, value in zip(held, inputs, strict=True)
        ]
        every = [name for some in names for name in some]
        # Shards of one name get others, see _shards; what is not known is not judged.
        if all(names) and len(set(every)) == len(every):
            whole = expected.only_names(every)
            there = [have for have in held if have is not None]
            if len(there) == len(held):
                tokens = {n: count for have in there for n, count in have.tokens.items()}
                within = {n: share for have in there for n, share in have.within.items()}
                whole = expected.Held(tokens, within)
                known |= whole.plain()
            phases = [phase.model_dump(exclude_defaults=True) for phase in self.phases]
            expected.suppose(whole, phases)
        return {**known, **expected.asked(self.phases, known.get("bytes_per_token", 2))}

    def run(self, job: Job) -> Made:
        given = job.all_of("tokens")
        for artifact in job.progress(given, "verify", len(given)):
            check_bytes(artifact)
        mixtures = [read_mixture(artifact.path) for artifact in given]
        _check_tokenizers(given, mixtures)
        rows = list(_shards(given, mixtures))
        stems = stems_of([name for name, _, _ in rows])
        shards = {
            name: {**shard, "files": _files(stems[name], len(shard["files"]))}
            for name, _, shard in rows
        }
        first = mixtures[0]
        mixture = build_mixture(
            {
                "vocabulary_size": first.vocabulary_size,
                "end_id": first.end_id,
                "tokenizer": first.tokenizer,
                "shards": shards,
                "phases": [phase.model_dump(exclude_defaults=True) for phase in self.phases],
            }
        )
        for name, artifact, shard in rows:
            for old, new in zip(shard["files"], shards[name]["files"], strict=True):
                for suffix in SUFFIXES:
                    files.link(artifact.file(old + suffix), job.out / (new + suffix))
        mixture.save(job.out)
        return Made(facts=mixture.facts(), headline=_headline(mixture))


def _files(stem: str, count: int) -> list[str]:
    return [stem] if count == 1 else [f"{stem}-{number:05d}" for number in range(count)]


def _check_tokenizers(given: list[Artifact], mixtures: list[Mixture]) -> None:
    for artifact, mixture in zip(given, mixtures, strict=True):
        if (mixture.tokenizer, mixture.end_id) != (mixtures[0].tokenizer, mixtures[0].end_id):
            raise UsageError(
                f"{given[0].name} and {artifact.name} were written with different tokenizers or"
                " end marks",
                hint="encode both corpora with one tokenizer",
            )


def _shards(
    given: list[Artifact], mixtures: list[Mixture]
) -> Iterable[tuple[str, Artifact, dict[str, Any]]]:
    times = Counter(name for mixture in mixtures for name in mixture.shards)
    for artifact, mixture in zip(given, mixtures, strict=True):
        for name, shard in mixture.shards.items():
            full = f"{artifact.step}.{name}" if times[name] > 1 else name
            yield full, artifact, shard.model_dump()


def _headline(mixture: Mixture) -> list[str]:
    lines = []
    for phase in mixture.phases:
        length = "to the end" if phase.length is None else f"{phase.length:,} tokens"
        shares = ", ".join(f"{name} {float(share):.1%}" for name, share in phase.shares().items())
        lines.append(f"{phase.name}, {length}: {shares}")
    total = sum(shard.tokens for shard in mixture.shards.values())
    return [f"{total:,} tokens in {len(mixture.shards)} shards", *lines]
