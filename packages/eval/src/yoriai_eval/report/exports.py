"""Scores as other tools' logs: what lm-evaluation-harness, Inspect and Weights & Biases share.

One row is in memory at a time, and of all rows only their numbers. The same artifact gives the
same bytes: times are those of the run that made it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from yoriai import Artifact, Sample, YoriaiError, files
from yoriai_eval.scoring import statistics
from yoriai_eval.scoring.protocol import Exam
from yoriai_eval.scoring.rescoring import Questions, prompt
from yoriai_eval.scoring.rows import rows_of

Row = dict[str, Any]
_SURROGATES = re.compile("[\ud800-\udfff]")
NOT_KNOWN = "1970-01-01T00:00:00+00:00"  # where a run did not say when it was made


@dataclass(slots=True)
class Total:
    """The numbers of one model in one exam: columns of scores, or of bits and bytes."""

    model: str
    exam: Exam
    count: int = 0
    columns: dict[str, list[float]] = field(default_factory=dict)
    clusters: list[str] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    shots: int = 0

    def add(self, row: Row) -> None:
        self.count += 1
        self.shots = max(self.shots, row.get("shots", 0))
        self.clusters.append(row.get("cluster", ""))
        if "bits" in row:
            self.sizes.append(float(row["bytes"]))
        for name, value in values(row, self.exam).items():
            self.columns.setdefault(name, []).append(value)

    def metrics(self, facts: Mapping[str, Any]) -> dict[str, tuple[float, float | None]]:
        """(value, standard error) of each metric; of those of whole tasks as the facts have it."""
        found: dict[str, tuple[float, float | None]] = {}
        for name, column in self.columns.items():
            size = sum(self.sizes) if self.sizes else len(column)
            error = statistics.standard_error(column, self.clusters, self.sizes)
            found[name] = (sum(column) / max(1.0, size), error)
        told = facts.get(self.model, {}).get("tasks", {}).get(self.exam.short, {})
        for name in self.exam.metrics:
            if name not in found and name in told.get("metrics", {}):
                found[name] = (told["metrics"][name], None)
        return found


def values(row: Row, exam: Exam) -> dict[str, float]:
    """The numbers of one row by metric; bits (not yet by their bytes) where it holds bits."""
    if "bits" in row:
        return {exam.metrics[0]: row["bits"]}
    return dict(row["scores"])


def paired(scores: Artifact, asked: Questions) -> Iterator[tuple[Row, Exam, Sample]]:
    """Each row with its question, in the order of the rows.

    Raises :class:`yoriai.YoriaiError` where rows are not what was asked.
    """
    place: tuple[str, str, str] | None = None
    exam: Exam | None = None
    samples: Iterator[Sample] = iter(())
    for row in rows_of(scores):
        here = (row["model"], row["task"], row.get("form", "bits-per-byte"))
        if here != place:
            place, exam = here, asked.exam(here[1], here[2])
            samples = asked.samples(exam) if exam is not None else iter(())
        sample = next(samples, None)
        if exam is None or sample is None or sample.id != row["id"]:
            raise YoriaiError(
                f"{scores.name}: sample {row['id']} of {row['task']} is not what was asked there",
                hint=f"yoriai eval rescore {scores.path}",
            )
        yield row, exam, sample


def totals(scores: Artifact, asked: Questions) -> dict[tuple[str, str, str], Total]:
    """By model, task and form, in the order of the rows."""
    found: dict[tuple[str, str, str], Total] = {}
    for row in rows_of(scores):
        key = (row["model"], row["task"], row.get("form", "bits-per-byte"))
        if key not in found:
            exam = asked.exam(*key[1:])
            if exam is None:
                raise YoriaiError(
                    f"{scores.name}: {key[1]} was not asked in the form {key[2]}",
                    hint=f"yoriai eval rescore {scores.path}",
                )
            found[key] = Total(row["model"], exam)
        found[key].add(row)
    return found


def asked_with(exam: Exam, sample: Sample, row: Row) -> str:
    """The prompt; for one in a model's own template, the text that was put into it."""
    text = prompt(exam, sample, row.get("shots"))
    if text is not None:
        return text
    if exam.own:
        return f"{sample.instruction}\n{sample.text}".strip()
    return exam.question(sample, row.get("shots"))


def made(scores: Artifact) -> str:
    """When the run that made the scores was, in ISO 8601."""
    return str(scores.manifest["circumstances"].get("made") or NOT_KNOWN)


def plain(name: str) -> str:
    """A name that no file system minds, as ``sanitize_model_name`` of lm_eval/utils.py."""
    return re.sub(r"[\"<>:/\|\\?\*\[\]]+", "__", name)


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A file that is there when it is whole, however large."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as stream:
            yield stream
        part.replace(path)
    except OSError as error:
        raise files.disk_error(path, error) from error
    finally:
        part.unlink(missing_ok=True)


def key_of(row: Row) -> tuple[str, str, str]:
    """Model, task and form."""
    return row["model"], row["task"], row.get("form", "bits-per-byte")


def names_of(sums: Mapping[tuple[str, str, str], Total]) -> dict[tuple[str, str, str], str]:
    """What files call each exam: the task's short name; with the form for its second form."""
    taken: set[tuple[str, str]] = set()
    names = {}
    for key, total in sums.items():
        short = plain(total.exam.short)
        names[key] = short if (key[0], short) not in taken else f"{short}_{key[2]}"
        taken.add((key[0], names[key]))
    return names


def hashed(text: str) -> str:
    """sha256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def line(value: Any) -> bytes:
    """A value as one line of JSON, no newline.

    Half of a surrogate pair, which a model can write, becomes U+FFFD: strict readers (Inspect's,
    Arrow's) refuse whole files for it. ``samples.jsonl`` keeps it.
    """
    text = json.dumps(value, ensure_ascii=False)
    return _SURROGATES.sub("\ufffd", text).encode()
