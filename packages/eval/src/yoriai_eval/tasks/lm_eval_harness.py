"""Tasks of EleutherAI's lm-evaluation-harness, asked by our backends and scored by theirs.

The harness makes prompts, choices and few-shots, filters what was written and computes each metric;
everything between, asking a model, is ours. API: EleutherAI/lm-evaluation-harness 0.4.13,
lm_eval/api/task.py (``build_all_requests``, ``process_results``) and lm_eval/evaluator.py, whose
order of calls this follows.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field

from yoriai import Artifact, Asking, NotFound, Prompt, Sample, Task, UsageError
from yoriai.contracts import Form
from yoriai.files import digest_json

SEED = 1234  # of few-shots, as simple_evaluate has it by default
LIMIT = 256  # tokens of an answer where the task does not say (HFLM.max_gen_toks)
FORMS: dict[str, Form] = {
    "multiple_choice": "ranked",
    "generate_until": "generation",
    "loglikelihood_rolling": "bits-per-byte",
}


class HarnessTask(Task):
    """A task of lm-evaluation-harness, by name.

    ``multiple_choice`` is ranked, ``generate_until`` generated, ``loglikelihood_rolling`` read for
    bits per byte; other kinds are refused. Metrics that are no mean over samples are left out. The
    scores are those of ``simple_evaluate`` for the same model as far as both encode alike: with
    backend ``eval/hf``, ``start: never`` for choices and answers, as the harness puts no start mark
    before a prompt unless it is told to, and ``start: always`` for texts that are read, as it puts
    one before those. Greedy decoding is the only decoding here.
    """

    version: ClassVar[str] = "1"
    form: ClassVar[Literal["generation"]] = "generation"  # the task says which
    always_own: ClassVar[bool] = True
    has_floors: ClassVar[bool] = False
    task: str = Field(min_length=1, description="name in lm-evaluation-harness")
    include_path: str = Field("", description="folder of further tasks")
    num_fewshot: int | None = Field(None, ge=0, description="examples; null: as the task says")

    @property
    def called(self) -> str:
        """The task's name there."""
        return self.task

    def fingerprint(self) -> str:
        """The harness's version, the task's version, and digests of its settings and requests."""
        import lm_eval

        told = self._made.dump_config()
        settings = digest_json(json.loads(json.dumps(told, default=_name, sort_keys=True)))
        requests = digest_json([[i.doc_id, *map(str, i.args)] for i in self._requests])
        version = (told.get("metadata") or {}).get("version", getattr(self._made, "VERSION", ""))
        return (
            f"lm-eval {lm_eval.__version__}, {self.task} version {version}, "
            f"settings {settings[:16]}, requests {requests[:16]}"
        )

    # --- how it is asked ----------------------------------------------------------------------

    def askings(self) -> list[Asking]:
        """The task's own form under every protocol; the prompt is the harness's, word for word."""
        kind = self._kind
        if kind == "loglikelihood_rolling":
            return [Asking(form="bits-per-byte")]
        settings = self._requests[0].args[1] if kind == "generate_until" else {}
        if settings.get("do_sample") or settings.get("temperature"):
            raise UsageError(
                f"eval/lm-eval: {self.task} samples its answers; here decoding is greedy",
                hint="copy its YAML, set do_sample: false, and give the folder as include_path",
            )
        until = settings.get("until") or ()
        return [
            Asking(
                form=FORMS[kind],
                metrics=tuple(self._means),
                prompt=Prompt(),
                max_tokens=int(settings.get("max_gen_toks", LIMIT)),
                stops=(until,) if isinstance(until, str) else tuple(until),
            )
        ]

    def samples(self, artifacts: Sequence[Artifact]) -> Iterator[Sample]:  # noqa: ARG002
        """One for each document, named by its number there."""
        for number, requests in self._by_document.items():
            first = requests[0]
            if self._kind == "loglikelihood_rolling":
                yield Sample(id=str(number), text=first.args[0], group=f"{self.task}.text")
            elif self._kind == "generate_until":
                told = self._made.doc_to_target(first.doc)
                yield Sample(id=str(number), text=first.args[0], answer=_text(told))
            else:
                count = len(self._made.doc_to_choice(first.doc))
                yield Sample(
                    id=str(number),
                    text=first.args[0],
                    choices=tuple(request.args[1] for request in requests[:count]),
                    answer=self._right(first.doc),
                )

    # --- how it is scored ---------------------------------------------------------------------

    def rank(self, sample: Sample, likelihoods: Sequence[float]) -> dict[str, float]:
        """The harness's metrics of one question, from the likelihoods of its choices."""
        return self._process(sample, [(value, False) for value in likelihoods])

    def scores(self, sample: Sample, output: str) -> dict[str, float]:
        """The harness's metrics of one answer, after its filters.

        Metrics of a second filter are called ``metric,filter``.
        """
        request = self._by_document[int(sample.id)][0]
        request.resps, request.filtered_resps = [output], {}
        values: dict[str, float] = {}
        for place, pipeline in enumerate(self._made._filters):
            pipeline.apply([request])
            found = self._process(sample, [request.filtered_resps[pipeline.name]])
            suffix = f",{pipeline.name}" if place else ""
            values |= {f"{name}{suffix}": value for name, value in found.items()}
        return values

    def score(self, sample: Sample, output: str) -> float:
        """The first of the metrics."""
        return self.scores(sample, output)[self._means[0]]

    def _process(self, sample: Sample, results: list[Any]) -> dict[str, float]:
        document = self._by_document[int(sample.id)][0].doc
        values = self._made.process_results(document, results)
        return {name: float(values[name]) for name in self._means if name in values}

    # --- the harness's side -------------------------------------------------------------------

    @cached_property
    def _made(self) -> Any:
        """The task object, set up as ``simple_evaluate`` does."""
        try:
            from lm_eval.tasks import TaskManager
        except ImportError as error:
            raise NotFound(
                "eval/lm-eval needs lm-evaluation-harness",
                hint="pip install 'yoriai-eval[lm-eval]'",
            ) from error
        with _quiet():
            manager = None
            if self.include_path:  # without their thousands of tasks, which take seconds to list
                manager = TaskManager(include_path=self.include_path, include_defaults=False)
            if manager is None or self.task not in manager.all_subtasks:
                manager = TaskManager(include_path=self.include_path or None)
            if self.task not in manager.all_subtasks:
                raise NotFound(
                    f"lm-evaluation-harness has no single task {self.task!r}",
                    hint="name one task, not a group or tag: lm-eval ls tasks",
                )
            made = manager.load([self.task])["tasks"][self.task]
        if self.num_fewshot is not None and made.get_config("num_fewshot") != 0:
            made.set_config(key="num_fewshot", value=self.num_fewshot)
        elif made.get_config("num_fewshot") is None:
            made.set_config(key="num_fewshot", value=0)
        made.set_fewshot_seed(seed=SEED)
        # It asks for likelihoods of the choices alone, and fails without them.
        getattr(made, "_metric_fn_list", {}).pop("acc_mutual_info", None)
        return made

    @cached_property
    def _kind(self) -> str:
        kind = str(self._made.OUTPUT_TYPE)
        if kind not in FORMS or bool(getattr(self._made, "multiple_input", False)):
            what = "several contexts" if kind in FORMS else f"output_type {kind}"
            raise UsageError(
                f"eval/lm-eval: {self.task} has {what}",
                hint=f"here run {', '.join(FORMS)}, with one context for a question",
            )
        return kind

    @cached_property
    def _requests(self) -> list[Any]:
        with _quiet():
            self._made.build_all_requests(limit=None, rank=0, world_size=1)
        return list(self._made.instances)

    @cached_property
    def _by_document(self) -> dict[int, list[Any]]:
        found: dict[int, list[Any]] = {}
        for request in self._requests:
            found.setdefault(int(request.doc_id), []).append(request)
        return found

    @cached_property
    def _means(self) -> list[str]:
        """Metrics whose score is a mean of numbers, one for each sample."""
        from lm_eval.api.metrics import mean

        left = {"exact_match", "acc_mutual_info"} if self._kind == "multiple_choice" else set()
        names = [
            name
            for name, function in self._made.aggregation().items()
            if function is mean and name not in left
        ]
        if not names:
            raise UsageError(
                f"eval/lm-eval: no metric of {self.task} is a mean over samples",
                hint="run it with lm-evaluation-harness itself",
            )
        return names

    def _right(self, document: Any) -> int | str:
        told = self._made.doc_to_target(document)
        told = told[0] if isinstance(told, list) and told else told
        if isinstance(told, str):
            choices = self._made.doc_to_choice(document)
            return choices.index(told) if told in choices else ""
        return int(told)


def _text(told: Any) -> str:
    first = told[0] if isinstance(told, (list, tuple)) and told else told
    return str(first)


def _name(value: Any) -> str:
    """Functions in a task's settings, by name: their addresses differ from run to run."""
    return str(getattr(value, "__qualname__", type(value).__qualname__))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the harness's own bars and notes: progress is shown by the step."""
    import os

    log = logging.getLogger("lm_eval")
    level, before = log.level, os.environ.get("TQDM_DISABLE")
    log.setLevel(logging.ERROR)
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        log.setLevel(level)
        if before is None:
            del os.environ["TQDM_DISABLE"]
        else:
            os.environ["TQDM_DISABLE"] = before
