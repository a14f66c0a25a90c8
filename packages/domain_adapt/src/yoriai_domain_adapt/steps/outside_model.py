"""``domain-adapt/outside-model``: a model that somebody else made, sealed for a recipe."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Job, Made, NotFound, Step, UsageError, console, files
from yoriai.artifact import check_folder
from yoriai.model_folder import AS_DATA, opening
from yoriai_domain_adapt.steps.adapting import context_in

NOTE = "weights of another maker: what they were trained on is not known here"


class OutsideModel(Step):
    """Copy a Hugging Face folder from elsewhere as data, with its origin and licence.

    Weights, configuration and tokenizer are taken; pickles and code are left, and named. A model
    whose tokenizer has more pieces than its embedding has rows is refused, and one whose weights
    hold NaN or infinity. What is adapted from it carries the licence and the address that stand
    here.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "model"
    takes: ClassVar[tuple[str, ...]] = ()
    circumstances: ClassVar[tuple[str, ...]] = ("path",)

    path: str = Field(
        min_length=1, description="the Hugging Face folder; $NAME is a variable of the environment"
    )
    name: str = Field(min_length=1, description="what the model is called where it was published")
    licence: str = Field(min_length=1, description="its licence, as its makers state it")
    url: str = Field("", description="where it was published")
    languages: tuple[str, ...] = Field((), description="languages that its makers name")

    @property
    def folder(self) -> Path:
        place = os.path.expandvars(self.path)
        if place.startswith("$"):
            raise NotFound(
                f"path: {self.path}: the variable is not set",
                hint=f"export {place[1:].partition('/')[0].strip('{}')}=FOLDER",
            )
        return Path(place).expanduser()

    def expect(self, inputs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        """Context, pieces and place of the folder, where it is there."""
        if not (self.folder / "config.json").is_file():
            return {}
        from yoriai_domain_adapt.folders.tensors import read_config

        size = read_config(self.folder).get("vocab_size")
        told = {"tokenizer": str(self.folder), **context_in(self.folder)}
        return told | ({"vocabulary_size": int(size)} if size else {})

    def fingerprint(self) -> str:
        from yoriai_domain_adapt.folders.tensors import weight_files

        found = [*weight_files(self.folder), *self._companions()]
        return files.digest_json({path.name: files.digest_file(path) for path in found})

    def run(self, job: Job) -> Made:
        import shutil

        from yoriai_domain_adapt.folders import tensors, vocabulary
        from yoriai_domain_adapt.steps.vocab import embedding_names

        check_folder(self.folder)
        weights = tensors.Weights(self.folder)
        with opening(self.folder):
            from transformers import AutoConfig

            AutoConfig.from_pretrained(self.folder, **AS_DATA)
            names = embedding_names(weights, vocabulary.read_tokenizer(self.folder), self.name)
        for name in job.progress(weights.outlines, "look at", len(weights.outlines)):
            weights.read(name)  # NaN is refused
        taken = [*weights.files, *self._companions()]
        for path in job.progress(taken, "copy", len(taken)):
            try:
                shutil.copyfile(path, job.out / path.name)
            except OSError as error:
                raise files.disk_error(job.out / path.name, error) from error
            (job.out / path.name).chmod(0o644)
        left = sorted(
            p.name for p in self.folder.iterdir() if not (job.out / p.name).exists()
        )  # fmt: skip
        if left:
            console.note(f"step {job.name!r}: left behind: {', '.join(left)}")
        facts: dict[str, Any] = {
            "parameters": weights.parameters,
            "pieces": weights.outlines[names[0]].shape[0],
            "dtypes": sorted({outline.dtype for outline in weights.outlines.values()}),
            "left_behind": left,
        }
        source = {
            "name": self.name, "licence": self.licence, "languages": list(self.languages),
            "url": self.url, "version": "", "note": NOTE,
        }  # fmt: skip
        return Made(
            facts=facts,
            headline=[f"{self.name}: {weights.parameters:,} parameters ({self.licence})"],
            sources=[source],
        )

    def _companions(self) -> list[Path]:
        from yoriai_domain_adapt.folders.tensors import COPIED

        if not (self.folder / "config.json").is_file():
            raise UsageError(
                f"path: {self.path} is no Hugging Face folder: it has no config.json",
                hint="download one: huggingface-cli download NAME --local-dir FOLDER",
            )
        found = {self.folder / "config.json"}
        for pattern in (*COPIED, "README.md"):
            found |= {path for path in self.folder.glob(pattern) if path.is_file()}
        kept = {path for path in found if path.suffix not in (".py", ".bin", ".pt", ".pkl")}
        return sorted(kept, key=lambda path: path.name)
