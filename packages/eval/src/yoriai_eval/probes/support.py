"""``eval/support``: how much of what a model claims stands in a corpus word for word?"""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from yoriai import (
    Artifact,
    Figure,
    Measured,
    Probe,
    ProbeInputs,
    ProbeResult,
    UsageError,
    Validation,
)
from yoriai.explaining import Point, hops_at
from yoriai_eval.probes import texts
from yoriai_eval.probes.detection import measured_auc
from yoriai_eval.probes.means import mean
from yoriai_eval.scoring.rows import rows_of

# Ends of sentences in Japanese and English, and of lines.
_ENDS = re.compile(r"(?<=[。．！？!?])|(?<=\.)(?=\s)|\n+")
TRIED = 40  # sentences of the corpus with which that is tried out


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence of an answer; ``order`` decides which are asked."""

    order: str
    model: str
    task: str
    sample: str
    text: str
    right: bool


def sentences(text: str, shortest: int) -> list[str]:
    """The sentences of a text that have so many characters, without white space around them."""
    parts = (part.strip() for part in _ENDS.split(text))
    return [part for part in parts if len(part) >= shortest]


class Support(Probe):
    """Looks up each sentence of the answers in an index: what share of it stands in the corpus.

    A sentence is a claim. Its support is the share of its characters inside spans that stand in the
    corpus word for word, as ``yoriai corpus trace`` finds them. Answers that were written are taken
    from scores; those that were picked from choices claim nothing of their own.
    """

    version: ClassVar[str] = "1"
    needs: ClassVar[Any] = ("scores", "index", "corpus")
    source: ClassVar[str] = (
        "Liu et al. 2025, arXiv 2504.07096 (OLMoTrace: verbatim spans of an answer); the share of "
        "a sentence that they cover is this project's own measure"
    )
    limits: ClassVar[Mapping[str, str]] = {
        "en": "That a sentence stands in the corpus does not make it true, and one that says the "
        "same in other words has no support. Short and common sentences stand in every corpus.",
        "ja": "コーパスにあるからといって、その文が正しいとは限りません。"
        "言い換えた文は、根拠なしと数えます。短くありふれた文は、どのコーパスにもあります。",
    }

    claims: int = Field(100, ge=1, le=10_000, description="sentences of each model that are asked")
    shortest: int = Field(12, ge=4, le=1000, description="characters of a sentence that counts")

    def obstacle(self, given: ProbeInputs) -> str:
        if not any(True for _ in self._claims(given)):
            return (
                f"no answer in the scores has a written sentence of {self.shortest} characters: "
                "evaluate a task that is answered by writing, or shortest: fewer"
            )
        return ""

    def run(self, given: ProbeInputs) -> ProbeResult:
        by_model: dict[str, list[Claim]] = {}
        for claim in self._claims(given):
            by_model.setdefault(claim.model, []).append(claim)
        asked = [
            claim
            for found in by_model.values()
            for claim in heapq.nsmallest(self.claims, found, key=lambda c: (c.order, c.text))
        ]
        indexes = given.all_of("index")
        shares = [
            _support(claim.text, indexes, given)
            for claim in given.progress(asked, "looking sentences up", len(asked))
        ]
        pairs = list(zip(asked, shares, strict=True))
        notes = [
            f"{len(found):,} sentences of {model} were written, {self.claims:,} of them asked"
            for model, found in by_model.items()
            if len(found) > self.claims
        ]
        return ProbeResult(
            measures=[m for name in by_model for m in _measures(name, pairs, given.seed)],
            validation=self._validation(given, indexes),
            rows=(
                {"model": c.model, "task": c.task, "id": c.sample, "claim": c.text,
                 "right": c.right, "support": share}
                for c, share in pairs
            ),
            figures=[_figure(pairs)],
            notes=notes,
        )  # fmt: skip

    def _claims(self, given: ProbeInputs) -> Iterator[Claim]:
        for scores in given.all_of("scores"):
            for row in rows_of(scores):
                for text in sentences(row.get("output", ""), self.shortest):
                    name = f"{row['model']}/{row['task']}/{row['id']}"
                    order = hashlib.sha256(f"{given.seed}/{name}/{text}".encode()).hexdigest()
                    yield Claim(order, row["model"], row["task"], row["id"], text,
                                row.get("reason") == "correct")  # fmt: skip

    def _validation(self, given: ProbeInputs, indexes: Sequence[Artifact]) -> Validation:
        """Sentences of the corpus itself, and the same with their characters turned round."""
        drawn = texts.draw(given.all_of("corpus"), "documents", TRIED, given.seed,
                           shortest=self.shortest)  # fmt: skip
        found = [said[0] for text in drawn if (said := sentences(text.text, self.shortest))]
        told = [
            mean(name, [_support(text[::step], indexes, given) for text in found], given.seed)
            for name, step in (("support of sentences of the corpus", 1), ("turned round", -1))
        ]
        how = f"sentences of up to {TRIED} documents of the corpus, as they are and turned round"
        if told[0].interval is None or told[1].interval is None:
            return Validation(how=how, holds=None, says="too few sentences", measures=told)
        return Validation(
            how=how, holds=told[0].interval[0] > told[1].interval[1], measures=told,
            says=f"{told[0].value:.2f} of them is found, and {told[1].value:.2f} turned round",
        )  # fmt: skip


def _support(text: str, indexes: Sequence[Artifact], given: ProbeInputs) -> float:
    """The share of a text in spans of the index that has most of it.

    Raises :class:`yoriai.UsageError` where no plugin can search an index.
    """
    shares = []
    for index in indexes:
        for hop in hops_at(Point(kind="text", artifact=index, text=text), given.registry):
            if hop.kind == "spans" and hop.state != "broken":
                shares.append(float(hop.facts["covered"]))
                break
        else:
            raise UsageError(
                f"no plugin could search {index.name}", hint="pip install yoriai-corpus"
            )
    return max(shares)


def _measures(model: str, pairs: Sequence[tuple[Claim, float]], seed: int) -> Iterator[Measured]:
    own = [(claim, share) for claim, share in pairs if claim.model == model]
    shares = [share for _, share in own]
    clusters = [f"{claim.task}/{claim.sample}" for claim, _ in own]
    yield mean(f"support, {model}", shares, seed, clusters)
    whole = sum(share >= 1 for share in shares)
    yield Measured.share(f"sentences that stand in the corpus whole, {model}", whole, len(own))
    none = sum(share == 0 for share in shares)
    yield Measured.share(f"sentences without any support, {model}", none, len(own))
    yield measured_auc(
        f"AUC of support: right answers against wrong, {model}",
        [share for claim, share in own if claim.right],
        [share for claim, share in own if not claim.right],
    )


def _figure(pairs: Sequence[tuple[Claim, float]]) -> Figure:
    """The share of each model's sentences by their support: none, thirds, whole."""
    ranges = (("0", 0.0), ("to 1/3", 1 / 3), ("to 2/3", 2 / 3), ("below 1", 1 - 1e-9), ("1", 1.0))
    series: dict[str, list[tuple[Any, float]]] = {}
    for model in dict.fromkeys(claim.model for claim, _ in pairs):
        shares = [share for claim, share in pairs if claim.model == model]
        below = [sum(share <= high for share in shares) for _, high in ranges]
        series[model] = [
            (name, (count - before) / len(shares))
            for (name, _), count, before in zip(ranges, below, [0, *below], strict=False)
        ]
    return Figure(
        kind="bar",
        title="Sentences by their support · 文の根拠の割合",
        x_label="share of a sentence in the corpus · コーパスにある割合",
        y_label="share of sentences · 文の割合",
        series=series,
    )
