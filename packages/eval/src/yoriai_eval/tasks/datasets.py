"""The data sets as tasks, and what protocols show of them as examples.

Each task asks the rows that llm-jp-eval makes of a split (:mod:`yoriai_eval.sets.llm_jp`), in their
order. A protocol says in which words, with which shots, and how answers are scored; ``score`` is
what a set is scored by on its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Artifact, NotFound, Sample, Shot, Task, UsageError
from yoriai.config import unknown_name
from yoriai.errors import Altered
from yoriai.files import digest_json
from yoriai_eval.scoring import protocol
from yoriai_eval.sets import further, llm_jp, store
from yoriai_eval.sets.llm_jp import Split, UpstreamRecord

OWN = "v1.3"  # the protocol whose instruction and metrics are a set's own
QUOTES = ("llm_jp_eval_protocol", "protocol.json")
BUILDERS = llm_jp.BUILDERS | further.BUILDERS


# --- rows ---------------------------------------------------------------------------------


def rows(dataset: str, split: Split, *, mirrors: Sequence[Path] = ()) -> list[UpstreamRecord]:
    """The rows of a split.

    Raises :class:`yoriai.NotFound` naming a file that is not here, and
    :class:`yoriai.errors.Altered` for one that has another number of rows than is registered.
    """
    if dataset not in BUILDERS:
        raise unknown_name(dataset, BUILDERS, "data set with rows")

    def counted(content: bytes, path: str) -> list[UpstreamRecord]:
        wanted = store.file(dataset, path).rows
        try:
            found = BUILDERS[dataset].read(content, path)
        except ValueError as error:  # only of a file that nobody took a checksum of
            raise Altered(
                f"{dataset}: {path} cannot be read: {error}",
                hint=f"get upstream's at {store.origin(dataset).homepage}",
            ) from error
        if wanted and len(found) != wanted:
            raise Altered(
                f"{dataset}: {path} has {len(found)} rows, {wanted} are registered",
                hint="upstream changed its form, or the reader lost rows: compare a few by eye",
            )
        return found

    builder = replace(BUILDERS[dataset], read=counted)
    return llm_jp.build(builder, split, lambda path: store.read(dataset, path, given=mirrors))


def asked(name: str, dataset: str) -> protocol.Asked:
    """How a protocol asks a set; raises :class:`yoriai.NotFound` if it does not."""
    tasks = protocol.load(name).tasks
    if dataset not in tasks:
        raise unknown_name(dataset, tasks, f"task of protocol {name}")
    return tasks[dataset]


def processed(name: str, dataset: str, split: Split, *, mirrors: Sequence[Path] = ()) -> bytes:
    """llm-jp-eval's processed file of a split, under a protocol of its versions.

    ``few_shots`` holds the examples that the protocol names (October 2023); later versions take
    them from the train file when they run.
    """
    if dataset not in BUILDERS:
        raise unknown_name(dataset, BUILDERS, "data set with rows")
    chosen = asked(name, dataset)
    return llm_jp.document(
        rows(dataset, split, mirrors=mirrors),
        instruction=chosen.instruction,
        output_length=chosen.max_tokens,
        metrics=chosen.metrics,
        few_shots=[shot(dataset, wanted, mirrors=mirrors) for wanted in chosen.shots],
    )


def shot(dataset: str, wanted: Shot, *, mirrors: Sequence[Path] = ()) -> UpstreamRecord:
    """The example that a protocol names.

    It is looked for in the named file if that is here, then among the examples that llm-jp-eval
    quotes in its own source, and only then the file is downloaded. Raises
    :class:`yoriai.errors.Altered` if the named row is another one than the protocol means.
    """
    if wanted.input:
        return UpstreamRecord(wanted.input, wanted.output)
    here = store.look(dataset, wanted.file, given=mirrors).state != "missing"
    if not here and (quoted := _quoted(dataset, wanted.sha256, mirrors)):
        return quoted
    found = _in_file(dataset, wanted, mirrors)
    if found is None and here:
        found = _quoted(dataset, wanted.sha256, mirrors)
    if found is None:
        raise NotFound(
            f"{dataset}: the example {wanted.sha256[:12]} is not in {wanted.file}, and there is no "
            f"{'/'.join(QUOTES)} that quotes it",
            hint=f"a mirror that holds {'/'.join(QUOTES)}: --mirror DIR or YORIAI_MIRROR",
        )
    return found


def _in_file(dataset: str, wanted: Shot, mirrors: Sequence[Path]) -> UpstreamRecord | None:
    content = store.read(dataset, wanted.file, given=mirrors)
    records = BUILDERS[dataset].read(content, wanted.file)
    if wanted.row >= len(records):
        raise Altered(f"{dataset}: {wanted.file} has {len(records)} rows, no row {wanted.row}")
    chosen = records if wanted.row < 0 else [records[wanted.row]]
    if not wanted.sha256:
        if wanted.row < 0:
            raise UsageError(f"{dataset}: an example needs a row or a sha256")
        return chosen[0]
    for row in chosen:
        if row.sha256() == wanted.sha256:
            return row
        # JGLUE v1.0, which October 2023 quotes, wrote similarities as 32-bit floats.
        if dataset == "jsts" and (old := llm_jp.as_float32(row)).sha256() == wanted.sha256:
            return old
    if wanted.row >= 0:
        raise Altered(
            f"{dataset}: row {wanted.row} of {wanted.file} is not the example that the protocol "
            f"means: expected {wanted.sha256[:12]}, found {chosen[0].sha256()[:12]}",
            hint="correct the row or the sha256 in the protocol",
        )
    return None


def _quoted(dataset: str, sha256: str, mirrors: Sequence[Path]) -> UpstreamRecord | None:
    if not sha256 or store.look(*QUOTES, given=mirrors).state == "missing":
        return None
    return _quotes(store.locate(*QUOTES, given=mirrors)).get((dataset, sha256))


@cache
def _quotes(place: Path) -> dict[tuple[str, str], UpstreamRecord]:
    """The examples in llm-jp-eval's own source, by data set and digest."""
    found = {}
    for version in json.loads(place.read_bytes())["versions"].values():
        for name, told in version["datasets"].items():
            for example in told["few_shots"]:
                row = UpstreamRecord(example["input"], example["output"])
                found[name, row.sha256()] = row
    return found


