"""Unlearning: a trained model forgets some of its lines while it goes over others. Imports torch.

Gradient ascent on what is to be forgotten beside replay of the rest (Jang et al. 2023, arXiv
2210.01504, ascent; Rolnick et al. 2019, arXiv 1811.11682, replay), or replay alone, which is
fine-tuning on lines that are held to be clean (Liu et al. 2018, arXiv 1805.12185).
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Sequence
from typing import Any

import torch

from yoriai_eval.probes.tiny import mean_loss, one_thread

BATCH, RATE = 32, 1e-3


def unlearn(
    model: Any,
    forgotten: Sequence[Sequence[int]],
    replayed: Sequence[Sequence[int]],
    *,
    steps: int,
    seed: int,
) -> Any:
    """A copy of the model after ``steps`` of up to 32 lines of each kind, drawn by ``seed``.

    Without ``forgotten`` it is replay alone. What is forgotten counts against the loss only while
    it is likelier than by chance, ln(vocabulary), so that ascent has an end.
    """
    chance = random.Random(seed)
    model = copy.deepcopy(model).train()
    ceiling = math.log(int(model.config.vocab_size))
    optimizer = torch.optim.AdamW(model.parameters(), RATE, betas=(0.9, 0.95), weight_decay=0.0)
    with one_thread():
        for _ in range(steps):
            loss = mean_loss(model, chance.sample(replayed, min(BATCH, len(replayed))))
            if forgotten:
                drawn = chance.sample(forgotten, min(BATCH, len(forgotten)))
                loss = loss - mean_loss(model, drawn).clamp(max=ceiling)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model.eval()
