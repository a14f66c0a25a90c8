"""``eval/run``: models on tasks, sample by sample, with floors and intervals."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from yoriai import (
    Artifact,
    Backend,
    Job,
    LanguageModel,
    Made,
    NotFound,
    Sample,
    Step,
    Task,
    UsageError,
    Uses,
    YoriaiError,
    console,
    files,
)
from yoriai.artifact import check_folder
from yoriai_eval.backends.huggingface import HuggingFace
from yoriai_eval.scoring import asking, protocol, totals
from yoriai_eval.scoring import chunks as logs
from yoriai_eval.scoring.profile import fault, profile
from yoriai_eval.scoring.protocol import Exam


def _default_backend() -> Any:
    backend = HuggingFace()
    backend._entry = "eval/hf"
    return backend


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to ask: its name in the scores, what the backend opens, and its identity."""

    name: str
    place: Path
    digest: str
    said: str


class EvaluationRun(Step):
    """Ask every model under ``from`` (and ``models``) every task.

    One row a sample goes to ``samples.jsonl``; the scores, their 95 % intervals and the floors
    that need no model to ``scores.json``.
    """

    version: ClassVar[str] = "3"
    makes: ClassVar[str] = "scores"
    optional: ClassVar[tuple[str, ...]] = ("model", "corpus")

    tasks: list[Annotated[Task, Uses("tasks")]] = Field(min_length=1, description="what to ask")
    protocol: str = Field(
        "yoriai",
        description="how to ask: yoriai, v1.3, v1.3.0, oct2023, or a .yaml file of your own",
    )
    split: Literal["test", "dev", "train"] = Field(
        "test", description="rows of the data sets that are asked"
    )
    limit: int | None = Field(
        None, ge=1, description="the first so many samples of each task; null: all"
    )
    backend: Annotated[Backend, Uses("backends")] = Field(
        default_factory=_default_backend, description="how models are run"
    )
    models: dict[str, str] = Field(
        {}, description="models from elsewhere: a name, and a folder or what a server calls it"
    )

    def fingerprint(self) -> str:
        """Digest of the protocol and of the folders of models from elsewhere."""
        told: dict[str, Any] = {"protocol": protocol.load(self.protocol).model_dump(mode="json")}
        for name, place in self.models.items():
            told[name] = folder_digest(Path(place)) if Path(place).exists() else place
        return files.digest_json(told)

    def measured(self, inputs: Mapping[str, str]) -> Sequence[str]:
        models = [name for name, kind in inputs.items() if kind == "model"]
        tasks = [protocol.short_name(task) for task in self.tasks]
        return totals.numbers([*models, *self.models], tasks)

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        rules = protocol.load(self.protocol)
        _refuse_doubles("tasks", [protocol.short_name(task) for task in self.tasks])
        told: dict[str, Any] = {"tasks": len(self.tasks), "protocol": rules.name}
        return {**told, "models from elsewhere": sorted(self.models)} if self.models else told

    def run(self, job: Job) -> Made:
        models, corpora = self._models(job), job.all_of("corpus")
        _refuse_doubles("models", [m.name for m in models])
        _refuse_doubles("corpora", [c.step for c in corpora])
        _refuse_doubles("tasks", [protocol.short_name(task) for task in self.tasks])
        if not models:
            raise UsageError(
                "no model to ask", hint="name a step that makes a model under 'from', or 'models'"
            )
        rules = protocol.load(self.protocol)
        exams = [exam for task in self.tasks for exam in protocol.exams(rules, self._split(task))]
        for exam in exams:
            _refuse_bad_samples(exam, self.samples(exam, job.inputs))
            if exam.form != "bits-per-byte":
                for note in profile(exam, self.samples(exam, job.inputs)):
                    console.note(note)
        told: dict[str, Any] = {}
        for asked in models:
            told[asked.name] = self._ask(asked, exams, job)
        facts = self._facts(models, exams, corpora, job)
        for name, value in told.items():
            facts["models"][name]["asked_with"] = value
        self._write_samples(models, exams, job)
        files.write_atomically(job.out / "scores.json", files.canonical_json(facts))
        return Made(facts=facts, headline=totals.headline(facts))

    def samples(self, exam: Exam, inputs: Sequence[Artifact]) -> Iterator[Sample]:
        """What is asked in an exam, in order, never all in memory if the task does not."""
        return map(exam.put, islice(exam.task.samples(inputs), self.limit))

    def _split(self, task: Task) -> Task:
        return task if task.split_is_given else task.of_split(self.split)

    def _models(self, job: Job) -> list[Candidate]:
        inside = [Candidate(a.step, a.path, a.digest, a.name) for a in job.all_of("model")]
        return inside + [
            Candidate(name, Path(place), files.digest_bytes(self.fingerprint().encode()), place)
            for name, place in self.models.items()
        ]

    def _open(self, asked: Candidate) -> LanguageModel:
        check_folder(asked.place)
        try:
            return self.backend.open(asked.place)
        except ImportError as error:
            raise NotFound(
                f"{asked.said} needs {error.name or error}",
                hint=f"pip install {error.name}" if error.name else "yoriai doctor",
            ) from error

    def _ask(self, asked: Candidate, exams: Sequence[Exam], job: Job) -> dict[str, Any]:
        """Ask a model all exams that its logs do not answer yet; how it was asked."""
        model: LanguageModel | None = None
        told = job.scratch / f"{asked.name}.asked_with.json"
        for exam in exams:
            log = _log(job, asked, exam)
            done = logs.open_log(log, asked.digest)
            samples = islice(self.samples(exam, job.inputs), done, None)
            total = self._count(exam, job.inputs) - done
            if not total:
                continue
            if model is None:
                model = self._open(asked)
                files.write_atomically(told, files.canonical_json(_described(model, exams, asked)))
            label = f"{asked.name} on {exam.name}" + (" (gold)" if exam.form == "gold" else "")
            seconds: list[float] = []
            errors: list[str] = []
            chunks = job.progress(_chunks(samples), label, math.ceil(total / logs.CHUNK))
            for chunk in chunks:
                start = time.perf_counter()
                rows = asking.ask(model, exam, chunk)
                seconds += [(time.perf_counter() - start) / len(chunk)] * len(chunk)
                _refuse_no_number(asked, rows)
                errors += [r.get("note", "") for r in rows if r.get("reason") == "errored"]
                base = {"model": asked.name, "task": exam.name}
                logs.append(log, asked.digest, [{**base, **row} for row in rows])
            if errors:
                console.note(
                    f"{label}: {len(errors)} of {total} answers ended by error and count as wrong, "
                    f"the first: {errors[0][:200] or 'no reason was given'}"
                )
            job.metric(model=asked.name, task=exam.short, form=exam.form, **_latency(seconds))
        return dict(json.loads(told.read_bytes())) if told.is_file() else {}

    def _count(self, exam: Exam, inputs: Sequence[Artifact]) -> int:
        samples = exam.task.samples(inputs)
        count = len(samples) if isinstance(samples, Sized) else sum(1 for _ in samples)
        return count if self.limit is None else min(count, self.limit)

    def _facts(
        self,
        models: Sequence[Candidate],
        exams: Sequence[Exam],
        corpora: Sequence[Artifact],
        job: Job,
    ) -> dict[str, Any]:
        facts: dict[str, Any] = {
            **protocol.facts_of(self.protocol),
            "split": self.split,
            "limit": self.limit or 0,
            "floors": {},
            "models": {},
        }
        for exam in exams:
            answers = {m.name: logs.read(_log(job, m, exam)) for m in models}
            totals.add(facts, exam, self.samples(exam, job.inputs), answers, corpora, job.seed)
        totals.average(facts, protocol.load(self.protocol), [m.name for m in models])
        return facts

    def _write_samples(self, models: Sequence[Candidate], exams: Sequence[Exam], job: Job) -> None:
        with (job.out / "samples.jsonl").open("wb") as stream:
            for asked in models:
                for exam in exams:
                    for row in logs.read(_log(job, asked, exam)):
                        stream.write(logs.line(row))


