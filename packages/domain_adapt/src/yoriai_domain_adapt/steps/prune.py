"""``domain-adapt/prune``: weights, or whole layers, that a model can do without."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from yoriai import Job, Made, UsageError
from yoriai_domain_adapt.steps.adapting import (
    Adapting,
    empty_folder,
    headline_of,
    measure_both_ways,
    move_into,
)

if TYPE_CHECKING:
    import torch

    from yoriai_domain_adapt.folders.layers import Layers
    from yoriai_domain_adapt.folders.tensors import Weights


class Prune(Adapting):
    """Set weights of linear layers to zero, or leave out decoder blocks.

    ``magnitude`` needs no data and one tensor of memory; ``wanda`` and ``sparsegpt`` read some
    text (a ``tokens`` artifact under ``from``). A sparse model is as large as before: its zeros
    are for hardware that skips them (2:4) or for compression. ``drop_layers`` makes it smaller;
    it can be combined with a method, or stand alone (``share: 0``).
    """

    version: ClassVar[str] = "1"
    measures: ClassVar[tuple[str, ...]] = (
        *Adapting.measures,
        "zeros",
        "parameters_before",
        "parameters",
    )

    method: Literal["magnitude", "wanda", "sparsegpt"] = Field(
        "magnitude", description="which weights go"
    )
    share: float = Field(0.5, ge=0, lt=1, description="share of each layer's weights that go")
    pattern: Literal["any", "2:4"] = Field(
        "any", description="anywhere, or two of each four neighbours (share is 0.5 then)"
    )
    drop_layers: tuple[int, ...] = Field((), description="decoder blocks to leave out, from 0 on")
    samples: int = Field(64, ge=1, description="windows of text that wanda and sparsegpt read")
    length: int = Field(512, ge=8, le=10**8, description="tokens of a window")

    def make(self, job: Job) -> Made:
        from yoriai_domain_adapt.folders.layers import find_layers
        from yoriai_domain_adapt.folders.tensors import Weights

        source = job.one("model")
        weights = Weights(source.path)
        if self.pattern == "2:4" and self.share != 0.5:
            raise UsageError("2:4 drops half of the weights", hint="share: 0.5")
        if not (self.share or self.drop_layers):
            raise UsageError("there is nothing to prune: share is 0 and drop_layers empty")
        found = find_layers(source.path)
        pruned = self._calibrated(job, weights, found) if self._reads_text(job) else {}
        config, names = drop_blocks(weights, self.drop_layers)
        target = empty_folder(job.scratch / "model")
        zeros = self._write(weights, found, pruned, config, names, target)
        move_into(target, job.out)
        facts = {
            **measure_both_ways(self, job, source),
            "method": self.method if self.share else "",
            "pattern": self.pattern,
            "zeros": zeros,
            "layers_dropped": sorted(self.drop_layers),
            "parameters_before": weights.parameters,
            "parameters": Weights(job.out).parameters,
        }
        told = f"{zeros:,} weights set to zero" if self.share else ""
        lost = f"{len(self.drop_layers)} layers left out" if self.drop_layers else ""
        return Made(
            facts=facts, headline=[", ".join(filter(None, (told, lost))), *headline_of(facts)]
        )

    def _reads_text(self, job: Job) -> bool:
        if self.method == "magnitude" or not self.share:
            return False
        if not job.all_of("tokens"):
            raise UsageError(
                f"{self.method} reads text, and no tokens are under 'from'",
                hint="name a tokens step under 'from', or method: magnitude",
            )
        return True

    def _calibrated(self, job: Job, weights: Weights, found: Layers) -> dict[str, torch.Tensor]:
        """The pruned matrices by layer. A layer sees the pruned ones below it."""
        import torch

        from yoriai_domain_adapt.arithmetic import sparsity
        from yoriai_domain_adapt.folders import calibration
        from yoriai_domain_adapt.folders.layers import matrix, open_model
        from yoriai_domain_adapt.folders.tensors import vocabulary_size

        limit = int(weights.config.get("max_position_embeddings") or self.length)
        ids = calibration.windows(
            job.one("tokens"), self.samples, min(self.length, limit), job.seed,
            vocabulary_size(weights),
        )  # fmt: skip
        done: dict[str, torch.Tensor] = {}

        def change(place: str, block: Any, inputs: dict[str, calibration.Inputs]) -> None:
            modules = dict(block.named_modules())
            for layer in [n for n in found.rows if n.startswith(f"{place}.")]:
                module = modules[layer.removeprefix(f"{place}.")]
                weight = matrix(module.weight.data, layer, found)
                if self.method == "wanda":
                    score = sparsity.wanda_score(weight, inputs[layer].squares)
                    new = self._masked(weight, score, layer, True)
                else:
                    self._check_fours(weight, layer)
                    moment, fours = inputs[layer].moment, self.pattern == "2:4"
                    new = sparsity.sparse_gpt(weight, moment, self.share, two_of_four=fours)
                module.weight.data = matrix(new, layer, found)
                stored = found.stored(layer, weights)
                dtype = getattr(torch, weights.outlines[stored].dtype)
                done[stored] = module.weight.data.to(dtype)

        blocks = calibration.block_by_block(
            open_model(weights.folder), ids, change, products=self.method != "wanda"
        )
        for _ in job.progress(blocks, "blocks"):
            pass
        return done

    def _check_fours(self, weight: torch.Tensor, layer: str) -> None:
        if self.pattern == "2:4" and weight.shape[1] % 4:
            raise UsageError(
                f"{layer} has rows of {weight.shape[1]}, no multiple of 4", hint="pattern: any"
            )

    def _masked(
        self, weight: torch.Tensor, score: torch.Tensor, layer: str, by_row: bool
    ) -> torch.Tensor:
        import torch

        from yoriai_domain_adapt.arithmetic import sparsity

        self._check_fours(weight, layer)
        if self.pattern == "2:4":
            mask = sparsity.mask_two_of_four(score)
        else:
            mask = sparsity.mask_smallest(score, self.share, by_row=by_row)
        return torch.where(mask, torch.zeros_like(weight), weight)

    def _write(
        self,
        weights: Weights,
        found: Layers,
        pruned: dict[str, torch.Tensor],
        config: dict[str, Any],
        names: dict[str, str | None],
        target: Any,
    ) -> int:
        from yoriai_domain_adapt.folders.layers import matrix
        from yoriai_domain_adapt.folders.tensors import save_folder

        layers = {found.stored(layer, weights): layer for layer in found.rows}
        zeros = 0

        def change(name: str, tensor: torch.Tensor) -> torch.Tensor:
            nonlocal zeros
            if name not in layers or not self.share:
                return tensor
            if name in pruned:
                tensor = pruned[name]
            elif self.method == "magnitude":
                layer = layers[name]
                weight = matrix(tensor, layer, found)
                tensor = matrix(
                    self._masked(weight, weight.float().abs(), layer, False), layer, found
                )
            zeros += int((tensor == 0).sum())
            return tensor

        gone = [name for name, new in names.items() if new is None]
        moved = {name: new for name, new in names.items() if new is not None}
        save_folder(weights, target, change, drop=gone, rename=moved, config=config)
        return zeros


def drop_blocks(
    weights: Weights, dropped: tuple[int, ...]
) -> tuple[dict[str, Any], dict[str, str | None]]:
    """The configuration without some blocks, and the new name of each tensor that moves.

    None for a tensor that goes. Raises :class:`yoriai.UsageError` for a block that is not there,
    or if none would be left.
    """
    from yoriai_domain_adapt.folders.layers import block_count, blocks_of, outline

    config: dict[str, Any] = dict(weights.config)
    if not dropped:
        return config, {}
    count = block_count(config)
    if bad := [number for number in dropped if not 0 <= number < count]:
        raise UsageError(
            f"drop_layers: there is no layer {bad[0]}", hint=f"the layers are 0 to {count - 1}"
        )
    kept = [number for number in range(count) if number not in dropped]
    if not kept:
        raise UsageError("drop_layers: no layer would be left")
    place, _ = blocks_of(outline(weights.folder))
    short = place.rpartition(".")[2]
    pattern = re.compile(rf"^(.*?\b{re.escape(short)}\.)(\d+)(\..*)$")
    names: dict[str, str | None] = {}
    for name in weights.outlines:
        if found := pattern.match(name):
            old = int(found[2])
            new = f"{found[1]}{kept.index(old)}{found[3]}" if old in kept else None
            if new != name:
                names[name] = new
    for key in ("num_hidden_layers", "n_layer", "num_layers", "n_layers"):
        if key in config:
            config[key] = len(kept)
    if isinstance(config.get("layer_types"), list):
        config["layer_types"] = [config["layer_types"][number] for number in kept]
    return config, names
