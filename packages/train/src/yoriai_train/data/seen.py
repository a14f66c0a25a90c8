"""Which optimizer steps saw a document: the order of the data, turned around."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yoriai_train.data.documents import Sidecars
from yoriai_train.data.provenance import TrainingOrder
from yoriai_train.settings.stability import shift, unshift


def places_of(
    training: TrainingOrder, names: Sequence[str], limit: int
) -> dict[str, list[dict[str, Any]]]:
    """Every place of documents ``SOURCE/ID`` in the shards, by name, with the steps that saw it.

    ``limit`` is the number of steps that are looked at; none of them is gone through.
    """
    samples = training.samples()
    data_steps = shift(limit - 1, training.skipped) + 1 if limit else 0
    stop = min(data_steps * training.per_step, samples.order.samples)
    sidecars = Sidecars(training.tokens)
    places: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number, text in enumerate(samples.windows.texts):
        for stem, document, row in sidecars.find(text, places):
            begin, end = text.place_of(stem, document)
            # A window's last token is the next one's first: it is predicted in one, read in both.
            last = min((end - 1) // training.context, samples.windows.counts[text.name] - 1)
            windows = range(max(0, (begin - 1) // training.context), last + 1)
            seen = [
                {"step": step + 1, "sample": index, "window": window}
                for window in windows
                for index in samples.order.find(number, window, stop)
                if (step := unshift(index // training.per_step, training.skipped)) is not None
            ]
            seen.sort(key=lambda item: item["sample"])
            places[f"{row.source}/{row.id}"].append(
                {
                    "shard": text.name,
                    "file": stem,
                    "document": document,
                    "record_sha256": row.record_sha256,
                    "tokens": row.tokens,
                    "windows": [windows.start, max(windows.start, windows.stop)],
                    "in_no_window": max(0, end - max(begin, _covered(samples, text))),
                    "seen": seen,
                }
            )
    return places


def _covered(samples: Any, text: Any) -> int:
    """Tokens of a shard that are in some window."""
    windows = samples.windows.counts[text.name]
    return windows * samples.windows.context + 1 if windows else 0
