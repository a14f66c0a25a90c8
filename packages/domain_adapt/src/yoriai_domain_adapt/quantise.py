"""``domain-adapt/quantise``: the same model in fewer bits."""

from __future__ import annotations

import shutil
from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Job, Made, Step, UsageError


class Quantise(Step):
    """Round the weights of linear layers to integers, 8 bits a row or 4 bits a group.

    The result is a ``compressed-tensors`` folder that transformers and vLLM load as it is.
    Score it beside the original with ``eval/run``: that is where the loss shows.
    """

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "model"
    takes: ClassVar[tuple[str, ...]] = ("model",)

    bits: Literal[4, 8] = Field(8, description="bits of a weight")
    group_size: Literal[32, 64, 128] = Field(32, description="4 bits: weights that share a scale")

    def run(self, job: Job) -> Made:
        from yoriai_domain_adapt.rounding import quantise_folder

        source = job.one("model")
        target = job.scratch / "model"
        if target.exists():
            shutil.rmtree(target)
        try:
            facts = quantise_folder(source.path, target, bits=self.bits, group_size=self.group_size)
        except ValueError as error:
            raise UsageError(f"{source.name}: {error}") from error
        for path in sorted(target.iterdir()):
            path.replace(job.out / path.name)
        layers = facts.pop("layers")
        worst = max(layers, key=lambda name: layers[name]["mean_error"])
        facts = {
            **facts,
            "bits": self.bits,
            "worst_layer": worst,
            "worst_layer_mean_error": layers[worst]["mean_error"],
        }
        before, after = facts["bytes_before"] / 1e6, facts["bytes_after"] / 1e6
        return Made(
            facts=facts,
            headline=[
                f"{self.bits} bits: {before:.2f} MB became {after:.2f} MB"
                f" ({facts['parameters_quantised']:,} weights rounded)"
            ],
        )
