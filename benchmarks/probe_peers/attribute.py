"""One process that scores lines by their influence: ours, or a peer.

    python attribute.py FOLDER WHO LINES CHECKPOINTS

WHO is ``ours``, ``dattri``, ``bergson``, ``kronfluence`` (its identity strategy, the dot product
of gradients) or ``kronfluence-ekfac``. The last line of the output is JSON: CPU and wall seconds
without opening models, peak memory, the scores. Each imports only what its environment has.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

IGNORED = -100
BATCH = 64
BATCH_OF_DATTRI = 512  # it goes over the queries again for every batch of items
Told = dict[str, Any]


def ours(models: list[Any], told: Told) -> list[float]:
    from yoriai_eval.probes.attribution import influence

    scores = [influence(model, told["items"], told["queries"])[0] for model in models]
    return sum(scores[1:], scores[0]).tolist()  # type: ignore[no-any-return]


def rows(sequences: list[list[int]], firsts: list[int]) -> Any:
    """Ids, and labels from the place of the first that counts."""
    longest = max(map(len, sequences))
    ids = torch.tensor([[*s, *[0] * (longest - len(s))] for s in sequences])
    places = torch.arange(longest)[None]
    lengths = torch.tensor([[len(s)] for s in sequences])
    counts = (places >= torch.tensor(firsts)[:, None]) & (places < lengths)
    labels = ids.masked_fill(~counts, IGNORED)[:, 1:]
    real = (places[:, 1:] < lengths).to(torch.int64)
    return torch.utils.data.TensorDataset(ids[:, :-1], labels, real)


def data(told: Told) -> tuple[Any, Any]:
    items = rows(told["items"], [1] * len(told["items"]))
    return items, rows([q for q, _ in told["queries"]], [first for _, first in told["queries"]])


def dattri(models: list[Any], told: Told) -> list[float]:
    """Its TracIn on the last layer, without its default projection to 512 numbers."""
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask
    from torch.utils.data import DataLoader

    model = models[0]

    def loss(params: Any, batch: Any) -> torch.Tensor:
        ids, labels, _ = batch
        told = torch.func.functional_call(model, params, (ids[None],), {"use_cache": False})
        return cross_entropy(told.logits[0], labels, ignore_index=IGNORED, reduction="sum")

    states = [{k: v.clone() for k, v in m.state_dict().items()} for m in models]
    task = AttributionTask(loss_func=loss, model=model, checkpoints=states)
    attributor = TracInAttributor(
        task, torch.ones(len(models)), normalized_grad=False, layer_name=["lm_head.weight"]
    )
    attributor.projector_kwargs = None  # the constructor takes None for the default
    items, queries = data(told)
    found = attributor.attribute(
        DataLoader(items, batch_size=BATCH_OF_DATTRI),
        DataLoader(queries, batch_size=BATCH_OF_DATTRI),
    )
    return found.sum(1).tolist()  # type: ignore[no-any-return]


def kronfluence(models: list[Any], told: Told, strategy: str) -> list[float]:
    """Identity on the last layer at all checkpoints; EK-FAC on all layers at the final one."""
    from kronfluence.analyzer import Analyzer, prepare_model
    from kronfluence.arguments import FactorArguments, ScoreArguments
    from kronfluence.task import Task

    class QuietTask(Task):
        def get_influence_tracked_modules(self) -> list[str] | None:
            return ["lm_head"] if strategy == "identity" else None

        def get_attention_mask(self, batch: Any) -> torch.Tensor:
            return batch[2]  # type: ignore[no-any-return]

        def compute_train_loss(self, batch: Any, model: Any, sample: bool = False) -> torch.Tensor:
            ids, labels, _ = batch
            logits = model(input_ids=ids, use_cache=False).logits.flatten(0, 1)
            labels = labels.flatten()
            if sample:
                with torch.no_grad():
                    drawn = torch.multinomial(logits.softmax(-1), 1)[:, 0]
                    labels = torch.where(labels == IGNORED, labels, drawn)
            return cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")

        def compute_measurement(self, batch: Any, model: Any) -> torch.Tensor:
            return self.compute_train_loss(batch, model)

    items, queries = data(told)
    total = torch.zeros(len(told["items"]))
    for model in models if strategy == "identity" else models[-1:]:
        task = QuietTask()
        with tempfile.TemporaryDirectory() as place:
            analyzer = Analyzer("scores", prepare_model(model, task), task, cpu=True,
                                disable_tqdm=True, log_level=logging.ERROR,
                                output_dir=place)  # fmt: skip
            analyzer.fit_all_factors("factors", items, per_device_batch_size=BATCH,
                                     factor_args=FactorArguments(strategy=strategy))  # fmt: skip
            analyzer.compute_pairwise_scores(
                "pairs", "factors", queries, items,
                per_device_query_batch_size=BATCH, per_device_train_batch_size=BATCH,
                score_args=ScoreArguments(damping_factor=None, aggregate_query_gradients=True),
            )  # fmt: skip
            total += analyzer.load_pairwise_scores("pairs")["all_modules"][0]
    return total.tolist()  # type: ignore[no-any-return]


def bergson(models: list[Any], told: Told) -> list[float]:
    """Its scorer on the last layer, without projection, with the sum of the queries' gradients."""
    from bergson import (
        CollectorComputer,
        GradientProcessor,
        IndexConfig,
        InMemoryCollector,
        PreprocessConfig,
        Scorer,
    )
    from bergson.score.score_writer import InMemorySequenceScoreWriter
    from datasets import Dataset

    def labelled(sequences: list[list[int]], firsts: list[int]) -> Dataset:
        labels = [[IGNORED] * f + s[f:] for s, f in zip(sequences, firsts, strict=True)]
        rows = {"input_ids": sequences, "labels": labels, "length": list(map(len, sequences))}
        return Dataset.from_dict(rows)

    def read(model: Any, data: Dataset, **how: Any) -> Any:
        # Like lengths together, as its own allocation of batches does.
        order = sorted(range(len(data)), key=data["length"].__getitem__)
        batches = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
        config = IndexConfig(run_path=place, loss_reduction="sum")
        collector = InMemoryCollector(
            model=model, data=data, cfg=config, processor=GradientProcessor(),
            target_modules={"lm_head"}, **how,
        )  # fmt: skip
        CollectorComputer(
            model, data, collector=collector, batches=batches, cfg=config
        ).run_with_collector_hooks()
        return collector

    items = labelled(told["items"], [1] * len(told["items"]))
    queries = labelled([q for q, _ in told["queries"]], [first for _, first in told["queries"]])
    total = torch.zeros(len(items))
    with tempfile.TemporaryDirectory() as place:
        config = IndexConfig(run_path=place)
        config.partial_run_path.mkdir(parents=True)
        for model in models:
            # Nothing below the last layer needs a gradient.
            model.requires_grad_(False)
            model.lm_head.weight.requires_grad_(True)
            asked = read(model, queries, preprocess_cfg=PreprocessConfig(aggregation="sum"))
            writer = InMemorySequenceScoreWriter(len(items), 1)
            scorer = Scorer(asked.gradients, ["lm_head"], writer, model.device, torch.float32)
            total += read(model, items, scorer=scorer).scores[:, 0]
    return total.tolist()  # type: ignore[no-any-return]


def main() -> None:
    folder, who, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    torch.set_num_threads(1)
    told = json.loads((folder / "items.json").read_bytes())
    told["items"] = told["items"][:count]
    models = [
        AutoModelForCausalLM.from_pretrained(folder / name, dtype=torch.float32).eval()
        for name in told["checkpoints"][: int(sys.argv[4])]
    ]
    start, cpu = time.perf_counter(), time.process_time()
    if who.startswith("kronfluence"):
        scores = kronfluence(models, told, "ekfac" if who.endswith("ekfac") else "identity")
    else:
        scores = {"ours": ours, "dattri": dattri, "bergson": bergson}[who](models, told)
    facts = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - start}
    facts["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**facts, "scores": scores}))


if __name__ == "__main__":
    main()
