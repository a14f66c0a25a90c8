"""JHumanEval as a task: Python functions to complete, run only if the recipe says so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Artifact, Asking, Prompt, Sample, Task, UsageError
from yoriai.errors import Altered
from yoriai.files import digest_json
from yoriai_eval.sets import store
from yoriai_eval.tasks import execution

# Where HumanEval cuts what a model goes on to write (Chen et al. 2021, arXiv 2107.03374, 4.2).
NEXT = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
PATH = "data/jhuman-eval.jsonl"


class JHumanEval(Task):
    """JHumanEval: complete a Python function whose docstring is Japanese (164 problems).

    By default nothing that a model wrote is run: the bits of the reference solution are taken. With
    ``execute: true`` completions are run in one sandbox and judged by the tests of the set in
    another (:mod:`yoriai_eval.tasks.execution`, which says what that keeps off and what not); the
    score is pass@1 of the greedy completion.
    """

    version: ClassVar[str] = "2"
    form: ClassVar[Literal["generation"]] = "generation"
    always_own: ClassVar[bool] = True
    has_floors: ClassVar[bool] = False  # each score would cost a run of code
    dataset: ClassVar[str] = "jhumaneval"
    execute: bool = Field(False, description="run what models write, in a sandbox")
    limits: execution.ProgramLimits = Field(execution.ProgramLimits(), description="of each run")
    max_tokens: int = Field(512, ge=1, description="longest completion in the model's own tokens")

    def fingerprint(self) -> str:
        """Digest of the file, or of its commit where it is not here."""
        source = store.origin(self.dataset)
        return digest_json([source.commit, store.look(self.dataset, PATH).digest])

    def askings(self) -> list[Asking]:
        """The same under every protocol: the prompt is the head of the function, without shots."""
        gold = Asking(form="gold", prompt=Prompt())
        if not self.execute:
            return [gold]
        execution.require(self.limits)  # before a model is opened
        written = Asking(
            form="generation",
            metrics=("pass_at_1",),
            prompt=Prompt(),
            max_tokens=self.max_tokens,
            stops=NEXT,
        )
        return [written, gold]

    def samples(self, artifacts: Sequence[Artifact]) -> Iterator[Sample]:  # noqa: ARG002
        """Prompt and reference solution of each problem, by its name upstream."""
        for name, row in self._problems().items():
            yield Sample(id=name, text=row["prompt"], answer=row["canonical_solution"])

    def score(self, sample: Sample, output: str) -> float:
        """1 if the completed function passes the tests of its problem.

        Raises :class:`yoriai.UsageError` unless the task may execute.
        """
        if not self.execute:
            raise UsageError(
                "eval/jhumaneval runs nothing that a model wrote unless it is told to",
                hint="tasks: [{use: eval/jhumaneval, execute: true}]",
            )
        if not output.strip():
            return 0.0
        row = self._problems()[sample.id]
        problem = execution.Problem(row["prompt"], row["entry_point"], row["test"])
        return float(execution.run(problem, f"{row['prompt']}{output}\n", self.limits).passed)

    def scores(self, sample: Sample, output: str) -> dict[str, float]:
        """The score under its own name."""
        return {"pass_at_1": self.score(sample, output)}

    def conditions(self) -> dict[str, str]:
        """How programs were shut in, where they are run."""
        return {"isolation": execution.require(self.limits)} if self.execute else {}

    def _problems(self) -> dict[str, dict[str, str]]:
        content = store.read(self.dataset, PATH)
        rows = [json.loads(line) for line in content.split(b"\n") if line.strip()]
        wanted = store.file(self.dataset, PATH).rows
        if len(rows) != wanted:
            raise Altered(f"{self.dataset}: {PATH} has {len(rows)} rows, {wanted} are registered")
        return {row["task_id"]: row for row in rows}
