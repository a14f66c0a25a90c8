"""``search`` and ``trace``: what stands where in everything that was read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoriai import UsageError, console
from yoriai.cli import Context
from yoriai_corpus.commands import exports, folder, model_option, open_kind, open_trainings

if TYPE_CHECKING:
    from yoriai_corpus.search.near import NearSpans
    from yoriai_corpus.search.search import SearchIndex

STATES = ("kept", "held out", "dropped", "unreadable")


@click.command(epilog="""\b
Examples:
  yoriai corpus search build/tour/index@1 リポジトリ
  yoriai corpus search build/tour/index@1 password --state dropped
  yoriai corpus search build/tour/index@1 猫 --or ネコ --and 犬 --not 鳥 --sample 5 --seed 1
  yoriai corpus search build/tour/index@1 ファイル --export hits.parquet
""")  # fmt: skip
@click.argument("index", type=folder)
@click.argument("query")
@click.option("--in", "more", type=folder, multiple=True, metavar="INDEX", help="Also in this.")
@click.option("--or", "either", multiple=True, metavar="TEXT", help="Or this, in its place.")
@click.option("--and", "also", multiple=True, metavar="TEXT", help="Documents that hold this, too.")
@click.option("--not", "without", multiple=True, metavar="TEXT", help="None that hold this.")
@click.option("--exact", is_flag=True, help="As it is written: width and case matter.")
@click.option("--names", is_flag=True, help="In names, addresses, rules and spans, not in texts.")
@click.option("--state", type=click.Choice(STATES), default=None, help="Only of this state.")
@click.option("--source", default="", help="Only of this source.")
@click.option("--language", default="", help="Only in this language.")
@click.option("--licence", default="", help="Only under this licence.")
@click.option("--rule", default="", help="Only those that this rule dropped.")
@click.option("--corpus", default="", help="Only of this corpus, as name@version.")
@click.option("--since", default="", metavar="DATE", help="Only of this date or later.")
@click.option("--until", default="", metavar="DATE", help="Only of this date or earlier.")
@click.option(
    "--limit", default=10, show_default=True, type=click.IntRange(0, 10**9), help="Most shown."
)
@click.option("--offset", default=0, type=click.IntRange(0, 10**9), help="Leave out so many first.")
@click.option(
    "--sample", type=click.IntRange(1, 10**9), default=None, help="So many hits by chance."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="The chance of --sample.",
)
@click.option(
    "--export",
    type=click.Path(path_type=Path),
    help="Write all hits (or the sample) to a file: .jsonl, .csv or .parquet.",
)
@console.json_option
def search(
    index: Path, more: tuple[Path, ...], query: str, limit: int, offset: int,
    sample: int | None, seed: int, export: Path | None, as_json: bool, state: str | None,
    **asked: Any,
) -> None:  # fmt: skip
    """Find QUERY, any piece of text, in everything that was read.

    It is found in any width and case unless --exact is given. All places are counted: how often
    it stands there, in how many documents, and of which source, state, rule, language and licence.
    Of more than some hundred places those shown are spread evenly over all.
    """
    from yoriai_corpus.search.query import SearchQuery

    opened = _open(index, *more)
    found = opened.find(SearchQuery(text=query, state=state or "", **asked))
    if sample:
        hits = list(opened.sample(found, sample, seed=seed))
    else:
        hits = list(opened.page(found, offset=offset, limit=limit))
    if export:
        exports.write(export, hits if sample else opened.page(found, limit=None))
    value = {
        "query": query,
        "occurrences": found.occurrences,
        "documents": found.documents,
        "by_source": found.by_source,
        "facets": found.facets,
        "hits": [hit.plain() for hit in hits],
    }

    def text() -> str:
        head = f"{found.occurrences:,} times in {found.documents:,} documents\n"
        facets = [
            (name, value or "-", f"{row['occurrences']:,}", f"{row['documents']:,}")
            for name, facet in found.facets.items()
            if len(facet) > 1
            for value, row in facet.items()
        ]
        rows = [(h.state, h.rule, f"{h.source}/{h.id}", str(h.offset), h.around) for h in hits]
        if facets:
            head += console.table(("by", "", "times", "documents"), facets) + "\n"
        return head + console.table(("state", "rule", "document", "at", "text"), rows)

    console.emit(value, as_json=as_json, text=text)


def _open(*folders: Path) -> SearchIndex:
    """Indexes as one; says if a corpus was made anew since."""
    from yoriai_corpus.search.search import newer, open_index

    artifacts = [open_kind(place, "index") for place in folders]
    for artifact in artifacts:
        for name in newer(artifact):
            console.note(f"{name} was made anew since: {artifact.name} answers for the former one")
    return open_index(*artifacts)


@click.command(epilog="""\b
Examples:
  yoriai corpus trace build/tour/index@1 "リポジトリを作成するには"
  yoriai corpus trace build/tour/index@1 - --shortest 12 < answer.txt
  yoriai corpus trace build/tour/index@1 "リポジトリを作成する" --model build/tour/base@1
