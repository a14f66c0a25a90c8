"""``yoriai train …``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yoriai import NotFound, console
from yoriai.artifact import open_artifact, open_checked
from yoriai.cli import Context


@click.command(epilog="""\b
Examples:
  yoriai train generate build/tour/base@1 "このコマンドは"
  yoriai train generate build/tour/tuned@1 "次の文章は日本語、英語、コードのどれですか。" --instruct
  yoriai train generate build/tour/base@1 "リポジトリの" --trace build/tour/index@1
""")  # fmt: skip
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("prompt")
@click.option("--tokens", default=40, show_default=True, help="Longest continuation.")
@click.option("--instruct", is_flag=True, help="Put the prompt into the model's chat form.")
@click.option(
    "--trace", "index", type=click.Path(path_type=Path), metavar="INDEX",
    help="Say which pieces of it stand in this index of a corpus, and which steps saw them.",
)  # fmt: skip
@console.json_option
@click.pass_obj
def generate(
    shared: Context, model: Path, prompt: str, tokens: int, instruct: bool, index: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Let MODEL continue PROMPT, greedily."""
    from yoriai.explaining import in_lines, trace

    artifact = open_checked(model)
    if artifact.kind != "model":
        raise NotFound(f"{model} is a {artifact.kind}, not a model")
    searched = open_artifact(index) if index else None
    if searched is not None and searched.kind != "index":
        raise NotFound(f"{index} is a {searched.kind}, --trace takes an index")
    from yoriai_train.model.generation import continue_texts

    [(_, text)] = continue_texts(model, [prompt], tokens=tokens, instruct=instruct)
    value: dict[str, Any] = {"prompt": prompt, "text": text}
    lines = [prompt + text]
    if searched is not None:
        hops = trace(text, searched, shared.registry, of=artifact)
        value["trace"] = [hop.plain() for hop in hops]
        lines += ["", *in_lines(hops)]
    console.emit(value, as_json=as_json, text=lambda: "\n".join(lines))
