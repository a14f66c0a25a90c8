"""The training loop of one rank: Lightning's, with what this project adds around it.

Every number is a function of the specification: a job that is killed and started again goes on
from its newest whole checkpoint and gives bit for bit the losses of an uninterrupted run.
"""

from __future__ import annotations

import json
import math
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from yoriai import YoriaiError, files
from yoriai.model_folder import AS_DATA, WEIGHTS, opening, whole
from yoriai_train.job import batches, parity
from yoriai_train.job.batches import Batches
from yoriai_train.job.ends import tell
from yoriai_train.job.machine import device_name, peak_flops
from yoriai_train.job.module import CausalModule
from yoriai_train.model import gate, segments, weights
from yoriai_train.model.adapter import FOLDER, export_adapter, merge, note_base
from yoriai_train.model.cpu_llama import use_lean
from yoriai_train.model.cpu_products import use_products
from yoriai_train.model.export import export
from yoriai_train.settings import checkpoints, strategies
from yoriai_train.settings.spec import EVENTS, LOG, PARITY, SKIPPED, STOP, Spec, read_rows
from yoriai_train.settings.stability import Spike, Watcher, shift, span_to_skip

REWOUND = 75  # the exit code of a rank that wants to be started again further back


class Steps(pl.Callback):
    """One row a step, by rank 0, and what is done about a spike.

    It stands before :class:`Checkpoints`: what a checkpoint covers is in the log, and a model
    whose loss is no number is never kept.
    """

    def __init__(self, spec: Spec, feed: Batches, skipped: list[list[int]]) -> None:
        self.spec = spec
        self.feed = feed
        self.skipped = skipped
        self.scratch = Path(spec.scratch)
        self.watcher = Watcher(spec.stability, read_rows(self.scratch / LOG))
        self.row: dict[str, Any] = {}
        self.since = 0.0
        # DeepSpeed makes the update inside the backward pass's end, before any hook of Lightning.
        self.late = spec.build_strategy().engine == "deepspeed"

    def on_before_optimizer_step(self, trainer: pl.Trainer, *rest: Any) -> None:
        """All gradients of the step are there, and none was used yet."""
        if not self.late:
            self._judge(trainer, rest[0])

    def on_train_batch_start(self, trainer: pl.Trainer, *rest: Any) -> None:  # noqa: ARG002
        if not self.since:
            self.since = time.perf_counter()

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        module, index = rest[0], rest[3]
        if (index + 1) % trainer.accumulate_grad_batches:
            return
        if not self.row:
            self._judge(trainer, module)
        row, self.row = self.row, {}
        norm = module.take_grad_norm()
        if norm is not None:
            row["grad_norm"] = norm
            self._check_norm(row, norm)
        seconds, self.since = time.perf_counter() - self.since, time.perf_counter()
        waited, self.feed.seconds = self.feed.seconds, 0.0
        if not trainer.is_global_zero:
            return
        with (self.scratch / LOG).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        circumstances = {
            "seconds": round(seconds, 4),
            "data_seconds": round(waited, 4),
            "memory_gb": round(_memory_gb(), 3),
        }
        tell("step", {**row, **circumstances})

    def _judge(self, trainer: pl.Trainer, module: CausalModule) -> None:
        told = module.take()
        step = trainer.global_step + (0 if self.late else 1)
        self.row = {
            "step": step,
            "loss": told.loss,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "tokens": told.tokens,
        }
        if self.spec.preference:
            # The loss is the mean over pairs; the tokens are those of both answers.
            tokens = round(told.by_source.get("tokens", 0) * told.tokens)
            self.row |= {**told.by_source, "pairs": told.tokens, "tokens": tokens}
        elif len(told.by_source) > 1:
            self.row["losses"] = told.by_source
        if not math.isfinite(told.loss):
            self._event(trainer, "not-finite", None)
            raise YoriaiError(
                f"the loss is {told.loss} at step {step}",
                hint="lower schedule.peak, or raise schedule.warmup_steps; the documents of the"
                f" batch are in {EVENTS}",
            )
        spike = self.watcher.judge(told.loss)
        self.watcher.add(told.loss, spike=spike is not None)
        if spike is None:
            return
        self.row["spike"] = spike.z
        rules = self.spec.stability
        action = rules.on_spike
        if action == "skip" and self.late:
            action = "rewind"
        self._event(trainer, action, spike)
        if self.watcher.diverged:
            raise YoriaiError(
                f"the run diverged: {self.watcher.in_a_row} losses in a row above the median of"
                f" {spike.median:.3f}, at step {step} {told.loss:.3f}",
                hint=f"the evidence is in {EVENTS}; lower schedule.peak, or set"
                " stability.on_spike to rewind",
            )
        if action == "skip":
            for parameter in module.parameters():
                parameter.grad = None
        if action == "rewind":
            # Every rank ends here, at the same step, by the same losses; no hook may delay it.
            os._exit(REWOUND)

    def _check_norm(self, row: dict[str, Any], norm: float) -> None:
        """End the run where nothing is learned, or nothing can be any more."""
        learns = (math.isfinite(norm) and norm > 0) or math.isinf(norm)
        scaled = self.spec.precision == "16-mixed"  # its scaler passes over such steps itself
        if learns or scaled or "spike" in row or not row["tokens"]:
            return
        what = "nothing is learned" if norm == 0 else "the weights are no numbers from here on"
        raise YoriaiError(
            f"the norm of the gradient is {norm} at step {row['step']}: {what}",
            hint="lower schedule.peak, or look at the weights that training started from",
        )

    def _event(self, trainer: pl.Trainer, action: str, spike: Spike | None) -> None:
        """Write down what happened, and with which data; tell the process that watches."""
        data_step = shift(self.row["step"] - 1, self.skipped)
        event: dict[str, Any] = {
            "event": "spike" if spike else "not-finite",
            "step": self.row["step"],
            "loss": self.row["loss"] if spike else str(self.row["loss"]),
            "action": action,
            "data_step": data_step + 1,
        }
        if spike:
            event |= {"median": spike.median, "z": spike.z}
        if action == "rewind":
            event["skip"] = span_to_skip(self.spec.stability, data_step)
        if trainer.is_global_zero:
            tell("event", event)


