"""Jobs of this project: submitted, looked at, and ended through the site's own commands.

What is known of a job lies in ``build/launch`` of the folder it works in:

``ID.sh``
    the script
``ID.json``
    the note of the submission (written once, whole)
``ID.events``
    what happened, a line each, by the script
``ID.log``, ``ID.out``
    what the job said; what the scheduler said

The scheduler is asked only whether a job that has not noted its end still waits or runs.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic

from yoriai import NotFound, Refused, UsageError, YoriaiError, config, files
from yoriai.run_file import now
from yoriai.strict import Strict, of_json
from yoriai_train.job.nodes import FOLDER
from yoriai_train.launch.launch_file import QUEUED, Launch, Scheduler, script

State = Literal["queued", "running", "done", "failed", "stopped", "cancelled", "vanished"]
SIGNALLED = "told to end from outside, not by yoriai train cancel"
_TOLD_TO_END = ("6", "130", "137", "143")  # the run says that its time is up; it died of the signal
COMMAND_SECONDS = 120  # a busy Slurm controller answers within its MessageTimeout, 10 s to 100 s
GRACE_SECONDS = 30.0  # between SIGTERM and SIGKILL; Slurm's KillWait by default
MOST_NOTE_BYTES, MOST_EVENTS_BYTES = 2**20, 2**26
ID = r"[A-Za-z0-9_-]{1,200}"
# A scheduler's number of a job: 123, 123_4, 123.server, 123[4].server. It is a word of commands,
# so it begins with a digit: no option, and of kill(2) no group of processes.
NUMBER = r"[0-9][A-Za-z0-9_.\[\]-]{0,200}"


class JobNote(Strict):
    """The note of a submission, as :func:`write_note` writes it."""

    id: str = pydantic.Field(pattern=f"^{ID}$")
    scheduler: Scheduler
    job: str = pydantic.Field(pattern=f"^{NUMBER}$")
    began: int = pydantic.Field(0, ge=0, le=2**62)
    submitted: str
    nodes: int
    recipe: str
    requeues: int = 0

    @pydantic.model_validator(mode="after")
    def _of_a_process(self) -> JobNote:
        if self.scheduler not in QUEUED and not re.fullmatch("[1-9][0-9]{0,9}", self.job):
            raise ValueError("job is no number of a process")
        return self


@dataclass(frozen=True, slots=True)
class Event:
    """A line of ``ID.events``.

    ``what`` is started, ended, requeued, requeue-failed, gave-up, cancelled (by our command) or
    signalled (told to end by somebody else: scancel, qdel, preemption, a terminal).
    """

    time: str
    what: str
    attempt: int
    value: str


@dataclass(frozen=True, slots=True)
class Status:
    """How a job is: ``detail`` says why in words, ``job`` is the scheduler's number of it."""

    id: str
    state: State
    detail: str
    scheduler: str
    job: str
    attempt: int
    nodes: int
    recipe: str
    submitted: str


# --- submitting --------------------------------------------------------------------------


def next_id(launch: Launch) -> str:
    """NAME-N with the first number that is free."""
    folder = Path(launch.directory) / FOLDER
    taken = {path.name.partition(".")[0] for path in folder.glob(f"{launch.job_name}-*")}
    number = 1
    while f"{launch.job_name}-{number}" in taken:
        number += 1
    return f"{launch.job_name}-{number}"


def submit(launch: Launch) -> dict[str, Any]:
    """Write the script, hand it to the scheduler, and return the note of it.

    Raises :class:`YoriaiError` if the scheduler's command is missing, :class:`Refused` with the
    scheduler's words if it wants none of it; then nothing is left behind.
    """
    directory = Path(launch.directory)
    if not directory.is_dir():
        raise NotFound(f"there is no folder {directory}", hint="mend 'directory' in the launch")
    job_id, place = _reserve(launch)
    try:
        job, began = (
            hand_in(launch, job_id) if launch.scheduler in QUEUED else _start(directory, job_id)
        )
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    return write_note(launch, job_id, job, began)


