"""What the entries of each kind must be able to do.

Core knows nothing of text processing or tensors; it only states, in one place, the shapes
by which packages that never import one another meet. Everything here is data or abstract.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from pydantic import Field

from yoriai.artifact import Artifact
from yoriai.config import Configured

# --- text -------------------------------------------------------------------------------


@dataclass(slots=True)
class Document:
    """One text with its identity: ``(source, id)`` names it for ever."""

    source: str
    id: str
    text: str
    language: str = ""
    url: str = ""
    licence: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that could not be read: counted and kept aside, never silently lost."""

    source: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCard:
    """What the datasheet says of a source."""

    name: str
    licence: str
    languages: tuple[str, ...]
    version: str = ""
    url: str = ""
    note: str = ""


class Source(Configured):
    """Text in. Partitions are the units of parallel work and of resuming."""

    def card(self) -> SourceCard:
        raise NotImplementedError

    def partitions(self) -> list[str]:
        """Names of independent parts, in a fixed order."""
        return ["all"]

    def read(self, partition: str) -> Iterator[Document | Unreadable]:
        """The documents of one partition, always in the same order."""
        raise NotImplementedError

    def read_without(self, partition: str, skip: frozenset[int]) -> Iterator[Document | Unreadable]:
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
    """A rule. ``languages`` limits it to documents of those languages; empty means all."""

    KEEP: ClassVar[Verdict] = Verdict()
    languages: tuple[str, ...] = Field((), description="languages it judges; empty: all")

    def judge(self, document: Document) -> Verdict:
        raise NotImplementedError

    def judge_batch(self, documents: Sequence[Document]) -> list[Verdict]:
        """Verdicts for many documents at once; a rule with a batch kernel overrides this."""
        return [self.judge(document) for document in documents]


class Engine(Configured):
    """Where the data tasks of a step run: how fast, on which machines, never with what result.

    Named once for a whole recipe (``engine:``), and no part of any artifact's identity.
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
class Example:
    """One instruction, its input (may be empty) and the answer to learn."""

    instruction: str
    input: str
    output: str


class Instructions(Configured):
    """Instruction data; may be made from the corpora a recipe hands to the tuning step."""

    def examples(self, corpora: Sequence[Artifact], seed: int) -> Iterable[Example]:
        raise NotImplementedError


class ModelShape(Configured):
    """The shape of a model, without torch."""

    context: int = Field(128, ge=8, description="longest sequence in tokens")

    def transformers_config(
        self, vocabulary_size: int, marks: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """The keys of a ``transformers`` configuration, ``model_type`` included.

        ``marks`` are the tokenizer's ids under ``bos``, ``eos`` and ``pad``.
        """
        raise NotImplementedError

    def parameters(self, vocabulary_size: int) -> int:
        """Number of parameters, by formula."""
        raise NotImplementedError


class Strategy(Configured):
    """How training is spread over ``processes`` on each node.

    How many there are decides nothing but how rounding falls, so it is no part of identity: a run
    may go on with another number.
    """

    circumstances: ClassVar[tuple[str, ...]] = ("processes",)

    processes: int = Field(1, ge=1, description="processes on each node")

    def build(self, *, num_nodes: int = 1) -> Any:
        """What ``Trainer(strategy=...)`` takes (imports torch and lightning)."""
        raise NotImplementedError


# --- evaluation -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question. ``choices`` for ranked choice, ``answer`` the index or the gold text.

    ``answers`` are further texts that count as right. Samples with the same ``cluster`` share
    something (a passage, a template), so their scores are not independent; ``group`` is what
    scores are broken down by. ``neutral`` is the context that pointwise mutual information
    compares with in ranked choice; empty means that the choice is compared with no context.
    """

    id: str
    text: str
    instruction: str = ""
    choices: tuple[str, ...] = ()
    answer: str | int = ""
    answers: tuple[str, ...] = ()
    group: str = ""
    cluster: str = ""
    neutral: str = ""


class Task(Configured):
    """What a model is asked, and in which form.

    * ``ranked``: the choice with the highest log-likelihood after ``text`` is the answer;
    * ``generation``: the model answers ``instruction`` on ``text``; ``score`` compares;
    * ``bits-per-byte``: the model reads ``text``; lower is better.

    A protocol (see ``eval/run``) may ask the same samples in another form and with shots.
    """

    form: ClassVar[Literal["ranked", "generation", "bits-per-byte"]]

    def samples(self, artifacts: Sequence[Artifact]) -> Iterable[Sample]:
        """The questions, always the same and in the same order."""
        raise NotImplementedError

    def score(self, sample: Sample, output: str) -> float:
        """Between 0 and 1, for the generation form."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model wrote, and what ended it.

    ``stop``: one of the stop texts, which is not part of ``text``; ``end``: the model's own end
    mark; ``length``: the limit, so the answer may be cut short; ``refused``: the server would not
    answer; ``error``: it could not, and ``note`` says why.
    """

    text: str
    ended: Literal["stop", "end", "length", "refused", "error"] = "end"
    note: str = ""


class LanguageModel(Protocol):
    """An opened model, ready to be asked.

    ``prefix`` is a text that all contexts (or prompts) of the call begin with. It changes no
    answer; a backend may encode it once and go on from there. What a backend cannot do raises
    :class:`yoriai.UsageError` that says so.
    """

    @property
    def context(self) -> int:
        """Tokens that fit, prompt and answer together; 0 where that is not known."""
        ...

    def describe(self) -> dict[str, Any]:
        """How the model is asked (start mark, precision, server …): stored with its scores."""
        ...

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text as a prompt; an empty list where that is not known."""
        ...

    def loglikelihood(self, pairs: Sequence[tuple[str, str]], *, prefix: str = "") -> list[float]:
        """Natural-log probability of each continuation after its context."""
        ...

    def rolling_loglikelihood(self, texts: Sequence[str]) -> list[float]:
        """Natural-log probability of each whole text, in windows of the model's context."""
        ...

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        max_characters: int = 0,
        stop: Sequence[str] = (),
        prefix: str = "",
    ) -> list[Generated]:
        """Greedy continuations, in the order of the prompts.

        Each ends at the model's end mark, before the first of the ``stop`` texts, or at the limit
        in tokens or (if not 0) in characters, whichever comes first.
        """
        ...

    def render(self, instruction: str, text: str) -> str:
        """The model's own prompt form (its chat template) for an instruction on a text."""
        ...


class Backend(Configured):
    """A way to open models: a folder that holds one, or whatever else the entry can open."""

    def open(self, folder: Path) -> LanguageModel:
        raise NotImplementedError
