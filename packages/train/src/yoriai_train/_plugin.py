"""What yoriai-train offers. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from yoriai import Entry, hookimpl

if TYPE_CHECKING:
    from yoriai import Artifact, Section
    from yoriai.explaining import Hop, Point

TORCH = ("torch", "lightning", "transformers")


def _entry(name: str, target: str, summary: str, requires: tuple[str, ...] = ()) -> Entry:
    return Entry(
        name=name,
        target=f"yoriai_train.{target}",
        summary=summary,
        requires=requires,
        since="0.1.0",
        licence="Apache-2.0",
    )


@hookimpl
def yoriai_steps() -> Iterable[Entry]:
    return [
        _entry("pretrain", "steps.pretrain:Pretrain", "Train a causal LM on token shards.", TORCH),
        _entry("tune", "steps.tune:Tune", "Tune a model on instructions; loss on answers.", TORCH),
    ]


@hookimpl
def yoriai_methods() -> Iterable[Entry]:
    return [
        _entry("full", "settings.methods:Full", "Every weight is tuned."),
        _entry("lora", "settings.methods:LoRA", "Low-rank adapters, by PEFT.", ("peft",)),
    ]


@hookimpl
def yoriai_models() -> Iterable[Entry]:
    return [
        _entry(
            "llama",
            "settings.shapes:Llama",
            "Llama dialect: RMSNorm, rotary, SwiGLU, grouped heads.",
        ),
        _entry("gpt2", "settings.shapes:GPT2", "GPT-2 dialect, that of LLM-jp-13B v1."),
        _entry(
            "gpt-neox",
            "settings.shapes:GPTNeoX",
            "GPT-2 with partly rotated heads, Megatron's GPT.",
        ),
    ]


@hookimpl
def yoriai_strategies() -> Iterable[Entry]:
    deepspeed = (*TORCH, "deepspeed")
    return [
        _entry("single", "settings.strategies:Single", "One process, one device.", TORCH),
        _entry("ddp", "settings.strategies:DDP", "A copy of the model in each process.", TORCH),
        _entry("fsdp2", "settings.strategies:FSDP2", "Everything cut over the processes.", TORCH),
        _entry(
            "deepspeed-1",
            "settings.strategies:DeepSpeed1",
            "ZeRO-1: optimizer states cut.",
            deepspeed,
        ),
        _entry(
            "deepspeed-2", "settings.strategies:DeepSpeed2", "ZeRO-2: gradients cut too.", deepspeed
        ),
        _entry(
            "deepspeed-3",
            "settings.strategies:DeepSpeed3",
            "ZeRO-3: parameters cut too.",
            deepspeed,
        ),
    ]


@hookimpl
def yoriai_instructions() -> Iterable[Entry]:
    return [
        _entry("jsonl", "data.instructions:Jsonl", "Conversations and instructions in a file."),
        _entry("tasks", "data.tasks:TrainSplits", "Training splits of installed tasks."),
        _entry(
            "language-naming", "data.instructions:LanguageNaming", "Name the language of snippets."
        ),
    ]


@hookimpl
def yoriai_commands() -> Iterable[Entry]:
    return [
        _entry("generate", "commands.generate:generate", "Let a model continue a text.", TORCH),
        _entry("matrix", "commands.matrix:matrix", "Many tunings declared once, and compared."),
        _entry("merge", "commands.merge:merge", "Add an adapter to its base.", ("peft",)),
        _entry(
            "show-examples",
            "commands.show_examples:show_examples",
            "Tuning data as tokens, with the masked ones marked.",
            ("transformers",),
        ),
        _entry("diff", "commands.diff:diff", "Two trainings side by side, and what departs."),
        _entry("launch", "commands.launch:launch", "Submit a run, or start it here."),
        _entry("status", "commands.launch:status", "How the launched jobs are."),
        _entry("logs", "commands.launch:logs", "What a launched job said."),
        _entry("cancel", "commands.launch:cancel", "End a launched job."),
        _entry("join", "commands.launch:join", "Take part in a job, on its further nodes."),
        _entry("plan", "commands.plan:command", "What a training needs: memory, days, money."),
        _entry("preflight", "commands.preflight:preflight", "Is every node fit?", ("torch",)),
        _entry(
            "tokens.plan", "commands.tokens_plan:plan", "Tokens and epochs of each shard, by phase."
        ),
        _entry(
            "tokens.replay", "commands.tokens_replay:replay", "The documents in a training step."
        ),
        _entry(
            "tokens.where",
            "commands.tokens_replay:where",
            "The training steps that saw a document.",
        ),
    ]


@hookimpl
def yoriai_run_started() -> Mapping[str, Any]:
    from yoriai_train.job.machine import describe_machine

    return describe_machine()


@hookimpl
def yoriai_sections(artifact: Artifact) -> Iterable[Section]:
    from yoriai_train.steps.sections import describe

    return describe(artifact)


@hookimpl
def yoriai_hops(point: Point) -> Iterable[Hop]:
    from yoriai_train.data.hops import hops

    return hops(point)
