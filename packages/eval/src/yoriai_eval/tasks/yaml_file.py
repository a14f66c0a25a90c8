"""A task as one YAML file: for the common forms, without any code.

The file says where the rows are and how a row becomes a question; templates are filled with the
fields of a row (``{question}``) and know nothing else.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import pydantic
from pydantic import Field

from yoriai import (
    Answer,
    Artifact,
    Asking,
    NotFound,
    Prompt,
    Sample,
    Task,
    UsageError,
    YoriaiError,
    files,
    safe_yaml,
)
from yoriai.config import dotted, explain
from yoriai.errors import Altered
from yoriai.files import digest_bytes, digest_json
from yoriai.strict import Strict
from yoriai_eval.scoring.answers import cleaned, normalised
from yoriai_eval.scoring.metrics import METRICS
from yoriai_eval.scoring.protocol import _fill, exams, load
from yoriai_eval.sets import store

_PLACE = re.compile(r"\{(\w+)\}")
MOST_DATA_BYTES = 2**30
ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")
Fields = dict[str, str]


class Remote(Strict):
    """A file on the web, pinned by its content."""

    url: str = Field(pattern="^https?://", description="where it is; best with a commit in it")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of its content")


class Description(Strict):
    """What the YAML file holds."""

    name: str = Field(pattern=r"^[\w.-]+$", description="what scores call the task")
    licence: str = Field(min_length=1, description="of the rows, as SPDX")
    source: str = Field(min_length=1, description="where the rows come from")
    form: Literal["ranked", "generation"] = Field(description="choices compared, or text written")
    data: str | Remote = Field(
        description="a .jsonl, .json, .csv, .tsv or .parquet beside this file, or url and sha256"
    )
    text: str = Field(description="the question; {field} is a field of the row")
    choices: str | tuple[str, ...] = Field((), description="templates, or a field with a list")
    answer: str = Field("", description="the right choice, its number from 0, or the text to write")
    answer_is: Literal["", "text", "position"] = Field(
        "", description="how the right choice is named; empty: either, where it cannot be both"
    )
    answers: str | tuple[str, ...] = Field(
        (), description="texts that count as right: templates, or a field with a list"
    )
    fields: tuple[str, ...] = Field((), description="names of the columns of a file with no header")
    instruction: str = Field("", description="what comes before all questions")
    metrics: tuple[str, ...] = Field((), description="the first scores; empty: the form's usual")
    shots: tuple[int, ...] = Field((), description="rows shown as examples, and asked no more")
    max_characters: int = Field(64, ge=1, description="longest answer that is written")
    id: str = Field("", description="template of a row's name; empty: its number")
    group: str = Field("", description="template of what scores are broken down by")
    cluster: str = Field("", description="template of what rows share that are not independent")
    prompt: Prompt | None = Field(None, description="if not as the protocol puts questions")
    reading: Answer | None = Field(None, description="if not as the protocol reads answers")

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Description:
        if (self.form == "ranked") != bool(self.choices):
            raise ValueError("form ranked needs choices, and no other form has them")
        if not self.answer and not self.answers:
            raise ValueError("give answer, or answers for several that count as right")
        if self.answers and self.form == "ranked":
            raise ValueError("of choices only one is right: answer")
        for name in self.metrics:
            if name not in METRICS or METRICS[name].form != self.form:
                known = [m.name for m in METRICS.values() if m.form == self.form]
                raise ValueError(f"no metric {name!r} of this form; there are {', '.join(known)}")
        return self


class YamlTask(Task):
    """A task that a YAML file describes (:class:`Description`)."""

    version: ClassVar[str] = "1"
    form: ClassVar[Literal["generation"]] = "generation"  # the file says which
    always_own: ClassVar[bool] = True
    path: str = Field(min_length=1, description="the YAML file")

    @property
    def called(self) -> str:
        """The name in the file; it tells tasks of this entry apart."""
        return self.described.name

    def fingerprint(self) -> str:
        """Digest over the YAML file and the rows (of a file on the web: over its sha256)."""
        told = self.described.data
        rows = digest_bytes(self._local(told)) if isinstance(told, str) else told.sha256
        return digest_json([digest_bytes(self._content), rows])

    def askings(self) -> list[Asking]:
        """One form, in the file's own words, put and read as the protocol does."""
        told = self.described
        return [
            Asking(
                form=told.form,
                by="protocol",
                metrics=told.metrics,
                prompt=told.prompt,
                answer=told.reading,
                instruction=told.instruction,
                shots=len(told.shots),
                max_characters=told.max_characters,
            )
        ]

    def shots(self, count: int) -> list[Sample]:
        """The rows that the file names as examples, which are asked no more."""
        return [self._sample(number, self._row(number)) for number in self.described.shots[:count]]

    def samples(self, artifacts: Sequence[Artifact]) -> Iterator[Sample]:  # noqa: ARG002
        """The rows in their order but for those that are shown as examples."""
        shown = {" ".join(shot.text.split()): shot.id for shot in self.shots(len(self.rows))}
        for number, row in enumerate(self.rows):
            if number in self.described.shots:
                continue
            sample = self._sample(number, row)
            if (like := shown.get(" ".join(sample.text.split()))) is not None:
                raise UsageError(
                    f"eval/yaml: row {number} asks what the example {like} shows the answer to",
                    hint="shots: other rows, or leave one of the two out of the data",
                )
            yield sample

    def score(self, sample: Sample, output: str) -> float:
        """The first metric, as protocol ``yoriai`` reads an answer."""
        [exam] = exams(load("yoriai"), self)
        metric = METRICS[exam.metrics[0]].sample or METRICS["exact_match"].sample
        assert metric is not None
        return metric(
            cleaned(exam.answer, output),
            [normalised(exam.answer, text) for text in (sample.gold, *sample.answers)],
        )

    # --- the file -----------------------------------------------------------------------------

    @cached_property
    def _content(self) -> bytes:
        try:
            return files.read_small(Path(self.path).expanduser(), safe_yaml.MAX_BYTES)
        except OSError as error:
            raise NotFound(
                f"eval/yaml: {self.path} cannot be read: {error.strerror}",
                hint="give the YAML file as path",
            ) from error

    @cached_property
    def described(self) -> Description:
        """The checked content; raises :class:`yoriai.UsageError` naming the key that is wrong."""
        try:
            told = safe_yaml.load(self._content, self.path)
        except safe_yaml.BadYaml as error:
            raise UsageError(f"eval/yaml: {error.message}") from error
        if not isinstance(told, Mapping):
            raise UsageError(f"eval/yaml: {self.path} holds no keys", hint="name: …, form: …")
        try:
            return Description.model_validate(told)
        except pydantic.ValidationError as error:
            faults = explain(error, Description)
            said = "; ".join(f"{dotted(f.place) or 'file'}: {f.message}" for f in faults)
            hint = next((fault.hint for fault in faults if fault.hint), "")
            raise UsageError(f"eval/yaml: {self.path}: {said}", hint=hint) from error

    # --- rows ---------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The records of the data; raises :class:`yoriai.UsageError` for one that is none."""
        told = self.described.data
        name, content = (
            (told, self._local(told))
            if isinstance(told, str)
            else (told.url, store.fetch(told.url, told.sha256).read_bytes())
        )
        ending = Path(name.partition("?")[0]).suffix.lower()
        try:
            if ending == ".jsonl":
                lines = content.split(b"\n")
                rows = [json.loads(line) for line in lines if line.strip()]
            elif ending in (".csv", ".tsv"):
                text = io.StringIO(content.decode("utf-8-sig"), newline="")
                comma = "," if ending == ".csv" else "\t"
                names = list(self.described.fields) or None
                rows = list(csv.DictReader(text, names, delimiter=comma, strict=True))
            elif ending == ".json":
                rows = json.loads(content)
                if not isinstance(rows, list):
                    raise ValueError("it holds no list of rows")
            elif ending == ".parquet":
                import pyarrow.parquet as pq

                # In batches: room is made for as many rows as a footer claims.
                batches = pq.ParquetFile(io.BytesIO(content)).iter_batches(512)
                rows = [row for batch in batches for row in batch.to_pylist()]
            else:
                raise UsageError(f"eval/yaml: {name} is none of {', '.join(ENDINGS)}")
        except (ValueError, OSError, csv.Error) as error:
            raise UsageError(f"eval/yaml: {name} cannot be read: {error}") from error
        for number, row in enumerate(rows):
            if not isinstance(row, dict) or None in row or (None in row.values() and ending in (
                ".csv", ".tsv"
            )):  # fmt: skip
                raise UsageError(f"eval/yaml: row {number} of {name} has no fields, or too many")
        return rows

    def _local(self, name: str) -> bytes:
        place = Path(self.path).expanduser().parent / name
        try:
            return files.read_small(place, MOST_DATA_BYTES)
        except OSError as error:
            raise NotFound(
                f"eval/yaml: {place} cannot be read: {error.strerror}",
                hint=f"data is looked for beside {Path(self.path).name}",
            ) from error

    def _refuse_choices(self, number: int, choices: Sequence[str]) -> None:
        faults = {
            "an empty choice": not all(choice.strip() for choice in choices),
            "two choices that are equal": len(set(choices)) < len(choices),
        }
        for fault, there in faults.items():
            if there:
                raise UsageError(
                    f"eval/yaml: row {number} has {fault}",
                    hint=f"correct it in the data of {Path(self.path).name}",
                )

    def _row(self, number: int) -> dict[str, Any]:
        if not 0 <= number < len(self.rows):
            raise Altered(f"eval/yaml: {self.path} shows row {number}; there are {len(self.rows)}")
        return self.rows[number]

    def _sample(self, number: int, row: Mapping[str, Any]) -> Sample:
        told = self.described
        fields = {name: _said(value) for name, value in row.items()}

        def put(template: str) -> str:
            for name in _PLACE.findall(template):
                if name not in fields:
                    raise UsageError(
                        f"eval/yaml: row {number} has no field {name!r}; {self.path} wants it",
                        hint=f"it has {', '.join(fields)}",
                    )
            return _fill(template, **fields)

        def listed(name: str, what: str) -> tuple[str, ...]:
            values = row.get(name.strip("{}"))
            if not isinstance(values, list):
                raise UsageError(f"eval/yaml: {name} of row {number} is no list of {what}")
            if any(isinstance(value, list | dict) or value is None for value in values):
                raise UsageError(
                    f"eval/yaml: {name} of row {number} holds what is neither text nor a number",
                    hint=f"correct it in the data of {Path(self.path).name}",
                )
            return tuple(map(_said, values))

        for name in _PLACE.findall(told.answer):
            if isinstance(row.get(name), list | dict):
                raise UsageError(
                    f"eval/yaml: the answer of row {number} is a list or a mapping",
                    hint=f'answers: "{{{name}}}" lets each of a list count as right',
                )
        answer: str | int = put(told.answer)
        answers: tuple[str, ...] = ()
        choices: tuple[str, ...] = ()
        if isinstance(told.answers, str) and told.answers:
            answers = listed(told.answers, "answers")
        elif told.answers:
            answers = tuple(map(put, told.answers))
        if told.answers and not told.answer:
            if not answers:
                raise UsageError(f"eval/yaml: row {number} has no answer that counts as right")
            answer, answers = answers[0], answers[1:]
        if isinstance(told.choices, str) and told.choices:
            choices = listed(told.choices, "choices")
        elif told.choices:
            choices = tuple(map(put, told.choices))
        if choices:
            self._refuse_choices(number, choices)
            answer = _place(str(answer), choices, told.answer_is, number)
            if answer < 0:
                raise YoriaiError(
                    f"eval/yaml: the answer of row {number} is none of its {len(choices)} choices",
                    hint="answer gives the text of a choice, or its number from 0",
                )
        return Sample(
            id=put(told.id) or str(number),
            text=put(told.text),
            instruction=told.instruction,
            choices=choices,
            answer=answer,
            answers=answers,
            group=put(told.group),
            cluster=put(told.cluster),
        )


def _said(value: Any) -> str:
    """A field as text: JSON for what is neither text nor nothing."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _place(answer: str, choices: Sequence[str], told: str, number: int) -> int:
    """Which choice is meant, by its text or by its number; -1 for none.

    Raises :class:`yoriai.UsageError` where both are possible and mean two choices.
    """
    text = choices.index(answer) if answer in choices else -1
    position = int(answer) if answer.isdecimal() and int(answer) < len(choices) else -1
    if told:
        return text if told == "text" else position
    if text >= 0 and position >= 0 and text != position:
        raise UsageError(
            f"eval/yaml: the answer {answer!r} of row {number} is the text of choice {text} and "
            f"the number of choice {position}",
            hint="answer_is: text, or answer_is: position",
        )
    return text if text >= 0 else position
