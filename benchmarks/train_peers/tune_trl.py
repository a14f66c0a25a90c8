"""TRL: FOLDER STEPS BATCH KIND PRECISION THREADS RATE, KIND one of sft, packed, lora, dpo.

Its defaults (AdamW, SDPA attention) with a constant rate, clipping at 1, the examples in their
order, and no activation checkpoints, which it has by default and ours has not. ``packed`` is its
default packing (best fit), in rows as long as the context, as many as hold BATCH examples.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from timing import Clock

clock = Clock()
import torch  # noqa: E402

clock.stage("import torch")
import trl  # noqa: E402
from datasets import Dataset  # noqa: E402
from recorder import Recorder  # noqa: E402
from torch.utils.data import SequentialSampler  # noqa: E402
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

clock.stage("import trl")
FOLDER, STEPS, BATCH, KIND = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
PRECISION, THREADS, RATE = sys.argv[5], int(sys.argv[6]), float(sys.argv[7])
CONTEXT = 512
tokens: list[int] = []  # of each batch, without padding


def counting(collate: Any) -> Any:
    def counted(rows: Any) -> Any:
        batch = collate(rows)
        mask = batch.get("attention_mask")
        tokens.append(int(batch["input_ids"].numel() if mask is None else mask.sum()))
        return batch

    return counted


def in_order(trainer: Any, *_: Any) -> Any:
    return SequentialSampler(trainer.train_dataset)


def main() -> None:
    torch.set_num_threads(THREADS)
    shown = json.loads((FOLDER / "shown.json").read_bytes())
    model = AutoModelForCausalLM.from_pretrained(FOLDER / "model", dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "tokenizer")
    clock.stage("model")
    batch = BATCH
    if KIND == "packed":
        whole = sum(len(row["prompt"]) + len(row["chosen"]) for row in shown)
        batch = max(1, round(BATCH * whole / len(shown) / CONTEXT))
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(io.StringIO()):
        words: dict[str, Any] = {
            "output_dir": out, "use_cpu": True, "max_steps": STEPS, "logging_steps": 1,
            "bf16": PRECISION == "bf16-mixed", "per_device_train_batch_size": batch,
            "learning_rate": RATE, "lr_scheduler_type": "constant", "weight_decay": 0.0,
            "adam_beta2": 0.95, "max_grad_norm": 1.0, "gradient_checkpointing": False,
            "report_to": [], "save_strategy": "no", "disable_tqdm": True, "max_length": CONTEXT,
        }  # fmt: skip
        told: dict[str, Any] = {"model": model, "processing_class": tokenizer}
        if KIND == "dpo":
            kind = trl.DPOTrainer
            kind._prepare_dataset = lambda self, dataset, *_: dataset  # it is ids already
            told["args"] = trl.DPOConfig(**words, beta=0.1)
            rows = [{f"{key}_ids": ids for key, ids in row.items()} for row in shown]
        else:
            kind = trl.SFTTrainer
            told["args"] = trl.SFTConfig(
                **words, packing=KIND == "packed", completion_only_loss=True, shuffle_dataset=False
            )
            rows = [
                {
                    "input_ids": row["prompt"] + row["chosen"],
                    "completion_mask": [0] * len(row["prompt"]) + [1] * len(row["chosen"]),
                }
                for row in shown
            ]
        if KIND == "lora":
            from peft import LoraConfig

            told["peft_config"] = LoraConfig(
                r=8, lora_alpha=32, task_type="CAUSAL_LM", target_modules="all-linear"
            )
        kind._get_train_sampler = in_order
        trainer = kind(train_dataset=Dataset.from_list(rows), callbacks=[Recorder(clock)], **told)
        trainer.data_collator = counting(trainer.data_collator)
        clock.stage("trainer")
        trainer.train()
    clock.tell(tokens=tokens[:STEPS], version=trl.__version__)


if __name__ == "__main__":
    main()
