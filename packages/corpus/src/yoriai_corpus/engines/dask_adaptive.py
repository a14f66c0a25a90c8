"""How many jobs a Dask cluster has: as many as there are tasks for, within limits.

Dask's own estimate goes by the tasks that its scheduler holds; ours wait outside (see
:mod:`yoriai_corpus.engines.dask_assigned`), so the number comes from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed.core import Status
from distributed.deploy.adaptive import Adaptive
from distributed.diagnostics.plugin import SchedulerPlugin


def follow(
    cluster: Any, tasks: Callable[[], int], minimum: int, maximum: int, processes: int
) -> None:
    """Keep between ``minimum`` and ``maximum`` jobs of so many ``processes`` each."""
    names = _Names()
    cluster.scheduler.add_plugin(names)

    class Following(Adaptive):
        async def target(self) -> int:
            await _forget_ended_jobs(self.cluster, names)
            return tasks()

    cluster.adapt(
        Adaptive=Following,
        minimum=minimum * processes,
        maximum=maximum * processes,
        worker_key=_job_of if processes > 1 else None,
    )


class _Names(SchedulerPlugin):
    """The names of the workers that there have been, and since when their jobs have had none."""

    name = "yoriai-names"

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.gone_since: dict[Any, float] = {}

    def add_worker(self, scheduler: Any, worker: str, **kwargs: Any) -> None:  # noqa: ARG002
        self.seen.add(str(scheduler.workers[worker].name))


def _job_of(worker: Any) -> Any:
    """Processes of one job leave together: ``name-0-1`` is process 1 of job ``name-0``."""
    return str(worker.name).rpartition("-")[0] or worker.name


async def _forget_ended_jobs(cluster: Any, names: _Names) -> None:
    """A job that was refused, or whose processes were there and are all gone, is started again.

    SpecCluster keeps a job that was refused as if it ran, and notices the end of a job only if
    it has one process: it looks for the worker's name among those of the jobs
    (distributed 2026.8, deploy/spec.py, _correct_state_internal and _update_worker_status).
    """
    patience = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
    alive = {str(worker.name) for worker in cluster.scheduler.workers.values()}
    for name, job in list(cluster.workers.items()):
        group = cluster.worker_spec.get(name, {}).get("group")
        members = {f"{name}{suffix}" for suffix in group or ()}
        if members & names.seen and not members & alive:
            since = names.gone_since.setdefault(name, time.monotonic())
            ended = time.monotonic() - since >= patience  # nannies may be starting new ones
        else:
            names.gone_since.pop(name, None)
            ended = job.status == Status.failed
        if ended:
            names.seen -= members
            names.gone_since.pop(name, None)
            del cluster.workers[name]
            await job.close()
