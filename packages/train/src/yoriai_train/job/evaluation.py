"""Scores on tasks while a model is being trained: tasks and backends of whatever is installed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pydantic

from yoriai import Backend, LanguageModel, Sample, Task, Uses
from yoriai.artifact import open_checked
from yoriai.plugins import load_registry

ANSWER_TOKENS = 32


class _Rules(pydantic.BaseModel):
    every_steps: int
    tasks: list[Any]
    backend: Any
    limit: int | None


def evaluate(folder: Path, rules: Mapping[str, Any], artifacts: Sequence[Path]) -> dict[str, Any]:
    """Scores of the model in ``folder``: bits per byte by group, or the share that is right."""
    registry = load_registry()
    tasks = [_build(Task, "tasks", body, registry) for body in rules["tasks"]]
    backend: Backend = _build(Backend, "backends", rules["backend"], registry)
    model = backend.open(folder)
    inputs = [open_checked(path) for path in artifacts]
    scores: dict[str, Any] = {}
    for task in tasks:
        samples = list(islice(task.samples(inputs), rules["limit"]))
        scores[task.entry.rpartition("/")[2]] = _score(model, task, samples)
    return {"tasks": scores}


def _build(kind: Any, entries: str, body: Mapping[str, Any], registry: Any) -> Any:
    from typing import Annotated

    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(Annotated[kind, Uses(entries)])
    return adapter.validate_python(dict(body), context={"registry": registry})


def _score(model: LanguageModel, task: Task, samples: Sequence[Sample]) -> Any:
    if task.form == "bits-per-byte":
        totals: dict[str, list[float]] = {}
        likelihoods = model.rolling_loglikelihood([s.text for s in samples])
        for sample, value in zip(samples, likelihoods, strict=True):
            bits, size = totals.setdefault(sample.group, [0.0, 0.0])
            totals[sample.group] = [bits - value / math.log(2), size + len(sample.text.encode())]
        return {group: round(bits / size, 4) for group, (bits, size) in sorted(totals.items())}
    if task.form == "ranked":
        pairs = [(s.text, choice) for s in samples for choice in s.choices]
        values = iter(model.loglikelihood(pairs))
        right = 0
        for sample in samples:
            own = [next(values) for _ in sample.choices]
            right += own.index(max(own)) == sample.answer
        return round(right / len(samples), 4)
    prompts = [model.render(s.instruction, s.text) for s in samples]
    room = model.context - min(ANSWER_TOKENS, model.context // 4) if model.context else 0
    counts = model.count(prompts) if room else []
    # A prompt that does not fit is an answer that is wrong, as in eval/run.
    asked = [i for i in range(len(prompts)) if not counts or counts[i] <= room]
    longest = max((counts[i] for i in asked), default=0) if counts else 0
    limit = min(ANSWER_TOKENS, model.context - longest) if counts else ANSWER_TOKENS
    made = model.generate([prompts[i] for i in asked], max_new_tokens=limit) if asked else []
    total = sum(task.score(samples[i], g.text) for i, g in zip(asked, made, strict=True))
    return round(total / len(samples), 4)