""")  # fmt: skip
@click.argument("index", type=folder)
@click.argument("written", metavar="TEXT|-")
@click.option(
    "--shortest", default=8, show_default=True, type=click.IntRange(1, 10**9),
    help="Characters of the shortest span shown.",
)  # fmt: skip
@click.option(
    "--places", default=3, show_default=True, type=click.IntRange(0, 10**9),
    help="Documents named for each span.",
)  # fmt: skip
@click.option("--near", is_flag=True, help="Also copies with some characters changed.")
@model_option
@console.json_option
@click.pass_obj
def trace(
    shared: Context, index: Path, written: str, shortest: int, places: int, near: bool,
    models: tuple[Path, ...], as_json: bool,
) -> None:  # fmt: skip
    """Find the longest pieces of TEXT that stand in what was read, word for word.

    TEXT is what a model wrote, or - to read it from standard input. A span is shown if it would
    not be found one character longer at either end. With --near also stretches of documents are
    shown that agree but for some edits, each between more than 8 characters that agree. With
    --model the steps of its training that saw the documents are named.
    """
    from yoriai_corpus.search import trace as tracing
    from yoriai_corpus.search.near import NearSpans, near_spans
    from yoriai_corpus.search.seen import in_words

    if written == "-":
        try:
            written = sys.stdin.buffer.read().decode()
        except UnicodeDecodeError as error:
            raise UsageError("standard input is no UTF-8", hint="give it as text") from error
    opened = _open(index)
    spans = tracing.trace(opened, written, shortest=shortest, places=places)
    close = near_spans(opened, written) if near else NearSpans([], 0, 0)
    trainings = open_trainings(models, opened.artifacts, shared)
    held = [p for span in spans for p in span.places] + [span.place for span in close.spans]
    seen = trainings.saw((place.name, place.state) for place in held)
    share = tracing.covered(spans) / max(1, len(written))
    value: dict[str, Any] = {
        "characters": len(written), "covered": share, "spans": [span.plain() for span in spans]
    }  # fmt: skip
    if near:
        value["near"] = [span.plain() for span in close.spans]
        value["near_frequent_seeds"] = close.frequent_seeds
        value["near_stretches_left_out"] = close.stretches_left_out
    if trainings:
        value["seen"] = {name: [one.plain() for one in found] for name, found in seen.items()}
        value["notes"] = trainings.notes

    def text() -> str:
        rows = [
            (f"{s.begin}-{s.end}", f"{s.occurrences:,}", f"{s.documents:,}", f"{s.bits:.0f}",
             ", ".join(map(_place, s.places)),
             s.text.replace("\n", " "))
            for s in spans
        ]  # fmt: skip
        head = f"{share:.0%} of {len(written):,} characters stand there in {len(spans):,} spans\n"
        columns = ("characters", "times", "in", "bits", "documents", "text")
        head += console.table(columns, rows) + (_near_in_words(close) if near else "")
        return head + "".join(
            f"\n{name}  {in_words(one)}"
            for name, found in (seen.items() if trainings else ())
            for one in found
        )  # fmt: skip

    console.emit(value, as_json=as_json, text=text)


def _near_in_words(close: NearSpans) -> str:
    rows = [
        (f"{s.begin}-{s.end}", str(s.edits), _place(s.place), s.text.replace("\n", " "),
         s.stands.replace("\n", " "))
        for s in close.spans
    ]  # fmt: skip
    text = f"\n\n{len(rows):,} near spans\n"
    text += console.table(("characters", "edits", "document", "text", "stands there"), rows)
    for count, what in (
        (close.frequent_seeds, "seeds are too frequent and were passed over"),
        (close.stretches_left_out, "stretches of documents with the fewest seeds were left out"),
    ):
        text += f"\n{count:,} {what}" if count else ""
    return text


def _place(place: Any) -> str:
    return f"{place.name} ({place.state}, {place.licence or 'unstated'})"
