"""What must hold under Slurm; each check returns what was seen, or raises :class:`Failed`."""

from __future__ import annotations

import json
import os
import signal

from checking import require, same_losses
from machines import LOGIN, NODES, Machines, until
from slurm_site import NEEDS, Slurm
from workplace import TRAINING, Workplace

SLURM = {"scheduler": "slurm", "walltime": "1:00:00"}
ENDLESS = {"steps": 1_000_000, "checkpoint": {"every_steps": 20}}


def two_nodes_train_what_one_trains(work: Workplace, slurm: Slurm) -> str:
    """ZeRO-2 on two nodes, whose names do not resolve, gives the losses of one node."""
    work.training("one", strategy={"use": "train/deepspeed-2", "processes": 2})
    work.yoriai("run", "one.yaml")
    work.training("two")
    job = work.launch("two", nodes=2, **SLURM)
    seen = work.end_of(job)
    require(seen["state"] == "done", f"{seen}\n{work.log(job)}")
    return same_losses(work.losses("two"), work.losses("one"), most=1e-6)


def a_time_limit_queues_the_job_again(work: Workplace, slurm: Slurm) -> str:
    """At its limit a job writes a checkpoint, is queued again and goes on; the losses are those
    of a run that was not stopped. Ended by ``scancel``, it is cancelled."""
    work.training("long", **ENDLESS)
    # Slurm signals half an hour before the limit; the limit is then brought near.
    job = work.launch("long", nodes=2, **{**SLURM, "stop_seconds": 1800})
    number = work.status(job)["job"]
    limit = ("scontrol", "update", f"JobId={number}")
    until("some steps", lambda: len(work.losses("long")) > 25)
    work.machines.run(LOGIN, *limit, "TimeLimit=30")
    until("the second attempt", lambda: work.status(job)["attempt"] == 2)
    work.machines.run(LOGIN, *limit, "TimeLimit=60")
    reached = max(work.losses("long"))
    until("training went on", lambda: max(work.losses("long"), default=0) > reached + 20)
    work.machines.run(LOGIN, "scancel", number)
    seen = work.end_of(job)
    require(seen["state"] == "cancelled", f"after scancel the job is {seen['state']}: {seen}")
    losses = work.losses("long")
    work.training("whole", steps=reached + 20)
    whole = work.launch("whole", nodes=2, **SLURM)
    seen = work.end_of(whole)
    require(seen["state"] == "done", f"{seen}\n{work.log(whole)}")
    expected = work.losses("whole")
    told = same_losses({step: losses[step] for step in expected}, expected, most=0.0)
    return f"stopped at step {reached}, went on, cancelled; {told}"


def a_dead_node_ends_the_job_and_the_next_goes_on(work: Workplace, slurm: Slurm) -> str:
    """All processes of a node die at once: the job fails; launched again, it goes on to its end."""
    work.training("struck", steps=100, checkpoint={"every_steps": 20})
    job = work.launch("struck", nodes=2, **SLURM)
    until("some steps", lambda: len(work.losses("struck")) > 25)
    for process in work.machines.processes(NODES[1]):
        os.kill(process, signal.SIGKILL)
    seen = work.end_of(job)
    require(seen["state"] == "failed", f"{seen}")
    slurm.begin_node(NODES[1])
    until("the node is back", lambda: slurm.idle() == list(NODES))
    again = work.launch("struck", nodes=2, **SLURM)
    seen = work.end_of(again)
    require(seen["state"] == "done", f"{seen}\n{work.log(again)[-3000:]}")
    steps = list(work.losses("struck"))
    require(steps == list(range(1, 101)), f"steps {steps}")
    return "failed; launched again, done with every step once"


def a_job_is_cancelled_by_our_own_command(work: Workplace, slurm: Slurm) -> str:
    """``yoriai train cancel`` ends a running job, in order, with a checkpoint."""
    work.training("stopped", **ENDLESS)
    job = work.launch("stopped", nodes=2, **SLURM)
    until("some steps", lambda: len(work.losses("stopped")) > 5)
    work.yoriai("train", "cancel", job)
    seen = work.end_of(job)
    require(seen["state"] == "cancelled", f"{seen}")
    require("has a checkpoint" in work.log(job), work.log(job)[-3000:])
    until("the nodes are free", lambda: slurm.idle() == list(NODES))
    return "cancelled, with a checkpoint"


