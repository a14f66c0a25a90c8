"""What the untuned model gives to the answers of preferences: computed once, and stored.

Training then holds no second model, so it runs under every strategy. The numbers lie beside the
examples, one line a pair, and a job that is resumed finds them there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from yoriai import files
from yoriai.model_folder import WEIGHTS, opening, whole

ROWS = 8  # sequences at once


def write_reference(
    base: Path, examples: Path, out: Path, progress: Callable[..., Iterable[Any]]
) -> None:
    """Write ``[log p of the chosen answer, of the rejected one]`` of each pair, in fp32."""
    if out.is_file():
        return
    import torch
    from transformers import AutoModelForCausalLM

    from yoriai_train.job.batches import pad
    from yoriai_train.model import gate
    from yoriai_train.model.cpu_products import use_products
    from yoriai_train.model.loss import Head

    rows = [json.loads(line) for line in examples.read_text(encoding="utf-8").splitlines()]
    sides = [side for row in rows for side in (row, row["rejected"])]
    # Of like lengths together, so that little is padded.
    order = sorted(range(len(sides)), key=lambda place: -len(sides[place]["ids"]))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with opening(base):
        loaded = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **WEIGHTS)
    model = whole(loaded, base).to(device).eval()
    use_products(model)
    body = json.loads((base / "config.json").read_bytes())
    head = Head(model, chunked=gate.choose_head(body, boundaries=False) == "chunked")
    found = [0.0] * len(sides)
    starts = range(0, len(order), ROWS)
    with torch.inference_mode():
        for start in progress(starts, "reference", len(starts)):
            places = order[start : start + ROWS]
            x, y = pad([sides[place] for place in places], len(places), 0, 0)
            losses = head.losses(model, y.to(device), input_ids=x.to(device))
            for place, loss in zip(
                places, losses.sum(-1, dtype=torch.float64).tolist(), strict=True
            ):
                found[place] = -loss
    pairs = zip(found[::2], found[1::2], strict=True)
    files.write_atomically(out, "".join(json.dumps(pair) + "\n" for pair in pairs).encode())
