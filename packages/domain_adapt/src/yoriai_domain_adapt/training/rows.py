"""Training the rows of new pieces, all else frozen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoriai_domain_adapt.folders import layers as roles
from yoriai_domain_adapt.folders import tensors as folders

if TYPE_CHECKING:
    import torch

WARM_UP = 0.1  # of the steps


def rate(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over a tenth of the steps, then a cosine to a tenth of the peak."""
    rising = max(1, int(steps * WARM_UP))
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - rising)
    return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * done)) / 2)


def train_rows(
    folder: Path,
    ids: torch.Tensor,
    rows: Sequence[int],
    *,
    batch: int,
    peak: float,
    watch: Callable[[Iterable[int], int], Iterator[int]] = lambda items, _count: iter(items),
) -> list[float]:
    """Train some rows of embedding and head on ``ids`` (windows x tokens) and store them; losses.

    Adam without weight decay, over the rows alone: what is frozen costs no optimizer memory. The
    other tensors of the folder keep their bytes.
    """
    import torch

    model = roles.open_model(folder)
    model.requires_grad_(False)
    chosen = torch.tensor(list(rows))
    matrices = {id(m.weight): m.weight for m in (
        model.get_input_embeddings(), model.get_output_embeddings()
    )}  # fmt: skip
    steps = len(ids) // batch
    moments = {key: (torch.zeros(len(rows), w.shape[1]),) * 2 for key, w in matrices.items()}
    for weight in matrices.values():
        weight.requires_grad_(True)
    losses = []
    for step in watch(range(steps), steps):
        some = ids[step * batch : (step + 1) * batch]
        loss = model(input_ids=some, labels=some).loss
        loss.backward()
        losses.append(float(loss.detach()))
        learning_rate = rate(step, steps, peak)
        with torch.no_grad():
            for key, weight in matrices.items():
                gradient = weight.grad[chosen]
                weight.grad = None
                first, second = moments[key]
                first = 0.9 * first + 0.1 * gradient
                second = 0.95 * second + 0.05 * gradient.square()
                moments[key] = (first, second)
                size = (second / (1 - 0.95 ** (step + 1))).sqrt() + 1e-8
                weight[chosen] -= learning_rate * first / (1 - 0.9 ** (step + 1)) / size
    _store(folder, model, matrices)
    return losses


def _store(folder: Path, model: Any, matrices: dict[int, Any]) -> None:
    weights = folders.Weights(folder)
    trained = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        short = name.removeprefix(f"{model.base_model_prefix}.")
        for stored in (name, short):
            if id(parameter) in matrices and stored in weights.outlines:
                trained[stored] = parameter.detach()
    place = folder / "trained"
    folders.write_weights(
        place,
        weights.outlines,
        lambda n: trained[n].to(weights.read(n).dtype) if n in trained else weights.read(n),
    )
    for path in place.iterdir():
        path.replace(folder / path.name)
    place.rmdir()
