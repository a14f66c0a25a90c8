"""The hop from the model in training to its folder: both are asked the same, and must agree.

What is trained may be cut over ranks, hold other parts than those of ``transformers`` and compute
in 16 bits; what is written is read by everybody. So before a job ends, its folder is opened by
``transformers`` as anybody would, and the log-probabilities of both are compared.

Shapes: B rows, S sequence, V vocabulary.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from yoriai import YoriaiError
from yoriai.model_folder import WEIGHTS, opening, whole

ROWS, LENGTH = 2, 32
# Largest difference of a log-probability, in nats. Measured on a Llama of a million parameters with
# sharp logits: 8e-6 where both compute in fp32, the blocks of ours on CPUs included, and 0.14
# where the model in training computes in bf16.
TOLERANCE, TOLERANCE_16_BIT = 1e-3, 0.3
LARGEST = 5_000_000_000  # parameters up to which a process opens a second copy, in fp32


def questions(vocabulary: int, context: int) -> torch.Tensor:
    """Ids to ask, (B, S), spread over the vocabulary."""
    length = max(2, min(LENGTH, context))
    return (torch.arange(ROWS * length) * 7919 % vocabulary).view(ROWS, length)


def parameters_of(model: Any) -> int:
    """Of the whole model, of which a rank may hold a part."""
    return sum(int(getattr(p, "ds_numel", p.numel())) for p in model.parameters())


def ask(model: Any, ids_BS: torch.Tensor) -> torch.Tensor:
    """Log-probabilities (B, S, V) in fp32 on the CPU. **Every** rank must call it."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    try:
        # Compiled blocks would be compiled once more for this one pass.
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            logits = model(input_ids=ids_BS.to(device), use_cache=False).logits
    finally:
        model.train(training)
    return logits.float().log_softmax(-1).cpu()


def compare(
    trained_BSV: torch.Tensor, ids_BS: torch.Tensor, folder: Path, tolerance: float | None
) -> dict[str, dict[str, Any]]:
    """What was found, as facts name it; raises :class:`yoriai.YoriaiError` beyond ``tolerance``.

    ``logits`` is judged, or with None only told; ``divergence`` (mean Kullback-Leibler divergence,
    in nats) and ``bits_per_token`` (what the folder gives more to the next ids) are told.
    """
    from transformers import AutoModelForCausalLM

    with opening(folder):
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **WEIGHTS)
    written_BSV = ask(whole(loaded, folder), ids_BS)
    if written_BSV.shape != trained_BSV.shape:
        raise YoriaiError(
            f"the folder that was written gives {tuple(written_BSV.shape)} numbers, the model in"
            f" training {tuple(trained_BSV.shape)}: it is kept nowhere"
        )
    far = float((written_BSV - trained_BSV).abs().max())
    divergence = (trained_BSV.exp() * (trained_BSV - written_BSV)).sum(-1).mean()
    following = ids_BS[:, 1:, None]
    more = (trained_BSV[:, :-1] - written_BSV[:, :-1]).gather(-1, following).mean() / math.log(2)
    kept = math.isfinite(far) and (tolerance is None or far <= tolerance)
    if not kept:
        raise YoriaiError(
            f"the folder that was written is not the model in training: its log-probabilities"
            f" differ by up to {far:.4g} nats, allowed is {tolerance}",
            hint="the checkpoints are whole: keep them, and report the kind of model and strategy",
        )
    # Less is the order of sums, which where a file is mapped to decides: a run must be repeatable.
    digits = 4 if tolerance == TOLERANCE else 2
    found = {
        "logits": far,
        "divergence": max(0.0, float(divergence)),
        "bits_per_token": float(more),
    }
    return {
        name: {
            "found": round(value, digits) + 0.0,  # no minus zero
            "tolerance": tolerance if name == "logits" else None,
            "kept": True,
        }
        for name, value in found.items()
    }


def tolerance_of(model: Any, precision: str, *, cut: bool) -> float | None:
    """What a model in training may differ by; None if its numbers are quantised.

    In mixed precision weights are fp32 and only steps compute in 16 bits, unless a strategy
    (``cut``: FSDP2, DeepSpeed) makes the model itself do so.
    """
    kinds = {parameter.dtype for parameter in model.parameters()}
    if torch.uint8 in kinds:
        return None
    low = bool(kinds & {torch.bfloat16, torch.float16}) or (cut and precision != "32-true")
    return TOLERANCE_16_BIT if low else TOLERANCE
