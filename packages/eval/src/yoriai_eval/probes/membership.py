"""``eval/membership``: can one tell, from what a model finds likely, what it was trained on?"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from yoriai import Figure, Measured, Probe, ProbeInputs, ProbeResult, Validation
from yoriai_eval.probes import canaries, texts
from yoriai_eval.probes.detection import measured_auc, measured_true_positives

if TYPE_CHECKING:
    from yoriai_eval.probes.reading import OpenedFolder, TokenScores

METHODS = ("loss", "zlib", "reference", "mink", "minkpp")
FITS_IN = 2.5  # times the size of the weights
BLIND = "zlib without a model"
Scores = dict[str, float]


class Membership(Probe):
    """Membership inference by loss, zlib, a reference model, Min-K % and Min-K %++.

    Members are documents of the training corpus, the others those that ``corpus/build`` held out
    by chance, so both come from one distribution. Whether they do is measured too: a score that
    needs no model must not tell them apart.
    """

    version: ClassVar[str] = "1"
    needs: ClassVar[Any] = ("weights", "corpus")
    own_data: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Yeom et al. 2018, arXiv 1709.01604 (loss); Carlini et al. 2021, arXiv 2012.07805 (zlib, "
        "reference) and 2022, arXiv 2112.03570 (TPR at low FPR); Shi et al. 2023, arXiv "
        "2310.16789 (Min-K %); Zhang et al. 2024, arXiv 2404.02936 (Min-K %++); Duan et al. 2024, "
        "arXiv 2402.07841 (same-distribution hold-out)"
    )
    limits: ClassVar[Mapping[str, str]] = {
        "en": "An AUC near one half says that these methods do not see membership, not that "
        "nothing was learnt by heart. A document of the corpus that training never came to counts "
        "as a member. Only the beginning of each document is read.",
        "ja": "AUC が 0.5 に近いことは、これらの手法では見分けられないことを示すだけで、"
        "何も覚えていないことを示しません。学習で一度も使われなかった文書も、コーパスにあれば"
        "メンバーと数えます。読むのは文書の初めだけです。",
    }

    items: int = Field(300, ge=1, description="documents of each side")
    tokens: int = Field(128, ge=2, description="tokens of each document that are read")
    shortest: int = Field(40, ge=1, description="characters below which a document is left out")
    share: float = Field(
        0.2, gt=0, le=1, description="least likely tokens that Min-K % and Min-K %++ look at"
    )
    reference: str = Field(
        "", description="Hugging Face folder of another model; empty: the earliest checkpoint"
    )
    twin: bool = Field(
        True, description="validate on a tiny model whose members are known; some seconds"
    )

    def obstacle(self, given: ProbeInputs) -> str:
        empty = [
            corpus.name for corpus in given.all_of("corpus")
            if not texts.has_table(corpus, "heldout")
        ]  # fmt: skip
        if empty:
            return f"{empty[0]} held nothing out: build it with heldout: 0.05"
        if self.reference and not (Path(self.reference) / "config.json").is_file():
            return f"reference: {self.reference} is no Hugging Face folder"
        return ""

    def memory_bytes(self, given: ProbeInputs) -> int:
        return int(FITS_IN * texts.weights_bytes(given.the_model().folder))

    def fingerprint(self) -> str:
        """Digest of the reference model's folder."""
        from yoriai_eval.scoring.run import folder_digest

        return folder_digest(Path(self.reference)) if self.reference else ""

    def run(self, given: ProbeInputs) -> ProbeResult:
        from yoriai_eval.probes.reading import open_folder

        corpora, model = given.all_of("corpus"), given.the_model()
        drawn = {
            table: texts.draw(corpora, table, self.items, given.seed, shortest=self.shortest)
            for table in texts.TABLES
        }
        opened = open_folder(model.folder)
        notes = []
        other: OpenedFolder | None = None
        if self.reference:
            other = open_folder(Path(self.reference))
        elif model.checkpoints:
            step, place = model.checkpoints[0]
            other = open_folder(place, tokenizer=model.folder)
            notes.append(f"the reference is the model's own checkpoint of step {step}")
        else:
            notes.append("no reference model: name one under 'reference', or keep a checkpoint")
        found = {
            table: [
                self._scores(opened, other, rows[at : at + 64])
                for at in given.progress(range(0, len(rows), 64), f"reading {table}", None)
            ]
            for table, rows in drawn.items()
        }
        scores = {table: [s for part in parts for s in part] for table, parts in found.items()}
        measures = self._measures(scores["documents"], scores["heldout"], given.seed)
        blind = next(m for m in measures if m.name == f"AUC {BLIND}")
        if blind.interval and not blind.interval[0] <= 0.5 <= blind.interval[1]:
            notes.append(
                f"without any model the AUC is {blind.value:.2f}: the texts that were held out are "
                "not like the others, so the other AUCs say less than they seem to"
            )
        best = max((m for m in measures if m.name.startswith("AUC") and m is not blind),
                   key=lambda m: m.value)  # fmt: skip
        if best.interval and best.interval[0] <= 0.5:
            notes.append("no method is better than chance here")
        return ProbeResult(
            measures=measures,
            validation=self._validation(given.seed),
            rows=(
                {"table": table, "source": d.source, "id": d.id, **told}
                for table, rows in drawn.items()
                for d, told in zip(rows, scores[table], strict=True)
            ),
            figures=[_roc(scores["documents"], scores["heldout"])],
            notes=notes,
        )

    def _scores(
        self, opened: OpenedFolder, other: OpenedFolder | None, rows: Sequence[texts.CorpusText]
    ) -> list[Scores]:
        """The scores of documents by method; higher: more like a member."""
        from yoriai_eval.probes.reading import token_scores

        limit = min(self.tokens, opened.context) if opened.context else self.tokens
        ids = [opened.encode(row.text)[: limit + 1] for row in rows]
        read = [opened.decode(i[len(opened.first) :]) for i in ids]
        told = token_scores(opened.model, ids)
        scores = [of_tokens(t, text, self.share) for t, text in zip(told, read, strict=True)]
        if other is not None:
            # Another tokenizer cuts otherwise, so likelihoods of texts are compared, by byte.
            room = other.context or 10**9
            theirs = token_scores(other.model, [other.encode(text)[:room] for text in read])
            for one, mine, their, text in zip(scores, told, theirs, read, strict=True):
                size = max(1, len(text.encode()))
                one["reference"] = float(mine.logp.sum() - their.logp.sum()) / size
        return scores

    def _measures(
        self, members: Sequence[Scores], others: Sequence[Scores], seed: int
    ) -> list[Measured]:
        made = []
        for name in (*METHODS, BLIND):
            first, second = ([s[name] for s in side if name in s] for side in (members, others))
            if first and second:
                made.append(measured_auc(f"AUC {name}", first, second))
                made.append(measured_true_positives(f"TPR at 1 % FPR {name}", first, second, seed))
        return made

    def _validation(self, seed: int) -> Validation:
        how = "a tiny model that read half of the texts of one distribution until it knew them"
        if not self.twin:
            return Validation(how=how, holds=None, says="it was switched off (twin: false)")
        measures = known_members(seed, self.share)
        told = ", ".join(f"{m.name} {m.value:.2f}" for m in measures)
        holds = all(bool(m.above_chance) for m in measures if BLIND not in m.name)
        return Validation(how=how, holds=holds, says=told, measures=measures)


