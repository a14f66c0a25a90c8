"""Scores on tasks while a model is being trained: by what is installed for scoring models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from yoriai import Backend, Scorer, Task, Uses
from yoriai.artifact import open_checked
from yoriai.plugins import load_registry


def evaluate(folder: Path, rules: Mapping[str, Any], artifacts: Sequence[Path]) -> dict[str, Any]:
    """Scores of the model in ``folder``, by task: those that ``eval/run`` would give."""
    registry = load_registry()
    tasks: list[Task] = [_build(Task, "tasks", body, registry) for body in rules["tasks"]]
    backend: Backend = _build(Backend, "backends", rules["backend"], registry)
    scorer: Scorer = _build(Scorer, "scorers", rules["scorer"], registry)
    inputs = [open_checked(path) for path in artifacts]
    return {"tasks": scorer.score(backend.open(folder), tasks, inputs, limit=rules["limit"])}


def _build(kind: Any, entries: str, body: Mapping[str, Any], registry: Any) -> Any:
    from typing import Annotated

    adapter: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(Annotated[kind, Uses(entries)])
    return adapter.validate_python(dict(body), context={"registry": registry})
