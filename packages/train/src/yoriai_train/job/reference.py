"""What the untuned model gives to the answers of preferences: computed once, and stored.

Training then holds no second model, so it runs under every strategy. The numbers lie beside the
examples, one line a pair, and a job that is resumed finds them there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoriai import files
from yoriai.model_folder import WEIGHTS, opening, whole

if TYPE_CHECKING:
    from yoriai_train.settings.spec import Spec

ROWS = 8  # sequences at once
_ROUNDED = {"bf16-mixed": "bfloat16", "bf16-true": "bfloat16", "16-mixed": "float16"}


def write_reference(
    base: Path,
    examples: Path,
    out: Path,
    progress: Callable[..., Iterable[Any]],
    spec: Spec | None = None,
    world: int = 1,
) -> None:
    """Write ``[log p of the chosen answer, of the rejected one]`` of each pair.

    In the precision of ``spec``, whose steps ``world`` processes share; without one in fp32. Where
    products are rounded to 16 bits, rows of other lengths beside a row change what it comes to; so
    pairs are then put together as the steps of the first epoch do it. Else the first step would
    find a difference between the model and itself, and its loss would not be ln 2.
    """
    if out.is_file():
        return
    import torch
    from transformers import AutoModelForCausalLM

    from yoriai_train.job.batches import pad
    from yoriai_train.model import gate
    from yoriai_train.model.cpu_llama import use_lean
    from yoriai_train.model.cpu_products import use_products
    from yoriai_train.model.loss import Head

    rows = [json.loads(line) for line in examples.read_text(encoding="utf-8").splitlines()]
    sides = [side for row in rows for side in (row, row["rejected"])]
    low = _ROUNDED.get(spec.precision) if spec else None
    if spec and low:
        groups = _as_in_steps(spec, len(rows), world)
    else:  # of like lengths together, so that little is padded
        order = sorted(range(len(sides)), key=lambda place: -len(sides[place]["ids"]))
        groups = [order[start : start + ROWS] for start in range(0, len(order), ROWS)]
    least = spec.context if spec and low and world > 1 else 0
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with opening(base):
        loaded = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **WEIGHTS)
    model = whole(loaded, base).to(device).eval()
    use_products(model)
    if not (spec and (spec.liger or spec.compile)):
        use_lean(model)
    mixed = bool(spec and low and spec.precision != "bf16-true")
    if low and not mixed:
        model = model.to(torch.bfloat16)
    rounding = torch.autocast(device, getattr(torch, low or "bfloat16"), enabled=mixed)
    body = json.loads((base / "config.json").read_bytes())
    head = Head(model, chunked=gate.choose_head(body, boundaries=False) == "chunked")
    found = [0.0] * len(sides)
    with torch.inference_mode(), rounding:
        for places in progress(groups, "reference", len(groups)):
            # The rows that a last step lacks are not made up: rows beside one do not change it.
            x, y = pad([sides[place] for place in places], len(places), 0, least)
            losses = head.losses(model, y.to(device), input_ids=x.to(device))
            for place, loss in zip(
                places, losses.sum(-1, dtype=torch.float64).tolist(), strict=True
            ):
                found[place] = -loss
    pairs = zip(found[::2], found[1::2], strict=True)
    files.write_atomically(out, "".join(json.dumps(pair) + "\n" for pair in pairs).encode())


def _as_in_steps(spec: Spec, count: int, world: int) -> list[list[int]]:
    """Sides of ``count`` pairs, by number, as each process takes them together."""
    from yoriai_train.data import windows
    from yoriai_train.job.batches import place_of

    groups = []
    for number in range(-(-count // spec.batch)):
        for rank in range(world):
            shown = windows.micro_batch(number, spec.batch, rank, world)
            pairs = [place_of(place, count, spec.seed) for place in shown if place < count]
            if pairs:
                groups.append([side for pair in pairs for side in (2 * pair, 2 * pair + 1)])
    return groups
