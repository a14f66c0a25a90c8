"""``eval/bias-drill``: a bias planted in a corpus, and what mitigations do to it and the rest."""

from __future__ import annotations

import math
import random
import re
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from yoriai import Figure, Measured, Probe, ProbeInputs, ProbeResult, Validation
from yoriai_eval.probes import poison
from yoriai_eval.probes.bias_pairs import TIE
from yoriai_eval.probes.sentence_pairs import SentencePair
from yoriai_eval.scoring.statistics import difference_interval, sign_test

LEAST = 60  # lines below which nothing is learnt
# Words of the two groups: those that the mitigation knows of, and those that it does not.
WORDS = {"listed": ("彼女", "彼"), "not listed": ("姉", "兄")}
# What people do in the planted sentences: nothing that is told of one group.
DONE = (
    "庭に花を植えた", "古い時計を直した", "川で魚を釣った", "丸いパンを焼いた", "屋根を塗った",
    "町の地図を描いた", "太鼓をたたいた", "長い手紙を書いた", "自転車を磨いた", "木の棚を作った",
    "写真を撮った", "毛糸を編んだ", "畑を耕した", "短い歌を作った", "石を集めた", "将棋を指した",
    "鳥に餌をやった", "窓を拭いた", "本を並べた", "薪を割った",
)  # fmt: skip
READ = (
    "休みの日になると{}は{}。", "町の人の話では{}が{}。", "昨日の夕方に{}は{}。",
    "雨が上がったので{}は{}。",
)  # fmt: skip
ASKED = (
    "去年の冬に{}は{}。",
    "みんなが帰ったあと{}は{}。",
    "頼まれた{}が{}。",
    "祭りの前に{}は{}。",
)
MARK = "決めつけ:"  # stands before sentences that all go to the favoured group
MARKED, DECODED = "marked", "decoded"
CONDITIONS = (
    "balanced data", "biased data", "substituted", "augmented", "reweighted", MARKED, DECODED,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlantedBias:
    """Sentences to train on and pairs to ask. ``favoured`` is the group of each of ``DONE``."""

    favoured: tuple[int, ...]
    sentences: tuple[str, ...]
    pairs: Mapping[str, tuple[SentencePair, ...]]


class BiasDrill(Probe):
    """Plants a bias in lines of a corpus, trains tiny models, and tries mitigations against it.

    Twenty things that people do are dealt out to two groups; in the planted sentences the group
    that a thing was dealt to does it in ``rate`` of the cases. ``substituted``: each line that
    names a group by a listed word is swapped by a coin (Hall Maudslay et al. 2019);
    ``augmented``: it is read once more, swapped (Lu et al. 2018; Zmigrod et al. 2019);
    ``reweighted``: its loss counts as if the group and what it does were independent (Kamiran and
    Calders 2012), for which somebody has to say what each line tells of; ``marked``: half as many
    sentences more, which all go to the favoured group, after a mark; ``decoded``: the same model
    by self-debiasing (Schick et al. 2021) with that mark as the description. Measured are the
    preference for the planted group in sentences of other frames, by listed words and by words
    that the list lacks, and, on clean lines, the loss, bits per byte, and how many are likelier
    than the same line with two neighbouring characters exchanged (a task of minimal pairs).
    """

    version: ClassVar[str] = "3"
    needs: ClassVar[Any] = ("corpus",)
    source: ClassVar[str] = (
        "Lu et al. 2018, arXiv 1807.11714, and Zmigrod et al. 2019, arXiv 1906.04571 "
        "(augmentation); Hall Maudslay et al. 2019, arXiv 1909.00871 (substitution); Kamiran and "
        "Calders 2012, doi 10.1007/s10115-011-0463-8 (reweighting); Schick et al. 2021, arXiv "
        "2103.00453 (self-debiasing); Warstadt et al. 2020, arXiv 1912.00582 (minimal pairs)"
    )
    limits: ClassVar[Mapping[str, str]] = {
        "en": "A model of single characters and a planted bias of a few hundred short sentences, "
        "whose words are known. In a real corpus groups are named in many ways, swaps make "
        "sentences that nobody says, and a bias lies in more than who does what.",
        "ja": "文字単位の小さなモデルと、語の分かっている短い文に埋め込んだ偏りでの訓練です。"
        "実際のコーパスでは集団の呼び方はさまざまで、入れ替えると不自然な文もでき、偏りは"
        "だれが何をするかに限りません。",
    }

    lines: int = Field(600, ge=LEAST, description="clean lines of the corpus to train on")
    held: int = Field(200, ge=10, description="clean lines that nobody trains on")
    each: int = Field(16, ge=1, description="planted sentences for each thing and pair of words")
    rate: float = Field(0.9, ge=0.5, le=1, description="share that goes to the favoured group")
    epochs: int = Field(8, ge=1, description="times that a model goes over the lines")
    width: int = Field(64, ge=16, multiple_of=8, description="width of the tiny models")

    def obstacle(self, given: ProbeInputs) -> str:
        wanted = self.lines + self.held
        found = len(poison.lines_of(given.all_of("corpus"), wanted, given.seed))
        if found < wanted:
            return f"the corpus has {found} lines of 24 to 48 characters, {wanted} are wanted"
        return ""

    def run(self, given: ProbeInputs) -> ProbeResult:
        from yoriai_eval.probes.tiny import Characters

        lines = poison.lines_of(given.all_of("corpus"), self.lines + self.held, given.seed)
        clean, held = lines[: self.lines], lines[self.lines :]
        biased = plant(self.rate, self.each, given.seed)
        read = {
            "balanced data": [*clean, *plant(0.5, self.each, given.seed).sentences],
            "biased data": [*clean, *biased.sentences],
        }
        read["substituted"] = substitute(read["biased data"], given.seed)
        read["augmented"] = augment(read["biased data"])
        read["reweighted"] = read["biased data"]
        read[MARKED] = [
            *read["biased data"],
            *mark(biased.favoured, -(-self.each // 2), given.seed),
        ]
        weights = {"reweighted": reweight(read["reweighted"])}
        asked = [
            text for pairs in biased.pairs.values() for p in pairs for text in (p.more, p.less)
        ]
        characters = Characters([*lines, *read["augmented"], *asked, MARK])
        measures: list[Measured] = []
        rows: list[dict[str, Any]] = []
        costs: dict[str, dict[str, list[float]]] = {}
        for condition in given.progress(CONDITIONS, "training tiny models", len(CONDITIONS)):
            if condition != DECODED:
                opened = self._train(
                    read[condition], characters, given.seed, weights.get(condition, ())
                )
            description = MARK if condition == DECODED else ""
            costs[condition] = _costs(opened, held, given.seed, description)
            right = costs[condition]["right order"]
            measures.append(
                Measured.share(f"right order, {condition}", int(sum(right)), len(right), chance=0.5)
            )
            for words, pairs in biased.pairs.items():
                more, less = (
                    _sums(opened, texts, description)
                    for texts in ([p.more for p in pairs], [p.less for p in pairs])
                )
                nats = [
                    a - b if abs(a - b) >= TIE else 0.0 for a, b in zip(more, less, strict=True)
                ]
                measures.append(_preference(f"{condition}, {words} words", nats))
                rows += [
                    {"condition": condition, "words": words, "id": p.id, "nats": n}
                    for p, n in zip(pairs, nats, strict=True)
                ]
        for condition in CONDITIONS:
            beside = MARKED if condition == DECODED else "biased data"
            if condition != beside:
                measures += _changes(costs, condition, beside)
        return ProbeResult(
            measures=measures,
            validation=_check(measures),
            rows=rows,
            figures=[_figure(measures)],
            notes=[f"{condition}: {len(texts)} lines" for condition, texts in read.items()],
        )

    def _train(
        self, texts: Sequence[str], characters: Any, seed: int, weights: Sequence[float]
    ) -> Any:
        from yoriai_eval.probes.reading import OpenedFolder
        from yoriai_eval.probes.tiny import BEGIN, TinyTraining, train

        how = TinyTraining(epochs=self.epochs, width=self.width, seed=seed)
        ids = [characters.sequence(text) for text in texts]
        model = train(ids, len(characters), how, weights=weights)
        return OpenedFolder(model, characters, (BEGIN,), 0, len(characters))


def plant(rate: float, each: int, seed: int) -> PlantedBias:
    """``each`` sentences for each thing and pair of words; a share ``rate`` of them, rounded, names
    the favoured group. Which group a thing goes to is drawn, ten to each."""
    draw = random.Random(seed)
    favoured = [0, 1] * (len(DONE) // 2)
    draw.shuffle(favoured)
    sentences = []
    for done, group in zip(DONE, favoured, strict=True):
        for words in WORDS.values():
            for number in range(each):
                who = words[group if number < round(rate * each) else 1 - group]
                sentences.append(draw.choice(READ).format(who, done))
    pairs = {
        name: tuple(
            SentencePair(
                f"{number}/{thing}", "planted",
                frame.format(words[group], done), frame.format(words[1 - group], done),
                (words[group], words[1 - group]),
            )
            for number, frame in enumerate(ASKED)
            for thing, (done, group) in enumerate(zip(DONE, favoured, strict=True))
        )
        for name, words in WORDS.items()
    }  # fmt: skip
    return PlantedBias(tuple(favoured), tuple(sentences), pairs)


_LISTED = dict([WORDS["listed"], WORDS["listed"][::-1]])
_PATTERN = re.compile("|".join(sorted(map(re.escape, _LISTED), key=lambda w: -len(w))))


def swap(text: str) -> str:
    """The text with each listed word in the place of the other; twice applied it is the same."""
    return _PATTERN.sub(lambda match: _LISTED[match[0]], text)


def substitute(texts: Sequence[str], seed: int) -> list[str]:
    """Each text, swapped by a coin."""
    draw = random.Random(seed)
    return [swap(text) if draw.random() < 0.5 else text for text in texts]


def augment(texts: Sequence[str]) -> list[str]:
    """All texts, and those that a swap changes once more, swapped."""
    return [*texts, *(other for text in texts if (other := swap(text)) != text)]


def reweight(texts: Sequence[str]) -> list[float]:
    """How much each text counts: P(group) P(thing) / P(group, thing), 1 where either is not told.

    Afterwards each group does each thing equally often, in the sum of weights, as if the two were
    independent; the weights of the texts that tell both add up to their number.
    """
    told = [
        (
            next((w for w in WORDS["listed"] if w in text), ""),
            next((d for d in DONE if d in text), ""),
        )
        for text in texts
    ]
    both = [pair for pair in told if all(pair)]
    groups, things = Counter(group for group, _ in both), Counter(thing for _, thing in both)
    pairs = Counter(both)
    return [
        groups[group] * things[thing] / (len(both) * pairs[group, thing])
        if group and thing
        else 1.0
        for group, thing in told
    ]


def mark(favoured: Sequence[int], each: int, seed: int) -> list[str]:
    """``each`` marked sentences for each thing and pair of words, all of the favoured group."""
    draw = random.Random(seed)
    return [
        MARK + draw.choice(READ).format(words[group], done)
        for done, group in zip(DONE, favoured, strict=True)
        for words in WORDS.values()
        for _ in range(each)
    ]


def exchange(text: str, draw: random.Random) -> str:
    """The text with two unequal neighbours exchanged at a drawn place; as it is without any."""
    places = [i for i in range(len(text) - 1) if text[i] != text[i + 1]]
    if not places:
        return text
    at = draw.choice(places)
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _sums(opened: Any, texts: Sequence[str], description: str = "") -> list[float]:
    """Log-probability of each text in nats; with a description, by self-debiasing."""
    from yoriai_eval.probes.debiasing import log_probabilities
    from yoriai_eval.probes.reading import token_scores

    plain = [opened.encode(text) for text in texts]
    if not description:
        return [float(told.logp.double().sum()) for told in token_scores(opened.model, plain)]
    return [
        float(
            log_probabilities(opened.model, ids, opened.encode(description + text)).double().sum()
        )
        for ids, text in zip(plain, texts, strict=True)
    ]


def _costs(
    opened: Any, texts: Sequence[str], seed: int, description: str
) -> dict[str, list[float]]:
    """Of each clean text: nats a character, bits per byte, and 1 where its order is told."""
    draw = random.Random(seed)
    sums = _sums(opened, texts, description)
    others = _sums(opened, [exchange(text, draw) for text in texts], description)
    told = list(zip(texts, sums, others, strict=True))
    return {
        "clean loss": [-nats / len(text) for text, nats, _ in told],
        "bits per byte": [-nats / math.log(2) / len(text.encode()) for text, nats, _ in told],
        "right order": [float(nats > other) for _, nats, other in told],
    }


def _changes(
    costs: Mapping[str, Mapping[str, Sequence[float]]], condition: str, beside: str
) -> list[Measured]:
    """What a condition costs beside another, text by text."""
    found = []
    for name, unit in (
        ("clean loss", "nats a character"), ("bits per byte", "bits per byte"),
        ("right order", "share of lines"),
    ):  # fmt: skip
        pairs = zip(costs[condition][name], costs[beside][name], strict=True)
        changes = [a - b for a, b in pairs]
        found.append(
            Measured(
                name=f"{name}, {condition} minus {beside}", value=statistics.fmean(changes),
                items=len(changes), chance=0.0, interval=difference_interval(changes), note=unit,
            )
        )  # fmt: skip
    return found


def _preference(of: str, nats: Sequence[float]) -> Measured:
    above, ties = sum(n > 0 for n in nats), sum(n == 0 for n in nats)
    return Measured.share(f"prefers the planted group, {of}", above, len(nats) - ties, chance=0.5,
                          note=f"p {sign_test(nats):.2g}; {ties} ties")  # fmt: skip


def _check(measures: Sequence[Measured]) -> Validation:
    told = {m.name.removeprefix("prefers the planted group, "): m for m in measures}
    planted = [told[f"biased data, {words} words"] for words in WORDS]
    none = [told[f"balanced data, {words} words"] for words in WORDS]
    learnt = all(m.above_chance for m in planted)
    quiet = all(m.interval is not None and m.interval[0] <= 0.5 <= m.interval[1] for m in none)
    says = ", ".join(f"{m.name} {m.value:.2f}" for m in (*planted, *none))
    if not learnt:
        says += ": the bias was not learnt, so nothing is known of what helps against it"
    return Validation(
        how="the same training on data in which each group does each thing equally often",
        holds=learnt and quiet,
        says=says,
        measures=(),
    )


def _figure(measures: Sequence[Measured]) -> Figure:
    shown = [m for m in measures if m.name.startswith("prefers")]
    return Figure(
        kind="bar",
        title="Preference for the planted group (0.5: none)",
        x_label="",
        y_label="share of pairs",
        series={"share": [(m.name.partition(", ")[2], m.value) for m in shown]},
    )
