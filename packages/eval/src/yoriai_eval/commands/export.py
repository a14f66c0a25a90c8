"""``yoriai eval export``: scores as other tools' logs."""

from __future__ import annotations

from pathlib import Path

import click

from yoriai import NotFound, UsageError, console
from yoriai.artifact import open_artifact


@click.command(epilog="""\b
Examples:
  yoriai eval export build/tour/scores@1 --format lm-eval logs/lm-eval
  yoriai eval export build/tour/scores@1 --format inspect logs && inspect view --log-dir logs
  yoriai eval export build/tour/scores@1 --format wandb mirror && wandb sync mirror/wandb/offline-*
""")  # fmt: skip
@click.argument("scores", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["lm-eval", "inspect", "wandb"]),
    required=True,
    help="Whose logs.",
)
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@console.json_option
def export(scores: Path, form: str, out: Path, as_json: bool) -> None:
    """Write SCORES into the folder OUT as another tool's logs.

    Prompts and right answers come from the data sets, which have to be here (yoriai eval data);
    for wandb they are left out.
    """
    from yoriai.plugins import load_registry
    from yoriai.registry import is_installed
    from yoriai_eval.report import inspect_log, lm_eval_log, wandb_log
    from yoriai_eval.scoring import rescoring

    artifact = open_artifact(scores)
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty", hint="name a new folder")
    if form == "wandb" and not is_installed("wandb"):
        raise NotFound("the format wandb needs wandb", hint="pip install 'yoriai-eval[wandb]'")
    if form == "wandb":
        written = wandb_log.write(artifact, out)
    else:
        asked = rescoring.questions(artifact, load_registry())
        for note in asked.notes:
            console.note(note)
        write = lm_eval_log.write if form == "lm-eval" else inspect_log.write
        written = write(artifact, asked, out)
    console.emit(
        {"format": form, "files": [str(path) for path in written]},
        as_json=as_json,
        text=lambda: "\n".join(map(str, written)),
    )
