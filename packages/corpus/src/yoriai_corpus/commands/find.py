"""``why`` and ``sample``: documents of a corpus, kept or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from yoriai import NotFound, console
from yoriai.artifact import Artifact
from yoriai.cli import Context
from yoriai_corpus.commands import folder, model_option, open_kind, open_trainings

_RELATED = 5  # duplicates named by why, the rest is a number


@click.command(epilog="""\b
Examples:
  yoriai corpus why build/tour/index@1 mercurial-translation-ja/hg/00042
  yoriai corpus why build/tour/text@1 mercurial-translation-ja/hg/00042
  yoriai corpus why build/tour/index@1 mercurial-translation-ja/hg/00042 --model build/tour/base@1
""")  # fmt: skip
@click.argument("place", type=folder, metavar="INDEX_OR_CORPUS")
@click.argument("name", metavar="SOURCE/ID")
@model_option
@console.json_option
@click.pass_obj
def why(shared: Context, place: Path, name: str, models: tuple[Path, ...], as_json: bool) -> None:
    """Say what became of one document: kept, held out, unreadable or dropped, and why.

    An index answers at once. In a corpus all names are gone through, which takes longer the
    larger it is.
    """
    artifact = open_kind(place, "index", "corpus")
    rows: list[dict[str, Any]]
    if artifact.kind == "index":
        from yoriai_corpus.search.search import open_index

        rows = list(open_index(artifact).explain(name))
    else:
        from yoriai_corpus.account import lookup

        console.note(f"going through {artifact.name}; an index (corpus/index) is quicker")
        rows = [{**row, **_edits(artifact, row)} for row in lookup.find(artifact, name)]
    if not rows:
        hint = "yoriai corpus search INDEX TEXT finds names by a piece of text"
        raise NotFound(f"no document {name!r} was read", hint=hint)
    trainings = open_trainings(models, [artifact], shared)
    if trainings:
        names = [f"{row['source']}/{row['id']}" for row in rows]
        seen = trainings.saw(zip(names, (row["state"] for row in rows), strict=True))
        for row, found in zip(rows, names, strict=True):
            row["seen"] = [one.plain() for one in seen[found]]

    def text() -> str:
        return "\n\n".join(map(sentence, rows))

    console.emit({"documents": rows}, as_json=as_json, text=text)


def _edits(corpus: Artifact, row: Mapping[str, Any]) -> dict[str, Any]:
    """The rules that edited documents of this one's source; which ones is not written down."""
    from yoriai_corpus.account.charts import edited

    by_source = corpus.facts.get("by_source", {}).get(row["source"], {})
    edits = {rule: edited(value)[0] for rule, value in by_source.get("edited_by_rule", {}).items()}
    return {"edited_in_source": edits}


def sentence(row: Mapping[str, Any]) -> str:
    """What became of one document, in words."""
    head = f"{row['source']}/{row['id']} was {row['state']} (corpus {row['corpus']})"
    if row["state"] == "unreadable":
        return f"{head}: {row.get('reason') or row.get('rule', '')}"
    if row["state"] == "dropped":
        head += f" by {row['rule']}"
        if row["value"] is not None:
            head += f": measured {row['value']:.4g}"
        if row["threshold"] is not None:
            head += f", limit {row['threshold']:.4g}"
        if row["duplicate_of"]:
            head += f"; {row['duplicate_of']} was kept instead"
        if row["span"]:
            head += f"; at {row['span']!r}"
    elif row["state"] == "held out":
        head += ": kept apart for evaluation, chosen by its name alone"
    return "\n".join(
        [head, *_related(row), f"licence: {row['licence'] or 'unstated'}", "", row["text"][:500]]
    )


