"""Probes: methods that say why a model behaves as it does, each with its own validation.

A probe states what it needs (:data:`Need`); :func:`obstacles` says, before any work starts, why it
cannot run. What it finds are :class:`Measured` objects, each with a 95 % interval or the reason why
there is none, rows for whoever looks closer, and a :class:`Validation`: the same method on the same
run where the right answer is known.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, get_args

from yoriai.artifact import Artifact, lineage
from yoriai.config import Configured
from yoriai.errors import UsageError
from yoriai.evaluation_contracts import Backend, LanguageModel, Task
from yoriai.intervals import wilson

if TYPE_CHECKING:
    from yoriai.registry import Registry
    from yoriai.section import Figure

T = TypeVar("T")

Need = Literal[
    "model", "weights", "checkpoints", "corpus", "index", "tokens", "tasks", "likelihoods", "scores"
]
NEEDS: tuple[Need, ...] = get_args(Need)
OF_A_MODEL = frozenset({"model", "weights", "checkpoints"})
ARTIFACTS = ("corpus", "index", "tokens", "scores")
FEWEST = 10
"""Items below which a measure has no interval: it would be as wide as what could be."""
# Kinds of weights that are data; a pickle is never opened.
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A number with its 95 % ``interval``, of how many ``items``, and what ``chance`` would give.

    Without an interval ``note`` says why. Raises ``ValueError`` for a number that is none, an
    interval that does not hold the value, and a missing interval without a reason.
    """

    name: str
    value: float
    items: int
    interval: tuple[float, float] | None = None
    chance: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"{self.name} is no finite number: {self.value}")
        if self.interval is None:
            if not self.note:
                raise ValueError(f"{self.name} has no interval and no note that says why")
        elif not self.interval[0] <= self.value <= self.interval[1]:
            raise ValueError(f"{self.name}: {self.value} is outside of {self.interval}")

    @classmethod
    def share(
        cls, name: str, successes: int, count: int, *, chance: float | None = None, note: str = ""
    ) -> Measured:
        """A share with Wilson's interval; of fewer than :data:`FEWEST` items it has none."""
        value = successes / count if count else 0.0
        if count < FEWEST:
            few = too_few(count)
            return cls(name=name, value=value, items=count, chance=chance,
                       note=f"{note}; {few}" if note else few)  # fmt: skip
        low, high = wilson(successes, count)
        return cls(name=name, value=value, items=count, interval=(low, high), chance=chance,
                   note=note)  # fmt: skip

    @property
    def above_chance(self) -> bool | None:
        """Whether the whole interval lies above chance; None where one of them is not known."""
        if self.interval is None or self.chance is None:
            return None
        return self.interval[0] > self.chance


def too_few(count: int) -> str:
    """The note of a measure of too few items."""
    return f"{count} items are too few for an interval" if count else "there were no items"


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What the method does where the right answer is known, on the same run.

    ``holds``: it found what was there; False: no better than chance, so what it says of this model
    is worth nothing; None: it could not be tried, and ``says`` tells why.
    """

    how: str
    holds: bool | None
    says: str
    measures: Sequence[Measured] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """What a probe found. ``rows`` go to a file of their own, a JSON object a line.

    Nothing in it differs between two runs on the same things: no times, no places of a machine.
    """

    measures: Sequence[Measured]
    validation: Validation
    rows: Iterable[Mapping[str, Any]] = ()
    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedModel:
    """A model that is looked into: a Hugging Face ``folder``, and what is known of it.

    ``artifact`` is None for a folder from elsewhere. ``checkpoints`` are earlier weights, as
    (step, folder), in order of step.
    """

    name: str
    folder: Path
    digest: str
    artifact: Artifact | None = None
    checkpoints: Sequence[tuple[int, Path]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeInputs:
    """All that a probe may use. ``model`` is None for a probe that needs none.

    ``scratch`` is the probe's own and survives an interruption. A probe that is asked of several
    models is handed one after the other.
    """

    model: ProbedModel | None
    artifacts: Sequence[Artifact]
    tasks: Sequence[Task]
    backend: Backend | None
    registry: Registry
    seed: int
    scratch: Path
    watch: Callable[[Iterable[Any], str, int | None], Iterable[Any]] = field(
        default=lambda items, _label, _total: items
    )

    def all_of(self, kind: str) -> list[Artifact]:
        return [artifact for artifact in self.artifacts if artifact.kind == kind]

    def the_model(self) -> ProbedModel:
        if self.model is None:
            raise UsageError("this probe was given no model", hint="name one under 'from'")
        return self.model

    def open_model(self) -> LanguageModel:
        """The model, opened by the backend of the step."""
        if self.backend is None:
            raise UsageError("no backend to open a model with")
        return self.backend.open(self.the_model().folder)

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Go through items with a progress bar on stderr."""
        return iter(self.watch(items, label, total))


