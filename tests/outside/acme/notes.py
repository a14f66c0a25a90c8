"""A step, its section on the page, and a command."""

from typing import ClassVar

import click

from yoriai import Made, Section, Step


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
        yield Section(title="Acme's note", text=artifact.file("note.txt").read_text())


@click.command()
@click.option("--json", "as_json", is_flag=True)
def greet(as_json):
    """Say hello.

    Example: yoriai acme greet
    """
    click.echo('{"said": "hello"}' if as_json else "hello")
