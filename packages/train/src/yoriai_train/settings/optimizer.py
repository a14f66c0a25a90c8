"""AdamW as the published runs use it: which parameters decay, and how it is built."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pydantic import Field

from yoriai.strict import Strict

if TYPE_CHECKING:
    import torch

# Token and position embeddings in the models of ``transformers``: Llama, GPT-2, GPT-NeoX.
_EMBEDDING = re.compile(r"(^|\.)(embed_tokens|embed_in|wte|wpe)\.weight$")


class Optimizer(Strict):
    """AdamW (arXiv 1711.05101) with the constants of GPT-3 (arXiv 2005.14165, appendix B).

    Epsilon is 1e-8. Llama 2 has 1e-5; LLM-jp-3 172B exp1 copied that and lost 1.4 trillion tokens
    (llmc.nii.ac.jp, topic llm-jp-3-172b-alpha1-alpha2).
    """

    beta1: float = Field(0.9, ge=0, lt=1, description="Adam: memory of the gradient")
    beta2: float = Field(0.95, ge=0, lt=1, description="Adam: memory of its square")
    epsilon: float = Field(1e-8, gt=0, description="Adam: added to the denominator")
    weight_decay: float = Field(0.1, ge=0, description="decay of matrices, times the rate")
    decay_embeddings: bool = Field(True, description="embeddings decay too")
    clip: float = Field(1.0, gt=0, description="largest norm of the whole gradient")

    def decays(self, name: str, dimensions: int) -> bool:
        """Whether a parameter decays: matrices do; norms, biases and other vectors do not.

        Megatron-LM's rule, embeddings included (NVIDIA/Megatron-LM: megatron/core/optimizer/
        __init__.py excludes parameters of one dimension and biases, nothing else); GPT-3 gives
        the 0.1 and no exception.
        """
        if dimensions < 2 or name.endswith(".bias"):
            return False
        return self.decay_embeddings or not _EMBEDDING.search(name)

    def groups(
        self, named_parameters: Iterable[tuple[str, torch.nn.Parameter]]
    ) -> list[dict[str, Any]]:
        """Parameter groups: first what decays, then the rest; frozen parameters are left out.

        Order within a group is that of ``named_parameters``, which checkpoints rely on. A group
        without parameters is not made.
        """
        decayed: list[torch.nn.Parameter] = []
        others: list[torch.nn.Parameter] = []
        for name, parameter in named_parameters:
            if parameter.requires_grad:
                # ZeRO-3 leaves an empty vector in place; ``ds_shape`` is what stood there.
                shape = getattr(parameter, "ds_shape", parameter.shape)
                (decayed if self.decays(name, len(shape)) else others).append(parameter)
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def build(
        self, model: torch.nn.Module, rate: float, *, fused: bool = True
    ) -> torch.optim.AdamW:
        """AdamW over the parameters of ``model`` at learning rate ``rate``, one fused kernel.

        Clipping is the trainer's task. With loss scaling (16-mixed) not fused: the fused kernel
        unscales inside its step, so what is clipped before would still be scaled.
        """
        import torch

        return torch.optim.AdamW(
            self.groups(model.named_parameters()),
            lr=rate,
            betas=(self.beta1, self.beta2),
            eps=self.epsilon,
            fused=fused,
        )
