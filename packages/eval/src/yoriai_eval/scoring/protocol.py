"""Protocols as data: how a task is put to a model, and how its answer is read.

A protocol is one YAML file in ``protocols/``. It names tasks by their short name (``jnli`` for
``eval/jnli``) and says everything that moves a score: template, instruction, shots, limits,
where the answer is cut, how it is normalised, which metrics are taken, and how scores are
averaged. A task that a protocol does not name is asked in the task's own way.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field

from yoriai import (
    Answer,
    Asking,
    NotFound,
    Prompt,
    Sample,
    Shot,
    Task,
    UsageError,
    YoriaiError,
    safe_yaml,
)
from yoriai.config import dotted, explain, unknown_name
from yoriai.contracts import Form
from yoriai.files import digest_json
from yoriai.recipe import read_yaml
from yoriai.strict import Strict
from yoriai_eval.scoring.metrics import METRICS

SPARE = 16  # examples looked at beyond those wanted, where some are asked
FOLDER = Path(__file__).with_name("protocols")


class Wording(Strict):
    """Other words for the samples of a task than those of its data set.

    The words that were there first stay with the data set; only what models see changes.
    """

    pattern: str = Field("", description="regular expression over a whole text; empty: any text")
    text: str = Field("", description="the text instead; {name} is the group of that name")
    choices: tuple[str, ...] = Field((), description="groups that are the choices instead")
    labels: dict[str, str] = Field({}, description="other words for answers and choices")

    def apply(self, sample: Sample) -> Sample:
        """The sample in these words; raises :class:`yoriai.YoriaiError` if it does not match."""
        text, choices = sample.text, sample.choices
        if self.pattern:
            found = re.fullmatch(self.pattern, text, re.DOTALL)
            if found is None or (self.choices and len(self.choices) != len(choices)):
                raise YoriaiError(
                    f"sample {sample.id} is not worded as its protocol expects",
                    hint=f"expected {self.pattern!r}; see it with: yoriai eval samples",
                )
            text = _fill(self.text, **found.groupdict())
            choices = tuple(found[name] for name in self.choices) or choices
        choices = tuple(self.labels.get(choice, choice) for choice in choices)
        answer = sample.answer
        if isinstance(answer, str):
            place = sample.choices.index(answer) if answer in sample.choices else -1
            answer = choices[place] if place >= 0 else self.labels.get(answer, answer)
        return dataclasses.replace(sample, text=text, choices=choices, answer=answer)


class Asked(Strict):
    """One task under a protocol."""

    instruction: str = Field("", description="what the header is filled with")
    forms: tuple[Form, ...] = Field(("generation",), description="ways to ask; the first scores")
    metrics: tuple[str, ...] = Field(("exact_match",), description="metrics; the first scores")
    labels: tuple[str, ...] = Field((), description="answers that exist; others are unparsed")
    wording: Wording | None = Field(None, description="other words for the samples and examples")
    max_tokens: int = Field(0, ge=0, description="longest answer in the model's own tokens")
    max_characters: int = Field(0, ge=0, description="longest answer in characters")
    answer: Answer | None = Field(None, description="how it is read, if not as the protocol says")
    shots: tuple[Shot, ...] = Field((), description="examples; empty: rows of the train split")
    shot_count: int | None = Field(None, ge=0, description="examples; null: as the protocol says")

    @pydantic.field_validator("metrics")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in METRICS:
                raise ValueError(f"no metric {name!r}; there are {', '.join(METRICS)}")
        return names


class Protocol(Strict):
    """A whole protocol."""

    name: str
    title: str = Field(description="in words")
    source: str = Field(description="where each value comes from")
    licence: str
    prompt: Prompt = Field(description="the template")
    chat: bool | Literal["turns"] = Field(
        False,
        description="a model with a chat template gets the prompt in it: true, as one message; "
        "turns, each example as a turn of the user and one of the assistant",
    )
    shot_count: int = Field(0, ge=0, description="examples before each question")
    fresh_shots: bool = Field(
        False, description="examples from the train split that are asked, too, give way to the next"
    )
    answer: Answer = Field(Answer(), description="how answers are read")
    tasks: dict[str, Asked] = Field(description="by short name")
    categories: dict[str, tuple[str, ...]] = Field({}, description="means over tasks")
    average: tuple[str, ...] = Field((), description="categories whose mean is the average")

    @pydantic.model_validator(mode="after")
    def _has_its_categories(self) -> Protocol:
        if unknown := [name for name in self.average if name not in self.categories]:
            raise ValueError(f"average names {unknown[0]!r}, which is none of the categories")
        if empty := [name for name, tasks in self.categories.items() if not tasks]:
            raise ValueError(f"the category {empty[0]!r} has no tasks")
        return self


def names() -> list[str]:
    """The protocols there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> Protocol:
    """The protocol of that name, or of a ``.yaml`` file of one's own.

    Raises :class:`yoriai.NotFound` with the nearest name, and :class:`yoriai.UsageError` naming
    the key that is wrong in a file.
    """
    if name.endswith((".yaml", ".yml")):
        return _of_file(Path(name).expanduser())
    return _shipped(name)