class Checkpoints(pl.Callback):
    """Checkpoints as the policy says and before a stop, each with its weights as a folder."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.folder = Path(spec.scratch)

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        step = trainer.global_step
        module, index = rest[0], rest[3]
        boundary = (index + 1) % trainer.accumulate_grad_batches == 0
        asked = module.stopping and step < self.spec.steps
        if not boundary or not (asked or self.spec.checkpoint.writes(step, self.spec.steps)):
            return
        part = checkpoints.part(self.folder, step)
        if trainer.is_global_zero:
            checkpoints.remove(part)
            part.mkdir()
        trainer.strategy.barrier()
        trainer.save_checkpoint(part / "state")
        if step < self.spec.steps:
            write_model(self.spec, module.model, part / "model", Path(self.spec.tokenizer or part))
        trainer.strategy.barrier()
        if trainer.is_global_zero:
            _flush(self.folder / LOG)
            about = {
                "strategy": self.spec.strategy_class,
                "form": self.spec.build_strategy().checkpoint_form(),
                "world_size": trainer.world_size,
                "next_data_step": step,
                "data": self.spec.data,
            }
            checkpoints.seal(self.folder, step, about)
            if step < self.spec.steps:  # else a kill now would leave nothing to go on from
                checkpoints.prune(self.folder, self.spec.checkpoint)
        trainer.strategy.barrier()


class Evaluations(pl.Callback):
    """Scores on tasks while the model is being trained, by rank 0; the others wait."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        rules, step = self.spec.evaluate, trainer.global_step
        if rules is None or (rest[3] + 1) % trainer.accumulate_grad_batches:
            return
        if step % rules["every_steps"] and step != self.spec.steps:
            return
        folder = Path(self.spec.scratch) / "evaluated"
        if trainer.is_global_zero:
            checkpoints.remove(folder)
        trainer.strategy.barrier()
        write_model(self.spec, rest[0].model, folder, Path(self.spec.tokenizer))
        if trainer.is_global_zero:
            from yoriai_train.job import evaluation

            rows = evaluation.evaluate(folder, rules, [Path(p) for p in self.spec.artifacts])
            tell("scores", {"step": step, **rows})
            checkpoints.remove(folder)
        trainer.strategy.barrier()