def _log(job: Job, asked: Candidate, exam: Exam) -> Path:
    return job.scratch / f"{asked.name}.{exam.name.replace('/', '.')}.{exam.form}.jsonl"


def _described(model: LanguageModel, exams: Sequence[Exam], asked: Candidate) -> dict[str, Any]:
    """How a model is asked; where chat is wanted, also whether it has a template for that."""
    told = model.describe()
    if any(exam.chat for exam in exams):
        told["chat_template"] = bool(model.chat([[("user", "?")]]))
        if not told["chat_template"]:
            console.note(f"{asked.name} has no chat template: it is asked the prompts as they are")
    return told


def _chunks(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    rest = iter(samples)
    while chunk := list(islice(rest, logs.CHUNK)):
        yield chunk


def _latency(seconds: list[float]) -> dict[str, float]:
    """Of one sample as part of its chunk, in milliseconds; for the run file: it always differs."""
    ordered = sorted(seconds)
    at = {q: ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.5, 0.95)}
    return {
        "samples": len(seconds),
        "seconds": round(sum(seconds), 2),
        "samples_per_second": round(len(seconds) / max(1e-9, sum(seconds)), 1),
        "median_ms": round(at[0.5] * 1000, 2),
        "p95_ms": round(at[0.95] * 1000, 2),
    }


def folder_digest(place: Path) -> str:
    """Identity of a model from elsewhere: names and contents of its files."""
    paths = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
    return files.digest_json(
        {str(p.relative_to(place.parent)): files.digest_file(p) for p in paths}
    )


def _refuse_doubles(what: str, names: Sequence[str]) -> None:
    doubles = [name for name, count in Counter(names).items() if count > 1]
    if doubles:
        raise UsageError(f"two {what} are called {doubles[0]!r}; scores could not tell them apart")


def _refuse_bad_samples(exam: Exam, samples: Iterator[Sample]) -> None:
    """Refuse before a model is opened what would make scores wrong."""
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise YoriaiError(f"{exam.name} has two samples called {sample.id!r}")
        seen.add(sample.id)
        if wrong := fault(sample):
            raise YoriaiError(
                f"{exam.name}: sample {sample.id}: {wrong}", hint="correct samples() of the task"
            )
        if exam.form == "ranked" and len(sample.choices) < 2:
            raise YoriaiError(f"{exam.name}: sample {sample.id} has no choices to rank")
    if not seen:
        raise YoriaiError(f"{exam.name} has no samples")


def _refuse_no_number(asked: Candidate, rows: Sequence[dict[str, Any]]) -> None:
    for row in rows:
        values = [row.get("bits", 0.0), *row.get("likelihoods", ())]
        if not all(map(math.isfinite, values)):
            raise YoriaiError(
                f"{asked.said} gives no finite number on {row['id']}",
                hint=f"its weights may hold NaN: yoriai verify {asked.place}",
            )
