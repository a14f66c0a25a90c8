"""What all runners of ``adapt.py`` work on: ``python material.py MODEL FOLDER SAMPLES LENGTH``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import torch

from yoriai.mixture import build_mixture
from yoriai.shards import ShardWriter
from yoriai_domain_adapt.folders.tensors import Weights, save_folder


def main() -> None:
    model, folder = Path(sys.argv[1]), Path(sys.argv[2])
    samples, length = int(sys.argv[3]), int(sys.argv[4])
    folder.mkdir(parents=True)
    shutil.copytree(model, folder / "one")
    generator = torch.Generator().manual_seed(1)

    def noisy(_: str, tensor: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(tensor.shape, generator=generator)
        return (tensor.float() + 1e-3 * noise).to(tensor.dtype)

    weights = Weights(folder / "one")
    (folder / "other").mkdir()
    save_folder(weights, folder / "other", noisy)
    size = int(weights.config["vocab_size"])
    ids = np.random.default_rng(1).integers(3, size, (samples, length))
    (folder / "tokens").mkdir()
    writer = ShardWriter(folder / "tokens" / "en", size)
    for row in ids:
        writer.add(row.tolist())
    writer.close()
    held = {"files": ["en"], "tokens": ids.size, "documents": len(ids)}
    value = {"tokenizer": "", "vocabulary_size": size, "end_id": 2, "shards": {"en": held}}
    value["phases"] = [{"name": "main", "weights": {"en": 1}}]
    build_mixture(value).save(folder / "tokens")
    np.save(folder / "ids.npy", ids)


if __name__ == "__main__":
    main()
