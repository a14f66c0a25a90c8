"""One launch file, a script for every scheduler. Nothing here touches a queue.

How a job on several nodes works
--------------------------------
The scheduler starts the script once, on the first node (the *head*). There it runs ``yoriai run
RECIPE``, as on a laptop: steps one after the other, each sealed before the next. On every other
node it starts ``yoriai train join``, which waits until the head's run comes to a training step,
starts torchrun for its node, and waits for the next (see :mod:`yoriai_train.job.nodes`). So only
training is spread, and a job of one node is a job without ``join``.

All that happens to a job is a line of ``build/launch/ID.events`` (time, event, attempt, value),
written by the script itself; nothing depends on what a scheduler remembers.

The wall-time limit
-------------------
``stop_seconds`` before it the script sends ``yoriai run`` SIGTERM. A training step then writes a
checkpoint after the optimizer step it is at, and the run ends with exit code 6 ("the time is up");
the script puts itself back in the queue, and the next attempt goes on from there. A run that does
not end is killed 60 s before the limit and goes on from its last checkpoint. Slurm sends the
signal itself (``--signal``); elsewhere the script watches the clock, because PBS gives SIGTERM
only ``kill_delay`` (10 s by default) before SIGKILL and what SGE's ``-notify`` gives is a setting
of the queue. Exit code 0 is never requeued; nor is any failure of the run's own.

Conventions, and where they are published
-----------------------------------------
* Slurm (mdx): github.com/llm-jp/scripts, ``cluster/gpu/all_reduce_bench/sbatch.sh``: partition,
  ``--gpus-per-node``, ``--exclusive``, hosts by ``scontrol show hostnames``.
* PBS (ABCI 3.0): docs.abci.ai/v3/en/job-execution: ``-P group``, ``-q rt_HF``, ``-l select=N``,
  ``-l walltime=…``, ``-j oe``, ``-k oed``; hosts in ``$PBS_NODEFILE``.
* SGE (ABCI until October 2024): docs.abci.ai/en/job-execution: ``qsub -g group``, ``-l rt_F=N``,
  ``-l h_rt=…``, ``-cwd``, ``-j y``; hosts in ``$SGE_JOB_HOSTLIST`` (else ``$PE_HOSTFILE``).
* SGE elsewhere: manual pages qsub(1) and sge_pe(5): ``-pe NAME SLOTS``, ``-q``, ``-P project``;
  hosts in ``$PE_HOSTFILE``; tasks on them by ``qrsh -inherit``.
* Port from the number of the job: both clusters' scripts by LLM-jp do that. Ours lies in 20000 to
  29999, below the range from which Linux gives out ports by itself (32768 and up).
"""

from __future__ import annotations

import re
import shlex
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic

from yoriai import NotFound, UsageError, config
from yoriai.redaction import HIDDEN, Redactor
from yoriai.secret_names import judge_variable
from yoriai.strict import Strict
from yoriai_train.job.nodes import FIRST_PORT, FOLDER, PORTS

QUEUED = ("slurm", "pbs", "sge")  # those with a queue; the others are processes of this machine

Scheduler = Literal["local", "torchrun", "slurm", "pbs", "sge", "mpirun"]

# What may stand on a line of directives, where nothing can be quoted.
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,:=@+/-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CLOCK = re.compile(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d\d)")


def _is_word(value: str) -> str:
    if value and not _WORD.fullmatch(value):
        raise ValueError(f"{value!r} is not one plain word (letters, digits, _ . , : = @ + / -)")
    return value


def _is_line(value: str) -> str:
    if not value.strip() or any(ord(character) < 32 for character in value):
        raise ValueError(f"{value!r} is not one line of text")
    return value


def _is_text(value: str) -> str:
    if "\0" in value:
        raise ValueError("a shell cannot hold the character NUL")
    return value


Word = Annotated[str, pydantic.AfterValidator(_is_word)]
Line = Annotated[str, pydantic.AfterValidator(_is_line)]
Text = Annotated[str, pydantic.AfterValidator(_is_text)]


