"""``train/tune``: instruction tuning, with the loss on the answers only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic import Field

from yoriai import Example, Instructions, Job, Made, Method, Ranks, Step, UsageError, Uses
from yoriai_train.data.chat import ChatForm, Encoded, Learn, WrittenAnew, write_ends
from yoriai_train.job import start as jobs
from yoriai_train.job.nodes import rendezvous_of
from yoriai_train.job.reference import write_reference
from yoriai_train.job.watch import Watch
from yoriai_train.model.adapter import FOLDER
from yoriai_train.model.generation import continue_texts
from yoriai_train.settings import preset as presets
from yoriai_train.settings import spec as specs
from yoriai_train.settings.checkpoints import Policy
from yoriai_train.settings.methods import Full, refuse_qlora
from yoriai_train.settings.optimizer import Optimizer
from yoriai_train.settings.preference import Preference
from yoriai_train.settings.schedule import Schedule
from yoriai_train.settings.stability import Stability
from yoriai_train.steps import keys
from yoriai_train.steps.made import (
    count_parameters,
    default_strategy,
    describe,
    described,
    digest_start,
    finish,
    flops_per_token,
    headline,
    keep,
    start_of,
    told_by,
)


def _every_weight() -> Any:
    method = Full()
    method._entry = "train/full"
    return method


class Tune(Step):
    """Tune a model on conversations; the loss is on what the assistant says.

    What is trained is, token for token, what ``apply_chat_template`` of the tuned model's
    tokenizer gives (:mod:`yoriai_train.data.chat`). The tokens to learn are found by the places
    of the characters that the template writes for an answer. (LLM-jp's way, to search for the
    tokens of ``### 応答:``, silently masks everything when a tokenizer changes: llm-jp-sft.)
    """

    version: ClassVar[str] = "4"
    circumstances: ClassVar[tuple[str, ...]] = ("preset", "watch")
    makes: ClassVar[str] = "model"
    measures: ClassVar[tuple[str, ...]] = (
        "parameters",
        "steps",
        "first_loss",
        "last_loss",
        "examples",
        "examples_seen",
        "examples_too_long",
        "examples_all_masked",
        "conversations_learned_by_answer",
        "answers_inside_a_token",
        "answer_tokens",
        "adapter_parameters",
        "last_evaluation.**",
        "gate.**",
        "gate_not_asked",
    )
    takes: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ("model", "corpus")

    preset: str = Field("", description="published tuning that fills in what is not said here")
    data: list[Annotated[Instructions, Uses("instructions")]] = Field(
        min_length=1, description="instruction data"
    )
    start: str = Field("", description="Hugging Face folder from elsewhere to tune")
    method: Annotated[Method, Uses("methods")] = Field(
        default_factory=_every_weight, description="what of the model is tuned"
    )
    preference: Preference | None = Field(
        None, description="learn from pairs of a better and a worse answer; null: from answers"
    )
    learn: Learn = Field("all", description="answers of a conversation that are learned")
    strategy: keys.Spread = Field(default_factory=default_strategy)
    epochs: float = Field(1.0, gt=0, le=10**6, description="how often each example is seen")
    batch: int = Field(
        16,
        ge=1,
        le=10**6,
        description="examples in a micro-batch, over all processes; the last step takes"
        " what is left",
    )
    pack: bool = Field(
        False, description="put the examples of a micro-batch into few rows, apart from one another"
    )
    length: keys.Length = None
    accumulate: keys.Accumulate = 1
    schedule: Schedule = Field(
        Schedule(kind="cosine", peak=5e-4, warmup_steps=10), description="learning rate"
    )
    optimizer: Optimizer = Field(Optimizer(weight_decay=0.0), description="AdamW, and clipping")
    precision: keys.Precision = "32-true"
    activation_checkpoints: keys.ActivationCheckpoints = False
    compile: keys.Compile = False
    liger: keys.Liger = False
    checkpoint: keys.Checkpoint = Policy()
    stability: keys.Spikes = Stability()
    evaluate: keys.ScoresMeanwhile = None
    watch: keys.Watched = Watch()
    prompts: list[str] = Field([], description="instructions the finished model is let answer")

    _offered = pydantic.model_validator(mode="before")(refuse_qlora)
    _filled = pydantic.model_validator(mode="before")(presets.before_tuning)

    def fingerprint(self) -> str:
        """Digest of the folder to tune, where it is from elsewhere."""
        return digest_start(self.start)

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        self._check_method()
        return {}

    def ranks(self) -> Ranks:
        return Ranks(self.strategy.processes, self.batch)

    def run(self, job: Job) -> Made:
        self._check_method()
        specs.check_preference(self.preference, self.strategy)
        specs.check_pack(self.pack, self.strategy, pairs=self.preference is not None)
        base, name = start_of(self.start, job)
        if base is None:
            raise UsageError(
                "there is no model to tune",
                hint="name a step that makes one under 'from', or a folder under 'start'",
            )
        meeting = rendezvous_of(self.strategy)
        nodes = meeting.nodes if meeting else 1
        specs.check_share(self.batch, self.strategy, nodes)
        config = specs.read_config(base, name)
        context = specs.sequence_length(self.length, config["context"], name)
        corpora = job.all_of("corpus")
        examples = (e for d in self.data for e in d.examples(corpora, job.seed))
        path = job.scratch / "examples.jsonl"
        form = ChatForm.read(base, name)
        if self.preference:
            written = write_examples(form, examples, context, path, "last", pairs=True)
        else:
            written = write_examples(form, examples, context, path, self.learn)
        seen = max(1, round(self.epochs * written.used))
        steps = -(-seen // (self.batch * self.accumulate))
        spec = specs.Spec(
            **specs.describe_strategy(self.strategy),
            **specs.describe_method(self.method),
            nodes=nodes,
            start=str(base),
            start_name=Path(name).name if self.start else name,
            examples=str(path),
            pack=self.pack,
            preference=self.preference,
            reference=str(job.scratch / REFERENCE) if self.preference else "",
            seen=seen,
            artifacts=[str(a.path) for a in corpora],
            out=str(job.out),
            scratch=str(job.scratch),
            steps=steps,
            batch=self.batch,
            accumulate=self.accumulate,
            context=context,
            pad_id=int(config.get("pad_token_id") or 0),
            tokenizer=str(base),
            precision=self.precision,
            activation_checkpoints=self.activation_checkpoints,
            compile=self.compile,
            liger=self.liger,
            schedule=self.schedule,
            optimizer=self.optimizer,
            checkpoint=self.checkpoint,
            stability=self.stability,
            evaluate=described(self.evaluate),
            flops_per_token=flops_per_token(config, context),
            seed=job.seed,
        )
        if self.preference:
            world = self.strategy.processes * nodes
            write_reference(base, path, Path(spec.reference), job.progress, spec, world)
        rows = jobs.train(spec, self.strategy, job, self.watch)
        finish(job.out, base, rows)
        keep(job, self.checkpoint, steps)
        write_ends(job.out, written.ends)
        facts: dict[str, Any] = {
            **describe(rows, job.out),
            **told_by(job),
            "examples": written.used,
            "examples_seen": seen,
            "answer_tokens": written.answer_tokens,
            **written.counts,
            **{f"{kind}_at": places for kind, places in written.named.items() if places},
        }
        if notes := [note for data in self.data for note in data.notes()]:
            facts["notes"] = notes
        if (job.out / FOLDER).is_dir():
            facts["adapter_parameters"] = sum(
                map(count_parameters, (job.out / FOLDER).glob("*.safetensors"))
            )
        facts["continued"] = continue_texts(job.out, self.prompts, tokens=32, instruct=True)
        told = f"{written.used:,} examples, {seen:,} seen in {steps:,} steps"
        return Made(facts=facts, headline=[told, *told_of(written), *notes, *headline(facts)])

    def _check_method(self) -> None:
        if self.method.whole and "parameters" in self.strategy.cuts:
            raise UsageError(
                f"{self.method.entry or 'method'} needs the whole model in each process, and"
                f" {self.strategy.entry or 'strategy'} cuts it",
                hint="use train/ddp, train/deepspeed-1 or train/deepspeed-2",
            )


@dataclass(frozen=True, slots=True)
class Written:
    """What became of the examples; ``named`` gives the first places of each kind left out."""

    used: int
    answer_tokens: int
    tokens: int
    ends: set[int]
    counts: dict[str, int]
    named: dict[str, list[str]]


REFERENCE = "reference.jsonl"
NAMED = 5  # places of examples that are left out, named in the facts
TOO_LONG, ALL_MASKED = "examples_too_long", "examples_all_masked"
ANEW, STRADDLING = "conversations_learned_by_answer", "answers_inside_a_token"


def told_of(written: Written) -> list[str]:
    """What was left out or is not as one would expect, in words."""
    words = {
        TOO_LONG: "too long for the context, left out",
        ALL_MASKED: "with nothing to learn, left out",
        ANEW: "learned answer by answer, as the template writes earlier turns anew",
        STRADDLING: "answers begin inside a token, which is not learned",
    }
    told = []
    for kind, count in written.counts.items():
        if count:
            places = written.named.get(kind, [])
            where = f": {', '.join(places)}" + (" and more" if count > len(places) else "")
            told.append(f"{count:,} {words[kind]}{where if places else ''}")
    return told


def write_examples(
    form: ChatForm,
    examples: Iterable[Example],
    context: int,
    path: Path,
    learn: Learn = "all",
    *,
    pairs: bool = False,
) -> Written:
    """Encode conversations as rows of ids, with the spans of them that are learned.

    With ``pairs`` each row holds the same of its rejected answer under ``rejected``.
    """
    form.check()
    used = answers = total = read = 0
    ends: set[int] = set()
    counts = dict.fromkeys((TOO_LONG, ALL_MASKED, ANEW, STRADDLING), 0)
    named: dict[str, list[str]] = {TOO_LONG: [], ALL_MASKED: []}

    with path.open("w", encoding="utf-8") as stream:
        for example in examples:
            read += 1
            check_pair(example, pairs)
            found, anew = encode(form, example, learn)
            sides = [[one] for one in found]
            if pairs:
                other, _ = encode(form, replace(example, turns=example.rejected), learn)
                sides = [[found[-1], other[-1]]]
            counts[ANEW] += anew
            for row in sides:
                spans = [one.spans() for one in row]
                kind = ""
                if max(len(one.ids) for one in row) > context + 1:
                    kind = TOO_LONG
                elif not all(spans):
                    kind = ALL_MASKED
                if kind:
                    counts[kind] += 1
                    if example.place and len(named[kind]) < NAMED:
                        named[kind].append(example.place)
                    continue
                used += 1
                for one in row:
                    total += len(one.ids)
                    counts[STRADDLING] += one.straddling
                    answers += sum(one.learned)
                    ends |= form.ends(one)
                body, *rest = ({"ids": o.ids, "spans": s} for o, s in zip(row, spans, strict=True))
                stream.write(json.dumps({**body, "rejected": rest[0]} if rest else body) + "\n")
    if not used:
        why = f"{counts[TOO_LONG]} do not fit into {context} tokens"
        if counts[ALL_MASKED]:
            why += f", of {counts[ALL_MASKED]} nothing is to be learned"
        raise UsageError(
            f"none of {read} examples can be learned: {why}",
            hint="use shorter examples, a larger length, or a model with a longer context",
        )
    return Written(used, answers, total, ends, counts, named)


def check_pair(example: Example, pairs: bool) -> None:
    """Refuse a pair where answers are learned, and an answer where pairs are."""
    where = f"{example.place}: " if example.place else ""
    if example.rejected and not pairs:
        raise UsageError(
            f"{where}a pair of a chosen and a rejected answer, of which tuning would use one",
            hint="set preference: {loss: dpo}, or give rows without 'rejected'",
        )
    if pairs and not example.rejected:
        raise UsageError(
            f"{where}no rejected answer, and preference wants pairs",
            hint="give rows with 'chosen' and 'rejected', or leave preference out",
        )


def encode(form: ChatForm, example: Example, learn: Learn) -> tuple[list[Encoded], bool]:
    """One conversation as one sequence; or one for each answer, where the template asks for it.

    Raises :class:`UsageError` with the place of the example.
    """
    try:
        try:
            return [form.encode(example.turns, learn)], False
        except WrittenAnew:
            places = [n for n, turn in enumerate(example.turns) if turn.role == "assistant"]
            chosen = places[-1:] if learn == "last" else places
            made = [form.encode(example.turns[: n + 1], "last") for n in chosen]
            return made, True
    except UsageError as error:
        where = f"{example.place}: " if example.place else ""
        raise UsageError(f"{where}{error.message}", hint=error.hint) from error
