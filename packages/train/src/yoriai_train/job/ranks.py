"""How the ranks of this node are started: by the head of a job, and by those who join it.

One process is started as plain Python, several always by ``torch.distributed.run``: Lightning's
own launcher would run ``sys.argv`` again, that is, the whole ``yoriai run recipe.yaml`` once more
per rank.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from yoriai import Strategy
from yoriai_train.job.ends import END, die_with_parent
from yoriai_train.job.nodes import Rendezvous

# What Open MPI, PMIx, PMI (MPICH, Intel MPI) and MVAPICH tell their processes.
LAUNCHERS = ("OMPI_", "PMIX_", "PMI_", "PRTE_", "MPI_LOCAL", "MV2_COMM_WORLD_")
# What Slurm tells a process of its place in a step: Lightning, accelerate and Hugging Face's
# libraries would take it for the rank's. What describes the job (SLURM_JOB_ID) stays.
SLURM_PLACES = frozenset(
    "SLURM_" + name
    for name in (
        "PROCID", "LOCALID", "NODEID", "GTIDS", "NTASKS", "NPROCS", "NTASKS_PER_NODE",
        "TASKS_PER_NODE", "TASK_PID", "STEP_ID", "STEPID", "STEP_NUM_TASKS", "STEP_NUM_NODES",
        "STEP_TASKS_PER_NODE", "STEP_NODELIST", "STEP_LAUNCHER_PORT", "MPI_TYPE",
        "SRUN_COMM_HOST", "SRUN_COMM_PORT", "LAUNCH_NODE_IPADDR",
    )
)  # fmt: skip
WORKER_ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}


def command(
    strategy: Strategy, worker: Sequence[str], rendezvous: Rendezvous | None = None
) -> list[str]:
    """Return the command line that runs ``worker`` (a script and its arguments) on this node.

    With a rendezvous this node's ranks join those of the others. Without one:

    ``localhost:0`` lets the agent bind a free port: nothing to choose, no race. ``--local-addr``
    makes MASTER_ADDR loopback; without it (also with ``--standalone``) torchrun announces the
    machine's full name, which laptops and containers often cannot resolve. The store itself
    still listens on all interfaces: torch has no option for that.
    """
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--signals-to-handle", END.name]
    if rendezvous is not None:
        return [*torchrun, *rendezvous.arguments(strategy.processes), *worker]
    if strategy.processes == 1:
        return [sys.executable, *worker]
    return [
        *(*torchrun, "--nnodes", "1"),
        *("--nproc-per-node", str(strategy.processes), "--max-restarts", "0"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
        *("--local-addr", "127.0.0.1", *worker),
    ]


def environment(
    base: Mapping[str, str] = os.environ, rendezvous: Rendezvous | None = None
) -> dict[str, str]:
    """Return the environment for `command`: on one machine gloo talks over loopback.

    Between machines it takes what GLOO_SOCKET_IFNAME says, else the interface of the host name;
    where that name means loopback or nothing (Debian writes 127.0.1.1 into /etc/hosts), the one
    that leads to the head.

    What the launcher of this process says of its place among others is left out: a rank takes its
    place from torchrun, and DeepSpeed asserts that Open MPI says the same (0.19,
    runtime/engine.py).

    Threads that wait for one another sleep, unless OMP_WAIT_POLICY says that they spin: where
    another process takes part of a core, spinning took a step of a small model from 0.4 seconds
    to 1.0, and to 4.0 where it took the whole core.

    On GPUs cuBLAS gives the same numbers on every run only with a workspace of fixed size (its
    manual, "Results reproducibility"); older torch refuses to multiply without it where
    deterministic algorithms are asked for, as training does.
    """
    own = {n: v for n, v in base.items() if not (n.startswith(LAUNCHERS) or n in SLURM_PLACES)}
    base = {"OMP_WAIT_POLICY": "passive", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", **own}
    if rendezvous is not None and not rendezvous.on_loopback:
        found = "" if "GLOO_SOCKET_IFNAME" in base else interface_towards(rendezvous)
        return {**base, "GLOO_SOCKET_IFNAME": found} if found else base
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {**base, "GLOO_SOCKET_IFNAME": loopback}


def interface_towards(rendezvous: Rendezvous) -> str:
    """The interface that leads to the head; '' where gloo's own choice serves (and off Linux)."""
    if sys.platform != "linux":
        return ""
    with contextlib.suppress(OSError):
        named = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
        if not any(_is_loopback(str(row[4][0])) for row in named):
            return ""
    with contextlib.suppress(OSError):
        family, kind, _, _, place = socket.getaddrinfo(
            rendezvous.host, rendezvous.port, socket.AF_INET, socket.SOCK_DGRAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.connect(place)  # sends nothing: it asks for the route
            address = probe.getsockname()[0]
        return "" if _is_loopback(address) else _interface_of(address)
    return ""


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _interface_of(address: str) -> str:
    """The interface that has an address of IPv4 (netdevice(7), SIOCGIFADDR)."""
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            request = name.encode().ljust(256, b"\0")
            with contextlib.suppress(OSError):  # it has none
                if socket.inet_ntoa(fcntl.ioctl(probe, 0x8915, request)[20:24]) == address:
                    return name
    return ""


def start_ranks(
    spec_file: Path, strategy: Strategy, rendezvous: Rendezvous | None, stderr: IO[bytes]
) -> subprocess.Popen[str]:
    """Start this node's ranks of a job; what they say is on stdout (:func:`.ends.told`)."""
    worker = ["-m", "yoriai_train.job.worker", str(spec_file)]
    return subprocess.Popen(
        command(strategy, worker, rendezvous),
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**environment(rendezvous=rendezvous), **WORKER_ENVIRONMENT},
        preexec_fn=die_with_parent,
    )