def dask_workers_come_from_the_queue(work: Workplace, slurm: Slurm) -> str:
    """A corpus built by dask workers that are jobs has the digest of one built here."""
    engine = {
        "use": "corpus/dask", "cluster": "slurm", "workers": 2, "cores": 1, "memory": "2GB",
        "walltime": "00:30:00", "logs": "dask-logs", "timeout_seconds": 300,
    }  # fmt: skip
    digests = {}
    for name, how in (("here", {}), ("queued", {"engine": engine})):
        work.recipe(name, {"text": work.data()["text"]}, **how, name="same")
        told = json.loads(work.yoriai("run", f"{name}.yaml", "--out", name, "--json"))
        digests[name] = told["steps"]["text"]["digest"]
    require(digests["here"] == digests["queued"], f"{digests}")
    jobs = len(list((work.folder / "dask-logs").glob("*")))
    require(jobs > 0, "no job of dask-jobqueue left a log")
    return "the same digest"


def a_matrix_is_an_array_of_jobs(work: Workplace, slurm: Slurm) -> str:
    """The base is a job, the cells an array, the comparison the last; all in one folder. One cell
    is cancelled while it runs; the same command again makes it alone, and compares."""
    base = {**TRAINING, "from": [f"data/{step}@1" for step in ("shards", "pieces")]}
    base["strategy"], base["model"] = "train/single", {**TRAINING["model"], "context": 256}
    rows = [{"instruction": "ファイル", "output": "保存します。"} for _ in range(8)]
    (work.folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    rows_of = {"data": [{"use": "train/jsonl", "path": "rows.jsonl"}]}
    levels = {"one": {**rows_of, "epochs": 1}, "long": {**rows_of, "epochs": 100_000}}
    matrix = {
        "name": "cells", "licence": "CC0-1.0", "seed": 5, "steps": {"base": base},
        "tune": {"from": "base", "batch": 4, "checkpoint": {"every_steps": 20}},
        "factors": {"data": levels}, "evaluate": {"tasks": ["eval/ja-forms"], "limit": 4},
    }  # fmt: skip
    (work.folder / "cells.yaml").write_text(json.dumps(matrix))
    told = work.array("cells.yaml", "cells", **SLURM)
    require(told == ["cells-1-before", "cells-1-1", "cells-1-2", "cells-1-after"], f"{told}")
    require(work.end_of(told[1])["state"] == "done", work.log(told[1]))
    until("the long cell runs", lambda: "train:" in work.log(told[2]))
    work.yoriai("train", "cancel", told[2])
    require(work.end_of(told[2])["state"] == "cancelled", work.log(told[2]))
    work.yoriai("train", "cancel", told[3])
    until("the nodes are free", lambda: slurm.idle() == list(NODES))
    levels["long"]["epochs"] = 2
    (work.folder / "cells.yaml").write_text(json.dumps(matrix))
    told = work.array("cells.yaml", "cells", **SLURM)
    states = [work.end_of(job)["state"] for job in told]
    require(states == ["done"] * 4, f"{states}\n{work.log(told[2])}\n{work.log(told[3])}")
    require("one: unchanged, used again" in work.log(told[1]), work.log(told[1]))
    compared = json.loads((work.folder / "build/cells/comparison.json").read_text())
    seconds = {row["cell"]: row["seconds"] for row in compared["cells"]}
    return f"one used again, long made anew, both compared: {seconds} s"


__all__ = ["CHECKS", "NEEDS", "begin"]

CHECKS = (
    two_nodes_train_what_one_trains,
    a_time_limit_queues_the_job_again,
    a_dead_node_ends_the_job_and_the_next_goes_on,
    a_job_is_cancelled_by_our_own_command,
    dask_workers_come_from_the_queue,
    a_matrix_is_an_array_of_jobs,
)


def begin(machines: Machines) -> Slurm:
    """A cluster that knows its nodes by their addresses only."""
    machines.hosts([LOGIN])
    slurm = Slurm(machines)
    slurm.begin()
    return slurm
