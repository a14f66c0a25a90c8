"""The one LightningModule: next-token loss over windows or masked answers.

Shapes: B batch, S sequence. A batch is described in :mod:`yoriai_train.job.batches`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.strategies import DeepSpeedStrategy

from yoriai_train.job.batches import Batch
from yoriai_train.model.loss import IGNORED, Head
from yoriai_train.settings.optimizer import Optimizer
from yoriai_train.settings.preference import Preference
from yoriai_train.settings.schedule import Schedule


@dataclass(slots=True)
class Told:
    """What a step came to, over all its micro-batches and all ranks."""

    loss: float = 0.0
    tokens: int = 0
    by_source: dict[str, float] = field(default_factory=dict)


class CausalModule(pl.LightningModule):
    """A ``transformers`` causal LM, its optimizer and its learning rate."""

    def __init__(
        self,
        model: Any,
        schedule: Schedule,
        optimizer: Optimizer,
        *,
        steps: int,
        z_loss: float = 0.0,
        chunked: bool = True,
        sources: list[str] | None = None,
        preference: Preference | None = None,
        prepare: Callable[[CausalModule], None] | None = None,
        asked_to_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self.model = model
        self.schedule = schedule
        self.optimizer = optimizer
        self.steps = steps
        self.sources = sources or []
        self.preference = preference
        self.prepare = prepare
        self.asked_to_stop = asked_to_stop
        self.stopping = False  # whether any rank was asked, as of the step that just ended
        self.grad_norm: torch.Tensor | None = None
        self.head = Head(model, z_loss, chunked=chunked)
        self._sums: torch.Tensor | None = None
        self._step_tokens: torch.Tensor | None = None

    def configure_model(self) -> None:
        """Let the strategy cut the model (``Strategy.prepare``)."""
        if self.prepare is not None:
            self.prepare(self)

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        """Sum of the loss over the micro-batch, as a share of all tokens of the step.

        Lightning divides by the micro-batches, and ranks average their gradients; times both,
        what the optimizer sees is the mean over all counted tokens of the whole step, however
        they are spread.
        """
        x_BS, y_BS = batch["input_ids"], batch["targets"]
        inputs = {"position_ids": batch["position_ids"]} if "position_ids" in batch else {}
        if self.preference is None:
            total = self.head.loss(self.model, y_BS, input_ids=x_BS, **inputs)
        else:
            total = self._preferences(self.preference, batch)
        if index % self.trainer.accumulate_grad_batches == 0:
            self._step_tokens = batch["tokens"].clone()
            if self.trainer.world_size > 1:
                torch.distributed.all_reduce(self._step_tokens)
        if self.preference is None:
            self._note(y_BS, batch.get("sources"))
        assert self._step_tokens is not None
        parts = self.trainer.world_size * self.trainer.accumulate_grad_batches
        return total * parts / self._step_tokens.clamp(min=1)

    def _preferences(self, preference: Preference, batch: Batch) -> torch.Tensor:
        """Sum of the losses of the pairs, whose rows stand beside one another."""
        y_BS = batch["targets"]
        losses_BS = self.head.losses(self.model, y_BS, input_ids=batch["input_ids"])
        logps_P2 = -losses_BS.sum(-1).view(-1, 2)
        lengths_P2 = (y_BS != IGNORED).sum(-1).view(-1, 2)
        losses_P, margins_P = preference.of(logps_P2, batch["reference"], lengths_P2)
        pairs_P = batch["pairs"].float()
        losses_P = losses_P * pairs_P
        counts_P, losses = lengths_P2.sum(-1).double(), losses_P.detach().double()
        rows = [(margins_P > 0).double(), margins_P.double(), counts_P, losses]
        sums = torch.stack([(row * pairs_P).sum() for row in rows])
        told = torch.stack([sums, pairs_P.sum().double().expand(4)], dim=-1)
        self._sums = told if self._sums is None else self._sums + told
        return losses_P.sum()

    def _note(self, y_BS: torch.Tensor, sources_B: torch.Tensor | None) -> None:
        """Add losses and counts to the step's sums: one row for each source, and one for all."""
        assert self.head.losses_N is not None
        losses_B = self.head.losses_N.view_as(y_BS).sum(-1, dtype=torch.float64)
        counts_B = (y_BS != IGNORED).sum(-1).double()
        if self._sums is None:
            shape = (len(self.sources) + 1, 2)
            self._sums = torch.zeros(shape, dtype=torch.float64, device=y_BS.device)
        pairs_B2 = torch.stack([losses_B, counts_B], dim=-1)
        if sources_B is not None:
            self._sums[:-1].index_add_(0, sources_B, pairs_B2)
        self._sums[-1] += pairs_B2.sum(0)

    def take(self) -> Told:
        """What the step that just ended came to; called once a step by every rank."""
        assert self._sums is not None
        # One more row, so that all ranks agree at no cost of its own.
        asked = self._sums.new_tensor([[float(self.asked_to_stop()), 0.0]])
        all_sums = torch.cat([self._sums, asked])
        if self.trainer.world_size > 1:
            torch.distributed.all_reduce(all_sums)
        self._sums = None
        *sources, (loss, tokens), (stopping, _) = all_sums.tolist()
        self.stopping = stopping > 0
        return Told(
            loss=loss / max(1.0, tokens),
            tokens=int(tokens),
            by_source={
                name: total / count
                for name, (total, count) in zip(self.sources, sources, strict=True)
                if count
            },
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        scaled = str(self.trainer.precision) == "16-mixed"
        return self.optimizer.build(self, self.schedule.peak, fused=not scaled)

    def configure_gradient_clipping(
        self,
        optimizer: Any,  # noqa: ARG002
        gradient_clip_val: float | None = None,  # noqa: ARG002
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002
    ) -> None:
        """Clip the norm and keep it. DeepSpeed clips by itself."""
        if isinstance(self.trainer.strategy, DeepSpeedStrategy):
            return
        norm = torch.nn.utils.clip_grad_norm_(self.parameters(), self.optimizer.clip)
        self.grad_norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm

    def take_grad_norm(self) -> float | None:
        """The gradient's norm before it was clipped; None where nobody measured it."""
        strategy: Any = self.trainer.strategy
        if isinstance(strategy, DeepSpeedStrategy):
            engine: Any = strategy.model
            norm = engine.get_global_grad_norm()
            return None if norm is None else float(norm)
        return None if self.grad_norm is None else float(self.grad_norm)

    def on_train_batch_start(self, batch: Any, index: int) -> None:  # noqa: ARG002
        rate = self.schedule.rate(self.global_step, self.steps)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate

    def on_train_batch_end(self, outputs: Any, batch: Any, index: int) -> None:  # noqa: ARG002
        """Forget the gradients of a step that ended.

        Lightning does so after the next forward pass (``loops/optimization/automatic.py``,
        ``Closure``), which would hold them beside all its activations.
        """
        ended = (index + 1) % self.trainer.accumulate_grad_batches == 0
        if ended and not isinstance(self.trainer.strategy, DeepSpeedStrategy):
            self.zero_grad(set_to_none=True)
