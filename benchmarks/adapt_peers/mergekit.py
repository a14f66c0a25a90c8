"""mergekit: KIND FOLDER OUT THREADS. Its ``run_merge``, linear, as its command calls it."""

from __future__ import annotations

import sys
from pathlib import Path

from measuring import measured

KIND, FOLDER, OUT, THREADS = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
sys.path.pop(0)  # this folder, whose file has mergekit's own name
import torch  # noqa: E402
from mergekit.config import MergeConfiguration  # noqa: E402
from mergekit.merge import run_merge  # noqa: E402
from mergekit.options import MergeOptions  # noqa: E402


def main() -> None:
    torch.set_num_threads(THREADS)
    config = {
        "merge_method": "linear",
        "dtype": "bfloat16",
        "models": [
            {"model": str(FOLDER / name), "parameters": {"weight": 1.0}}
            for name in ("one", "other")
        ],
    }
    with measured():
        run_merge(MergeConfiguration.model_validate(config), str(OUT), MergeOptions(quiet=True))


if __name__ == "__main__":
    main()
