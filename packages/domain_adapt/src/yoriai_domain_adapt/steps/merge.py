"""``domain-adapt/merge``: one model from the weights of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from yoriai import Job, Made, UsageError, files
from yoriai_domain_adapt.steps.adapting import (
    Adapting,
    empty_folder,
    headline_of,
    measure_both_ways,
    move_into,
)

if TYPE_CHECKING:
    import torch


class Merge(Adapting):
    """Merge models of one shape, a tensor at a time.

    ``linear`` and ``slerp`` take the models as they come. ``task-arithmetic``, ``ties`` and
    ``dare`` take the first model under ``from`` for the base that the others were trained from.
    What was gained and lost is told against the first.
    """

    version: ClassVar[str] = "1"
    measures: ClassVar[tuple[str, ...]] = (
        *Adapting.measures,
        "parameters",
    )

    method: Literal["linear", "slerp", "task-arithmetic", "ties", "dare"] = Field(
        "linear", description="how tensors are merged"
    )
    weights: tuple[float, ...] = Field(
        (), description="one a model (with a base: one a model after it); empty: all equal"
    )
    t: float = Field(0.5, ge=0, le=1, description="slerp: 0 is the first model, 1 the second")
    scale: float = Field(
        1.0, description="with a base: what the merged difference is multiplied by"
    )
    density: float = Field(
        0.5, gt=0, le=1, description="ties, dare: share of each difference that is kept"
    )

    def make(self, job: Job) -> Made:
        from yoriai_domain_adapt.folders.tensors import Weights, check_same_shapes, save_folder

        models = job.all_of("model")
        based = self.method not in ("linear", "slerp")
        if len(models) < 2 or (self.method == "slerp" and len(models) != 2):
            wanted = "two models" if self.method == "slerp" else "at least two models"
            raise UsageError(
                f"{self.method} merges {wanted}, 'from' gives {len(models)}",
                hint="from: [BASE, ONE, OTHER]" if based else "from: [ONE, OTHER]",
            )
        count = len(models) - based
        weights = self.weights or (1.0,) * count
        if len(weights) != count and self.method != "slerp":
            raise UsageError(f"weights: {len(weights)} for {count} models to be merged")
        if self.method == "linear" and not sum(weights):
            raise UsageError("weights sum to zero: there is no mean")
        opened = [Weights(model.path) for model in models]
        check_same_shapes(opened, [model.name for model in models])
        _check_tokenizers(models)

        def change(name: str, tensor: torch.Tensor) -> torch.Tensor:
            rest = [other.read(name) for other in opened[1:]]
            return self._merged(name, tensor, rest, weights, job.seed).to(tensor.dtype)

        target = empty_folder(job.scratch / "model")
        save_folder(opened[0], target, change)
        move_into(target, job.out)
        facts = {
            **measure_both_ways(self, job, models[0]),
            "method": self.method,
            "merged": [{"name": model.name, "digest": model.digest} for model in models],
            "parameters": opened[0].parameters,
        }
        names = " and ".join(model.step for model in models)
        return Made(facts=facts, headline=[f"{self.method} of {names}", *headline_of(facts)])

    def _merged(
        self,
        name: str,
        first: torch.Tensor,
        rest: list[torch.Tensor],
        weights: tuple[float, ...],
        seed: int,
    ) -> torch.Tensor:
        import torch

        from yoriai_domain_adapt.arithmetic import merging

        if not first.is_floating_point():
            return first
        if self.method == "linear":
            return merging.linear([first, *rest], weights)
        if self.method == "slerp":
            return merging.slerp(first, rest[0], self.t)
        if self.method == "task-arithmetic":
            return merging.task_arithmetic(first, rest, weights, self.scale)
        if self.method == "ties":
            return merging.ties(first, rest, weights, self.scale, self.density)
        # Each tensor's draws follow from its name: files may be read in any order.
        number = int(files.digest_bytes(f"{seed} {name}".encode())[:15], 16)
        generator = torch.Generator().manual_seed(number)
        return merging.dare(first, rest, weights, self.scale, self.density, generator)


def _check_tokenizers(models: list[Any]) -> None:
    digests: dict[str, str] = {}
    for model in models:
        names = model.manifest["files"]
        if "tokenizer.json" in names:
            digests.setdefault(names["tokenizer.json"]["sha256"], model.name)
    if len(digests) > 1:
        one, other = list(digests.values())[:2]
        raise UsageError(
            f"{one} and {other} have different tokenizers: their rows mean different pieces",
            hint="merge models of one tokenizer (domain-adapt/vocab moves a model to another)",
        )