def hand_in(launch: Launch, job_id: str, waits: Sequence[str] = ()) -> tuple[str, int]:
    """Give the script of a job to the scheduler; ``waits`` are options of its command."""
    directory = Path(launch.directory)
    told = _call(_submission(launch, f"{FOLDER}/{job_id}.sh", waits), directory)
    return _number(launch.scheduler, told), 0


def write_note(launch: Launch, job_id: str, job: str, began: int = 0) -> dict[str, Any]:
    """The note of a submission, by which the job is known from now on."""
    note = {
        "id": job_id,
        "scheduler": launch.scheduler,
        "job": job,
        "began": began,
        "submitted": now(),
        "nodes": launch.nodes,
        "recipe": launch.recipe,
        "requeues": launch.requeues,
    }
    place = Path(launch.directory) / FOLDER / f"{job_id}.json"
    files.write_atomically(place, files.canonical_json(note))
    return note


def _reserve(launch: Launch) -> tuple[str, Path]:
    """A new id and its script, written; two that submit at once get two ids."""
    folder = Path(launch.directory) / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            job_id = next_id(launch)
            place = folder / f"{job_id}.sh"
            with contextlib.suppress(FileExistsError), place.open("x", encoding="utf-8") as stream:
                stream.write(script(launch, job_id))
                return job_id, place
    except OSError as error:
        raise files.disk_error(folder, error) from error


def _submission(launch: Launch, path: str, waits: Sequence[str] = ()) -> list[str]:
    if launch.scheduler == "slurm":
        return ["sbatch", "--parsable", *waits, path]
    if launch.scheduler == "pbs":
        return ["qsub", *waits, path]
    abci = bool(launch.group and not launch.parallel_environment)
    return ["qsub", "-terse", *(["-g", launch.group] if abci else []), *waits, path]


def _number(scheduler: str, told: str) -> str:
    """The scheduler's number in what it said on submission, its last line."""
    last = (told.strip().splitlines() or [""])[-1]
    # sbatch --parsable: 123[;cluster]. qsub: 123.server, of an array 123[].server. qsub -terse:
    # 123, of an array 123.1-12:1; else: Your job 123 (…
    pattern = r"\d+(?:\[\])?(?:\.[A-Za-z][\w.-]*)?" if scheduler == "pbs" else r"\d+"
    found = re.search(pattern, last)
    if not found:
        raise YoriaiError(f"{scheduler} took the job and gave no number: {told.strip()!r}")
    return found[0]


def _start(directory: Path, job_id: str) -> tuple[str, int]:
    """Start the script detached: a session of its own, which outlives this terminal."""
    with (directory / FOLDER / f"{job_id}.out").open("ab") as out:
        process = subprocess.Popen(
            ["bash", f"{FOLDER}/{job_id}.sh"],
            cwd=directory,
            env=_with_our_commands(),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    return str(process.pid), _began(process.pid)


def _with_our_commands() -> dict[str, str]:
    """This environment, with the folder of this Python's commands on PATH, last."""
    path = os.environ.get("PATH", os.defpath)
    return {**os.environ, "PATH": f"{path}:{Path(sys.executable).parent}"}


def _began(process: int) -> int:
    """When a process began, in clock ticks since the machine's; 0 if it is gone (Linux).

    A number of a process is used again; the number together with this is not.
    """
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    fields = text.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])


# --- looking -----------------------------------------------------------------------------


def ids(directory: Path) -> list[str]:
    """The jobs submitted here, oldest first."""
    notes = [_note(path) for path in (directory / FOLDER).glob("*.json") if "." not in path.stem]
    return [n.id for n in sorted(notes, key=lambda n: (n.submitted, n.id))]


