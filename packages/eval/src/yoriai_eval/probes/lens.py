"""``eval/lens``: what a model would say after each of its layers (the logit lens).

After each layer the last norm and the layer of the logits are put in place of what follows
(nostalgebraist 2020, "interpreting GPT: the logit lens").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from yoriai import Figure, Measured, Probe, ProbeInputs, ProbeResult, Validation
from yoriai_eval.probes import texts
from yoriai_eval.probes.intervals import mean_of
from yoriai_eval.probes.means import mean

if TYPE_CHECKING:
    from yoriai_eval.probes.layers import Decoder

FITS_IN = 2.5  # times the size of the weights
SAME = 1e-3  # how far two logits that should be equal may be apart, by the largest


class Lens(Probe):
    """Reads each layer through the model's own last norm and logits, on text.

    Of each layer: how often its likeliest next token is the right one and the one that the whole
    model takes, the loss, and the divergence from the whole model (nats). Layer 0 is the embedding.
    """

    version: ClassVar[str] = "1"
    needs: ClassVar[Any] = ("weights",)
    source: ClassVar[str] = "nostalgebraist 2020, interpreting GPT: the logit lens"
    limits: ClassVar[Mapping[str, str]] = {
        "en": "Early layers need not speak the language of the last: what the lens does not show "
        "may be there all the same (Belrose et al. 2023, arXiv 2303.08112). It shows what could be "
        "read out, not what later layers use.",
        "ja": "初めの層が最後の層と同じ表し方をしているとは限りません。レンズに映らないことも、"
        "そこにあるかもしれません(Belrose ほか 2023)。読み出せるものを示すだけで、後の層が何を"
        "使うかは分かりません。",
    }

    items: int = Field(50, ge=1, description="texts that are read")
    tokens: int = Field(64, ge=2, description="tokens of each that are read")
    texts: list[str] = Field([], description="what is read; without any, held-out documents")

    def obstacle(self, given: ProbeInputs) -> str:
        return texts.nothing_at_hand(given, self.texts)

    def memory_bytes(self, given: ProbeInputs) -> int:
        return int(FITS_IN * texts.weights_bytes(given.the_model().folder))

    def run(self, given: ProbeInputs) -> ProbeResult:
        from yoriai_eval.probes.layers import decoder_of
        from yoriai_eval.probes.reading import open_folder

        opened = open_folder(given.the_model().folder)
        read, note = texts.at_hand(given, self.items, self.texts)
        encoded = opened.encode_each(read, self.tokens)
        decoder = decoder_of(opened.model)
        told = through(decoder, encoded)
        layers = len(told.loss[0])
        return ProbeResult(
            measures=[*_measures(told, layers, opened.vocabulary, given.seed)],
            validation=_validation(told),
            rows=(
                {
                    "layer": layer,
                    "loss": float(np.mean([row[layer] for row in told.loss])),
                    "right": float(np.mean([row[layer] for row in told.right])),
                    "as_the_model": float(np.mean([row[layer] for row in told.agrees])),
                    "divergence": float(np.mean([row[layer] for row in told.divergence])),
                }
                for layer in range(layers)
            ),
            figures=[*_figures(told, layers)],
            notes=[note],
        )


@dataclass(frozen=True, slots=True)
class Layerwise:
    """Of each text, by layer: means over its tokens. ``drift``: lens of the last layer and logits.

    ``drift`` is the largest difference divided by the largest logit.
    """

    loss: list[list[float]]
    right: list[list[float]]
    agrees: list[list[float]]
    divergence: list[list[float]]
    drift: float


def through(decoder: Decoder, sequences: Sequence[Sequence[int]]) -> Layerwise:
    """Read every sequence once, and every layer of it through the lens."""
    import torch

    last: list[Any] = []
    handle = decoder.norm.register_forward_pre_hook(lambda _m, given: last.append(given[0]))
    told: dict[str, list[list[float]]] = {"loss": [], "right": [], "agrees": [], "divergence": []}
    drift = 0.0
    try:
        with torch.inference_mode():
            for ids in sequences:
                row = torch.tensor([list(ids)], device=decoder.model.device)
                last.clear()
                out = decoder.model(input_ids=row, use_cache=False, output_hidden_states=True)
                states = [*out.hidden_states[:-1], last[0]]
                logits = out.logits[0].float()
                own = _lens(decoder, states[-1])
                size = max(1.0, float(logits.abs().max()))
                drift = max(drift, float((own - logits).abs().max()) / size)
                for name, values in _row(decoder, states, logits[:-1], row[0, 1:]).items():
                    told[name].append(values)
    finally:
        handle.remove()
    return Layerwise(**told, drift=drift)


def _lens(decoder: Decoder, state: Any) -> Any:
    return decoder.unembedding(decoder.norm(state))[0].float()


def _row(decoder: Decoder, states: Sequence[Any], logits: Any, right: Any) -> dict[str, Any]:
    """Means over the tokens of one text, of each layer."""
    final = logits.log_softmax(-1)
    found: dict[str, list[float]] = {"loss": [], "right": [], "agrees": [], "divergence": []}
    for number, state in enumerate(states):
        whole = number == len(states) - 1
        logp = final if whole else _lens(decoder, state)[:-1].log_softmax(-1)
        best = logp.argmax(-1)
        found["loss"].append(-float(logp.gather(-1, right[:, None]).mean()))
        found["right"].append(float((best == right).float().mean()))
        found["agrees"].append(float((best == final.argmax(-1)).float().mean()))
        away = (final.exp() * (final - logp)).sum(-1).mean()
        found["divergence"].append(max(0.0, float(away)))
    return found


def _measures(told: Layerwise, layers: int, vocabulary: int, seed: int) -> Iterator[Measured]:
    for layer in reversed(range(layers)):
        found = mean(f"right, layer {layer}", [row[layer] for row in told.right], seed)
        yield replace(found, chance=1 / vocabulary)
    for layer in reversed(range(layers - 1)):
        found = mean(f"as the whole model, layer {layer}", [r[layer] for r in told.agrees], seed)
        yield replace(found, chance=1 / vocabulary)
    for layer in reversed(range(layers)):
        yield mean_of(f"loss (nats a token), layer {layer}", [r[layer] for r in told.loss], seed)
    for layer in reversed(range(layers - 1)):
        yield mean_of(
            f"divergence (nats), layer {layer}", [r[layer] for r in told.divergence], seed
        )


def _validation(told: Layerwise) -> Validation:
    holds = told.drift <= SAME
    return Validation(
        how="the last layer through the lens, beside the model's own logits",
        holds=holds,
        says=f"they differ by {told.drift:.1e} of the largest logit"
        + ("" if holds else ": more follows the last norm than the lens knows"),
    )


def _figures(told: Layerwise, layers: int) -> Iterator[Figure]:
    def line(rows: Sequence[Sequence[float]]) -> list[tuple[Any, float]]:
        return [(n, float(np.mean([row[n] for row in rows]))) for n in range(layers)]

    yield Figure(
        kind="line", title="Right next tokens by layer · 層ごとの正しい次のトークン",
        x_label="layer · 層", y_label="share · 割合",
        series={
            "right · 正しい": line(told.right), "as the model · モデルと同じ": line(told.agrees),
        },
    )  # fmt: skip
    yield Figure(
        kind="line", title="Loss by layer · 層ごとの損失", x_label="layer · 層",
        y_label="nats a token", series={"loss · 損失": line(told.loss)},
    )  # fmt: skip
