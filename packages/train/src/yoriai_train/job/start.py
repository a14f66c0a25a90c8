"""A training job: what one is (:class:`Spec`), and how it is started and watched."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pydantic

from yoriai import Job, Strategy, UsageError, YoriaiError, files
from yoriai.errors import TimedOut
from yoriai_train.job.watch import Watch, Watching
from yoriai_train.settings import checkpoints
from yoriai_train.settings.checkpoints import Policy
from yoriai_train.settings.optimizer import Optimizer
from yoriai_train.settings.schedule import Schedule
from yoriai_train.settings.stability import Stability

PR_SET_PDEATHSIG = 1
# --time-limit, a scheduler's SIGTERM before its SIGKILL, and what Slurm's --signal is given here.
TIME_IS_UP = (signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1)
Row = dict[str, Any]
# Opened here, not in the child between fork and exec, where little is safe.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


WORKER_ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
LOG = "training.jsonl"  # one row a step: what a rerun gives again to the last bit
EVENTS = "events.jsonl"  # spikes, rewinds, harmed checkpoints, with the documents of the batch
SCORES = "evaluations.jsonl"  # scores on tasks while training
SKIPPED = "skipped.json"  # spans of data that rewinding passed over
STOP = "stop"  # where this file is, ranks end after the step they are at, with a checkpoint


class Spec(pydantic.BaseModel):
    """Everything a rank needs, as one JSON file."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")
    strategy_class: str
    strategy: dict[str, Any]
    nodes: int = 1
    model: dict[str, Any] = {}
    initial: dict[str, Any] = {}
    start: str = ""
    tokens: str = ""
    tokenizer: str = ""
    examples: str = ""
    artifacts: list[str] = []
    out: str
    scratch: str
    steps: int
    batch: int
    accumulate: int = 1
    context: int
    pad_id: int = 3
    boundaries: bool = False
    z_loss: float = 0.0
    precision: Literal["32-true", "bf16-mixed", "bf16-true", "16-mixed"] = "32-true"
    activation_checkpoints: bool = False
    compile: bool = False
    liger: bool = False
    schedule: Schedule
    optimizer: Optimizer = Optimizer()
    checkpoint: Policy = Policy()
    stability: Stability = Stability()
    evaluate: dict[str, Any] | None = None
    flops_per_token: float = 0.0
    data: str = ""  # what decides which sample is which, as a digest
    branch: str = ""  # the checkpoint of another run to go on from
    resume: str = ""
    resume_state: str = ""
    seed: int

    def build_strategy(self) -> Strategy:
        module, _, name = self.strategy_class.partition(":")
        built: Strategy = getattr(importlib.import_module(module), name)(**self.strategy)
        return built


def describe_strategy(strategy: Strategy) -> dict[str, Any]:
    """What a rank needs to build the strategy again, also one of another plugin."""
    kind = type(strategy)
    return {
        "strategy_class": f"{kind.__module__}:{kind.__qualname__}",
        "strategy": strategy.model_dump(),
    }


def check_share(batch: int, strategy: Strategy, nodes: int = 1) -> None:
    """Refuse a batch that the processes, or groups that share sequences, cannot share evenly."""
    parts = strategy.sequence_parts
    groups = strategy.processes * nodes // parts
    if batch % groups:
        raise UsageError(
            f"a batch of {batch} cannot be shared by {groups}"
            f" {'processes' if parts == 1 else 'groups of processes'}",
            hint=f"set batch to a multiple of {groups}",
        )


