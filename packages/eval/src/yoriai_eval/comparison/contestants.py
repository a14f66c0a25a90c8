"""Models to be compared: their answers in columns, and what keeps two from being compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yoriai import Artifact, NotFound, UsageError
from yoriai.config import unknown_name
from yoriai_eval.scoring import protocol
from yoriai_eval.scoring.metrics import METRICS
from yoriai_eval.scoring.protocol import ProtocolFacts
from yoriai_eval.scoring.rows import models_of, rows_of, scored

BITS = ("bits_per_byte", "gold_bits_per_byte")


@dataclass(slots=True)
class Answers:
    """What one model answered in one exam, in columns that are as long as ``ids``.

    ``places`` says where in the columns a sample is. ``scores`` holds the metrics that each sample
    has; ``bits`` and ``bytes`` are filled for the forms that count bits, ``answers`` else.
    """

    task: str
    form: str
    ids: list[str] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)
    prompts: list[str] = field(default_factory=list)
    shots: list[int] = field(default_factory=list)
    clusters: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    scores: dict[str, list[float]] = field(default_factory=dict)
    bits: list[float] = field(default_factory=list)
    bytes: list[float] = field(default_factory=list)

    def add(self, row: Mapping[str, Any]) -> None:
        self.places[row["id"]] = len(self.ids)
        self.ids.append(row["id"])
        self.prompts.append(row.get("prompt_sha256", ""))
        self.shots.append(row.get("shots", -1))
        self.clusters.append(row.get("cluster", ""))
        if "bits" in row:
            self.bits.append(row["bits"])
            self.bytes.append(float(row["bytes"]))
            return
        self.reasons.append(row.get("reason", ""))
        self.answers.append(row.get("answer", ""))
        for name, value in row["scores"].items():
            self.scores.setdefault(name, []).append(value)

    def has(self, metric: str) -> bool:
        """Whether this exam gives that metric."""
        if metric in BITS:
            return self.form == ("gold" if metric == "gold_bits_per_byte" else "bits-per-byte")
        known = METRICS.get(metric)
        if known is not None and known.corpus is not None:
            return self.form == known.form
        return metric in self.scores


@dataclass(slots=True)
class Contestant:
    """A model of a scores artifact, with its answers by (task, form).

    A task's name is its short one; of bits per byte it has the group behind it, as each group is
    scored by itself.
    """

    name: str
    scores: Artifact
    model: str
    exams: dict[tuple[str, str], Answers] = field(default_factory=dict)

    def metric(self, task: str) -> str:
        """The metric of a task's score; "" where the task is not among the scores."""
        told = scored(self.scores.facts).get(self.model, {}).get("tasks", {}).get(task)
        if told is not None:
            return str(told["metric"])
        return "bits_per_byte" if (task, "bits-per-byte") in self.exams else ""

    def answers(self, task: str, metric: str) -> Answers | None:
        """The answers that a metric of a task is taken of; the first form that has it."""
        return next((a for (t, _), a in self.exams.items() if t == task and a.has(metric)), None)


def contestants(chosen: Sequence[tuple[Artifact, str]]) -> list[Contestant]:
    """The models of scores artifacts, each named as briefly as tells it apart.

    Each artifact comes with the model meant, or "" for all it has. Raises
    :class:`yoriai.NotFound` for a model it has not, UsageError if there are not two in all.
    """
    found: dict[tuple[str, str], Contestant] = {}
    for artifact, model in chosen:
        if artifact.kind != "scores":
            raise NotFound(f"{artifact.path} is a {artifact.kind}, this command reads scores")
        known = models_of(artifact)
        if model and model not in known:
            raise unknown_name(model, known, f"model in {artifact.path}:")
        for name in [model] if model else known:
            found.setdefault((str(artifact.path.resolve()), name), Contestant(name, artifact, name))
    people = list(found.values())
    if len(people) < 2:
        raise UsageError(
            "there is only one model to compare",
            hint="name a second scores artifact, e.g. build/a/scores@1 build/b/scores@1:base",
        )
    _name(people)
    for path, artifact in {p.scores.path.resolve(): p.scores for p in people}.items():
        _read(artifact, [p for p in people if p.scores.path.resolve() == path])
    return people


