"""``yoriai train launch``, ``status``, ``logs``, ``cancel``, and ``join`` on the other nodes."""

from __future__ import annotations

import codecs
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from yoriai import NotFound, UsageError, console, terminal
from yoriai.cli import Context

if TYPE_CHECKING:
    from yoriai_train.launch.launch_file import Launch
    from yoriai_train.launch.schedulers import Status

DIRECTORY = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    help="The folder the jobs work in [.].",
)
FOLLOW_SECONDS = 1.0


@click.command(epilog="""\b
Examples:
  yoriai train launch launch.yaml --dry-run
  yoriai train launch launch.yaml
  yoriai train launch launch.yaml --scheduler local
""")  # fmt: skip
@click.argument("file", type=click.Path(path_type=Path), metavar="LAUNCH.yaml")
@click.option("--dry-run", is_flag=True, help="Check everything and print the script.")
@click.option(
    "--scheduler",
    type=click.Choice(["local", "torchrun", "slurm", "pbs", "sge", "mpirun"]),
    help="Instead of the one in the file.",
)
@console.json_option
@click.pass_obj
def launch(
    shared: Context, file: Path, dry_run: bool, scheduler: str | None, as_json: bool
) -> None:
    """Submit the run that LAUNCH.yaml describes, on one machine or many."""
    from yoriai_train.launch import launch_file as launches
    from yoriai_train.launch import schedulers

    wanted = launches.load(file, scheduler or "")
    check_recipe(shared, wanted)
    if dry_run:
        job_id = schedulers.next_id(wanted)
        text = launches.script(wanted, job_id)
        console.emit({"id": job_id, "script": text}, as_json=as_json, text=lambda: text.rstrip())
        return
    note = schedulers.submit(wanted)
    where = "" if wanted.directory == "." else f" --directory {wanted.directory}"

    def told() -> str:
        return (
            f"{note['id']} submitted to {note['scheduler']} as {note['job']}\n"
            f"  yoriai train status {note['id']}{where}\n"
            f"  yoriai train logs {note['id']} --follow{where}"
        )

    console.emit(note, as_json=as_json, text=told)


def check_recipe(shared: Context, wanted: Launch) -> None:
    """Refuse what would fail only after hours in the queue: the recipe, and processes to GPUs."""
    import contextlib

    from yoriai.recipe import load_recipe

    directory = Path(wanted.directory)
    if not directory.is_dir():
        raise NotFound(f"there is no folder {directory}", hint="mend 'directory' in the launch")
    with contextlib.chdir(directory):
        loaded = load_recipe(Path(wanted.recipe), shared.registry, wanted.options.settings)
    names = [planned.name for planned in loaded.steps]
    if wanted.options.until and wanted.options.until not in names:
        from yoriai.config import unknown_name

        raise unknown_name(wanted.options.until, names, "step")
    for planned in loaded.steps:
        ranks = planned.step.ranks()
        if ranks is None or ranks.processes == 1:
            continue
        processes, batch = ranks.processes, ranks.batch
        if wanted.gpus_per_node and processes != wanted.gpus_per_node:
            raise UsageError(
                f"{planned.name} has {processes} processes on each node and the launch wants"
                f" {wanted.gpus_per_node} GPUs there",
                hint=f"add to options.settings: {planned.name}.strategy.processes="
                f"{wanted.gpus_per_node}",
            )
        if batch % (processes * wanted.nodes):
            raise UsageError(
                f"{planned.name}: a batch of {batch} cannot be shared by {wanted.nodes} nodes of"
                f" {processes} processes",
                hint=f"set {planned.name}.batch to a multiple of {processes * wanted.nodes}",
            )


@click.command(epilog="""\b
Examples:
  yoriai train status
  yoriai train status tour-1 --json
""")  # fmt: skip
@click.argument("job", required=False, metavar="[ID]")
@DIRECTORY
@console.json_option
def status(job: str | None, directory: Path, as_json: bool) -> None:
    """Say how the jobs launched here are, or one of them."""
    from yoriai_train.launch import schedulers

    if job:
        one = schedulers.status(directory, job)
        happened = schedulers.events(directory, job)
        value = {
            **dataclasses.asdict(one),
            "events": [dataclasses.asdict(event) for event in happened],
        }

        def lines() -> str:
            rows = [f"  {e.time}  attempt {e.attempt}: {e.what} {e.value}" for e in happened]
            return "\n".join([_line(one), *(row.rstrip() for row in rows)])

        console.emit(value, as_json=as_json, text=lines)
        return
    found = [schedulers.status(directory, each) for each in schedulers.ids(directory)]

    def table() -> str:
        if not found:
            return "no jobs were launched here"
        columns = ("id", "state", "scheduler", "job", "nodes", "attempt", "recipe", "why")
        return console.table(
            columns,
            [
                (s.id, s.state, s.scheduler, s.job, s.nodes, s.attempt, s.recipe, s.detail)
                for s in found
            ],
        )

    console.emit({"jobs": [dataclasses.asdict(s) for s in found]}, as_json=as_json, text=table)


