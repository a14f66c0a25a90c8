"""The sets beyond the nine as tasks (:mod:`yoriai_eval.sets.further`).

Protocol ``yoriai`` says how they are asked; other protocols ask them in the task's own way.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Sample
from yoriai_eval.sets.further import LETTERS
from yoriai_eval.sets.llm_jp import UpstreamRecord
from yoriai_eval.tasks.datasets import Dataset


class More(Dataset):
    """A set whose instruction and metrics are those of protocol ``yoriai``."""

    home: ClassVar[str] = "yoriai"


class JCoLAInDomain(More):
    """JCoLA: is a sentence acceptable? (865 sentences)"""

    dataset: ClassVar[str] = "jcola-in-domain"
    labels: ClassVar[tuple[str, ...]] = ("1", "0")


class JCoLAOutOfDomain(More):
    """JCoLA on sentences from other sources than the train file (685 sentences)."""

    dataset: ClassVar[str] = "jcola-out-of-domain"
    labels: ClassVar[tuple[str, ...]] = ("1", "0")


class CommonsenseMorality(More):
    """JCommonsenseMorality: is an action wrong? (3,992 sentences in pairs)"""

    dataset: ClassVar[str] = "commonsensemoralja"
    labels: ClassVar[tuple[str, ...]] = ("1", "0")


class FourChoices(More):
    """Questions with four choices.

    ``text``: the choices are ranked after the bare question ("cloze form", as JCommonsenseQA under
    protocol ``yoriai``). ``letter``: the question shows the choices, and letters are ranked.
    """

    style: Literal["text", "letter"] = Field("text", description="what is ranked after what")

    def _sample(self, name: str, row: UpstreamRecord, instruction: str = "") -> Sample:
        text, choices = f"質問：{row.input}", row.choices
        if self.style == "letter":
            shown = [f"{letter}. {c}" for letter, c in zip(LETTERS, choices, strict=True)]
            text, choices = "\n".join([text, *shown]), tuple(LETTERS)
        return Sample(
            id=name,
            text=text,
            instruction=instruction,
            choices=choices,
            answer=LETTERS.index(row.output),  # two choices may have the same text
            group=row.group,
        )


class JMMLU(FourChoices):
    """JMMLU: 7,097 questions of 53 subjects."""

    dataset: ClassVar[str] = "jmmlu"


class MMLU(FourChoices):
    """MMLU in English: 14,042 questions of 57 subjects."""

    dataset: ClassVar[str] = "mmlu_en"


class JamCQA(FourChoices):
    """JamC-QA: 2,309 questions about Japan."""

    dataset: ClassVar[str] = "jamcqa"


class MGSM(More):
    """MGSM in Japanese: 250 problems, answered by a number."""

    dataset: ClassVar[str] = "mgsm"


class WikiReading(More):
    """The annotated corpus of Wikipedia: a text in hiragana (200 documents)."""

    dataset: ClassVar[str] = "wiki_reading"


class WikiNER(More):
    """The annotated corpus of Wikipedia: named entities, one a line."""

    dataset: ClassVar[str] = "wiki_ner"


class WikiDependency(More):
    """The annotated corpus of Wikipedia: dependencies between phrases, one a line."""

    dataset: ClassVar[str] = "wiki_dependency"


class WikiPAS(More):
    """The annotated corpus of Wikipedia: predicates with their arguments, one a line."""

    dataset: ClassVar[str] = "wiki_pas"


class WikiCoreference(More):
    """The annotated corpus of Wikipedia: mentions of the same thing, one chain a line."""

    dataset: ClassVar[str] = "wiki_coreference"


class ALTToJapanese(More):
    """ALT: English sentences of Wikinews into Japanese (about 1,000)."""

    dataset: ClassVar[str] = "alt-e-to-j"


class ALTToEnglish(More):
    """ALT: Japanese sentences of Wikinews into English (about 1,000)."""

    dataset: ClassVar[str] = "alt-j-to-e"
