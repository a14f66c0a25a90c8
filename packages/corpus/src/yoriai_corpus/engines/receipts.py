"""Receipts: the JSON files that say that a task is done, and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yoriai import files


def done(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What the receipt at ``path`` says; if there is none, ``make()``, which becomes it.

    ``make`` leaves its results on the disk before it returns; the receipt is written last and
    whole, so that a task with a receipt is never done again.
    """
    if path.is_file():
        receipt: dict[str, Any] = json.loads(path.read_bytes())
        return receipt
    path.parent.mkdir(parents=True, exist_ok=True)
    receipt = make()
    files.write_atomically(path, files.canonical_json(receipt))
    return receipt
