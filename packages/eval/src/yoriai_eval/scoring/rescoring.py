"""Scores read again: the questions of a sealed run, its answers scored anew, what differs.

A row holds what a model wrote, so its answer, outcome and scores follow from the row and the
question alone. Likelihoods and bits are the model's own and are taken as they stand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from yoriai import (
    Altered,
    Artifact,
    Generated,
    NotFound,
    Sample,
    UsageError,
    YoriaiError,
    config,
    files,
)
from yoriai import artifact as artifacts
from yoriai.registry import Registry
from yoriai_eval.scoring import answers, asking, protocol
from yoriai_eval.scoring import totals as scoring
from yoriai_eval.scoring.protocol import Exam
from yoriai_eval.scoring.rows import models_of, rows_of, scored
from yoriai_eval.scoring.run import EvaluationRun

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Questions:
    """What a scores artifact's models were asked, built again from its configuration.

    ``notes`` say where it may not be what was asked: data or protocols that are others now.
    """

    run: EvaluationRun
    exams: tuple[Exam, ...]
    inputs: tuple[Artifact, ...]
    notes: tuple[str, ...] = ()

    def exam(self, task: str, form: str) -> Exam | None:
        """By the task's entry and the form of a row; None if the run had none such."""
        return next((e for e in self.exams if (e.name, e.form) == (task, form)), None)

    def samples(self, exam: Exam) -> Iterator[Sample]:
        """In the order asked. Raises :class:`yoriai.NotFound` where the data is not here."""
        return self.run.samples(exam, self.inputs)


def questions(scores: Artifact, registry: Registry) -> Questions:
    """The questions of a sealed run; raises :class:`yoriai.UsageError` if it was another version's.

    No model and no backend is needed.
    """
    if scores.kind != "scores":
        raise NotFound(f"{scores.path} is a {scores.kind}, this command reads scores")
    # The backend may not be installed here, and asks nothing of the questions.
    options = {key: value for key, value in scores.config.items() if key != "backend"}
    try:
        run: EvaluationRun = config.build(EvaluationRun, options, registry)
    except pydantic.ValidationError as error:
        fault = config.explain(error, EvaluationRun)[0]
        raise UsageError(
            f"{scores.name} was asked in a way unknown here: "
            f"{config.dotted(fault.place)}: {fault.message}",
            hint=fault.hint or "use the version of yoriai-eval that made it: yoriai verify",
        ) from error
    rules = protocol.load(run.protocol)
    exams = [exam for task in run.tasks for exam in protocol.exams(rules, run._split(task))]
    return Questions(run, tuple(exams), _inputs(scores), tuple(_drift(scores, run)))


def _inputs(scores: Artifact) -> tuple[Artifact, ...]:
    """The inputs that still stand where they stood, such as corpora with held-out text."""
    found = []
    folders = scores.manifest["circumstances"].get("folders", [])
    for item, folder in zip(scores.manifest["inputs"], folders, strict=False):
        try:
            made = artifacts.open_artifact(scores.path.resolve().parent / Path(folder).expanduser())
        except (NotFound, Altered):
            continue
        if made.digest == item["digest"]:
            found.append(made)
    return tuple(found)


def _drift(scores: Artifact, run: EvaluationRun) -> Iterator[str]:
    """What of the outside is not what it was: marks that a run seals with its result."""
    sealed = scores.manifest.get("outside", {})
    for position, item in enumerate(config.nested(run)):
        told = sealed.get(f"{item.entry or 'eval/run'}#{position}")
        # The run's own mark covers models from elsewhere, which may be gone by now.
        if told is None or (item is run and run.models):
            continue
        if item.fingerprint() != told:
            what = f"protocol {run.protocol!r}" if item is run else f"the data of {item.entry}"
            yield f"{what} is not what it was when this was made"


