"""``yoriai explain``: why did a model answer so, as far as the digests lead?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from yoriai import console
from yoriai.cli import Context
from yoriai.errors import NotFound, YoriaiError


@click.command(epilog="""\b
Examples:
  yoriai explain build/tour/scores@1 ja-language/001 --model base
  yoriai explain build/tour/scores@1 ja-language/001 --model tuned --json
  yoriai explain build/tour/scores@1 ja-forms/003 --model base --page why.html
""")  # fmt: skip
@click.argument("scores", type=click.Path(path_type=Path))
@click.argument("sample")
@click.option("--model", default="", help="The model whose answer it is [the first].")
@click.option("--task", default="", help="The task, where two have a sample of this name.")
@click.option("--page", type=click.Path(path_type=Path), help="Write a page, too.")
@console.json_option
@click.pass_obj
def explain(
    shared: Context, scores: Path, sample: str, model: str, task: str, page: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Walk from SAMPLE of SCORES to the documents behind it, hop by hop.

    From the score to the prompt and the answer, to the spans of the answer that stand in the
    corpus, to their documents and licences; and from the model to the training, and to the steps
    that saw those documents. Every hop says against which digest it was checked, or where the
    chain breaks.
    """
    from yoriai import explaining
    from yoriai.artifact import open_artifact

    artifact = open_artifact(scores)
    if artifact.kind != "scores":
        raise NotFound(f"{scores} is a {artifact.kind}, this command reads scores")
    point = explaining.Point(
        kind="sample", artifact=artifact, name=sample, model=model, task=task,
        registry=shared.registry,
    )  # fmt: skip
    hops = explaining.explain(point, shared.registry)
    broken = [hop for hop in hops if hop.state == "broken"]
    value = {
        "scores": artifact.name,
        "digest": artifact.digest,
        "sample": sample,
        "hops": [hop.plain() for hop in hops],
        "whole": not broken,
    }
    if page is not None:
        _write(page, sample, hops)

    def text() -> str:
        lines = explaining.in_lines(hops)
        told = f"the chain breaks at {len(broken)} of {len(hops)} hops" if broken else ""
        return "\n".join([*lines, told or f"all {len(hops)} hops are there"])

    console.emit(value, as_json=as_json, text=text)
    if hops and hops[0].state == "broken":
        raise YoriaiError(f"{sample} cannot be explained: {hops[0].by}")


def _write(place: Path, sample: str, hops: Sequence[Any]) -> None:
    from yoriai.explaining import MARKS
    from yoriai.files import write_atomically
    from yoriai.page import render
    from yoriai.section import Section, Table

    rows = [(MARKS[h.state], "· " * h.depth + h.kind, h.says, h.by) for h in hops]
    table = Table(columns=("", "hop", "what it says", "checked by"), rows=rows)
    text = (
        "Each row leads to those below it that stand further in. ✓ was compared with a digest, "
        "? could not be, ✗ is where the chain breaks. "
        "各行は、その下の一段深い行につながります。✓ はダイジェストと比べたもの、"
        "? は比べるものがないもの、✗ は鎖が切れるところです。"
    )
    section = Section(title=f"{sample}", text=text, tables=[table])
    write_atomically(place, render(f"Why · なぜ: {sample}", [section]).encode())