class RunOptions(Strict):
    """Options handed to ``yoriai run``."""

    settings: list[Text] = pydantic.Field([], description="--set, each STEP.KEY=VALUE")
    until: Text = pydantic.Field("", description="--until: the last step to run")
    out: Text = pydantic.Field("", description="--out: where to work [build/RECIPE]")
    allow_drift: Text = pydantic.Field("", description="--allow-drift: the reason")

    @pydantic.field_validator("settings")
    @classmethod
    def _no_secrets(cls, value: list[str]) -> list[str]:
        for place, setting in enumerate(value):
            if HIDDEN in "".join(Redactor().words([setting])) and HIDDEN not in setting:
                raise ValueError(
                    f"number {place + 1} would put a secret into the script for all to read; give "
                    "the key $NAME, a variable that is exported where the job is submitted"
                )
        return value

    def words(self) -> list[str]:
        pairs = [("--set", value) for value in self.settings]
        pairs += [("--until", self.until), ("--out", self.out), ("--allow-drift", self.allow_drift)]
        return [word for name, value in pairs if value for word in (name, value)]


class Launch(Strict):
    """What to run, on how much of which machine. Every key means the same on all schedulers."""

    recipe: Text = pydantic.Field(min_length=1, description="recipe, as seen from 'directory'")
    scheduler: Scheduler = pydantic.Field("local", description="who starts the job")
    name: str = pydantic.Field("", description="name of the job [the recipe file's name]")
    nodes: int = pydantic.Field(1, ge=1, le=10**5, description="machines")
    gpus_per_node: int = pydantic.Field(
        0, ge=0, le=10**4, description="GPUs wanted on each; 0: none"
    )
    cpus_per_node: int = pydantic.Field(
        0, ge=0, le=10**5, description="cores wanted on each; 0: all"
    )
    walltime: int = pydantic.Field(
        0, ge=0, description="limit, HH:MM:SS or D-HH:MM:SS; 0: none (only where nobody queues)"
    )
    queue: Word = pydantic.Field(
        "",
        description="Slurm's partition, PBS's queue (rt_HF), SGE's resource type (rt_F) or, with a"
        " parallel environment, SGE's queue",
    )
    parallel_environment: Word = pydantic.Field(
        "",
        description="SGE's parallel environment (-pe): a node is cpus_per_node slots (1), so its"
        " allocation rule must be that number; control_slaves must be TRUE for several nodes",
    )
    group: Word = pydantic.Field("", description="account or group that pays")
    mail: Word = pydantic.Field("", description="address told of begin, end and failure")
    directives: list[Line] = pydantic.Field(
        [], description="further options for the scheduler, without its #SBATCH, #PBS or #$"
    )
    directory: str = pydantic.Field(".", description="where to work; seen by all nodes alike")
    setup: list[Line] = pydantic.Field(
        [], description="shell lines run first, on every node: module load, source venv/bin/…"
    )
    environment: dict[str, Text] = pydantic.Field({}, description="variables set on every node")
    options: RunOptions = pydantic.Field(RunOptions(), description="options for yoriai run")
    hostfile: Text = pydantic.Field(
        "", description="torchrun, mpirun: one host a line, the head first; torchrun without one"
        " starts all nodes on this machine, to rehearse"
    )  # fmt: skip
    port: int = pydantic.Field(
        0, ge=0, lt=65536, description="where the nodes meet; 0: 20000-29999 by the job's number"
    )
    requeues: int = pydantic.Field(
        20, ge=0, description="how often the job is queued again at its wall-time limit"
    )
    stop_seconds: int = pydantic.Field(
        300,
        ge=1,
        description="seconds before the limit to stop the run at: a step and a checkpoint, and 60",
    )

    @pydantic.field_validator("walltime", mode="before")
    @classmethod
    def _seconds(cls, value: Any) -> Any:
        # YAML itself reads 12:30:00 as the number 45000, base 60: the same seconds.
        if not isinstance(value, str):
            return value
        found = _CLOCK.fullmatch(value)
        if not found:
            raise ValueError(f"{value[:60]!r} is no time; write HH:MM:SS")
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds

    @pydantic.field_validator("environment")
    @classmethod
    def _names(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not _VARIABLE.fullmatch(name) or name.upper().startswith("YORIAI_"):
                raise ValueError(f"{name!r} cannot be the name of a variable here")
            if value[name] and judge_variable(name):
                raise ValueError(
                    f"{name} would stand in the script for all to read; export it where the job "
                    "is submitted, or source a file of yours under 'setup'"
                )
        return value

    @pydantic.model_validator(mode="after")
    def _no_secrets(self) -> Launch:
        """A script lies in a shared folder, and schedulers show it to whoever asks."""
        told = {
            "recipe": [self.recipe], "directory": [self.directory], "hostfile": [self.hostfile],
            "setup": self.setup, "directives": self.directives,
            "environment": list(self.environment.values()), "options": self.options.words(),
        }  # fmt: skip
        redactor = Redactor()
        for key, texts in told.items():
            for text in texts:
                if HIDDEN in redactor.secrets(text) and HIDDEN not in text:
                    raise ValueError(
                        f"{key}: would put a secret into the script for all to read; export it"
                        " where the job is submitted, or source a file of yours under 'setup'"
                    )
        return self

    @pydantic.model_validator(mode="after")
    def _fits(self) -> Launch:
        if self.scheduler in QUEUED and not self.walltime:
            raise ValueError(f"walltime: {self.scheduler} needs one, e.g. walltime: 12:00:00")
        if self.walltime and self.stop_seconds >= self.walltime:
            raise ValueError("stop_seconds: must be less than walltime")
        if self.scheduler == "sge" and not (self.queue or self.parallel_environment):
            raise ValueError(
                "queue: sge needs a resource type, e.g. queue: rt_F, or a parallel_environment"
                " (qconf -spl  lists them)"
            )
        if self.parallel_environment and self.scheduler != "sge":
            raise ValueError("parallel_environment: is of sge only")
        if self.scheduler == "local" and self.nodes > 1:
            raise ValueError("nodes: local is one machine; use torchrun or mpirun for several")
        if self.scheduler == "mpirun" and self.nodes > 1 and not self.hostfile:
            raise ValueError("hostfile: mpirun needs one for several nodes")
        return self

    @property
    def job_name(self) -> str:
        """A name that is plain everywhere; it begins with a letter, as PBS wants."""
        name = re.sub(r"[^a-z0-9_-]+", "-", (self.name or Path(self.recipe).stem).lower())
        name = name.strip("-_")[:40].rstrip("-_") or "job"
        return name if name[0].isalpha() else f"j{name}"


def load(path: Path, scheduler: str = "") -> Launch:
    """Read and check a launch file; ``scheduler`` replaces the one it names.

    Raises :class:`UsageError` naming every wrong key with its line, or :class:`NotFound`.
    """
    from yoriai.recipe import read_yaml

    if not path.is_file():
        raise NotFound(f"no launch file {path}", hint="ls *.yaml")
    value, lines = read_yaml(path, "a launch file is a mapping with recipe and scheduler")
    if scheduler:
        value["scheduler"] = scheduler
    try:
        return Launch.model_validate(value)
    except pydantic.ValidationError as error:
        rows = []
        for fault in config.explain(error, Launch):
            line = lines.get(fault.place[:1], 0)
            place = f"{config.dotted(fault.place)}: " if fault.place else ""
            where = f"{path}:{line}" if line else str(path)
            rows.append(f"{where}: {place}{fault.message}" + (f"; {fault.hint}" * bool(fault.hint)))
        raise UsageError("\n".join(rows), hint=f"yoriai train launch {path} --dry-run") from error


def clock(seconds: int) -> str:
    """Seconds as all schedulers read them: HH:MM:SS, hours beyond 24 allowed."""
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


# --- directives: what is asked of the scheduler ------------------------------------------


# How a task of an array is counted: the directive for so many, its variable, its file of words.
ARRAYS = {
    "slurm": ("--array=1-", "SLURM_ARRAY_TASK_ID", "%a"),
    "pbs": ("-J 1-", "PBS_ARRAY_INDEX", "^array_index^"),
    "sge": ("-t 1-", "SGE_TASK_ID", "$TASK_ID"),
}


def directives(launch: Launch, job_id: str, tasks: int = 0) -> list[str]:
    """The lines that the scheduler reads, with its prefix; of an array of so many tasks."""
    makers: Mapping[str, Any] = {"slurm": _slurm, "pbs": _pbs, "sge": _sge}
    if launch.scheduler not in makers:
        return []
    rows: list[str]
    said = f"{job_id}-{ARRAYS[launch.scheduler][2]}" if tasks else job_id
    prefix, rows = makers[launch.scheduler](launch, job_id, said)
    rows += [f"{ARRAYS[launch.scheduler][0]}{tasks}"] if tasks else []
    return [f"{prefix} {row}" for row in [*rows, *launch.directives]]


def _slurm(launch: Launch, job_id: str, said: str) -> tuple[str, list[str]]:
    rows = [
        f"--job-name={job_id}",
        f"--nodes={launch.nodes}",
        "--ntasks-per-node=1",
        f"--time={clock(launch.walltime)}",
        f"--cpus-per-task={launch.cpus_per_node}" if launch.cpus_per_node else "--exclusive",
        f"--signal=B:USR1@{launch.stop_seconds}",
        "--requeue",
        f"--output={FOLDER}/{said}.out",
        "--open-mode=append",
    ]
    rows += [f"--gpus-per-node={launch.gpus_per_node}"] if launch.gpus_per_node else []
    rows += [f"--partition={launch.queue}"] if launch.queue else []
    rows += [f"--account={launch.group}"] if launch.group else []
    mail = [f"--mail-user={launch.mail}", "--mail-type=BEGIN,END,FAIL,REQUEUE"]
    return "#SBATCH", rows + (mail if launch.mail else [])


def _pbs(launch: Launch, job_id: str, said: str) -> tuple[str, list[str]]:
    select = f"select={launch.nodes}"
    if launch.cpus_per_node:  # without it a chunk is what the queue makes it: a node on rt_HF
        select += f":ncpus={launch.cpus_per_node}"
        select += f":ngpus={launch.gpus_per_node}" if launch.gpus_per_node else ""
    rows = [f"-N {job_id}", f"-l {select}", f"-l walltime={clock(launch.walltime)}"]
    rows += ["-S /bin/bash", "-j oe", "-k oed", f"-o {FOLDER}/{said}.out", "-r y"]
    rows += [f"-q {launch.queue}"] if launch.queue else []
    rows += [f"-P {launch.group}"] if launch.group else []
    return "#PBS", rows + ([f"-M {launch.mail}", "-m abe"] if launch.mail else [])


def _sge(launch: Launch, job_id: str, said: str) -> tuple[str, list[str]]:
    rows = [f"-N {job_id}"]
    if launch.parallel_environment:
        slots = launch.nodes * max(launch.cpus_per_node, 1)
        rows += [f"-pe {launch.parallel_environment} {slots}"]
        rows += [f"-q {launch.queue}"] if launch.queue else []
        rows += [f"-P {launch.group}"] if launch.group else []
    else:
        rows += [f"-l {launch.queue}={launch.nodes}"]
    rows += [f"-l h_rt={clock(launch.walltime)}", "-cwd", "-S /bin/bash", "-r y"]
    rows += ["-j y", f"-o {FOLDER}/{said}.out"]
    return "#$", rows + ([f"-M {launch.mail}", "-m abe"] if launch.mail else [])


# --- the script --------------------------------------------------------------------------


def script(
    launch: Launch, job_id: str, *, words: Sequence[str] = (), parts: Sequence[str] = ()
) -> str:
    """The whole script as text: directives, what this launch sets, and the common part.

    It must be submitted from ``launch.directory``, and names no path outside it. ``words`` are a
    command in place of ``yoriai run RECIPE``. With ``parts``, steps of the recipe, it is an array
    of jobs: each task, ``JOB-1`` and on, makes one of them.
    """
    from yoriai_train.launch.dialects import COMMON, DIALECTS

    way = " with a parallel environment" if launch.parallel_environment else ""
    dialect = DIALECTS[launch.scheduler + way]
    port = launch.port or FIRST_PORT + zlib.crc32(job_id.encode()) % PORTS
    if launch.scheduler in QUEUED and not launch.port:
        number = "(${job%%[!0-9]*} + index)" if parts else "${job%%[!0-9]*}"
        port_text = f"$(({FIRST_PORT} + {number} % {PORTS}))"
    else:
        port_text = str(port)
    limit = 0 if launch.scheduler == "slurm" else launch.walltime
    prepare = [*launch.setup]
    prepare += [f"export {key}={shlex.quote(text)}" for key, text in launch.environment.items()]
    told = [*(words or ("yoriai", "run", *launch.options.words(), "--", launch.recipe))]
    # A heredoc ends at the first line equal to its mark; no line of the setup may be that.
    mark = "YORIAI_PREPARE"
    uses_hostfile = launch.scheduler in ("torchrun", "mpirun")
    while any(mark in line.split("\n") for line in prepare):
        mark += "_"
    again = {"sge": f"qsub -terse{_group(launch)}", "pbs": "qsub"}.get(launch.scheduler + way, "")
    command, begin = shlex.join(told), [f"id={job_id}", f"place={FOLDER}/{job_id}"]
    if parts:
        command = f'yoriai run --only "${{parts[index - 1]}}" {shlex.join(told[2:])}'
        begin = _task(launch, job_id, parts)
        again += ' -v "YORIAI_INDEX=$index" -o "$place.out"' if again else ""
    return "\n".join(
        [
            "#!/bin/bash",
            *directives(launch, job_id, len(parts)),
            f"# Job {job_id}, written by yoriai train launch. Submit it from the folder it works"
            " in.",
            "",
            *begin,
            f"nodes={launch.nodes}",
            f"requeues={launch.requeues}",
            f"limit={limit}  # seconds the script itself counts; 0: it need not",
            f"stop_seconds={launch.stop_seconds}",
            *([f"hostfile={shlex.quote(launch.hostfile)}"] if uses_hostfile else []),
            *dialect.begin.strip("\n").split("\n"),
            *(_after_begin(launch) if parts else []),
            f"port={port_text}",
            *([f"yoriai_again=({again})"] if again else []),
            f"yoriai_run=({command})",
            f"IFS= read -r -d '' yoriai_prepare <<'{mark}'",
            *prepare,
            mark,
            "",
            dialect.functions.strip("\n"),
            "",
            COMMON.strip("\n"),
            "",
        ]
    )


def _task(launch: Launch, job_id: str, parts: Sequence[str]) -> list[str]:
    """Which task of an array this is; one that was submitted again alone is told its index."""
    variable = ARRAYS[launch.scheduler][1]
    return [
        f"index=${{YORIAI_INDEX:-${{{variable}:?}}}}",
        f"id={job_id}-$index",
        f"place={FOLDER}/$id",
        f"parts=({shlex.join(parts)})",
    ]


def _after_begin(launch: Launch) -> list[str]:
    """Of a task: its script without the directive of the array, to be queued again alone by; and
    where all tasks have one number, its own."""
    prefix = {"slurm": "#SBATCH", "pbs": "#PBS", "sge": "#[$]"}[launch.scheduler]
    line = f"^{prefix} {ARRAYS[launch.scheduler][0]}"
    number = '[ "${SGE_TASK_ID:-undefined}" = undefined ] || job=$job.$SGE_TASK_ID'
    kept = f"""[ -e "$place.sh" ] || grep -v '{line}' "$0" >"$place.sh\""""
    return [kept, number] if launch.scheduler == "sge" else [kept]


def _group(launch: Launch) -> str:
    """ABCI's qsub takes the group on its command line only."""
    return f" -g {launch.group}" if launch.group else ""
