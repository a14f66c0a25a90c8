"""Writing with less bias: what a model finds likelier where a bias is described is made unlikely.

Self-debiasing (Schick, Udupa and Schütze 2021, arXiv 2103.00453): p'(w) is proportional to
p(w | x) · max(0.01, exp(decay · d)) where d = p(w | x) - p(w | description, x) is negative, and to
p(w | x) elsewhere. Imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

DECAY, LEAST = 50.0, 0.01  # of the authors' published runs


def debiased(plain: torch.Tensor, described: torch.Tensor, decay: float = DECAY) -> torch.Tensor:
    """Probabilities of next ids, (..., vocabulary), from those without and with a description."""
    factor = (decay * (plain - described).clamp(max=0)).exp().clamp(min=LEAST)
    scaled = plain * factor
    return scaled / scaled.sum(-1, keepdim=True)


def log_probabilities(
    model: Any, plain: Sequence[int], described: Sequence[int], decay: float = DECAY
) -> torch.Tensor:
    """Natural-log p' of each id of ``plain`` after the first, (ids - 1,).

    ``described`` are the ids of a mark, a description and the same ids after the mark.
    """
    count = len(plain) - 1
    with torch.inference_mode():
        before, after = (
            model(input_ids=torch.tensor([list(ids)[:-1]], device=model.device), use_cache=False)
            .logits[0, -count:]
            .float()
            .softmax(-1)
            for ids in (plain, described)
        )
        right = torch.tensor(list(plain[1:]), device=model.device)[:, None]
        return debiased(before, after, decay).gather(1, right)[:, 0].clamp_min(1e-30).log().cpu()


def write_samples(
    model: Any,
    prefix: Sequence[int],
    count: int,
    times: int,
    *,
    seed: int,
    described: Sequence[int] = (),
    decay: float = DECAY,
) -> tuple[list[list[int]], list[float]]:
    """``times`` continuations of ``count`` ids, drawn by ``seed``; no mark ends one.

    ``described`` are ids of a description and the prefix after it; with it the drawing is debiased.
    Beside each stands its mean log-probability by the model as it is, in nats.
    """
    device = model.device
    chance = torch.Generator(device="cpu").manual_seed(seed)
    starts = [list(prefix), *([list(described)] if described else [])]
    ids = [torch.tensor([start] * times, device=device) for start in starts]
    states: list[Any] = [None] * len(ids)
    made, total = [], torch.zeros(times)
    with torch.inference_mode():
        for _ in range(count):
            told = []
            for number, row in enumerate(ids):
                out = model(input_ids=row, past_key_values=states[number], use_cache=True)
                states[number] = out.past_key_values
                told.append(out.logits[:, -1].float().softmax(-1).cpu())
            chosen = told[0] if len(told) == 1 else debiased(told[0], told[1], decay)
            drawn = torch.multinomial(chosen, 1, generator=chance)
            total += told[0].gather(1, drawn)[:, 0].clamp_min(1e-30).log()
            made.append(drawn)
            ids = [drawn.to(device)] * len(starts)
    return torch.cat(made, 1).tolist(), (total / count).tolist()
