"""Answers drawn by chance from a model's own distribution. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from yoriai_eval.probes.reading import OpenedFolder


def write_by_chance(
    opened: OpenedFolder,
    prompt: Sequence[int],
    *,
    count: int,
    temperature: float,
    tokens: int,
    ends: frozenset[int],
    seed: int,
) -> list[list[int]]:
    """``count`` continuations of a prompt, each up to an end mark or so many tokens.

    The prompt is read once. Chance comes from the CPU's generator, so the same seed gives the same
    numbers wherever the model runs; the end mark is not part of a continuation.
    """
    chance = torch.Generator().manual_seed(seed)
    model, state = opened.model, None
    ids = torch.tensor([list(prompt)] * count, device=model.device)
    made: list[list[int]] = [[] for _ in range(count)]
    going = [True] * count
    with torch.inference_mode():
        for _ in range(tokens):
            told = model(input_ids=ids, past_key_values=state, use_cache=True)
            state = told.past_key_values
            shares = (told.logits[:, -1].float().cpu() / temperature).softmax(-1)
            chosen = torch.multinomial(shares, 1, generator=chance)
            for row, token in enumerate(chosen[:, 0].tolist()):
                going[row] = going[row] and token not in ends
                if going[row]:
                    made[row].append(token)
            if not any(going):
                break
            ids = chosen.to(model.device)
    return made
