"""What all runners of ``tune.py`` train on: ``python tune_material.py FOLDER EXAMPLES``.

Conversations as ids, most of them short (a log-normal length, 24 to 512 pieces, a third of it the
question), each with a second answer for preferences; a model of 23 million parameters with random
weights; and a tokenizer that TRL wants to see. ``shown.json`` has the rows in the order in which
ours shows them, ``examples.jsonl`` and ``pairs.jsonl`` as ours reads them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from material import CONTEXT, SEED, SHAPE, VOCABULARY
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from yoriai_train.job.batches import place_of
from yoriai_train.model.initial import initialise

END = 2


def write_tokenizer(folder: Path) -> None:
    names = ["<unk>", "<s>", "</s>", "<pad>", *(f"w{n}" for n in range(4, VOCABULARY))]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", eos_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    folder.mkdir(parents=True)
    chooser = np.random.default_rng(SEED)

    def pieces(length: int) -> list[int]:
        drawn = chooser.zipf(1.1, size=20 * length) + 3
        return [int(piece) for piece in drawn[drawn < VOCABULARY][: length - 1]] + [END]

    rows = []
    for length in np.clip(chooser.lognormal(4.8, 0.7, size=count), 24, CONTEXT).astype(int):
        prompt = pieces(length // 3)
        answers = [pieces(length - length // 3) for _ in range(2)]
        rows.append({"prompt": prompt, "chosen": answers[0], "rejected": answers[1]})

    def encoded(row: dict[str, list[int]], answer: str) -> dict[str, object]:
        ids = row["prompt"] + row[answer]
        return {"ids": ids, "spans": [[len(row["prompt"]), len(ids)]]}

    with (
        (folder / "examples.jsonl").open("w") as examples,
        (folder / "pairs.jsonl").open("w") as pairs,
    ):
        for row in rows:
            examples.write(json.dumps(encoded(row, "chosen")) + "\n")
            told = {**encoded(row, "chosen"), "rejected": encoded(row, "rejected")}
            pairs.write(json.dumps(told) + "\n")
    shown = [rows[place_of(number, count, SEED)] for number in range(count)]
    (folder / "shown.json").write_text(json.dumps(shown))
    body = SHAPE.transformers_config(VOCABULARY)
    config = AutoConfig.for_model(body.pop("model_type"), **body)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    initialise(model, SHAPE, SEED)
    model.save_pretrained(folder / "model")
    write_tokenizer(folder / "tokenizer")
    (folder / "config.json").write_text(json.dumps(SHAPE.transformers_config(VOCABULARY)))


if __name__ == "__main__":
    main()
