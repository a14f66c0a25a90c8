"""What the entries of each kind must be able to do.

Core knows nothing of text processing or tensors; it only states, in one place, the shapes
by which packages that never import one another meet. Everything here is data or abstract.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from yoriai.artifact import Artifact
from yoriai.config import Configured
from yoriai.evaluation_contracts import (
    ANSWER_CHARACTERS as ANSWER_CHARACTERS,
)
from yoriai.evaluation_contracts import (
    MOST_SHOTS as MOST_SHOTS,
)
from yoriai.evaluation_contracts import (
    Answer as Answer,
)
from yoriai.evaluation_contracts import (
    Asking as Asking,
)
from yoriai.evaluation_contracts import (
    Backend as Backend,
)
from yoriai.evaluation_contracts import (
    Form as Form,
)
from yoriai.evaluation_contracts import (
    Generated as Generated,
)
from yoriai.evaluation_contracts import (
    LanguageModel as LanguageModel,
)
from yoriai.evaluation_contracts import (
    Prompt as Prompt,
)
from yoriai.evaluation_contracts import (
    Sample as Sample,
)
from yoriai.evaluation_contracts import (
    Scorer as Scorer,
)
from yoriai.evaluation_contracts import (
    Shot as Shot,
)
from yoriai.evaluation_contracts import (
    Task as Task,
)
from yoriai.evaluation_contracts import (
    samples_digest as samples_digest,
)

# --- text -------------------------------------------------------------------------------


@dataclass(slots=True)
class Document:
    """One text with its identity: ``(source, id)`` names it for ever.

    ``left_out`` names, once for each time, what its reader left out of a sentence because it could
    not show it as text, such as a template of a wiki. It is counted, and no part of the record.
    """

    source: str
    id: str
    text: str
    language: str = ""
    url: str = ""
    licence: str = ""
    date: str = ""
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that could not be read: counted and kept aside, never silently lost."""

    source: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class PassedOver:
    """What a source meets that is no document of it (a redirect, an image): counted by kind.

    It is not counted as read. Kinds are few: a type or a status, never a name or an address.
    """

    source: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCard:
    """What the datasheet says of a source. ``name`` is the ``source`` of its documents."""

    name: str
    licence: str
    languages: tuple[str, ...]
    version: str = ""
    url: str = ""
    note: str = ""