class Probe(Configured):
    """A method that says why a model behaves as it does.

    The target of a ``probes`` entry. ``needs`` is what it cannot run without. With ``own_data`` the
    corpora, indexes and tokens have to be those that the model was trained on. ``source`` is where
    the method is defined, ``limits`` what its results cannot show, in English (``en``) and
    Japanese (``ja``).

    Called: by ``eval/probe``: ``obstacle`` and ``memory_bytes`` of all probes before any work
    starts, then ``run`` once for each model, or once where it needs none.
    Ranks: none; there is one process.
    Errors: whatever is raised is told with the result of the others, which go on.
    """

    needs: ClassVar[tuple[Need, ...]] = ()
    own_data: ClassVar[bool] = False
    source: ClassVar[str] = ""
    limits: ClassVar[Mapping[str, str]] = {}

    def obstacle(self, given: ProbeInputs) -> str:  # noqa: ARG002
        """A further reason why it cannot run on this, with the remedy; empty if it can.

        Asked before any work starts, so it opens no model.
        """
        return ""

    def memory_bytes(self, given: ProbeInputs) -> int:  # noqa: ARG002
        """Memory that it will take, as far as sizes of files tell; 0 where it is little."""
        return 0

    def run(self, given: ProbeInputs) -> ProbeResult:
        """What the method finds; the same for the same inputs and seed."""
        raise NotImplementedError


# --- before work starts -------------------------------------------------------------------

_REMEDIES: Mapping[str, str] = {
    "model": "a model is needed: name a step that makes one under 'from', or a folder in 'models'",
    "weights": "a Hugging Face folder of safetensors is needed",
    "checkpoints": "earlier checkpoints are needed: train with checkpoint: {early: true}",
    "corpus": "a corpus is needed: name the corpus/build step under 'from'",
    "index": "an index is needed: name a corpus/index step under 'from'",
    "tokens": "tokens are needed: name the corpus/tokens step under 'from'",
    "tasks": "a task is needed: name one under 'tasks'",
    "likelihoods": "a task whose choices are ranked by likelihood is needed, e.g. eval/ja-forms",
    "scores": "scores are needed: name an eval/run step under 'from'",
}


def obstacles(probe: Probe, given: ProbeInputs) -> list[str]:
    """Every reason why a probe cannot run on what is given; empty if it can."""
    found = [_REMEDIES[need] for need in probe.needs if not _met(need, given)]
    if found:
        return found
    if probe.own_data and given.model is not None and given.model.artifact is not None:
        found += list(_strangers(given.model.artifact, given.artifacts))
    if told := probe.obstacle(given):
        found.append(told)
    free = available_bytes()
    if not found and free and (wanted := probe.memory_bytes(given)) > free:
        found.append(
            f"it would take {wanted / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free here"
        )
    return found


