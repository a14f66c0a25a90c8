"""One process that answers prompts: ours, the loop of llm-jp-eval v1, or lm-evaluation-harness.

    python answer.py ours|loop|lm-eval MODEL PROMPTS BATCH

PROMPTS is JSON: for each set its prompts, the prefix of all of them, the limit in tokens and the
stop text. The last line of the output is JSON: CPU and wall seconds of each set without opening
the model, peak memory, answers up to the stop text. Each imports only what its environment has.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Asked = dict[str, Any]
Answer = Callable[[Asked], list[str]]


def ours(model: str, batch: int) -> Answer:
    from yoriai_eval.backends.huggingface import HuggingFace

    opened = HuggingFace(batch=batch).open(Path(model))

    def answer(asked: Asked) -> list[str]:
        made = opened.generate(
            asked["prompts"],
            max_new_tokens=asked["tokens"],
            stop=asked["stop"],
            prefix=asked["prefix"],
        )
        return [one.text for one in made]

    return answer


def loop(model: str, batch: int) -> Answer:
    """llm-jp-eval v1: one text-generation pipeline for each data set, called prompt by prompt.

    ``max_new_tokens`` is the set's output length, decoding is greedy, nothing stops at a line
    end; the answer is cut there afterwards (llm-jp-eval src/llm_jp_eval/evaluate_llm.py).
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline

    tokenizer = AutoTokenizer.from_pretrained(model)
    opened = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)

    def answer(asked: Asked) -> list[str]:
        pipe = pipeline("text-generation", model=opened, tokenizer=tokenizer, device="cpu")
        made = []
        for prompt in asked["prompts"]:
            [found] = pipe(
                prompt,
                max_new_tokens=asked["tokens"],
                do_sample=False,
                repetition_penalty=1.0,
                return_full_text=False,
            )
            made.append(found["generated_text"])
        return made

    return answer


def lm_eval(model: str, batch: int) -> Answer:
    """lm-evaluation-harness's HF backend, with the stop text as ``until``."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    opened = HFLM(pretrained=model, dtype="float32", device="cpu", batch_size=batch)

    def answer(asked: Asked) -> list[str]:
        options = {"until": asked["stop"], "max_gen_toks": asked["tokens"], "do_sample": False}
        requests = [
            Instance("generate_until", {}, (prompt, dict(options)), number)
            for number, prompt in enumerate(asked["prompts"])
        ]
        made: list[str] = opened.generate_until(requests, disable_tqdm=True)
        return made

    return answer


def main(who: str, model: str, prompts: str, batch: str) -> None:
    sets: dict[str, Asked] = json.loads(Path(prompts).read_text(encoding="utf-8"))
    answer = {"ours": ours, "loop": loop, "lm-eval": lm_eval}[who](model, int(batch))
    warm = next(iter(sets.values()))
    answer({**warm, "prompts": ["a"], "prefix": "", "tokens": 1})
    found: dict[str, Any] = {}
    for name, asked in sets.items():
        cpu, wall = time.process_time(), time.perf_counter()
        texts = answer(asked)
        taken = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        for stop in asked["stop"]:
            texts = [text.partition(stop)[0] for text in texts]
        found[name] = {**taken, "answers": texts}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("\n" + json.dumps({"sets": found, "peak_mb": peak}, ensure_ascii=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
