"""What tasks, opened models, backends and scorers must be able to do: evaluation's contracts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, get_args

from pydantic import Field, field_validator

from yoriai.artifact import Artifact
from yoriai.config import Configured
from yoriai.errors import NotFound, UsageError
from yoriai.strict import Strict


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

    @property
    def gold(self) -> str:
        """The right answer as text."""
        return self.choices[self.answer] if isinstance(self.answer, int) else self.answer


def samples_digest(samples: Iterable[Sample]) -> str:
    """sha256 over all that samples say, in their order."""
    digest = hashlib.sha256()
    for sample in samples:
        told = json.dumps(asdict(sample), ensure_ascii=False, sort_keys=True)
        digest.update(told.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


class Prompt(Strict):
    """The pieces of a prompt; ``{instruction}``, ``{input}`` and ``{output}`` are filled in."""

    header: str = Field("", description="what comes first, once")
    shot: str = Field("", description="one example with its answer")
    join: str = Field("", description="what stands between two examples")
    query: str = Field("{input}", description="the question, whose answer is to follow")


class Answer(Strict):
    """How an answer is read out of what the model wrote, in the order of the keys."""

    drop_thoughts: bool = Field(
        False,
        description="leave out all up to the last </think>; one left open is no answer",
    )
    strip_first: bool = Field(False, description="drop white space at both ends before the cut")
    cut: str = Field("", description="keep what comes before the first of these; empty: all")
    strip: bool = Field(False, description="then drop white space at both ends")
    pattern: str = Field(
        "", description="regular expression: its last match, or that one's first group; empty: all"
    )
    take: Literal["", "last-number"] = Field("", description="the last number in it, as written")
    normalise: Literal["NFKC", ""] = Field("NFKC", description="then normalise, gold as well")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return pattern


class Shot(Strict):
    """An example that a protocol names, by its place in a file of the task's data or in words."""

    file: str = Field("", description="upstream path of the file")
    row: int = Field(-1, description="number of the row or question, from 0")
    sha256: str = Field("", description="of input, newline and output: finds a row, or checks it")
    input: str = Field("", description="the example itself, where it is a row of no file")
    output: str = Field("", description="its answer")


