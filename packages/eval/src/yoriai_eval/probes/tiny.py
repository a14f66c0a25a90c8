"""Tiny models, trained in seconds: the ground on which a method shows that it finds what is there.

Imports torch and transformers.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import cross_entropy

PAD = 0
BEGIN = 1
FIRST = 2  # the first id that stands for a character
IGNORED = -100
Kept = Callable[[int, Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyTraining:
    """How a tiny model is made; ``kept`` are the epochs after which ``each`` is called."""

    epochs: int = 10
    batch: int = 32
    rate: float = 3e-3
    width: int = 64
    layers: int = 2
    heads: int = 4
    seed: int = 0
    kept: tuple[int, ...] = ()


class Characters:
    """One id a character, beside those of padding and of the mark that begins a text.

    It is called as a tokenizer of ``transformers`` is; ``sequence`` puts the mark before a text.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.alphabet = sorted({c for text in texts for c in text})
        self._ids = {c: FIRST + n for n, c in enumerate(self.alphabet)}

    def __len__(self) -> int:
        return FIRST + len(self.alphabet)

    def encode(self, text: str, **_options: Any) -> list[int]:
        """The ids of a text; raises ``KeyError`` for a character that it lacks."""
        return [self._ids[c] for c in text]

    def sequence(self, text: str) -> list[int]:
        return [BEGIN, *self.encode(text)]

    def decode(self, ids: Sequence[int], **_options: Any) -> str:
        return "".join(self.alphabet[i - FIRST] for i in ids if i >= FIRST)


@contextmanager
def one_thread() -> Any:
    """Sums that do not depend on how many threads there are, for as long as the context lasts."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def build(vocabulary: int, context: int, how: TinyTraining) -> Any:
    """An untrained Llama of ``how``'s shape on the CPU, the same for the same seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=how.width,
                intermediate_size=how.width * 5 // 2,
                num_hidden_layers=how.layers,
                num_attention_heads=how.heads,
                max_position_embeddings=max(8, context),
                bos_token_id=BEGIN,
                eos_token_id=None,
                pad_token_id=PAD,
            )
        )


def train(
    sequences: Sequence[Sequence[int]],
    vocabulary: int,
    how: TinyTraining,
    each: Kept | None = None,
    weights: Sequence[float] = (),
) -> Any:
    """A model that went over all sequences ``how.epochs`` times, in a new order each time.

    ``weights`` are how much the loss of each sequence counts, 1 where there are none.

    ``each(epoch, model)`` is called after those of ``how.kept``; 0 is before training.
    """
    longest = max(map(len, sequences))
    model = build(vocabulary, longest, how)
    order = list(range(len(sequences)))
    shuffled = random.Random(how.seed)
    steps = -(-len(order) // how.batch) * how.epochs
    optimizer = torch.optim.AdamW(model.parameters(), how.rate, betas=(0.9, 0.95), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / 20) * max(0.05, 1 - step / max(1, steps))
    )
    if each is not None and 0 in how.kept:
        each(0, model)
    with one_thread():
        for epoch in range(1, how.epochs + 1):
            shuffled.shuffle(order)
            model.train()
            for start in range(0, len(order), how.batch):
                numbers = order[start : start + how.batch]
                counts = [weights[i] for i in numbers] if weights else []
                loss = mean_loss(model, [sequences[i] for i in numbers], counts)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            if each is not None and epoch in how.kept:
                model.eval()
                each(epoch, model)
    return model.eval()


def padded(sequences: Sequence[Sequence[int]]) -> torch.Tensor:
    """Rows of ids, padded on the right: (rows, longest)."""
    longest = max(map(len, sequences))
    return torch.tensor([[*s, *[PAD] * (longest - len(s))] for s in sequences])


def mean_loss(
    model: Any, sequences: Sequence[Sequence[int]], weights: Sequence[float] = ()
) -> torch.Tensor:
    """Mean cross-entropy of the next ids, each times its sequence's weight; padding is no id."""
    ids = padded(sequences)
    labels = ids[:, 1:].masked_fill(ids[:, 1:] == PAD, IGNORED)
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    if not weights:
        return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    losses = cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    counts = torch.tensor(list(weights))[:, None] * (labels != IGNORED)
    return (losses * counts.flatten()).sum() / (labels != IGNORED).sum()
