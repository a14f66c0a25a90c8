"""What yoriai-domain-adapt offers. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from yoriai import Entry, hookimpl

if TYPE_CHECKING:
    from yoriai import Artifact, Section

MODELS = ("torch", "transformers", "safetensors")
STEPS = (
    ("outside-model", "outside_model:OutsideModel", "Bring a model into a recipe.", MODELS),
    ("select", "select:Select", "Choose a domain's documents from a corpus, and say why.", ()),
    ("mix", "mix:Mix", "Mix a domain's tokens with general ones, against forgetting.", ()),
    ("pieces", "pieces:Pieces", "Choose a domain's pieces for a tokenizer.", ("tokenizers",)),
    ("vocab", "vocab:Vocab", "Give a model rows for the pieces its tokenizer has gained.", MODELS),
    ("distil", "distil:Distil", "Train a smaller model on what a larger one says.", MODELS),
    ("prune", "prune:Prune", "Drop weights (magnitude, Wanda, SparseGPT) or layers.", MODELS),
    (
        "quantise",
        "quantise:Quantise",
        "Round weights to 8 or 4 bits; a plain Hugging Face folder comes out.",
        (*MODELS, "compressed-tensors"),
    ),
    ("merge", "merge:Merge", "Merge models: linear, SLERP, task arithmetic, TIES, DARE.", MODELS),
    ("gguf", "gguf:Gguf", "Write GGUF for llama.cpp, ids and logits checked.", (*MODELS, "gguf")),
    ("compare", "compare:Compare", "What variants gained and lost, and which to keep.", ()),
)  # fmt: skip


@hookimpl
def yoriai_steps() -> Iterable[Entry]:
    made = [
        Entry(
            name=name,
            target=f"yoriai_domain_adapt.steps.{target}",
            summary=summary,
            requires=requires,
            since="0.1.0",
            licence="Apache-2.0",
        )
        for name, target, summary, requires in STEPS
    ]
    old = Entry(
        name="replay",
        target="yoriai_domain_adapt.steps.mix:Replay",
        summary="The old name of domain-adapt/mix.",
        stability="deprecated",
        since="0.1.0",
        licence="Apache-2.0",
    )
    return [*made, old]


@hookimpl
def yoriai_commands() -> Iterable[Entry]:
    return [
        Entry(
            name="sweep",
            target="yoriai_domain_adapt.commands.sweep:sweep",
            summary="Write a recipe that tries several shares of replayed text.",
            since="0.1.0",
            licence="Apache-2.0",
        )
    ]


@hookimpl
def yoriai_sections(artifact: Artifact) -> Iterable[Section]:
    from yoriai_domain_adapt.steps.sections import describe

    return describe(artifact)