def _name(people: Sequence[Contestant]) -> None:
    """By the model; else with the artifact's name before it, else its folder."""
    ways: list[Callable[[Contestant], str]] = [
        lambda p: p.model,
        lambda p: f"{p.scores.name}:{p.model}",
        lambda p: f"{p.scores.path}:{p.model}",
    ]
    for way in ways:
        names = [way(p) for p in people]
        if len(set(names)) == len(names):
            break
    for person, name in zip(people, names, strict=True):
        person.name = name


def _read(artifact: Artifact, people: Sequence[Contestant]) -> None:
    wanted = {p.model: p for p in people}
    for row in rows_of(artifact):
        person = wanted.get(row["model"])
        if person is None:
            continue
        task, form = row["task"].rpartition("/")[2], row.get("form", "bits-per-byte")
        if form == "bits-per-byte":
            task = f"{task} {row['group']}".rstrip()
        key = (task, form)
        if key not in person.exams:
            person.exams[key] = Answers(row["task"], form)
        person.exams[key].add(row)


# --- what can be compared -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Obstacles:
    """Why two models' answers cannot be compared (``reasons``), and what else differs."""

    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def obstacles(one: Contestant, other: Contestant, first: Answers, second: Answers) -> Obstacles:
    """What differs between how two models were asked the same task."""
    reasons, notes = [], []
    facts = (one.scores.facts, other.scores.facts)
    if first.form != second.form:
        reasons.append(f"other form ({first.form}, {second.form})")
    used = [protocol.identity(f) for f in facts]
    known = [protocol.outline(f) for f in facts]
    # How a task of its own way is read, a protocol of one's own may say all the same.
    own = [_is_own(first.task, o) and o is not None and not o.digest for o in known]
    if first.form != "bits-per-byte" and used[0] != used[1] and not all(own):
        reasons.append(f"other protocol ({used[0]}, {used[1]})")
    common = [i for i in first.ids if i in second.places]
    if len(common) < max(len(first.ids), len(second.ids)):
        for key in ("split", "limit"):
            values = [f.get(key) or ("all" if key == "limit" else "") for f in facts]
            if values[0] != values[1]:
                reasons.append(f"other {key} ({values[0]}, {values[1]})")
        left = (len(first.ids) - len(common), len(second.ids) - len(common))
        reasons.append(
            f"other rows ({len(common)} in common, {left[0]} and {left[1]} of one model alone)"
        )
    marks = [_marks(p.scores, first.task) for p in (one, other)]
    if marks[0] != marks[1]:
        reasons.append("other data")
    fewer = other_prompts = 0
    for name in common:
        i, j = first.places[name], second.places[name]
        if first.prompts[i] and second.prompts[j] and first.prompts[i] != second.prompts[j]:
            if first.shots[i] != second.shots[j]:
                fewer += 1
            else:
                other_prompts += 1
    if fewer:
        notes.append(f"asked with another number of examples on {fewer} samples")
    if other_prompts and used[0] == used[1] and _is_rendered(first, known[0]):
        notes.append(f"each asked in its own chat template on {other_prompts} samples")
    elif other_prompts:
        reasons.append(f"other prompts on {other_prompts} samples")
    return Obstacles(tuple(reasons), tuple(notes))


def _marks(scores: Artifact, task: str) -> list[str]:
    """What a run sealed of the data that a task reads."""
    outside = scores.manifest.get("outside", {})
    return [
        str(mark)
        for key, mark in sorted(outside.items())
        if f"{task}/".startswith(key.rpartition("#")[0] + "/")
    ]


def _is_own(task: str, known: ProtocolFacts | None) -> bool:
    """Whether a protocol leaves it to the task how it is asked."""
    return known is not None and task.rpartition("/")[2] not in known.tasks


def _is_rendered(answers: Answers, known: ProtocolFacts | None) -> bool:
    """Whether the prompts are put into the model's own template, so that they differ by model."""
    if known is None:
        return False
    return bool(known.chat) or (answers.form == "generation" and _is_own(answers.task, known))
