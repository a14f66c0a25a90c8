"""``eval/extraction``: which training texts a model writes word for word after their beginning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from yoriai import Figure, Measured, Probe, ProbeInputs, ProbeResult, Validation
from yoriai_eval.probes import canaries, texts
from yoriai_eval.probes.first_seen import FirstSeen, by_first_step, first_seen
from yoriai_eval.probes.means import mean

if TYPE_CHECKING:
    from yoriai_eval.probes.reading import OpenedFolder

# Tokens of the beginning and of what has to follow, as others measure it.
PROTOCOLS: Mapping[str, Mapping[str, Any]] = {
    # llm-jp/memorization-analysis, src/evaluate.py and src/plot.py: sequences of 100 to 1,000
    # tokens, the last 50 of which have to be written; frequencies in these bins.
    "llm-jp": {"prefixes": [50, 150, 450, 950], "continuation": 50,
               "bins": [0, 1, 10, 100, 1000]},
    # EleutherAI/pythia, predictable-memorization: the first 32 tokens and the 32 after them.
    "pythia": {"prefixes": [32], "continuation": 32},
}  # fmt: skip
MOST_TRIED = 100_000  # texts of a table that are tokenised in search of long enough ones
FITS_IN = 2.5  # times the size of the weights: fp32 from bf16, and room to work


class Extraction(Probe):
    """Share of training sequences s with greedy(s[:k], n) = s[k:k+n].

    By k, by copies in the corpus, and by the part of the training that first saw them.

    Sequences begin where documents begin. ``approximate`` counts those, too, whose continuation
    is nearly the right one by edit distance, and the token accuracy. Documents that were held out
    are asked in the same way: what is written of them was not learnt by heart.
    """

    version: ClassVar[str] = "3"
    needs: ClassVar[Any] = ("weights", "corpus")
    own_data: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Carlini et al. 2023, arXiv 2202.07646 (extractable, by k and copies); Biderman et al. "
        "2023, arXiv 2304.11158 (token accuracy); llm-jp/memorization-analysis (protocol llm-jp)"
    )
    limits: ClassVar[Mapping[str, str]] = {
        "en": "Greedy writing after the true beginning is one way to ask: what it does not bring "
        "out may still be in the model. A short or common continuation can be written without "
        "having been learnt by heart, which is what the rate of held-out texts shows.",
        "ja": "正しい書き出しに続けて貪欲に書かせるのは、尋ね方の一つです。これで出てこなくても、"
        "覚えていないとは限りません。短い続きやありふれた続きは、丸暗記しなくても書けます。"
        "学習に使っていない文書での割合が、その目安です。",
    }

    protocol: Literal["", "llm-jp", "pythia"] = Field(
        "", description="prefixes, continuation and bins as others measure; empty: as said here"
    )
    prefixes: list[int] = Field(
        [8, 16, 32, 64], min_length=1, description="tokens of the beginning that are given"
    )
    continuation: int = Field(32, ge=1, description="tokens that have to follow")
    bins: list[int] = Field(
        [0, 1, 2, 4, 16, 64],
        min_length=1,
        description="where a range of copies in the corpus begins",
    )
    items: int = Field(200, ge=1, description="documents asked, and as many held out ones")
    approximate: bool = Field(True, description="edit distance and token accuracy, too")
    similar: float = Field(
        0.9, gt=0, le=1, description="1 - edit distance / length from which it is nearly right"
    )
    twin: bool = Field(
        True, description="validate on a tiny model with planted texts; some seconds"
    )

    @pydantic.model_validator(mode="before")
    @classmethod
    def _by_protocol(cls, values: Any) -> Any:
        name = values.get("protocol", "") if isinstance(values, dict) else ""
        told = PROTOCOLS.get(name) if isinstance(name, str) else None
        return {**told, **values} if told else values

    @pydantic.field_validator("prefixes", "bins")
    @classmethod
    def _in_order(cls, value: list[int]) -> list[int]:
        if value != sorted(set(value)) or value[0] < 0:
            raise ValueError("give rising numbers")
        return value

    def obstacle(self, given: ProbeInputs) -> str:
        fits = self._fitting(given)
        if not fits:
            return (
                f"no prefix of {self.prefixes} tokens and {self.continuation} more fit into the "
                "model's context: give shorter ones"
            )
        return ""

    def memory_bytes(self, given: ProbeInputs) -> int:
        return int(FITS_IN * texts.weights_bytes(given.the_model().folder))

    def _fitting(self, given: ProbeInputs) -> list[int]:
        context = texts.context_of(given.the_model().folder)
        return [k for k in self.prefixes if not context or k + self.continuation <= context]

    def run(self, given: ProbeInputs) -> ProbeResult:
        from yoriai_eval.probes.reading import open_folder

        fits, corpora = self._fitting(given), given.all_of("corpus")
        opened = open_folder(given.the_model().folder)
        notes = [f"prefixes of {k} tokens do not fit into the context of {opened.context}"
                 for k in self.prefixes if k not in fits]  # fmt: skip
        groups: dict[str, list[Extracted]] = {}
        least = fits[0] + self.continuation
        for table in texts.TABLES:
            fitting = partial(opened.has_tokens, count=least)
            found = texts.draw_fitting(
                corpora, table, self.items, given.seed, fitting, most=MOST_TRIED
            )
            drawn = found.texts
            if found.passed_over:
                notes.append(
                    f"{found.passed_over} of {found.tried} texts drawn from {table} were passed "
                    f"over: they have fewer than {least} tokens"
                )
            label = f"writing what follows in {table}"
            groups[table] = self._ask(opened, list(given.progress(drawn, label, len(drawn))), fits)
            short = sum(len(asked.ids) < fits[-1] + self.continuation for asked in groups[table])
            if short:
                notes.append(
                    f"{short} of {len(drawn)} texts of {table} are too short for the longest "
                    "prefix, and are asked with shorter ones only"
                )
        trained = groups["documents"]
        pieces = [opened.decode(a.ids[a.longest : a.longest + self.continuation]) if a.exact
                  else "" for a in trained]  # fmt: skip
        for asked, count in zip(trained, texts.count_copies(corpora, pieces), strict=True):
            asked.copies = count
        measures = [m for k in fits for m in self._rates(groups, k, given.seed)]
        measures += self._by_copies(trained)
        right = {f"{a.source}/{a.id}": a.exact[a.longest] for a in trained if a.exact}
        seen, unknown = first_seen(given, list(right))
        for asked in trained:
            asked.first = seen.get(f"{asked.source}/{asked.id}")
        measures += by_first_step(right, seen, "exact at the longest k")
        notes += [unknown] if unknown else []
        return ProbeResult(
            measures=measures,
            validation=self._validation(given.seed),
            rows=(row for name, found in groups.items() for a in found for row in a.rows(name)),
            figures=[*self._figures(groups, fits, trained)],
            notes=notes,
        )

    def _ask(
        self, opened: OpenedFolder, drawn: Sequence[texts.CorpusText], fits: Sequence[int]
    ) -> list[Extracted]:
        asked = [Extracted(d.source, d.id, opened.encode(d.text)[: fits[-1] + self.continuation])
                 for d in drawn]  # fmt: skip
        extract(opened, asked, fits, self.continuation, approximate=self.approximate)
        return asked

    # --- what is told ---------------------------------------------------------------------

    def _rates(
        self, groups: Mapping[str, list[Extracted]], k: int, seed: int
    ) -> Iterator[Measured]:
        control = [a for a in groups["heldout"] if k in a.exact]
        chance = sum(a.exact[k] for a in control) / len(control) if control else None
        for name, word in (("documents", "trained"), ("heldout", "held out")):
            found = [a for a in groups[name] if k in a.exact]
            if not found:  # a share of nothing would read as a measured 0
                continue
            floor = chance if name == "documents" else None
            yield Measured.share(
                f"exact k={k} {word}", sum(a.exact[k] for a in found), len(found), chance=floor
            )
            if not self.approximate:
                continue
            near = sum(a.similarity[k] >= self.similar for a in found)
            yield Measured.share(f"approximate k={k} {word}", near, len(found))
            values = [a.accuracy[k] for a in found]
            yield mean(f"token accuracy k={k} {word}", values, seed)

    def _by_copies(self, trained: Sequence[Extracted]) -> Iterator[Measured]:
        found = Counter(self._bin(a.copies) for a in trained if a.exact)
        right = Counter(self._bin(a.copies) for a in trained if a.exact and a.exact[a.longest])
        for low in self.bins:
            if found[low]:
                yield Measured.share(
                    f"exact at the longest k, copies {self._range(low)}", right[low], found[low]
                )

    def _bin(self, copies: int) -> int:
        return max((low for low in self.bins if low <= copies), default=self.bins[0])

    def _range(self, low: int) -> str:
        after = [b for b in self.bins if b > low]
        if not after:
            return f"{low} or more"
        return str(low) if after[0] == low + 1 else f"{low} to {after[0] - 1}"

    def _figures(
        self,
        groups: Mapping[str, list[Extracted]],
        fits: Sequence[int],
        trained: Sequence[Extracted],
    ) -> Iterator[Figure]:
        series = {}
        for name, word in (("documents", "trained"), ("heldout", "held out")):
            points = [(k, [a.exact[k] for a in groups[name] if k in a.exact]) for k in fits]
            series[word] = [(k, sum(v) / len(v)) for k, v in points if v]
        yield Figure(
            kind="line", title="Written word for word, by the tokens given",
            x_label="tokens of the beginning", y_label="share", series=series,
        )  # fmt: skip
        bars = [(m.name.rpartition("copies ")[2], m.value) for m in self._by_copies(trained)]
        yield Figure(
            kind="bar", title="Written word for word, by copies in the corpus",
            x_label="copies", y_label="share", series={"trained": bars},
        )  # fmt: skip

    def _validation(self, seed: int) -> Validation:
        how = "a tiny model with planted texts of 0, 1, 4, 16 and 64 copies"
        if not self.twin:
            return Validation(how=how, holds=None, says="it was switched off (twin: false)")
        measures = dose_response(seed)
        rates = [m.value for m in measures]
        # Two planted texts of a dose may go the other way by chance.
        rising = all(b >= a - 2 / DOSE for a, b in pairwise(rates))
        holds = rates[0] <= 1 / DOSE and rates[-1] >= 0.9 and rising
        told = ", ".join(f"{m.name.removeprefix('copies ')}: {m.value:.2f}" for m in measures)
        return Validation(how=how, holds=holds, measures=measures,
                          says=f"share written word for word by copies: {told}")  # fmt: skip


@dataclass(slots=True)
class Extracted:
    """A sequence, and by the length of the beginning what came of it."""

    source: str
    id: str
    ids: list[int]
    exact: dict[int, bool] = None  # type: ignore[assignment]
    accuracy: dict[int, float] = None  # type: ignore[assignment]
    similarity: dict[int, float] = None  # type: ignore[assignment]
    copies: int = 0
    first: FirstSeen | None = None

    def __post_init__(self) -> None:
        self.exact, self.accuracy, self.similarity = {}, {}, {}

    @property
    def longest(self) -> int:
        """The longest beginning that was given; 0 where the sequence is too short for any."""
        return max(self.exact, default=0)

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        for k, right in self.exact.items():
            row = {"table": table, "source": self.source, "id": self.id, "k": k, "exact": right}
            if k in self.similarity:
                row |= {"token_accuracy": self.accuracy[k], "similarity": self.similarity[k]}
            if table == "documents" and k == self.longest:
                row["copies"] = self.copies
                row["first_step"] = self.first.step if self.first else None
            yield row


def extract(
    opened: OpenedFolder,
    asked: Sequence[Extracted],
    prefixes: Sequence[int],
    count: int,
    *,
    approximate: bool,
) -> None:
    """Fill in what came of each sequence, for every beginning that leaves ``count`` ids after it.

    One pass over the whole sequence decides all beginnings at once: greedy writing gives the right
    ids if and only if each of them is the likeliest after the right ones before it. Only where it
    does not is anything written.
    """
    from rapidfuzz.distance import Levenshtein

    from yoriai_eval.probes.reading import token_scores, write_greedily

    open_ones = [a for a in asked if len(a.ids) > 1]
    scores = token_scores(opened.model, [a.ids for a in open_ones])
    waiting: list[tuple[Extracted, int]] = []
    for sequence, told in zip(open_ones, scores, strict=True):
        best = told.best.tolist()
        for k in prefixes:
            if len(sequence.ids) < k + count or k < 1:
                continue
            right = best[k - 1 : k - 1 + count] == sequence.ids[k : k + count]
            sequence.exact[k] = right
            if right:
                sequence.accuracy[k] = sequence.similarity[k] = 1.0
            else:
                waiting.append((sequence, k))
    if not approximate:
        return
    written = write_greedily(opened.model, [s.ids[:k] for s, k in waiting], count)
    for (sequence, k), made in zip(waiting, written, strict=True):
        wanted = sequence.ids[k : k + count]
        sequence.accuracy[k] = sum(a == b for a, b in zip(made, wanted, strict=True)) / count
        sequence.similarity[k] = Levenshtein.normalized_similarity(
            opened.decode(made), opened.decode(wanted)
        )


# --- validation: planted texts ------------------------------------------------------------

DOSE = 10  # planted texts of each number of copies
GIVEN, WANTED = 8, 12  # characters


def dose_response(seed: int, each: int = DOSE) -> list[Measured]:
    """The share of planted texts that a tiny model writes, by their copies; the same code."""
    from yoriai_eval.probes.reading import OpenedFolder
    from yoriai_eval.probes.tiny import BEGIN, Characters, TinyTraining, train

    planted = canaries.plant(each, seed)
    plain = canaries.background(300, seed)
    characters = Characters([*plain, *(c.text for c in planted)])
    trained = [*plain, *(c.text for c in planted for _ in range(c.copies))]
    how = TinyTraining(epochs=6, batch=64, rate=5e-3, seed=seed)
    model = train([characters.sequence(text) for text in trained], len(characters), how)
    opened = OpenedFolder(model, characters, (BEGIN,), 0, len(characters))
    asked = [Extracted("planted", str(c.copies), opened.encode(c.text)) for c in planted]
    extract(opened, asked, [GIVEN], WANTED, approximate=False)
    measures = []
    for copies in (0, *canaries.COPIES):
        found = [a.exact[GIVEN] for a in asked if a.id == str(copies)]
        measures.append(Measured.share(f"copies {copies}", sum(found), len(found)))
    return measures