def prompt(exam: Exam, sample: Sample, shots: int | None) -> str | None:
    """The text a model was asked with; None where it was put into the model's own template."""
    if exam.form == "bits-per-byte":
        return sample.text
    if exam.own and not exam.plain:
        return None if asking.is_rendered(exam, sample) else sample.text
    return None if exam.chat else exam.question(sample, shots)


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Of a row, or (without ``id``) of a sealed total: what stands there, and what should."""

    model: str
    task: str
    id: str
    field: str
    found: Any
    expected: Any


def rescore(scores: Artifact, asked: Questions) -> Iterator[Discrepancy]:
    """Everything in ``samples.jsonl`` that scoring the same answers anew does not give.

    First row by row, then the totals of each model and task against those sealed in the manifest,
    which an edit of the rows cannot reach. One exam's questions and rows are in memory at a time.
    """
    known = models_of(scores)
    for exam in asked.exams:
        samples = list(asked.samples(exam))
        by_id = {sample.id: sample for sample in samples}
        right_ones = [s.gold for s in samples]
        rows: dict[str, list[Row]] = {model: [] for model in known}
        for row in rows_of(scores, edited=True):
            if (row["task"], row.get("form", "bits-per-byte")) == (exam.name, exam.form):
                rows.setdefault(row["model"], []).append(row)
        for model, mine in rows.items():
            yield from _check_ids(model, exam, samples, mine)
            for row in mine:
                if row["id"] in by_id:
                    yield from _check(exam, by_id[row["id"]], row)
            if [row["id"] for row in mine] == list(by_id):  # else its totals mean nothing
                totals = _score(exam, mine, right_ones, int(scores.manifest["seed"]))
                yield from _check_totals(scores, model, exam, totals)
    for row in rows_of(scores, edited=True):
        form = row.get("form", "bits-per-byte")
        if asked.exam(row["task"], form) is None:
            yield Discrepancy(row["model"], row["task"], row["id"], "row", form, "no such exam")


def _check_ids(
    model: str, exam: Exam, samples: Sequence[Sample], rows: Sequence[Row]
) -> Iterator[Discrepancy]:
    wanted, found = [s.id for s in samples], [r["id"] for r in rows]
    if wanted == found:
        return
    for name in sorted({*wanted, *found}):
        counts = found.count(name), wanted.count(name)
        if counts[0] != counts[1]:
            yield Discrepancy(model, exam.name, name, "rows", *counts)
    if sorted(wanted) == sorted(found):
        yield Discrepancy(model, exam.name, "", "order of rows", "another", "as asked")


def _check(exam: Exam, sample: Sample, row: Row) -> Iterator[Discrepancy]:
    """What of one row does not follow from what the model wrote, or from its likelihoods."""
    expected: dict[str, Any] = {"group": sample.group, "cluster": sample.cluster}
    text = prompt(exam, sample, row.get("shots"))
    if text is not None and exam.form != "bits-per-byte":
        expected["prompt_sha256"] = files.digest_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        expected |= _FORMS[exam.form](exam, sample, row)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        yield Discrepancy(row["model"], exam.name, row["id"], "row", "incomplete", repr(error))
        return
    for name, value in expected.items():
        told = row.get(name, "" if name == "cluster" else None)
        if told != value:
            yield Discrepancy(row["model"], exam.name, row["id"], name, told, value)


def _generation(exam: Exam, sample: Sample, row: Row) -> dict[str, Any]:
    made = Generated(row["output"], row["ended"], row.get("note", ""))
    reading = answers.read(exam, sample, made)
    scores = {name: round(value, asking.DIGITS) for name, value in reading.scores.items()}
    return {
        "answer": reading.answer,
        "reason": reading.reason,
        "scores": scores,
        "score": scores.get(exam.metrics[0], 0.0),
    }


def _ranked(exam: Exam, sample: Sample, row: Row) -> dict[str, Any]:
    if row.get("ended") == "error":
        return asking.errored(exam, row["note"])
    sums = row["likelihoods"]
    # What the choices cost after no question is in no row, so that pick stands as it is.
    picked = {**asking.picks(sums, sample.choices), "pmi": row["picked"]["pmi"]}
    picked = {name: picked[name] for name in row["picked"]}  # older rows have fewer ways
    return asking.ranking(exam, sample, sums, picked)


def _gold(_exam: Exam, sample: Sample, row: Row) -> dict[str, Any]:
    size = len(sample.gold.encode())
    return {"bytes": size} | ({"bits": asking.BITS_PER_BYTE * size} if "reason" in row else {})


def _bits(_exam: Exam, sample: Sample, _row: Row) -> dict[str, Any]:
    return {"bytes": len(sample.text.encode())}


_FORMS = {"generation": _generation, "ranked": _ranked, "gold": _gold, "bits-per-byte": _bits}
_SEALED = ("metric", "score", "interval", "samples", "reasons", "groups")


def _score(exam: Exam, rows: Sequence[Row], golds: Sequence[str], seed: int) -> dict[str, Any]:
    """The totals of one model in one exam, as a run seals them."""
    if exam.form == "gold":
        return scoring.score_gold(rows, seed)
    if exam.form != "bits-per-byte":
        return scoring.score(exam, rows, golds, seed)
    sums: dict[str, list[float]] = {}
    for row in rows:
        bits = sums.setdefault(row["group"], [0.0, 0.0])
        bits[0] += row["bits"]
        bits[1] += row["bytes"]
    return {g: round(b / max(1.0, n), scoring.PLACES) for g, (b, n) in sorted(sums.items())}


def _check_totals(
    scores: Artifact, model: str, exam: Exam, totals: Mapping[str, Any]
) -> Iterator[Discrepancy]:
    told = scored(scores.facts).get(model, {})
    if exam.form == "bits-per-byte":
        for group, value in totals.items():
            corpus, _, language = group.partition(".")
            was = told.get("bits_per_byte", {}).get(corpus, {}).get(language)
            if was != value:
                yield Discrepancy(model, exam.name, "", f"sealed bits per byte {group}", was, value)
        return
    task = told.get("tasks", {}).get(exam.short, {})
    # Asked in another form before, only the metrics of this one are added.
    names = _SEALED if task.get("metric") == totals["metric"] else ()
    for name in names:
        if name in totals and totals[name] != task.get(name):
            yield Discrepancy(model, exam.name, "", f"sealed {name}", task.get(name), totals[name])
    for name, value in totals["metrics"].items():
        was = task.get("metrics", {}).get(name)
        if was != value:
            yield Discrepancy(model, exam.name, "", f"sealed metric {name}", was, value)


def add_questions(scores: Artifact, registry: Registry, rows: Sequence[Row]) -> list[str]:
    """Put ``question`` and ``gold``, the right answer, into rows; why they are not in some.

    The rows of a run hold neither, so that a run can be published without handing on its sets.
    They are built again from the data, which has to be here.
    """
    try:
        asked = questions(scores, registry)
    except YoriaiError as error:
        return [error.message]
    notes = list(asked.notes)
    exams: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        exams.setdefault((row["task"], row.get("form", "bits-per-byte")), {})
    for (task, form), known in exams.items():
        exam = asked.exam(task, form)
        mine = [r for r in rows if (r["task"], r.get("form", "bits-per-byte")) == (task, form)]
        if exam is None or form == "bits-per-byte":
            continue
        wanted = {row["id"] for row in mine}
        try:
            known |= {
                s.id: {"question": s.text, "gold": s.gold}
                for s in asked.samples(exam)
                if s.id in wanted
            }
        except YoriaiError as error:
            notes.append(error.message)
        for row in mine:
            row |= known.get(row["id"], {})
    return notes


def golds(scores: Artifact, registry: Registry, task: str, form: str) -> dict[str, str]:
    """The right answers of one exam by sample; empty where the questions cannot be had."""
    try:
        asked = questions(scores, registry)
        exam = asked.exam(task, form)
        return {} if exam is None else {s.id: s.gold for s in asked.samples(exam)}
    except YoriaiError:
        return {}
