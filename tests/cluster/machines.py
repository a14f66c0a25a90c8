"""Three machines in one: network namespaces with a name, an address and a hosts file of their own.

``login`` and the nodes are joined by a bridge. Nothing of this machine's own network or of its
``/etc`` is touched: each namespace mounts its own ``/etc/hosts``. Needs root, and iproute2.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

LOGIN, NODES = "login", ("n1", "n2")
NETWORK = "10.77.0"
ADDRESSES = {name: f"{NETWORK}.{number}" for number, name in enumerate((LOGIN, *NODES), 1)}
WAIT_SECONDS = 600.0  # until a daemon or a job is what it should be; a busy machine is slow


class Failed(Exception):
    """A check that did not hold, or a cluster that did not come up."""


class Machines:
    """The namespaces and what was started in them; made by :func:`machines`."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        for name in [n for n in self.environment if n.startswith(("YORIAI_", "SLURM_", "SGE_"))]:
            del self.environment[name]

    def hosts(self, names: Sequence[str]) -> None:
        """Let all machines find these by name."""
        rows = ["127.0.0.1 localhost", *(f"{ADDRESSES[name]} {name}" for name in names)]
        (self.scratch / "hosts").write_text("\n".join(rows) + "\n")

    def command(self, machine: str, words: Sequence[str]) -> list[str]:
        """The command line that runs ``words`` on that machine."""
        own = 'mount --bind "$1" /etc/hosts && hostname "$2" && shift 2 && exec "$@"'
        hosts = str(self.scratch / "hosts")
        return [
            *("nsenter", f"--net=/run/netns/{_namespace(machine)}", "unshare", "--uts", "--mount"),
            *("bash", "-c", own, "machine", hosts, machine, *words),
        ]

    def run(self, machine: str, *words: str, cwd: Path | None = None, check: bool = True) -> str:
        """What a command prints on that machine."""
        done = subprocess.run(
            self.command(machine, words), cwd=cwd or self.scratch, env=self.environment,
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise Failed(
                f"{words} on {machine}: exit code {done.returncode}\n{done.stderr[-3000:]}"
            )
        return done.stdout

    def start(self, machine: str, *words: str) -> subprocess.Popen[bytes]:
        """A daemon, in the foreground of its own; it ends with the machines."""
        name = Path(words[0]).name
        with (self.scratch / f"{name}-{machine}.log").open("ab") as log:
            process = subprocess.Popen(
                self.command(machine, words), cwd=self.scratch, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._daemons.append(process)
        return process

    def processes(self, machine: str) -> list[int]:
        told = subprocess.run(
            ["ip", "netns", "pids", _namespace(machine)],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(word) for word in told.stdout.split()]

    def end(self) -> None:
        """End all that runs in the namespaces, and nothing else."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for machine in (LOGIN, *NODES):
                for process in self.processes(machine):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, number)
            deadline = time.monotonic() + 10
            while any(map(self.processes, (LOGIN, *NODES))) and time.monotonic() < deadline:
                time.sleep(0.1)
        for process in self._daemons:
            process.wait()


def _namespace(machine: str) -> str:
    return f"yoriai-{os.getpid()}-{machine}"


@contextlib.contextmanager
def machines(scratch: Path) -> Iterator[Machines]:
    """The machines, joined; all that runs on them is ended afterwards."""
    _ip("netns", "add", _namespace(LOGIN))
    made = Machines(scratch)
    made.hosts((LOGIN, *NODES))
    try:
        login = ("-n", _namespace(LOGIN))
        _ip(*login, "link", "add", "br0", "type", "bridge")
        for name in NODES:
            there = _namespace(name)
            _ip("netns", "add", there)
            pair = ("type", "veth", "peer", "name", "eth0", "netns", there)
            _ip(*login, "link", "add", name, *pair)
            _ip(*login, "link", "set", name, "master", "br0")
            _ip(*login, "link", "set", name, "up")
        for name in (LOGIN, *NODES):
            device = "br0" if name == LOGIN else "eth0"
            there = ("-n", _namespace(name))
            _ip(*there, "addr", "add", f"{ADDRESSES[name]}/24", "dev", device)
            _ip(*there, "link", "set", device, "up")
            _ip(*there, "link", "set", "lo", "up")
        yield made
    finally:
        made.end()
        for name in (*NODES, LOGIN):
            subprocess.run(["ip", "netns", "del", _namespace(name)], check=False)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def until(what: str, holds: Callable[[], object], seconds: float = WAIT_SECONDS) -> None:
    """Wait for a condition; raises :class:`Failed`, naming it, if it never holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.2)
