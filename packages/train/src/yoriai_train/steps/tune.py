"""``train/tune``: instruction tuning, with the loss on the answers only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from yoriai import Artifact, Example, Instructions, Job, Made, Step, Strategy, UsageError, Uses
from yoriai.model_folder import AS_DATA, opening
from yoriai_train.job import start as jobs
from yoriai_train.job.nodes import rendezvous_of
from yoriai_train.job.watch import Watch
from yoriai_train.model.generation import continue_texts, render
from yoriai_train.settings import spec as specs
from yoriai_train.settings.checkpoints import Policy
from yoriai_train.settings.optimizer import Optimizer
from yoriai_train.settings.schedule import Schedule
from yoriai_train.steps.made import (
    default_strategy,
    describe,
    finish,
    flops_per_token,
    headline,
)


class Tune(Step):
    """Tune every weight of a model on instructions.

    The prompt is the model's own chat template; prompt and answer are encoded apart and
    joined, so the loss begins exactly at the answer whatever the tokenizer does. (LLM-jp's
    way, to search for the tokens of ``### 応答:``, silently masks everything when a tokenizer
    changes: llm-jp-sft, see docs.)
    """

    version: ClassVar[str] = "3"
    circumstances: ClassVar[tuple[str, ...]] = ("watch",)
    makes: ClassVar[str] = "model"
    measures: ClassVar[tuple[str, ...]] = (
        "parameters",
        "steps",
        "first_loss",
        "last_loss",
        "examples",
        "examples_seen",
        "examples_too_long",
        "answer_tokens",
    )
    takes: ClassVar[tuple[str, ...]] = ("model",)
    optional: ClassVar[tuple[str, ...]] = ("corpus",)

    data: list[Annotated[Instructions, Uses("instructions")]] = Field(
        min_length=1, description="instruction data"
    )
    strategy: Annotated[Strategy, Uses("strategies")] = Field(
        default_factory=default_strategy, description="how training is spread over processes"
    )
    epochs: float = Field(1.0, gt=0, le=10**6, description="how often each example is seen")
    batch: int = Field(
        16,
        ge=1,
        le=10**6,
        description="examples in a step, over all processes; the last takes what is left",
    )
    schedule: Schedule = Field(
        Schedule(kind="cosine", peak=5e-4, warmup_steps=10), description="learning rate"
    )
    optimizer: Optimizer = Field(Optimizer(weight_decay=0.0), description="AdamW, and clipping")
    checkpoint: Policy = Field(Policy(), description="when checkpoints are written")
    watch: Watch = Field(Watch(), description="who is told how training goes")
    prompts: list[str] = Field([], description="instructions the finished model is let answer")

    def run(self, job: Job) -> Made:
        base = job.one("model")
        meeting = rendezvous_of(self.strategy)
        nodes = meeting.nodes if meeting else 1
        specs.check_share(self.batch, self.strategy, nodes)
        config = specs.read_config(base.path, base.name)
        context = config["context"]
        examples = [e for d in self.data for e in d.examples(job.all_of("corpus"), job.seed)]
        path = job.scratch / "examples.jsonl"
        used, skipped, answer_tokens = write_examples(base, examples, context, path)
        seen = max(1, round(self.epochs * used))
        steps = -(-seen // self.batch)
        spec = specs.Spec(
            **specs.describe_strategy(self.strategy),
            nodes=nodes,
            start=str(base.path),
            examples=str(path),
            seen=seen,
            out=str(job.out),
            scratch=str(job.scratch),
            steps=steps,
            batch=self.batch,
            context=context,
            pad_id=int(config.get("pad_token_id") or 0),
            tokenizer=str(base.path),
            schedule=self.schedule,
            optimizer=self.optimizer,
            checkpoint=self.checkpoint,
            flops_per_token=flops_per_token(config, context),
            seed=job.seed,
        )
        rows = jobs.train(spec, self.strategy, job, self.watch)
        finish(job.out, base.path, rows)
        facts: dict[str, Any] = {
            **describe(rows, job.out),
            "examples": used,
            "examples_seen": seen,
            "examples_too_long": skipped,
            "answer_tokens": answer_tokens,
        }
        facts["continued"] = continue_texts(job.out, self.prompts, tokens=32, instruct=True)
        left = f", {skipped:,} too long for the context" if skipped else ""
        told = f"{used:,} examples{left}, {seen:,} seen in {steps:,} steps"
        return Made(facts=facts, headline=[told, *headline(facts)])


def write_examples(
    base: Artifact, examples: list[Example], context: int, path: Path
) -> tuple[int, int, int]:
    """Encode examples as rows of ids with the length of the prompt.

    Returns how many were used, how many did not fit, and the number of answer tokens.
    """
    from transformers import AutoTokenizer

    with opening(base.path):
        tokenizer = AutoTokenizer.from_pretrained(base.path, **AS_DATA)
    if not tokenizer.chat_template:
        raise UsageError(f"{base.name} has no chat template, so it cannot be tuned on chats")
    if tokenizer.eos_token_id is None:
        raise UsageError(f"{base.name} has no end mark, so answers could not be taught to end")
    used = skipped = answers = 0
    with path.open("w", encoding="utf-8") as stream:
        for example in examples:
            text = render(tokenizer, example.instruction, example.input, example.before)
            # Not verbose: what does not fit is counted below.
            prompt = tokenizer.encode(text, add_special_tokens=False, verbose=False)
            answer = tokenizer.encode(example.output, add_special_tokens=False, verbose=False)
            ids = [*prompt, *answer, tokenizer.eos_token_id]
            if len(ids) > context + 1:
                skipped += 1
                continue
            used += 1
            answers += len(answer) + 1
            stream.write(json.dumps({"ids": ids, "prompt": len(prompt)}) + "\n")
    if not used:
        raise UsageError(
            f"none of {len(examples)} examples fits into {context} tokens",
            hint="use shorter examples, or a model with a longer context",
        )
    return used, skipped, answers
