"""A step of a recipe: what it takes, what it makes, and what it is handed while it works."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from yoriai.artifact import Artifact
from yoriai.config import Configured
from yoriai.contracts import Engine
from yoriai.errors import UsageError
from yoriai.registry import Registry

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a step reports when it is done.

    ``facts`` are sealed with the artifact, so they hold nothing that differs between two
    runs of the same recipe (no times, no paths). ``headline`` is what the summary prints.
    ``sources`` are the cards of text that came in here, as mappings (``name``, ``licence``,
    ``languages``, ``version``, ``url``, ``note``); none means those of what stands under ``from``.
    """

    facts: dict[str, Any] = field(default_factory=dict)
    headline: Sequence[str] = ()
    sources: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that a step may use while it runs.

    ``out`` is an empty folder for the result. ``scratch`` survives an interruption: what
    was put there is there again when the same step is started again, and is deleted when
    the step is sealed. ``engine`` is what the recipe names for data tasks; None: the step's own
    default. ``aside`` is a folder of the run for what differs between two runs of the same thing
    (mirrors of logs, profiles): no part of the result, kept, there once something makes it; None
    where nobody keeps it.
    """

    name: str
    out: Path
    scratch: Path
    inputs: Sequence[Artifact]
    seed: int
    registry: Registry
    metric: Callable[..., None]
    watch: Callable[[Iterable[Any], str, int | None], Iterator[Any]]
    engine: Engine | None = None
    aside: Path | None = None

    def all_of(self, kind: str) -> list[Artifact]:
        """The inputs of a kind, in the order of ``from``."""
        return [artifact for artifact in self.inputs if artifact.kind == kind]

    def one(self, kind: str) -> Artifact:
        """The only input of a kind; raises :class:`UsageError` if there is none or several."""
        found = self.all_of(kind)
        if len(found) != 1:
            raise UsageError(
                f"step {self.name!r} needs one {kind}, 'from' gives {len(found)}",
                hint=f"name the step that makes the {kind} under 'from'",
            )
        return found[0]

    def progress(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        """Go through ``items`` with a progress bar (or a line now and then) on stderr."""
        return self.watch(items, label, total)


@dataclass(frozen=True, slots=True)
class Ranks:
    """What a launch must fit: processes on each node, and the micro-batch that all share."""

    processes: int
    batch: int


class Step(Configured):
    """The target of a ``steps`` entry. Its fields are the keys a recipe may set.

    ``makes`` is the kind of its artifact; ``takes`` are the kinds it needs under ``from``,
    ``optional`` those it can use.

    Called: ``expect`` by ``--dry-run`` and before the first step of a run; ``run`` once, in the
    run's own process, with an empty ``job.out``. After an interruption it is called again, and
    ``job.scratch`` holds what it left there.
    Ranks: none of its own. A step that trains starts its ranks itself.
    Errors: YoriaiError and its kinds with a hint; whatever is raised ends the run, nothing is
    sealed, and the run file keeps the traceback.
    """

    makes: ClassVar[str]
    takes: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()
    measures: ClassVar[tuple[str, ...]] = ()

    def measured(self, inputs: Mapping[str, str]) -> Sequence[str]:  # noqa: ARG002
        """The numbers among its facts, as ``tokens.*``; predictions of others are refused.

        ``*`` stands for one name that is known only once the step has run, ``**`` for all that
        follows. ``inputs`` is the kind of each artifact under ``from``, by the name of the step
        that makes it. Nothing: not known, and no prediction of it is refused.
        """
        return self.measures

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        """What ``--dry-run`` says of the step: what it would read, make and cost, by its keys.

        ``inputs`` is what the steps under ``from`` expect; of what is made already, the artifact
        under ``made``. Values are numbers, words, or lists and mappings of them; what cannot be
        known is left out; mappings in a list are for other steps, and shown by ``--json`` alone.
        Of tokens, ``phases`` are those of a mixture; of a model that is still to be made,
        ``tokenizer`` is the folder where its own lies already. Nothing may be needed to be there
        that the step itself would read. Raises :class:`UsageError` for what would fail for certain:
        it is asked before any step of a recipe runs.
        """
        return {}

    def ranks(self) -> Ranks | None:
        """What it starts on each node, for ``yoriai train launch`` to compare; None: no ranks."""
        return None

    def run(self, job: Job) -> Made:
        """Do the work: write into ``job.out``, and report what is to be sealed with it."""
        raise NotImplementedError
