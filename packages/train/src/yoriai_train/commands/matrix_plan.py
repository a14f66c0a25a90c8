"""What each cell of a matrix would need, from what is here: recipe, data, tokenizers, models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoriai import Artifact, NotFound, UsageError, YoriaiError, config, files
from yoriai_train.data.chat import ChatForm
from yoriai_train.data.examples import Counted, count_examples
from yoriai_train.plan.matrix import Matrix, MatrixCell
from yoriai_train.plan.plan import Assumptions, plan
from yoriai_train.plan.tuning import Rows, TuningPlan, trained_of
from yoriai_train.plan.words import duration, gib

if TYPE_CHECKING:
    from yoriai.recipe import Loaded, PlannedStep
    from yoriai.workspace import Decision

STATES = {
    "reuse": "made", "build": "to be made", "waits": "to be made", "absent": "not all is here",
    "refused": "changed under the same name",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CellPlan:
    """A cell, whether it is made, and its plan; ``why`` says what of it is not known."""

    cell: MatrixCell
    state: str
    plan: TuningPlan | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    """Steps of the recipe, what becomes of them, what they expect, and data counted so far."""

    steps: Mapping[str, PlannedStep]
    decided: Mapping[str, Decision]
    expected: Mapping[str, Mapping[str, Any]]
    counted: dict[str, Counted]


def plan_cells(
    matrix: Matrix, loaded: Loaded, decisions: Sequence[Decision], options: Mapping[str, Any]
) -> list[CellPlan]:
    """The plans of all cells, in the order in which they are run."""
    decided = {decision.step: decision for decision in decisions}
    steps = {planned.name: planned for planned in loaded.steps}
    there = {name: a for name in steps if (a := _made(name, decided)) is not None}
    known = _Known(steps, decided, loaded.expectations(there), {})
    found = []
    for cell in matrix.cells():
        state = STATES[decided[cell.name].action]
        if decided[cell.name].resumes:
            state = "to be resumed"
        try:
            made = _plan(matrix, steps[cell.name], known, options)
            found.append(CellPlan(cell, state, made))
        except YoriaiError as error:
            found.append(CellPlan(cell, state, None, error.message))
    return found


def _plan(
    matrix: Matrix,
    planned: PlannedStep,
    known: _Known,
    options: Mapping[str, Any],
) -> TuningPlan:
    step: Any = planned.step
    body, folder = _base(matrix, planned, known)
    keys = planned.config()
    strategy = keys["strategy"]
    price = options.get("yen_per_gpu_hour") or keys["watch"]["yen_per_gpu_hour"]
    nodes = int(options.get("nodes") or 1)
    machine = plan(
        {**keys, "model": body},
        vocabulary_size=int(body["vocab_size"]),
        gpus_per_node=int(options.get("gpus") or strategy.get("processes", 1)),
        nodes=nodes,
        gpu=str(options.get("gpu") or matrix.plan.gpu),
        assumptions=Assumptions(yen_per_gpu_hour=price or matrix.plan.yen_per_gpu_hour),
    )
    method = config.plain(step.method)
    pairs = step.preference is not None
    return TuningPlan(
        machine=machine,
        trained=trained_of(method, machine.shape),
        rows=_rows(planned, folder, machine.setup.sequence, known, pairs=pairs),
        epochs=step.epochs,
        pairs=pairs,
        mfu=options.get("mfu"),
    )


def _base(
    matrix: Matrix, planned: PlannedStep, known: _Known
) -> tuple[dict[str, Any], Path | None]:
    """Configuration of the model that is tuned, and its folder if it is here.

    Raises :class:`NotFound` where its shape is not known.
    """
    from yoriai_train.settings import preset
    from yoriai_train.settings.shapes import SHAPES
    from yoriai_train.settings.spec import read_config

    start = str(planned.config()["start"])
    if start and (Path(start) / "config.json").is_file():
        return read_config(Path(start), start), Path(start)
    if start and start in matrix.plan.shapes:
        name = matrix.plan.shapes[start]
        model = dict(preset.load(name)["model"])
        kind = SHAPES[str(model.pop("use"))]
        size = preset.about(name).vocabulary_size
        return kind(**model).transformers_config(size), None
    if start:
        raise NotFound(
            f"no model is in {start}", hint=f"plan.shapes: {{{start}: llm-jp-13b}} in the matrix"
        )
    for name in planned.inputs:
        made = _made(name, known.decided)
        if made is not None and made.kind == "model":
            return read_config(made.path, name), made.path
        before = known.steps.get(name)
        if before is not None and before.step.makes == "model":
            size = _vocabulary(before, known)
            shape: Any = before.step
            body: dict[str, Any] = shape.model.transformers_config(size)
            return body, None
    raise NotFound("which model is tuned is not known before the steps before it are made")


def _vocabulary(before: PlannedStep, known: _Known) -> int:
    """Pieces of the tokenizer that a step which pre-trains is given."""
    sizes = [known.expected.get(name, {}).get("vocabulary_size") for name in before.inputs]
    for name, size in zip(before.inputs, sizes, strict=True):
        made = _made(name, known.decided)
        if size or (made is not None and "vocabulary_size" in made.facts):
            return int(size or made.facts["vocabulary_size"])  # type: ignore[union-attr]
    raise NotFound(f"the vocabulary of {before.name} is not known before its tokenizer is made")


def _made(name: str, decided: Mapping[str, Decision]) -> Artifact | None:
    from yoriai.artifact import MANIFEST, open_artifact

    if name in decided:
        done = decided[name]
        return open_artifact(done.folder) if done.action == "reuse" else None
    return open_artifact(Path(name)) if (Path(name) / MANIFEST).is_file() else None


def _rows(
    planned: PlannedStep,
    folder: Path | None,
    context: int,
    known: _Known,
    *,
    pairs: bool,
) -> Rows:
    """What a cell is tuned on: its examples counted, and their tokens.

    With the base's tokenizer here, tokens follow from the first examples of each source, and so
    does which share of them is too long for the context; else a character is counted as a token,
    which is about the most that Japanese takes, and all fit.
    """
    step: Any = planned.step
    made = [_made(name, known.decided) for name in planned.inputs]
    counted = known.counted
    corpora = [artifact for artifact in made if artifact and artifact.kind == "corpus"]
    there, kept, tokens = 0, 0, 0.0
    for data in step.data:
        key = files.digest_json([config.describe(data), str(folder), context, step.learn, pairs])
        if key not in counted:
            form = ChatForm.read(folder) if folder else None
            given = data.examples(corpora, 0)
            counted[key] = count_examples(given, form, context, step.learn, pairs=pairs)
        there += counted[key].examples
        kept += counted[key].kept
        tokens += counted[key].tokens
    if not kept:
        raise UsageError(f"none of {there} examples fits into {context} tokens" if there
                         else "there are no examples")  # fmt: skip
    return Rows(kept, tokens, there - kept)


def rows_of(plans: Sequence[CellPlan], *, measured: Mapping[str, float | None]) -> list[tuple]:
    """A line for each cell: order, name, state, examples, steps, memory, time, money."""
    lines = []
    for number, one in enumerate(plans, 1):
        seconds = measured.get(one.cell.name)
        state = f"{one.state}, {duration(seconds)}" if seconds else one.state
        if one.plan is None:
            lines.append((number, one.cell.name, state, "", "", "", "", f"not known: {one.why}"))
            continue
        made = one.plan
        memory = gib(made.memory.peak_bytes)
        memory += "" if made.memory.peak_bytes <= made.machine.available_bytes else " TOO MUCH"
        money = _between(*(f"{yen:,.0f}" for yen in made.yen)) + " yen" if made.yen else "no price"
        time = _between(*map(duration, made.seconds))
        lines.append(
            (number, one.cell.name, state, _examples(made.rows), f"{made.steps:,}", memory, time,
             money)
        )  # fmt: skip
    return lines


def totals(plans: Sequence[CellPlan]) -> list[str]:
    """What all cells that are not made need together, and what it was planned on."""
    left = [one for one in plans if one.state != "made"]
    known = [one.plan for one in left if one.plan is not None]
    if not known:
        return []
    least, most = (sum(p.seconds[side] for p in known) for side in (0, 1))
    text = (
        f"{len(known)} to be made, one after the other: {_between(duration(least), duration(most))}"
    )
    priced = [p.yen for p in known if p.yen is not None]
    if priced:
        low, high = (sum(yen[side] for yen in priced) for side in (0, 1))
        text += f", {_between(f'{low:,.0f}', f'{high:,.0f}')} yen"
    longest = max(p.seconds[1] for p in known)
    share = f"at {known[0].mfu:.0%} of the peak" if known[0].mfu else "at 50 % and 20 % of the peak"
    return [
        f"{text}; all at once at most {duration(longest)}",
        f"on {known[0].machine.gpu.name}, {share}; rows are not padded here, start-up and scoring"
        " not counted",
    ]


def _examples(rows: Rows) -> str:
    left = f" of {rows.examples + rows.too_long:,}" if rows.too_long else ""
    return f"{rows.examples:,}{left}"


def _between(least: str, most: str) -> str:
    return least if least == most else f"{least} to {most}"
