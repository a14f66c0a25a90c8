"""A training job from its start to its end, with all it goes on from and rewinds to."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yoriai import Job, Strategy, YoriaiError, console, files
from yoriai.errors import TimedOut
from yoriai_train.job import ends
from yoriai_train.job.nodes import announce, cause, heeding, rendezvous_of
from yoriai_train.job.ranks import start_ranks
from yoriai_train.job.watch import Watch, Watching
from yoriai_train.settings import checkpoints
from yoriai_train.settings.spec import EVENTS, LOG, SCORES, SKIPPED, STOP, Row, Spec, read_rows

# --time-limit, a scheduler's SIGTERM before its SIGKILL, what Slurm's --signal is given here, and
# a terminal's Ctrl-C.
TIME_IS_UP = (signal.SIGALRM, signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
# GNU timeout signals its process and then the whole group, a job script its run besides: one wish.
SAME_WISH_SECONDS = 5.0
_ASKED = "\ntraining stops after this step, with a checkpoint; another signal ends it at once\n"


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
    rendezvous = rendezvous_of(strategy)
    spec = resumable(spec, strategy, job.scratch, watching)
    path, log = job.scratch / "spec.json", job.scratch / "stderr.log"
    files.write_atomically(path, spec.model_dump_json(indent=2).encode())
    if rendezvous is not None:
        announce(rendezvous, path, (spec.strategy_class.partition(":")[0],))
    checkpoints.remove(job.scratch / STOP)
    told: list[tuple[str, Row]] = []
    with asking_to_stop(job.scratch / STOP) as signals:
        with log.open("ab") as stderr:
            begin = stderr.tell()
            process = start_ranks(path, strategy, rendezvous, stderr)
        try:
            with heeding(rendezvous, process, begun=lambda: bool(told), say=console.note):
                steps = watching.follow(ends.told(process), told)
                done = steps_before(spec)
                label = f"train, after step {done}" if done else "train"
                for _ in job.progress(steps, label, spec.steps - done):
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
        raise cause(rendezvous, ends.explain(code, text, log))
    return None


@contextlib.contextmanager
def asking_to_stop(file: Path) -> Iterator[list[signal.Signals]]:
    """Turn a signal that says that the time is up into ``file``, which the ranks look for.

    torchrun would hand a signal on and kill 30 s later, which is short for a large checkpoint; a
    file reaches rank 0 however it was started. Gives the signals that came. Another one, more
    than ``SAME_WISH_SECONDS`` later, does what it did before, and so ends the job at once. What
    is ignored stays so: SIGINT, where a shell started this in the background.
    """
    came: list[signal.Signals] = []
    since = 0.0
    former: dict[signal.Signals, Any] = {}

    def ask(number: int, _frame: Any) -> None:
        nonlocal since
        if came and time.monotonic() - since < SAME_WISH_SECONDS:
            return
        if came:
            signal.signal(number, former[signal.Signals(number)])
            signal.raise_signal(number)
            return
        since = time.monotonic()
        came.append(signal.Signals(number))
        os.write(2, _ASKED.encode())
        file.touch()

    if threading.current_thread() is threading.main_thread():  # else the caller owns them
        heard = [n for n in TIME_IS_UP if signal.getsignal(n) != signal.SIG_IGN]
        former = {number: signal.signal(number, ask) for number in heard}
    try:
        yield came
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        checkpoints.remove(file)


def _terminated(code: int, text: str) -> bool:
    """Whether SIGTERM ended the ranks, where they cannot tell who sent it (not on Linux)."""
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


def steps_before(spec: Spec) -> int:
    """Steps of the checkpoint that a job goes on from; 0 at the beginning."""
    return int(Path(spec.resume).name.removeprefix("step-")) if spec.resume else 0


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


def _stop(process: subprocess.Popen[str]) -> None:
    """End the job in order, then by force."""
    process.send_signal(ends.END)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