# --- tasks --------------------------------------------------------------------------------


class Dataset(Task):
    """A split of one data set, as llm-jp-eval processes it."""

    version: ClassVar[str] = "1"
    form: ClassVar[Literal["generation"]] = "generation"
    dataset: ClassVar[str]
    home: ClassVar[str] = OWN
    labels: ClassVar[tuple[str, ...]] = ()
    split: Split = Field("test", description="rows that are asked; dev is what LLM-jp runs")

    def fingerprint(self) -> str:
        """Digest over the pinned checksums of all files of the set.

        A file that is pinned by its commit alone counts with that, and with its content if it is
        here.
        """
        source = store.origin(self.dataset)
        told = {path: file.checksum for path, file in source.files.items()}
        for path in [p for p, file in source.files.items() if file.unverified or file.folders]:
            found = store.look(self.dataset, path)
            if found.state == "unverified" or source.files[path].unverified:
                told[path] = f"{source.commit} {found.digest}"
        return digest_json(told)

    def samples(self, artifacts: Sequence[Artifact]) -> Iterator[Sample]:  # noqa: ARG002
        """The rows of the split; samples of one ``cluster`` share text (see the builders)."""
        instruction = asked(self.home, self.dataset).instruction
        for number, row in enumerate(rows(self.dataset, self.split)):
            yield self._sample(f"{self.split}/{number}", row, instruction)

    def files(self) -> list[str]:
        """The files of the set that the split is built from, as ``SET/PATH``."""
        return [f"{self.dataset}/{path}" for path in self._paths()]

    def absent(self) -> list[str]:
        """Those that are in no mirror and not in the cache."""
        looked = {path: store.look(self.dataset, path).state for path in self._paths()}
        return [f"{self.dataset}/{path}" for path, state in looked.items() if state == "missing"]

    def _paths(self) -> Sequence[str]:
        return BUILDERS[self.dataset].files(self.split) if self.dataset in BUILDERS else ()

    def shots(self, count: int) -> list[Sample]:
        """The first rows of the train split."""
        first = rows(self.dataset, "train")[:count]
        return [self._sample(f"train/{number}", row) for number, row in enumerate(first)]

    def shot(self, named: Shot) -> Sample:
        """The example that a protocol names (:func:`shot`)."""
        return self._sample(_place(named), shot(self.dataset, named))

    def score(self, sample: Sample, output: str) -> float:
        """The first metric of its home protocol on an answer that is read as that reads it."""
        from yoriai_eval.scoring.answers import cleaned, normalised
        from yoriai_eval.scoring.metrics import METRICS

        wanted = asked(self.home, self.dataset)
        reading = wanted.answer or protocol.load(self.home).answer
        metrics = [METRICS[name] for name in wanted.metrics if METRICS[name].form != "ranked"]
        metric = metrics[0].sample if metrics else METRICS["exact_match"].sample
        if metric is None:
            raise UsageError(f"{self.dataset} is scored over all answers, not one by one")
        gold = normalised(reading, sample.gold)
        return metric(cleaned(reading, output), [gold])

    def _sample(self, name: str, row: UpstreamRecord, instruction: str = "") -> Sample:
        return Sample(
            id=name,
            text=row.input,
            instruction=instruction,
            choices=row.choices or self.labels,
            answer=row.output,
            group=row.group,
            cluster=row.cluster,
        )


