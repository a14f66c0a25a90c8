"""A model built by hand whose heads are known: one looks back a token, one is an induction head.

The ground on which methods that look inside show that they find what is there (Elhage et al. 2021,
"A Mathematical Framework for Transformer Circuits"; Olsson et al. 2022). Imports torch.
"""

from __future__ import annotations

from typing import Any

import torch

KINDS = 24  # ids; 0 begins a sequence, the others are drawn
LONGEST = 32
PREVIOUS, INDUCTION = (0, 1), (1, 2)  # (layer, head)
SHARP, LOUD = 400.0, 3.0
HEADS = 4


def induction_model() -> Any:
    """A GPT-2 of two layers and four heads that repeats what followed a token before.

    Its numbers have four places of 32: the id, its position, the id before it, and what is to be
    written. Head 1 of layer 0 copies the id before; head 2 of layer 1 looks for the place whose id
    before is the present one, and writes the id that stands there. All other weights are 0.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    size = LONGEST
    config = GPT2Config(
        vocab_size=KINDS, n_positions=LONGEST, n_embd=HEADS * size, n_layer=2, n_head=HEADS,
        n_inner=8, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0,
        eos_token_id=None, pad_token_id=None, tie_word_embeddings=False,
    )  # fmt: skip
    model: Any = GPT2LMHeadModel(config)
    own, place, before, out = (slice(i * size, (i + 1) * size) for i in range(4))
    with torch.no_grad():
        for weights in model.parameters():
            weights.zero_()
        inside = model.transformer
        inside.wte.weight[:, own] = torch.eye(KINDS, size)
        inside.wpe.weight[:, place] = torch.eye(LONGEST)
        for ones, block in zip((2, 3), inside.h, strict=True):
            # As many ones everywhere: with these the norm leaves its input as it is.
            mean = ones / config.n_embd
            block.ln_1.weight.fill_((mean - mean**2 + block.ln_1.eps) ** 0.5)
            block.ln_1.bias.fill_(mean)
            block.ln_2.weight.fill_(1.0)
        last = torch.eye(size).roll(-1, 1)  # the position before
        last[0] = torch.eye(size)[0]
        _head(inside.h[0], PREVIOUS[1], (place, last), (place, None), own, before)
        _head(inside.h[1], INDUCTION[1], (own, None), (before, None), own, out)
        inside.ln_f.weight.fill_(1.0)
        model.lm_head.weight[:, out] = LOUD * torch.eye(KINDS, size)
    return model.eval()


def _head(
    block: Any,
    head: int,
    query: tuple[slice, torch.Tensor | None],
    key: tuple[slice, torch.Tensor | None],
    value: slice,
    written: slice,
) -> None:
    """A head that asks for one place of numbers in another, and copies a third to a fourth."""
    size = LONGEST
    weights = block.attn.c_attn.weight  # (width, 3 * width): queries, keys, values
    width = weights.shape[0]
    at = slice(head * size, (head + 1) * size)
    for third, (place, turn) in enumerate((query, key, (value, None))):
        scale = SHARP if third == 0 else 1.0
        columns = slice(third * width + at.start, third * width + at.stop)
        weights[place, columns] = scale * (torch.eye(size) if turn is None else turn)
    block.attn.c_proj.weight[at, written] = torch.eye(size)
