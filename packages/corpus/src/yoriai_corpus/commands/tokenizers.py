"""``yoriai tokenizer compare``: what tokenizers make of the same text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoriai import UsageError, console
from yoriai_corpus.commands import folder, open_kind
from yoriai_corpus.commands.account import _plain

if TYPE_CHECKING:
    from yoriai import Document, Unreadable


class MixtureText(click.ParamType):
    """``ja=2,en=1``: a weight for each language."""

    name = "mixture"

    def convert(self, value: Any, param: Any, ctx: Any) -> dict[str, float]:
        if isinstance(value, dict):
            return value
        weights: dict[str, float] = {}
        for word in str(value).split(","):
            name, _, number = word.strip().partition("=")
            try:
                weights[name] = float(number)
            except ValueError:
                self.fail(f"{word!r} is no LANGUAGE=WEIGHT, as in ja=2,en=1", param, ctx)
            if not name or not 0 <= weights[name] < float("inf"):
                self.fail(f"{word!r} has no language, or a weight that is no share", param, ctx)
        return weights


@click.command(epilog="""\b
Examples:
  yoriai tokenizer compare build/tour/pieces@1 other.model --text build/tour/text@1
  yoriai tokenizer compare A B --text ja.jsonl.zst --text en.jsonl.zst --mixture ja=2,en=1
  yoriai tokenizer compare A B C --text build/tour/text@1 --plot compare.html
""")  # fmt: skip
@click.argument("tokenizers", type=folder, nargs=-1, required=True)
@click.option(
    "--text",
    "texts",
    type=folder,
    multiple=True,
    metavar="CORPUS|JSONL",
    help="Compare on this text; may be given more than once.",
)
@click.option(
    "--megabytes", type=console.Finite(0, 10**9, min_open=True), default=20.0, show_default=True,
    help="At most so much text of each language.",
)  # fmt: skip
@click.option("--mixture", type=MixtureText(), help="What a mixture of bytes costs, as ja=2,en=1.")
@click.option("--plot", type=folder, metavar="FILE|FOLDER", help="Also draw it, as one HTML page.")
@console.json_option
def compare(
    tokenizers: tuple[Path, ...],
    texts: tuple[Path, ...],
    megabytes: float,
    mixture: dict[str, float] | None,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Compare TOKENIZERS: characters and bytes per token, common pieces, cost of a mixture.

    Each is a SentencePiece .model, a tokenizer.json, or a folder with either (an artifact, a model
    folder of transformers). Of a corpus the held-out documents are read, or, if there are none,
    all; rows of JSON Lines give text, lang and source. Without --text only the vocabularies
    are compared.
    """
    from yoriai_corpus.tokenizers import compare as comparing

    if mixture and not texts:
        raise UsageError("--mixture needs text to measure on", hint="--text CORPUS|JSONL")
    opened = [comparing.open_tokenizer(path) for path in tokenizers]
    if texts:
        documents = chain.from_iterable(_documents(path) for path in texts)
        found = comparing.count(opened, _at_most(documents, int(megabytes * 1e6)))
    else:
        found = comparing.TokenizerComparison([tokenizer.name for tokenizer in opened])
    value = comparing.plain(opened, found, mixture or {})
    labels = [chr(ord("A") + place % 26) * (1 + place // 26) for place in range(len(opened))]
    if plot is not None:
        from yoriai import files, page

        path = plot if plot.suffix in (".html", ".htm") else plot / "index.html"
        sections = [comparing.section(value, labels)]
        files.write_atomically(path, page.render("Tokenizers", sections).encode())
        console.note(f"drawn: {path}")
    if found.unreadable:
        console.note(f"{found.unreadable:,} rows could not be read")

    def text() -> str:
        shown = comparing.tables(value, labels)
        return "\n\n".join(_plain(table) for table in shown if table.rows)

    console.emit(value, as_json=as_json, text=text)


def _documents(path: Path) -> Iterator[Document | Unreadable]:
    """The documents of a corpus artifact, or of a file of JSON Lines."""
    from yoriai import Document, PassedOver
    from yoriai_corpus import tables

    if path.is_dir():
        corpus = open_kind(path, "corpus")
        table = "heldout" if corpus.facts.get("heldout") else "documents"
        columns = ["source", "id", "text", "language"]
        for row in tables.read_rows(corpus.files_under(table), columns):
            yield Document(row["source"], row["id"], row["text"], row["language"])
        return
    from yoriai_corpus.sources.jsonl import JsonlFiles

    # A row's own source is asked for under a name that nothing else here needs.
    rows = JsonlFiles(paths=(str(path),), name=path.name.partition(".")[0], licence_field="source")
    for partition in rows.partitions():
        for item in rows.read(partition):
            if isinstance(item, Document):
                item.source = item.licence or item.source
            if not isinstance(item, PassedOver):
                yield item


def _at_most(
    documents: Iterator[Document | Unreadable], most: int
) -> Iterator[Document | Unreadable]:
    """So many bytes of each language, whole documents."""
    used: dict[str, int] = {}
    for document in documents:
        language = getattr(document, "language", "")
        if used.get(language, 0) < most:
            used[language] = used.get(language, 0) + len(getattr(document, "text", "").encode())
            yield document