@cache
def _shipped(name: str) -> Protocol:
    if name not in names():
        raise unknown_name(name, names(), "protocol")
    told = safe_yaml.load((FOLDER / f"{name}.yaml").read_bytes(), f"{name}.yaml")
    return Protocol.model_validate(_on_base(told))


def _on_base(told: dict[str, Any]) -> dict[str, Any]:
    """Keys over those of the shipped protocol that ``base`` names."""
    base = told.pop("base", "")
    if not isinstance(base, str):
        raise UsageError(f"base: names a protocol: {', '.join(names())}")
    return {**_shipped(base).model_dump(), **told} if base else told


def _of_file(place: Path) -> Protocol:
    try:
        told, _ = read_yaml(place, "a protocol is a mapping of keys to values")
    except OSError as error:
        raise NotFound(
            f"the protocol {place} cannot be read: {error.strerror}",
            hint=f"give a file, or one of {', '.join(names())}",
        ) from error
    try:
        made = Protocol.model_validate(_on_base(told))
    except pydantic.ValidationError as error:
        faults = explain(error, Protocol)
        said = "; ".join(f"{dotted(f.place) or 'file'}: {f.message}" for f in faults)
        hint = next((fault.hint for fault in faults if fault.hint), "")
        raise UsageError(f"the protocol {place}: {said}", hint=hint) from error
    if made.name in names():
        raise UsageError(
            f"the protocol {place} is called {made.name!r}, as one that ships",
            hint="name: another",
        )
    return made


class ProtocolFacts(Strict):
    """What scores have to say of the protocol that asked them, so that they can be compared."""

    digest: str = Field("", description="of the whole protocol, if it is a file of one's own")
    chat: bool | Literal["turns"] = False
    tasks: tuple[str, ...] = Field((), description="that it asks in its own words")
    categories: dict[str, tuple[str, ...]] = {}
    average: tuple[str, ...] = ()


def outline(facts: Mapping[str, Any]) -> ProtocolFacts | None:
    """Of the facts of scores; None for a protocol that is not known here and is not told there."""
    if "protocol_outline" in facts:
        try:
            return ProtocolFacts.model_validate(facts["protocol_outline"])
        except pydantic.ValidationError:
            return None
    name = facts.get("protocol")
    return _outline(_shipped(name)) if name in names() else None


def facts_of(name: str) -> dict[str, Any]:
    """What scores say of their protocol: its name and, of a file of one's own, its outline."""
    rules = load(name)
    facts: dict[str, Any] = {"protocol": rules.name}
    if rules.name not in names():
        digest = digest_json(rules.model_dump(mode="json"))
        made = _outline(rules).model_copy(update={"digest": digest})
        facts["protocol_outline"] = made.model_dump(mode="json")
    return facts


def identity(facts: Mapping[str, Any]) -> str:
    """The protocol's name; of a file of one's own with the start of its digest."""
    name, known = str(facts.get("protocol", "")), outline(facts)
    return f"{name} ({known.digest[:8]})" if known and known.digest else name


