"""What pre-training and tuning share: what they begin with, and what they say of what they made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoriai import UsageError, files
from yoriai_train.plan.decoder import Shape
from yoriai_train.settings.strategies import Single


def default_strategy() -> Any:
    strategy = Single()
    strategy._entry = "train/single"
    return strategy


def flops_per_token(body: Mapping[str, Any], context: int) -> float:
    """Of a forward and a backward pass; 0 for a kind of model whose formulas are not known."""
    try:
        return Shape.of(body).flops_per_token(context)
    except UsageError:
        return 0.0


def parameters_of(body: Mapping[str, Any]) -> int:
    """Of a configuration; 0 for a kind of model whose formulas are not known."""
    try:
        return Shape.of(body).total_parameters
    except UsageError:
        return 0


def finish(out: Path, tokenizer: Path, rows: list[dict[str, Any]]) -> None:
    """Put the tokenizer and the loss curve beside the weights."""
    from yoriai_train.model.export import copy_tokenizer  # imports torch

    copy_tokenizer(tokenizer, out)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    files.write_atomically(out / "training.jsonl", text.encode())


def describe(rows: list[dict[str, Any]], out: Path) -> dict[str, Any]:
    """Facts of a trained model: its size and where its loss began and ended."""
    tail = rows[-max(1, len(rows) // 10) :]
    return {
        "parameters": sum(map(count_parameters, out.glob("*.safetensors"))),
        "steps": len(rows),
        "first_loss": round(rows[0]["loss"], 4),
        "last_loss": round(sum(r["loss"] for r in tail) / len(tail), 4),
    }


def headline(facts: dict[str, Any]) -> list[str]:
    seen = f", {facts['tokens_seen']:,} tokens seen" if "tokens_seen" in facts else ""
    return [
        f"{facts['parameters']:,} parameters, {facts['steps']:,} steps{seen}",
        f"loss {facts['first_loss']:.3f} at the first step, {facts['last_loss']:.3f} over the last"
        " tenth",
        *(f"{prompt} ⇒{text}".replace("\n", "⏎") for prompt, text in facts.get("continued", ())),
    ]


def count_parameters(path: Path) -> int:
    """Numbers stored in a safetensors file, from its header alone."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__":
            size = 1
            for side in tensor["shape"]:
                size *= side
            total += size
    return total
