"""What all runners train on: ``python material.py FOLDER STEPS BATCH``.

A ``tokens`` artifact, the batches that ours draws from it as one array for the peers, and a model
of 23 million parameters with random weights, as a Hugging Face folder and in litgpt's names.
The text is made of 4,000 phrases of 4 to 12 pieces, drawn by Zipf's law, so the loss falls.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from yoriai.mixture import build_mixture
from yoriai.shards import ShardWriter
from yoriai_train.data.windows import Samples
from yoriai_train.model.initial import initialise
from yoriai_train.settings.shapes import Llama

VOCABULARY, CONTEXT, SEED, TOKENS = 16_000, 512, 1, 2_000_000
SHAPE = Llama(
    layers=10, width=384, heads=6, key_value_heads=6, feed_forward=960, context=CONTEXT, tied=True
)


def write_tokens(folder: Path) -> None:
    folder.mkdir(parents=True)
    chooser = np.random.default_rng(SEED)
    pieces = (chooser.zipf(1.1, size=400_000) + 3).astype(np.int64)
    pieces = pieces[pieces < VOCABULARY]
    ends = np.cumsum(chooser.integers(4, 13, size=4_000))
    phrases = np.split(pieces[: ends[-1]], ends[:-1])
    places = chooser.zipf(1.2, size=TOKENS)
    places = places[places < len(phrases)]
    writer, written = ShardWriter(folder / "en", VOCABULARY), 0
    lengths = []
    for first in range(0, len(places), 40):
        document = np.concatenate([phrases[place] for place in places[first : first + 40]])
        writer.add([*document.tolist(), 2])
        lengths.append(len(document) + 1)
        written += lengths[-1]
        if written > TOKENS:
            break
    writer.close()
    held = {"files": ["en"], "tokens": written, "documents": len(lengths)}
    value = {"tokenizer": "", "vocabulary_size": VOCABULARY, "end_id": 2, "shards": {"en": held}}
    value["phases"] = [{"name": "main", "weights": {"en": 1}}]
    build_mixture(value).save(folder)


def litgpt_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights in the layout of ``litgpt.model.GPT``: queries, keys and values in one matrix."""
    made = {
        "transformer.wte.weight": state["model.embed_tokens.weight"],
        "lm_head.weight": state["lm_head.weight"],
        "transformer.ln_f.weight": state["model.norm.weight"],
    }
    for layer in range(SHAPE.layers):
        here, there = f"model.layers.{layer}.", f"transformer.h.{layer}."
        qkv = [state[f"{here}self_attn.{part}_proj.weight"] for part in "qkv"]
        made[f"{there}attn.qkv.weight"] = torch.cat(qkv)
        for theirs, ours in (
            ("attn.proj", "self_attn.o_proj"),
            ("mlp.fc_1", "mlp.gate_proj"),
            ("mlp.fc_2", "mlp.up_proj"),
            ("mlp.proj", "mlp.down_proj"),
            ("norm_1", "input_layernorm"),
            ("norm_2", "post_attention_layernorm"),
        ):
            made[f"{there}{theirs}.weight"] = state[f"{here}{ours}.weight"]
    return made


def main() -> None:
    folder, steps, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    write_tokens(folder / "tokens")
    rows = Samples(folder / "tokens", CONTEXT, SEED).batch(range(steps * batch))
    np.save(folder / "rows.npy", rows.astype(np.int32))
    body = SHAPE.transformers_config(VOCABULARY)
    config = AutoConfig.for_model(body.pop("model_type"), **body)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    initialise(model, SHAPE, SEED)
    model.save_pretrained(folder / "model")
    (folder / "litgpt").mkdir()
    torch.save(litgpt_names(model.state_dict()), folder / "litgpt" / "lit_model.pth")
    (folder / "config.json").write_text(json.dumps(SHAPE.transformers_config(VOCABULARY)))


if __name__ == "__main__":
    main()
