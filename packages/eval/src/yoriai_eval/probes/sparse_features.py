"""``eval/sparse-features``: a small sparse autoencoder on what one layer of a model holds.

The state after a layer is written as a sum of few of many directions (Bricken et al. 2023; with the
k largest: Gao et al. 2024, arXiv 2406.04093). The autoencoder is that of EleutherAI's sparsify.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from yoriai import Measured, Probe, ProbeInputs, ProbeResult, UsageError, Validation
from yoriai.probe import FEWEST, too_few
from yoriai_eval.probes import texts
from yoriai_eval.scoring.statistics import ratio_interval

if TYPE_CHECKING:
    import torch

FITS_IN = 3.0  # times the size of the weights
STEPS, BATCH, RATE = 600, 256, 2e-3
SHOWN = 5  # places at which a feature is shown
PLANTED, WIDTH, TOGETHER = 48, 24, 3  # directions, numbers, and how many of them at a time
ALIKE = 0.9  # cosine from which a planted direction counts as found


class SparseFeatures(Probe):
    """Learns directions of a layer on kept documents, and tries them on held-out ones.

    Measured is how much of the variance few directions explain, beside as many principal
    components, and how many directions are never used. The rows show where each is strongest.
    """

    version: ClassVar[str] = "1"
    needs: ClassVar[Any] = ("weights", "corpus")
    source: ClassVar[str] = (
        "Bricken et al. 2023 (dictionary learning of a layer); Gao et al. 2024, arXiv 2406.04093 "
        "(the k largest); EleutherAI sparsify 1.3"
    )
    limits: ClassVar[Mapping[str, str]] = {
        "en": "Another seed finds other directions (Paulo and Belrose 2025, arXiv 2501.16615): "
        "they are a description, not the parts of the model. That a direction is strong at some "
        "tokens does not say that the model uses it for them.",
        "ja": "シードが違えば見つかる方向も違います(Paulo と Belrose 2025)。方向は一つの記述で"
        "あって、モデルの部品ではありません。あるトークンで強いからといって、モデルがそのために"
        "使っているとは言えません。",
    }

    layer: int = Field(-1, description="after which layer; -1: the middle one")
    expansion: int = Field(4, ge=1, le=64, description="directions for each number of the state")
    k: int = Field(8, ge=1, description="directions that may be used at a time")
    items: int = Field(300, ge=10, description="documents to learn from, and as many to try")
    tokens: int = Field(64, ge=2, description="tokens of each that are read")

    def memory_bytes(self, given: ProbeInputs) -> int:
        return int(FITS_IN * texts.weights_bytes(given.the_model().folder))

    def run(self, given: ProbeInputs) -> ProbeResult:
        from yoriai_eval.probes.layers import decoder_of
        from yoriai_eval.probes.reading import open_folder

        opened = open_folder(given.the_model().folder)
        layers = len(decoder_of(opened.model).layers)
        layer = (layers + 1) // 2 if self.layer < 0 else self.layer
        if layer > layers:
            raise UsageError(f"there is no layer {layer}, the last is {layers}")
        limit = min(self.tokens, opened.context or self.tokens)
        corpora, read = given.all_of("corpus"), {}
        for table in texts.TABLES:
            drawn = texts.draw(corpora, table, self.items, given.seed, shortest=2)
            read[table] = [i for d in drawn if len(i := opened.encode(d.text)[:limit]) > 1]
        if not read["documents"] or not read["heldout"]:
            raise UsageError("documents and held-out ones are needed", hint="heldout: 0.05")
        learn, tried = (states(opened.model, read[table], layer) for table in texts.TABLES)
        coder = fit(_cat(learn), self.expansion, self.k, given.seed)
        strong = strengths(coder, _cat(tried))
        used = (strong > 0).any(0)
        return ProbeResult(
            measures=[
                _explained("variance explained, held out", tried, coder, given.seed),
                _explained("variance explained, as many principal components", tried,
                           _Components(_cat(learn), self.k), given.seed),
                Measured.share("directions that are never used", int((~used).sum()), len(used)),
            ],
            validation=_validation(given.seed),
            rows=_rows(strong, read["heldout"], opened),
            notes=[
                f"after layer {layer} of {layers}, {self.k} of {len(used)} directions at a time"
            ],
        )  # fmt: skip


def _cat(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    import torch

    return torch.cat(list(parts))


def states(model: Any, sequences: Sequence[Sequence[int]], layer: int) -> list[torch.Tensor]:
    """The state after a layer at each id after the first of each sequence: (length - 1, width)."""
    import torch

    found = []
    with torch.inference_mode():
        for ids in sequences:
            row = torch.tensor([list(ids)], device=model.device)
            told = model(input_ids=row, use_cache=False, output_hidden_states=True)
            found.append(told.hidden_states[layer][0, 1:].float().cpu().clone())
    return found


def fit(data: torch.Tensor, expansion: int, k: int, seed: int) -> Any:
    """An autoencoder of ``expansion`` directions a number, of which ``k`` are used at a time.

    Its input is centred, and scaled so that its mean square is one.
    """
    import torch

    from yoriai_eval.probes.tiny import one_thread

    with contextlib.redirect_stdout(io.StringIO()):  # it prints when it is imported
        from sparsify import SparseCoder, SparseCoderConfig
    centre = data.mean(0)
    scale = float((data - centre).square().mean().sqrt()) or 1.0
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = SparseCoderConfig(expansion_factor=expansion, k=min(k, data.shape[1] * expansion))
        coder = SparseCoder(data.shape[1], config, dtype=torch.float32)
        optimizer = torch.optim.Adam(coder.parameters(), RATE)
        unused = torch.zeros(coder.num_latents)
        for _ in range(STEPS):
            rows = (data[torch.randint(len(data), (BATCH,))] - centre) / scale
            told = coder(rows, dead_mask=unused > 50)
            loss = told.fvu + told.auxk_loss / 32
            optimizer.zero_grad()
            loss.backward()
            coder.remove_gradient_parallel_to_decoder_directions()
            optimizer.step()
            coder.set_decoder_norm_to_unit_norm()
            unused += 1
            unused[told.latent_indices.flatten()] = 0
    return _Fitted(coder.eval(), centre, scale)


class _Fitted:
    """An autoencoder with what its input is centred and scaled by."""

    def __init__(self, coder: Any, centre: torch.Tensor, scale: float) -> None:
        self.coder, self.centre, self.scale = coder, centre, scale

    def again(self, data: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            made = self.coder((data - self.centre) / self.scale).sae_out
        return made * self.scale + self.centre


class _Components:
    """The first ``k`` principal components: what a sum of few fixed directions reaches."""

    def __init__(self, data: torch.Tensor, k: int) -> None:
        import torch

        self.centre = data.mean(0)
        self.directions = torch.linalg.svd(data - self.centre, full_matrices=False).Vh[:k]

    def again(self, data: torch.Tensor) -> torch.Tensor:
        return (data - self.centre) @ self.directions.T @ self.directions + self.centre


def strengths(fitted: _Fitted, data: torch.Tensor) -> Any:
    """How strongly each direction is used at each row: (rows, directions)."""
    import torch

    with torch.inference_mode():
        told = fitted.coder.encode((data - fitted.centre) / fitted.scale)
        found = torch.zeros(len(data), fitted.coder.num_latents)
        return found.scatter_(1, told.top_indices.long(), told.top_acts.float()).numpy()


def _explained(name: str, parts: Sequence[torch.Tensor], method: Any, seed: int) -> Measured:
    """1 - squared error / variance, with an interval over the texts."""
    centre = _cat(parts).mean(0)
    errors = [float((method.again(p) - p).square().sum()) for p in parts]
    whole = [float((p - centre).square().sum()) for p in parts]
    value = 1 - sum(errors) / sum(whole)
    if len(parts) < FEWEST:
        return Measured(name=name, value=value, items=len(parts), chance=0.0,
                        note=too_few(len(parts)))  # fmt: skip
    low, high = ratio_interval(errors, whole, seed)
    return Measured(name=name, value=value, items=len(parts), chance=0.0,
                    interval=(min(1 - high, value), max(1 - low, value)))  # fmt: skip


def _rows(strong: Any, sequences: Sequence[Sequence[int]], opened: Any) -> Iterator[dict[str, Any]]:
    """Each direction that is used, the most used first, with the texts where it is strongest."""
    places = [(ids, at) for ids in sequences for at in range(1, len(ids))]
    often = (strong > 0).mean(0)
    for number in np.argsort(-often, kind="stable").tolist():
        if often[number] == 0:
            return
        best = np.argsort(-strong[:, number], kind="stable")[:SHOWN].tolist()
        yield {
            "direction": number,
            "used": float(often[number]),
            "strongest": [
                f"{opened.decode(ids[max(0, at - 5) : at])}⟦{opened.decode(ids[at : at + 1])}⟧"
                for ids, at in (places[b] for b in best if strong[b, number] > 0)
            ],
        }  # fmt: skip


def _validation(seed: int) -> Validation:
    """Sums of a few planted directions: the autoencoder has to find the directions again."""
    import torch

    random = np.random.Generator(np.random.PCG64(seed))
    planted = random.normal(size=(PLANTED, WIDTH))
    planted /= np.linalg.norm(planted, axis=1, keepdims=True)
    mixed = np.zeros((4000, PLANTED))
    for row in mixed:
        row[random.permutation(PLANTED)[:TOGETHER]] = random.uniform(1, 2, TOGETHER)
    data = torch.tensor(mixed @ planted, dtype=torch.float32)
    found = fit(data, PLANTED // WIDTH, TOGETHER, seed).coder.W_dec.detach().numpy()
    best = (planted @ found.T).max(1)
    blind = random.normal(size=found.shape)
    blind /= np.linalg.norm(blind, axis=1, keepdims=True)
    chance = float(((planted @ blind.T).max(1) >= ALIKE).mean())
    measured = Measured.share(
        "planted directions found again", int((best >= ALIKE).sum()), PLANTED, chance=chance
    )
    return Validation(
        how=f"sums of {TOGETHER} of {PLANTED} planted directions in {WIDTH} numbers",
        holds=bool(measured.above_chance) and measured.value >= 0.5,
        says=f"{measured.value:.2f} of them are found again (cosine {ALIKE} or more), of random "
        f"directions {chance:.2f}",
        measures=[measured],
    )
