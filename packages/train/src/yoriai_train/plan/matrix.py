"""Many tunings declared once: a recipe with a step for each cell, and what its scores say.

Pure functions over data; nothing is run here. A *cell* is one choice of a level for each factor.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, field_validator, model_validator

from yoriai import UsageError
from yoriai.strict import Strict

SCORES = "scores"
MOST_ORDERS = 20_000  # ways to exchange labels up to which all are tried, and how many are drawn
_LABEL = re.compile(r"[a-z0-9][a-z0-9_-]*")


class PlanSource(Strict):
    """What a plan takes where nothing is here to look at."""

    gpu: str = Field("cpu", description="kind of GPU the cells run on, as yoriai train plan has it")
    yen_per_gpu_hour: float | None = Field(None, gt=0, le=10**9, description="price [none]")
    shapes: dict[str, str] = Field(
        {}, description="by a folder under 'start' that is not here, the preset that has its shape"
    )


class Matrix(Strict):
    """A file ``matrix.yaml``."""

    name: str = Field(description="one word; names the folder and the artifacts")
    version: int = Field(1, ge=1, description="raise it when you mean to make new things")
    licence: str = Field("", description="SPDX licence of what it makes")
    seed: int = Field(0, ge=0, lt=2**31, description="the one seed of all runs")
    steps: dict[str, dict[str, Any]] = Field(
        {}, description="steps that come before: bases, corpora; as in a recipe"
    )
    tune: dict[str, Any] = Field({}, description="keys of train/tune that all cells share")
    factors: dict[str, dict[str, dict[str, Any]]] = Field(
        description="by factor and level, the keys of train/tune that the level sets"
    )
    evaluate: dict[str, Any] = Field(description="the step that scores all cells: eval/run's keys")
    plan: PlanSource = Field(PlanSource(), description="what the plan of the cells takes")
    published: dict[str, list[str]] = Field(
        {}, description="what others published, with its source, by level or cell"
    )

    @field_validator("factors")
    @classmethod
    def _check_levels(cls, factors: dict[str, Any]) -> dict[str, Any]:
        for name, levels in factors.items():
            if len(levels) < 1:
                raise ValueError(f"the factor {name!r} has no level")
            for label in levels:
                if not _LABEL.fullmatch(label):
                    raise ValueError(f"{label!r} is no plain name (a-z, 0-9, '-', '_')")
        if not factors:
            raise ValueError("no factor, so there is nothing to compare")
        return factors

    @model_validator(mode="after")
    def _check_names(self) -> Matrix:
        names = [cell.name for cell in self.cells()]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"two cells are called {twice[0]}; name the levels otherwise")
        if taken := sorted({*names, SCORES} & self.steps.keys()):
            raise ValueError(f"the step {taken[0]!r} has the name of a cell")
        known = {*names, *(label for levels in self.factors.values() for label in levels)}
        if wrong := sorted(self.published.keys() - known):
            raise ValueError(f"published: {wrong[0]!r} is neither a level nor a cell")
        return self

    def cells(self) -> Iterator[MatrixCell]:
        """All cells, the last factor fastest."""
        for labels in itertools.product(*self.factors.values()):
            yield MatrixCell("-".join(labels), dict(zip(self.factors, labels, strict=True)))

    def keys_of(self, cell: MatrixCell) -> dict[str, Any]:
        """The keys of the cell's step; refuses two factors that set one key."""
        keys: dict[str, Any] = {"uses": "train/tune"}
        owners: dict[str, str] = {}
        for factor, label in cell.levels.items():
            for key, value in self.factors[factor][label].items():
                if key in owners:
                    raise UsageError(
                        f"{cell.name}: both {owners[key]} and {factor} set {key!r}",
                        hint="let one factor set it, or make one factor of the two",
                    )
                owners[key] = factor
                keys[key] = value
        return {**self.tune, **keys}

    def recipe(self) -> dict[str, Any]:
        """The recipe that makes and scores all cells."""
        cells = {cell.name: self.keys_of(cell) for cell in self.cells()}
        more = self.evaluate.get("from", [])
        given = [more] if isinstance(more, str) else list(more)
        scores = {"uses": "eval/run", **self.evaluate, "from": [*cells, *given]}
        return {
            "name": self.name,
            "version": self.version,
            "licence": self.licence,
            "seed": self.seed,
            "steps": {**self.steps, **cells, SCORES: scores},
        }


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """One tuning: its name, and its level of each factor."""

    name: str
    levels: dict[str, str]


