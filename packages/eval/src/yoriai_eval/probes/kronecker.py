"""Influence with an approximate inverse curvature (K-FAC, EK-FAC), by ``kronfluence``.

score = g_query' (F + damping)^-1 g_item over the weights of linear layers, where the Fisher matrix
F of each layer is taken as a product of two small ones (K-FAC, Martens and Grosse 2015, arXiv
1503.05671), and EK-FAC corrects its eigenvalues (George et al. 2018, arXiv 1806.03884; Grosse et
al. 2023, arXiv 2308.03296). Imports torch and kronfluence.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import cross_entropy

Floats = npt.NDArray[np.float64]
Asked = tuple[Sequence[int], int]
IGNORED = -100
BATCH = 32
# A last layer of more ids than this is left out: its factor would have the square of them.
MOST_IDS = 4096


def factor_bytes(folder: Path) -> int:
    """Memory that the factors of a folder's matrices take, fp32 factors and fp64 eigenvectors.

    By the shapes in its safetensors; embeddings and last layers of many ids are left out.
    """
    from safetensors import safe_open

    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "numpy") as file:
            for name in file.keys():  # noqa: SIM118
                shape = file.get_slice(name).get_shape()
                if len(shape) == 2 and max(shape) > MOST_IDS and "embed" not in name:
                    shape = [side for side in shape if "lm_head" not in name]
                if len(shape) == 2 and "embed" not in name:
                    total += (
                        sum(side * side for side in shape) * (4 + 8) + 3 * 4 * shape[0] * shape[1]
                    )
    return total


def linear_layers(model: Any) -> tuple[list[str], str]:
    """Names of the linear layers that are taken, and a note on those that are not.

    Raises :class:`yoriai.UsageError` where there is none.
    """
    from yoriai import UsageError

    last = model.get_output_embeddings()
    names: list[str] = []
    left: list[str] = []
    for name, module in model.named_modules():
        if type(module) is torch.nn.Linear:
            large = module is last and module.out_features > MOST_IDS
            (left if large else names).append(name)
    if not names:
        raise UsageError("this model has no linear layer that kronfluence knows")
    note = f"K-FAC leaves out {', '.join(left)}: more than {MOST_IDS} ids" if left else ""
    return names, note


def kronecker_influence(
    model: Any,
    items: Sequence[Sequence[int]],
    queries: Sequence[Asked],
    *,
    strategy: str = "ekfac",
    seed: int = 0,
    layers: Sequence[str] | None = None,
    empirical: bool = False,
    damping: float | None = None,
    each: bool = False,
) -> Floats:
    """The score of each item with all queries together, (items,), or ``each``: (queries, items).

    An item's loss is the sum over its ids after the first, a query's the sum over its target.
    ``strategy`` is ``ekfac``, ``kfac``, or ``identity`` (no curvature: the dot product of
    gradients). The Fisher matrix is that of labels drawn from the model by ``seed``, or of the
    items' own (``empirical``). Without ``damping`` it is a tenth of the mean eigenvalue. Items of
    fewer than two ids have 0. The model is left as it was.
    """
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments

    found = np.zeros((len(queries) if each else 1, len(items)))
    kept = [i for i, ids in enumerate(items) if len(ids) > 1]
    if not kept:
        return found if each else found[0]
    task = _task(list(layers) if layers is not None else linear_layers(model)[0])
    asked = _rows([list(ids) for ids, _ in queries], [first for _, first in queries])
    read = _rows([list(items[i]) for i in kept], [1] * len(kept))
    devices = [model.device] if model.device.type == "cuda" else []
    with (
        tempfile.TemporaryDirectory() as place,
        torch.random.fork_rng(devices=devices),
    ):
        torch.manual_seed(seed)
        prepared = prepare_model(copy.deepcopy(model), task)
        analyzer = Analyzer(
            "scores", prepared, task, cpu=model.device.type == "cpu", disable_tqdm=True,
            log_level=logging.ERROR, output_dir=place,
        )  # fmt: skip
        analyzer.fit_all_factors(
            "factors", read, per_device_batch_size=BATCH,
            factor_args=FactorArguments(strategy=strategy, use_empirical_fisher=empirical),
        )  # fmt: skip
        analyzer.compute_pairwise_scores(
            "pairs", "factors", asked, read,
            per_device_query_batch_size=BATCH, per_device_train_batch_size=BATCH,
            score_args=ScoreArguments(damping_factor=damping, aggregate_query_gradients=not each),
        )  # fmt: skip
        told = analyzer.load_pairwise_scores("pairs")
        found[:, kept] = told["all_modules"].double().cpu().numpy()
    return found if each else found[0]


def _rows(sequences: Sequence[list[int]], firsts: Sequence[int]) -> Any:
    """Ids, labels from the place of the first that counts, and where a sequence is."""
    longest = max(map(len, sequences))
    ids = torch.tensor([[*s, *[0] * (longest - len(s))] for s in sequences])
    places = torch.arange(longest)[None]
    lengths = torch.tensor([[len(s)] for s in sequences])
    counts = (places >= torch.tensor(firsts)[:, None]) & (places < lengths)
    labels = ids.masked_fill(~counts, IGNORED)[:, 1:]
    real = (places[:, 1:] < lengths).to(torch.int64)
    return torch.utils.data.TensorDataset(ids, labels, real)


def _task(layers: list[str]) -> Any:
    from kronfluence.task import Task

    class NextIds(Task):
        """The summed loss of the next ids."""

        def get_influence_tracked_modules(self) -> list[str]:
            return layers

        def get_attention_mask(self, batch: Any) -> torch.Tensor:
            return batch[2]

        def compute_train_loss(self, batch: Any, model: Any, sample: bool = False) -> torch.Tensor:
            ids, labels, _ = batch
            logits = model(input_ids=ids[:, :-1], use_cache=False).logits.float().flatten(0, 1)
            labels = labels.flatten()
            if sample:
                with torch.no_grad():
                    drawn = torch.multinomial(logits.softmax(-1), 1)[:, 0]
                    labels = torch.where(labels == IGNORED, labels, drawn)
            return cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")

        def compute_measurement(self, batch: Any, model: Any) -> torch.Tensor:
            return self.compute_train_loss(batch, model)

    return NextIds()
