"""The folder a recipe works in, and the decision what of it can be used again.

::

    build/tour/
        text@1/           a sealed artifact, step@version
        runs/             one file per run, and its metrics
        superseded/       artifacts replaced under --allow-drift, never deleted
        page/, record/    what people read, written anew by each run
        .work/            unfinished steps; survives an interruption
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from yoriai import artifact as artifacts
from yoriai import config, files, reachable_code
from yoriai.artifact import MANIFEST, Artifact, open_artifact
from yoriai.errors import NotFound
from yoriai.recipe import Loaded, PlannedStep
from yoriai.redaction import Redactor

# The keys of a manifest that say what an artifact was made of; equal means "use it again".
ORIGIN = ("step", "config", "code", "seed", "outside", "inputs", "licence")

Action = Literal["reuse", "build", "refused", "waits", "absent"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What will happen with a step, and why."""

    step: str
    entry: str
    action: Action
    folder: Path
    reasons: tuple[str, ...] = ()
    origin: Mapping[str, Any] | None = None
    resumes: bool = False


class Workspace:
    """A recipe's folder."""

    def __init__(self, root: Path, loaded: Loaded, redactor: Redactor) -> None:
        self.root = root
        self.loaded = loaded
        self.redactor = redactor

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    def lock_of(self, step: str) -> Path:
        """What a run that makes one step alone holds, beside its share of the other."""
        return self.root / ".work" / f"{step}.lock"

    def folder(self, step: str) -> Path:
        return self.root / f"{step}@{self.loaded.recipe.version}"

    def work(self, step: str, origin: Mapping[str, Any]) -> Path:
        return self.root / ".work" / f"{step}-{files.digest_json(origin)[:12]}"

    def forget_work(self, step: str) -> None:
        for folder in (self.root / ".work").glob(f"{step}-*"):
            if folder.name.rpartition("-")[0] == step:
                shutil.rmtree(folder, ignore_errors=True)

    def forget_unfinished(self, step: str, origin: Mapping[str, Any]) -> None:
        """Remove what a killed run left of a step that is sealed; other origins keep theirs."""
        shutil.rmtree(self.work(step, origin), ignore_errors=True)

    def origin(self, planned: PlannedStep, inputs: Sequence[Artifact]) -> dict[str, Any]:
        """Everything that decides what the step makes, as plain JSON."""
        objects = list(config.nested(planned.step))
        modules = {type(item).__module__ for item in objects}
        outside = {
            f"{item.entry}#{position}": mark
            for position, item in enumerate(objects)
            if (mark := item.fingerprint())
        }
        return {
            "step": planned.entry,
            "config": self.redactor.value(config.identity(planned.step)),
            "code": reachable_code.code_identities(modules),
            "seed": self.loaded.recipe.seed,
            "outside": self.redactor.value(outside),
            "inputs": [{"name": a.name, "digest": a.digest} for a in inputs],
            "licence": self.redactor.text(self.loaded.recipe.licence),
        }

    def decide(self, planned: PlannedStep, inputs: Sequence[Artifact] | None) -> Decision:
        """Whether a step can be reused, must be built, or is refused (inputs changed)."""
        folder = self.folder(planned.name)
        if inputs is None:
            return Decision(planned.name, planned.entry, "waits", folder)
        origin = self.origin(planned, inputs)
        for candidate in [folder, *sorted(self.root.glob(f"{planned.name}@*"))]:
            reasons = compare(candidate, origin)
            if reasons == ():
                return Decision(planned.name, planned.entry, "reuse", candidate, (), origin)
        if folder.exists():
            reasons = compare(folder, origin) or ()
            return Decision(planned.name, planned.entry, "refused", folder, reasons, origin)
        resumes = self.work(planned.name, origin).exists()
        return Decision(planned.name, planned.entry, "build", folder, (), origin, resumes)

    def decide_all(self) -> list[Decision]:
        """The plan: what each step would do now (steps behind a build wait for it).

        A step whose data is not on this machine is "absent", for the reason given; it is a plan
        all the same.
        """
        decisions: list[Decision] = []
        made: dict[str, Artifact | None] = {}
        for planned in self.loaded.steps:
            inputs = [made.get(name) or _outside(name) for name in planned.inputs]
            blocked = any(name in made and made[name] is None for name in planned.inputs)
            there = None if blocked else [a for a in inputs if a is not None]
            try:
                decision = self.decide(planned, there)
            except NotFound as error:
                folder = self.folder(planned.name)
                decision = Decision(planned.name, planned.entry, "absent", folder, (error.message,))
            decisions.append(decision)
            reused = decision.action == "reuse"
            made[planned.name] = open_artifact(decision.folder) if reused else None
        return decisions


def _outside(name: str) -> Artifact | None:
    return open_artifact(Path(name)) if (Path(name) / MANIFEST).is_file() else None


def compare(folder: Path, origin: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Why the artifact in ``folder`` is not what ``origin`` would make.

    ``()`` means it is the same; ``None`` means there is none.
    """
    if not folder.exists():
        return None
    try:
        found, findings = artifacts.verify(folder, deep=False)
    except NotFound:
        return (f"{folder.name} holds no {MANIFEST}",)
    if findings or found is None:
        return tuple(f"{f.file} {f.problem}" for f in findings)
    old = {key: found.manifest[key] for key in ORIGIN}
    return tuple(_differences(old, {key: origin[key] for key in ORIGIN}))


def _differences(old: Any, new: Any, place: tuple[str | int, ...] = ()) -> list[str]:
    if old == new:
        return []
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = [*old, *(key for key in new if key not in old)]
        return [
            line
            for key in keys
            for line in _differences(old.get(key), new.get(key), (*place, str(key)))
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [
            line
            for index, (a, b) in enumerate(zip(old, new, strict=True))
            for line in _differences(a, b, (*place, index))
        ]
    return [f"{config.dotted(place)}: {_short(old)} is now {_short(new)}"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
