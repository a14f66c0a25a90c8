"""litgpt's own ``litgpt.pretrain``: FOLDER STEPS BATCH PRECISION THREADS RATE.

On the GPU, if there is one.

Its ``setup``, ``main`` and ``fit`` as they are: Fabric, ``torch.compile`` of the whole model,
AdamW (not fused: it asks for that on GPUs only), chunked cross entropy. Replaced are the logger,
by a clock, and the checkpoint after the last step, by nothing.
"""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

from timing import Clock

clock = Clock()
import torch  # noqa: E402

clock.stage("import torch")
import numpy as np  # noqa: E402
from lightning.fabric.loggers.logger import Logger  # noqa: E402
from litgpt import pretrain  # noqa: E402
from litgpt.args import EvalArgs, TrainArgs  # noqa: E402
from litgpt.config import Config  # noqa: E402
from litgpt.data import DataModule  # noqa: E402

clock.stage("import litgpt")
FOLDER, STEPS, BATCH = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
PRECISION, THREADS, RATE = sys.argv[4], int(sys.argv[5]), float(sys.argv[6])


class Recorder(Logger):
    name, version = "clock", 0

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        if "iter_time" not in metrics:
            return
        if clock.losses:
            clock.step(metrics["loss"])
        else:
            clock.stage("first step")
            clock.losses.append(metrics["loss"])

    def log_hyperparams(self, *args: Any, **words: Any) -> None:
        pass


class Rows(DataModule):
    """The batches that ours draws, in their order."""

    def connect(self, tokenizer: Any = None, batch_size: int = 1, max_seq_length: int | None = None,
                **kwargs: Any) -> None:  # fmt: skip
        self.rows = torch.from_numpy(np.load(FOLDER / "rows.npy"))

    def train_dataloader(self) -> Any:
        clock.stage("set-up")
        return torch.utils.data.DataLoader(self.rows, batch_size=BATCH, shuffle=False)

    def val_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.rows[:BATCH], batch_size=BATCH)


def main() -> None:
    torch.set_num_threads(THREADS)
    pretrain.choose_logger = lambda *args, **words: Recorder()
    pretrain.save_checkpoint = lambda *args, **words: None
    config = Config(
        name="bench", block_size=512, vocab_size=16_000, padded_vocab_size=16_000, n_layer=10,
        n_head=6, n_embd=384, head_size=64, rotary_percentage=1.0, parallel_residual=False,
        bias=False, norm_class_name="RMSNorm", norm_eps=1e-5, mlp_class_name="LLaMAMLP",
        intermediate_size=960, rope_base=10_000,
    )  # fmt: skip
    train = TrainArgs(
        save_interval=None, log_interval=1, global_batch_size=BATCH, micro_batch_size=BATCH,
        max_tokens=STEPS * BATCH * 512, max_norm=1.0, min_lr=RATE, lr_warmup_steps=None,
        max_seq_length=512, tie_embeddings=True,
    )  # fmt: skip
    adam = {"lr": RATE, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        pretrain.setup(
            model_name="bench", model_config=config, out_dir=FOLDER / "litgpt-out",
            precision=PRECISION, initial_checkpoint_dir=FOLDER / "litgpt", data=Rows(),
            train=train, eval=EvalArgs(interval=10**9, final_validation=False), devices=1,
            optimizer={"class_path": "torch.optim.AdamW", "init_args": adam}, seed=1,
            logger_name="csv",
        )  # fmt: skip
    clock.tell()


if __name__ == "__main__":
    main()
