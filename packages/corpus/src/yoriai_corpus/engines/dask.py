"""``corpus/dask``: the workers of a Dask cluster, also one that Slurm, PBS or SGE gives.

This module is about clusters; who works on what is :mod:`yoriai_corpus.engines.dask_assigned`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field

from yoriai import Engine, UsageError, YoriaiError
from yoriai.strict import Strict
from yoriai_corpus.engines.dask_assigned import Assigned, Demand

HERE = "127.0.0.1:0"  # any free port, for this machine alone
QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster"}

# A task's result is a receipt, so there is nothing to spill, and a worker that pauses would
# keep its task waiting; one that is at 95 % of its memory is killed by its nanny.
WORKER_SETTINGS: dict[str, Any] = {
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 0.95,
    "distributed.worker.profile.enabled": False,
}
SETTINGS: dict[str, Any] = {
    **WORKER_SETTINGS,
    "distributed.scheduler.allowed-failures": 0,  # a death is ours to judge
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-ttl": "15 minutes",  # one call into C may hold the GIL for long
    "distributed.scheduler.active-memory-manager.start": False,
}


class Adapt(Strict):
    """As many jobs as there is work for."""

    minimum: int = Field(0, ge=0, description="jobs kept while there is nothing to do")
    maximum: int = Field(ge=1, description="most jobs at a time")


class Dask(Engine):
    """Workers of a Dask cluster: one task a process at a time, whatever its threads.

    ``local`` starts a cluster on this machine; ``address`` and ``scheduler-file`` use one
    that runs (start its workers with ``--nthreads 1``); ``slurm``, ``pbs`` and ``sge`` submit
    jobs. What a site wants besides these keys goes to ``job_extra``, or to dask-jobqueue's own
    configuration file. Workers need this installation and these folders at the same paths.
    """

    cluster: Literal["local", "scheduler-file", "address", "slurm", "pbs", "sge"] = Field(
        "local", description="how there comes to be a cluster"
    )
    address: str = Field("", description="of a running scheduler, e.g. tcp://10.0.0.1:8786")
    scheduler_file: str = Field("", description="the file that a running scheduler wrote")
    workers: int = Field(
        1, ge=1, le=10**5, description="jobs at a time (local: groups of processes)"
    )
    adapt: Adapt | None = Field(None, description="let the number of jobs follow the work")
    cores: int = Field(1, ge=1, description="CPUs of a job; it has a worker process for each")
    memory: str = Field("", description="memory of a job, shared evenly, e.g. 64GB")
    queue: str = Field("", description="queue or partition")
    walltime: str = Field("", description="longest time of a job, e.g. 04:00:00")
    account: str = Field("", description="who pays: -A (Slurm, PBS) or -P (SGE)")
    resources: str = Field("", description="the -l line of PBS and SGE, e.g. select=1:ncpus=8")
    job_extra: tuple[str, ...] = Field((), description="more directives, e.g. --exclusive")
    job_skip: tuple[str, ...] = Field((), description="directives to leave out, e.g. --mem")
    prologue: tuple[str, ...] = Field((), description="shell lines before the worker starts")
    interface: str = Field("", description="network interface, e.g. ib0")
    scratch: str = Field("", description="folder on a worker's own disk for Dask's files")
    logs: str = Field("", description="folder for the jobs' output")
    timeout_seconds: float = Field(
        60.0, gt=0, description="how long client and workers look for the scheduler"
    )

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Dask:
        if self.cluster == "address" and not self.address:
            raise ValueError("cluster: address needs the key address")
        if self.cluster == "scheduler-file" and not self.scheduler_file:
            raise ValueError("cluster: scheduler-file needs the key scheduler_file")
        if self.cluster in ("address", "scheduler-file") and self.adapt:
            raise ValueError(f"adapt: the workers of cluster: {self.cluster} are not ours")
        if self.cluster in QUEUES and not self.memory:
            raise ValueError(f"cluster: {self.cluster} needs the key memory, e.g. memory: 64GB")
        if self.adapt and self.adapt.minimum > self.adapt.maximum:
            raise ValueError("adapt: minimum is more than maximum")
        return self

    @contextlib.contextmanager
    def open(self) -> Iterator[Executor]:
        """Tasks wait until there are workers. On leaving, clusters that were started end.

        Raises :class:`yoriai.YoriaiError` if there is no scheduler within ``timeout_seconds``.
        If it is lost later, every future raises ``concurrent.futures.BrokenExecutor``.
        """
        dask = _import("dask", "dask")
        _import("distributed", "distributed")
        with contextlib.ExitStack() as stack:
            stack.enter_context(dask.config.set(SETTINGS))
            demand = Demand()
            if self.cluster in ("address", "scheduler-file"):
                client = _connect(self)
            else:
                cluster = stack.enter_context(_start(self, demand))
                client = _client(cluster, self.timeout_seconds)
            stack.callback(client.close)
            tasks = Assigned(client, demand)
            stack.callback(tasks.close)
            yield tasks


def job_script(engine: Dask) -> str:
    """The script that would be submitted for each job; needs no scheduler."""
    cluster = _jobqueue(engine)
    address = "tcp://<scheduler>:8786"
    return str(cluster.job_cls(address, name="worker", **_job_keys(engine)).job_script())


# --- clusters ---------------------------------------------------------------------------


@contextlib.contextmanager
def _start(engine: Dask, demand: Demand) -> Iterator[Any]:
    from distributed import LocalCluster

    if engine.cluster == "local":
        memory: str | int = engine.memory or "auto"
        if engine.memory:
            from dask.utils import parse_bytes

            memory = parse_bytes(engine.memory) // engine.cores
        started = LocalCluster(
            n_workers=0 if engine.adapt else engine.workers * engine.cores,
            threads_per_worker=1,
            memory_limit=memory,
            host="127.0.0.1",
            dashboard_address=HERE,
            worker_dashboard_address=HERE,
            scheduler_kwargs={"dashboard": False},
            local_directory=engine.scratch or None,
            silence_logs=logging.CRITICAL,
        )
    else:
        base = _jobqueue(engine)
        command = base.job_cls.submit_command.split()[0]
        if shutil.which(command) is None:
            raise UsageError(
                f"cluster: {engine.cluster} needs the command {command}, which is not here",
                hint="start the run on a machine from which jobs can be submitted",
            )
        started = base(
            **_job_keys(engine),
            job_cls=_watched(base.job_cls, demand),
            scheduler_options={"dashboard": False, "dashboard_address": HERE},
            silence_logs=logging.CRITICAL,
        )
    with started as cluster:
        if engine.adapt or engine.cluster in QUEUES:
            from yoriai_corpus.engines.dask_adaptive import follow

            # Also where the number is fixed: it is how jobs that ended are replaced.
            wish = engine.adapt or Adapt(minimum=engine.workers, maximum=engine.workers)
            follow(cluster, lambda: demand.tasks, wish.minimum, wish.maximum, engine.cores)
        yield cluster


def _watched(base: Any, demand: Demand) -> Any:
    """The class of jobs, counting those in a row that the queue refuses."""

    from distributed.core import Status

    class Watched(base):
        async def _submit_job(self, script_filename: str) -> Any:
            try:
                said = await super()._submit_job(script_filename)
            except Exception as error:
                demand.refusals += 1
                demand.refusal = " ".join(str(error).split())
                self.status = Status.failed
                raise
            demand.refusals = 0
            return said

    return Watched


def _jobqueue(engine: Dask) -> Any:
    """The class of dask-jobqueue for this kind of queue."""
    if engine.cluster not in QUEUES:
        raise UsageError(f"cluster: {engine.cluster} has no job script")
    return getattr(_import("dask_jobqueue", "dask-jobqueue"), QUEUES[engine.cluster])


def _job_keys(engine: Dask) -> dict[str, Any]:
    """What dask-jobqueue's classes take; empty keys are left to its configuration file."""
    settings = [f"export {_variable(name)}={value}" for name, value in WORKER_SETTINGS.items()]
    arguments = []
    if engine.walltime:
        # A worker that leaves in good order just before its time is no death of its task.
        arguments = ["--lifetime", f"{lifetime_seconds(engine.walltime)}s"]
    keys: dict[str, Any] = {
        "cores": engine.cores,
        "processes": engine.cores,
        "memory": engine.memory,
        "queue": engine.queue,
        "walltime": engine.walltime,
        "project" if engine.cluster == "sge" else "account": engine.account,
        "job_extra_directives": list(engine.job_extra),
        "job_directives_skip": list(engine.job_skip),
        "job_script_prologue": [*engine.prologue, *settings],
        "worker_extra_args": arguments,
        "interface": engine.interface,
        "local_directory": engine.scratch,
        "log_directory": engine.logs,
        "death_timeout": engine.timeout_seconds,
    }
    if engine.cluster != "slurm":
        keys["resource_spec"] = engine.resources
    return {name: value for name, value in keys.items() if value not in ("", [])}