class Source(Configured):
    """Text in. Partitions are the units of parallel work and of resuming.

    Called: ``fingerprint``, ``card`` and ``partitions`` in the run's own process, before any work;
    ``read`` (through ``read_without``) in a worker of the engine, once for each partition, and
    again from its start if that worker is lost; ``passed_over`` once, at the end.
    Ranks: none, no training runs then. The object is pickled to each worker; workers share nothing.
    Errors: NotFound, from any method but ``read``, where the data is not on this machine: a plan
    says so, a run ends. A record that cannot be read is given as Unreadable, and the others go on.
    Whatever else is raised ends the run and is told with plugin, entry, file and line.
    """

    @property
    def source_name(self) -> str:
        """What its documents call their source; empty where only reading them tells."""
        return ""

    def card(self) -> SourceCard:
        """What the datasheet says: name, version, licence, languages."""
        raise NotImplementedError

    def to_read(self) -> tuple[int, int] | None:
        """How many files and bytes a run would read; None where that is not known beforehand."""
        return None

    def partitions(self) -> list[str]:
        """Names of independent parts, in a fixed order."""
        return ["all"]

    def passed_over(self) -> dict[str, int]:
        """What lies beside that no partition reads, by kind: files of other types, say."""
        return {}

    def read(self, partition: str) -> Iterator[Document | Unreadable | PassedOver]:
        """The documents of one partition, always in the same order."""
        raise NotImplementedError

    def read_without(
        self,
        partition: str,
        skip: frozenset[int],  # noqa: ARG002
    ) -> Iterator[Document | Unreadable | PassedOver]:
        """What :meth:`read` gives, without working on what stands at the positions ``skip``.

        The first thing that :meth:`read` gives is at position 0. In the place of each record
        skipped an :class:`Unreadable` is given, so that positions stay what they are. A source
        that can crash on a record, in a library in C, overrides this; of one that does not,
        reading a partition ends at the record that kills the process again and again.
        """
        return self.read(partition)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A filter's answer. A drop carries the measured value, the limit and the text in question.

    An edit carries the whole new text and, if the filter says what language that is, a language.
    A drop may carry a text too: what is kept of the document in the account in its place, where
    the document holds what should be kept nowhere (personal data).
    """

    action: Literal["keep", "edit", "drop"] = "keep"
    text: str = ""
    value: float | None = None
    threshold: float | None = None
    span: str = ""
    language: str = ""


class Filter(Configured):
    """A rule. ``languages`` limits it to documents of those languages; empty means all.

    ``KEEP`` is the verdict that keeps a document.

    Called: in a worker of the engine, on each batch of documents that the rules before it kept, in
    the order that the recipe names them. It must be a pure function of the document and its own
    keys: batches may be cut anywhere, and a batch may be judged twice.
    Ranks: none, no training runs then. The object is pickled to each worker; workers share nothing.
    Errors: whatever is raised ends the run and is told with plugin, entry, file and line. What the
    rule cannot judge it keeps.
    """

    KEEP: ClassVar[Verdict] = Verdict()
    languages: tuple[str, ...] = Field((), description="languages it judges; empty: all")

    def judge(self, document: Document) -> Verdict:
        """Keep, edit or drop one document."""
        raise NotImplementedError

    def judge_batch(self, documents: Sequence[Document]) -> list[Verdict]:
        """Verdicts for many documents at once, one for each in their order.

        A rule with a batch kernel overrides this.
        """
        return [self.judge(document) for document in documents]

    def chain(self) -> Sequence[tuple[str, Filter]]:
        """The rules it stands for, in order, by name, with its ``languages``; none: it is one.

        They are put in its place, each called ``plugin/chain.rule``, so that the account says
        which of them dropped a document.
        """
        return ()

    def measured(self, documents: Sequence[Document]) -> Sequence[float]:  # noqa: ARG002
        """What it measures of each document, dropped or kept, where it measures one number.

        No number (NaN) where it has nothing to say of a document.
        """
        return ()

    def limits(self) -> tuple[float, float]:
        """Least and most of :meth:`measured` that it keeps; an infinity where there is none."""
        return (-math.inf, math.inf)


class Engine(Configured):
    """Where the data tasks of a step run: how fast, on which machines, never with what result.

    Named once for a whole recipe (``engine:``), and no part of any artifact's identity.

    Called: ``open`` in the run's own process, with the first data task of a step, and again (twice
    at most) where the whole pool was lost.
    Ranks: none; training is started by its strategy and launcher, not by an engine.
    Errors: what a task raises is raised by its future as it is. A death of the worker is
    WorkerLost; BrokenExecutor says that the whole pool is gone.
    """

    def open(self) -> AbstractContextManager[Executor]:
        """Something that takes tasks, for as long as the context lasts.

        A task is a function of a module and one argument that can be pickled. If the process
        that works on a task dies, its future raises :class:`yoriai.WorkerLost`, and only
        the futures of tasks that died with it do.
        """
        raise NotImplementedError


# --- training ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side says in a conversation: ``system``, ``user`` or ``assistant``.

    ``learned`` says of an assistant's turn whether its words may be learned, or are only read.
    """

    role: str
    text: str
    learned: bool = True


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation to learn from, which an assistant's turn ends.

    ``rejected``, where there is one, is the same conversation with a worse last turn, for methods
    that learn from preferences. ``place`` is where it came from, for messages: ``FILE:LINE``.
    """

    turns: tuple[Turn, ...]
    rejected: tuple[Turn, ...] = ()
    place: str = ""

    @classmethod
    def of(cls, instruction: str, text: str, answer: str, *, system: str = "") -> Example:
        """One instruction, its input (may be empty) on a line of its own, and the answer."""
        asked = f"{instruction}\n{text}" if text else instruction
        before = (Turn("system", system),) if system else ()
        return cls((*before, Turn("user", asked), Turn("assistant", answer)))


class Instructions(Configured):
    """Instruction data; may be made from the corpora a recipe hands to the tuning step.

    Called: ``examples`` once, in the run's own process, before training starts; they are written to
    a file that every rank reads. Before that, where :meth:`is_here`, for the first of them.
    Ranks: none. The same corpora and seed give the same examples in the same order.
    Errors: UsageError with the place (file and line) of a row that cannot be learned from, and
    NotFound where the data is not on this machine.
    """

    def examples(self, corpora: Sequence[Artifact], seed: int) -> Iterable[Example]:
        """Every example, in a fixed order; ``seed`` is the recipe's."""
        raise NotImplementedError

    def is_here(self) -> bool:
        """Whether :meth:`examples` can be read before any step has run, without corpora.

        Then the first of them are counted by ``--dry-run`` and at the start of every run.
        """
        return False

    def notes(self) -> Sequence[str]:
        """What a reader of a model that was tuned on it must know; stored with the model."""
        return ()