def check_parts(context: int, strategy: Strategy, *, boundaries: bool) -> None:
    """Refuse sequences that the processes cannot share; ``context`` is their length in tokens."""
    parts = strategy.sequence_parts
    if parts > 1 and (context % parts or boundaries):
        raise UsageError(
            f"strategy.sequence_parallel: {parts} needs a context that {parts} divides, and no"
            f" boundaries (SDPA cannot tell documents apart once sequences are put together);"
            f" the context is {context:,}, boundaries {'on' if boundaries else 'off'}",
            hint="leave boundaries out, or sequence_parallel",
        )


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """The configuration of a model to go on from, and its context under ``context``."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: config.json cannot be read: {error}") from error
    if "quantization_config" in config:
        raise UsageError(
            f"{name} is quantised; its integers cannot be trained",
            hint="name the model it was made from under 'from', and quantise afterwards",
        )
    context = config.get("max_position_embeddings") or config.get("n_positions")
    if not context:
        raise UsageError(f"{name}: config.json does not say how long its context is")
    return {**config, "context": int(context)}


def train(spec: Spec, strategy: Strategy, job: Job, watch: Watch | None = None) -> list[Row]:
    """Run the job to its end in processes of its own; returns the rows of its log.

    It goes on from the newest checkpoint that is whole, whatever number of processes wrote it,
    and again from further back if the ranks ask for that (see :mod:`.stability`). Raises
    :class:`YoriaiError` with what the ranks said last if it fails.
    """
    with Watching(watch or Watch(), spec, job) as watching:
        watching.begin(strategy.processes)
        for _ in range(spec.stability.most_rewinds + 1):
            event = _attempt(spec, strategy, job, watching)
            if event is None:
                return read_rows(job.scratch / LOG)
            rewind(job.scratch, event)
    last = event["step"] if event else 0
    raise YoriaiError(
        f"training stopped: {spec.stability.most_rewinds + 1} spikes, the last at step {last}",
        hint=f"the evidence is in {os.path.relpath(job.scratch / EVENTS)}; lower schedule.peak",
    )


def _attempt(spec: Spec, strategy: Strategy, job: Job, watching: Watching) -> Row | None:
    """Start the ranks and follow them; the event that asks for a rewind, or None at the end."""
    from yoriai_train.job.nodes import announce, cause, heeding, rendezvous_of
    from yoriai_train.settings import strategies

    rendezvous = rendezvous_of(strategy)
    spec = resumable(spec, strategy, job.scratch, watching)
    path, log = job.scratch / "spec.json", job.scratch / "stderr.log"
    files.write_atomically(path, spec.model_dump_json(indent=2).encode())
    if rendezvous is not None:
        announce(rendezvous, path, (spec.strategy_class.partition(":")[0],))
    command = strategies.command(strategy, ["-m", "yoriai_train.job.worker", str(path)], rendezvous)
    checkpoints.remove(job.scratch / STOP)
    told: list[tuple[str, Row]] = []
    with asking_to_stop(job.scratch / STOP) as signals:
        with log.open("ab") as stderr:
            begin = stderr.tell()
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**strategies.environment(rendezvous=rendezvous), **WORKER_ENVIRONMENT},
                preexec_fn=die_with_parent,
            )
        try:
            with heeding(rendezvous, process):
                for _ in job.progress(watching.follow(_told(process), told), "train", spec.steps):
                    pass
                code = process.wait()
        except BaseException:
            _stop(process)
            raise
    asked = [row for kind, row in told if kind == "event" and row["action"] == "rewind"]
    if asked and not signals:
        return asked[-1]
    errors = [row for kind, row in told if kind == "error"]
    if errors:
        own = YoriaiError(f"training stopped: {errors[0]['message']}", hint=errors[0]["hint"])
        raise cause(rendezvous, own)
    text = log.read_bytes()[begin:].decode("utf-8", errors="replace")
    if signals and (asked or not code or _terminated(code, text)):
        raise _timed_out(signals[0], told)
    if code:
        raise cause(rendezvous, explain(code, text, log))
    return None


@contextlib.contextmanager
def asking_to_stop(file: Path) -> Iterator[list[signal.Signals]]:
    """Turn a signal that says that the time is up into ``file``, which the ranks look for.

    torchrun would hand a signal on and kill 30 s later, which is short for a large checkpoint; a
    file reaches rank 0 however it was started. Gives the signals that came. A second one does
    what it did before, and so ends the job at once.
    """
    came: list[signal.Signals] = []
    former: dict[signal.Signals, Any] = {}

    def ask(number: int, frame: Any) -> None:
        if came:
            signal.signal(number, former[signal.Signals(number)])
            signal.raise_signal(number)
            return
        came.append(signal.Signals(number))
        file.touch()

    if threading.current_thread() is threading.main_thread():  # else the caller owns them
        former = {number: signal.signal(number, ask) for number in TIME_IS_UP}
    try:
        yield came
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        checkpoints.remove(file)


def _terminated(code: int, text: str) -> bool:
    """Whether SIGTERM ended the ranks: some schedulers send it to all processes of a job."""
    return code == -signal.SIGTERM or f"got signal: {int(signal.SIGTERM)}" in text


def _timed_out(number: signal.Signals, told: list[tuple[str, Row]]) -> TimedOut:
    why = "the time limit was reached" if number == signal.SIGALRM else f"{number.name} came"
    # No step is told if the signal came while the last step was done, or struck the ranks, too.
    steps = [row["step"] for kind, row in told if kind == "stopped"]
    place = f" after step {steps[-1]}, which has a checkpoint" if steps else ""
    return TimedOut(
        f"training stopped{place}: {why}",
        hint="start the same command again to go on from its last checkpoint",
    )


def resumable(spec: Spec, strategy: Strategy, scratch: Path, watching: Watching) -> Spec:
    """The specification with the checkpoint to go on from, and the logs cut back to it."""
    for leftover in scratch.glob("part-*"):  # of a process that died while writing
        checkpoints.remove(leftover)
    # Of the last step there is one only to be kept; the model itself is made after it.
    checkpoints.remove(scratch / f"step-{spec.steps:07d}")
    found, problems = checkpoints.newest(scratch)
    for problem in problems:
        watching.event({"event": "harmed-checkpoint", "step": 0, "action": "none", "why": problem})
    if found is None and spec.branch:
        found = checkpoints.read(Path(spec.branch))
    step = found.step if found else 0
    for name in (LOG, SCORES):
        keep_rows(scratch / name, step)
    if found is None:
        return spec.model_copy(update={"resume": "", "resume_state": ""})
    state, world = found.state, strategy.processes * spec.nodes
    if strategy.engine == "deepspeed" and found.about["world_size"] != world:
        state = to_universal(found, scratch)
    return spec.model_copy(update={"resume": str(found.path), "resume_state": str(state)})


def to_universal(checkpoint: checkpoints.Checkpoint, scratch: Path) -> Path:
    """Let DeepSpeed rewrite a checkpoint so that another number of ranks can read it."""
    target = scratch / f"universal-{checkpoint.step:07d}"
    checkpoints.remove(target)
    command = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal"]
    command += ["--inject_missing_state", "--num_extract_workers", "1", "--num_merge_workers", "1"]
    command += ["--input_folder", str(checkpoint.state / "checkpoint")]
    command += ["--output_folder", str(target / "checkpoint")]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        last = (made.stderr.strip().splitlines() or ["no word"])[-1]
        raise YoriaiError(
            f"{checkpoint.path.name} could not be rewritten for another number of processes:"
            f" {last}",
            hint=f"start with {checkpoint.about['world_size']} processes, as it was written",
        )
    return target


def rewind(scratch: Path, event: Row) -> None:
    """Put aside the checkpoints from which the spike would come again, and pass over its data."""
    skipped = json.loads((scratch / SKIPPED).read_bytes()) if (scratch / SKIPPED).is_file() else []
    first, last = event["skip"]
    files.write_atomically(scratch / SKIPPED, json.dumps([*skipped, [first, last]]).encode())
    # A checkpoint of step n has seen data steps 0 to n - 1 (and what was skipped before).
    margin = event["data_step"] - 1 - first
    for path in scratch.glob("step-*"):
        if int(path.name.partition("-")[2]) > event["step"] - 1 - margin:
            checkpoints.remove(path)


def keep_rows(path: Path, step: int) -> None:
    """Cut a log back to the step of the checkpoint, so that no step is written twice."""
    if not path.is_file():
        return
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            break  # the line that was being written when the process died
        if row["step"] <= step:
            rows.append(line + "\n")
    files.write_atomically(path, "".join(rows).encode())


def read_rows(path: Path) -> list[Row]:
    """The rows of a log; none if it is not there."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tell(kind: str, row: Row) -> None:
    """What a rank says to the process that started it, on a line of its own."""
    print(f"@{kind} {json.dumps(row)}", flush=True)


