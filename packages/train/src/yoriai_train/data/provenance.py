"""From a model back to what it was trained on: its tokens, their corpora, their tokenizer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoriai import Altered, Artifact, NotFound, UsageError
from yoriai.artifact import open_artifact
from yoriai_train.data.windows import Samples
from yoriai_train.settings.stability import shift


@dataclass(frozen=True, slots=True)
class Input:
    """What an artifact was made from: opened, or the reason why it cannot be."""

    name: str
    digest: str
    artifact: Artifact | None
    problem: str = ""


def inputs_of(artifact: Artifact) -> Iterator[Input]:
    """The inputs of an artifact, looked for where they stood when they were used."""
    folders = artifact.manifest["circumstances"].get("folders", [])
    here = artifact.path.resolve().parent
    for position, item in enumerate(artifact.manifest["inputs"]):
        name, digest = item["name"], item["digest"]
        if position >= len(folders):
            yield Input(name, digest, None, "nobody wrote down where it stood")
            continue
        try:
            found = open_artifact(here / Path(folders[position]).expanduser())
        except (NotFound, Altered) as error:
            yield Input(name, digest, None, error.message)
            continue
        if found.digest != digest:
            yield Input(name, digest, None, f"{found.path} now holds {found.digest[:12]}")
        else:
            yield Input(name, digest, found)


def ancestors(artifact: Artifact, kind: str) -> tuple[list[Artifact], list[Input]]:
    """All of a kind that an artifact was made from, near ones first, and inputs that are gone."""
    found: dict[str, Artifact] = {}
    gone: dict[str, Input] = {}
    waiting = [artifact]
    while waiting:
        for item in inputs_of(waiting.pop(0)):
            if item.artifact is None:
                gone[item.digest] = item
            elif item.artifact.kind == kind:
                found[item.digest] = item.artifact
            else:
                waiting.append(item.artifact)
    return list(found.values()), list(gone.values())


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """What decides which samples a step sees. ``steps`` is None where nobody trained yet."""

    tokens: Artifact
    context: int
    seed: int
    batch: int
    accumulate: int = 1
    steps: int | None = None
    model: str = ""
    skipped: tuple[tuple[int, int], ...] = ()

    @property
    def per_step(self) -> int:
        return self.batch * self.accumulate

    def samples(self) -> Samples:
        return Samples(self.tokens.path, self.context, self.seed)

    def span(self, step: int) -> range:
        """The samples of a step, counted from 1 as in ``training.jsonl``."""
        if step < 1 or (self.steps is not None and step > self.steps):
            told = f"{self.model} was trained for {self.steps:,} steps; " if self.steps else ""
            raise UsageError(f"{told}there is no step {step:,}", hint="steps are counted from 1")
        data_step = shift(step - 1, self.skipped)
        return range(data_step * self.per_step, (data_step + 1) * self.per_step)


def training_of(model: Artifact) -> TrainingOrder:
    """How a model was pre-trained; one tuned or quantised is followed back to where it was.

    Raises :class:`NotFound` if the tokens, or the model between, are gone.
    """
    config = model.config
    if "batch" not in config or not _made_of(model, "tokens"):
        for item in inputs_of(model):
            if item.artifact is not None and item.artifact.kind == "model":
                return training_of(item.artifact)
        raise NotFound(
            f"{model.name} was not pre-trained here, and no model it was made from is",
            hint=f"yoriai lineage {model.path}",
        )
    [tokens] = _made_of(model, "tokens")
    body: dict[str, Any] = json.loads(model.file("config.json").read_bytes())
    return TrainingOrder(
        tokens=tokens,
        context=int(body.get("max_position_embeddings") or body.get("n_positions") or 0),
        seed=int(model.manifest["seed"]),
        batch=int(config["batch"]),
        accumulate=int(config.get("accumulate", 1)),
        steps=int(config["steps"]),
        model=model.name,
        skipped=tuple((a, b) for a, b in model.facts.get("skipped_data_steps", ())),
    )


def trainings_of(model: Artifact) -> list[TrainingOrder]:
    """All pre-trainings in a model's line, the last first; raises as :func:`training_of`.

    A model that was trained on from another one has seen what that one saw. The line ends where a
    model is not here, or began as somebody else's.
    """
    found = [training_of(model)]
    waiting, seen = [model], set[str]()
    while waiting:
        here = waiting.pop(0)
        for item in inputs_of(here):
            if item.artifact is None or item.artifact.kind != "model" or item.digest in seen:
                continue
            seen.add(item.digest)
            waiting.append(item.artifact)
            try:
                training = training_of(item.artifact)
            except NotFound:
                continue
            if training.model not in [one.model for one in found]:
                found.append(training)
    return found


def _made_of(model: Artifact, kind: str) -> list[Artifact]:
    found = list(inputs_of(model))
    here = [i.artifact for i in found if i.artifact is not None and i.artifact.kind == kind]
    gone = [item for item in found if item.artifact is None]
    if not here and gone and model.manifest["step"].endswith("/pretrain"):
        told = "; ".join(f"{item.name}: {item.problem}" for item in gone)
        raise NotFound(
            f"the tokens that {model.name} was trained on are not here ({told})",
            hint="copy the artifact back to where it stood; yoriai lineage shows the place",
        )
    return here
