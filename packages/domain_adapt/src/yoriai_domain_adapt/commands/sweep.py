"""``yoriai domain-adapt sweep``: one recipe into one that tries several shares of replay."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import click

from yoriai import UsageError, console, files


@click.command(epilog="""\b
Examples:
  yoriai domain-adapt sweep recipes/tour.yaml --mix mix --shares 0,0.2,0.4,0.7 --out sweep.yaml
  yoriai run sweep.yaml --dry-run
""")  # fmt: skip
@click.argument("recipe", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--mix", "mix", required=True, help="The step of domain-adapt/mix that is varied.")
@click.option("--shares", required=True, help="Shares of general text, e.g. 0,0.1,0.3,0.6.")
@click.option(
    "--predicted", type=console.Finite(0, 1), help="The share that you expect to be best."
)
@click.option("--out", "target", type=click.Path(path_type=Path), required=True, help="Where to.")
@console.json_option
def sweep(
    recipe: Path, mix: str, shares: str, predicted: float | None, target: Path, as_json: bool
) -> None:
    """Write a recipe with the steps after MIX once for each share, and their comparison.

    Steps that do not depend on the mix stand as they are; eval/run asks every variant, and
    domain-adapt/compare draws the forgetting curve.
    """
    import yaml

    from yoriai.recipe import read_yaml

    try:
        values = [float(word) for word in shares.split(",")]
    except ValueError as error:
        raise UsageError(f"--shares {shares!r} is no list of numbers", hint="0,0.2,0.5") from error
    if bad := [value for value in values if not 0 <= value < 1]:
        raise UsageError(f"a share is at least 0 and below 1, not {bad[0]:g}")
    labels = [round(value * 100) for value in values]
    if len(set(labels)) < len(labels):
        raise UsageError(
            f"--shares {shares} names one share twice, in whole percents", hint="0,0.2,0.5"
        )
    if target.exists():
        raise UsageError(f"{target} exists already", hint="choose another --out")
    told, _ = read_yaml(recipe)
    _check_form(told, recipe)
    made = expand(told, mix, values, predicted)
    text = yaml.safe_dump(made, sort_keys=False, allow_unicode=True, width=100)
    files.write_atomically(target, text.encode())
    names = list(made["steps"])
    console.emit(
        {"recipe": str(target), "steps": names},
        as_json=as_json,
        text=lambda: f"{target}: {len(names)} steps, {len(values)} shares\nyoriai run {target}",
    )


def _check_form(recipe: dict[str, Any], path: Path) -> None:
    """Raise :class:`yoriai.UsageError` where steps are not what :func:`expand` takes apart."""
    steps = recipe.get("steps")
    if not (isinstance(steps, dict) and isinstance(recipe.get("name"), str)):
        raise UsageError(f"{path}: a recipe is a mapping with name and steps")
    for name, step in steps.items():
        given = step.get("from", []) if isinstance(step, dict) else None
        texts = [given] if isinstance(given, str) else given
        if not (
            isinstance(name, str)
            and isinstance(texts, list)
            and all(isinstance(text, str) for text in texts)
            and isinstance(step.get("uses"), str)
        ):
            raise UsageError(
                f"{path}: step {str(name)[:60]!r} is not as a step is written",
                hint=f"yoriai run {path} --dry-run",
            )


def expand(
    recipe: dict[str, Any], mix: str, shares: list[float], predicted: float | None
) -> dict[str, Any]:
    """The recipe with a copy of every training that depends on ``mix`` for each share."""
    steps: dict[str, Any] = recipe.get("steps") or {}
    used = str((steps.get(mix) or {}).get("use", (steps.get(mix) or {}).get("uses", "")))
    if used not in ("domain-adapt/mix", "domain-adapt/replay"):
        raise UsageError(
            f"{mix!r} is no step of domain-adapt/mix in this recipe",
            hint=f"the steps are {', '.join(steps)}",
        )
    varied = {mix}
    for name, step in steps.items():
        if varied & set(_from(step)) and step["uses"] not in ("eval/run", "domain-adapt/compare"):
            varied.add(name)
    result = {**copy.deepcopy(recipe), "name": f"{recipe['name']}-sweep", "steps": {}}
    variants: dict[str, float] = {}
    for name, step in steps.items():
        if step["uses"] == "domain-adapt/compare":
            continue
        if name not in varied:
            new = copy.deepcopy(step)
            if varied & set(_from(new)):
                kept = [n for n in _from(new) if n not in varied]
                new["from"] = kept + [n for n in variants if n not in kept]
            result["steps"][name] = new
            continue
        for share in shares:
            label = f"{name}-{round(share * 100):03d}"
            new = copy.deepcopy(step)
            new["from"] = [
                f"{n}-{round(share * 100):03d}" if n in varied else n for n in _from(step)
            ]
            if name == mix:
                new["share"] = share
            elif step["uses"] == "train/pretrain":
                variants[label] = share
            result["steps"][label] = new
    asked = [n for n, s in result["steps"].items() if s["uses"] == "eval/run" and "from" in s]
    # The base is what the varied trainings go on from and the scores asked, too: a step or a path.
    started = {n for v in varied if steps[v]["uses"] == "train/pretrain" for n in _from(steps[v])}
    base = [n for n in _from(result["steps"][asked[-1]]) if n in started - varied] if asked else []
    if not (variants and base):
        raise UsageError(
            "there would be no curve: no eval/run asks both the model that training goes on from"
            " and what comes of it",
            hint="name both under 'from' of an eval/run step, e.g. from: [base, adapted, text]",
        )
    result["steps"]["curve"] = {
        "uses": "domain-adapt/compare", "from": [base[0], *variants, asked[-1]],
        "shares": variants, **({"predicted": predicted} if predicted is not None else {}),
    }  # fmt: skip
    result.pop("question", None)
    return result


def _from(step: dict[str, Any]) -> list[str]:
    given = step.get("from", [])
    return [given] if isinstance(given, str) else list(given)
