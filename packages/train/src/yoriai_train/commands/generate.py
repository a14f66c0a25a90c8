"""``yoriai train …``."""

from __future__ import annotations

from pathlib import Path

import click

from yoriai import NotFound, console
from yoriai.artifact import open_checked


@click.command(epilog="""\b
Examples:
  yoriai train generate build/tour/base@1 "このコマンドは"
  yoriai train generate build/tour/tuned@1 "次の文章は日本語、英語、コードのどれですか。" --instruct
""")  # fmt: skip
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("prompt")
@click.option("--tokens", default=40, show_default=True, help="Longest continuation.")
@click.option("--instruct", is_flag=True, help="Put the prompt into the model's chat form.")
@console.json_option
def generate(model: Path, prompt: str, tokens: int, instruct: bool, as_json: bool) -> None:
    """Let MODEL continue PROMPT, greedily."""
    artifact = open_checked(model)
    if artifact.kind != "model":
        raise NotFound(f"{model} is a {artifact.kind}, not a model")
    from yoriai_train.model.generation import continue_texts

    [(_, text)] = continue_texts(model, [prompt], tokens=tokens, instruct=instruct)
    console.emit({"prompt": prompt, "text": text}, as_json=as_json, text=lambda: prompt + text)
