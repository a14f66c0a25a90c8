"""How the nodes of one job meet: torchrun's rendezvous, and what ``yoriai train join`` does.

A launch script (:mod:`yoriai_train.launch.launch_file`) says in four variables that a job has
several nodes:

``YORIAI_NODES``
    how many
``YORIAI_NODE_RANK``
    which this is; 0 is the head, which runs the recipe
``YORIAI_RENDEZVOUS``
    ``host:port`` of the head, where torchrun's store listens while a step trains
``YORIAI_JOB``
    ``ID.ATTEMPT``; names the files in ``build/launch`` by which the nodes hear of one another

When the head comes to a training step it writes the step's specification, then announces it in
``ID.ATTEMPT.training.json``. The others see it, start torchrun with the same specification and
their own rank, and wait for the next. They leave when the script notes that the head has ended.
A node that takes part says so in ``ID.ATTEMPT.joined-N.json``, so that the log of the head can
name those it waits for. What ends a node's part is written to ``ID.ATTEMPT.node-N.json``; the head
then names that cause, not the broken connection it would see, and decides: it ends, or announces
the step anew.

torchrun's *static* rendezvous is used: node N's ranks follow those of node N - 1, always, so rank 0
is at the head and a resumed job deals the data out as before (``c10d`` sorts by host name), and
the ranks share the agents' store, so one port is all (torch 2.13,
``elastic/rendezvous/static_tcp_rendezvous.py``).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoriai import Refused, Strategy, UsageError, YoriaiError, environment, files
from yoriai_train.job.ends import END

FOLDER = Path("build/launch")
FIRST_PORT, PORTS = 20_000, 10_000
MEETING_SECONDS = 900  # how long torchrun waits for a node that is late: some load modules slowly
REMIND_SECONDS = 60.0  # how often a log says what is waited for
GRACE_SECONDS = 20.0  # for the head's own error, when another node failed without naming a cause
LOOPBACK = ("localhost", "127.0.0.1", "::1")
VARIABLES = ("YORIAI_NODES", "YORIAI_NODE_RANK", "YORIAI_RENDEZVOUS", "YORIAI_JOB")


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """Where this node stands among those of its job."""

    nodes: int
    node_rank: int
    host: str
    port: int
    job: str

    @property
    def on_loopback(self) -> bool:
        """Whether all nodes are this machine (a rehearsal)."""
        return self.host in LOOPBACK

    @property
    def training(self) -> Path:
        """Where the head announces a training step."""
        return FOLDER / f"{self.job}.training.json"

    def report(self, node_rank: int) -> Path:
        """Where a node says why it failed."""
        return FOLDER / f"{self.job}.node-{node_rank}.json"

    def joined(self, node_rank: int) -> Path:
        """Where a node says which training step it takes part in."""
        return FOLDER / f"{self.job}.joined-{node_rank}.json"

    def arguments(self, processes: int) -> list[str]:
        """torchrun's arguments for this node."""
        return [
            *("--nnodes", str(self.nodes), "--node-rank", str(self.node_rank)),
            *("--nproc-per-node", str(processes), "--max-restarts", "0"),
            *("--rdzv-backend", "static", "--rdzv-endpoint", f"{self.host}:{self.port}"),
            *("--rdzv-id", self.job, "--rdzv-conf", f"timeout={MEETING_SECONDS}"),
        ]


def rendezvous_from(variables: Mapping[str, str] = os.environ) -> Rendezvous | None:
    """What the launch script said; None in a job of one node.

    Raises :class:`UsageError` if the variables contradict one another.
    """
    if variables.get("YORIAI_NODES", "1") == "1":
        return None
    missing = [name for name in VARIABLES if not variables.get(name)]
    if missing:
        raise UsageError(
            f"YORIAI_NODES is set and {', '.join(missing)} not",
            hint="start jobs on several nodes by: yoriai train launch LAUNCH.yaml",
        )
    nodes, rank, place, job = (variables[name] for name in VARIABLES)
    host, _, port = place.rpartition(":")
    numbers = all(text.isascii() and text.isdigit() for text in (nodes, rank, port))
    if not (numbers and host and int(rank) < int(nodes) and 0 < int(port) < 65536):
        raise UsageError(f"no meeting of {nodes} nodes can be node {rank} at {place!r}")
    if not re.fullmatch(r"[A-Za-z0-9_-]+\.[0-9]+", job):
        raise UsageError(f"YORIAI_JOB is {job!r}; it should be ID.ATTEMPT")
    return Rendezvous(int(nodes), int(rank), host, int(port), job)


def rendezvous_of(strategy: Strategy) -> Rendezvous | None:
    """Where the processes of a strategy meet; None if they are all on this node."""
    return None if strategy.one_process else rendezvous_from()


def check_port(port: int) -> None:
    """Raise :class:`Refused` if another process of this machine listens on the port."""
    with socket.socket() as probe:
        # As torch's store does: a port that was just left is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                who, why = "taken by another process", f"ss -ltnp 'sport = :{port}'  shows it; "
            elif error.errno == errno.EACCES:
                who, why = "for the system only", ""
            else:
                raise
            raise Refused(
                f"port {port}, where the nodes of this job should meet, is {who}",
                hint=f"{why}write another into the launch file (port: N, from {FIRST_PORT} to"
                f" {FIRST_PORT + PORTS - 1})",
            ) from error


