"""A recipe of many steps as an array of jobs: what comes before, a step a task, what comes after.

The steps before are one job. The array waits for it; each task makes one step, all in one folder
(``yoriai run --only``). The last job waits for all tasks. A step that is made already ends its task
at once, so that an array may be submitted again after anything went wrong.

Under Slurm, and in a parallel environment of Grid Engine, a task that was queued again at its
wall-time limit is still the same job. Elsewhere it is another one, for which nobody waits: the job
that comes after finds the folder in use, says so and ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoriai import NotFound, UsageError, files
from yoriai_train.job.nodes import FOLDER
from yoriai_train.launch.launch_file import ARRAYS, Launch, script
from yoriai_train.launch.schedulers import hand_in, next_id, write_note


@dataclass(frozen=True, slots=True)
class Scripts:
    """The jobs of an array by their ids; ``before`` is empty where nothing comes before."""

    before: str
    tasks: str
    after: str
    texts: dict[str, str]


def scripts(launch: Launch, *, until: str, parts: Sequence[str], after: Sequence[str]) -> Scripts:
    """The scripts of an array: steps up to ``until``, each of ``parts``, and a command at the end.

    Raises :class:`UsageError` where the scheduler has no arrays.
    """
    if launch.scheduler not in ARRAYS:
        raise UsageError(
            f"scheduler {launch.scheduler} has no arrays of jobs",
            hint=f"scheduler: one of {', '.join(ARRAYS)}; or run it here with --run",
        )
    if launch.options.until or launch.options.settings:
        raise UsageError("options.until and options.settings cannot be said of an array")
    job_id = next_id(launch)
    first, last = f"{job_id}-before", f"{job_id}-after"
    texts = {}
    if until:
        options = launch.options.model_copy(update={"until": until})
        texts[first] = script(launch.model_copy(update={"options": options}), first)
    texts[job_id] = script(launch, job_id, parts=parts)
    texts[last] = script(launch, last, words=after)
    return Scripts(first if until else "", job_id, last, texts)


def submit(launch: Launch, made: Scripts, parts: Sequence[str]) -> list[dict[str, Any]]:
    """Hand all of it to the scheduler; returns a note for each job and task.

    Raises as :func:`~yoriai_train.launch.schedulers.submit` does. What the scheduler took before
    it refused another one stays, with its note, and can be cancelled.
    """
    folder = Path(launch.directory) / FOLDER
    if not folder.parent.parent.is_dir():
        raise NotFound(f"there is no folder {launch.directory}", hint="mend 'directory'")
    folder.mkdir(parents=True, exist_ok=True)
    for job_id, text in made.texts.items():
        files.write_atomically(folder / f"{job_id}.sh", text.encode())
    notes = []
    waits: list[str] = []
    if made.before:
        job, _ = hand_in(launch, made.before)
        notes.append(write_note(launch, made.before, job))
        waits = _after(launch, job, succeeded=True)
    job, _ = hand_in(launch, made.tasks, waits)
    for number in range(1, len(parts) + 1):
        notes.append(write_note(launch, f"{made.tasks}-{number}", task_of(launch, job, number)))
    last, _ = hand_in(launch, made.after, _after(launch, job, succeeded=False))
    notes.append(write_note(launch, made.after, last))
    return notes


def task_of(launch: Launch, job: str, number: int) -> str:
    """The scheduler's name of one task: 123_4, 123[4].server, 123.4."""
    if launch.scheduler == "slurm":
        return f"{job}_{number}"
    return job.replace("[]", f"[{number}]") if launch.scheduler == "pbs" else f"{job}.{number}"


def _after(launch: Launch, job: str, *, succeeded: bool) -> list[str]:
    """Options by which a job waits for another. Grid Engine knows no 'if it succeeded'."""
    when = "afterok" if succeeded else "afterany"
    if launch.scheduler == "slurm":
        return [f"--dependency={when}:{job}", "--kill-on-invalid-dep=yes"]
    if launch.scheduler == "pbs":
        return ["-W", f"depend={when}:{job}"]
    return ["-hold_jid", job]
