"""TRL's DPO and IPO on one batch: losses and gradients, as JSON for the tests of yoriai-train.

Run in an environment of its own with TRL: ``python dpo_trl.py TOKENIZER_FOLDER``. The model's
weights are made by a formula (``weights``), so that both sides have the same numbers.
"""

import json
import sys
import tempfile

import torch
import transformers
import trl
from datasets import Dataset
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

CONFIG = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "vocab_size": 260, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
# Prompts and answers of two pairs, as ids.
PROMPTS = [[5, 9, 30, 31], [7, 8]]
CHOSEN = [[40, 41, 42, 2], [50, 51, 2]]
REJECTED = [[60, 61, 2], [70, 71, 72, 73, 2]]


def model_of(scale):
    config = AutoConfig.for_model("llama", **CONFIG)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            places = torch.arange(parameter.numel(), dtype=torch.float64)
            values = torch.sin(places * 1.7 + number) * scale + (parameter.dim() == 1)
            parameter.copy_(values.view_as(parameter))
    return model


def batch():
    rows = [p + c for p, c in zip(PROMPTS, CHOSEN, strict=True)] + [
        p + r for p, r in zip(PROMPTS, REJECTED, strict=True)
    ]
    length = max(map(len, rows))
    lengths = [len(p) for p in PROMPTS] * 2
    return {
        "input_ids": torch.tensor([row + [3] * (length - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(r) + [0] * (length - len(r)) for r in rows]),
        "completion_mask": torch.tensor(
            [
                [0] * n + [1] * (len(r) - n) + [0] * (length - len(r))
                for r, n in zip(rows, lengths, strict=True)
            ]
        ),
    }


def main():
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    rows = [{"prompt": "a", "chosen": "b", "rejected": "c"}]
    told = {
        "trl": trl.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    for name, loss in (("dpo", "sigmoid"), ("ipo", "ipo")):
        model, reference = model_of(0.11), model_of(0.1)
        args = trl.DPOConfig(
            output_dir=tempfile.mkdtemp(),
            loss_type=[loss],
            beta=0.1,
            report_to=[],
            use_cpu=True,
            per_device_train_batch_size=1,
            gradient_checkpointing=False,
            bf16=False,
        )
        trainer = trl.DPOTrainer(
            model=model,
            ref_model=reference,
            args=args,
            processing_class=tokenizer,
            train_dataset=Dataset.from_list(rows),
        )
        value = trainer._compute_loss(trainer.model, batch(), False)
        value.backward()
        told[name] = {
            "loss": float(value),
            "gradients": {
                n: [float(p.grad.double().norm()), float(p.grad.flatten()[:8].double().sum())]
                for n, p in model.named_parameters()
            },
        }
    print(json.dumps(told, indent=1))


main()
