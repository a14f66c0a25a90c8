"""What must hold under Grid Engine; each check returns what was seen, or raises :class:`Failed`."""

from __future__ import annotations

from checking import require, same_losses
from grid_engine_site import NEEDS, SLOTS, GridEngine
from machines import Machines, until
from workplace import Workplace

SGE = {
    "scheduler": "sge", "walltime": "1:00:00", "parallel_environment": "spread",
    "cpus_per_node": SLOTS,
}  # fmt: skip
ENDLESS = {"steps": 1_000_000, "checkpoint": {"every_steps": 20}}


def two_nodes_train_what_one_trains(work: Workplace, engine: GridEngine) -> str:
    """ZeRO-2 on two hosts of a parallel environment gives the losses of one node."""
    work.training("one", strategy={"use": "train/deepspeed-2", "processes": 2})
    work.yoriai("run", "one.yaml")
    work.training("two")
    job = work.launch("two", nodes=2, **SGE)
    seen = work.end_of(job)
    require(seen["state"] == "done", f"{seen}\n{work.log(job)}")
    return same_losses(work.losses("two"), work.losses("one"), most=1e-6)


def a_time_limit_queues_the_job_again(work: Workplace, engine: GridEngine) -> str:
    """At its limit, which the script counts, a job is queued again and goes on."""
    work.training("long", **ENDLESS)
    job = work.launch("long", nodes=2, **{**SGE, "walltime": "0:02:30", "stop_seconds": 90})
    until("the second attempt", lambda: work.status(job)["attempt"] == 2)
    reached = max(work.losses("long"), default=0)
    until("training went on", lambda: max(work.losses("long"), default=0) > reached + 5)
    work.yoriai("train", "cancel", job)
    seen = work.end_of(job)
    require(seen["state"] == "cancelled", f"{seen}\n{work.log(job)[-3000:]}")
    until("the hosts are free", lambda: job not in engine.run("qstat"))
    return f"stopped at step {reached}, went on, cancelled"


CHECKS = (two_nodes_train_what_one_trains, a_time_limit_queues_the_job_again)
__all__ = ["CHECKS", "NEEDS", "begin"]


def begin(machines: Machines) -> GridEngine:
    """A cluster with a parallel environment."""
    engine = GridEngine(machines)
    engine.begin()
    return engine
