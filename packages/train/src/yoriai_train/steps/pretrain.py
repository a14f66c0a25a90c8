"""``train/pretrain``: from token shards to a plain Hugging Face model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pydantic
from pydantic import Field

from yoriai import (
    Artifact,
    Job,
    Made,
    ModelShape,
    Ranks,
    Step,
    UsageError,
    Uses,
    config,
    files,
)
from yoriai.mixture import read_mixture
from yoriai_train.job import start as jobs
from yoriai_train.job.nodes import rendezvous_of
from yoriai_train.job.watch import Watch
from yoriai_train.model.generation import continue_texts
from yoriai_train.settings import checkpoints
from yoriai_train.settings import preset as presets
from yoriai_train.settings import spec as specs
from yoriai_train.settings.checkpoints import Policy
from yoriai_train.settings.optimizer import Optimizer
from yoriai_train.settings.schedule import Schedule
from yoriai_train.settings.shapes import Llama
from yoriai_train.settings.stability import Stability
from yoriai_train.steps import expected as outlook
from yoriai_train.steps import keys
from yoriai_train.steps.made import (
    default_strategy,
    describe,
    described,
    digest_start,
    finish,
    flops_per_token,
    headline,
    keep,
    parameters_of,
    start_of,
    told_by,
)

# For --dry-run: 6 FLOP a parameter and token (Kaplan et al., arXiv 2001.08361, attention left out)
# at the peak of an A100 in bf16 (NVIDIA's data sheet) and 40 % of it, which is par for training.
A100_FLOPS = 312e12
PAR_UTILISATION = 0.4
# Rows that a model may have beyond the pieces: Megatron pads to 128 times the tensor parallel size.
PADDED = 1024


def _default_shape() -> Any:
    shape = Llama()
    shape._entry = "train/llama"
    return shape


class Pretrain(Step):
    """Train a model from nothing, or go on from the model given under ``from``."""

    version: ClassVar[str] = "3"
    circumstances: ClassVar[tuple[str, ...]] = ("preset", "watch")
    makes: ClassVar[str] = "model"
    measures: ClassVar[tuple[str, ...]] = (
        "parameters",
        "steps",
        "first_loss",
        "last_loss",
        "tokens_seen",
        "epochs.*",
        "last_evaluation.**",
        "gate.**",
        "gate_not_asked",
    )
    takes: ClassVar[tuple[str, ...]] = ("tokens", "tokenizer")
    optional: ClassVar[tuple[str, ...]] = ("model", "corpus")

    preset: str = Field("", description="published recipe that fills in what is not said here")
    model: Annotated[ModelShape, Uses("models")] = Field(
        default_factory=_default_shape, description="shape of the model, if none is given to go on"
    )
    start: str = Field("", description="Hugging Face folder from elsewhere to go on from")
    branch: int | None = Field(
        None,
        ge=1,
        description="step of the model under 'from' at which to branch off: with its optimizer and"
        " its place in the data, and counting on from there",
    )
    strategy: keys.Spread = Field(default_factory=default_strategy)
    steps: int = Field(200, ge=1, description="optimizer steps")
    batch: int = Field(
        16, ge=1, le=10**6, description="sequences in a micro-batch, over all processes"
    )
    length: keys.Length = None
    accumulate: keys.Accumulate = 1
    schedule: Schedule = Field(Schedule(), description="learning rate")
    optimizer: Optimizer = Field(Optimizer(), description="AdamW, and clipping")
    z_loss: float = Field(0.0, ge=0, description="weight of the square of log Z in the loss")
    precision: keys.Precision = "32-true"
    boundaries: bool = Field(
        False, description="attention, positions and loss end where a document ends"
    )
    activation_checkpoints: keys.ActivationCheckpoints = False
    compile: keys.Compile = False
    liger: keys.Liger = False
    checkpoint: keys.Checkpoint = Policy()
    stability: keys.Spikes = Stability()
    evaluate: keys.ScoresMeanwhile = None
    watch: keys.Watched = Watch()
    prompts: list[str] = Field([], description="texts the finished model is let continue")

    _filled = pydantic.model_validator(mode="before")(presets.before)

    def fingerprint(self) -> str:
        """Digest of the folder to go on from."""
        return digest_start(self.start)

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        sequences = self.steps * self.accumulate * self.batch
        own = sequences - (self.branch or 0) * self.accumulate * self.batch
        if own <= 0:
            raise UsageError(
                f"steps: {self.steps} ends before it begins, at step {self.branch}",
                hint=f"steps counts from the start of the model under 'from': more than"
                f" {self.branch}",
            )
        told = {key: value for given in inputs for key, value in given.items()}
        context = int(told.get("context", self.model.context))
        size = told.get("vocabulary_size")
        found = outlook.model_to_go_on_from(self.start, inputs)
        body: Mapping[str, Any] = {}
        if found:
            name, body = found
            context = int(body["context"])
            told["parameters"] = parameters_of(body)
        else:
            name = "the model under 'from'" if "context" in told else ""
        if name and not self.preset:
            outlook.check_context(self.model, context, name)
        length = specs.sequence_length(self.length, context, name or "the model")
        outlook.check(
            self.strategy,
            inputs,
            batch=self.batch,
            samples=sequences,
            context=length,
            boundaries=self.boundaries,
        )
        parameters = told.get("parameters")
        if size and not parameters and not name:
            parameters = self.model.parameters(size)
        expected: dict[str, Any] = {
            "context": context,
            "steps": self.steps,
            "tokens_in_a_step": self.accumulate * self.batch * length,
            "tokens_seen": sequences * length,
        }
        if departures := self.departures():
            expected["departures"] = departures
        if not parameters:
            return expected
        each = 6.0 * parameters
        if size and not name:
            body = self.model.transformers_config(size)
        if body:
            each = flops_per_token(body, length) or each
        flop = each * own * length
        return {
            **expected,
            "parameters": parameters,
            "model_gb": parameters * 4 / 1e9,
            "checkpoint_gb": parameters * 12 / 1e9,
            "flop": flop,
            "a100_hours": flop / (A100_FLOPS * PAR_UTILISATION) / 3600,
        }

    def departures(self) -> list[str]:
        """Where the settings differ from every published run of the kind, in words."""
        from yoriai_train.plan.difference import warnings

        return warnings({**config.plain(self), "model": config.describe(self.model)})

    def ranks(self) -> Ranks:
        return Ranks(self.strategy.processes, self.batch)

    def run(self, job: Job) -> Made:
        tokens, tokenizer = job.one("tokens"), job.one("tokenizer")
        mixture = read_mixture(tokens.path)
        if mixture.tokenizer != tokenizer.digest:
            raise UsageError(
                f"the shards {tokens.name} were written with another tokenizer than"
                f" {tokenizer.name}",
                hint="give the tokenizer under 'from' that the tokens step used",
            )
        meeting = rendezvous_of(self.strategy)
        nodes = meeting.nodes if meeting else 1
        specs.check_share(self.batch, self.strategy, nodes)
        size = mixture.vocabulary_size
        start, name = start_of(self.start, job)
        if start is None:
            body = self.model.transformers_config(size, marks_of(tokenizer.path))
            context = self.model.context
        else:
            body = specs.read_config(start, name)
            context = body["context"]
            if not size <= body["vocab_size"] < size + PADDED:
                raise UsageError(
                    f"{name} has {body['vocab_size']} pieces, the shards {size}",
                    hint="write the shards with the tokenizer of the model",
                )
        length = specs.sequence_length(self.length, context, name or "the model")
        specs.check_parts(length, self.strategy, boundaries=self.boundaries)
        seen, epochs = self._plan(tokens, length, job.seed)
        order = [tokens.digest, length, job.seed, self.batch * self.accumulate]
        data = files.digest_json(order)
        spec = specs.Spec(
            **specs.describe_strategy(self.strategy),
            nodes=nodes,
            model={} if start else body,
            initial={} if start else self.model.initial(),
            start=str(start) if start else "",
            data=data,
            branch=self._branch(job, data),
            tokens=str(tokens.path),
            tokenizer=str(tokenizer.path),
            artifacts=[str(a.path) for a in job.all_of("corpus")],
            out=str(job.out),
            scratch=str(job.scratch),
            steps=self.steps,
            batch=self.batch,
            accumulate=self.accumulate,
            context=length,
            boundaries=self.boundaries,
            z_loss=self.z_loss,
            precision=self.precision,
            activation_checkpoints=self.activation_checkpoints,
            compile=self.compile,
            liger=self.liger,
            schedule=self.schedule,
            optimizer=self.optimizer,
            checkpoint=self.checkpoint,
            stability=self.stability,
            evaluate=described(self.evaluate),
            flops_per_token=flops_per_token(body, length),
            seed=job.seed,
        )
        if departures := self.departures():
            job.metric(kind="departures", departures=departures)
        rows = jobs.train(spec, self.strategy, job, self.watch)
        finish(job.out, tokenizer.path, rows)
        keep(job, self.checkpoint, self.steps)
        facts = {**describe(rows, job.out), "tokens_seen": seen, "epochs": epochs, **told_by(job)}
        facts["continued"] = continue_texts(job.out, self.prompts, tokens=32)
        return Made(facts=facts, headline=headline(facts))

    def _branch(self, job: Job, data: str) -> str:
        """The checkpoint to branch off from, if any; what was skipped before it stays skipped."""
        if self.branch is None:
            return ""
        if not job.all_of("model"):
            raise UsageError("branch: there is no model under 'from' to branch off from")
        model = job.one("model")
        found = checkpoints.branch_point(model.path, self.branch)
        own = self.strategy.checkpoint_form()
        written = str(found.about.get("form", own))  # older ones do not say; reading them tells
        if written != own:
            raise UsageError(
                f"the state of {model.name} is {written}; the strategy reads what is {own}",
                hint="branch off with the strategy of the run itself",
            )
        if found.about.get("data") != data:
            raise UsageError(
                f"{model.name} was trained on other shards, with another seed, or another number"
                " of sequences in a step: its place in the data means nothing here",
                hint="take its tokens, seed, batch and accumulate; other data for the end belongs"
                " in a later phase of the mixture",
            )
        skipped = model.facts.get("skipped_data_steps")
        if skipped and not (job.scratch / specs.SKIPPED).is_file():
            files.write_atomically(job.scratch / specs.SKIPPED, json.dumps(skipped).encode())
        return str(found.path)

    def _plan(self, tokens: Artifact, context: int, seed: int) -> tuple[int, dict[str, float]]:
        from yoriai_train.data import windows as data

        samples = data.Samples(tokens.path, context, seed)
        total = self.steps * self.accumulate * self.batch
        samples.check_length(total)
        return total * context, samples.epochs(total)


def marks_of(tokenizer: Path) -> dict[str, int]:
    """The ids of a tokenizer's marks under ``bos``, ``eos`` and ``pad``, where it names them."""
    try:
        told = json.loads((tokenizer / "tokenizer_config.json").read_bytes())
        pieces = json.loads((tokenizer / "tokenizer.json").read_bytes())
    except (OSError, ValueError):
        return {}
    ids = {piece["content"]: piece["id"] for piece in pieces.get("added_tokens", ())}
    marks = {}
    for name in ("bos", "eos", "pad"):
        mark = told.get(f"{name}_token")
        mark = mark.get("content") if isinstance(mark, dict) else mark
        if mark in ids:
            marks[name] = int(ids[mark])
    return marks
