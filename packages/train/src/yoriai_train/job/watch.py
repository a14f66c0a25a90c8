"""Following a training job from the process that started it.

JSON Lines are the truth: ``training.jsonl`` and ``events.jsonl`` in the artifact hold what a
rerun gives again, the run's own metrics file holds times, speed and memory. CSV, TensorBoard and
Weights & Biases only mirror the latter; they are written here, never by a rank, so that no
service can hold up training.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Annotated, Any, Literal

from pydantic import Field

from yoriai import Job, NotFound, Secret, YoriaiError, console
from yoriai.cost import Meter, Price
from yoriai.strict import Strict
from yoriai_train.settings.spec import EVENTS, SCORES, Row, Spec

EXTRA = {"tensorboard": "tensorboard", "wandb": "wandb"}


class Watch(Strict):
    """Who is told how training goes. Nothing here changes what is made."""

    every_steps: int = Field(1, ge=1, description="steps between rows of times in the metrics")
    mirrors: tuple[Literal["csv", "tensorboard", "wandb"], ...] = Field(
        (), description="also write to these, beside the run file"
    )
    wandb_project: str = Field("yoriai", description="project at Weights & Biases")
    webhook: Annotated[str, Secret()] = Field(
        "", description="an address that gets a JSON document on trouble and end, best as $VARIABLE"
    )
    stall_minutes: float = Field(
        30.0, gt=0, description="minutes without a step after which the webhook is called"
    )
    gpu: str = Field("", description="what MFU is measured against, e.g. h100; empty: found out")
    yen_per_gpu_hour: Price = 0.0


class Watching:
    """A job that is being followed; a context manager, so that mirrors end in order."""

    def __init__(self, rules: Watch, spec: Spec, job: Job) -> None:
        self.rules = rules
        self.spec = spec
        self.job = job
        self.mirrors: list[Any] = []
        self.processes = 1
        self.peak_flops = 0.0
        self.first: float | None = None
        self.seconds = self.tokens = self.waited = 0.0
        self.steps = 0
        self.meter = Meter()
        self._beat = threading.Event()
        self._done = threading.Event()
        self._guard: threading.Thread | None = None

    def __enter__(self) -> Watching:
        self.mirrors = [self._mirror(name) for name in self.rules.mirrors]
        if self.rules.webhook:
            self._guard = threading.Thread(target=self._watch_for_stall, daemon=True)
            self._guard.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._beat.set()
        if self._guard is not None:
            self._guard.join()
        for mirror in self.mirrors:
            mirror.finalize("success" if error is None else "failed")
        if self.steps:
            self.job.metric(**self.summary())
        self.call("end" if error is None else "failed", why=str(error or ""))

    def begin(self, processes: int) -> None:
        """Say how many processes there are, for rates per process."""
        self.processes = processes * self.spec.nodes

    def follow(self, told: Iterable[tuple[str, Row]], kept: list[tuple[str, Row]]) -> Iterator[int]:
        """Go through what ranks say; yields the step of each optimizer step done."""
        for kind, row in told:
            self._beat.set()
            if kind == "step":
                self.step(row)
                yield int(row["step"])
                continue
            if kind == "event":
                self.event(row)
            elif kind == "scores":
                self._append(SCORES, row)
            elif kind == "machine":
                self.peak_flops = float(row.get("peak_flops", 0.0))
                self.job.metric(kind="machine", **row)
                if row.get("head") == "logits":
                    console.note(
                        "this kind of model changes its logits after they are made: they are held"
                        " whole for the loss, which takes more memory"
                    )
            kept.append((kind, row))

    def step(self, row: Row) -> None:
        """One optimizer step: speed, memory and what the model sees, to the metrics and mirrors."""
        if self.first is None:
            self.first = time.monotonic() - self.meter.started
        self.steps += 1
        self.seconds += row["seconds"]
        self.waited += row["data_seconds"]
        self.tokens += row["tokens"]
        if row["step"] % self.rules.every_steps:
            return
        speed = row["tokens"] / max(1e-9, row["seconds"])
        measured: Row = {
            "training_step": row["step"],
            "loss": row["loss"],
            "learning_rate": row["learning_rate"],
            "seconds": row["seconds"],
            "data_seconds": row["data_seconds"],
            "tokens_per_second": round(speed, 1),
            "memory_gb": row["memory_gb"],
        }
        if "grad_norm" in row:
            measured["grad_norm"] = row["grad_norm"]
        if self.peak_flops:
            measured["mfu"] = round(self.mfu(speed), 4)
        measured |= {name: row[name] for name in ("accuracy", "margin") if name in row}
        measured |= {f"loss_{name}": value for name, value in row.get("losses", {}).items()}
        self.job.metric(kind="training", **measured)
        numbers = {k: v for k, v in measured.items() if k != "training_step"}
        for mirror in self.mirrors:
            mirror.log_metrics(numbers, step=row["step"])

    def mfu(self, tokens_per_second: float) -> float:
        """Model FLOPs over what all processes could do: PaLM (arXiv 2204.02311), appendix B."""
        flops = self.spec.flops_per_token * tokens_per_second
        return flops / (self.peak_flops * self.processes)

    def event(self, row: Row) -> None:
        """Something went wrong: write it down with the documents of its batch."""
        if self.spec.tokens and "data_step" in row:
            from yoriai_train.data.documents import batch_documents

            row = {**row, "documents": batch_documents(self.spec, row["data_step"])}
        self._append(EVENTS, row)
        self.job.metric(kind="event", **{k: v for k, v in row.items() if k != "documents"})
        self.call(row["event"], **{k: v for k, v in row.items() if k not in ("event", "documents")})

    def summary(self) -> Row:
        """The whole job in one row, for the run file."""
        row: Row = {
            "kind": "summary",
            **self.meter.read(self.rules.yen_per_gpu_hour, self.processes),
            "seconds_to_first_step": round(self.first or 0.0, 1),
            "steps": self.steps,
            "processes": self.processes,
            "tokens_per_second": round(self.tokens / max(1e-9, self.seconds)),
            "outside_steps": round(self.waited / max(1e-9, self.seconds), 5),
        }
        if self.peak_flops:
            row["mfu"] = round(self.mfu(self.tokens / max(1e-9, self.seconds)), 4)
        return row

    def _append(self, name: str, row: Row) -> None:
        with (self.job.scratch / name).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")

    def _mirror(self, name: str) -> Any:
        if self.job.aside is None:
            raise YoriaiError("mirrors need a run to stand beside", hint="leave watch.mirrors out")
        folder = self.job.aside
        folder.mkdir(parents=True, exist_ok=True)
        from lightning.pytorch import loggers

        try:
            if name == "csv":
                return loggers.CSVLogger(folder, name="csv", version="")
            if name == "tensorboard":
                return loggers.TensorBoardLogger(folder, name="tensorboard", version="")
            # Without a key nothing is sent: the run lies in the folder until `wandb sync`.
            offline = not os.environ.get("WANDB_API_KEY")
            return loggers.WandbLogger(
                name=self.job.name,
                save_dir=folder,
                project=self.rules.wandb_project,
                offline=offline,
            )
        except ModuleNotFoundError as error:
            raise NotFound(
                f"watch.mirrors: {name} needs {EXTRA.get(name, name)}",
                hint=f"pip install {EXTRA.get(name, name)}",
            ) from error

    def call(self, event: str, **values: Any) -> None:
        """Tell the webhook; that it cannot be reached must not end training."""
        if not self.rules.webhook:
            return
        import urllib.request

        body = json.dumps({"event": event, "step": self.job.name, **values}).encode()
        request = urllib.request.Request(
            self.rules.webhook, body, {"Content-Type": "application/json"}
        )
        with contextlib.suppress(OSError, ValueError), urllib.request.urlopen(request, timeout=10):
            pass

    def _watch_for_stall(self) -> None:
        told = False
        while not self._done.is_set():
            self._beat.clear()
            if self._beat.wait(self.rules.stall_minutes * 60):
                told = False
            elif not told:
                told = True
                self.call("stall", minutes=self.rules.stall_minutes, steps=self.steps)