class Stop(pl.Callback):
    """The end before the last step, where the job was asked for it; the checkpoint is written."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        step, boundary = trainer.global_step, (rest[3] + 1) % trainer.accumulate_grad_batches == 0
        if not boundary or not rest[0].stopping or step >= self.spec.steps:
            return
        if trainer.is_global_zero:
            tell("stopped", {"step": step})
        trainer.strategy.barrier()
        os._exit(0)  # as for a rewind; torchrun sees that no rank failed


class Export(pl.Callback):
    """At the end rank 0 writes the whole model as a Hugging Face folder, and asks both the same."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        spec, model, out = self.spec, module.model, Path(self.spec.out)
        small = parity.parameters_of(model) <= parity.LARGEST
        ids = parity.questions(int(model.config.vocab_size), spec.context)
        trained = parity.ask(model, ids) if small else None
        write_model(spec, model, out, None)
        if trainer.is_global_zero and trained is not None:
            cut = bool(spec.build_strategy().cuts)
            tolerance = parity.tolerance_of(model, spec.precision, cut=cut)
            found = parity.compare(trained, ids, out, tolerance)
            files.write_atomically(Path(spec.scratch) / PARITY, (json.dumps(found) + "\n").encode())
        trainer.strategy.barrier()


def write_model(spec: Spec, model: Any, folder: Path, tokenizer: Path | None) -> None:
    """The model in training as a folder; an adapter beside its base with it. Collective."""
    if not export_adapter(spec.build_method(), model, folder / FOLDER):
        export(model, folder, tokenizer)
    elif not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        note_base(Path(spec.start), spec.start_name, folder / FOLDER)
        merge(Path(spec.start), folder / FOLDER, folder)