def of_tokens(told: TokenScores, text: str, share: float) -> Scores:
    """The scores of one text that need one model, and the one that needs none.

    ``loss``: mean log p. ``zlib``: log p by byte of the compressed text. ``mink``: mean log p of
    the least likely ``share`` of the tokens. ``minkpp``: the same of (log p - mean) / deviation,
    both under the model's distribution at that place.
    """
    logp = told.logp.double()
    normal = (logp - told.mean.double()) / told.deviation.double().clamp_min(1e-6)
    least = max(1, int(len(logp) * share))
    packed = len(zlib.compress(text.encode("utf-8", "surrogatepass")))
    return {
        "loss": float(logp.mean()),
        "zlib": float(logp.sum()) / packed,
        "mink": float(logp.sort().values[:least].mean()),
        "minkpp": float(normal.sort().values[:least].mean()),
        BLIND: -packed / max(1, len(text.encode("utf-8", "surrogatepass"))),
    }


def _roc(members: Sequence[Scores], others: Sequence[Scores]) -> Figure:
    """True against false positives, at every hundredth of false ones."""
    import numpy as np

    series = {}
    for name in METHODS:
        first, second = ([s[name] for s in side if name in s] for side in (members, others))
        if not first or not second:
            continue
        order = np.sort(np.asarray(second))[::-1]
        points = []
        for percent in range(0, 101, 2):
            place = percent * len(order) // 100
            at = order[place] if place < len(order) else -np.inf
            points.append((percent / 100, float((np.asarray(first) > at).mean())))
        series[name] = points
    return Figure(
        kind="line", title="Members found against texts wrongly taken for members",
        x_label="false positives", y_label="true positives", series=series,
    )  # fmt: skip


def known_members(seed: int, share: float, each: int = 100) -> list[Measured]:
    """AUCs on a tiny model of which it is known what it read: the same code."""
    from yoriai_eval.probes.reading import token_scores
    from yoriai_eval.probes.tiny import Characters, TinyTraining, train

    texts_ = [c.text for c in canaries.plant(each, seed, copies=(1,))]
    members = texts_[:each]
    characters = Characters(texts_)
    how = TinyTraining(epochs=30, seed=seed)
    model = train([characters.sequence(text) for text in members], len(characters), how)
    told = token_scores(model, [characters.sequence(text) for text in texts_])
    scores = [of_tokens(t, text, share) for t, text in zip(told, texts_, strict=True)]
    return [
        measured_auc(name, [s[name] for s in scores[:each]], [s[name] for s in scores[each:]])
        for name in ("loss", "zlib", "mink", "minkpp", BLIND)
    ]
