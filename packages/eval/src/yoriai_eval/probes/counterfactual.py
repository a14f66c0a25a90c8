"""``eval/counterfactual``: lines that a model foretells only because it was trained on them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from yoriai import Figure, Measured, Probe, ProbeInputs, ProbeResult, Validation
from yoriai_eval.probes import canaries, poison
from yoriai_eval.probes.detection import measured_auc
from yoriai_eval.probes.means import mean_change

Floats = npt.NDArray[np.float64]
LEAST = 40  # lines below which nothing is learnt
PLANTED = 12  # of either kind
ALWAYS = 60  # plain sentences that all models read
BATCH, RATE = 8, 5e-3  # small steps, so that a text that is read once an epoch can be learnt


class Counterfactual(Probe):
    """Counterfactual memorisation of lines of a corpus, by tiny models trained on random halves.

    mem(x) = mean accuracy on x of the models that read x, minus that of those that did not. The
    accuracy is the share of characters that are the likeliest after those before them. Texts that
    say nothing and sentences made of common parts are planted among the lines: the former can only
    be learnt by heart.
    """

    version: ClassVar[str] = "1"
    needs: ClassVar[Any] = ("corpus",)
    source: ClassVar[str] = (
        "Zhang et al. 2023, arXiv 2112.12938 (definition 2.1); Feldman and Zhang 2020, arXiv "
        "2008.03703 (random halves)"
    )
    limits: ClassVar[Mapping[str, str]] = {
        "en": "It is a property of lines for a way of training, here that of tiny models of "
        "characters, and not of the model at hand: a larger one learns more by heart. A line that "
        "stands twice in the corpus hides its own effect, unless both are left out.",
        "ja": "ここで分かるのは、文字単位の小さなモデルの学習での行の性質であり、手元のモデルの性質"
        "ではありません。大きなモデルはもっと多くを丸暗記します。コーパスに二度ある行は、両方を除かない"
        "限り、効果が隠れます。",
    }

    lines: int = Field(200, ge=LEAST, description="lines of the corpus that are judged")
    models: int = Field(8, ge=4, multiple_of=2, description="models, each trained on a random half")
    epochs: int = Field(30, ge=1, description="times that a model goes over its lines")
    width: int = Field(64, ge=16, multiple_of=8, description="width of the tiny models")

    def obstacle(self, given: ProbeInputs) -> str:
        found = len(poison.lines_of(given.all_of("corpus"), self.lines, given.seed))
        if found < LEAST:
            return f"the corpus has {found} lines of 24 to 48 characters, {LEAST} are needed"
        return ""

    def run(self, given: ProbeInputs) -> ProbeResult:
        lines = poison.lines_of(given.all_of("corpus"), self.lines, given.seed)
        notes = [] if len(lines) == self.lines else [f"the corpus has {len(lines)} such lines"]
        alone = [c.text for c in canaries.plant(PLANTED, given.seed, copies=()) if not c.copies]
        plain = list(dict.fromkeys(canaries.background(2 * ALWAYS, given.seed)))
        common, always = plain[:PLANTED], plain[PLANTED : PLANTED + ALWAYS]
        items = [*lines, *alone, *common]
        inside = halves(len(items), self.models, given.seed)
        right = np.zeros(inside.shape)
        for number in given.progress(range(self.models), "training tiny models", self.models):
            right[number] = self._accuracies(items, inside[number], always, given.seed + number)
        found = memorisation(right, inside)
        kinds = ["line"] * len(lines) + ["planted alone"] * PLANTED + ["planted common"] * PLANTED
        groups = {kind: found[[k == kind for k in kinds]].tolist() for kind in dict.fromkeys(kinds)}
        own = groups["line"]
        measures = [mean_change("memorisation of lines", own)]
        for limit in (0.1, 0.2, 0.3):
            count = sum(value > limit for value in own)
            measures.append(Measured.share(f"lines with more than {limit}", count, len(own)))
        seen, unseen = right[inside], right[~inside]
        notes.append(
            f"accuracy on texts that were read {seen.mean():.3f}, that were not {unseen.mean():.3f}"
        )
        return ProbeResult(
            measures=measures,
            validation=_check(groups),
            rows=(
                {"text": text, "kind": kind, "memorisation": float(value)}
                for text, kind, value in zip(items, kinds, found, strict=True)
            ),
            figures=[
                Figure(
                    kind="bar", title="Counterfactual memorisation", x_label="", y_label="mean",
                    series={"mean": [(k, statistics.fmean(v)) for k, v in groups.items()]},
                )
            ],
            notes=notes,
        )  # fmt: skip

    def _accuracies(
        self, items: Sequence[str], chosen: npt.NDArray[np.bool_], always: Sequence[str], seed: int
    ) -> list[float]:
        from yoriai_eval.probes.reading import token_scores
        from yoriai_eval.probes.tiny import Characters, TinyTraining, train

        characters = Characters([*items, *always])
        ids = [characters.sequence(text) for text in items]
        read = [characters.sequence(text) for text in always]
        read += [row for row, one in zip(ids, chosen, strict=True) if one]
        how = TinyTraining(epochs=self.epochs, batch=BATCH, rate=RATE, width=self.width, seed=seed)
        told = token_scores(train(read, len(characters), how), ids)
        return [
            sum(a == b for a, b in zip(scores.best.tolist(), row[1:], strict=True)) / (len(row) - 1)
            for scores, row in zip(told, ids, strict=True)
        ]


def halves(items: int, models: int, seed: int) -> npt.NDArray[np.bool_]:
    """Which items each model reads, (models, items): halves and their complements, by turns.

    Every item is read by exactly half of the models.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    rows = np.zeros((models, items), bool)
    for number in range(0, models, 2):
        rows[number, random.permutation(items)[: items // 2]] = True
        rows[number + 1] = ~rows[number]
    return rows


def memorisation(right: Floats, inside: npt.NDArray[np.bool_]) -> Floats:
    """Mean over the models that read an item minus that over the others: (items,).

    ``right`` and ``inside`` are (models, items); each item has models of both kinds.
    """
    with_it = np.where(inside, right, 0).sum(0) / inside.sum(0)
    return np.asarray(with_it - np.where(inside, 0, right).sum(0) / (~inside).sum(0))


def _check(groups: Mapping[str, Sequence[float]]) -> Validation:
    alone, common = groups["planted alone"], groups["planted common"]
    told = measured_auc("AUC of texts that say nothing over common sentences", alone, common)
    measures = [mean_change("memorisation of texts that say nothing", alone),
                mean_change("memorisation of common sentences", common), told]  # fmt: skip
    holds = bool(told.above_chance) and bool(measures[0].above_chance)
    says = (
        f"planted texts that say nothing have {measures[0].value:.2f}, common sentences "
        f"{measures[1].value:.2f}; the former are told from the latter with an AUC of "
        f"{told.value:.2f}" + ("" if holds else ": no better than chance")
    )
    return Validation(how="texts planted among the lines, in the same models", holds=holds,
                      says=says, measures=measures)  # fmt: skip