def _line(one: Status) -> str:
    why = f": {one.detail}" if one.detail else ""
    where = f"{one.scheduler} {one.job}, {one.nodes} node{'s' * (one.nodes > 1)}"
    return f"{one.id} is {one.state}{why} ({where}, attempt {one.attempt})"


@click.command(epilog="""\b
Examples:
  yoriai train logs
  yoriai train logs tour-1 --follow
""")  # fmt: skip
@click.argument("job", required=False, metavar="[ID]")
@click.option("--follow", is_flag=True, help="Go on until the job has ended.")
@DIRECTORY
@console.json_option
def logs(job: str | None, follow: bool, directory: Path, as_json: bool) -> None:
    """Print what a job said (the last one launched here, if none is named)."""
    from yoriai_train.job.nodes import FOLDER
    from yoriai_train.launch import schedulers

    known = schedulers.ids(directory)
    if not job and not known:
        raise NotFound("no jobs were launched here", hint="yoriai train launch LAUNCH.yaml")
    job = job or known[-1]
    schedulers.note_of(directory, job)
    place, said = (directory / FOLDER / f"{job}.{kind}" for kind in ("log", "out"))
    if as_json:
        if follow:
            raise UsageError("--json prints one object; it cannot --follow")
        console.emit(
            {"id": job, "log": _text(place), "scheduler": _text(said)}, as_json=True, text=str
        )
        return
    log = _Log(place)
    log.print_more()
    while follow:
        one = schedulers.status(directory, job)
        log.print_more()
        if one.state not in ("queued", "running"):
            console.note(_line(one))
            break
        time.sleep(FOLLOW_SECONDS)
    if text := _text(said).strip():
        console.note(f"the scheduler's own words ({said}):\n{text}")
    if not place.is_file():
        console.note(f"{job} has said nothing yet: it has not started")


def _text(place: Path) -> str:
    return place.read_text(encoding="utf-8", errors="replace") if place.is_file() else ""


class _Log:
    """A log that is printed as it grows; what it says does nothing to the terminal."""

    def __init__(self, place: Path) -> None:
        self.place, self.position = place, 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def print_more(self) -> None:
        if not self.place.is_file():
            return
        with self.place.open("rb") as stream:
            stream.seek(self.position)
            while chunk := stream.read(2**20):
                click.echo(terminal.harmless(self._decoder.decode(chunk)), nl=False)
            self.position = stream.tell()


@click.command(epilog="""\b
Examples:
  yoriai train cancel tour-1
""")  # fmt: skip
@click.argument("job", metavar="ID")
@DIRECTORY
@console.json_option
def cancel(job: str, directory: Path, as_json: bool) -> None:
    """End a job; it is not queued again."""
    from yoriai_train.launch import schedulers

    before = schedulers.cancel(directory, job)
    value = {"id": job, "state": "cancelled", "was": before.state}
    console.emit(value, as_json=as_json, text=lambda: f"{job} (it was {before.state}) is cancelled")


@click.command(epilog="""\b
Examples:
  yoriai train join --wait 60
  yoriai train join --json
""")  # fmt: skip
@click.option(
    "--wait", default=1440.0, show_default=True, metavar="MINUTES",
    help="Longest silence of the head, between its start and the first training step, too.",
)  # fmt: skip
@console.json_option
def join(wait: float, as_json: bool) -> None:
    """Take part in a job of several nodes. Launch scripts call this on all nodes but the first."""
    from yoriai_train.job.ends import die_with_parent
    from yoriai_train.job.nodes import rendezvous_from
    from yoriai_train.launch import join as joining

    die_with_parent()
    rendezvous = rendezvous_from()
    if rendezvous is None or rendezvous.node_rank == 0:
        raise UsageError(
            "this is no further node of a job of several",
            hint="start jobs by: yoriai train launch LAUNCH.yaml",
        )
    joining.join(rendezvous, joining.train_here, wait_seconds=wait * 60, say=console.note)
    node = rendezvous.node_rank
    console.emit(
        {"node": node, "state": "ended"}, as_json=as_json, text=lambda: f"node {node}: ended"
    )
