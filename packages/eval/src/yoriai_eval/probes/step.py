"""``eval/probe``: methods that look into models, each with its own validation.

What cannot run is said with its reason before any work starts, a probe that raises is told and the
others go on, and what a probe found is kept at once, so that a run that was killed does not look
twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from yoriai import (
    Artifact,
    Backend,
    Job,
    Made,
    Measured,
    NotFound,
    Probe,
    ProbedModel,
    ProbeInputs,
    ProbeResult,
    Step,
    Task,
    UsageError,
    Uses,
    Validation,
    YoriaiError,
    config,
    console,
    files,
)
from yoriai.probe import OF_A_MODEL, cautions, obstacles
from yoriai_eval.backends.huggingface import HuggingFace
from yoriai_eval.scoring.run import folder_digest

SHOWN = 4  # measures in a headline
PLACES = 6  # digits of a number that is written down
CHECKPOINT = re.compile(r"step-(\d+)")
KINDS = ("model", "corpus", "index", "tokens", "scores")
Facts = dict[str, Any]


def _default_backend() -> Any:
    backend = HuggingFace()
    backend._entry = "eval/hf"
    return backend


class ProbeStep(Step):
    """Look into models, corpora and scores with probes.

    ``probes.json`` holds, by probe and model, what was measured, its validation and its limits, or
    why it was not run. ``rows/`` has a file of rows of each.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "probes"
    optional: ClassVar[tuple[str, ...]] = KINDS
    measures: ClassVar[tuple[str, ...]] = ("probes.**",)

    probes: list[Annotated[Probe, Uses("probes")]] = Field(
        min_length=1, description="the methods to look with"
    )
    tasks: list[Annotated[Task, Uses("tasks")]] = Field(
        [], description="tasks that probes may ask a model"
    )
    backend: Annotated[Backend, Uses("backends")] = Field(
        default_factory=_default_backend, description="how models are asked"
    )
    models: dict[str, str] = Field(
        {}, description="models from elsewhere: a name, and a Hugging Face folder"
    )

    def fingerprint(self) -> str:
        """Digest of the folders of models from elsewhere."""
        told = {name: folder_digest(Path(place)) for name, place in self.models.items()}
        return files.digest_json(told) if told else ""

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        for name, place in self.models.items():
            if not Path(place).is_dir():
                raise UsageError(f"models: {name}: there is no folder {place}")
        _refuse_doubles([probe.entry for probe in self.probes])
        return {"probes": [probe.entry for probe in self.probes]}

    def run(self, job: Job) -> Made:
        _refuse_doubles([probe.entry for probe in self.probes])
        asked = list(self._asked(job))
        found: dict[str, dict[str, Facts]] = {}
        for looked in asked:
            place = found.setdefault(looked.probe.entry, {})
            if looked.obstacles:
                place[looked.subject] = {"state": "not run", "reasons": list(looked.obstacles)}
                console.note(f"{looked.name} is not run: {'; '.join(looked.obstacles)}")
                continue
            for caution in cautions(looked.probe, looked.given):
                console.note(f"{looked.name}: {caution}")
        if all(looked.obstacles for looked in asked):
            raise UsageError(
                "no probe can run on this:\n  "
                + "\n  ".join(f"{a.name}: {'; '.join(a.obstacles)}" for a in asked),
                hint="yoriai eval probe list  says what each of them needs",
            )
        for looked in asked:
            if not looked.obstacles:
                found[looked.probe.entry][looked.subject] = self._look(looked, job)
        facts: Facts = {"probes": found}
        _refuse_all_raised(found)
        files.write_atomically(job.out / "probes.json", files.canonical_json(facts))
        return Made(facts=facts, headline=headline(facts))

    def _models(self, job: Job) -> Iterator[ProbedModel]:
        for artifact in job.all_of("model"):
            yield ProbedModel(
                name=artifact.step,
                folder=artifact.path,
                digest=artifact.digest,
                artifact=artifact,
                checkpoints=early_weights(artifact.path),
            )
        for name, place in self.models.items():
            folder = Path(place)
            yield ProbedModel(
                name=name,
                folder=folder,
                digest=folder_digest(folder),
                checkpoints=early_weights(folder),
            )

    def _asked(self, job: Job) -> Iterator[_Look]:
        """Every probe with every model that it is to look into, and what stands in its way."""
        models = list(self._models(job))
        if len({m.name for m in models}) < len(models):
            raise UsageError("two models have one name; results could not tell them apart")
        for probe in self.probes:
            for model in models if OF_A_MODEL & set(probe.needs) else []:
                yield self._look_of(probe, model, job)
            if not (OF_A_MODEL & set(probe.needs) and models):
                yield self._look_of(probe, None, job)

    def _look_of(self, probe: Probe, model: ProbedModel | None, job: Job) -> _Look:
        subject = model.name if model else ""
        scratch = job.scratch / _file_name(probe.entry, subject)
        scratch.mkdir(parents=True, exist_ok=True)
        given = ProbeInputs(
            model=model,
            artifacts=job.inputs,
            tasks=tuple(self.tasks),
            backend=self.backend,
            registry=job.registry,
            seed=job.seed,
            scratch=scratch,
            watch=job.watch,
        )
        return _Look(probe, subject, given, tuple(obstacles(probe, given)))

    def _look(self, looked: _Look, job: Job) -> Facts:
        """Run a probe, or read what it found before an interruption."""
        scratch = looked.given.scratch
        told, rows = scratch / "told.json", scratch / "rows.jsonl"
        if not told.is_file():
            console.note(f"{looked.name}")
            try:
                facts = _facts(looked, looked.probe.run(looked.given), rows)
            except Exception as error:
                facts = {"state": "raised", "reasons": [_in_words(error)]}
                console.note(f"{looked.name} raised, the others go on: {facts['reasons'][0]}")
            files.write_atomically(told, files.canonical_json(facts))
        facts = dict(json.loads(told.read_bytes()))
        if facts.get("rows"):
            place = job.out / "rows" / rows_name(looked.probe.entry, looked.subject)
            place.parent.mkdir(exist_ok=True)
            files.link(rows, place)
        return facts


