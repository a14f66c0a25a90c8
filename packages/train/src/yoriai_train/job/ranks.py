"""How the ranks of this node are started: by the head of a job, and by those who join it.

One process is started as plain Python, several always by ``torch.distributed.run``: Lightning's
own launcher would run ``sys.argv`` again, that is, the whole ``yoriai run recipe.yaml`` once more
per rank.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from yoriai import Strategy
from yoriai_train.job.ends import die_with_parent
from yoriai_train.job.nodes import Rendezvous

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
    if rendezvous is not None:
        torchrun = [sys.executable, "-m", "torch.distributed.run"]
        return [*torchrun, *rendezvous.arguments(strategy.processes), *worker]
    if strategy.processes == 1:
        return [sys.executable, *worker]
    return [
        *(sys.executable, "-m", "torch.distributed.run", "--nnodes", "1"),
        *("--nproc-per-node", str(strategy.processes), "--max-restarts", "0"),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"),
        *("--local-addr", "127.0.0.1", *worker),
    ]


def environment(
    base: Mapping[str, str] = os.environ, rendezvous: Rendezvous | None = None
) -> dict[str, str]:
    """Return the environment for `command`: on one machine gloo talks over loopback.

    Between machines it takes the interface of the host name, or what GLOO_SOCKET_IFNAME says.

    Threads that wait for one another sleep, unless OMP_WAIT_POLICY says that they spin: where
    another process takes part of a core, spinning took a step of a small model from 0.4 seconds
    to 1.0, and to 4.0 where it took the whole core.
    """
    base = {"OMP_WAIT_POLICY": "passive", **base}
    if rendezvous is not None and not rendezvous.on_loopback:
        return base
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    return {**base, "GLOO_SOCKET_IFNAME": loopback}


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