def _outline(rules: Protocol) -> ProtocolFacts:
    return ProtocolFacts(
        chat=rules.chat,
        tasks=tuple(sorted(rules.tasks)),
        categories=rules.categories,
        average=rules.average,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """One task in one form: everything that is the same for all of its samples."""

    task: Task
    form: Form
    metrics: tuple[str, ...]
    prompt: Prompt = field(default_factory=Prompt)
    answer: Answer = field(default_factory=Answer)
    instruction: str = ""
    shots: tuple[Sample, ...] = ()
    labels: tuple[str, ...] = ()
    max_tokens: int = 0
    max_characters: int = 0
    chat: bool | Literal["turns"] = False
    own: bool = False
    plain: bool = False  # own: put as the prompt says, never in the model's own form
    wording: Wording | None = None
    stops: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The task's entry, e.g. ``eval/jnli``; with a name of its own, ``eval/yaml/greetings``."""
        return full_name(self.task)

    @property
    def short(self) -> str:
        """What protocols and scores call it, e.g. ``jnli``."""
        return short_name(self.task)

    @property
    def stop(self) -> tuple[str, ...]:
        """Where writing may end early without changing the answer that is read.

        That is the cut, unless something before it is dropped first: white space, thoughts. A
        task's own ``stops`` come after it.
        """
        exact = not (self.answer.strip_first or self.answer.drop_thoughts)
        return ((self.answer.cut,) if self.answer.cut and exact else ()) + self.stops

    def put(self, sample: Sample) -> Sample:
        """The sample in the words of this exam; ask, read and score that one."""
        return sample if self.wording is None else self.wording.apply(sample)

    def prefix(self, shots: int | None = None) -> str:
        """What every prompt with so many shots begins with; the first shots give way first."""
        kept = len(self.shots) if shots is None else shots
        header = _fill(self.prompt.header, instruction=self.instruction)
        chosen = self.shots[len(self.shots) - kept :]
        examples = [_fill(self.prompt.shot, input=s.text, output=s.gold) for s in chosen]
        before, _, _ = self.prompt.query.partition("{input}")
        return header + self.prompt.join.join(examples) + before

    def question(self, sample: Sample, shots: int | None = None) -> str:
        """The whole prompt of a sample."""
        return self.prefix(shots) + sample.text + self.after

    def turns(self, sample: Sample, shots: int | None = None) -> list[tuple[str, str]]:
        """The prompt of a sample as turns of (role, text).

        Instruction and question are the user's, in the words of the template; not all chat
        templates have a place for a system. White space at the ends of turns is the template's.
        """
        if self.chat != "turns":
            return [("user", self.question(sample, shots))]
        kept = len(self.shots) if shots is None else shots
        ask, _, rest = self.prompt.shot.partition("{output}")
        before = _fill(self.prompt.header, instruction=self.instruction)
        told = []
        for shot in self.shots[len(self.shots) - kept :]:
            told.append(("user", (before + _fill(ask, input=shot.text)).strip()))
            told.append(("assistant", (shot.gold + rest).strip()))
            before = self.prompt.join
        question = _fill(self.prompt.query, input=sample.text)
        return [*told, ("user", (before + question).strip())]

    @property
    def after(self) -> str:
        """What stands between a sample's text and the answer."""
        return self.prompt.query.partition("{input}")[2]


def full_name(task: Task) -> str:
    """What rows and logs call a task: its entry, and its own name if one entry makes many."""
    return f"{task.entry}/{task.called}" if task.called else task.entry


def short_name(task: Task) -> str:
    """The last part of that."""
    return full_name(task).rpartition("/")[2]


def _fill(template: str, /, **values: str) -> str:
    # Not str.format: instructions and passages hold braces of their own. One pass, so that a
    # value which looks like a place is not filled again.
    pieces = template
    done = ""
    while pieces:
        places = [(pieces.find("{" + key + "}"), key) for key in values]
        places = [(at, key) for at, key in places if at >= 0]
        if not places:
            break
        at, key = min(places)
        done += pieces[:at] + values[key]
        pieces = pieces[at + len(key) + 2 :]
    return done + pieces


def exams(protocol: Protocol, task: Task) -> list[Exam]:
    """The forms in which a protocol asks a task; the task's own if it is not in there."""
    asked = None if task.always_own else protocol.tasks.get(short_name(task))
    if asked is None:
        return [_own_exam(protocol, task, asking) for asking in task.askings()]
    count = protocol.shot_count if asked.shot_count is None else asked.shot_count
    shots = _shots(task, asked.shots, count, protocol.fresh_shots)
    if asked.wording is not None:
        shots = tuple(asked.wording.apply(shot) for shot in shots)
    return [
        Exam(
            task=task,
            form=form,
            metrics=_metrics(asked.metrics, form),
            prompt=protocol.prompt,
            answer=asked.answer or protocol.answer,
            instruction=asked.instruction,
            shots=shots,
            labels=asked.labels,
            max_tokens=asked.max_tokens,
            max_characters=asked.max_characters,
            chat=protocol.chat,
            wording=asked.wording,
        )
        for form in asked.forms
    ]


def _own_exam(protocol: Protocol, task: Task, asking: Asking) -> Exam:
    own = asking.by == "task"
    usual = "accuracy" if own and asking.form == "generation" else _METRICS[asking.form]
    return Exam(
        task=task,
        form=asking.form,
        metrics=asking.metrics or (usual,),
        prompt=asking.prompt or (Prompt() if own else protocol.prompt),
        answer=asking.answer or (Answer() if own else protocol.answer),
        instruction=asking.instruction,
        shots=_shots(task, (), asking.shots),
        max_tokens=asking.max_tokens,
        max_characters=asking.max_characters,
        stops=asking.stops,
        chat=False if own else protocol.chat,
        own=own,
        plain=own and asking.prompt is not None,
    )


_METRICS: dict[Form, str] = {
    "generation": "exact_match",
    "ranked": "accuracy",
    "gold": "gold_bits_per_byte",
    "bits-per-byte": "bits_per_byte",
}


def _metrics(named: Sequence[str], form: Form) -> tuple[str, ...]:
    """Those of a task's metrics that a form can give; the form's usual one if there is none."""
    return tuple(name for name in named if METRICS[name].form == form) or (_METRICS[form],)


def _shots(
    task: Task, named: Sequence[Shot], count: int, fresh: bool = False
) -> tuple[Sample, ...]:
    if count == 0:
        return ()
    if named:
        shots = [task.shot(one) for one in named[:count]]
    elif fresh:
        asked = {sample.text for sample in task.samples(())}
        shots = [one for one in task.shots(count + SPARE) if one.text not in asked][:count]
    else:
        shots = list(task.shots(count))
    if len(shots) < count:
        raise UsageError(
            f"{full_name(task)} has {len(shots)} examples to show, {count} are wanted",
            hint="lower shot_count in the protocol, or let the task's shots() give more",
        )
    return tuple(shots)
