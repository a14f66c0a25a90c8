"""``yoriai run``: a recipe from its first step to its last."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from yoriai import console
from yoriai.artifact import open_artifact
from yoriai.cli import Context
from yoriai.config import unknown_name
from yoriai.errors import UsageError, YoriaiError
from yoriai.redaction import Redactor, count_hidden, say_hidden


@click.command(epilog="""\b
Examples:
  yoriai run recipes/tour.yaml
  yoriai run recipes/tour.yaml --dry-run
  yoriai run recipes/tour.yaml --set base.steps=50 --set version=2
""")  # fmt: skip
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--set", "settings", multiple=True, metavar="STEP.KEY=VALUE", help="Change a key.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to work [build/RECIPE].")
@click.option("--dry-run", is_flag=True, help="Check everything and print the plan; run nothing.")
@click.option("--until", metavar="STEP", default="", help="Stop after this step.")
@click.option(
    "--only", metavar="STEP", default="", help="Make this step alone; what it needs must be made."
)
@click.option(
    "--allow-drift",
    metavar="REASON",
    default="",
    help="Replace results whose inputs changed; the reason is stored with them.",
)
@click.option(
    "--time-limit", metavar="MINUTES", type=console.Finite(0, 10**6),
    default=0.0, help="End in good order.",
)  # fmt: skip
@console.json_option
@click.pass_obj
def run(
    shared: Context,
    recipe: Path,
    settings: tuple[str, ...],
    out: Path | None,
    dry_run: bool,
    until: str,
    only: str,
    allow_drift: str,
    time_limit: float,
    as_json: bool,
) -> None:
    """Run RECIPE. What is already sealed is used again; interrupt and start again at will."""
    from yoriai import runner
    from yoriai.recipe import load_recipe
    from yoriai.workspace import Workspace

    loaded = load_recipe(recipe, shared.registry, settings)
    names = [step.name for step in loaded.steps]
    for name in (until, only):
        if name and name not in names:
            raise unknown_name(name, names, "step")
    if until and only:
        raise UsageError("--until and --only cannot both be given", hint=f"yoriai run {recipe} -h")
    root = out or Path("build") / loaded.recipe.name
    if dry_run:
        decisions = Workspace(root, loaded, Redactor()).decide_all()
        _show_plan(loaded, decisions, root, as_json)
        return
    _tell_near(loaded, recipe)
    options = runner.Options(
        allow_drift=allow_drift,
        until=until,
        only=only,
        time_limit_minutes=time_limit,
        argv=sys.argv[1:],
        watch=console.watch,
        announce=console.note,
    )
    try:
        outcome = runner.run_recipe(loaded, shared.registry, root, options)
    except KeyboardInterrupt:
        again = " ".join(["yoriai", *Redactor().words(sys.argv[1:])])
        console.note(f"\nstopped; everything finished is kept. To go on:\n  {again}")
        raise
    except YoriaiError:
        raise
    _finish(outcome, shared.registry, root, as_json, complete=not only and until in ("", names[-1]))


def _tell_near(loaded: Any, recipe: Path) -> None:
    """Past records of runs like this one, before anything is spent; nothing is fetched."""
    from yoriai.record_search import list_near, tell_near

    places = [folder / "records" for folder in (Path(), *recipe.resolve().parents[:2])]
    root = next((place for place in places if place.is_dir()), None)
    if root is not None:
        for line in tell_near(list_near(root, loaded.resolved())):
            console.note(line)


def _show_plan(loaded: Any, decisions: list[Any], root: Path, as_json: bool) -> None:
    redactor = Redactor()
    resolved = redactor.value(loaded.resolved())
    words = {
        "reuse": "use again",
        "build": "run",
        "waits": "run (after the steps before it)",
        "refused": "REFUSED: changed under the same name",
        "absent": "cannot run: its data is not here",
    }
    made = {d.step: open_artifact(d.folder) for d in decisions if d.action == "reuse"}
    expected = loaded.expectations(made)
    value = {
        "recipe": loaded.recipe.name,
        "version": loaded.recipe.version,
        "folder": str(root),
        "resolved": resolved,
        "hidden": count_hidden(resolved, "resolved"),
        "plan": [
            {
                "step": d.step,
                "uses": d.entry,
                "action": d.action,
                "resumes": d.resumes,
                "reasons": list(d.reasons),
                "expects": redactor.value(expected[d.step]),
            }
            for d in decisions
        ],
    }

    def text() -> str:
        rows = []
        for d in decisions:
            action = "resume" if d.resumes else words[d.action]
            rows.append((d.step, d.entry, action))
            rows += [("", "", f"  {redactor.text(reason)}") for reason in d.reasons]
            if d.action != "reuse":
                lines = _expectations(redactor.value(expected[d.step]))
                rows += [("", "", f"  {line}") for line in lines]
        return f"{root}\n" + console.table(("step", "uses", "what would happen"), rows)

    if told := say_hidden(value["hidden"], "the plan"):
        console.note(told)
    console.emit(value, as_json=as_json, text=text)


def _expectations(expected: Mapping[str, Any]) -> Iterator[str]:
    """Lines such as ``tokens: 1,000``; a list or mapping has a line for each item.

    Mappings in a list are what steps tell one another; ``--json`` shows them.
    """
    for key, value in expected.items():
        name = key.replace("_", " ")
        if isinstance(value, Mapping):
            yield from (f"{name}: {inner} {_amount(item)}" for inner, item in value.items())
        elif isinstance(value, list):
            told = (item for item in value if not isinstance(item, Mapping))
            yield from (f"{name}: {_amount(item)}" for item in told)
        else:
            yield f"{name}: {_amount(value)}"


def _amount(value: Any) -> str:
    if isinstance(value, float):
        if 0 < abs(value) < 100:  # three significant digits: a small number is not 0.0
            return f"{value:.3g}"
        return f"{value:,.1f}" if abs(value) < 1e15 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _finish(outcome: Any, registry: Any, root: Path, as_json: bool, *, complete: bool) -> None:
    """Write the page and the draft of a record, and print what came of the run."""
    from yoriai import page
    from yoriai.prediction import judge
    from yoriai.record_draft import draft_record

    redactor = Redactor()
    run_value = redactor.value(outcome.run)
    facts = {name: a.facts for name, a in outcome.artifacts.items()}
    judged = judge(run_value["resolved"], facts)
    sections = page.collect_sections(registry, outcome.artifacts, redactor)
    page_path = page.write_page(root / "page", run_value, outcome.artifacts, sections, judged)
    record_path = draft_record(root / "record", run_value, judged) if complete else None
    value = {
        "run": run_value["id"],
        "state": run_value["state"],
        "steps": run_value["steps"],
        "facts": facts,
        "predictions": judged["predictions"],
        "verdict": judged["verdict"],
        "page": str(page_path),
        "record": str(record_path or ""),
    }

    def text() -> str:
        lines = [""]
        for name, artifact in outcome.artifacts.items():
            row = run_value["steps"].get(name, {})
            seconds = f"{row['seconds']:.0f} s" if "seconds" in row else row.get("state", "")
            lines.append(f"{name}  ({artifact.manifest['step']}, {seconds})")
            lines += [f"    {line}" for line in artifact.facts.get("headline", [])]
        if judged["predictions"] and complete:
            lines += ["", f"predictions: {judged['verdict']}"]
            lines += [
                f"    {p['verdict']:13}{p['text']}  (measured {_number(p['measured'])})"
                for p in judged["predictions"]
            ]
        lines += ["", f"everything is in {root}/", f"open   {page_path}"]
        if record_path:
            lines.append(f"record {record_path}  (write down what you learned)")
        lines.append(f"check  yoriai verify {root}")
        return "\n".join(lines)

    console.emit(value, as_json=as_json, text=text)


def _number(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.4g}"
