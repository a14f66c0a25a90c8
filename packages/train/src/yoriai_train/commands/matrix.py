"""``yoriai train matrix``: many tunings declared once, run, and compared."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from yoriai import UsageError, console, files
from yoriai.cli import Context
from yoriai_train.plan.matrix import Matrix

RECIPE, COMPARISON = "recipe.yaml", "comparison"
COUNT = click.IntRange(1, 10**6)


@click.command("matrix", epilog="""\b
Examples:
  yoriai train matrix recipes/matrices/llm-jp-twelve.yaml
  yoriai train matrix recipes/matrices/llm-jp-twelve-small.yaml --run
  yoriai train matrix matrix.yaml --gpu h100 --yen-per-gpu-hour 500
  yoriai train matrix matrix.yaml --array launch.yaml --dry-run
""")  # fmt: skip
@click.argument("matrix", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path), help="Where to work [build/MATRIX].")
@click.option("--run", "runs", is_flag=True, help="Run what is not made yet; then compare.")
@click.option(
    "--array", metavar="LAUNCH.yaml", type=click.Path(path_type=Path),
    help="Run it on a cluster, each cell a task of an array of jobs.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="With --array: print the scripts, submit nothing.")
@click.option("--gpu", help="Plan for this GPU, as in yoriai train plan [the matrix's, or cpu].")
@click.option("--gpus", type=COUNT, help="GPUs in a node [the strategy's processes].")
@click.option("--nodes", type=COUNT, help="Nodes of a cell [1].")
@click.option(
    "--mfu", type=console.Finite(0, 1, min_open=True), help="Share of peak [a range is given]."
)
@click.option(
    "--yen-per-gpu-hour", type=console.Finite(0, 1e9, min_open=True), help="Price [the cell's]."
)
@console.json_option
@click.pass_obj
def matrix(
    shared: Context,
    /,
    matrix: Path,
    out: Path | None,
    runs: bool,
    array: Path | None,
    dry_run: bool,
    as_json: bool,
    **planning: Any,
) -> None:
    """Plan the cells of MATRIX and write the recipe that makes them, or run it and compare them.

    The recipe is an ordinary one: it can be read, run step by step, and launched. A run that was
    ended goes on where it was when the same command is given again.
    """
    import yaml

    from yoriai.recipe import load_recipe

    if (runs and array) or (dry_run and not array):
        raise UsageError(
            "--run is here, --array on a cluster, and --dry-run is for --array",
            hint=f"yoriai train matrix {matrix}",
        )
    loaded = read_matrix(matrix)
    root = out or Path("build") / loaded.name
    root.mkdir(parents=True, exist_ok=True)
    place = root / RECIPE
    text = yaml.safe_dump(loaded.recipe(), allow_unicode=True, sort_keys=False)
    files.write_atomically(place, f"# Made from {matrix.name}; change that.\n{text}".encode())
    recipe = load_recipe(place, shared.registry)
    if array:
        _launch(shared, loaded, matrix, root, array, dry_run=dry_run, as_json=as_json)
        return
    if not runs:
        _show_plan(loaded, recipe, root, planning, as_json=as_json)
        return
    from yoriai import runner

    options = runner.Options(argv=sys.argv[1:], watch=console.watch, announce=console.note)
    outcome = runner.run_recipe(recipe, shared.registry, root, options)
    told = compare(loaded, outcome, shared.registry, root)
    body = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    files.write_atomically(root / f"{COMPARISON}.json", body.encode())
    text = "\n".join(_lines(loaded, told))
    files.write_atomically(root / f"{COMPARISON}.md", (text + "\n").encode())
    console.emit(told, as_json=as_json, text=lambda: text)


def _show_plan(
    loaded: Matrix, recipe: Any, root: Path, planning: Mapping[str, Any], *, as_json: bool
) -> None:
    from yoriai.redaction import Redactor
    from yoriai.workspace import Workspace
    from yoriai_train.commands.matrix_plan import plan_cells, rows_of, totals

    decisions = Workspace(root, recipe, Redactor()).decide_all()
    plans = plan_cells(loaded, recipe, decisions, planning)
    measured = {one.cell.name: _seconds(root, one.cell.name) for one in plans}
    cells = [
        {
            "name": one.cell.name, **one.cell.levels, "state": one.state,
            "seconds": measured[one.cell.name], "plan": one.plan.facts() if one.plan else None,
            "peak_bytes": one.plan.memory.peak_bytes if one.plan else None, "not_known": one.why,
        }
        for one in plans
    ]  # fmt: skip
    place = root / RECIPE
    value = {"cells": cells, "recipe": str(place), "published": loaded.published}
    heads = ("", "cell", "state", "examples", "steps", "memory at most", "time", "money")
    lines = [console.table(heads, [tuple(map(str, r)) for r in rows_of(plans, measured=measured)])]
    lines += [*totals(plans), *_published(loaded.published)]
    lines.append(f"{len(cells)} tunings; the recipe is {place}")
    console.emit(value, as_json=as_json, text=lambda: "\n".join(lines))


def _launch(
    shared: Context,
    loaded: Matrix,
    matrix: Path,
    root: Path,
    file: Path,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """The cells as an array of jobs: what comes before is one job, the comparison the last."""
    from yoriai_train.commands.launch import check_recipe
    from yoriai_train.launch import array as arrays
    from yoriai_train.launch import launch_file

    wanted = launch_file.load(file)
    directory = Path(wanted.directory)
    recipe = os.path.relpath(root / RECIPE, directory)
    if os.path.relpath(directory / wanted.recipe, directory) != recipe:
        raise UsageError(
            f"{file}: recipe: {wanted.recipe} is not the recipe of this matrix",
            hint=f"recipe: {recipe}",
        )
    where = os.path.relpath(root, directory)
    options = wanted.options.model_copy(update={"out": where})
    name = wanted.name or loaded.name
    wanted = wanted.model_copy(update={"name": name, "recipe": recipe, "options": options})
    check_recipe(shared, wanted)
    cells = [cell.name for cell in loaded.cells()]
    after = ["yoriai", "train", "matrix", "--run", "--out", where, "--"]
    made = arrays.scripts(
        wanted,
        until=list(loaded.steps)[-1] if loaded.steps else "",
        parts=cells,
        after=[*after, os.path.relpath(matrix, directory)],
    )
    if dry_run:
        texts = [f"# === {job_id} ===\n{text.rstrip()}" for job_id, text in made.texts.items()]
        console.emit({"scripts": made.texts}, as_json=as_json, text=lambda: "\n".join(texts))
        return
    notes = arrays.submit(wanted, made, cells)
    lines = [f"{note['id']} submitted to {note['scheduler']} as {note['job']}" for note in notes]
    where = "" if wanted.directory == "." else f" --directory {wanted.directory}"
    lines.append(f"  yoriai train status{where}")
    console.emit({"jobs": notes}, as_json=as_json, text=lambda: "\n".join(lines))


def read_matrix(path: Path) -> Matrix:
    """The checked matrix of a file; raises UsageError with the place of a fault."""
    import pydantic

    from yoriai import safe_yaml
    from yoriai.config import explain

    try:
        return Matrix.model_validate(safe_yaml.read(path))
    except pydantic.ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault.place))}: {fault.message}"
            for fault in explain(error, Matrix)
        )
        raise UsageError(f"{path}: {faults}") from error


def compare(loaded: Any, outcome: Any, registry: Any, root: Path) -> dict[str, Any]:
    """Scores with intervals, effects of factors, tests of pairs, and cost of each cell."""
    from yoriai_train.plan.matrix import SCORES, effects

    cells = list(loaded.cells())
    models = outcome.artifacts[SCORES].facts["models"]
    rows: list[dict[str, Any]] = []
    for cell in cells:
        facts = outcome.artifacts[cell.name].facts
        seconds = _seconds(root, cell.name)
        tasks = {
            name: {"score": told["score"], "interval": told.get("interval")}
            for name, told in models[cell.name]["tasks"].items()
        }
        kept = ("examples", "examples_seen", "steps", "first_loss", "last_loss")
        rows.append(
            {"cell": cell.name, **cell.levels, "tasks": tasks, "seconds": seconds}
            | {key: facts[key] for key in kept if key in facts}
        )
    names = list(rows[0]["tasks"])
    scores = {n: {row["cell"]: row["tasks"][n]["score"] for row in rows} for n in names}
    found = [
        {
            "task": e.task, "factor": e.factor, "means": e.means, "share": round(e.share, 4),
            "p": e.p, "corrected": e.corrected, "exact": e.exact,
        }
        for e in effects(cells, scores)
    ]  # fmt: skip
    plot = root / f"{COMPARISON}.svg"
    return {
        "cells": rows,
        "effects": found,
        "pairs": _pairs(registry, outcome.artifacts[SCORES].path, plot),
        "plot": plot.name if plot.is_file() else "",
    }


def _seconds(root: Path, name: str) -> float | None:
    """What making the cell took, over all runs that worked on it, by their files."""
    rows = [
        json.loads(path.read_bytes()).get("steps", {}).get(name, {})
        for path in sorted((root / "runs").glob("*.json"))
    ]
    told = [float(row["seconds"]) for row in rows if row.get("seconds")]
    return round(sum(told), 1) if told else None


def _pairs(registry: Any, scores: Path, plot: Path) -> Any:
    """What ``yoriai eval compare`` says of all pairs, and its plot of scores with intervals."""
    import contextlib
    import io

    command = registry.load(registry.get("commands", "eval/compare"))
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        command.main(
            [str(scores), "--json", "--plot", str(plot)], prog_name="compare", standalone_mode=False
        )
    return json.loads(said.getvalue())


def _lines(loaded: Any, told: Mapping[str, Any]) -> Iterator[str]:
    """The comparison as Markdown."""
    tasks = list(told["cells"][0]["tasks"])
    yield f"# {loaded.name}\n"
    yield from _table(
        ("cell", *tasks, "last loss", "seconds"),
        [
            (
                row["cell"],
                *(_score(row["tasks"][task]) for task in tasks),
                f"{row.get('last_loss', _NAN):.3f}",
                "not known" if row["seconds"] is None else f"{row['seconds']:.0f}",
            )
            for row in told["cells"]
        ],
    )
    yield "\n## What each factor explains\n"
    yield from _table(
        ("task", "factor", "means", "share of variance", "p", "p, Holm"),
        [
            (
                e["task"],
                e["factor"],
                ", ".join(f"{label} {mean:.3f}" for label, mean in e["means"].items()),
                f"{e['share']:.1%}",
                f"{e['p']:.4f}" + ("" if e["exact"] else " (drawn)"),
                f"{e['corrected']:.4f}",
            )
            for e in told["effects"]
        ],
    )
    yield "\nPairs of cells, with corrected tests, are in comparison.json; scores in the plot."
    yield from _published(loaded.published)


_NAN = float("nan")


def _score(told: Mapping[str, Any]) -> str:
    if not told["interval"]:
        return f"{told['score']:.3f}"
    low, high = told["interval"]
    return f"{told['score']:.3f} ({low:.3f} to {high:.3f})"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    yield from ("| " + " | ".join(row) + " |" for row in rows)


def _published(told: Mapping[str, list[str]]) -> Iterator[str]:
    for name, lines in told.items():
        yield from (f"published, {name}: {line}" for line in lines)
