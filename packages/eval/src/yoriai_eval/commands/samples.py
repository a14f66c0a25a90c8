"""``yoriai eval …``."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import click

from yoriai import NotFound, console
from yoriai.artifact import Artifact, open_artifact
from yoriai.cli import Context
from yoriai.explaining import Hop, in_lines, parents, trace
from yoriai.files import digest_file
from yoriai_eval.scoring.sections import REASONS


@click.command(epilog="""\b
Examples:
  yoriai eval samples build/tour/scores@1
  yoriai eval samples build/tour/scores@1 --model tuned --task eval/ja-language --wrong
  yoriai eval samples build/tour/scores@1 --reason truncated --limit 3
  yoriai eval samples build/tour/scores@1 --limit 3 --trace build/tour/index@1
""")  # fmt: skip
@click.argument("scores", type=click.Path(path_type=Path))
@click.option("--model", default="", help="Only this model.")
@click.option("--task", default="", help="Only this task.")
@click.option("--wrong", is_flag=True, help="Only wrong answers.")
@click.option(
    "--reason",
    type=click.Choice(REASONS),
    help="Only answers with this outcome.",
)
@click.option("--limit", default=20, show_default=True, help="Most answers shown.")
@click.option(
    "--trace", "index", type=click.Path(path_type=Path), metavar="INDEX",
    help="Of each answer, which pieces stand in this index of a corpus, and which steps saw them.",
)  # fmt: skip
@console.json_option
@click.pass_obj
def samples(
    shared: Context, scores: Path, model: str, task: str, wrong: bool, reason: str, limit: int,
    index: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Show single answers of SCORES, each beside the right one.

    A run holds no questions and no right answers; they are read from the data sets again.
    """
    from yoriai_eval.scoring import rescoring
    from yoriai_eval.scoring.rows import SAMPLES, rows_of

    artifact = open_artifact(scores)
    if artifact.kind != "scores":
        raise NotFound(f"{scores} is a {artifact.kind}, this command reads scores")
    if (
        digest_file(artifact.file(SAMPLES, compare=False))
        != artifact.manifest["files"][SAMPLES]["sha256"]
    ):
        console.note(f"{SAMPLES} was changed since it was sealed: yoriai eval rescore {scores}")
    found = (
        row
        for row in rows_of(artifact, edited=True)
        if (not model or row["model"] == model)
        and (not task or task in (row["task"], row["task"].rpartition("/")[2]))
        and (not wrong or row.get("reason", "correct") != "correct")
        and (not reason or row.get("reason") == reason)
    )
    chosen = list(islice(found, limit))
    if not chosen:
        raise NotFound("no such answer", hint="leave out an option")
    for told in rescoring.add_questions(artifact, shared.registry, chosen):
        console.note(f"right answers: {told}")

    traced = _trace(artifact, index, chosen, shared) if index else []

    def text() -> str:
        return console.table(
            ("model", "task", "sample", "score", "outcome", "right answer", "output"),
            [
                (
                    row["model"],
                    row["task"],
                    row["id"],
                    row.get("score", f"{row.get('bits', 0) / max(1, row.get('bytes', 1)):.2f} b/B"),
                    row.get("reason", ""),
                    _line(row.get("gold", ""), 30),
                    _line(_said(row), 60),
                )
                for row in chosen
            ],
        ) + "".join(f"\n\n{name}\n" + "\n".join(in_lines(hops)) for name, hops in traced)

    console.emit({"samples": chosen}, as_json=as_json, text=text)


def _trace(
    scores: Artifact, index: Path, rows: list[dict[str, Any]], shared: Context
) -> list[tuple[str, list[Hop]]]:
    """The chains of answers, put into their rows; what was picked, not written, has none."""
    models = {a.step: a for _, _, a, _ in parents(scores) if a is not None and a.kind == "model"}
    searched, found = open_artifact(index), []
    for row in rows:
        if "output" not in row:
            continue
        hops = trace(row["output"], searched, shared.registry, of=models.get(row["model"]))
        row["trace"] = [hop.plain() for hop in hops]
        found.append((f"{row['model']} {row['task']} {row['id']}", hops))
    if len(found) < len(rows):
        console.note(
            f"{len(rows) - len(found):,} answers were picked, not written, and are not traced:"
            " yoriai explain follows what they picked"
        )
    return found


def _said(row: dict[str, Any]) -> str:
    """What the model said, and what a server or a limit made of it."""
    note = f"({row['note']})" if row.get("note") else ""
    return f"{row.get('output', '')} {note}".strip(" ") if note else str(row.get("output", ""))


def _line(text: str, most: int) -> str:
    return text.replace("\n", "⏎")[:most]
