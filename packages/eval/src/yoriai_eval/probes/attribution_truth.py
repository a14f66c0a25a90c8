"""Attribution against the truth: tiny models, trained again without some of their data.

On lines of a corpus: TracIn, shared 5-grams, and the exact derivative of the whole training run,
each by its linear datamodelling score, and the first two by their agreement with the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from yoriai import Measured
from yoriai_eval.probes import poison
from yoriai_eval.probes.datamodelling import measured_agreement, measured_score

Floats = npt.NDArray[np.float64]
ITEMS, QUERIES, LENGTH = 48, 8, 16  # lines, lines that are explained, characters of each
EPOCHS, BATCH = 6, 16


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of each method, (queries, items), and what subsets taught."""

    methods: dict[str, Floats]
    exact: Floats
    subsets: Floats
    outcomes: Floats


def score(lines: Sequence[str], subsets: int, seed: int, second_order: str = "") -> Scored:
    """Train, explain, and train again on ``subsets`` random halves; about 0.3 s each.

    The first lines are what is explained, the others are trained on. ``second_order`` (``kfac`` or
    ``ekfac``) is another method that is judged.
    """
    import torch

    from yoriai_eval.probes.tiny import Characters
    from yoriai_eval.probes.unrolled import exact_influence, prepare, retrained

    cut = [line[:LENGTH] for line in lines[: QUERIES + ITEMS]]
    asked, items = cut[:QUERIES], cut[QUERIES:]
    characters = Characters(cut)
    ids = [characters.sequence(line) for line in items]
    queries = torch.tensor([characters.sequence(line) for line in asked])
    training = prepare(ids, len(characters), epochs=EPOCHS, batch=BATCH, seed=seed)
    exact = exact_influence(training, queries).numpy()
    random = np.random.Generator(np.random.PCG64(seed))
    chosen = np.zeros((subsets, len(items)))
    for row in chosen:
        row[random.permutation(len(items))[: len(items) // 2]] = 1
    outcomes = retrained(training, queries, [torch.tensor(row) for row in chosen]).numpy()
    shared = np.asarray([poison.shared_ngrams(items, [line]) for line in asked], float)
    methods = {**_tracin(training, ids, queries.tolist(), second_order), "shared 5-grams": shared}
    return Scored(methods, exact, chosen, outcomes)


def _tracin(
    training: Any,
    ids: Sequence[Sequence[int]],
    queries: Sequence[Sequence[int]],
    second_order: str,
) -> dict[str, Floats]:
    """TracIn as the probe does it: of the final weights, and summed over four moments."""
    import copy

    import torch

    from yoriai_eval.probes.attribution import influence

    last = len(training.order)
    moments = [last // 6, last // 3, last // 2, last]
    _, states = training.run(torch.ones(len(ids), dtype=torch.float64), kept=moments)
    found = []
    for step in moments:
        model = copy.deepcopy(training.model).float()
        model.load_state_dict({k: v.float() for k, v in states[step].items()}, strict=False)
        found.append(np.stack([influence(model, ids, [(q, 1)])[0] for q in queries]))
    methods = {"TracIn, all checkpoints": np.sum(found, axis=0), "TracIn, final": found[-1]}
    if second_order:
        from yoriai_eval.probes.attribution import SECOND_ORDER
        from yoriai_eval.probes.kronecker import kronecker_influence

        methods[f"{SECOND_ORDER[second_order]}, final"] = kronecker_influence(
            model, ids, [(q, 1) for q in queries], strategy=second_order, each=True
        )
    return methods


def measures(scored: Scored, seed: int) -> list[Measured]:
    """The score of each method, that of the exact derivative first, and agreement with it."""
    rows = {"exact derivative": scored.exact, **scored.methods}
    return [
        *(
            measured_score(f"LDS of {name}", values, scored.subsets, scored.outcomes, seed)
            for name, values in rows.items()
        ),
        *(
            measured_agreement(f"rank agreement of {name} with the exact derivative", values,
                               scored.exact, seed)
            for name, values in scored.methods.items()
        ),
    ]  # fmt: skip


def in_words(found: Sequence[Measured]) -> str:
    """Each method's score, and which of them are no better than chance."""
    scores = [m for m in found if m.name.startswith("LDS of ")]
    told = ", ".join(f"{m.name.removeprefix('LDS of ')} {m.value:.2f}" for m in scores)
    bad = [m.name.removeprefix("LDS of ") for m in scores if m.above_chance is False]
    worse = f"; no better than chance: {', '.join(bad)}" if bad else ""
    return f"linear datamodelling score over {scores[0].items} subsets: {told}{worse}"
