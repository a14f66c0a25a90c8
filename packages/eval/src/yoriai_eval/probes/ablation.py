"""``eval/ablation``: how much worse a model gets without a head, an attention or a network.

The output of a part is replaced by its mean over the texts that are read, or by zero, and the loss
is compared text by text (Michel et al. 2019, arXiv 1905.10650: zero; Wang et al. 2022, arXiv
2211.00593: mean).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from yoriai import Figure, Probe, ProbeInputs, ProbeResult, Validation
from yoriai_eval.probes import texts
from yoriai_eval.probes.intervals import mean_of

if TYPE_CHECKING:
    from yoriai_eval.probes.layers import Decoder

FITS_IN = 2.5  # times the size of the weights
NOTHING = 1e-5  # nats that the loss may move where nothing was taken away
MUCH = 2.0  # nats that a known head has to cost
With = Literal["mean", "zero"]


class Ablation(Probe):
    """Takes each part of a model away in turn, and measures the loss on text without it.

    Above 0 the model needs the part; below 0 it does better without. One pass over the texts for
    each part: layers times (heads + 2).
    """

    version: ClassVar[str] = "1"
    needs: ClassVar[Any] = ("weights",)
    source: ClassVar[str] = (
        "Michel et al. 2019, arXiv 1905.10650 (heads); Wang et al. 2022, arXiv 2211.00593 (by the "
        "mean)"
    )
    limits: ClassVar[Mapping[str, str]] = {
        "en": "One part at a time: where two do the same, neither seems needed, and others may "
        "step in (McGrath et al. 2023, arXiv 2307.15771). A model without a part sees states that "
        "it never met. Of many parts one in twenty stands out by chance.",
        "ja": "一度に一つの部分だけです。二つが同じ働きをしていれば、どちらも要らないように見え、"
        "ほかの部分が代わりをすることもあります(McGrath ほか 2023)。部分を除いたモデルは、"
        "学習で出会わなかった状態にあります。部分が多ければ、二十に一つは偶然目立ちます。",
    }

    items: int = Field(30, ge=1, description="texts that are read")
    tokens: int = Field(64, ge=2, description="tokens of each that are read")
    texts: list[str] = Field([], description="what is read; without any, held-out documents")
    replace: With = Field("mean", description="what stands in the place of the output")
    heads: bool = Field(True, description="each head, beside whole attentions and networks")

    def obstacle(self, given: ProbeInputs) -> str:
        return texts.nothing_at_hand(given, self.texts)

    def memory_bytes(self, given: ProbeInputs) -> int:
        return int(FITS_IN * texts.weights_bytes(given.the_model().folder))

    def run(self, given: ProbeInputs) -> ProbeResult:
        from yoriai_eval.probes.layers import decoder_of, parts_of
        from yoriai_eval.probes.reading import open_folder

        opened = open_folder(given.the_model().folder)
        read, note = texts.at_hand(given, self.items, self.texts)
        encoded = opened.encode_each(read, self.tokens)
        decoder = decoder_of(opened.model)
        names = [part.name for part in parts_of(decoder, heads=self.heads)]
        watched = given.progress(range(len(names)), "taking parts away", len(names))
        whole, without = losses_without(decoder, encoded, self.replace, watched, heads=self.heads)
        apart = {name: (without[name] - whole) for name in names}
        order = sorted(names, key=lambda n: -abs(float(apart[n].mean())))
        return ProbeResult(
            measures=[
                mean_of("loss of the whole model (nats a token)", whole.tolist(), given.seed),
                *(
                    mean_of(f"nats lost without {n}", apart[n].tolist(), given.seed, chance=0.0)
                    for n in order
                ),
            ],
            validation=_validation(self.replace),
            rows=({"part": n, "nats": float(apart[n].mean())} for n in order),
            figures=[*_figures(decoder, apart)],
            notes=[note, f"a part is replaced by its {self.replace}"],
        )


def losses_without(
    decoder: Decoder,
    sequences: Sequence[Sequence[int]],
    how: With,
    watched: Iterator[int] | None = None,
    *,
    heads: bool = True,
    first: int = 1,
) -> tuple[Any, dict[str, Any]]:
    """Mean loss of each sequence (nats a token), as it is and without each part, by name.

    The loss is that of the ids from the place ``first`` on.
    """
    import torch

    from yoriai_eval.probes.layers import mean_outputs, parts_of, replaced

    means = mean_outputs(decoder, sequences)
    whole, found = _losses(decoder, sequences, first), {}
    parts = list(parts_of(decoder, heads=heads))
    for number in watched if watched is not None else range(len(parts)):
        part = parts[number]
        value = means[f"{part.kind} {part.layer.number}"]
        if part.head is not None:
            at = part.head * decoder.head_size
            value = value[at : at + decoder.head_size]
        with replaced(decoder, part, value if how == "mean" else torch.zeros_like(value)):
            found[part.name] = _losses(decoder, sequences, first)
    return whole, found


def _losses(decoder: Decoder, sequences: Sequence[Sequence[int]], first: int) -> Any:
    from yoriai_eval.probes.reading import token_scores

    scores = token_scores(decoder.model, sequences)
    return np.asarray([-float(s.logp[first - 1 :].mean()) for s in scores])


def _validation(how: With) -> Validation:
    """A model built by hand: its two heads cost much, and the six that do nothing cost nothing."""
    from yoriai_eval.probes import known_circuit as known
    from yoriai_eval.probes.layers import decoder_of

    random = np.random.Generator(np.random.PCG64(0))
    half = [random.permutation(np.arange(1, known.KINDS))[:15].tolist() for _ in range(8)]
    decoder = decoder_of(known.induction_model())
    twice = [[0, *ids, *ids] for ids in half]
    # What the second copy says after its first id is known from the first copy.
    whole, without = losses_without(decoder, twice, how, first=len(half[0]) + 2)
    cost = {name: float((loss - whole).mean()) for name, loss in without.items()}
    used = [f"head {layer}.{head}" for layer, head in (known.PREVIOUS, known.INDUCTION)]
    idle = [abs(cost[n]) for n in cost if n.startswith("head") and n not in used]
    least, most = min(cost[name] for name in used), max(idle)
    return Validation(
        how="a model built by hand, in which two heads work and six do nothing",
        holds=least >= MUCH and most <= NOTHING,
        says=f"without one of the two the loss rises by {least:.2f} nats or more, without one of "
        f"the others by {most:.1e} at most",
    )


def _figures(decoder: Decoder, apart: Mapping[str, Any]) -> Iterator[Figure]:
    def line(kind: str) -> list[tuple[Any, float]]:
        found = [(n, f"{kind} {n}") for n in range(len(decoder.layers))]
        return [(n, float(apart[name].mean())) for n, name in found if name in apart]

    yield Figure(
        kind="line", title="Loss without a part · 部分を除いたときの損失",
        x_label="layer · 層", y_label="nats",
        series={"attention · 注意": line("attention"), "network · MLP": line("mlp")},
    )  # fmt: skip
