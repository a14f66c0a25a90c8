"""Slurm on the machines of :mod:`machines`: a controller on ``login`` and two nodes.

Debian's slurm-wlm and munge, all state in the scratch folder. Processes are followed by their
ancestry (proctrack/linuxproc), so that no cgroups are needed.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

from machines import ADDRESSES, LOGIN, NODES, Machines, until

NEEDS = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "munged": "munge", "sbatch": "slurm-wlm"}

CONFIGURATION = """
ClusterName=yoriai
SlurmctldHost={login}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A job that is queued again waits as long as its credentials live, 120 s by default.
AuthInfo=socket={place}/munge.socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=30
SlurmdTimeout=20
MinJobAge=3600
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """The cluster; ``begin`` starts it."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.place = machines.scratch / "slurm"
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def version(self) -> str:
        return "Slurm " + self.machines.run(LOGIN, "sinfo", "--version").split()[-1]

    def begin(self) -> None:
        self.place.mkdir()
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.place / name).mkdir()
        (self.place / "munge.key").write_bytes(secrets.token_bytes(128))
        (self.place / "munge.key").chmod(0o400)
        cores = os.cpu_count() or 1
        # The nodes are known to Slurm by their addresses; names need not resolve.
        nodes = "\n".join(
            f"NodeName={name} NodeAddr={ADDRESSES[name]} CPUs={cores} RealMemory=4000"
            for name in NODES
        )
        (self.place / "slurm.conf").write_text(
            CONFIGURATION.format(
                login=LOGIN, address=ADDRESSES[LOGIN], place=self.place, nodes=nodes
            )
        )
        self.machines.environment["SLURM_CONF"] = str(self.place / "slurm.conf")
        self.machines.start(
            LOGIN, _program("munged"), "--foreground", "--force",
            f"--key-file={self.place}/munge.key", f"--socket={self.place}/munge.socket",
            f"--pid-file={self.place}/munge.pid", f"--seed-file={self.place}/munge.seed",
            f"--log-file={self.place}/munge.log",
        )  # fmt: skip
        until("munge answers", (self.place / "munge.socket").exists)
        self.machines.start(LOGIN, _program("slurmctld"), "-D")
        for name in NODES:
            self.begin_node(name)
        until("both nodes are idle", lambda: self.idle() == list(NODES))

    def begin_node(self, name: str) -> None:
        self.daemons[name] = self.machines.start(name, _program("slurmd"), "-D", "-N", name)

    def idle(self) -> list[str]:
        words = ("sinfo", "--noheader", "--Node", "--states=idle", "--format=%N %T")
        rows = self.machines.run(LOGIN, *words, check=False).splitlines()
        return sorted(row.split()[0] for row in rows if row.endswith(" idle"))


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    return found or str(Path("/usr/sbin") / name)
