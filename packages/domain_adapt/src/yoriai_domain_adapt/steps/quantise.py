"""``domain-adapt/quantise``: the same model in fewer bits."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from yoriai import Job, Made, UsageError
from yoriai_domain_adapt.steps.adapting import (
    Adapting,
    empty_folder,
    headline_of,
    measure_both_ways,
    move_into,
)


class Quantise(Adapting):
    """Round the weights of linear layers to integers, 8 bits a row or 4 bits a group.

    The result is a ``compressed-tensors`` folder that transformers and vLLM load as it is. ``rtn``
    rounds to the nearest and needs no data; the other methods read some text (a ``tokens``
    artifact under ``from``). ``smoothquant`` rounds activations, too (W8A8).
    """

    version: ClassVar[str] = "2"
    measures: ClassVar[tuple[str, ...]] = (
        *Adapting.measures,
        "parameters_quantised",
        "parameters_kept",
        "bits",
        "worst_layer_mean_error",
    )

    method: Literal["rtn", "gptq", "awq", "smoothquant"] = Field(
        "rtn", description="how integers are chosen"
    )
    bits: Literal[4, 8] = Field(8, description="bits of a weight")
    group_size: Literal[32, 64, 128] = Field(32, description="4 bits: weights that share a scale")
    keep: tuple[str, ...] = Field(
        (), description="layers that stay as they are, by the end of their names: [down_proj]"
    )
    samples: int = Field(64, ge=1, description="windows of text that a calibrated method reads")
    length: int = Field(512, ge=8, le=10**8, description="tokens of a window")
    strength: float = Field(
        0.5, ge=0, le=1, description="smoothquant: how much is moved from activations to weights"
    )

    def make(self, job: Job) -> Made:
        from yoriai_domain_adapt.folders import calibrated, calibration
        from yoriai_domain_adapt.folders.quantised import Prepared, quantise_folder
        from yoriai_domain_adapt.folders.tensors import Weights, vocabulary_size

        source = job.one("model")
        if self.method == "smoothquant" and self.bits != 8:
            raise UsageError("smoothquant is W8A8: 8-bit weights", hint="bits: 8")
        if self.method != "rtn" and not job.all_of("tokens"):
            raise UsageError(
                f"{self.method} reads text, and no tokens are under 'from'",
                hint="name a tokens step under 'from', or method: rtn",
            )
        target = empty_folder(job.scratch / "model")
        prepare = None
        if self.method != "rtn":
            weights = Weights(source.path)
            limit = int(weights.config.get("max_position_embeddings") or self.length)
            length = min(self.length, limit)
            size = vocabulary_size(weights)
            ids = calibration.windows(job.one("tokens"), self.samples, length, job.seed, size)

            def prepare(found, group) -> Prepared:  # type: ignore[no-untyped-def]
                return calibrated.prepare(
                    weights, found, group, method=self.method, bits=self.bits, ids=ids,
                    strength=self.strength, watch=lambda s: job.progress(s, "blocks"),
                )  # fmt: skip

        try:
            facts = quantise_folder(
                source.path,
                target,
                bits=self.bits,
                group_size=self.group_size,
                activations=self.method == "smoothquant",
                keep=self.keep,
                prepare=prepare,
            )
        except (ValueError, UsageError) as error:
            hint = error.hint if isinstance(error, UsageError) else ""
            raise UsageError(f"{source.name}: {error}", hint=hint) from error
        move_into(target, job.out)
        layers = facts.pop("layers")
        worst = max(layers, key=lambda name: layers[name]["mean_error"])
        facts = {
            **measure_both_ways(self, job, source),
            **facts,
            "method": self.method,
            "bits": self.bits,
            "worst_layer": worst,
            "worst_layer_mean_error": layers[worst]["mean_error"],
        }
        before, after = facts["bytes_before"] / 1e6, facts["bytes_after"] / 1e6
        told = [
            f"{self.bits} bits ({self.method}): {before:.2f} MB became {after:.2f} MB"
            f" ({facts['parameters_quantised']:,} weights rounded)"
        ]
        if facts["format"] == "dense":
            told.append("its layers are Conv1D: rounded, but stored in the dtype they had")
        if facts["kept_layers"]:
            told.append(
                f"{len(facts['kept_layers'])} layers were left as they are: {', '.join(self.keep)}"
            )
        if facts["kept_experts"]:
            told.append(f"{len(facts['kept_experts'])} blocks of experts were left as they are")
        return Made(facts=facts, headline=[*told, *headline_of(facts)])
