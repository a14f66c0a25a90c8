"""``eval/induction``: heads that look for what followed a token when it stood before.

Random ids are given twice. For each head: how much attention a token of the second copy gives to
the one after its first copy (the prefix-matching score of Olsson et al. 2022, arXiv 2209.11895),
and for the model: how much likelier the second copy is than the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from yoriai import Figure, Measured, Probe, ProbeInputs, ProbeResult, UsageError, Validation
from yoriai.probe import FEWEST
from yoriai_eval.probes import texts
from yoriai_eval.probes.intervals import mean_of
from yoriai_eval.probes.means import mean

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]
FITS_IN = 2.5  # times the size of the weights
SHORTEST = 4  # ids that are repeated
FOUND, ELSEWHERE = 0.9, 0.5  # what a known head has to reach, and the others not


class Induction(Probe):
    """Gives a model random tokens twice, and sees which heads look up what came after."""

    version: ClassVar[str] = "1"
    needs: ClassVar[Any] = ("weights",)
    source: ClassVar[str] = (
        "Olsson et al. 2022, arXiv 2209.11895 (prefix matching on repeated random tokens); Elhage "
        "et al. 2021 (induction heads)"
    )
    limits: ClassVar[Mapping[str, str]] = {
        "en": "Random tokens are not text: a head that looks back here may do other things there. "
        "Attention to a token is not yet use of it: ablation tells that. What a model does without "
        "such heads is not seen.",
        "ja": "ランダムなトークンは文章ではありません。ここで前を見るヘッドも、文章では別の働きを"
        "するかもしれません。注意を向けることと使うことは別で、それは切除で調べます。こうした"
        "ヘッドによらない仕組みは見えません。",
    }

    sequences: int = Field(20, ge=1, description="sequences of random tokens")
    length: int = Field(24, ge=SHORTEST, description="tokens that are repeated, if they fit")

    def obstacle(self, given: ProbeInputs) -> str:
        context = texts.context_of(given.the_model().folder)
        if context and context < 2 * SHORTEST + 1:
            return f"a context of {context} tokens holds no {SHORTEST} tokens twice"
        return ""

    def memory_bytes(self, given: ProbeInputs) -> int:
        return int(FITS_IN * texts.weights_bytes(given.the_model().folder))

    def run(self, given: ProbeInputs) -> ProbeResult:
        from yoriai_eval.probes.reading import open_folder

        opened = open_folder(given.the_model().folder)
        special = set(opened.tokenizer.all_special_ids)
        ordinary = [i for i in range(len(opened.tokenizer)) if i not in special]
        ordinary = [i for i in ordinary if i < opened.vocabulary]
        room = (opened.context - 1) // 2 if opened.context else self.length
        length = min(self.length, room, len(ordinary) // 2)
        if length < SHORTEST:
            raise UsageError(f"{len(ordinary)} tokens are too few to draw {SHORTEST} from")
        notes = []
        if length < self.length:
            notes.append(f"{length} tokens are repeated, more do not fit")
        first = list(opened.first[:1]) or ordinary[:1]
        told = repeat(opened.model, ordinary, first, length, self.sequences, given.seed)
        return ProbeResult(
            measures=[*self._measures(told, given.seed)],
            validation=_validation(given.seed),
            rows=(
                {
                    "layer": layer,
                    "head": head,
                    "induction": float(told.matching[:, layer, head].mean()),
                    "previous": float(told.previous[:, layer, head].mean()),
                }
                for layer in range(told.matching.shape[1])
                for head in range(told.matching.shape[2])
            ),
            figures=[_figure(told)],
            notes=notes,
        )

    def _measures(self, told: Repeats, seed: int) -> Iterator[Measured]:
        gain = (told.first - told.second).tolist()
        yield mean_of("nats that the second copy is likelier", gain, seed, chance=0.0)
        order = np.argsort(-told.matching.mean(0).ravel(), kind="stable")
        heads = told.matching.shape[2]
        for number in order.tolist():
            layer, head = divmod(number, heads)
            yield _head(f"induction, head {layer}.{head}", told, layer, head, seed)


def _head(name: str, told: Repeats, layer: int, head: int, seed: int) -> Measured:
    values = told.matching[:, layer, head].clip(0, 1).tolist()
    return replace(mean(name, values, seed), chance=told.chance)


@dataclass(frozen=True, slots=True)
class Repeats:
    """Of each sequence: attention by layer and head, and mean losses of both copies in nats.

    ``matching`` and ``previous`` are (sequences, layers, heads): attention to the token after the
    first copy, and to the token before, averaged over the second copy. ``chance`` is what
    attention that is the same everywhere would give.
    """

    matching: Floats
    previous: Floats
    first: Floats
    second: Floats
    chance: float


def repeat(
    model: Any,
    ordinary: Sequence[int],
    first: Sequence[int],
    length: int,
    count: int,
    seed: int,
) -> Repeats:
    """Give ``count`` sequences of ``length`` different ids twice, one at a time."""
    import torch

    random = np.random.Generator(np.random.PCG64(seed))
    found: list[tuple[Floats, Floats, float, float]] = []
    before = _with_attentions(model)
    try:
        with torch.inference_mode():
            for _ in range(count):
                drawn = random.choice(np.asarray(ordinary), length, replace=False).tolist()
                ids = torch.tensor([[*first, *drawn, *drawn]], device=model.device)
                found.append(_read(model, ids, len(first), length))
    finally:
        model.set_attn_implementation(before)
    matching, previous, one, two = zip(*found, strict=True)
    places = np.arange(length, 2 * length) + len(first)
    return Repeats(
        np.stack(matching), np.stack(previous), np.asarray(one), np.asarray(two),
        float((1 / (places + 1)).mean()),
    )  # fmt: skip


def _with_attentions(model: Any) -> str:
    """Let the model tell its attention; the name of the way in which it did not."""
    before = str(model.config._attn_implementation)
    model.set_attn_implementation("eager")
    return before


def _read(model: Any, ids: torch.Tensor, start: int, length: int) -> tuple[Any, Any, float, float]:
    told = model(input_ids=ids, use_cache=False, output_attentions=True)
    if not told.attentions or any(a is None for a in told.attentions):
        raise UsageError("this model does not tell its attention")
    import torch

    attention = torch.stack([layer[0].float() for layer in told.attentions])
    here = torch.arange(start + length, start + 2 * length, device=ids.device)
    matching = attention[:, :, here, here - length + 1].mean(-1)
    previous = attention[:, :, here, here - 1].mean(-1)
    logp = told.logits[0, :-1].float().log_softmax(-1)
    losses = -logp.gather(-1, ids[0, 1:, None])[:, 0]
    # The first id of the second copy cannot be known, so it stands in neither mean.
    one = losses[start : start + length - 1].mean()
    two = losses[start + length : start + 2 * length - 1].mean()
    return (
        matching.double().cpu().numpy(), previous.double().cpu().numpy(), float(one), float(two),
    )  # fmt: skip


def _validation(seed: int) -> Validation:
    """A model built by hand: its one induction head has to be found, and no other."""
    from yoriai_eval.probes import known_circuit as known

    model = known.induction_model()
    told = repeat(model, range(1, known.KINDS), [0], 15, FEWEST, seed)
    scores = told.matching.mean(0)
    layer, head = known.INDUCTION
    mine = float(scores[layer, head])
    others = float(np.delete(scores.ravel(), layer * known.HEADS + head).max())
    holds = mine >= FOUND and others <= ELSEWHERE
    name = f"induction, known head {layer}.{head}"
    return Validation(
        how="a model built by hand with one induction head",
        holds=holds,
        says=f"its induction head has {mine:.2f}, the next {others:.2f}",
        measures=[_head(name, told, layer, head, seed)],
    )


def _figure(told: Repeats) -> Figure:
    scores = told.matching.mean(0)
    return Figure(
        kind="line",
        title="Strongest induction head of each layer · 層ごとの最も強い誘導ヘッド",
        x_label="layer · 層",
        y_label="attention · 注意",
        series={
            "strongest · 最大": [(n, float(row.max())) for n, row in enumerate(scores)],
            "chance · 偶然": [(n, told.chance) for n in range(len(scores))],
        },
    )