def _place(wanted: Shot) -> str:
    return f"{wanted.file}/{wanted.row if wanted.row >= 0 else wanted.sha256[:12]}"


ENTAILMENT = ("entailment", "contradiction", "neutral")


class Jamp(Dataset):
    """Jamp: temporal inference, made from templates (348 test pairs)."""

    dataset: ClassVar[str] = "jamp"
    labels: ClassVar[tuple[str, ...]] = ENTAILMENT


class JaNLI(Dataset):
    """JaNLI: inference where surface heuristics mislead (720 test pairs)."""

    dataset: ClassVar[str] = "janli"
    labels: ClassVar[tuple[str, ...]] = ("entailment", "non-entailment")


class JNLI(Dataset):
    """JNLI: inference on image captions (2,434 test pairs, the valid file of JGLUE v1.1)."""

    dataset: ClassVar[str] = "jnli"
    labels: ClassVar[tuple[str, ...]] = ENTAILMENT


class JSeM(Dataset):
    """JSeM: the semantic test suite (1,584 test problems)."""

    dataset: ClassVar[str] = "jsem"
    labels: ClassVar[tuple[str, ...]] = ("yes", "no", "unknown", "undef")


class JSICK(Dataset):
    """JSICK: compositional inference (4,927 test pairs)."""

    dataset: ClassVar[str] = "jsick"
    labels: ClassVar[tuple[str, ...]] = ENTAILMENT


class JEMHopQA(Dataset):
    """JEMHopQA: questions that need two facts (120 test questions)."""

    dataset: ClassVar[str] = "jemhopqa"


class NIILC(Dataset):
    """NIILC: encyclopedic questions (198 test questions)."""

    dataset: ClassVar[str] = "niilc"


class JSQuAD(Dataset):
    """JSQuAD: answers in a passage (4,442 test questions, the valid file of JGLUE v1.1)."""

    dataset: ClassVar[str] = "jsquad"


class JCommonsenseQA(Dataset):
    """JCommonsenseQA: five choices, answered by digit (1,119 test questions, JGLUE v1.1)."""

    dataset: ClassVar[str] = "jcommonsenseqa"
    labels: ClassVar[tuple[str, ...]] = ("0", "1", "2", "3", "4")


class JSTS(Dataset):
    """JSTS: how alike two captions are, 0 to 5 (1,457 test pairs, JGLUE v1.1)."""

    dataset: ClassVar[str] = "jsts"

    def score(self, sample: Sample, output: str) -> float:
        """How near the number is: 1 less a fifth of the distance, 0 if there is no number.

        Protocols correlate all answers instead; a single answer has no correlation.
        """
        from yoriai_eval.scoring.answers import cleaned

        try:
            answer = float(cleaned(protocol.load(OWN).answer, output))
        except ValueError:
            return 0.0
        distance = abs(answer - float(sample.gold))
        return 1 - distance / 5 if distance <= 5 else 0.0


class MAWPS(Dataset):
    """MAWPS-ja: arithmetic word problems, answered by a number (500 test problems)."""

    dataset: ClassVar[str] = "mawps"
