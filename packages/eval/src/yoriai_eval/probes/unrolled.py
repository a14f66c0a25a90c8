"""Training whose every step is known, so that a weight on an item can be differentiated through.

The exact derivative of what a model says after training, by the weight of each training item: the
whole run is unrolled and differentiated backwards (Maclaurin et al. 2015, arXiv 1502.03492; Hara
et al. 2019, arXiv 1906.08473; Ilyas and Engstrom 2025, arXiv 2504.16430). It needs the memory of
all steps at once, so it is for tiny models. Imports torch.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from yoriai_eval.probes.tiny import TinyTraining, build, one_thread

State = dict[str, torch.Tensor]
MOMENTUM = 0.9
# Gentle: where steps are so large that the run turns on little things, no derivative foretells what
# other data would have taught (with 0.5 the exact one is no better than chance).
RATE = 0.1


@dataclass(frozen=True, slots=True)
class WeightedTraining:
    """A run over items of one length, always in the same order.

    ``ids``: (items, length). In each step of ``order`` the losses of the items named are weighted,
    added, and divided by their number: an item of weight 0 is as if it were not there.
    """

    model: Any
    start: State
    ids: torch.Tensor
    order: tuple[tuple[int, ...], ...]
    rate: float

    def run(
        self, weights: torch.Tensor, *, graph: bool = False, kept: Sequence[int] = ()
    ) -> tuple[State, dict[int, State]]:
        """The parameters after the last step, and those after the steps ``kept``.

        Steps are those of gradient descent with momentum. With ``graph`` the parameters can be
        differentiated by ``weights``.
        """
        state = {k: v.detach().requires_grad_() for k, v in self.start.items()}
        speed = {k: torch.zeros_like(v) for k, v in state.items()}
        found: dict[int, State] = {}
        for step, chosen in enumerate(self.order, 1):
            rows = torch.tensor(chosen)
            losses = item_losses(self.model, state, self.ids[rows])
            loss = (losses * weights[rows]).sum() / len(chosen)
            slopes = torch.autograd.grad(loss, list(state.values()), create_graph=graph)
            moved: State = {}
            for (name, value), slope in zip(state.items(), slopes, strict=True):
                speed[name] = MOMENTUM * speed[name] + slope
                moved[name] = value - self.rate * speed[name]
            state = moved if graph else {k: v.detach().requires_grad_() for k, v in moved.items()}
            speed = speed if graph else {k: v.detach() for k, v in speed.items()}
            if step in kept:
                found[step] = {k: v.detach().clone() for k, v in state.items()}
        return state, found


def item_losses(model: Any, state: State, ids: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of each row's ids after the first: (rows)."""
    told = functional_call(model, state, kwargs={"input_ids": ids[:, :-1], "use_cache": False})
    losses = cross_entropy(told.logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return losses.mean(1)


def prepare(
    sequences: Sequence[Sequence[int]], vocabulary: int, *, epochs: int, batch: int, seed: int
) -> WeightedTraining:
    """A tiny model of 64-bit floats, and the order in which it will see the sequences."""
    length = len(sequences[0])
    how = TinyTraining(width=16, layers=1, heads=2, seed=seed)
    model = build(vocabulary, length, how).double().eval()
    model.set_attn_implementation("eager")  # it can be differentiated twice
    numbers, chance = list(range(len(sequences))), random.Random(seed)
    order: list[tuple[int, ...]] = []
    for _ in range(epochs):
        chance.shuffle(numbers)
        order += [tuple(numbers[at : at + batch]) for at in range(0, len(numbers), batch)]
    start = {k: v.detach().clone() for k, v in model.named_parameters()}
    return WeightedTraining(model, start, torch.tensor(sequences), tuple(order), RATE)


def exact_influence(training: WeightedTraining, queries: torch.Tensor) -> torch.Tensor:
    """How much less each query would cost, in nats a token, by the weight of each item.

    (queries, items); of the first order: what a little more weight does, not what leaving out does.
    """
    with one_thread():
        weights = torch.ones(len(training.ids), dtype=torch.float64, requires_grad=True)
        state, _ = training.run(weights, graph=True)
        costs = item_losses(training.model, state, queries)
        rows = [
            torch.autograd.grad(-cost, weights, retain_graph=number < len(costs) - 1)[0]
            for number, cost in enumerate(costs)
        ]
    return torch.stack(rows).detach()


def retrained(
    training: WeightedTraining, queries: torch.Tensor, weights: Sequence[torch.Tensor]
) -> torch.Tensor:
    """What each query costs (less is more: negative losses) after training with each weights.

    (trainings, queries).
    """
    with one_thread():
        found = []
        for weight in weights:
            state, _ = training.run(weight)
            with torch.no_grad():
                found.append(-item_losses(training.model, state, queries))
    return torch.stack(found)
