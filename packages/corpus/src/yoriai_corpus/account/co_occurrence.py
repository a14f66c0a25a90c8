"""What a corpus says of which groups: exact counts, and how far they lie from chance.

Intervals rest on documents: one document that says a thing a hundred times is one observation.
A group and an attribute occur together where a word of each stands in one sentence.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yoriai import Artifact
from yoriai.intervals import Z95, Interval, wilson
from yoriai_corpus import tables
from yoriai_corpus.account.audit import paths_of
from yoriai_corpus.account.group_terms import GroupTerms, TermFinder, sentences, swapper
from yoriai_corpus.account.intervals import risk_ratio

FLAG_ABOVE = 1.25
"""A ratio is flagged when its whole interval lies above this, or below its inverse."""
GROUP, ATTRIBUTE = "g:", "a:"  # before the names, so that one pass finds both


@dataclass(slots=True)
class TermCounts:
    """Documents and sentences by what they name; ``together`` is of one sentence.

    The last three are sums over documents of products of the numbers of its sentences: naming a
    group twice over, together twice over, and one with the other. They give the standard error of
    a share of sentences that come in documents.
    """

    documents: int = 0
    sentences: int = 0
    naming: Counter[str] = field(default_factory=Counter)
    sentences_naming: Counter[str] = field(default_factory=Counter)
    occurrences: Counter[str] = field(default_factory=Counter)
    saying: Counter[str] = field(default_factory=Counter)
    together: Counter[tuple[str, str]] = field(default_factory=Counter)
    sentences_saying: Counter[str] = field(default_factory=Counter)
    sentences_together: Counter[tuple[str, str]] = field(default_factory=Counter)
    naming_squares: Counter[str] = field(default_factory=Counter)
    together_squares: Counter[tuple[str, str]] = field(default_factory=Counter)
    products: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, found: Iterable[Sequence[str]]) -> None:
        """One document: of each of its sentences, what the finder found in it."""
        self.documents += 1
        groups: Counter[str] = Counter()
        attributes: Counter[str] = Counter()
        pairs: Counter[tuple[str, str]] = Counter()
        for names in found:
            self.sentences += 1
            here = {n[2:] for n in names if n.startswith(GROUP)}
            said = {n[2:] for n in names if n.startswith(ATTRIBUTE)}
            self.occurrences.update(n[2:] for n in names if n.startswith(GROUP))
            groups.update(here)
            attributes.update(said)
            pairs.update((g, a) for g in here for a in said)
        self.naming.update(groups.keys())
        self.saying.update(attributes.keys())
        self.together.update(pairs.keys())
        self.sentences_naming.update(groups)
        self.sentences_saying.update(attributes)
        self.sentences_together.update(pairs)
        self.naming_squares.update({g: n * n for g, n in groups.items()})
        self.together_squares.update({pair: n * n for pair, n in pairs.items()})
        self.products.update({(g, a): n * groups[g] for (g, a), n in pairs.items()})


@dataclass(slots=True)
class SwapCounts:
    """Sentences that change when groups are swapped, and those whose counterpart is there, too."""

    changing: int = 0
    with_counterpart: int = 0

    @property
    def share(self) -> float:
        return self.with_counterpart / self.changing if self.changing else 0.0


@dataclass(slots=True)
class Mentions:
    """All that one pass over a corpus counts."""

    kept: TermCounts
    by_source: dict[str, TermCounts]
    dropped: dict[str, Counter[str]]
    swaps: SwapCounts


def count(corpus: Artifact, terms: GroupTerms, languages: Callable[[str], bool]) -> Mentions:
    """Go through kept and dropped documents of the languages asked for, once.

    Of each sentence that a swap changes, sixteen bytes are held in memory.
    """
    words = {GROUP + name: known for name, known in terms.all_groups().items()}
    words |= {ATTRIBUTE + name: known for name, known in terms.attributes.items()}
    finder, swap = TermFinder(words, terms.ignored), swapper(terms)
    made = Mentions(TermCounts(), {}, {}, SwapCounts())
    seen: Counter[bytes] = Counter()
    wanted: list[bytes] = []
    for row in tables.read_rows(
        paths_of(corpus, "documents"), ["source", "id", "text", "language"]
    ):
        if not languages(row["language"]):
            continue
        found = []
        for sentence in sentences(row["text"]):
            names = [name for _, name in finder.find(sentence)]
            found.append(names)
            if any(n.startswith(GROUP) for n in names) and (other := swap(sentence)) != sentence:
                seen[_mark(sentence)] += 1
                wanted.append(_mark(other))
        made.kept.add(found)
        made.by_source.setdefault(row["source"], TermCounts()).add(found)
    made.swaps = SwapCounts(len(wanted), sum(mark in seen for mark in wanted))
    for row in tables.read_rows(paths_of(corpus, "dropped"), ["text", "language", "rule"]):
        if languages(row["language"]):
            named = {n[2:] for n in finder.names_in(row["text"]) if n.startswith(GROUP)}
            made.dropped.setdefault(row["rule"], Counter()).update([*named, ""])
    return made


def _mark(sentence: str) -> bytes:
    return hashlib.blake2b(sentence.encode("utf-8", "surrogatepass"), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Association:
    """How much oftener an attribute stands beside a group than beside the category's others.

    ``together`` of the ``naming`` documents that name the group say the attribute in a sentence
    that names it, ``others_together`` of ``others_naming`` for the other groups of the category.
    ``pmi`` is log2 of P(together) / (P(group) P(attribute)) over all sentences (Church and Hanks
    1990), with the interval of P(attribute | group) whose standard error is that between documents
    (Liang and Zeger 1986), while P(attribute) is taken as known; None for no sentence. ``ratio``
    is of the two shares of documents, with :func:`risk_ratio`; ``odds_ratio`` that of their odds,
    with 0.5 added to each cell (Haldane 1956, Anscombe 1956) and the interval of its logarithm
    (Woolf 1955).
    """

    group: str
    attribute: str
    together: int
    naming: int
    others_together: int
    others_naming: int
    pmi: float | None
    pmi_interval: Interval
    ratio: float | None
    ratio_interval: Interval
    odds_ratio: float
    odds_interval: Interval

    @property
    def flagged(self) -> bool:
        low, high = self.ratio_interval
        return low > FLAG_ABOVE or high < 1 / FLAG_ABOVE

    def plain(self) -> dict[str, Any]:
        """All of it as JSON; what is infinite is null."""

        def bounds(value: float | None, interval: Interval) -> dict[str, float | None]:
            low, high = (bound if math.isfinite(bound) else None for bound in interval)
            return {"value": value, "low": low, "high": high}

        return {
            "group": self.group,
            "attribute": self.attribute,
            "together": self.together,
            "naming": self.naming,
            "others_together": self.others_together,
            "others_naming": self.others_naming,
            "pmi": bounds(self.pmi, self.pmi_interval),
            "ratio": bounds(self.ratio, self.ratio_interval),
            "odds_ratio": bounds(self.odds_ratio, self.odds_interval),
            "flagged": self.flagged,
        }


def associate(counts: TermCounts, terms: GroupTerms) -> list[Association]:
    """Every group beside every attribute, in the order of the list."""
    found = []
    for category, groups in terms.groups.items():
        names = [f"{category}/{name}" for name in groups]
        for name in names:
            others = [other for other in names if other != name]
            for attribute in terms.attributes:
                found.append(_associate(counts, name, others, attribute))
    return found


def _associate(counts: TermCounts, name: str, others: Sequence[str], attribute: str) -> Association:
    together, naming = counts.together[name, attribute], counts.naming[name]
    # A document that names two of the others counts for each: what is compared is mentions.
    others_together = sum(counts.together[other, attribute] for other in others)
    others_naming = sum(counts.naming[other] for other in others)
    ratio = None
    if others_together and naming:
        ratio = (together / naming) / (others_together / others_naming)
    return Association(
        name,
        attribute,
        together,
        naming,
        others_together,
        others_naming,
        *_pmi(counts, name, attribute),
        ratio,
        risk_ratio(together, naming, others_together, others_naming),
        *odds_ratio(together, naming, others_together, others_naming),
    )


def _pmi(counts: TermCounts, group: str, attribute: str) -> tuple[float | None, Interval]:
    naming, saying = counts.sentences_naming[group], counts.sentences_saying[attribute]
    together = counts.sentences_together[group, attribute]
    if not naming or not saying:
        return None, Interval(-math.inf, math.inf)
    said = saying / counts.sentences
    if not together:  # as far up as so many documents without one leave open
        return None, Interval(-math.inf, math.log2(wilson(0, counts.naming[group]).high / said))
    value = math.log2(together / naming / said)
    documents, share = counts.naming[group], together / naming
    if documents < 2:
        return value, Interval(-math.inf, math.inf)
    squares = (
        counts.together_squares[group, attribute]
        - 2 * share * counts.products[group, attribute]
        + share * share * counts.naming_squares[group]
    )
    error = math.sqrt(documents / (documents - 1) * max(0.0, squares)) / together
    margin = Z95 * error / math.log(2)
    return value, Interval(value - margin, value + margin)


def odds_ratio(hits: int, total: int, other_hits: int, other_total: int) -> tuple[float, Interval]:
    """The odds ratio of two shares and its 95 % interval, 0.5 added to each cell."""
    cells = [n + 0.5 for n in (hits, total - hits, other_hits, other_total - other_hits)]
    value = math.log(cells[0] * cells[3] / (cells[1] * cells[2]))
    margin = Z95 * math.sqrt(sum(1 / n for n in cells))
    return math.exp(value), Interval(math.exp(value - margin), math.exp(value + margin))


def plain_counts(counts: TermCounts, groups: Iterable[str]) -> Mapping[str, Any]:
    """Documents, sentences and words of each group, as JSON."""
    return {
        "documents": counts.documents,
        "sentences": counts.sentences,
        "groups": {
            name: {
                "documents": counts.naming[name],
                "sentences": counts.sentences_naming[name],
                "words": counts.occurrences[name],
            }
            for name in groups
        },
    }