class Method(Configured):
    """What of a model is tuned. As it stands here: all of it.

    ``whole`` says that it needs every rank to hold the whole model, so that no strategy that cuts
    parameters can run it.

    Called: by ``train/tune``: ``adapt`` when the model is loaded, before the strategy prepares it;
    ``adapter`` and ``write`` when the tuned model is exported.
    Ranks: on every rank; ``write`` on the rank that writes. Each builds the object anew from its
    class and keys.
    Errors: UsageError for what the method cannot tune; what a rank raises ends the job, and the run
    tells that rank's error.
    """

    whole: ClassVar[bool] = False

    def adapt(self, model: Any) -> None:
        """Change the loaded model in place, with nothing but the seeded generator as chance.

        What is not tuned is frozen (``requires_grad``). Called on every rank, before the strategy.
        """

    def adapter(self, model: Any) -> Mapping[str, Any] | None:  # noqa: ARG002
        """Parameters to store beside the base, by name; None: the model itself was tuned."""
        return None

    def write(self, model: Any, tensors: Mapping[str, Any], folder: Path) -> None:  # noqa: ARG002
        """Write those parameters in the method's own form. The rank that writes calls it."""
        raise TypeError(f"{type(self).__name__} gives an adapter and does not write it")


class ModelShape(Configured):
    """The shape of a model, without torch.

    Called: in the run's own process, before ranks are started, and by ``yoriai train plan``; so it
    imports no torch.
    Ranks: none. Every rank builds the model from the configuration that was written down.
    Errors: UsageError (or pydantic's, from a validator) for a shape that cannot be.
    """

    context: int = Field(128, ge=8, le=10**8, description="longest sequence in tokens")

    def transformers_config(
        self, vocabulary_size: int, marks: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """The keys of a ``transformers`` configuration, ``model_type`` included.

        ``marks`` are the tokenizer's ids under ``bos``, ``eos`` and ``pad``.
        """
        raise NotImplementedError

    def parameters(self, vocabulary_size: int) -> int:
        """Number of parameters, by formula; tied ones count once."""
        raise NotImplementedError

    def initial(self) -> dict[str, Any]:
        """How the weights begin; empty where ``transformers`` decides.

        ``initial_deviation``: the standard deviation of matrices; ``scaled_outputs``: whether what
        is added to the residual stream begins smaller, by the root of twice the ``layers``.
        """
        return {}


Cut = Literal["optimizer", "gradients", "parameters"]


class Strategy(Configured):
    """How training is spread over ``processes`` on each node.

    How many there are decides nothing but how rounding falls, so it is no part of identity: a run
    may go on with another number.

    All that training asks of a strategy stands here. ``cuts`` names what is cut over the
    processes instead of being whole on each. ``engine`` says who makes the update: ``torch`` in
    the open, or ``deepspeed`` inside the backward pass (it clips by itself, and its checkpoints
    are folders of one file a rank). ``one_process`` runs as plain Python, never under torchrun.

    Called: its attributes by ``--dry-run`` and ``yoriai train plan``, without torch; ``build`` and
    ``trainer_precision`` when a rank makes its trainer, ``prepare`` when the model is there.
    Ranks: on every rank. Each builds the object anew from its class and keys, so nothing but keys
    may be kept in it.
    Errors: UsageError before ranks start for what cannot work; what a rank raises ends the job, and
    the run tells that rank's error.
    """

    circumstances: ClassVar[tuple[str, ...]] = ("processes",)
    engine: ClassVar[Literal["torch", "deepspeed"]] = "torch"
    cuts: ClassVar[frozenset[Cut]] = frozenset()
    one_process: ClassVar[bool] = False

    processes: int = Field(1, ge=1, le=10**5, description="processes on each node")

    @classmethod
    def checkpoint_form(cls) -> str:
        """What its checkpoints hold; strategies of one form read one another's.

        ``whole`` is Lightning's file with the whole model.
        """
        if cls.engine == "torch" and not cls.cuts:
            return "whole"
        return f"cut by {cls.engine} ({', '.join(sorted(cls.cuts))})"

    @property
    def sequence_parts(self) -> int:
        """How many consecutive ranks share each sequence."""
        return 1

    def build(self, *, num_nodes: int = 1) -> Any:
        """What ``Trainer(strategy=...)`` takes (imports torch and lightning)."""
        raise NotImplementedError

    def trainer_precision(self, precision: str) -> str:
        """The precision that Lightning's trainer is told, where the strategy sees to it itself."""
        return precision

    def prepare(self, module: Any, *, precision: str, batch: int, num_nodes: int) -> None:
        """Do to ``module.model`` what the strategy needs.

        Called once on every rank in ``configure_model``: processes are connected, and nothing is
        on its device yet. ``batch`` is the sequences of a micro-batch over all processes.
        """
