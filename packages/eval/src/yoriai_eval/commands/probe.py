"""``yoriai eval probe``: which probes there are, and running them without writing a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yoriai import NotFound, UsageError, console
from yoriai.cli import Context
from yoriai.files import ordered_json, write_atomically

folder = click.Path(path_type=Path)


@click.group(epilog="""\b
Examples:
  yoriai eval probe list
""")  # fmt: skip
def probe() -> None:
    """List and run probes: methods that say why a model behaves as it does."""


@probe.command("list", epilog="""\b
Examples:
  yoriai eval probe list
  yoriai eval probe list --json
""")  # fmt: skip
@console.json_option
@click.pass_obj
def list_probes(shared: Context, as_json: bool) -> None:
    """List the probes that the plugins offer, and what each of them needs."""
    rows = []
    for found in shared.registry.found("probes"):
        row: dict[str, Any] = {"probe": found.name, "summary": found.entry.summary}
        row["missing"] = list(found.missing)
        if not found.missing:
            target = shared.registry.load(found)
            row["needs"] = list(target.needs)
            row["source"], row["limits"] = target.source, dict(target.limits)
        rows.append(row)

    def text() -> str:
        return console.table(
            ("probe", "needs", "what it does"),
            [
                (
                    row["probe"],
                    f"pip install {' '.join(row['missing'])}"
                    if row["missing"]
                    else ", ".join(row["needs"]),
                    row["summary"],
                )
                for row in rows
            ],
        )

    console.emit({"probes": rows}, as_json=as_json, text=text)


@probe.command("run", epilog="""\b
Examples:
  yoriai eval probe run eval/extraction build/tour/base@1 build/tour/text@1
  yoriai eval probe run eval/extraction eval/membership build/tour/base@1 build/tour/text@1 --json
  yoriai eval probe run eval/membership build/tour/base@1 build/tour/text@1 --set seed=1
""")  # fmt: skip
@click.argument("words", nargs=-1, required=True, metavar="PROBE... ARTIFACT|FOLDER...")
@click.option("--task", "tasks", multiple=True, help="A task that probes may ask.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a key.")
@click.option(
    "--out", type=folder, default=Path("build/probes"), show_default=True, help="Where to work."
)
@console.json_option
@click.pass_context
def run(
    ctx: click.Context,
    words: tuple[str, ...],
    tasks: tuple[str, ...],
    settings: tuple[str, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Run PROBES on models, corpora, indexes, tokens and scores.

    Each is a sealed artifact, or a Hugging Face folder. What is done is a recipe, which is left in
    the folder of --out with its run, its page and its results.
    """
    from yoriai.commands.run import run as run_recipe

    shared: Context = ctx.obj
    names = {found.name for found in shared.registry.found("probes")}
    chosen = [word for word in words if word in names]
    places = [Path(word) for word in words if word not in names]
    for place in places:
        if not place.is_dir():
            raise NotFound(
                f"{place} is neither a probe nor a folder", hint="yoriai eval probe list"
            )
    if not chosen:
        raise UsageError("no probe was named", hint="yoriai eval probe list")
    sealed = [place for place in places if (place / "artifact.json").is_file()]
    elsewhere = {_name(place): str(place) for place in places if place not in sealed}
    step: dict[str, Any] = {"uses": "eval/probe", "from": [str(p.resolve()) for p in sealed]}
    step |= {"probes": chosen, "tasks": list(tasks), "models": elsewhere}
    recipe = {"name": "probes", "licence": "unstated", "steps": {"probes": step}}
    out.mkdir(parents=True, exist_ok=True)
    place = out / "probes.yaml"
    write_atomically(place, ordered_json(recipe))  # JSON is YAML
    ctx.invoke(
        run_recipe,
        recipe=place,
        settings=settings,
        out=out,
        dry_run=False,
        until="",
        allow_drift="",
        time_limit=0.0,
        as_json=as_json,
    )


def _name(place: Path) -> str:
    return place.resolve().name.lower()
