"""``yoriai train diff``: two trainings side by side, and where each departs from what is known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from yoriai import NotFound, UsageError, console
from yoriai.artifact import MANIFEST, open_artifact
from yoriai.cli import Context
from yoriai.config import unknown_name

STEP = "train/pretrain"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedTraining:
    """A training and what is known of it beside its configuration."""

    name: str
    config: Mapping[str, Any]
    vocabulary_size: int | None = None
    parameters: int | None = None


@click.command(epilog="""\b
Examples:
  yoriai train diff llm-jp-3-172b-exp1 llm-jp-3-172b
  yoriai train diff llm-jp-13b recipes/llm-jp-13b.yaml
  yoriai train diff recipes/tour.yaml:base build/tour/base@1 --all
""")  # fmt: skip
@click.argument("a")
@click.argument("b")
@click.option("--all", "every", is_flag=True, help="Rows that do not differ, too.")
@console.json_option
@click.pass_obj
def diff(shared: Context, a: str, b: str, every: bool, as_json: bool) -> None:
    """Compare the hyper-parameters of two trainings, A and B.

    Each is a preset, a recipe (RECIPE.yaml, or RECIPE.yaml:STEP) or the folder of a model that
    train/pretrain made. A value that departs from every published run of the kind is warned of.
    """
    from yoriai_train.plan import difference

    trainings = [read(text, shared) for text in (a, b)]
    left, right = (
        difference.describe(t.config, vocabulary_size=t.vocabulary_size, parameters=t.parameters)
        for t in trainings
    )
    rows = difference.compare(left, right)
    sides = [
        {
            "name": training.name,
            "references": difference.nearest(training.config),
            "warnings": difference.warnings(training.config),
        }
        for training in trainings
    ]
    value = {"a": sides[0], "b": sides[1], "rows": [asdict(row) for row in rows]}
    console.emit(value, as_json=as_json, text=lambda: draw(value, every=every))


def draw(value: Mapping[str, Any], *, every: bool) -> str:
    """What :func:`diff` prints, from what it gives as JSON."""
    from yoriai_train.plan.difference import show

    sides = (value["a"], value["b"])
    shown = [row for row in value["rows"] if every or not row["same"]]
    cells: list[tuple[str, str, str, str]] = []
    for position, row in enumerate(shown):
        if position == 0 or shown[position - 1]["group"] != row["group"]:
            cells.append((row["group"].upper(), "", "", ""))
        ratio = row["ratio"]
        times = "" if row["same"] else "differs" if ratio is None else f"x {show(ratio)}"
        cells.append((row["words"], show(row["a"]), show(row["b"]), times))
    columns = ("", sides[0]["name"], sides[1]["name"], "B / A")
    hidden = len(value["rows"]) - len(shown)
    lines = [console.table(columns, cells)] if cells else []
    if hidden:
        lines.append(f"{hidden} more values are the same" + (" (--all shows them)" * bool(cells)))
    for side in sides:
        lines += [f"warning: {side['name']}: {text}" for text in side["warnings"]]
    if not any(side["warnings"] for side in sides):
        lines.append("nothing in either departs from every named reference")
    return "\n".join(lines)


def read(text: str, shared: Context) -> DescribedTraining:
    """The training that a word of the command line names.

    Raises :class:`NotFound` or :class:`UsageError` if it names none, or several.
    """
    from yoriai_train.settings import preset

    path, _, step = text.rpartition(":") if ":" in Path(text).name else (text, "", "")
    if path.endswith((".yaml", ".yml")):
        return _of_recipe(Path(path), step, shared)
    if (Path(text) / MANIFEST).is_file():
        return _of_model(Path(text))
    if Path(text).exists():
        raise NotFound(
            f"{text} is no model of this project: it has no {MANIFEST}",
            hint="give a preset, a recipe, or the folder of a finished train/pretrain step",
        )
    if text not in preset.names():
        raise unknown_name(text, preset.names(), "preset, recipe or model")
    size = preset.about(text).vocabulary_size
    small = text.endswith(preset.SMALL)
    return DescribedTraining(
        name=text, config=preset.load(text), vocabulary_size=None if small else size
    )


def _of_recipe(path: Path, step: str, shared: Context) -> DescribedTraining:
    from yoriai.recipe import load_recipe

    loaded = load_recipe(path, shared.registry)
    found = [planned for planned in loaded.steps if planned.entry == STEP]
    names = ", ".join(planned.name for planned in found)
    if step:
        found = [planned for planned in found if planned.name == step]
        if not found:
            raise NotFound(
                f"{path} has no step {step!r} that pre-trains", hint=f"steps: {names or 'none'}"
            )
    if not found:
        raise NotFound(f"{path} has no step that pre-trains ({STEP})")
    if len(found) > 1:
        raise UsageError(
            f"{path} has {len(found)} steps that pre-train: {names}",
            hint=f"name one: {path}:{found[0].name}",
        )
    [planned] = found
    expected = loaded.expectations().get(planned.name, {})
    return DescribedTraining(
        name=f"{path.name}:{planned.name}",
        config=planned.config(),
        parameters=expected.get("parameters"),
    )


def _of_model(folder: Path) -> DescribedTraining:
    artifact = open_artifact(folder)
    made_by = artifact.manifest["step"]
    if made_by != STEP:
        raise UsageError(
            f"{folder} is a {artifact.kind} made by {made_by}, not by {STEP}",
            hint=f"yoriai lineage {folder}  (names the model it was made from, if any)",
        )
    size = json.loads(artifact.file("config.json").read_bytes()).get("vocab_size")
    return DescribedTraining(
        name=artifact.name,
        config=artifact.config,
        vocabulary_size=size,
        parameters=artifact.facts.get("parameters"),
    )