Form = Literal["generation", "ranked", "gold", "bits-per-byte"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One way to ask a task.

    ``ranked``: the choice with the highest log-likelihood after the prompt is the answer;
    ``generation``: the model writes, and the task scores it; ``gold``: the bits that the right
    answer costs after the prompt; ``bits-per-byte``: the model reads the text.

    ``by`` says whose words and metrics hold. ``task``: without a ``prompt`` a sample is its bare
    text or, where it has an instruction, the model's own form of one (its chat template);
    answers are scored by the task's ``scores`` and ``rank``, whose names ``metrics`` are.
    ``protocol``: a missing ``prompt`` or ``answer`` is the protocol's, and ``metrics`` are common
    ones. The first metric is the score; none means the form's usual one. ``shots`` examples of
    the task come before each question, as the prompt shows them. An answer ends at one of the
    ``stops`` or at the limit in tokens or characters (0: no limit of that kind).
    """

    form: Form
    by: Literal["task", "protocol"] = "task"
    metrics: tuple[str, ...] = ()
    prompt: Prompt | None = None
    answer: Answer | None = None
    instruction: str = ""
    shots: int = 0
    stops: tuple[str, ...] = ()
    max_tokens: int = 0
    max_characters: int = 0


MOST_SHOTS = 32  # examples of a task that its digest covers
# What a task that says no more lets a model write: its answers are words, not essays.
ANSWER_CHARACTERS = 16


class Task(Configured):
    """What a model is asked, and in which form.

    * ``ranked``: the choice with the highest log-likelihood after ``text`` is the answer;
    * ``generation``: the model answers ``instruction`` on ``text``; ``score`` compares;
    * ``bits-per-byte``: the model reads ``text``; lower is better.

    A protocol (see ``eval/run``) may ask the same samples in another form and with shots, unless
    the task is ``always_own``: then it is asked as :meth:`askings` says under every protocol.
    ``has_floors`` is off where scoring an answer costs too much to look for the best constant.
    ``splits`` names the parts of its data set: those that its field ``split`` may say, a Literal,
    if it has one.

    Called: in the process that scores: ``samples`` and ``shots`` once before the model is asked,
    ``scores`` or ``rank`` once for each answer. ``samples(())`` is also asked by
    ``corpus/build``, which drops documents that hold them.
    Ranks: rank 0 alone, where scores are taken during training; else there is one process.
    Errors: NotFound where its data is not on this machine; UsageError from ``samples(())`` where it
    takes its texts from artifacts. Whatever else is raised ends the run and is told with plugin,
    entry, file and line; answers that were scored before are kept.
    """

    form: ClassVar[Literal["ranked", "generation", "bits-per-byte"]]
    always_own: ClassVar[bool] = False
    has_floors: ClassVar[bool] = True
    splits: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        if "split" in cls.model_fields:
            cls.splits = get_args(cls.model_fields["split"].annotation)

    @property
    def called(self) -> str:
        """Its own name, where one entry makes many tasks (``eval/yaml``); else empty."""
        return ""

    @property
    def chosen_split(self) -> str:
        """The split that ``samples`` gives; empty for a task that has none."""
        return str(self.split) if self.splits else ""  # type: ignore[attr-defined]

    @property
    def split_is_given(self) -> bool:
        """Whether the recipe chose the split, so that no step may choose another."""
        return "split" in self.model_fields_set

    def of_split(self, split: str) -> Self:
        """The same task on another split; itself if it has none. Raises UsageError."""
        if not self.splits:
            return self
        if split not in self.splits:
            raise UsageError(
                f"{self.entry} has no split {split!r}", hint=f"it has {', '.join(self.splits)}"
            )
        return self.model_copy(update={"split": split})

    def fingerprint(self) -> str:
        """Digest of its samples and examples, so that scores on data that changed are not reused.

        Empty where they are made from artifacts, whose digests are known. A task with large files
        gives the digests of those instead.
        """
        try:
            return samples_digest([*self.samples(()), *self.shots(MOST_SHOTS)])
        except NotFound:
            raise
        except OSError as error:
            raise NotFound(
                f"{self.entry or type(self).__name__} cannot read its data: {error}",
                hint="the keys of the task say where it is looked for",
            ) from error
        except Exception:  # it wants artifacts; what else it may be ends the run
            return ""

    def files(self) -> Sequence[str]:
        """Names of the data files that ``samples`` reads (``SET/PATH``), where it reads any."""
        return ()

    def absent(self) -> Sequence[str]:
        """Those of :meth:`files` that are not on this machine."""
        return ()

    def askings(self) -> Sequence[Asking]:
        """How it is asked in its own way; the first form gives the score."""
        return [Asking(form=self.form, max_characters=ANSWER_CHARACTERS)]

    def samples(self, artifacts: Sequence[Artifact]) -> Iterable[Sample]:
        """The questions, always the same and in the same order."""
        raise NotImplementedError

    def shots(self, count: int) -> Sequence[Sample]:  # noqa: ARG002
        """The first so many examples that may be shown before a question; fewer if there are not.

        They are never among the samples.
        """
        return ()

    def shot(self, named: Shot) -> Sample:
        """The example that a protocol names; raises UsageError where it cannot be found."""
        if not named.input:
            raise UsageError(f"{self.entry} has no file {named.file!r} to show an example from")
        return Sample(id="shot", text=named.input, answer=named.output)

    def score(self, sample: Sample, output: str) -> float:
        """Between 0 and 1, for the generation form; a ranked task need not write it."""
        raise NotImplementedError

    def scores(self, sample: Sample, output: str) -> Mapping[str, float]:
        """The values of its own metrics on one answer, in the generation form."""
        return {"accuracy": self.score(sample, output)}

    def conditions(self) -> Mapping[str, str]:
        """Of this machine, under which answers are judged; kept with the scores of the task."""
        return {}

    def rank(self, sample: Sample, likelihoods: Sequence[float]) -> Mapping[str, float]:  # noqa: ARG002
        """Values of its own metrics on one ranked question, beside the common ones."""
        return {}


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

    def chat(self, conversations: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
        """Prompts in the model's own form of conversations; an empty list if it has none.

        A conversation is turns of (role, text), ``user`` and ``assistant``; the last is the
        user's, whose answer is to follow. Raises :class:`yoriai.UsageError` where the form
        refuses a conversation or leaves out what was said in it.
        """
        ...


class Backend(Configured):
    """A way to open models: a folder that holds one, or whatever else the entry can open.

    Called: ``open`` once for each model, then the opened model in batches, in one process.
    Ranks: rank 0 alone, where scores are taken during training; else there is one process.
    Errors: UsageError for what the backend cannot do, NotFound for what is not there. An answer
    that failed by itself is Generated(ended="error"), and the others go on.
    """

    def open(self, folder: Path) -> LanguageModel:
        """The model of a folder, ready to be asked."""
        raise NotImplementedError


class Scorer(Configured):
    """How an opened model's answers become scores: what training and evaluation share.

    ``score`` gives, for each task by its short name, a number (the score of its first metric), or
    bits per byte by group. ``limit``: the first so many samples of each; None: all.

    Called: by ``train/pretrain`` at the steps that ``evaluate`` names.
    Ranks: rank 0 alone; the others wait for it.
    Errors: whatever is raised ends the training; its checkpoints are kept.
    """

    def score(
        self,
        model: LanguageModel,
        tasks: Sequence[Task],
        artifacts: Sequence[Artifact],
        *,
        limit: int | None = None,
    ) -> dict[str, float | dict[str, float]]:
        """The scores of an opened model, by the short name of each task."""
        raise NotImplementedError
