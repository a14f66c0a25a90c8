"""Losses that learn from pairs of a better and a worse answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from yoriai.strict import Strict

if TYPE_CHECKING:
    import torch


class Preference(Strict):
    """Direct preference optimisation, without a reward model.

    With d = (log p of the chosen answer - its log p under the reference) - the same of the
    rejected one, a pair costs

    * ``dpo``: -log sigmoid(beta d) (Rafailov et al., arXiv 2305.18290, equation 7);
    * ``cdpo``: -(1 - e) log sigmoid(beta d) - e log sigmoid(-beta d), where a share e of the
      preferences is wrong (Mitchell, "A note on DPO with noisy preferences", 2023);
    * ``ipo``: (d - 1 / (2 beta))^2 (Azar et al., arXiv 2310.12036, equation 17), d of log p by
      token, as TRL has it, whose authors asked those of the paper (dpo_trainer.py).
    """

    loss: Literal["dpo", "ipo", "cdpo"] = Field("dpo", description="which of the three")
    beta: float = Field(0.1, gt=0, description="how dear it is to leave the reference")
    wrong: float = Field(0.1, gt=0, lt=0.5, description="share of wrong preferences, of cdpo")

    def of(
        self, logps_P2: torch.Tensor, reference_P2: torch.Tensor, lengths_P2: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and margin (beta d) of each pair; P pairs, the chosen answer first.

        ``lengths_P2`` are the counted tokens of each answer.
        """
        from torch.nn import functional

        ratios_P2 = logps_P2 - reference_P2
        d_P = ratios_P2[:, 0] - ratios_P2[:, 1]
        if self.loss == "ipo":
            by_token_P2 = ratios_P2 / lengths_P2.clamp(min=1)
            distance_P = by_token_P2[:, 0] - by_token_P2[:, 1] - 1 / (2 * self.beta)
            return distance_P.square(), self.beta * d_P.detach()
        wrong = self.wrong if self.loss == "cdpo" else 0.0
        losses_P = -(1 - wrong) * functional.logsigmoid(self.beta * d_P)
        if wrong:
            losses_P = losses_P - wrong * functional.logsigmoid(-self.beta * d_P)
        return losses_P, self.beta * d_P.detach()

    @property
    def untrained(self) -> float:
        """The loss of a model that is the reference: d = 0."""
        return math.log(2) if self.loss != "ipo" else 1 / (2 * self.beta) ** 2
