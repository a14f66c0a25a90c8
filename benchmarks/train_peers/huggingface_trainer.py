"""``transformers.Trainer``: FOLDER STEPS BATCH PRECISION THREADS RATE COMPILE.

On the GPU, if there is one.

Its defaults (fused AdamW, SDPA attention) with a constant rate and clipping at 1; with COMPILE
``torch_compile``, which compiles the whole model.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from pathlib import Path

from timing import Clock

clock = Clock()
import torch  # noqa: E402

clock.stage("import torch")
import numpy as np  # noqa: E402
from recorder import Recorder  # noqa: E402
from transformers import (  # noqa: E402
    AutoModelForCausalLM,
    Trainer,
    TrainingArguments,
)

clock.stage("import transformers")
FOLDER, STEPS, BATCH = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
PRECISION, THREADS, RATE, COMPILE = sys.argv[4], int(sys.argv[5]), float(sys.argv[6]), sys.argv[7]


def main() -> None:
    torch.set_num_threads(THREADS)
    rows = np.load(FOLDER / "rows.npy").astype(np.int64)
    # shift_labels: the targets as they are, which the model then does not move itself.
    samples = [{"input_ids": row[:-1], "labels": row[1:], "shift_labels": row[1:]} for row in rows]
    model = AutoModelForCausalLM.from_pretrained(FOLDER / "model", dtype=torch.float32)
    clock.stage("model")
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(io.StringIO()):
        arguments = TrainingArguments(
            output_dir=out, use_cpu=not torch.cuda.is_available(), max_steps=STEPS,
            bf16=PRECISION == "bf16-mixed",
            per_device_train_batch_size=BATCH, learning_rate=RATE, lr_scheduler_type="constant",
            weight_decay=0.0, adam_beta2=0.95, max_grad_norm=1.0, logging_steps=1,
            save_strategy="no", report_to="none", disable_tqdm=True, remove_unused_columns=False,
            train_sampling_strategy="sequential", torch_compile=COMPILE == "1",
        )  # fmt: skip
        trainer = Trainer(
            model=model, args=arguments, train_dataset=samples, callbacks=[Recorder(clock)]
        )
        clock.stage("trainer")
        trainer.train()
    clock.tell()


if __name__ == "__main__":
    main()
