"""``yoriai eval transparency``: all that can be measured of models here, on one page."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoriai import NotFound, UsageError, console
from yoriai.cli import Context
from yoriai.files import ordered_json, write_atomically

if TYPE_CHECKING:
    from yoriai import Artifact
    from yoriai.registry import Registry

folder = click.Path(path_type=Path)
STEP = "probes"
TASKS = ("eval/ja-forms", "eval/invented")  # they ship: one is ranked, one is written
NO_MODEL = "it looks into no model: --probe {} runs it as well"


@click.command(epilog="""\b
Examples:
  yoriai eval transparency build/tour/base@1
  yoriai eval transparency build/tour/base@1 --task eval/ja-forms --out build/base-report
  yoriai eval transparency build/tour/base@1 --probe eval/membership --json
""")  # fmt: skip
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", type=folder)
@click.option(
    "--with", "added", multiple=True, metavar="ARTIFACT", type=folder,
    help="A corpus, index, tokens or scores beside those that are found.",
)  # fmt: skip
@click.option("--probe", "probes", multiple=True, help="This probe; without it all that fit.")
@click.option(
    "--task", "tasks", multiple=True, help=f"A task that probes ask [{', '.join(TASKS)}]."
)
@click.option(
    "--out", type=folder, default=Path("build/transparency"), show_default=True,
    help="Where to work, and to write the page.",
)  # fmt: skip
@console.json_option
@click.pass_obj
def transparency(
    shared: Context,
    models: tuple[Path, ...],
    added: tuple[Path, ...],
    probes: tuple[str, ...],
    tasks: tuple[str, ...],
    out: Path,
    as_json: bool,
) -> None:
    """Measure what can be measured of each MODEL, and write one page and JSON in two languages.

    A MODEL is a sealed artifact, or a Hugging Face folder. The corpora and tokens it was made of,
    and the indexes and scores beside them, are found by themselves. What will not run is said
    before anything starts; what raises is told, and the others go on.
    """
    from yoriai import runner
    from yoriai.artifact import open_artifact
    from yoriai.recipe import load_recipe
    from yoriai_eval.report import transparency as report

    for place in models:
        if not place.is_dir():
            raise NotFound(f"{place} is no folder", hint="yoriai eval transparency MODEL")
    sealed = [open_artifact(p) for p in models if (p / "artifact.json").is_file()]
    for model in sealed:
        if model.kind != "model":
            raise UsageError(
                f"{model.name} is a {model.kind}, not a model",
                hint=f"name the model, and --with {model.path}",
            )
    elsewhere = {p.resolve().name.lower(): str(p) for p in models
                 if not (p / "artifact.json").is_file()}  # fmt: skip
    data = _at_hand(sealed, [open_artifact(place) for place in added])
    chosen, not_asked = _chosen(shared.registry, probes)
    step: dict[str, Any] = {"uses": "eval/probe", "probes": chosen, "models": elsewhere}
    step["from"] = [str(a.path.resolve()) for a in (*sealed, *data)]
    step["tasks"] = list(tasks or TASKS)
    recipe = {"name": "transparency", "licence": "unstated", "steps": {STEP: step}}
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "transparency.yaml", ordered_json(recipe))  # JSON is YAML
    outcome = runner.run_recipe(
        load_recipe(out / "transparency.yaml", shared.registry, ()),
        shared.registry,
        out,
        runner.Options(
            allow_drift="a report is made of what is at hand now",
            argv=sys.argv[1:],
            watch=console.watch,
            announce=console.note,
        ),
    )
    scores = [a for a in data if a.kind == "scores"]
    looked = [outcome.artifacts[STEP]]
    told = report.write(out, looked, scores, shared.registry, not_asked)

    def text() -> str:
        lines = list(looked[0].facts["headline"])
        lines += [f"{row['probe']} not asked: {row['why'][0]}" for row in told["not_measured"]
                  if row["state"] == "not asked"]  # fmt: skip
        return "\n".join([*lines, f"open {out / report.PAGE}"])

    console.emit(told, as_json=as_json, text=text)


def _chosen(registry: Registry, named: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The probes to run, and why others are not asked. Raises for a name that no plugin has."""
    from yoriai.probe import OF_A_MODEL

    offered = {found.name: found for found in registry.found("probes")}
    for name in named:
        if name not in offered:
            raise NotFound(f"there is no probe {name}", hint="yoriai eval probe list")
    chosen, not_asked = list(dict.fromkeys(named)), {}
    for name, found in offered.items():
        if name in chosen:
            continue
        if found.missing:
            not_asked[name] = f"it needs pip install {' '.join(found.missing)}"
        elif not OF_A_MODEL & set(registry.load(found).needs):
            not_asked[name] = NO_MODEL.format(name)
        elif named:
            not_asked[name] = "other probes were named"
        else:
            chosen.append(name)
    if not chosen:
        raise UsageError("no probe can look into a model here", hint="yoriai eval probe list")
    return chosen, not_asked


def _at_hand(models: Sequence[Artifact], added: Sequence[Artifact]) -> list[Artifact]:
    """What was given, and the data of the models' line with indexes and scores beside it."""
    from yoriai.ancestry import ancestry, beside

    def found() -> Iterator[Artifact]:
        yield from added
        for model in models:
            made_of = ancestry(model)
            for name in made_of.missing:
                console.note(f"{name}, of which {model.name} was made, is not here")
            corpora = made_of.of_kind("corpus")
            yield from corpora
            yield from made_of.of_kind("tokens")
            for corpus in corpora:
                yield from beside(corpus, "index")
            yield from beside(model, "scores")

    return list(_each_once(found(), {model.digest for model in models}))


def _each_once(artifacts: Iterable[Artifact], seen: set[str]) -> Iterator[Artifact]:
    for artifact in artifacts:
        if artifact.digest not in seen:
            seen.add(artifact.digest)
            yield artifact
