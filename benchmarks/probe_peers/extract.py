"""One process that asks for planted texts: ours, or the loop over single texts.

    python extract.py FOLDER ours|loop

The last line of the output is JSON: CPU and wall seconds without opening the model, peak memory,
and for each text whether it was exact, its token accuracy and its edit similarity.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rapidfuzz.distance import Levenshtein
from transformers import AutoModelForCausalLM

from yoriai_eval.probes.extraction import Extracted, extract
from yoriai_eval.probes.reading import OpenedFolder
from yoriai_eval.probes.tiny import BEGIN, Characters


def ours(opened: OpenedFolder, told: dict[str, Any]) -> list[list[Any]]:
    asked = [Extracted("", "", list(ids)) for ids in told["sequences"]]
    k = told["given"]
    extract(opened, asked, [k], told["wanted"], approximate=True)
    return [[a.exact[k], round(a.accuracy[k], 6), round(a.similarity[k], 6)] for a in asked]


def loop(opened: OpenedFolder, told: dict[str, Any]) -> list[list[Any]]:
    """llm-jp/memorization-analysis, src/evaluate.py: a prefix at a time, greedy, all of n ids."""
    found = []
    k, count = told["given"], told["wanted"]
    for ids in told["sequences"]:
        with torch.inference_mode():
            made = opened.model.generate(
                torch.tensor([ids[:k]]), do_sample=False, min_new_tokens=count,
                max_new_tokens=count, eos_token_id=None, pad_token_id=0,
            )[0, k:].tolist()  # fmt: skip
        wanted = ids[k : k + count]
        accuracy = sum(a == b for a, b in zip(made, wanted, strict=True)) / count
        near = Levenshtein.normalized_similarity(opened.decode(made), opened.decode(wanted))
        found.append([made == wanted, round(accuracy, 6), round(near, 6)])
    return found


def main() -> None:
    folder, who = Path(sys.argv[1]), sys.argv[2]
    torch.set_num_threads(1)
    told = json.loads((folder / "items.json").read_bytes())
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()
    characters = Characters(told["alphabet"])
    opened = OpenedFolder(model, characters, (BEGIN,), 0, len(characters))
    start, cpu = time.perf_counter(), time.process_time()
    results = (ours if who == "ours" else loop)(opened, told)
    facts = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - start}
    facts["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**facts, "results": results}))


if __name__ == "__main__":
    main()
