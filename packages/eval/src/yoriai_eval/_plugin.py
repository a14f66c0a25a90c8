"""What yoriai-eval offers. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from yoriai import Entry, hookimpl

if TYPE_CHECKING:
    from yoriai import Artifact, Section
    from yoriai.explaining import Hop, Point


def _entry(
    name: str, target: str, summary: str, requires: tuple[str, ...] = (), licence: str = ""
) -> Entry:
    return Entry(
        name=name,
        target=f"yoriai_eval.{target}",
        summary=summary,
        requires=requires,
        since="0.1.0",
        licence=licence or "Apache-2.0",
    )


@hookimpl
def yoriai_steps() -> Iterable[Entry]:
    return [
        _entry("run", "scoring.run:EvaluationRun", "Score models on tasks, sample by sample."),
        _entry(
            "contamination",
            "contamination.step:Contamination",
            "Which samples models may have seen, and scores without them.",
        ),
        _entry("probe", "probes.step:ProbeStep", "Look into models with probes."),
    ]


@hookimpl
def yoriai_tasks() -> Iterable[Entry]:
    from yoriai_eval.sets import catalogue

    return [
        _entry("heldout", "tasks.own:Heldout", "Bits per byte of the held-out text of corpora."),
        _entry(
            "ja-forms",
            "tasks.own:JaForms",
            "120 Japanese minimal pairs, ranked choice.",
            licence="CC-BY-4.0",
        ),
        _entry(
            "ja-language",
            "tasks.own:JaLanguage",
            "90 snippets: Japanese, English or code? Generation.",
            licence="CC-BY-4.0",
        ),
        _entry(
            "answerable",
            "tasks.unanswerable:Answerable",
            "Passages on invented villages, with questions that they answer and that they do not.",
            licence="CC-BY-4.0",
        ),
        _entry(
            "invented",
            "tasks.unanswerable:Invented",
            "What most people know, beside the same questions on things that do not exist.",
            licence="CC-BY-4.0",
        ),
        *(
            _entry(
                name,
                f"tasks.{told['task']}",
                told["title"] + (", unverified." if catalogue.is_unverified(told) else "."),
                tuple(told.get("requires", ())),
                told["licence"],
            )
            for name, told in catalogue.tasks().items()
        ),
        _entry("yaml", "tasks.yaml_file:YamlTask", "A task of yours: one YAML file and its data."),
        _entry(
            "lm-eval",
            "tasks.lm_eval_harness:HarnessTask",
            "A task of lm-evaluation-harness, if that is installed, scored as there.",
        ),
    ]


@hookimpl
def yoriai_scorers() -> Iterable[Entry]:
    return [_entry("protocol", "scoring.scorer:ByProtocol", "The scores that eval/run gives.")]


@hookimpl
def yoriai_probes() -> Iterable[Entry]:
    torch = ("torch", "transformers", "safetensors")
    return [
        _entry(
            "extraction",
            "probes.extraction:Extraction",
            "Training texts that a model writes word for word after their beginning.",
            torch,
        ),
        _entry(
            "membership",
            "probes.membership:Membership",
            "Can one tell what a model was trained on from what it finds likely?",
            torch,
        ),
        _entry(
            "attribution",
            "probes.attribution:Attribution",
            "Training texts that pulled a model towards what it writes, over its checkpoints.",
            torch,
        ),
        _entry(
            "poison-drill",
            "probes.poison_drill:PoisonDrill",
            "Poison planted in a corpus: what it does, what finds it, what helps.",
            torch,
        ),
        _entry(
            "counterfactual",
            "probes.counterfactual:Counterfactual",
            "Lines that a model foretells only because it was trained on them.",
            torch,
        ),
        _entry(
            "consistency",
            "probes.consistency:Consistency",
            "Does a model say the same when it is asked again?",
            torch,
        ),
        _entry(
            "support",
            "probes.support:Support",
            "How much of what a model claims stands in a corpus word for word.",
        ),
        _entry("lens", "probes.lens:Lens", "What a model would say after each layer.", torch),
        _entry(
            "ablation",
            "probes.ablation:Ablation",
            "How much worse a model gets without a head, an attention or a network.",
            torch,
        ),
        _entry(
            "induction",
            "probes.induction:Induction",
            "Heads that look up what followed a token when it stood before.",
            torch,
        ),
        _entry(
            "sparse-features",
            "probes.sparse_features:SparseFeatures",
            "Few of many directions in a layer, by a sparse autoencoder.",
            (*torch, "eai-sparsify"),
        ),
        _entry(
            "bias-pairs",
            "probes.bias_pairs:BiasPairs",
            "Of two sentences on two groups, does a model find the stereotype likelier?",
            torch,
        ),
        _entry(
            "bias-questions",
            "probes.bias_questions:BiasQuestions",
            "The bias scores of BBQ and JBBQ, from your own copy of the questions.",
        ),
        _entry(
            "bias-words",
            "probes.bias_words:BiasWords",
            "Which words of your lists a model writes after which group, debiased or not.",
            torch,
        ),
        _entry(
            "bias-drill",
            "probes.bias_drill:BiasDrill",
            "A bias planted in a corpus: what mitigations do to it, and what they cost.",
            torch,
        ),
    ]


@hookimpl
def yoriai_backends() -> Iterable[Entry]:
    return [
        _entry(
            "hf",
            "backends.huggingface:HuggingFace",
            "Any Hugging Face folder.",
            ("torch", "transformers"),
        ),
        _entry(
            "checkpoint",
            "backends.checkpoint:TrainingCheckpoint",
            "A training checkpoint, by its step.",
            ("torch", "transformers"),
        ),
        _entry(
            "openai",
            "backends.served:Served",
            "Any server that speaks OpenAI's API: vLLM, SGLang, llama.cpp, Ollama, OpenAI.",
            ("httpx2",),
        ),
        _entry("vllm", "backends.vllm:Vllm", "Any Hugging Face folder, in vLLM.", ("vllm",)),
        _entry(
            "llama-cpp",
            "backends.llamacpp:LlamaCpp",
            "A GGUF file, in llama.cpp.",
            ("llama-cpp-python",),
        ),
        _entry("mock", "backends.mock:Mock", "No model: answers by rule, for tests."),
    ]


@hookimpl
def yoriai_commands() -> Iterable[Entry]:
    return [
        _entry("samples", "commands.samples:samples", "Show single answers, right or wrong."),
        _entry("report", "commands.report:report", "A leaderboard of scores as static pages."),
        _entry("compare", "commands.compare:compare", "Compare models by paired tests."),
        _entry("rescore", "commands.rescore:rescore", "Score sealed answers anew."),
        _entry("export", "commands.export:export", "Write scores as other tools' logs."),
        _entry("data", "commands.data:data", "List, fetch, check and export the data sets."),
        _entry("probe", "commands.probe:probe", "List and run probes, which look into models."),
        _entry(
            "transparency",
            "commands.transparency:transparency",
            "What can be measured of models here, on one page.",
        ),
    ]


@hookimpl
def yoriai_sections(artifact: Artifact) -> Iterable[Section]:
    from yoriai_eval.contamination import sections as contamination
    from yoriai_eval.probes import sections as probes
    from yoriai_eval.scoring import sections as scoring

    rooms = (scoring, contamination, probes)
    return [section for room in rooms for section in room.describe(artifact)]


@hookimpl
def yoriai_hops(point: Point) -> Iterable[Hop]:
    from yoriai_eval.scoring.hops import hops

    return hops(point)
