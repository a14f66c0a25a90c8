"""What yoriai-eval offers. Nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from yoriai import Entry, hookimpl

if TYPE_CHECKING:
    from yoriai import Artifact, Section


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
        _entry("run", "scoring.run:Run", "Score models on tasks, sample by sample."),
        _entry(
            "contamination",
            "contamination.step:Contamination",
            "Which samples models may have seen, and scores without them.",
        ),
    ]


@hookimpl
def yoriai_tasks() -> Iterable[Entry]:
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
        # Data sets of yoriai_eval/registry, with the licences stated there.
        *(
            _entry(name, f"tasks.datasets:{target}", summary, licence=licence)
            for name, target, summary, licence in (
                ("jamp", "Jamp", "Jamp: temporal inference, made from templates.", "CC-BY-SA-4.0"),
                (
                    "janli",
                    "JaNLI",
                    "JaNLI: inference where surface heuristics mislead.",
                    "CC-BY-SA-4.0",
                ),
                (
                    "jnli",
                    "JNLI",
                    "JNLI of JGLUE v1.1: inference on image captions.",
                    "CC-BY-SA-4.0",
                ),
                ("jsem", "JSeM", "JSeM: the semantic test suite.", "BSD-3-Clause"),
                ("jsick", "JSICK", "JSICK: compositional inference.", "CC-BY-SA-4.0"),
                (
                    "jemhopqa",
                    "JEMHopQA",
                    "JEMHopQA: questions that need two facts.",
                    "CC-BY-SA-4.0",
                ),
                ("niilc", "NIILC", "NIILC: encyclopedic questions.", "CC-BY-SA-4.0"),
                ("jsquad", "JSQuAD", "JSQuAD of JGLUE v1.1: answers in a passage.", "CC-BY-SA-4.0"),
                (
                    "jcommonsenseqa",
                    "JCommonsenseQA",
                    "JCommonsenseQA of JGLUE v1.1: five choices, by digit.",
                    "CC-BY-SA-4.0",
                ),
                ("jsts", "JSTS", "JSTS of JGLUE v1.1: how alike two captions are.", "CC-BY-SA-4.0"),
                ("mawps", "MAWPS", "MAWPS-ja: arithmetic word problems.", "Apache-2.0"),
                (
                    "jbbq",
                    "JBBQ",
                    "JBBQ: social bias, three answers ranked; reads your own copy.",
                    "CC-BY-4.0",
                ),
            )
        ),
        # Data sets of registry/more.yaml. "Unverified": no checksum of a file is known.
        *(
            _entry(name, f"tasks.further:{target}", summary, requires, licence)
            for name, target, summary, licence, requires in (
                (
                    "jcola-in-domain",
                    "JCoLAInDomain",
                    "JCoLA: whether a sentence is acceptable.",
                    "LicenseRef-JCoLA",
                    (),
                ),
                (
                    "jcola-out-of-domain",
                    "JCoLAOutOfDomain",
                    "JCoLA on other sources than it trains on; unverified.",
                    "LicenseRef-JCoLA",
                    (),
                ),
                (
                    "commonsensemoralja",
                    "CommonsenseMorality",
                    "JCommonsenseMorality: is an action wrong? Test file unverified.",
                    "MIT",
                    (),
                ),
                ("jmmlu", "JMMLU", "JMMLU: 53 subjects, four choices.", "CC-BY-SA-4.0", ()),
                ("mmlu_en", "MMLU", "MMLU: 57 subjects, four choices, English.", "MIT", ()),
                (
                    "jamcqa",
                    "JamCQA",
                    "JamC-QA: knowledge of Japan, four choices; unverified.",
                    "CC-BY-SA-4.0",
                    ("pyarrow",),
                ),
                ("mgsm", "MGSM", "MGSM: grade school arithmetic in Japanese.", "CC-BY-4.0", ()),
                (
                    "jhumaneval",
                    "JHumanEval",
                    "JHumanEval: Python functions; runs code only if told to; unverified.",
                    "MIT",
                    (),
                ),
                *(
                    (
                        f"wiki_{name}",
                        f"Wiki{target}",
                        f"Wikipedia Annotated Corpus: {what}; unverified.",
                        "CC-BY-SA-4.0",
                        (),
                    )
                    for name, target, what in (
                        ("reading", "Reading", "readings in hiragana"),
                        ("ner", "NER", "named entities"),
                        ("dependency", "Dependency", "dependencies"),
                        ("pas", "PAS", "predicates and arguments"),
                        ("coreference", "Coreference", "coreference"),
                    )
                ),
                (
                    "alt-e-to-j",
                    "ALTToJapanese",
                    "ALT: news from English into Japanese; unverified.",
                    "CC-BY-4.0",
                    (),
                ),
                (
                    "alt-j-to-e",
                    "ALTToEnglish",
                    "ALT: news from Japanese into English; unverified.",
                    "CC-BY-4.0",
                    (),
                ),
            )
        ),
        _entry("yaml", "tasks.yaml_file:YamlTask", "A task of yours: one YAML file and its data."),
        _entry(
            "lm-eval",
            "tasks.lm_eval_harness:HarnessTask",
            "A task of lm-evaluation-harness, if that is installed, scored as there.",
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
            "backends.checkpoint:Checkpoint",
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
        _entry("rescore", "commands.compare:rescore", "Score sealed answers anew."),
        _entry("export", "commands.export:export", "Write scores as other tools' logs."),
        _entry("data", "commands.data:data", "List, fetch, check and export the data sets."),
    ]


@hookimpl
def yoriai_sections(artifact: Artifact) -> Iterable[Section]:
    from yoriai_eval.contamination import sections
    from yoriai_eval.scoring.sections import describe

    return [*describe(artifact), *sections.describe(artifact)]
