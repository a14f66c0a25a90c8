"""What the rows of scores say of sureness: calibration of ranked tasks, abstention in written ones.

Nothing but the rows is read, so the same artifacts give the same numbers on every machine.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from yoriai_eval.probes import calibration
from yoriai_eval.report.model import Board, Given, Reliability
from yoriai_eval.scoring import abstention, protocol
from yoriai_eval.scoring.statistics import mean_interval

FEWEST = 10  # ranked questions; of fewer nothing is said
PLACES = 6
Key = tuple[str, str]  # model, short name of a task


@dataclass(slots=True)
class Sure:
    """Ranked questions of one model on one task: likelihoods, whether right, what they share."""

    ids: list[str] = field(default_factory=list)
    flat: array[float] = field(default_factory=lambda: array("d"))
    counts: array[int] = field(default_factory=lambda: array("l"))
    right: array[float] = field(default_factory=lambda: array("d"))
    clusters: list[str] = field(default_factory=list)
    left_out: int = 0

    def logits(self) -> calibration.Floats:
        """(N, K), as :func:`yoriai_eval.probes.calibration.table` has them."""
        ends = np.cumsum(self.counts)
        return calibration.table(
            [self.flat[e - n : e] for e, n in zip(ends, self.counts, strict=True)]
        )


@dataclass(slots=True)
class Read:
    """What the rows of one artifact come to."""

    ranked: dict[Key, Sure] = field(default_factory=dict)
    written: dict[Key, Counter[str]] = field(default_factory=dict)


def read(rows: Iterable[Mapping[str, Any]]) -> Read:
    """Ranked and written answers by model and task."""
    made = Read()
    for row in rows:
        key = str(row["model"]), str(row["task"]).rpartition("/")[2]
        if row.get("form") == "generation":
            made.written.setdefault(key, Counter())[abstention.kind(row)] += 1
        elif row.get("form") == "ranked":
            _add(made.ranked.setdefault(key, Sure()), row)
    return made


def _add(place: Sure, row: Mapping[str, Any]) -> None:
    likelihoods, right = row.get("likelihoods"), row.get("scores", {}).get("accuracy")
    try:
        values = [float(value) for value in likelihoods or ()]
        whole = len(values) > 1 and all(map(math.isfinite, values)) and float(right) in (0.0, 1.0)
    except (TypeError, ValueError):
        whole = False
    if not whole:
        place.left_out += 1  # it could not be put, or another tool asked it
        return
    place.ids.append(str(row["id"]))
    place.flat.extend(values)
    place.counts.append(len(values))
    place.right.append(float(right))
    place.clusters.append(str(row.get("cluster", "")))


def beside(board: Board, given: Sequence[Given], found: Mapping[str, Read], seed: int = 0) -> Board:
    """The table with what its rows say of sureness; ``found`` is by an artifact's digest."""
    written = {}
    for column in board.tasks:
        for line in board.lines:
            counts = found[line.digest].written.get((line.model, column.key))
            if counts:
                written[line.label, column.key] = {
                    kind: counts[kind] for kind in abstention.KINDS if counts[kind]
                }
    sure = _of_board(board, given, found, seed)
    return replace(board, reliability=sure, written=written)


def _of_board(
    board: Board, given: Sequence[Given], found: Mapping[str, Read], seed: int
) -> list[Reliability]:
    made = []
    for column in board.tasks:
        for line in board.lines:
            sure = found[line.digest].ranked.get((line.model, column.key))
            if sure is None or len(sure.right) < FEWEST:
                continue
            beside = _dev(line.digest, line.model, column.key, given, found)
            made.append(of(line.label, column.key, sure, beside, seed))
    return made


def _dev(
    digest: str, model: str, task: str, given: Sequence[Given], found: Mapping[str, Read]
) -> Sure | None:
    """The same model on other rows of the task, asked in the same way, of a dev split."""
    [mine] = [one for one in given if one.digest == digest]
    taken = set(found[digest].ranked[model, task].ids)
    for one in given:
        other = found[one.digest].ranked.get((model, task))
        if one.facts["split"] != "dev" or one.digest == digest or other is None:
            continue
        same = protocol.identity(one.facts) == protocol.identity(mine.facts)
        if same and len(other.right) >= FEWEST and not taken & set(other.ids):
            return other
    return None


def of(label: str, task: str, sure: Sure, dev: Sure | None, seed: int) -> Reliability:
    """The numbers of one model on one task."""
    logits, right = sure.logits(), np.array(sure.right)
    confidence = calibration.confidences(logits)
    if dev is not None:
        temperature = calibration.fitted(dev.logits(), np.array(dev.right))
        after = calibration.confidences(logits, temperature)
    else:
        after, pair = calibration.fitted_crosswise(logits, right, sure.clusters)
        temperature = float(np.sqrt(pair[0] * pair[1]))
    brier = calibration.brier_of_top(confidence, right)
    area = calibration.area_under_risk
    return Reliability(
        label=label,
        task=task,
        samples=len(right),
        left_out=sure.left_out,
        right=float(right.mean()),
        sure=float(confidence.mean()),
        bins=calibration.reliability(confidence, right),
        error=calibration.expected_error(confidence, right),
        calibrated=calibration.calibrated_error(confidence, right, sure.clusters, seed),
        debiased=calibration.debiased_error(confidence, right),
        brier=float(brier.mean()),
        brier_interval=mean_interval(brier.tolist(), sure.clusters, seed),
        area=area(confidence, right),
        area_interval=calibration.interval(area, confidence, right, sure.clusters, seed),
        least_area=calibration.least_area(right),
        chance_area=float(1 - right.mean()),
        temperature=temperature,
        fitted_on="dev" if dev is not None else "halves",
        error_after=calibration.expected_error(after, right),
    )


def as_json(one: Reliability) -> dict[str, Any]:
    """As plain data, for ``report.json``."""

    def places(value: Any) -> Any:
        return (
            [round(v, PLACES) for v in value] if isinstance(value, tuple) else round(value, PLACES)
        )

    return {
        "model": one.label,
        "task": one.task,
        "samples": one.samples,
        "left_out": one.left_out,
        "accuracy": places(one.right),
        "confidence": places(one.sure),
        "ece": places(one.error),
        "ece_if_calibrated": {
            "mean": places(one.calibrated.mean),
            "below": places(one.calibrated.below),
            "p": places(one.calibrated.p),
        },
        "ece_debiased": places(one.debiased),
        "brier": places(one.brier),
        "brier_interval": places(one.brier_interval),
        "aurc": places(one.area),
        "aurc_interval": places(one.area_interval),
        "aurc_least": places(one.least_area),
        "aurc_chance": places(one.chance_area),
        "temperature": places(one.temperature),
        "temperature_from": one.fitted_on,
        "ece_after": places(one.error_after),
        "bins": [
            {
                "confidence": places(b.confidence),
                "accuracy": places(b.share),
                "samples": b.count,
                "interval": places(b.interval),
            }
            for b in one.bins
        ],
    }
