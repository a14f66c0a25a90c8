"""``yoriai eval compare``: can the scores of models be told apart?"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from yoriai import Artifact, NotFound, UsageError, console
from yoriai.artifact import open_artifact

if TYPE_CHECKING:
    from yoriai_eval.comparison.compare import Standing
    from yoriai_eval.comparison.contestants import Contestant
    from yoriai_eval.comparison.pair import Comparison


@click.command(epilog="""\b
Examples:
  yoriai eval compare build/tour/scores@1
  yoriai eval compare build/a/scores@1:base build/b/scores@1:base --task jnli
  yoriai eval compare build/a/scores@1 build/b/scores@1 --correct bh --plot scores.svg
""")  # fmt: skip
@click.argument("scores", nargs=-1, required=True, metavar="SCORES[:MODEL]...")
@click.option("--task", default="", help="Only this task.")
@click.option("--metric", default="", help="This metric instead of each task's own.")
@click.option("--common", is_flag=True, help="Compare the samples in common, whatever differs.")
@click.option(
    "--correct",
    type=click.Choice(["holm", "bh"]),
    default="holm",
    show_default=True,
    help="For all tests made: Holm (any false finding) or Benjamini-Hochberg (their share).",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the scores with their intervals (.svg, .png or .pdf).",
)
@console.json_option
def compare(
    scores: tuple[str, ...],
    task: str,
    metric: str,
    common: bool,
    correct: Literal["holm", "bh"],
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compare models on the samples they both answered: what is better, what cannot be told.

    Each SCORES is a scores artifact; of several models in it, all are compared unless one is named.
    """
    from yoriai.plugins import load_registry
    from yoriai_eval.comparison import compare as comparison
    from yoriai_eval.comparison.contestants import contestants
    from yoriai_eval.scoring import rescoring

    people = contestants([_chosen(text) for text in scores])
    registry = load_registry()
    found = comparison.compare(
        people,
        task=task,
        metric=metric,
        common=common,
        correct=correct,
        golds=lambda artifact, name, form: rescoring.golds(artifact, registry, name, form),
    )
    order = comparison.standings(found)
    if plot is not None:
        _draw(plot, people, {made.task for made in found}, order)
    told = {
        "comparisons": [made.as_json() for made in found],
        "tests": sum(made.p is not None for made in found),
        "correction": correct,
        "level": comparison.ALPHA,
        "standings": {
            name: [
                {"model": s.name, "score": round(s.score, 4), "ranks": [s.best, s.worst],
                 "letters": s.letters}
                for s in standing
            ]
            for name, standing in order.items()
        },
    }  # fmt: skip
    console.emit(told, as_json=as_json, text=partial(_text, found, order, correct))


def _chosen(text: str) -> tuple[Artifact, str]:
    """A scores artifact, and the model named behind it or ""."""
    if Path(text).exists():
        return open_artifact(Path(text)), ""
    path, colon, model = text.rpartition(":")
    if colon and Path(path).exists():
        return open_artifact(Path(path)), model
    return open_artifact(Path(text)), ""


def _text(found: Sequence[Comparison], order: dict[str, list[Standing]], correct: str) -> str:
    lines = []
    if rows := [_line(made) for made in found if made.p is not None]:
        columns = ("task", "metric", "models", "scores", "difference (95 %)", "p", "corrected")
        lines.append(console.table((*columns, "verdict"), rows))
    for made in found:
        said = f"{made.task}: {made.first} and {made.second}"
        if made.p is None:
            lines.append(f"{said}: {made.verdict}")
        elif made.notes:
            lines.append(f"{said}: {'; '.join(made.notes)}")
    if any(made.otherwise for made in found):
        lines.append("To compare the samples in common all the same: --common")
    for task, standing in order.items():
        if len(standing) > 2:
            places = [(s.name, f"{s.score:.4f}", _ranks(s), s.letters) for s in standing]
            lines.append(f"\n{task}: models that share a letter are not separated")
            lines.append(console.table(("model", "score", "rank", "letters"), places))
    tests = sum(made.p is not None for made in found)
    names = {"holm": "Holm", "bh": "Benjamini and Hochberg"}
    if tests > 1:
        lines.append(f"\n{tests} tests; p corrected by {names[correct]}. Each interval is of one.")
    return "\n".join(lines)


def _line(made: Comparison) -> tuple[Any, ...]:
    low, high = made.interval
    return (
        made.task,
        made.metric,
        f"{made.first} – {made.second}",
        f"{made.scores[0]:.4f} – {made.scores[1]:.4f}",
        f"{made.difference:+.4f} ({low:+.4f} to {high:+.4f})",
        f"{made.p:.3g} ({made.test})",
        f"{made.corrected:.3g}",
        made.verdict,
    )


def _ranks(standing: Standing) -> str:
    if standing.best == standing.worst:
        return str(standing.best)
    return f"{standing.best} to {standing.worst}"


def _draw(
    path: Path, people: Sequence[Contestant], tasks: set[str], order: dict[str, list[Standing]]
) -> None:
    """Scores with their 95 % intervals, a panel for each task, as one figure."""
    if path.suffix not in (".svg", ".png", ".pdf"):
        raise UsageError(f"no picture is called {path.name}", hint="end it in .svg, .png or .pdf")
    try:
        import matplotlib
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise NotFound("--plot needs matplotlib", hint="pip install 'yoriai-core[page]'") from error
    import io
    import warnings

    from yoriai import files
    from yoriai.figure import COLOURS

    panels = _panels(people, tasks)
    if not panels:
        raise NotFound("there is no task to draw", hint="leave out --plot")
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "yoriai",
        "text.parse_math": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        heights = [0.7 + 0.28 * len(rows) for rows in panels.values()]
        canvas = Canvas(figsize=(7.4, sum(heights) + 0.3), layout="constrained")
        grid = canvas.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
        for axes, ((task, metric), rows) in zip(grid[:, 0], panels.items(), strict=True):
            marks = {s.name: s.letters for s in order.get(task, ())}
            for place, (name, score, low, high) in enumerate(rows):
                colour = COLOURS[[p.name for p in people].index(name) % len(COLOURS)]
                # A score may lie outside its interval by rounding only.
                ends = [[max(0.0, score - low)], [max(0.0, high - score)]]
                axes.errorbar([score], [place], xerr=ends, fmt="o", color=colour, capsize=3)
            names = [f"{name} {marks.get(name, '')}".rstrip() for name, *_ in rows]
            axes.set_yticks(range(len(rows)), names)
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.set_title(f"{task} ({metric})", loc="left", fontsize=10)
            axes.grid(axis="x", alpha=0.3)
        stream = io.BytesIO()
        kind = path.suffix[1:]
        metadata = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
        canvas.savefig(stream, format=kind, metadata=metadata.get(kind))
    files.write_atomically(path, stream.getvalue())


def _panels(
    people: Sequence[Contestant], tasks: set[str]
) -> dict[tuple[str, str], list[tuple[str, float, float, float]]]:
    """(model, score, low, high) by (task, metric), as the scores have them."""
    from yoriai_eval.scoring.rows import scored

    panels: dict[tuple[str, str], list[tuple[str, float, float, float]]] = {}
    for person in people:
        for task, told in scored(person.scores.facts)[person.model].get("tasks", {}).items():
            if task in tasks:
                panel = panels.setdefault((task, told["metric"]), [])
                panel.append((person.name, told["score"], *told["interval"]))
    return panels
