"""A step, its section on the page, a fact of the machine, and a command."""

import os
from typing import ClassVar

import click

from yoriai import Made, Section, Step, Table, console
from yoriai.explaining import Hop


class Note(Step):
    """Writes down how many models were scored."""

    version: ClassVar[str] = "1"
    makes: ClassVar[str] = "note"
    takes: ClassVar[tuple[str, ...]] = ("scores",)

    def run(self, job):
        models = sorted(job.one("scores").facts["models"])
        (job.out / "note.txt").write_text("\n".join(models))
        return Made(facts={"models": len(models)}, headline=[f"{len(models)} models"])


def describe(artifact):
    if artifact.kind == "note":
        models = artifact.file("note.txt").read_text().splitlines()
        rows = Table(columns=("number", "model"), rows=list(enumerate(models, 1)))
        yield Section(title="Acme's note", text="What was scored.", tables=[rows])


def describe_machine(run):
    return {"processors": os.cpu_count(), "steps": len(run.steps)}


@click.command(
    epilog="""\b
Examples:
  yoriai acme greet
  yoriai acme greet --json
"""
)
@console.json_option
@click.pass_obj
def greet(shared, as_json):
    """Say hello to every plugin."""
    names = [plugin.name for plugin in shared.registry.plugins]
    console.emit({"said": "hello", "to": names}, as_json=as_json, text=lambda: "hello")


def hops(point):
    """Of a model: that acme trained it; nothing of other points."""
    if point.kind == "model":
        says = f"{point.artifact.name} was trained with acme's notes"
        yield Hop(kind="note", says=says, state="unchecked", by="nothing was written down")
