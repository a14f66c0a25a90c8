"""Checkpoints on disk: whole or not there, checked before use, kept by a policy.

::

    <scratch>/
        step-0000200/
            checkpoint.json     step, strategy, world size, data position, digests of all files
            state | state/      what the strategy wrote: weights, optimizer, loops
            model/              the weights as a plain Hugging Face folder, fp32
        part-0000220/           one that is being written, or was when the process died
        harmed-0000180/         one whose files are not what was written

A checkpoint is written under the name ``part-…``, made durable, and renamed. Nothing here needs
torch, so the process that starts a job can choose what it goes on from.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from yoriai import UsageError, files
from yoriai.strict import Strict

ABOUT = "checkpoint.json"


class Policy(Strict):
    """When checkpoints are written, and which are kept."""

    every_steps: int = Field(50, ge=1, description="steps between checkpoints")
    keep_last: int = Field(2, ge=1, description="newest checkpoints kept while training")
    early: bool = Field(
        False,
        description="keep the weights of steps 1, 2, 4, 8 and so on with the model: what training"
        " data did to it is best seen there",
    )
    keep_every_steps: int = Field(
        0, ge=0, description="keep the weights of every so many steps with the model; 0: none"
    )
    keep_states: bool = Field(
        False,
        description="keep optimizer and position in the data too, of those steps and of the last:"
        " other runs can branch off there",
    )

    def writes(self, step: int, steps: int) -> bool:
        """Whether there is a checkpoint after this step.

        The last needs none, as it is the model, unless its state is to be kept.
        """
        if step == steps:
            return self.keep_states
        return step % self.every_steps == 0 or self.keeps(step)

    def keeps(self, step: int) -> bool:
        """Whether this step's weights stay with the finished model."""
        if self.early and step & (step - 1) == 0:
            return True
        return bool(self.keep_every_steps) and step % self.keep_every_steps == 0


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One that is whole."""

    path: Path
    about: dict[str, Any]

    @property
    def step(self) -> int:
        return int(self.about["step"])

    @property
    def state(self) -> Path:
        return self.path / "state"

    @property
    def model(self) -> Path:
        """The weights as a Hugging Face folder."""
        return self.path / "model"


def part(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step is written before it is whole."""
    return folder / f"part-{step:07d}"


def seal(folder: Path, step: int, about: dict[str, Any]) -> Path:
    """Give a written checkpoint its digests and its name. Raises ``OSError`` on disk trouble."""
    begun = part(folder, step)
    digests = {name: files.digest_file(begun / name) for name in _names(begun)}
    told = {**about, "step": step, "files": digests}
    files.write_atomically(begun / ABOUT, files.canonical_json(told))
    files.fsync_tree(begun)
    whole = folder / f"step-{step:07d}"
    remove(whole)
    begun.rename(whole)
    files.fsync_directory(folder)
    return whole


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is what was written, and what was wrong with newer ones.

    A harmed one is put aside, never deleted and never used.
    """
    problems: list[str] = []
    for path in sorted(folder.glob("step-*"), reverse=True):
        problem, about = _check(path)
        if not problem:
            return Checkpoint(path, about), problems
        aside = folder / path.name.replace("step-", "harmed-")
        remove(aside)
        path.rename(aside)
        problems.append(f"{path.name}: {problem}; put aside as {aside.name}")
    return None, problems


def _check(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        about: dict[str, Any] = json.loads((path / ABOUT).read_bytes())
        digests = about["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"{ABOUT} cannot be read", {}
    present = set(_names(path)) - {ABOUT}
    if missing := sorted(set(digests) - present):
        return f"{missing[0]} is missing", {}
    for name in sorted(digests):
        if files.digest_file(path / name) != digests[name]:
            return f"{name} was changed", {}
    return "", about


def _names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def prune(folder: Path, policy: Policy) -> None:
    """Delete what the policy does not keep: of old ones the state, and the weights if unkept."""
    for old in sorted(folder.glob("step-*"))[: -policy.keep_last]:
        step = int(old.name.partition("-")[2])
        if policy.keep_states and policy.keeps(step):
            continue
        if policy.keeps(step) and (old / "model").is_dir():
            kept = folder / f"kept-{step:07d}"
            remove(kept)
            (old / "model").rename(kept)
        remove(old)


def kept(folder: Path, policy: Policy) -> Iterable[tuple[int, Path]]:
    """(step, Hugging Face folder) of all that stay with the finished model, in order."""
    found = {int(p.name.partition("-")[2]): p for p in folder.glob("kept-*")}
    for path in folder.glob("step-*"):
        step = int(path.name.partition("-")[2])
        if policy.keeps(step) and (path / "model").is_dir():
            found[step] = path / "model"
    return sorted(found.items())


def kept_states(folder: Path, policy: Policy, steps: int) -> Iterable[tuple[int, Path]]:
    """(step, whole checkpoint) of all from which other runs can branch off, in order."""
    if not policy.keep_states:
        return []
    found = {int(p.name.partition("-")[2]): p for p in folder.glob("step-*")}
    return sorted((n, path) for n, path in found.items() if policy.keeps(n) or n == steps)


def read(path: Path) -> Checkpoint:
    """One that was checked before."""
    return Checkpoint(path, json.loads((path / ABOUT).read_bytes()))


def branch_point(model: Path, step: int) -> Checkpoint:
    """The state of a step that was kept with a finished model. Raises ``UsageError``."""
    held = model / "checkpoints"
    path = held / f"step-{step:07d}"
    problem, about = _check(path)
    if not problem:
        return Checkpoint(path, about)
    there = [int(p.parent.name.partition("-")[2]) for p in sorted(held.glob(f"step-*/{ABOUT}"))]
    if step in there:
        raise UsageError(f"{model.name}, step {step}: {problem}", hint="make that model again")
    raise UsageError(
        f"{model.name} keeps no state of step {step}: "
        + (f"there are those of {', '.join(map(str, there))}" if there else "it keeps none"),
        hint="train it with checkpoint.keep_states, and keep_every_steps for more than the last",
    )


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    elif path.exists():
        path.unlink()
