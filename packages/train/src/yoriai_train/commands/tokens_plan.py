"""``yoriai tokens plan``: what a model will see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from yoriai import Artifact, NotFound, UsageError, console
from yoriai.artifact import MANIFEST, open_artifact
from yoriai.cli import Context
from yoriai.mixture import EPOCHS_WORTH_NEW_TEXT, Phase

DEFAULT_CONTEXT = 2048

folder = click.Path(path_type=Path)
count = click.IntRange(1, 10**15)


@click.command(epilog="""\b
Examples:
  yoriai tokens plan recipes/tour.yaml
  yoriai tokens plan recipes/tour.yaml --set base.steps=2000
  yoriai tokens plan build/tour/shards@1 --context 128 --batch 16 --steps 480
  yoriai tokens plan build/tour/shards@1 --tokens 2000000 --json
""")  # fmt: skip
@click.argument("place", type=folder, metavar="RECIPE|TOKENS")
@click.option("--context", type=count, help="Tokens a window holds [recipe's, or 2048].")
@click.option("--batch", type=count, help="Sequences in an optimizer step [recipe's].")
@click.option("--steps", type=count, help="Optimizer steps [recipe's].")
@click.option("--tokens", type=count, help="Length in tokens, instead of steps and batch.")
@click.option(
    "--set", "settings", multiple=True, metavar="STEP.KEY=VALUE", help="Change a key of the recipe."
)
@click.option("--out", type=folder, help="Where the recipe works [build/RECIPE].")
@console.json_option
@click.pass_obj
def plan(
    shared: Context,
    place: Path,
    context: int | None,
    batch: int | None,
    steps: int | None,
    tokens: int | None,
    settings: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Say how many tokens of each shard a training sees in each phase, and how often.

    Of a recipe all its pre-training steps are planned. Shards that are not made yet are planned by
    the recipe's weights and budgets; what they will hold is estimated where that can be. Without
    a length all phases are planned, or as many tokens as there are if the last phase has no end.
    """
    if tokens and (steps or batch):
        raise UsageError("give either --tokens, or --steps and --batch")
    plans = []
    for name, tokens_of, told in _trainings(shared, place, out, settings):
        chosen = context or told.get("context") or DEFAULT_CONTEXT
        per_step = batch or told.get("batch")
        number = steps or told.get("steps")
        if bool(per_step) != bool(number) and not tokens:
            raise UsageError("--steps needs --batch, and the other way round")
        length = None if tokens or not (per_step and number) else int(per_step) * int(number)
        if tokens:
            length = max(1, tokens // chosen)
        if isinstance(tokens_of, Artifact):
            found = _plan(tokens_of, chosen, length, told.get("seed", 0))
        else:
            found = _suppose(tokens_of, chosen, length)
        plans.append({"training": name, **found})

    console.emit({"plans": plans}, as_json=as_json, text=lambda: "\n\n".join(map(_drawn, plans)))


class Unmade(NamedTuple):
    """Tokens that a recipe will make: their phases, and what their shards will hold if known."""

    step: str
    phases: Sequence[Phase]
    held: Mapping[str, int]
    counted: bool
    hint: str


def _trainings(
    shared: Context, place: Path, out: Path | None, settings: Sequence[str]
) -> Iterator[tuple[str, Artifact | Unmade, dict[str, Any]]]:
    """What to plan: a name, the tokens, and what the recipe says of batch, steps and context."""
    if (place / MANIFEST).is_file():
        artifact = open_artifact(place)
        if artifact.kind != "tokens":
            raise NotFound(f"{place} is a {artifact.kind}, not tokens")
        yield artifact.name, artifact, {}
        return
    from yoriai.recipe import load_recipe
    from yoriai.redaction import Redactor
    from yoriai.workspace import Workspace
    from yoriai_train.steps.pretrain import Pretrain

    loaded = load_recipe(place, shared.registry, settings)
    decisions = Workspace(
        out or Path("build") / loaded.recipe.name, loaded, Redactor()
    ).decide_all()
    made = {d.step: open_artifact(d.folder) for d in decisions if (d.folder / MANIFEST).is_file()}
    drifted = {d.step for d in decisions if d.action != "reuse"}
    steps = {planned.name: planned.step for planned in loaded.steps}
    expected = loaded.expectations({n: a for n, a in made.items() if n not in drifted})
    found = False
    for planned in loaded.steps:
        if not isinstance(planned.step, Pretrain):
            continue
        found = True
        step = planned.step
        told = {"batch": step.batch * step.accumulate, "steps": step.steps}
        told["seed"] = loaded.recipe.seed
        inputs = {
            name: made.get(name) or (None if name in steps else open_artifact(Path(name)))
            for name in planned.inputs
        }
        for name in drifted & {n for n, a in inputs.items() if a and a.kind == "tokens"}:
            console.note(f"note: {name} would be made again; the plan is of what is there now")
        told["context"] = step.length or _context(step, inputs, steps, expected)
        [source] = [n for n, a in inputs.items() if (a.kind if a else steps[n].makes) == "tokens"]
        tokens = inputs[source] or _unmade(source, expected[source], place)
        if tokens is None:
            raise NotFound(
                f"{planned.name} needs {source!r}, which is not made yet: what it will hold is"
                " not known",
                hint=f"yoriai run {place} --until {source}",
            )
        yield planned.name, tokens, told
    if not found:
        raise NotFound(f"{place} has no step that pre-trains (train/pretrain)")


def _context(
    step: Any,
    inputs: Mapping[str, Artifact | None],
    steps: Mapping[str, Any],
    expected: Mapping[str, Mapping[str, Any]],
) -> Any:
    """Tokens a window of a training holds: those of the model it starts from, or its own."""
    from yoriai_train.settings.spec import read_config

    for name, artifact in inputs.items():
        if artifact is not None and artifact.kind == "model":
            return read_config(artifact.path, artifact.name)["context"]
        if artifact is None and steps[name].makes == "model" and "context" in expected[name]:
            return expected[name]["context"]
    return step.model.context


def _unmade(name: str, expected: Mapping[str, Any], recipe: Path) -> Unmade | None:
    """What a step that makes tokens says of them; None if it says nothing of what is drawn."""
    held = expected.get("tokens_held", {})
    phases = [Phase.model_validate(phase) for phase in expected.get("phases", ())]
    if not phases and held:
        phases = [Phase(name="all", weights={n: float(count) for n, count in held.items()})]
    if not phases:
        return None
    counted = bool(held) and "give_or_take_percent" not in expected
    return Unmade(name, phases, held, counted, f"yoriai run {recipe} --until {name}")


def _plan(artifact: Artifact, context: int, samples: int | None, seed: int) -> dict[str, Any]:
    from yoriai_train.data.windows import Samples

    seen = Samples(artifact.path, context, seed)
    mixture, order, windows = seen.windows.mixture, seen.order, seen.windows.counts
    if samples is None:
        every = sum(shard.tokens for shard in mixture.shards.values())
        samples = order.samples if mixture.length is not None else max(1, every // context)
    refused, warnings = "", []
    try:
        seen.check_length(samples)
    except UsageError as error:
        refused = error.message
    stop = min(samples, order.samples)
    so_far, phases = dict.fromkeys(order.names, 0), []
    for span in order.phases:
        end = min(stop, span.first + span.samples)
        if end <= span.first:
            continue
        rows = []
        for name, drawn in zip(order.names, order.counts(end, span.first).tolist(), strict=True):
            if name not in span.shares:
                continue
            so_far[name] += drawn
            epochs = so_far[name] / windows[name]
            rows.append(
                {
                    "shard": name,
                    "share": float(span.shares[name]),
                    "tokens": drawn * context,
                    "of": mixture.shards[name].tokens,
                    "epochs": round(drawn / windows[name], 4),
                    "epochs_so_far": round(epochs, 4),
                }
            )
            warnings += _repeats(name, epochs, span.name)
        told = {"phase": span.name, "first_sample": span.first, "samples": end - span.first}
        phases.append({**told, "tokens": (end - span.first) * context, "shards": rows})
    left = [name for name in order.names if not so_far[name] and mixture.shards[name].tokens]
    warnings += [f"{name!r} is never seen" for name in left]
    return {
        "artifact": artifact.name,
        "made": True,
        "context": context,
        "samples": stop,
        "tokens": stop * context,
        "phases": phases,
        "warnings": warnings,
        "refused": refused,
    }


def _suppose(tokens: Unmade, context: int, samples: int | None) -> dict[str, Any]:
    """The plan of tokens that are not there, by the exact shares of the recipe."""
    lengths = [phase.length for phase in tokens.phases]
    provided = None if None in lengths else sum(length or 0 for length in lengths)
    if samples is None:
        samples = max(1, (provided or sum(tokens.held.values())) // context)
    left = samples * context
    refused = ""
    if provided is not None and left > provided:
        refused = (
            f"training asks for {left:,} tokens, the phases of the mixture end after {provided:,}"
        )
        left = provided
    total, so_far, phases, warnings = left, dict.fromkeys(tokens.held, 0.0), [], []
    for phase, length in zip(tokens.phases, lengths, strict=True):
        size = left if length is None else min(left, length)
        first, left = (total - left) // context, left - size
        rows = []
        for name, share in phase.shares().items() if size else ():
            seen, held = float(share * size), tokens.held.get(name)
            so_far[name] = so_far.get(name, 0.0) + seen
            epochs = so_far[name] / held if held else None
            cap = phase.max_epochs.get(name, 1.0 if phase.budgets else None)
            rows.append(
                {
                    "shard": name,
                    "share": float(share),
                    "tokens": round(seen),
                    "of": held,
                    "epochs": round(seen / held, 4) if held else None,
                    "epochs_so_far": round(epochs, 4) if epochs is not None else None,
                }
            )
            if epochs is not None and cap is not None and epochs > cap * (1 + 1e-6):
                about = "" if tokens.counted else "by an estimate, "
                warnings.append(
                    f"{about}{name!r} would be seen {epochs:.3g} times by the end of"
                    f" {phase.name!r}, allowed {cap:g}"
                )
            warnings += _repeats(name, epochs, phase.name)
        if rows:
            told = {"phase": phase.name, "first_sample": first, "samples": size // context}
            phases.append({**told, "tokens": size, "shards": rows})
    return {
        "artifact": f"{tokens.step}, which is not made yet",
        "made": False,
        "context": context,
        "samples": total // context,
        "tokens": total,
        "phases": phases,
        "warnings": warnings,
        "refused": refused,
        "hint": tokens.hint,
    }


def _repeats(name: str, epochs: float | None, phase: str) -> list[str]:
    if epochs is None or epochs <= EPOCHS_WORTH_NEW_TEXT:
        return []
    return [
        f"{name!r} is seen {epochs:.1f} times by the end of {phase!r}: beyond"
        f" {EPOCHS_WORTH_NEW_TEXT} epochs repeated text teaches less and less"
        " (arXiv 2305.16264)"
    ]


def _drawn(value: Mapping[str, Any]) -> str:
    def shown(number: float | None, form: str) -> str:
        return "?" if number is None else format(number, form)

    rows = [
        (
            phase["phase"], row["shard"], f"{row['share']:.2%}", f"{row['tokens']:,}",
            shown(row["of"], ","), shown(row["epochs"], ".3g"), shown(row["epochs_so_far"], ".3g"),
        )
        for phase in value["phases"]
        for row in phase["shards"]
    ]  # fmt: skip
    columns = ("phase", "shard", "share", "tokens seen", "of", "epochs", "so far")
    head = (
        f"{value['training']}: {value['tokens']:,} tokens in {value['samples']:,} windows of"
        f" {value['context']:,} from {value['artifact']}"
    )
    lines = [head, console.table(columns, rows)]
    lines += [f"warning: {text}" for text in value["warnings"]]
    if value["refused"]:
        lines.append(f"training will be refused: {value['refused']}")
    if not value["made"]:
        lines.append(f"exact numbers after: {value['hint']}")
    return "\n".join(lines)