def _told(process: subprocess.Popen[str]) -> Iterator[tuple[str, Row]]:
    """What the ranks say, as (kind, row)."""
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            if found := _TOLD.match(line):
                yield found[1], json.loads(found[2])


_TOLD = re.compile(r"@([a-z]+) (\{.*\})$")


def _stop(process: subprocess.Popen[str]) -> None:
    """End the job in order, then by force."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


_ERROR = re.compile(r"^(?:\[rank\d+\]: )?([\w.]*(?:Error|Exception|Interrupt)\b.*)")
_RANK = re.compile(r"^  rank +: (\d+).*\n  exitcode +: (-?\d+)", re.MULTILINE)


def explain(code: int, text: str, log: Path) -> YoriaiError:
    """What ended a job, from its exit code and from what it and torchrun wrote on stderr."""
    lines = text.splitlines()
    hint = f"the whole output is in {os.path.relpath(log)}"
    # The root cause first: torchrun kills by SIGKILL, too, after 30 s, and lists by rank.
    ends = _RANK.findall(text.rpartition("Root Cause")[2]) + _RANK.findall(text)
    killed = [(f"rank {r}", -int(c)) for r, c in ends if int(c) in _DEADLY]
    if code in _DEADLY:
        killed = [("the training process", -code)]
    if killed:
        who, number = killed[0]
        return YoriaiError(
            f"training stopped: {who} was killed by {signal.Signals(number).name}",
            hint="if memory ran out, use a smaller batch; started again, training goes on from"
            " its last checkpoint",
        )
    errors = [found[1] for line in lines if (found := _ERROR.match(line))]
    errors = [error for error in errors if not error.startswith("torch.distributed.elastic")]
    told = errors[-1] if errors else (lines[-1] if lines else f"exit code {code}")
    if "No space left" in told:
        hint = "free some space and start again: the last checkpoint is whole"
    return YoriaiError(f"training stopped: {told}", hint=hint)


# Signals that come from outside or from a crash; torchrun itself ends the others by SIGTERM.
_DEADLY = {-int(s) for s in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)}


def die_with_parent() -> None:
    """Ask the kernel (Linux) to end this process when the one that started it ends.

    And leave SIGUSR1 to that one: Slurm may send it to all processes, whom it would kill.
    """
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