def announce(rendezvous: Rendezvous, spec: Path, modules: tuple[str, ...] = ()) -> None:
    """Tell the other nodes to train ``spec``, a file they can read.

    ``modules`` hold code that all nodes must have alike. Raises :class:`Refused` if the port is
    taken.
    """
    check_port(rendezvous.port)
    value = {
        "number": _number(rendezvous) + 1,
        "spec": os.path.relpath(spec),
        "digest": files.digest_file(spec),
        "code": code_of(modules),
    }
    files.write_atomically(rendezvous.training, files.canonical_json(value))


def _number(rendezvous: Rendezvous) -> int:
    """How many steps were announced: the number of the last one."""
    return int((read(rendezvous.training) or {"number": 0})["number"])


def code_of(modules: tuple[str, ...]) -> dict[str, str]:
    from importlib import metadata

    packages = {name.partition(".")[0] for name in ("yoriai", "yoriai_train", *modules)}
    code = {name: environment.code_identity(name) for name in sorted(packages)}
    return {**code, "torch": metadata.version("torch").partition("+")[0]}


def read(path: Path) -> dict[str, Any] | None:
    """A file that another node writes: None until it is there."""
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def reports(rendezvous: Rendezvous) -> list[dict[str, Any]]:
    """Why other nodes failed in the step announced last, those that name a cause first."""
    number = _number(rendezvous)
    found = [read(rendezvous.report(rank)) for rank in range(1, rendezvous.nodes)]
    rows = [row for row in found if row and row["number"] == number]
    return sorted(rows, key=lambda row: not row["cause"])


def absent(rendezvous: Rendezvous) -> list[int]:
    """The nodes that do not take part yet in the step announced last."""
    number = _number(rendezvous)
    ranks = range(1, rendezvous.nodes)
    return [r for r in ranks if (read(rendezvous.joined(r)) or {}).get("number") != number]


@contextlib.contextmanager
def heeding(
    rendezvous: Rendezvous | None,
    process: subprocess.Popen[str],
    *,
    begun: Callable[[], bool] = lambda: True,
    say: Callable[[str], None] = lambda _line: None,
) -> Iterator[None]:
    """End the head's ``process`` when another node failed; else it might wait for ever.

    Until the ranks have ``begun``, what is waited for is said now and then.
    """
    if rendezvous is None:
        yield
        return
    done = threading.Event()

    if not is_here(rendezvous.host):
        say(
            f"{rendezvous.host}, where the nodes should meet, is no address of this machine; with a"
            " hostfile, launch on the first node in it"
        )

    def watch() -> None:
        waiting = Waiting(say)
        while not done.wait(1.0):
            if found := reports(rendezvous):
                if found[0]["cause"] or not done.wait(GRACE_SECONDS):
                    process.send_signal(END)
                return
            if not begun():
                waiting.tell(_waited_for(rendezvous))

    thread = threading.Thread(target=watch, name="other-nodes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def is_here(host: str) -> bool:
    """Whether a name or an address is one of this machine's."""
    for family, kind, protocol, _, place in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM):
        with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as probe:
            probe.bind(place)
            return True
    return False


def _waited_for(rendezvous: Rendezvous) -> str:
    place = f"{rendezvous.host}:{rendezvous.port}"
    if missing := absent(rendezvous):
        return f"the head waits at {place} for node {', '.join(map(str, missing))}"
    return (
        f"all {rendezvous.nodes} nodes are at {place}; the head waits for the first word of a rank"
    )


class Waiting:
    """Says what is waited for: when it changes, and every ``REMIND_SECONDS``."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._since, self._last, self._told = say, time.monotonic(), "", 0.0

    def tell(self, what: str) -> None:
        now = time.monotonic()
        if what != self._last or now - self._told >= REMIND_SECONDS:
            self._last, self._told = what, now
            self._say(f"{what} ({now - self._since:.0f} s so far)")


def cause(rendezvous: Rendezvous | None, own: YoriaiError) -> YoriaiError:
    """The error to show: that of another node if it names a cause and ``own`` does not."""
    if rendezvous is None or names_cause(own):
        return own
    deadline = time.monotonic() + GRACE_SECONDS
    while not (found := reports(rendezvous)) and time.monotonic() < deadline:
        time.sleep(0.2)
    if found and found[0]["cause"]:
        return YoriaiError(found[0]["message"], hint=found[0]["hint"])
    return own


def names_cause(error: YoriaiError) -> bool:
    """Whether an error is no mere echo of another rank's end."""
    return not any(word in error.message for word in _ECHOES)


# What ranks say when another one is gone: gloo, NCCL, torch's store, and torchrun when it is ended.
_ECHOES = ("onnection", "Broken pipe", "imed out", "NCCL", "gloo", "got signal", "exit code")