@dataclass(slots=True)
class Effect:
    """What a factor explains of the scores of one task.

    ``share`` is its sum of squares over that of all cells (eta squared). ``p`` is of a
    permutation test that exchanges its levels among cells that are equal in every other factor;
    ``corrected`` is Holm's, over all factors and tasks.
    """

    task: str
    factor: str
    means: dict[str, float]
    share: float
    p: float
    exact: bool
    corrected: float = 1.0


def effects(cells: Sequence[MatrixCell], scores: Mapping[str, Mapping[str, float]]) -> list[Effect]:
    """The effect of each factor with several levels on each task, ``scores[task][cell]``."""
    found = []
    for task, by_cell in scores.items():
        values = [by_cell[cell.name] for cell in cells]
        total = _squares(values, [str(n) for n in range(len(values))])
        for factor in cells[0].levels:
            labels = [cell.levels[factor] for cell in cells]
            if len(set(labels)) < 2:
                continue
            p, exact = _permutation_test(cells, factor, values)
            means = {
                label: sum(v for v, one in zip(values, labels, strict=True) if one == label)
                / labels.count(label)
                for label in dict.fromkeys(labels)
            }
            share = _squares(values, labels) / total if total else 0.0
            found.append(Effect(task, factor, means, share, p, exact))
    for effect, corrected in zip(found, _holm([e.p for e in found]), strict=True):
        effect.corrected = corrected
    return found


def _squares(values: Sequence[float], labels: Sequence[str]) -> float:
    """The sum of squares between groups."""
    mean = math.fsum(values) / len(values)
    groups: dict[str, list[float]] = {}
    for value, label in zip(values, labels, strict=True):
        groups.setdefault(label, []).append(value)
    return math.fsum(len(g) * (math.fsum(g) / len(g) - mean) ** 2 for g in groups.values())


def _permutation_test(
    cells: Sequence[MatrixCell], factor: str, values: Sequence[float]
) -> tuple[float, bool]:
    """p, and whether every order was tried; else orders were drawn (seeded) and p is no 0."""
    labels = [cell.levels[factor] for cell in cells]
    blocks: dict[tuple[str, ...], list[int]] = {}
    for place, cell in enumerate(cells):
        key = tuple(label for name, label in cell.levels.items() if name != factor)
        blocks.setdefault(key, []).append(place)
    measured = _squares(values, labels) * (1 - 1e-9)  # equal orders count in spite of rounding

    def extreme(orders: Sequence[Sequence[int]]) -> bool:
        changed = list(labels)
        for places, order in zip(blocks.values(), orders, strict=True):
            for place, taken in zip(places, order, strict=True):
                changed[place] = labels[taken]
        return _squares(values, changed) >= measured

    if math.prod(math.factorial(len(places)) for places in blocks.values()) <= MOST_ORDERS:
        every = itertools.product(*(itertools.permutations(p) for p in blocks.values()))
        outcomes = [extreme(orders) for orders in every]
        return sum(outcomes) / len(outcomes), True
    chooser = random.Random(1)
    drawn = sum(
        extreme([chooser.sample(places, len(places)) for places in blocks.values()])
        for _ in range(MOST_ORDERS)
    )
    return (1 + drawn) / (1 + MOST_ORDERS), False


def _holm(values: Sequence[float]) -> list[float]:
    """Holm's correction (Scandinavian Journal of Statistics 6, 1979)."""
    corrected = [1.0] * len(values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda n: values[n])):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = largest
    return corrected
