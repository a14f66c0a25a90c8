"""Instruction data from tasks that are installed: LLM-jp's *jaster* and its kin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated, ClassVar

from pydantic import Field

from yoriai import Artifact, Example, Instructions, Task, UsageError, Uses, files


class TrainSplits(Instructions):
    """The training split of tasks: each question as an instruction, its right answer to learn.

    LLM-jp made *jaster* so, of nine data sets (llm-jp-sft, README). A model that was tuned on it
    has seen the form of these tasks; its scores on their other splits tell little of new ones.
    """

    version: ClassVar[str] = "1"
    tasks: list[Annotated[Task, Uses("tasks")]] = Field(min_length=1, description="which tasks")
    limit: int | None = Field(None, ge=1, description="first so many questions of each; null: all")

    def fingerprint(self) -> str:
        return files.digest_json([task.fingerprint() for task in self._of_train()])

    def notes(self) -> Sequence[str]:
        names = ", ".join(task.entry for task in self.tasks)
        return [f"tuned on the training splits of {names}: their scores are not of unseen tasks"]

    def examples(self, corpora: Sequence[Artifact], seed: int) -> Iterator[Example]:  # noqa: ARG002
        for task in self._of_train():
            for sample in islice(task.samples(corpora), self.limit):
                asked = [part for part in (sample.instruction, sample.text) if part]
                made = Example.of(asked[0], "\n".join(asked[1:]), sample.gold)
                yield Example(made.turns, place=f"{task.entry}:{sample.id}")

    def _of_train(self) -> list[Task]:
        for task in self.tasks:
            if "train" not in task.splits:
                raise UsageError(
                    f"{task.entry} has no training split, so it cannot be learned from",
                    hint=f"it has {', '.join(task.splits)}" if task.splits else "leave it out",
                )
        return [task.of_split("train") for task in self.tasks]
