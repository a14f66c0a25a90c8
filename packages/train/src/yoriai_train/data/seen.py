"""Which optimizer steps saw a document: the order of the data, turned around."""

from __future__ import annotations

from typing import Any

from yoriai_train.data.documents import Sidecars
from yoriai_train.data.provenance import TrainingOrder


def places_of(training: TrainingOrder, name: str, limit: int) -> list[dict[str, Any]]:
    """Every place of the document ``SOURCE/ID`` in the shards, with the steps that saw it.

    ``limit`` is the number of steps that are looked at; none of them is gone through.
    """
    samples = training.samples()
    stop = min(limit * training.per_step, samples.order.samples)
    sidecars, places = Sidecars(training.tokens), []
    for number, text in enumerate(samples.windows.texts):
        for stem, document, row in sidecars.find(text, name):
            begin, end = text.place_of(stem, document)
            # A window's last token is the next one's first: it is predicted in one, read in both.
            last = min((end - 1) // training.context, samples.windows.counts[text.name] - 1)
            windows = range(max(0, (begin - 1) // training.context), last + 1)
            seen = [
                {"step": index // training.per_step + 1, "sample": index, "window": window}
                for window in windows
                for index in samples.order.find(number, window, stop)
            ]
            seen.sort(key=lambda item: item["sample"])
            places.append(
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
