"""``eval/attribution``: which training texts pulled a model towards what it writes (TracIn).

The gradients are those of the last layer, G = sum_t e_t h_t', with e the predicted probabilities
minus the right id and h what the layer is given. <G, G'> = sum_ij (e_i . e'_j)(h_i . h'_j), so no
gradient of an item is ever held (Pruthi et al. 2020, arXiv 2002.08484, sections 4 and 5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pydantic
from pydantic import Field

from yoriai import Figure, Measured, Probe, ProbeInputs, ProbeResult, UsageError, Validation
from yoriai_eval.probes import poison, texts
from yoriai_eval.probes.detection import measured_recall

if TYPE_CHECKING:
    from yoriai_eval.probes.reading import OpenedFolder

Floats = npt.NDArray[np.float64]
Asked = tuple[Sequence[int], int]  # ids of a query, and the place of the first that counts
FITS_IN = 3.5  # times the size of the weights
OWN_CHARACTERS, OWN_TOKENS = 8, 12  # of beginnings that a model goes on from
SECOND_ORDER = {"kfac": "K-FAC", "ekfac": "EK-FAC"}
ROWS = 32  # items that are read together: of a small model they stay in a core's cache
# glibc keeps freed memory up to twice the largest block that was freed, of 32 MB at most
# (mallopt(3), M_MMAP_THRESHOLD). Without one as large every product faults its pages anew, which
# took a fifth of the time.
KEPT_BYTES = 24 * 2**20
AGREEMENT = 1e-3  # how far logits may be from the last layer's product, by the largest


class Explained(pydantic.BaseModel):
    """What is to be explained: what a model wrote after a text."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")
    text: str = Field(description="what stood before")
    target: str = Field(min_length=1, description="what the model wrote")


