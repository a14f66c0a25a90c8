"""What a run's page shows of corpora and tokenizers."""

from __future__ import annotations

from collections.abc import Iterator

from yoriai import Artifact, Figure, Section, Table
from yoriai_corpus.account import charts


def describe(artifact: Artifact) -> Iterator[Section]:
    """Sections for the artifacts this package makes; nothing for those of others."""
    if artifact.kind == "corpus":
        yield charts.section(artifact, with_tables=False)
    elif artifact.kind == "tokenizer" and "bytes_per_token" in artifact.facts:
        yield _tokenizer(artifact)
    elif artifact.manifest["step"] in ("corpus/tokens", "corpus/mixture"):
        yield _tokens(artifact)


def _bar(
    title: str, x_label: str, y_label: str, name: str, bars: list[tuple[str, float]]
) -> tuple[Figure, ...]:
    """A bar chart; none if there is nothing to draw."""
    figure = Figure(kind="bar", title=title, x_label=x_label, y_label=y_label, series={name: bars})
    return (figure,) if bars else ()


def _tokenizer(artifact: Artifact) -> Section:
    """Kind, size and marks; fertility on held-out text by language and source, also drawn."""
    facts = artifact.facts
    marks = ", ".join(f"{role} {place}" for role, place in facts.get("marks", {}).items())
    about = [
        ("kind", facts.get("kind", "–")),
        ("pieces", facts["pieces"]),
        ("ids of the marks", marks or "–"),
        ("text it is learned from, MB", facts.get("sample_bytes", 0) / 1e6),
    ]
    tables = [Table(columns=("tokenizer", ""), rows=about)]
    rows = facts.get("fertility", [])
    if rows:
        keys = ("language", "source", "documents", "tokens")
        rates = ("characters_per_token", "bytes_per_token")
        shown = [tuple(row[key] for key in (*keys, *rates)) for row in rows]
        columns = (*keys, *(key.replace("_", " ") for key in rates))
        tables.append(Table(columns=columns, rows=shown))
    by_language = list(facts["bytes_per_token"].items())
    figures = _bar(
        "Bytes per token on held-out text (higher is shorter)",
        "language",
        "bytes per token",
        "held out",
        by_language,
    )
    if len(rows) > len(by_language):
        largest = sorted(rows, key=lambda row: -row["bytes"])[: charts.MOST_BARS]
        figures += _bar(
            "Bytes per token, largest sources",
            "language: source",
            "bytes per token",
            "held out",
            [(f"{row['language']}: {row['source']}", row["bytes_per_token"]) for row in largest],
        )
    return Section(
        title=f"Tokenizer · トークナイザ: {artifact.step}",
        text="\n\n".join(facts["headline"]),
        tables=tables,
        figures=figures,
    )


def _tokens(artifact: Artifact) -> Section:
    facts = artifact.facts
    total = sum(facts["weights"].values()) or 1.0
    rows = [
        (name, count, facts["weights"][name] / total) for name, count in facts["tokens"].items()
    ]
    return Section(
        title=f"Tokens · トークン: {artifact.step}",
        tables=(Table(columns=("shard", "tokens", "share in training"), rows=rows),),
    )
