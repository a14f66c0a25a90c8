"""``yoriai eval rescore``: are sealed scores what their answers give?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yoriai import YoriaiError, console
from yoriai.artifact import open_artifact, verify

SHOWN = 20  # differences printed one by one; --json has all


@click.command(epilog="""\b
Examples:
  yoriai eval rescore build/tour/scores@1
  yoriai eval rescore build/tour/scores@1 --json
""")  # fmt: skip
@click.argument("scores", type=click.Path(path_type=Path))
@console.json_option
def rescore(scores: Path, as_json: bool) -> None:
    """Score the answers in SCORES anew and say what differs from what was sealed.

    No model is asked. The exit code is 1 if a byte or a score differs.
    """
    from yoriai.plugins import load_registry
    from yoriai_eval.scoring import rescoring

    artifact = open_artifact(scores)
    findings = verify(scores)[1]
    asked = rescoring.questions(artifact, load_registry())
    try:
        differences = list(rescoring.rescore(artifact, asked))
    except YoriaiError as error:  # what is not as it was sealed may be why
        said = [f"{f.file} {f.problem}" for f in findings]
        raise YoriaiError("\n".join([*said, error.message]), hint=error.hint) from error
    told = {
        "as_sealed": not findings and not differences,
        "files": [{"file": f.file, "problem": f.problem} for f in findings],
        "notes": list(asked.notes),
        "differences": [
            {"model": d.model, "task": d.task, "id": d.id, "field": d.field,
             "found": d.found, "expected": d.expected}
            for d in differences
        ],
    }  # fmt: skip

    def text() -> str:
        lines = [f"{f.file} {f.problem}" for f in findings]
        lines += asked.notes
        lines += [
            f"{d.model} on {d.task}{f', {d.id}' if d.id else ''}: {d.field} is "
            f"{_short(d.found)}, the answers give {_short(d.expected)}"
            for d in differences[:SHOWN]
        ]
        if len(differences) > SHOWN:
            lines.append(f"… and {len(differences) - SHOWN} more (--json has all)")
        if told["as_sealed"]:
            lines.append(f"{artifact.name} is as it was sealed, and its answers give its scores")
        return "\n".join(lines)

    console.emit(told, as_json=as_json, text=text)
    if not told["as_sealed"]:
        raise SystemExit(1)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