def _note(path: Path) -> JobNote:
    hint = f"if it is no job of yours: mv {path} elsewhere"
    try:
        data = files.read_small(path, MOST_NOTE_BYTES)
    except OSError as error:  # a link that leads nowhere
        raise Refused(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    note = of_json(JobNote, data, str(path), hint)
    if note.id != path.stem:  # the id becomes a path, and a number what is cancelled
        raise Refused(f"{path} is the note of job {note.id}", hint=hint)
    return note


def note_of(directory: Path, job_id: str) -> JobNote:
    """The note of a job; raises :class:`NotFound` with the nearest id."""
    if not re.fullmatch(ID, job_id) or not (directory / FOLDER / f"{job_id}.json").is_file():
        raise config.unknown_name(job_id, ids(directory), "job")
    return _note(directory / FOLDER / f"{job_id}.json")


def events(directory: Path, job_id: str) -> list[Event]:
    """What the script noted, in order; a line cut short by a crash is left out."""
    try:
        data = files.read_small(directory / FOLDER / f"{job_id}.events", MOST_EVENTS_BYTES)
    except FileNotFoundError:
        return []
    rows = [line.split("\t") for line in data.decode(errors="replace").splitlines()]
    return [
        Event(r[0], r[1], int(r[2]), r[3])
        for r in rows
        if len(r) == 4 and re.fullmatch("[0-9]{1,9}", r[2])
    ]


def status(directory: Path, job_id: str) -> Status:
    """How a job is, by its own events first; the scheduler is asked only if they have no end."""
    note, happened = note_of(directory, job_id), events(directory, job_id)
    told = [event for event in happened if re.fullmatch(NUMBER, event.value)]
    numbers = {e.attempt + 1: e.value for e in told if e.what == "requeued"}
    numbers |= {e.attempt: e.value for e in told if e.what == "started"}
    job = numbers[max(numbers)] if numbers else note.job
    state, detail = _judge(happened)
    if detail == SIGNALLED and note.scheduler in QUEUED:
        # A scheduler that takes the nodes away for another job may queue this one again.
        asked = _ask(note, job, directory)
        state, detail = asked if asked[0] == "queued" else (state, detail)
    if state is None:
        state, detail = _ask(note, job, directory)
        # It may have ended between the two questions.
        if state == "vanished":
            state, detail = _judge(events(directory, job_id))
            if state is None and any(e.what == "cancelled" for e in happened):
                state = "cancelled"
            elif state is None:
                state, detail = "vanished", _why_vanished(note.scheduler, job, directory)
        elif state == "running" and happened and happened[-1].what == "requeued":
            state = "queued" if note.scheduler in QUEUED else state
    attempt = max((e.attempt for e in happened), default=0)
    return Status(
        job_id, state, detail, note.scheduler, job, attempt, note.nodes, note.recipe,
        note.submitted,
    )  # fmt: skip


def _judge(happened: Sequence[Event]) -> tuple[State | None, str]:
    """The state if the events alone tell it, and why."""
    attempt = max((e.attempt for e in happened), default=0)
    last = {e.what: e for e in happened if e.attempt == attempt}
    ended = last.get("ended")
    if "signalled" in last and ended and ended.value in _TOLD_TO_END:
        return "cancelled", SIGNALLED
    if "cancelled" in last and (ended or not attempt):
        return "cancelled", ""
    if ended is None:
        return None, ""
    if ended.value == "0":
        return "done", ""
    if "requeue-failed" in last:
        return "stopped", "at the wall-time limit, and could not be queued again"
    if "requeued" in last:
        return None, ""
    if "gave-up" in last:
        return "stopped", f"at the wall-time limit, after {last['gave-up'].value} requeues"
    return "failed", f"exit code {ended.value}"


def _ask(note: JobNote, job: str, directory: Path) -> tuple[State, str]:
    """What the scheduler says of a job that has not noted its end."""
    scheduler = note.scheduler
    if scheduler not in QUEUED:
        alive = _began(int(note.job)) == note.began != 0
        return ("running" if alive else "vanished"), ""
    if scheduler == "slurm":
        told = _call(["squeue", "--noheader", "--format=%T", f"--jobs={job}"], directory, bad="")
        words = {"PENDING": "queued", "REQUEUED": "queued", "REQUEUE_HOLD": "queued"}
        found = told.split()[0] if told.split() else ""
    elif scheduler == "pbs":
        # -x: of a job that ended, too; it says F.
        told = _call(["qstat", "-x", "-f", job], directory, bad="")
        words = {"Q": "queued", "H": "queued", "W": "queued", "T": "queued", "F": ""}
        state = re.search(r"job_state = (\w)", told)
        found = state[1] if state else ""
    else:
        told = _call(["qstat"], directory, bad="")
        rows = [line.split() for line in told.splitlines()]
        number, _, task = job.partition(".")
        found = next((r[4] for r in rows if len(r) > 4 and r[0] == number and _is_of(r, task)), "")
        words = {found: "queued"} if "q" in found or "h" in found else {}
    name = words.get(found, "running" if found else "")
    if not name:
        return "vanished", ""
    return ("queued" if name == "queued" else "running"), found


def _is_of(row: Sequence[str], task: str) -> bool:
    """Whether a row of Grid Engine's qstat is of a task: its last word is 4, or 5-12:1 in wait."""
    if not task:
        return True
    for part in row[-1].split(","):
        found = re.fullmatch(r"(\d+)(?:-(\d+)(?::\d+)?)?", part)
        if found and int(found[1]) <= int(task) <= int(found[2] or found[1]):
            return True
    return False


def _why_vanished(scheduler: str, job: str, directory: Path) -> str:
    """What the accounting knows of a job that ended without a word."""
    if scheduler == "slurm":
        with contextlib.suppress(YoriaiError):
            query = ["sacct", "-X", "-n", "-P", "-o", "State", "-j", job]
            if told := _call(query, directory).split("\n")[0].strip():
                return f"Slurm says {told}"
    who = "its process is gone" if scheduler not in QUEUED else f"{scheduler} no longer knows it"
    return f"{who} and it noted no end: it was killed from outside"


# --- ending ------------------------------------------------------------------------------


def cancel(directory: Path, job_id: str) -> Status:
    """End a job, and keep it from being queued again; returns how it was before.

    Raises :class:`Refused` if it has ended already.
    """
    before = status(directory, job_id)
    if before.state not in ("queued", "running"):
        raise Refused(f"{job_id} is {before.state} already", hint=f"yoriai train logs {job_id}")
    # First the note, which the script heeds, so that no attempt slips through.
    with (directory / FOLDER / f"{job_id}.events").open("a", encoding="utf-8") as stream:
        stream.write(f"{now()}\tcancelled\t{before.attempt}\t\n")
    if before.scheduler in QUEUED:
        name = "scancel" if before.scheduler == "slurm" else "qdel"
        number, task = before.job, ""
        if before.scheduler == "sge":
            number, _, task = before.job.partition(".")
        _call([name, number, *(["-t", task] if task else [])], directory)
    else:
        note = note_of(directory, job_id)
        _end(int(note.job), note.began)
    return before


def _end(process: int, began: int) -> None:
    """SIGTERM to the script, which ends the run in order; then SIGKILL to all it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while _began(process) == began:
            if time.monotonic() > deadline:
                os.killpg(process, signal.SIGKILL)
                return
            time.sleep(0.1)


# --- the site's commands -----------------------------------------------------------------


def _call(command: Sequence[str], directory: Path, *, bad: str | None = None) -> str:
    """What a command prints. If it fails: ``bad`` if given, else :class:`Refused`, in its words."""
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise UsageError(
            f"{command[0]} is not on PATH: are you on a login node?",
            hint="log in to the cluster, or choose another: yoriai train launch … --scheduler"
            " local",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise YoriaiError(
            f"{command[0]} gave no answer within {COMMAND_SECONDS} s", hint="try again later"
        ) from error
    if done.returncode == 0:
        return done.stdout
    if bad is not None:
        return bad
    words = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}")[-2000:]
    raise Refused(f"{command[0]} refused: {words}", hint=f"{command[0]} --help")