def _met(need: Need, given: ProbeInputs) -> bool:
    if need == "model":
        return given.model is not None
    if need == "weights":
        folder = given.model.folder if given.model else None
        return folder is not None and any((folder / name).is_file() for name in WEIGHT_FILES)
    if need == "checkpoints":
        return given.model is not None and bool(given.model.checkpoints)
    if need == "tasks":
        return bool(given.tasks)
    if need == "likelihoods":
        return any(task.form == "ranked" for task in given.tasks)
    return bool(given.all_of(need))


def trained_on(model: Artifact, data: Artifact) -> bool | None:
    """Whether a model was made from an artifact, by digests, however many steps lie between.

    An index is known by its corpora. None where the line of what it was made from is broken, or
    leads to nothing of that kind (a model from elsewhere).
    """
    wanted, kind = {data.digest}, data.kind
    if kind == "index":
        wanted, kind = {item["digest"] for item in data.manifest["inputs"]}, "corpus"
    whole, known = True, False
    waiting: list[Mapping[str, Any]] = [lineage(model)]
    while waiting:
        row = waiting.pop()
        if row["digest"] in wanted:
            return True
        whole = whole and row.get("here", True)
        known = known or row.get("kind") == kind
        waiting += row.get("inputs", [])
    return False if whole and known else None


def _strangers(model: Artifact, artifacts: Sequence[Artifact]) -> Iterator[str]:
    for artifact in artifacts:
        if artifact.kind in ("corpus", "index", "tokens") and trained_on(model, artifact) is False:
            yield (
                f"{artifact.name} ({artifact.digest[:12]}) is not what {model.name} was trained on"
                f": yoriai lineage {model.path} names that"
            )


def unproven(model: ProbedModel, artifacts: Sequence[Artifact]) -> list[str]:
    """Notes on data of which nobody can say whether the model was trained on it."""
    return [
        f"it is not known whether {model.name} was trained on {artifact.name}"
        for artifact in artifacts
        if artifact.kind in ("corpus", "index", "tokens")
        and (model.artifact is None or trained_on(model.artifact, artifact) is None)
    ]


def cautions(probe: Probe, given: ProbeInputs) -> list[str]:
    """What lessens a result without standing in its way, said before any work starts.

    Data of which nobody knows whether the model was trained on it; corpora with fewer documents,
    kept or held out, and tasks with fewer samples than an interval needs (:data:`FEWEST`); tasks
    whose samples cannot be read, with the reason.
    """
    found = unproven(given.model, given.artifacts) if given.model and probe.own_data else []
    for corpus in given.all_of("corpus") if "corpus" in probe.needs else ():
        for key, words in (("kept", "documents"), ("heldout", "held out documents")):
            count = corpus.facts.get(key)
            if isinstance(count, int) and 0 < count < FEWEST:
                found.append(f"{count} {words} of {corpus.name} are too few for an interval")
    return [*found, *_small_tasks(probe, given)]


def _small_tasks(probe: Probe, given: ProbeInputs) -> Iterator[str]:
    ranked = "likelihoods" in probe.needs
    for task in given.tasks if ranked or "tasks" in probe.needs else ():
        if ranked and task.form != "ranked":
            continue
        try:
            count = sum(1 for _ in islice(task.samples(given.artifacts), FEWEST))
        except Exception as error:  # whatever a plugin raises, the probe will tell it with place
            said = " ".join(str(error).split())[:200]
            yield f"the samples of {task.entry} cannot be read: {said}"
            continue
        if count < FEWEST:
            yield f"{count} samples of {task.entry} are too few for an interval"


def available_bytes() -> int:
    """Memory that is free on this machine, within the limit of its control group; 0: not known."""
    found = []
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            rows = dict(line.split(":", 1) for line in stream)
        found.append(int(rows["MemAvailable"].split()[0]) * 1024)
    except (OSError, KeyError, ValueError):
        pass
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text().strip()
        if limit != "max":
            found.append(int(limit) - int(used))
    except (OSError, ValueError):
        pass
    if not found:
        try:
            found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        except (ValueError, OSError, AttributeError):
            return 0
    return max(1, min(found))
