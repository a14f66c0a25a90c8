"""How fast a model reads and how much memory it takes, each in a process of its own.

The most memory that a process held never falls, so a second model in the same process would be
given the first one's. The text is the same for all; models with other pieces are compared in bytes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoriai import YoriaiError
from yoriai.model_folder import AS_DATA, WEIGHTS, opening, whole

ROUNDS = 3
TOKENS = 128  # of each text
SECONDS = 600  # that one model may take


def measure_speed(folder: Path, texts: Sequence[str]) -> dict[str, float]:
    """``tokens_per_second``, ``bytes_per_second`` and ``peak_memory_mb`` of reading ``texts``.

    One text at a time in fp32; of :data:`ROUNDS` the fastest. Memory is of the whole process, the
    libraries included. Raises :class:`yoriai.YoriaiError` with what the process said.
    """
    command = [sys.executable, "-m", "yoriai_domain_adapt.measure.speed", str(folder)]
    try:
        done = subprocess.run(
            command, input=json.dumps(list(texts)), capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise YoriaiError(f"{folder.name} read no text in {SECONDS} s") from error
    if done.returncode:
        raise YoriaiError(f"{folder.name} could not be timed: {done.stderr.strip()[-300:]}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _read(folder: Path, texts: Sequence[str]) -> dict[str, Any]:
    import resource

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with opening(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, **AS_DATA)
        loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **WEIGHTS)
    model = whole(loaded, folder).eval()
    encoded = [tokenizer.encode(text, add_special_tokens=False)[:TOKENS] for text in texts]
    size = sum(len(str(tokenizer.decode(ids)).encode()) for ids in encoded)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(ROUNDS):
            start = time.perf_counter()
            for ids in encoded:
                if ids:
                    model(torch.tensor([ids]))
            best = min(best, time.perf_counter() - start)
    return {
        "tokens_per_second": round(sum(map(len, encoded)) / best, 1),
        "bytes_per_second": round(size / best, 1),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6, 1),
    }


if __name__ == "__main__":
    print(json.dumps(_read(Path(sys.argv[1]), json.load(sys.stdin))))
