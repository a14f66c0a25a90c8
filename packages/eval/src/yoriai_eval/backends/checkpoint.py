"""``eval/checkpoint``: a training checkpoint, opened as the Hugging Face folder that it holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from yoriai import Altered, LanguageModel, NotFound, files
from yoriai_eval.backends.huggingface import HuggingFace

STEP = re.compile(r"step-(\d+)")
DIGESTS = "digests.json"


class TrainingCheckpoint(HuggingFace):
    """One checkpoint of a training step, with the keys of ``eval/hf``.

    Opens ``checkpoints/step-NNNNNNN/model`` under an artifact or a folder of a run, after
    comparing its files with ``digests.json`` (file to sha256) where there is one.
    """

    step: int | Literal["last"] = Field("last", description="step of training, or last")

    def open(self, folder: Path) -> LanguageModel:
        step, place = find(folder, self.step)
        verify(place)
        return _Told(super().open(place), step)


class _Told:
    """A model that also says from which step it is; all else is the model's own."""

    def __init__(self, model: LanguageModel, step: int) -> None:
        self._model = model
        self._step = step

    def describe(self) -> dict[str, Any]:
        return {**self._model.describe(), "checkpoint": self._step}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def find(folder: Path, step: int | Literal["last"]) -> tuple[int, Path]:
    """The step and the folder of its model; raises :class:`yoriai.NotFound` with what is there."""
    root = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    found: dict[int, Path] = {}
    if root.is_dir():
        for place in sorted(root.iterdir()):
            match = STEP.fullmatch(place.name)
            if match and (place / "model" / "config.json").is_file():
                found[int(match[1])] = place / "model"
    if not found:
        there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        raise NotFound(
            f"{folder.name} holds no checkpoints/step-*/model; it holds "
            + (", ".join(there[:12]) + (" …" if len(there) > 12 else "") or "nothing"),
            hint="a plain Hugging Face folder opens with: backend: eval/hf",
        )
    wanted = max(found) if step == "last" else step
    if wanted not in found:
        raise NotFound(
            f"{folder.name} has no checkpoint of step {wanted}",
            hint=f"steps that it has: {', '.join(map(str, sorted(found)))}",
        )
    return wanted, found[wanted]


def verify(model: Path) -> None:
    """Compare a checkpoint's model files with ``digests.json``, in ``model/`` or beside it.

    Raises :class:`yoriai.errors.Altered` with the first file that is missing or has other bytes.
    """
    for home in (model, model.parent):
        if not (home / DIGESTS).is_file():
            continue
        try:
            digests = json.loads((home / DIGESTS).read_bytes())
        except ValueError as error:
            raise _altered(home / DIGESTS, "cannot be read") from error
        if not isinstance(digests, dict):
            raise _altered(home / DIGESTS, "is no mapping of files to sha256")
        for name, digest in sorted(digests.items()):
            path = home / name
            if model not in path.parents:
                continue  # optimizer state and the like: large, and not opened here
            if not path.is_file():
                raise _altered(path, "is missing")
            if files.digest_file(path) != digest:
                raise _altered(path, "is not what training wrote")


def _altered(path: Path, what: str) -> Altered:
    step = next((p.name for p in path.parents if STEP.fullmatch(p.name)), "")
    return Altered(
        f"{path.name} of checkpoint {step} {what}",
        hint="take another checkpoint with: step: NUMBER",
    )
