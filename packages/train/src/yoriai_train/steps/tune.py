"""``train/tune``: instruction tuning, with the loss on the answers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic import Field

from yoriai import Instructions, Job, Made, Method, Ranks, Step, UsageError, Uses
from yoriai_train.data.chat import ChatForm, Learn, write_ends
from yoriai_train.data.examples import told_of, write_examples
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
from yoriai_train.steps import expected as outlook
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

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        self._check_method()
        folder = outlook.folder_to_tune(self.start, inputs)
        if folder is None:
            return {}
        most = int(specs.read_config(folder, folder.name)["context"])
        length = specs.sequence_length(self.length, most, folder.name)
        pairs = self.preference is not None
        counted = outlook.count_left_out(self.data, folder, length, most, self.learn, pairs=pairs)
        return {"context": most, "tokenizer": str(folder), **counted}

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
        form.check_rows(int(config["vocab_size"]))
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


REFERENCE = "reference.jsonl"
