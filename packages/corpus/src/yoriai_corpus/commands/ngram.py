"""``ngram``: how often a run of tokens was written, and what came next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yoriai import Artifact, UsageError, console
from yoriai_corpus.commands import folder, open_kind


@click.command(epilog="""\b
Examples:
  yoriai corpus ngram build/tour/ngrams@1 "リポジトリを" --tokenizer build/tour/pieces@1
  yoriai corpus ngram build/tour/ngrams@1 "512 88 7" --ids --exact
  yoriai corpus ngram build/tour/index@1 "リポジトリを"
""")  # fmt: skip
@click.argument("index", type=folder)
@click.argument("context")
@click.option("--tokenizer", type=folder, help="The tokenizer artifact that encodes CONTEXT.")
@click.option("--ids", is_flag=True, help="CONTEXT is token ids, with spaces between.")
@click.option("--exact", is_flag=True, help="After all of CONTEXT, not its longest end.")
@click.option(
    "--most", default=20, show_default=True, type=click.IntRange(min=0), help="Next tokens shown."
)
@console.json_option
def ngram(
    index: Path, context: str, tokenizer: Path | None, ids: bool, exact: bool, most: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Count CONTEXT in token shards, or in an index of a corpus as bytes, and show what comes
    next (the ∞-gram).
    """
    artifact = open_kind(index, "ngrams", "index")
    if artifact.kind == "index":
        if tokenizer is not None or ids:
            raise UsageError(f"{artifact.name} is counted in bytes", hint="leave out the option")
        _bytes(artifact, context, exact=exact, most=most, as_json=as_json)
        return
    from yoriai_corpus.search.ngrams import NgramIndex
    from yoriai_corpus.shards.encoding import open_pieces

    opened = NgramIndex(artifact)
    pieces: Any = None
    if tokenizer is not None:
        made = open_kind(tokenizer, "tokenizer")
        if made.digest != artifact.facts["tokenizer"]:
            raise UsageError(
                f"{made.name} did not encode these shards", hint="give the tokenizer of the shards"
            )
        pieces = open_pieces(made)
    if ids:
        try:
            asked = [int(word) for word in context.split()]
        except ValueError as error:
            raise UsageError("these are no token ids", hint='"512 88 7"') from error
    elif pieces is None:
        raise UsageError("text needs --tokenizer", hint="or give --ids")
    else:
        asked = list(pieces.encode(context))
    whole = opened.count(asked)
    found = opened.following(asked) if exact else opened.infinite(asked)
    rows = [
        {"token": token, "piece": pieces.id_to_piece(token) if pieces else "", "count": count,
         "probability": found.probability(token)}
        for token, count in list(found.following.items())[:most]
    ]  # fmt: skip
    value = {
        "context": asked, "occurrences": sum(whole.values()), "by_shard": whole,
        "used": found.length, "used_occurrences": found.occurrences,
        "entropy_bits": found.entropy_bits, "next": rows,
    }  # fmt: skip

    def text() -> str:
        shards = ", ".join(f"{name} {count:,}" for name, count in whole.items())
        head = (
            f"{len(asked)} tokens, {sum(whole.values()):,} times ({shards})\n"
            f"its last {found.length} tokens, {found.occurrences:,} times, are followed by"
            f" {len(found.following):,} different tokens, {found.entropy_bits:.2f} bits\n"
        )
        shown = [(r["token"], r["piece"], f"{r['count']:,}", f"{r['probability']:.2%}")
                 for r in rows]  # fmt: skip
        return head + console.table(("token", "piece", "times", "share"), shown)

    console.emit(value, as_json=as_json, text=text)


def _bytes(artifact: Artifact, context: str, *, exact: bool, most: int, as_json: bool) -> None:
    from yoriai_corpus.search.byte_ngrams import ByteNgrams
    from yoriai_corpus.search.query import SearchQuery
    from yoriai_corpus.search.search import open_index
    from yoriai_corpus.search.sortable import END_BYTE

    try:
        asked = context.encode()
    except UnicodeEncodeError as error:
        raise UsageError("the context is no UTF-8", hint="type it as text") from error
    index = open_index(artifact)
    opened = ByteNgrams(index)
    whole = opened.count(asked)
    found = opened.following(asked) if exact else opened.infinite(asked)
    by_source = {}
    if context.strip():
        counted = index.find(SearchQuery(text=context, exact=True)).by_source
        by_source = {name: row["occurrences"] for name, row in counted.items()}
    shown = list(found.following.items())[:most]
    rows = [{"byte": b, "count": n, "probability": found.probability(b)} for b, n in shown]
    value = {
        "context_bytes": len(asked), "occurrences": whole, "by_source": by_source,
        "used": found.length, "used_occurrences": found.occurrences,
        "entropy_bits": found.entropy_bits, "next": rows,
    }  # fmt: skip

    def text() -> str:
        sources = ", ".join(f"{name} {count:,}" for name, count in by_source.items())
        head = (
            f"{len(asked)} bytes, {whole:,} times" + (f" ({sources})" if sources else "") + "\n"
            f"its last {found.length} bytes, {found.occurrences:,} times, are followed by"
            f" {len(found.following):,} different bytes, {found.entropy_bits:.2f} bits\n"
        )
        table = [
            (f"{byte:02x}", "end of a document" if byte == END_BYTE else
             chr(byte) if 0x20 < byte < 0x7F else "",
             f"{count:,}", f"{found.probability(byte):.2%}")
            for byte, count in shown
        ]  # fmt: skip
        return head + console.table(("byte", "", "times", "share"), table)

    console.emit(value, as_json=as_json, text=text)
