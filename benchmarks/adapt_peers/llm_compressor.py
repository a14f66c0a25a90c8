"""llm-compressor: KIND FOLDER OUT THREADS, KIND quantise or prune.

Its ``oneshot`` on a model on the CPU, saved as its examples do it. It reads the windows of ids one
by one, as by default, its calibration block by block where it offers that (``sequential``).
"""

from __future__ import annotations

import sys
from pathlib import Path

from measuring import measured

KIND, FOLDER, OUT, THREADS = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers.models.llama.modeling_llama  # noqa: E402, F401
from datasets import Dataset  # noqa: E402
from llmcompressor import oneshot  # noqa: E402
from llmcompressor.modifiers.pruning import WandaPruningModifier  # noqa: E402
from llmcompressor.modifiers.quantization import QuantizationModifier  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402


def main() -> None:
    torch.set_num_threads(THREADS)
    with measured():
        model = AutoModelForCausalLM.from_pretrained(FOLDER / "one", dtype="auto")
        tokenizer = AutoTokenizer.from_pretrained(FOLDER / "one")
        if KIND == "quantise":
            weights = {
                "num_bits": 4, "type": "int", "symmetric": True, "strategy": "group",
                "group_size": 32,
            }  # fmt: skip
            groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
            recipe = QuantizationModifier(config_groups=groups, ignore=["lm_head"])
            oneshot(model=model, recipe=recipe)
            model.save_pretrained(OUT, save_compressed=True)
        else:
            ids = np.load(FOLDER / "ids.npy")
            rows = [{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids.tolist()]
            recipe = WandaPruningModifier(sparsity=0.5, mask_structure="0:0", ignore=["lm_head"])
            oneshot(
                model=model, recipe=recipe, dataset=Dataset.from_list(rows), pipeline="sequential",
                num_calibration_samples=len(rows), max_seq_length=ids.shape[1],
                shuffle_calibration_samples=False,
            )  # fmt: skip
            model.save_pretrained(OUT, save_compressed=False)
        tokenizer.save_pretrained(OUT)


if __name__ == "__main__":
    main()
