"""What ``yoriai train join`` does on the further nodes of a job (:mod:`yoriai_train.job.nodes`)."""

from __future__ import annotations

import contextlib
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from yoriai import Refused, YoriaiError, console, files
from yoriai_train.job import ends
from yoriai_train.job.nodes import (
    FIRST_PORT,
    FOLDER,
    MEETING_SECONDS,
    Rendezvous,
    Waiting,
    code_of,
    names_cause,
    read,
)
from yoriai_train.job.ranks import start_ranks
from yoriai_train.settings.spec import Spec

VERDICT_SECONDS = 60.0  # the job should end within a minute of a rank that died


def train_here(spec_file: Path, rendezvous: Rendezvous) -> YoriaiError | None:
    """Run this node's ranks of a training step to their end; returns what ended them, if bad.

    What the ranks say on stderr is handed on, for the log of the job.
    """
    if problem := reach(rendezvous, console.note):
        return problem
    spec = Spec.model_validate_json(spec_file.read_bytes())
    log = Path(spec.scratch) / f"stderr-node-{rendezvous.node_rank}.log"
    with log.open("ab") as stderr:
        begin = stderr.tell()
        process = start_ranks(spec_file, spec.build_strategy(), rendezvous, stderr)
        errors = [row for kind, row in ends.told(process) if kind == "error"]
        code = process.wait()
    said = log.read_bytes()[begin:].decode("utf-8", errors="replace")
    sys.stderr.write(said)
    if errors:
        return YoriaiError(f"training stopped: {errors[0]['message']}", hint=errors[0]["hint"])
    return ends.explain(code, said, log) if code else None


def join(
    rendezvous: Rendezvous,
    train: Callable[[Path, Rendezvous], YoriaiError | None],
    *,
    wait_seconds: float,
    say: Callable[[str], None] = lambda _line: None,
    poll_seconds: float = 1.0,
    verdict_seconds: float = VERDICT_SECONDS,
) -> int:
    """Take part in every training step that the head announces, until it ends; returns how many.

    ``train`` runs one and returns what went wrong, if anything; the head hears of it and decides.
    Raises that error if the head does not decide within ``verdict_seconds``, and
    :class:`YoriaiError` if it says nothing at all for ``wait_seconds``, :class:`Refused` at once
    if this node cannot find the head's address.
    """
    check_name(rendezvous.host)
    number, since = 0, time.monotonic()
    failed: YoriaiError | None = None
    while True:
        told = read(rendezvous.training)
        if told and told["number"] > number:
            number = told["number"]
            failed = _take_part(rendezvous, told, train, say)
            if failed:
                say(f"node {rendezvous.node_rank}: {failed.message}")
                _write_report(rendezvous, number, failed)
            since = time.monotonic()
        elif (code := head_ended(rendezvous)) is not None:
            say(f"the head has ended with exit code {code}; node {rendezvous.node_rank} leaves")
            return number
        elif failed and time.monotonic() - since > verdict_seconds:
            raise failed  # the head hangs; the launch script will end it
        elif time.monotonic() - since > wait_seconds:
            raise YoriaiError(
                f"node {rendezvous.node_rank} heard nothing from the head for"
                f" {wait_seconds / 60:.0f} minutes",
                hint="look at the log of the job; prepare data before the job (yoriai run RECIPE"
                " --until STEP), or raise --wait",
            )
        else:
            time.sleep(poll_seconds)


def _take_part(
    rendezvous: Rendezvous,
    told: Mapping[str, Any],
    train: Callable[[Path, Rendezvous], YoriaiError | None],
    say: Callable[[str], None],
) -> YoriaiError | None:
    spec = Path(told["spec"])
    mine = code_of(tuple(told["code"].keys() - {"torch"}))
    other = [name for name, mark in told["code"].items() if mine[name] != mark]
    if other:
        name = other[0]
        return Refused(
            f"node {rendezvous.node_rank} has another {name} than the head: {mine[name]}, not"
            f" {told['code'][name]}",
            hint="install the same on all nodes, best once on the shared disk",
        )
    if not _arrives(spec, told["digest"]):
        return YoriaiError(
            f"node {rendezvous.node_rank} cannot read {spec}, which the head has written",
            hint="'directory' and the workspace must lie on a disk that all nodes share",
        )
    say(f"node {rendezvous.node_rank} joins training step {told['number']} ({spec.parent})")
    here = files.canonical_json({"number": told["number"]})
    files.write_atomically(rendezvous.joined(rendezvous.node_rank), here)
    return train(spec, rendezvous)


def _arrives(path: Path, digest: str, seconds: float = 60.0) -> bool:
    """Wait for a file: a network disk may show an older one for as long as it caches."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if files.digest_file(path) == digest:
                return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)


def _write_report(rendezvous: Rendezvous, number: int, error: YoriaiError) -> None:
    value = {
        "number": number,
        "message": f"{error.message} (node {rendezvous.node_rank})",
        "hint": error.hint,
        "cause": names_cause(error),
    }
    place = rendezvous.report(rendezvous.node_rank)
    files.write_atomically(place, files.canonical_json(value))


def check_name(host: str) -> None:
    """Raise :class:`Refused` if this machine cannot find the address of ``host``."""
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise Refused(
            f"the head of the job is {host}, and {socket.gethostname()} cannot find its address:"
            f" {error.strerror or error}",
            hint=f"getent hosts {host}  shows it; put the nodes' names into DNS or /etc/hosts of"
            " every node",
        ) from error


def reach(
    rendezvous: Rendezvous,
    say: Callable[[str], None] = lambda _line: None,
    *,
    patience_seconds: float = MEETING_SECONDS,
    poll_seconds: float = 1.0,
) -> YoriaiError | None:
    """Wait until the head listens; what hinders it, said now and then and at last returned.

    torchrun would wait as long without a word.
    """
    begin, waiting = time.monotonic(), Waiting(say)
    while True:
        try:
            socket.create_connection((rendezvous.host, rendezvous.port), timeout=5).close()
        except OSError as error:
            why = error.strerror or str(error)
        else:
            return None
        place = f"{rendezvous.host}:{rendezvous.port}"
        if time.monotonic() - begin >= patience_seconds or head_ended(rendezvous) is not None:
            return YoriaiError(
                f"training stopped: node {rendezvous.node_rank} could not reach the head at"
                f" {place}",
                hint=f"{why}: let the nodes talk to one another at all ports (a firewall?), or"
                f" write another port into the launch file (port: N, from {FIRST_PORT})",
            )
        waiting.tell(f"node {rendezvous.node_rank} waits for the head at {place} ({why})")
        time.sleep(poll_seconds)


def head_ended(rendezvous: Rendezvous) -> str | None:
    """The exit code of the head's run, if the launch script has noted it."""
    job_id, _, attempt = rendezvous.job.rpartition(".")
    try:
        lines = (FOLDER / f"{job_id}.events").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    rows = [line.split("\t") for line in lines]
    codes = [row[3] for row in rows if row[1:3] == ["ended", attempt]]
    return codes[-1] if codes else None