def load_model(spec: Spec) -> Any:
    """A model from its configuration (seeded), or from a Hugging Face folder.

    It may be an outline, which :func:`.weights.fill` fills once the strategy cut it.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(spec.seed)
    if weights.are_filled_later(spec):
        return weights.outline(spec)
    if spec.start:
        with opening(spec.start):
            loaded = AutoModelForCausalLM.from_pretrained(
                spec.start, dtype=torch.float32, **WEIGHTS
            )
        model = whole(loaded, spec.start)
        # They lie in the mapped file, at odd addresses: products took up to a third longer.
        for parameter in model.parameters():
            parameter.data = parameter.data.clone()
        return weights.set_to_training(model)
    body = dict(spec.model)
    config = AutoConfig.for_model(body.pop("model_type"), **body)
    return weights.set_to_training(
        AutoModelForCausalLM.from_config(config, dtype=torch.float32, **AS_DATA)
    )


def choose_head(spec: Spec) -> str:
    """How the loss is computed (:func:`.gate.choose_head`); raises where it would be wrong."""
    body = dict(spec.model)
    if spec.start:
        body = json.loads((Path(spec.start) / "config.json").read_bytes())

    def change(model: Any) -> None:
        if not spec.liger and not spec.compile:
            use_lean(model, apart=spec.boundaries or spec.pack)

    return gate.choose_head(body, boundaries=spec.boundaries or spec.pack, change=change)


def run(spec: Spec) -> None:
    """Train as the specification says."""
    # Same numbers on every run; without it some CPU kernels add in the order threads finish.
    torch.use_deterministic_algorithms(True)
    # Every new tensor would be filled with NaN first, against code that reads what it never wrote.
    setattr(torch.utils.deterministic, "fill_uninitialized_memory", False)  # noqa: B010
    strategy = spec.build_strategy()
    scratch = Path(spec.scratch)
    done = 0
    if spec.resume:
        done = int(json.loads((Path(spec.resume) / checkpoints.ABOUT).read_bytes())["step"])
    skipped = read_skipped(scratch)
    head = choose_head(spec)
    model = load_model(spec)
    torch.manual_seed(spec.seed)
    spec.build_method().adapt(model)
    use_products(model)
    if spec.liger:
        apply_liger(model)
    elif not spec.compile:
        use_lean(model, apart=spec.boundaries or spec.pack)
    if spec.activation_checkpoints:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if spec.compile:
        for block in _blocks(model):
            block.compile()
    deepspeed = strategy.engine == "deepspeed"
    module = CausalModule(
        model,
        spec.schedule,
        spec.optimizer,
        steps=spec.steps,
        z_loss=spec.z_loss,
        chunked=head == "chunked",
        sources=batches.source_names(spec),
        preference=spec.preference,
        prepare=partial(prepare, spec),
        # Only rank 0 looks: it is where the process that was told to stop is.
        asked_to_stop=lambda: trainer.is_global_zero and (scratch / STOP).exists(),
    )
    arguments = strategies.trainer_arguments(
        strategy, num_nodes=spec.nodes, precision=spec.precision
    )
    if deepspeed and Path(spec.resume_state).parent == scratch:
        arguments["strategy"].config["checkpoint"] = {"load_universal": True}
    feed = Batches(lambda number: make(number), range(done, spec.steps), spec.accumulate, skipped)
    trainer = pl.Trainer(
        max_steps=spec.steps,
        accumulate_grad_batches=spec.accumulate,
        gradient_clip_val=spec.optimizer.clip,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=scratch,
        callbacks=[
            Steps(spec, feed, skipped),
            Checkpoints(spec),
            Evaluations(spec),
            Stop(spec),
            Export(spec),
        ],
        **arguments,
    )
    flat = model.config._attn_implementation == segments.NAME
    make = batches.maker(spec, trainer.global_rank, trainer.world_size, flat=flat)
    if trainer.is_global_zero:
        facts = {"peak_flops": peak_flops(spec.precision), "device": device_name(), "head": head}
        tell("machine", facts)
    trainer.fit(
        module,
        feed,
        ckpt_path=spec.resume_state or None,
        # DeepSpeed reads its own folders, which only this job wrote and whose digests were
        # checked just before; all others are data only.
        weights_only=None if deepspeed else True,
    )


def prepare(spec: Spec, module: CausalModule) -> None:
    """Let the strategy cut the model; then give it its numbers, if it is an outline."""
    spec.build_strategy().prepare(
        module, precision=spec.precision, batch=spec.batch, num_nodes=spec.nodes
    )
    weights.fill(module.model, spec)


def apply_liger(model: Any) -> None:
    """Put Liger's kernels (arXiv 2410.10989) into a model, but for its loss: ours is in the head.

    Raises :class:`YoriaiError` where they cannot run.
    """
    if not torch.cuda.is_available():
        raise YoriaiError("liger: its kernels run on GPUs only", hint="leave liger out")
    from transformers.integrations.liger import apply_liger_kernel

    try:
        apply_liger_kernel(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})
    except ImportError as error:
        raise YoriaiError(
            "liger: liger-kernel is not installed", hint="pip install 'yoriai-train[liger]'"
        ) from error


def _blocks(model: Any) -> list[Any]:
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [part for part in model.modules() if type(part).__name__ in names]


def read_skipped(scratch: Path) -> list[list[int]]:
    """The spans of data that rewinding decided to pass over."""
    path = scratch / SKIPPED
    return json.loads(path.read_bytes()) if path.is_file() else []


def _memory_gb() -> float:
    """Most memory this process has held so far: on its GPU, or resident."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _flush(path: Path) -> None:
    """Make a file durable before a name says that what it covers is whole."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