@dataclass(frozen=True, slots=True)
class _Look:
    """A probe, and the model it looks into (none: an empty subject)."""

    probe: Probe
    subject: str
    given: ProbeInputs
    obstacles: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.probe.entry} of {self.subject}" if self.subject else self.probe.entry


def early_weights(folder: Path) -> list[tuple[int, Path]]:
    """The weights of earlier steps that a model's folder holds, in order of step."""
    root = folder / "checkpoints"
    found = []
    for place in sorted(root.iterdir()) if root.is_dir() else []:
        match = CHECKPOINT.fullmatch(place.name)
        if match and (place / "model" / "config.json").is_file():
            found.append((int(match[1]), place / "model"))
    return sorted(found)


def rows_name(probe: str, subject: str) -> str:
    """The file of a probe's rows, under ``rows/``."""
    return _file_name(probe, subject) + ".jsonl"


def rows_of(artifact: Artifact, probe: str, subject: str) -> Iterator[Facts]:
    """The rows that a probe wrote; none where it wrote none."""
    name = f"rows/{rows_name(probe, subject)}"
    if name in artifact.manifest["files"]:
        with artifact.file(name).open("rb") as stream:
            yield from map(json.loads, stream)


def _file_name(probe: str, subject: str) -> str:
    return ".".join(filter(None, (probe.replace("/", "."), subject)))


# --- what was found, as facts -------------------------------------------------------------


def _facts(looked: _Look, result: ProbeResult, rows: Path) -> Facts:
    probe, model = looked.probe, looked.given.model
    count = 0
    with rows.open("wb") as stream:
        for row in result.rows:
            stream.write(json.dumps(_rounded(row), ensure_ascii=False).encode() + b"\n")
            count += 1
    notes = [*result.notes, *cautions(probe, looked.given)]
    facts: Facts = {
        "state": "ran",
        "config": config.plain(probe),
        "version": probe.version,
        "measures": _measures(result.measures),
        "order": [m.name for m in result.measures],  # a manifest's keys are sorted
        "validation": _validation(result.validation),
        "figures": [
            {**asdict(f), "series": {k: [list(p) for p in v] for k, v in f.series.items()}}
            for f in result.figures
        ],
        "notes": notes,
        "limits": dict(probe.limits),
        "source": probe.source,
        "rows": count,
    }
    if model is not None:
        facts["model"] = model.digest
    return dict(_rounded(facts))


def _measures(measures: Sequence[Measured]) -> Facts:
    """By name, so that a prediction can name one."""
    told = {m.name: asdict(m) for m in measures}
    if len(told) < len(measures):
        raise YoriaiError("two measures of a probe have one name")
    for row in told.values():
        del row["name"]
    return told


def _validation(validation: Validation) -> Facts:
    told = {"how": validation.how, "holds": validation.holds, "says": validation.says}
    return {**told, "measures": _measures(validation.measures)}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, PLACES)
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value


def _in_words(error: Exception) -> str:
    if isinstance(error, YoriaiError):
        return f"{error.message}; {error.hint}" if error.hint else error.message
    if isinstance(error, ImportError) and error.name:
        return f"it needs {error.name}: pip install {error.name}"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _refuse_doubles(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"{name} is named twice", hint="two steps hold two settings of one probe"
            )


def _refuse_all_raised(found: Mapping[str, Mapping[str, Facts]]) -> None:
    states = [told["state"] for subjects in found.values() for told in subjects.values()]
    if "ran" not in states:
        first = next(
            told["reasons"][0]
            for subjects in found.values()
            for told in subjects.values()
            if told["state"] == "raised"
        )
        raise NotFound(f"no probe came to a result; the first raised: {first}")


def headline(facts: Mapping[str, Any]) -> list[str]:
    """Readable lines: what each probe measured, and what its validation says."""
    lines = []
    for probe, subjects in facts["probes"].items():
        for subject, told in subjects.items():
            name = f"{probe} of {subject}" if subject else probe
            if told["state"] != "ran":
                lines.append(f"{name} {told['state']}: {'; '.join(told['reasons'])}")
                continue
            shown = ", ".join(in_words(n, told["measures"][n]) for n in told["order"][:SHOWN])
            more = len(told["measures"]) - SHOWN
            lines.append(f"{name}: {shown}{f', {more} more' if more > 0 else ''}")
            lines.append(f"    validation: {told['validation']['says']}")
    return lines


def in_words(name: str, measure: Mapping[str, Any]) -> str:
    """A measure with its interval, as ``name 0.500 (0.310 to 0.690)``."""
    interval = measure["interval"]
    told = f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else measure["note"]
    return f"{name} {measure['value']:.3f} ({told})"
