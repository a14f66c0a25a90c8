"""``yoriai train show-examples``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from yoriai import console
from yoriai.artifact import open_checked

MASKED, LEARNED = "-", "+"  # what stands before a line of tokens


@click.command("show-examples", epilog="""\b
Examples:
  yoriai train show-examples build/tour/base@1 mine/chats.jsonl
  yoriai train show-examples build/tour/base@1 mine/chats.jsonl --count 20 --learn last --json
""")  # fmt: skip
@click.argument("model", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("data", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--count", type=click.IntRange(min=1), default=3, show_default=True, help="Rows.")
@click.option(
    "--learn",
    type=click.Choice(["all", "last"]),
    default="all",
    show_default=True,
    help="Answers of a conversation that are learned.",
)
@console.json_option
def show_examples(
    model: Path, data: Path, count: int, learn: Literal["all", "last"], as_json: bool
) -> None:
    """Show rows of DATA as the tokens that MODEL would be tuned on.

    Lines of tokens that are masked begin with -, those that are learned with +.
    """
    from itertools import islice

    from yoriai_train.data.chat import ChatForm
    from yoriai_train.data.examples import encode
    from yoriai_train.data.instructions import Jsonl

    if (model / "artifact.json").is_file():
        open_checked(model)
    form = ChatForm.read(model)
    form.check()
    rows: list[dict[str, Any]] = []
    for example in islice(Jsonl(path=str(data)).examples([], 0), count):
        for encoded in encode(form, example, learn)[0]:
            pieces = form.tokenizer.convert_ids_to_tokens(list(encoded.ids))
            texts = [form.tokenizer.decode([token]) for token in encoded.ids]
            row = {"place": example.place, "ids": list(encoded.ids), "pieces": pieces}
            row |= {"texts": texts, "learned": list(encoded.learned)}
            rows.append(row)
    console.emit({"examples": rows}, as_json=as_json, text=lambda: "\n\n".join(map(_lines, rows)))


def _lines(row: dict[str, Any]) -> str:
    """One example: a line of tokens for each run that is masked or learned."""
    learned = row["learned"]
    lines = [f"{row['place']}: {len(learned)} tokens, {sum(learned)} learned"]
    begin = 0
    for place in range(1, len(learned) + 1):
        if place == len(learned) or learned[place] != learned[begin]:
            # A piece of some bytes of a character has no text of its own.
            pairs = zip(row["texts"][begin:place], row["pieces"][begin:place], strict=True)
            shown = [piece if "\ufffd" in text or not text else text for text, piece in pairs]
            mark = LEARNED if learned[begin] else MASKED
            lines.append(f"{mark} " + "│".join(shown).replace("\n", "⏎"))
            begin = place
    return "\n".join(lines)