class Attribution(Probe):
    """Influence of training texts on what a model writes: TracIn over its checkpoints.

    Scores are summed over the checkpoints that were kept and the final weights, each with weight
    one, as dot product and as cosine. Beside them stands a baseline that needs no model: how many
    5-grams a text shares with what is to be explained. ``second_order`` adds influence through an
    approximate inverse curvature, of all linear layers, by kronfluence (the extra ``ekfac``).
    """

    version: ClassVar[str] = "3"
    needs: ClassVar[Any] = ("weights", "checkpoints", "corpus")
    own_data: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Pruthi et al. 2020, arXiv 2002.08484 (TracIn); Charpiat et al. 2019, arXiv 2102.05262 "
        "(cosine); Park et al. 2023, arXiv 2303.14186 (linear datamodelling score); Grosse et al. "
        "2023, arXiv 2308.03296 (EK-FAC)"
    )
    limits: ClassVar[Mapping[str, str]] = {
        "en": "Gradients of the last layer alone, at a few moments, without the learning rates "
        "between: a high score is a hint, no proof of cause. Without early checkpoints it is "
        "nearly blind to what was learnt completely.",
        "ja": "最後の層の勾配だけを、いくつかの時点で見ます。学習率は考えません。高い値は手がかりで"
        "あって、原因の証明ではありません。初期のチェックポイントがないと、完全に覚えたものは"
        "ほとんど見えません。",
    }

    queries: list[Explained] = Field(
        [],
        description="what is to be explained, all together; without any, what the model writes "
        "itself after beginnings of documents",
    )
    own: int = Field(4, ge=1, description="how many such beginnings")
    items: int = Field(2000, ge=10, description="documents that are scored")
    tokens: int = Field(128, ge=2, description="tokens of each document that are read")
    top: int = Field(20, ge=1, description="documents that are compared between checkpoints")
    planted: str = Field(
        "", description="text by which planted documents are known; gives their recall"
    )
    twin: bool = Field(
        True, description="validate on a tiny model with a planted trigger; half a minute"
    )

    subsets: int = Field(
        24,
        ge=0,
        description="random halves of data that tiny models are trained on again, to validate by "
        "the linear datamodelling score; 0: none",
    )

    second_order: Literal["", "kfac", "ekfac"] = Field(
        "",
        description="influence through an approximate inverse curvature, too; many times the work",
    )

    def obstacle(self, given: ProbeInputs) -> str:  # noqa: ARG002
        if self.second_order and find_spec("kronfluence") is None:
            return "second_order needs kronfluence: pip install 'yoriai-eval[ekfac]'"
        return ""

    def memory_bytes(self, given: ProbeInputs) -> int:
        folder = given.the_model().folder
        wanted = int(FITS_IN * texts.weights_bytes(folder))
        if self.second_order:
            from yoriai_eval.probes.kronecker import factor_bytes

            wanted += factor_bytes(folder)
        return wanted

    def run(self, given: ProbeInputs) -> ProbeResult:
        from yoriai_eval.probes.reading import open_folder

        model, corpora = given.the_model(), given.all_of("corpus")
        drawn = texts.draw(corpora, "documents", self.items, given.seed, shortest=2)
        queries, notes = self.queries, []
        if not queries:
            queries = self._own_words(given)
            notes = [f"what is explained the model wrote itself, after {len(queries)} beginnings"]
        places = [(f"step {step}", folder) for step, folder in model.checkpoints]
        places.append(("final", model.folder))
        scores: dict[str, tuple[Floats, Floats]] = {}
        curved: dict[str, Floats] = {}
        for name, folder in given.progress(places, "gradients of checkpoints", len(places)):
            opened = open_folder(folder, tokenizer=model.folder)
            limit = min(self.tokens, opened.context or self.tokens)
            ids = [opened.encode(d.text)[:limit] for d in drawn]
            asked = [self._asked(opened, query, limit) for query in queries]
            scores[name] = influence(opened.model, ids, asked)
            if self.second_order:
                from yoriai_eval.probes import kronecker

                _, note = kronecker.linear_layers(opened.model)
                notes += [note] if note and note not in notes else []
                curved[name] = kronecker.kronecker_influence(
                    opened.model, ids, asked, strategy=self.second_order, seed=given.seed
                )
        if curved:
            curved["sum"] = np.sum(list(curved.values()), axis=0)
        sums = tuple(sum(s[i] for s in scores.values()) for i in (0, 1))
        scores["sum"] = (np.asarray(sums[0]), np.asarray(sums[1]))
        wanted = [query.text + query.target for query in queries]
        shared = np.asarray(poison.shared_ngrams([d.text for d in drawn], wanted), float)
        marks = [bool(self.planted) and self.planted in d.text for d in drawn]
        measures = [*self._measures(scores, curved, shared, marks)]
        order = np.argsort(-scores["sum"][0], kind="stable")
        return ProbeResult(
            measures=measures,
            validation=self._validation(corpora, given.seed),
            rows=(
                {
                    "source": drawn[i].source, "id": drawn[i].id, "licence": drawn[i].licence,
                    "dot": float(scores["sum"][0][i]), "cosine": float(scores["sum"][1][i]),
                    "shared_5grams": float(shared[i]), "planted": marks[i],
                    **({self.second_order: float(curved["sum"][i])} if curved else {}),
                }
                for i in order.tolist()
            ),
            figures=[_figure(measures)],
            notes=notes,
        )  # fmt: skip

    def _own_words(self, given: ProbeInputs) -> list[Explained]:
        """What the model writes greedily after the beginnings of documents, held out ones first.

        A beginning is up to 12 tokens, and so is what is written. Raises
        :class:`yoriai.UsageError` where it writes nothing that can be read again.
        """
        from yoriai_eval.probes.reading import open_folder, write_greedily

        corpora = given.all_of("corpus")
        drawn = [
            text
            for table in reversed(texts.TABLES)
            for text in texts.draw(corpora, table, self.own, given.seed, shortest=OWN_CHARACTERS)
        ][: self.own]
        opened = open_folder(given.the_model().folder)
        room = min(self.tokens, opened.context or self.tokens)
        count = min(OWN_TOKENS, room // 3)
        begins = [opened.decode(opened.encode(d.text)[len(opened.first) :][:count]) for d in drawn]
        written = write_greedily(opened.model, [opened.encode(text) for text in begins], count)
        found = [
            Explained(text=text, target=target)
            for text, ids in zip(begins, written, strict=True)
            if (target := opened.decode(ids).split("\ufffd")[0])
        ]
        if not found:
            raise UsageError(
                "the model writes nothing after beginnings of documents",
                hint="name what is to be explained: queries: [{text, target}]",
            )
        return found

    def _asked(self, opened: OpenedFolder, query: Explained, limit: int) -> Asked:
        before, whole = opened.encode(query.text), opened.encode(query.text + query.target)
        first = next((i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b),
                     min(len(before), len(whole)))  # fmt: skip
        if len(whole) > limit:
            raise UsageError(
                f"a query has {len(whole)} tokens, {limit} are read", hint="raise tokens, or cut it"
            )
        return whole, first

    def _measures(
        self,
        scores: Mapping[str, tuple[Floats, Floats]],
        curved: Mapping[str, Floats],
        shared: Floats,
        marks: Sequence[bool],
    ) -> Iterator[Measured]:
        word = SECOND_ORDER.get(self.second_order, "")
        if any(marks):
            for name, values in curved.items():
                yield measured_recall(
                    f"recall by {word}, {name}", values.tolist(), marks, sum(marks)
                )
            for name, (dot, cosine) in scores.items():
                yield measured_recall(f"recall by dot, {name}", dot.tolist(), marks, sum(marks))
                yield measured_recall(
                    f"recall by cosine, {name}", cosine.tolist(), marks, sum(marks)
                )
            yield measured_recall("recall by shared 5-grams", shared.tolist(), marks, sum(marks))
            return
        best = set(np.argsort(-scores["sum"][0], kind="stable")[: self.top].tolist())
        chance = min(1.0, self.top / max(1, len(shared)))
        for name, (dot, _) in scores.items():
            if name != "sum":
                here = set(np.argsort(-dot, kind="stable")[: self.top].tolist())
                yield Measured.share(
                    f"top {self.top} of {name} also in the sum", len(here & best), len(best),
                    chance=chance,
                )  # fmt: skip
        for name, values in curved.items():
            here = set(np.argsort(-values, kind="stable")[: self.top].tolist())
            yield Measured.share(
                f"top {self.top} by {word}, {name}, also in the sum", len(here & best), len(best),
                chance=chance,
            )  # fmt: skip
        alike = set(np.argsort(-shared, kind="stable")[: self.top].tolist())
        yield Measured.share(
            f"top {self.top} by shared 5-grams also in the sum", len(alike & best), len(best),
            chance=chance,
        )  # fmt: skip

    def _validation(self, corpora: Sequence[Any], seed: int) -> Validation:
        how = "a tiny model of the same corpus's lines, with a planted trigger"
        if not self.twin:
            return Validation(how=how, holds=None, says="it was switched off (twin: false)")
        lines = poison.lines_of(corpora, 460, seed)
        if len(lines) < 200:
            return Validation(how=how, holds=None,
                              says=f"{len(lines)} lines of the corpus are too few")  # fmt: skip
        plan = poison.plant(lines, planted=16, held=40, seed=seed)
        run = poison.train_poisoned(plan, epochs=8, kept=(1, 2, 8), seed=seed)
        measures = recalls(plan, run, self.second_order)
        early = next(m for m in measures if m.name == "recall by dot, epoch 1 and 2")
        plain = next(m for m in measures if m.name == "recall by shared 5-grams")
        final = next(m for m in measures if m.name == "recall by dot, final")
        holds = bool(early.above_chance)
        said = f"{early.value:.2f} of 16 planted texts are found at early checkpoints"
        said += f" and {final.value:.2f} at the final one, chance {early.chance or 0:.2f}"
        said += "" if holds else ": no better than chance"
        worse = early.value <= plain.value
        said += f"; shared 5-grams find {plain.value:.2f}" + (
            ", so that no model is needed for a trigger that stands there word for word"
            if worse else ""
        )  # fmt: skip
        if self.second_order:
            word = SECOND_ORDER[self.second_order]
            found = [m for m in measures if m.name.startswith(f"recall by {word}")]
            said += "; " + ", ".join(f"{m.name} {m.value:.2f}" for m in found)
        if self.subsets:
            from yoriai_eval.probes import attribution_truth

            truth = attribution_truth.measures(
                attribution_truth.score(lines, self.subsets, seed, self.second_order), seed
            )
            measures += truth
            said += "; " + attribution_truth.in_words(truth)
        return Validation(how=how, holds=holds, says=said, measures=measures)


def recalls(
    plan: poison.Planted, run: poison.PoisonedRun, second_order: str = ""
) -> list[Measured]:
    """Recall of the planted texts at each checkpoint, summed over early ones and over all."""
    queries = [(run.characters.sequence(t + plan.target), 1 + len(t)) for t in plan.triggered()]
    ids = [run.characters.sequence(text) for text in plan.items]
    scores = {epoch: influence(run.at(epoch), ids, queries) for epoch in run.states}
    last = max(scores)
    early = [s for epoch, s in scores.items() if epoch != last]
    named = {f"epoch {e}" if e != last else "final": s for e, s in scores.items()}
    first = [e for e in scores if e != last][:2]
    named[f"epoch {' and '.join(map(str, first))}"] = _summed([scores[e] for e in first])
    named["all checkpoints"] = _summed([*early, scores[last]])
    k, found = sum(plan.marks), []
    for name, (dot, cosine) in named.items():
        found.append(measured_recall(f"recall by dot, {name}", dot.tolist(), plan.marks, k))
        found.append(measured_recall(f"recall by cosine, {name}", cosine.tolist(), plan.marks, k))
    if second_order:
        from yoriai_eval.probes.kronecker import kronecker_influence

        curved = [
            kronecker_influence(run.at(epoch), ids, queries, strategy=second_order)
            for epoch in sorted(run.states)
        ]
        word = SECOND_ORDER[second_order]
        for name, values in (("final", curved[-1]), ("all checkpoints", np.sum(curved, axis=0))):
            found.append(
                measured_recall(f"recall by {word}, {name}", values.tolist(), plan.marks, k)
            )
    wanted = [t + plan.target for t in plan.triggered()]
    shared = poison.shared_ngrams(plan.items, wanted)
    found.append(measured_recall("recall by shared 5-grams", shared, plan.marks, k))
    return found


def _summed(parts: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    return (
        np.asarray(sum((p[0] for p in parts), np.zeros(1))),
        np.asarray(sum((p[1] for p in parts), np.zeros(1))),
    )


def _figure(measures: Sequence[Measured]) -> Figure:
    series: dict[str, list[tuple[Any, float]]] = {}
    for m in measures:
        group, _, place = m.name.partition(", ")
        series.setdefault(group if place else "compared with the sum", []).append(
            (place or m.name, m.value)
        )
    return Figure(
        kind="bar", title="What each checkpoint shows", x_label="", y_label="share", series=series
    )


def influence(
    model: Any, items: Sequence[Sequence[int]], queries: Sequence[Asked]
) -> tuple[Floats, Floats]:
    """Dot product and cosine of each item's gradient with that of the queries, of the last layer.

    An item's loss is the sum over its ids after the first, a query's the sum over its target.
    Raises :class:`yoriai.UsageError` for a model whose last layer is none.
    """
    import torch

    from yoriai_eval.probes.products import fast_products
    from yoriai_eval.probes.reading import batches

    layer = model.get_output_embeddings()
    if layer is None:
        raise UsageError("this model has no last layer whose gradients are known")
    vocabulary = int(layer.weight.shape[0])
    torch.empty(KEPT_BYTES, dtype=torch.uint8)
    with torch.inference_mode(), fast_products(model):
        _check(model, layer, queries[0][0])
        query = torch.zeros_like(layer.weight, dtype=torch.float32)
        for chosen in batches([ids for ids, _ in queries], vocabulary, ROWS):
            errors, hidden = _errors(model, layer, [queries[i][0] for i in chosen])
            for row, i in enumerate(chosen):
                errors[row, : queries[i][1] - 1] = 0
            query += errors.flatten(0, 1).T @ hidden.flatten(0, 1)
        size = float(query.norm())
        dots, norms = np.zeros(len(items)), np.zeros(len(items))
        for chosen in batches(items, vocabulary, ROWS):
            kept = [i for i in chosen if len(items[i]) > 1]
            if not kept:
                continue
            errors, hidden = _errors(model, layer, [items[i] for i in kept])
            products = ((errors @ query) * hidden).sum((1, 2))
            grams = (errors @ errors.transpose(1, 2)) * (hidden @ hidden.transpose(1, 2))
            dots[kept] = products.double().cpu().numpy()
            norms[kept] = grams.sum((1, 2)).clamp_min(0).sqrt().double().cpu().numpy()
    scale = norms * size
    return dots, np.divide(dots, scale, out=np.zeros_like(dots), where=scale > 0)


def _check(model: Any, layer: Any, ids: Sequence[int]) -> None:
    """Raises :class:`yoriai.UsageError` where logits are not the last layer of the hidden state."""
    import torch

    row = torch.tensor([list(ids)], device=model.device)
    logits = model(input_ids=row, use_cache=False).logits.float()
    again = layer(model.base_model(input_ids=row, use_cache=False).last_hidden_state).float()
    if float((again - logits).abs().max()) > AGREEMENT * max(1.0, float(logits.abs().max())):
        raise UsageError("the logits of this model are not the product of its last layer")


def _errors(model: Any, layer: Any, rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """(rows, length, vocabulary) of probabilities minus right ids, and what the layer is given.

    Where a row is shorter than the longest both are 0.
    """
    import torch

    longest = max(map(len, rows))
    ids = torch.tensor([[*r, *[0] * (longest - len(r))] for r in rows], device=model.device)
    hidden = model.base_model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    errors = layer(hidden).float().softmax(-1)
    right = ids[:, 1:, None]
    errors.scatter_add_(-1, right, errors.new_full((), -1).expand(right.shape))
    hidden = hidden.float()
    for row, length in enumerate(map(len, rows)):
        errors[row, length - 1 :] = 0
        hidden[row, length - 1 :] = 0
    return errors, hidden