def _variable(name: str) -> str:
    """Dask reads the setting ``a.b-c`` from the environment variable ``DASK_A__B_C``."""
    return "DASK_" + name.replace(".", "__").replace("-", "_").upper()


def lifetime_seconds(walltime: str) -> int:
    """A walltime (``[D-]H:M:S`` and shorter) less two minutes, or a tenth if that is less."""
    days, _, clock = walltime.rpartition("-")
    try:
        parts = [int(part) for part in clock.split(":")]
        seconds = int(days or 0) * 86400
        # One number alone means minutes to Slurm and seconds to PBS and SGE; take the shorter.
        for part, unit in zip(reversed(parts), (1, 60, 3600), strict=False):
            seconds += part * unit
    except ValueError:
        raise UsageError(f"walltime {walltime!r}: write hours:minutes:seconds") from None
    return max(1, seconds - min(120, seconds // 10))


def _client(target: Any, timeout_seconds: float) -> Any:
    from distributed import Client

    return Client(target, timeout=timeout_seconds, set_as_default=False)


def _connect(engine: Dask) -> Any:
    """A client of a running scheduler; the file is read again at each try."""
    where = engine.address or engine.scheduler_file
    deadline = time.monotonic() + engine.timeout_seconds
    while True:
        left = deadline - time.monotonic()
        try:
            address = engine.address
            if engine.cluster == "scheduler-file":
                address = json.loads(Path(engine.scheduler_file).read_bytes())["address"]
            return _client(address, max(0.1, min(5.0, left)))
        except (OSError, ValueError, KeyError) as error:
            if left <= 0:
                raise YoriaiError(
                    f"there is no Dask scheduler at {where}: {error}",
                    hint="start the scheduler and run the same command again:"
                    " finished tasks are not done again",
                ) from error
            time.sleep(min(0.2, max(0.0, left)))


def _import(module: str, distribution: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"corpus/dask needs {distribution}", hint=f"pip install {distribution}"
        ) from error