def _related(row: Mapping[str, Any]) -> Iterator[str]:
    from yoriai_corpus.search.seen import SeenBy, in_words

    twins = [
        f"{twin['source']}/{twin['id']} ({twin['kind']}, {twin['similarity']:.3g})"
        for twin in row.get("stood_for", ())
    ]
    if twins:
        rest = f" and {len(twins) - _RELATED:,} more" if len(twins) > _RELATED else ""
        yield f"stands for {len(twins):,} more: {', '.join(twins[:_RELATED])}{rest}"
    for twin in row.get("same_as", ()):
        name = f"{twin['winner_source']}/{twin['winner_id']}"
        yield f"a duplicate ({twin['kind']}, {twin['similarity']:.3g}) of {name}"
    for hit in row.get("contamination", ()):
        share = "" if hit["share"] is None else f", {hit['share']:.0%} of it"
        yield f"holds the evaluation item {hit['task']}/{hit['item']} ({hit['kind']}{share})"
    for seen in row.get("seen", ()):
        yield f"seen by {in_words(SeenBy(**seen))}"
    if row.get("edited_in_source"):
        edits = ", ".join(f"{rule} ({n:,})" for rule, n in row["edited_in_source"].items())
        yield f"rules that edited documents of this source: {edits}"


@click.command(epilog="""\b
Examples:
  yoriai corpus sample build/tour/text@1
  yoriai corpus sample build/tour/text@1 --dropped-by corpus/near-duplicate
  yoriai corpus sample build/tour/text@1 --language ja --count 20 --seed 1
""")  # fmt: skip
@click.argument("corpus", type=folder)
@click.option("--dropped-by", metavar="RULE", default="", help="Only documents this rule dropped.")
@click.option("--source", default="", help="Only documents of this source.")
@click.option("--language", default="", help="Only documents in this language.")
@click.option(
    "--count", default=5, show_default=True, type=click.IntRange(1, 10**9), help="How many."
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=None,
    help="Choose by chance, always the same for a seed.",
)
@console.json_option
def sample(
    corpus: Path,
    dropped_by: str,
    source: str,
    language: str,
    count: int,
    seed: int | None,
    as_json: bool,
) -> None:
    """Show documents of CORPUS, spread evenly over it or, with --seed, chosen by chance."""
    import random

    import numpy as np

    from yoriai_corpus.account import lookup
    from yoriai_corpus.account.audit import paths_of

    artifact = open_kind(corpus, "corpus")
    facts = artifact.facts
    _must_know(dropped_by, facts.get("dropped_by_rule", {}), "dropped nothing", "rules")
    _must_know(source, facts.get("by_source", {}), "is no source of it", "sources")
    if language and not dropped_by:
        _must_know(language, facts.get("by_language", {}), "was not kept", "languages")
    asked = {"rule": dropped_by, "source": source, "language": language}
    equal = {key: value for key, value in asked.items() if value}
    if language == "unknown":  # the ledger's word for none
        equal["language"] = ""
    paths = paths_of(artifact, "dropped" if dropped_by else "documents")
    places = lookup.positions(paths, equal)
    if seed is None:
        chosen = places[:: max(1, len(places) // count)][:count]
    else:
        numbers = random.Random(seed).sample(range(len(places)), min(count, len(places)))
        chosen = places[np.array(sorted(numbers), dtype=np.int64)]
    rows = list(lookup.rows_at(paths, chosen))

    def text() -> str:
        shown = "\n\n".join(f"[{r['source']}/{r['id']}]{_why(r)}\n{r['text'][:400]}" for r in rows)
        return shown or "no document is like that"

    console.emit({"total": len(places), "documents": rows}, as_json=as_json, text=text)


def _why(row: Mapping[str, Any]) -> str:
    if row.get("value") is None:
        return ""
    limit = f", limit {row['threshold']:.4g}" if row["threshold"] is not None else ""
    return f" measured {row['value']:.4g}{limit}"


def _must_know(name: str, known: Mapping[str, Any], problem: str, what: str) -> None:
    if name and name not in known:
        raise NotFound(f"{name!r} {problem}", hint=f"{what}: {', '.join(known)}")
