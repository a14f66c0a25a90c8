"""What a leaderboard is made of: tables of cells, and what a scores artifact gives for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from yoriai_eval.probes.calibration import Bin, Calibrated
from yoriai_eval.scoring.rows import scored

Unit = Literal["share", "number", "bits"]
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the rows of one model on one task in one form come to.

    ``shots``: rows by number of examples; ``prompts``: digest of all prompts' digests; ``link``:
    the first page of its rows.
    """

    model: str
    task: str
    form: str
    rows: int = 0
    shots: Mapping[int, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    prompts: str = ""
    link: str = ""

    @property
    def short(self) -> str:
        return self.task.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A scores artifact: its manifest's parts, and what its rows come to."""

    name: str
    digest: str
    facts: Facts
    config: Facts = field(default_factory=dict)
    outside: Mapping[str, str] = field(default_factory=dict)
    tallies: Sequence[Tally] = ()

    @property
    def models(self) -> list[str]:
        """Whose scores it holds."""
        return list(scored(self.facts))

    def of(self, model: str) -> Facts:
        """What the facts say of one of them."""
        return scored(self.facts)[model]


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A number with its 95 % interval, the best floor, and the places it may have among others."""

    score: float
    low: float | None = None
    high: float | None = None
    samples: int = 0
    floor: float | None = None
    at_floor: bool = False
    rank: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One model on one task."""

    value: Value
    clusters: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    shots: Mapping[int, int] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    clean: Value | None = None
    dirty: Value | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One task, or the held-out text of one language of a corpus (``kind`` text).

    ``overlap`` is what a contamination ledger says of its samples; ``paired``: places come from
    paired tests, not from intervals that overlap.
    """

    key: str
    kind: Literal["task", "text"] = "task"
    metric: str
    unit: Unit = "share"
    lower_is_better: bool = False
    samples: int = 0
    split: str = ""
    shots: int | None = None
    floors: Mapping[str, float] = field(default_factory=dict)
    overlap: Mapping[str, Any] = field(default_factory=dict)
    paired: bool = False

    @property
    def floor(self) -> float | None:
        """The best of the floors."""
        if not self.floors:
            return None
        return (min if self.lower_is_better else max)(self.floors.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One model: ``cells`` by column, means by category."""

    label: str
    model: str
    artifact: str
    digest: str
    asked_with: Mapping[str, Any] = field(default_factory=dict)
    cells: Mapping[str, Cell] = field(default_factory=dict)
    categories: Mapping[str, Value] = field(default_factory=dict)
    average: Value | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Why scores stand in a table of their own: what differs, here and in table ``other``."""

    what: str
    here: str
    there: str
    other: int
    task: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How far one model's sureness on one ranked task can be trusted.

    ``calibrated`` is the ECE that a calibrated model would have, ``chance_area`` the AURC of a
    sureness that says nothing. ``fitted_on`` is where the temperature comes from: ``dev`` rows, or
    the other ``halves`` of the same rows (then the temperature is the mean of two).
    """

    label: str
    task: str
    samples: int
    left_out: int
    right: float
    sure: float
    bins: Sequence[Bin]
    error: float
    calibrated: Calibrated
    debiased: float
    brier: float
    brier_interval: tuple[float, float]
    area: float
    area_interval: tuple[float, float]
    least_area: float
    chance_area: float
    temperature: float
    fitted_on: str
    error_after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A table: everything in it was asked in the same way.

    ``members`` are the tasks of each category; ``searched`` the corpora in which contamination
    ledgers looked for samples; ``written`` what became of written answers by line and column.
    """

    number: int
    protocol: str
    split: str
    limit: int
    columns: Sequence[Column]
    lines: Sequence[Line]
    members: Mapping[str, Sequence[str]] = field(default_factory=dict)
    differences: Sequence[Difference] = ()
    searched: Sequence[str] = ()
    reliability: Sequence[Reliability] = ()
    written: Mapping[tuple[str, str], Mapping[str, int]] = field(default_factory=dict)

    @property
    def tasks(self) -> list[Column]:
        return [column for column in self.columns if column.kind == "task"]

    @property
    def texts(self) -> list[Column]:
        return [column for column in self.columns if column.kind == "text"]

    @property
    def categories(self) -> list[str]:
        """Those for which any model has a mean."""
        return [name for name in self.members if any(name in x.categories for x in self.lines)]
