"""The datasheet of a corpus, written from its account.

The sections and questions are those of Gebru et al., "Datasheets for Datasets" (arXiv
1803.09010). What the build measured is answered; what only people know is listed as not
recorded, and nothing is made up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yoriai import Table, files
from yoriai_corpus.account import charts, croissant

NAME, CROISSANT = "datasheet.md", "croissant.json"
# The sections, each with what no build can answer.
QUESTIONS = {
    "Motivation": (
        "For what purpose was the corpus created?",
        "Who created it, and who paid for it?",
    ),
    "Composition": (
        "Is the corpus a sample of something larger, and is it representative?",
        "Does it hold what may be confidential, offensive, or tell of people?",
    ),
    "Collection process": (
        "Over what time was the text written?",
        "Were the people whose text it is told, and did they agree?",
        "Was there an ethical review?",
    ),
    "Preprocessing, cleaning, labelling": (),
    "Uses": (
        "What has the corpus been used for?",
        "What should it not be used for?",
    ),
    "Distribution": (
        "How and when is it distributed?",
        "Do third parties or export rules restrict it?",
    ),
    "Maintenance": (
        "Who maintains the corpus, and how can they be reached?",
        "How can somebody have text taken out?",
    ),
}


def describe(
    facts: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    *,
    name: str = "",
    licence: str = "",
    seed: int | None = None,
) -> str:
    """The datasheet as Markdown, from a manifest's facts, source cards and configuration.

    The same arguments give the same text.
    """
    answers = {
        "Composition": _composition(facts, sources),
        "Collection process": _collection(sources),
        "Preprocessing, cleaning, labelling": _processing(facts, config),
        "Distribution": _distribution(licence),
        "Maintenance": _maintenance(name, seed),
    }
    parts = [f"# Datasheet: {name or 'corpus'}", "\n\n".join(facts.get("headline", ()))]
    for title, questions in QUESTIONS.items():
        parts += [f"## {title}", answers.get(title, "")]
        if questions:
            parts += ["Not recorded by the build; for its authors to answer:"]
            parts += ["\n".join(f"* {question}" for question in questions)]
    return "\n\n".join(part for part in parts if part) + "\n"


def write(
    folder: Path,
    facts: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    *,
    name: str,
    licence: str = "",
    seed: int | None = None,
    **more: Any,
) -> list[str]:
    """Write ``datasheet.md`` and ``croissant.json``; ``more`` goes to :func:`croissant.describe`.

    Returns what Croissant requires and nobody said.
    """
    text = describe(facts, sources, config, name=name, licence=licence, seed=seed)
    value = croissant.describe(facts, sources, name=name, licence=licence, **more)
    files.write_atomically(folder / NAME, text.encode())
    files.write_atomically(folder / CROISSANT, files.ordered_json(value))
    return croissant.missing(value)


def _composition(facts: Mapping[str, Any], sources: Sequence[Mapping[str, Any]]) -> str:
    parts = [
        "An instance is one document: a text with its source, id, language, address, licence"
        " and date, as far as they are known. What became of each that was read:",
        _table(charts.account_table(facts)),
    ]
    if facts.get("unreadable_by_reason"):
        parts += ["Why records were unreadable:", _table(charts.reason_table(facts))]
    if facts.get("by_language"):
        parts += ["By language:", _table(charts.size_table(facts, "by_language", "language"))]
    if facts.get("by_licence"):
        parts += ["By licence:", _table(charts.size_table(facts, "by_licence", "licence"))]
    elif sources:
        parts += ["Bytes by licence were not counted; the licences are those of the sources below."]
    parts += [
        "Dropped documents and unreadable records are part of the corpus's folder, in tables of"
        " their own with the reason. Documents held out for evaluation are chosen by a hash of"
        " their name, so that they stay the same when the corpus grows."
    ]
    return "\n\n".join(parts)


def _collection(sources: Sequence[Mapping[str, Any]]) -> str:
    if not sources:
        return ""
    rows = [
        (
            source.get("name", ""), source.get("version", ""), source.get("licence", ""),
            ", ".join(source.get("languages", ())), source.get("url", ""), source.get("note", ""),
        )
        for source in sources
    ]  # fmt: skip
    columns = ("source", "version", "licence", "languages", "address", "note")
    return "The text was read from these sources:\n\n" + _table(Table(columns=columns, rows=rows))


def _processing(facts: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    parts = []
    rules = [
        (str(place), rule.get("use", ""), _keys(rule))
        for place, rule in enumerate(config.get("rules") or (), 1)
    ]
    if rules:
        parts += ["Rules, in order, with all their settings:"]
        parts += [_table(Table(columns=("", "rule", "settings"), rows=rules))]
    else:
        parts += ["No rule was applied to the text."]
    others = {
        key: value
        for key, value in config.items()
        if key not in ("rules", "sources") and value not in (None, "", [], {})
    }
    if others:
        rows = [(key, json.dumps(value, ensure_ascii=False)) for key, value in others.items()]
        parts += [
            "Other settings of the build:",
            _table(Table(columns=("key", "value"), rows=rows)),
        ]
    counts = charts.rule_table(facts)
    if counts.rows:
        parts += ["What the rules, and the search for duplicates and evaluation texts, did:"]
        parts += [_table(counts)]
    looked_for = facts.get("contamination") or {}
    if looked_for:
        parts += ["Documents that hold text of these evaluation tasks were dropped:"]
        parts += [_table(_tasks(looked_for))]
    by_source = charts.source_rule_table(facts)
    if by_source.rows:
        parts += ["By source:", _table(by_source)]
    left_out = charts.left_out_table(facts)
    if left_out.rows:
        parts += [
            "Inside sentences readers left out what they could not show as text. The most frequent"
            " kinds, in all documents that were read:",
            _table(left_out),
        ]
    parts += [
        "Dropped text was kept, as it was when it was dropped. Edits were made in place: the text"
        " before them is only in the sources."
    ]
    return "\n\n".join(parts)


def _tasks(looked_for: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        (task, row.get("texts", 0), row.get("too_short", 0)) for task, row in looked_for.items()
    ]
    columns = ("evaluation task", "texts looked for", "too short to be found")
    return Table(columns=columns, rows=rows)


def _keys(rule: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{key}: {json.dumps(value, ensure_ascii=False)}"
        for key, value in rule.items()
        if key != "use" and value not in (None, [], "")
    )


def _distribution(licence: str) -> str:
    stated = f"The recipe states the licence {licence}." if licence else "No licence was stated."
    return f"{stated} The texts stay under the licences of their sources, which may differ."


def _maintenance(name: str, seed: int | None) -> str:
    if not name:
        return ""
    seeded = f" (seed {seed})" if seed is not None else ""
    return (
        f"This describes the artifact {name}{seeded}. Its manifest (artifact.json) holds the digest"
        " of every file; the same recipe over the same sources gives the same bytes."
    )


def _table(table: Table) -> str:
    def row(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    marks = [
        "---:" if table.rows and all(isinstance(r[i], (int, float)) for r in table.rows) else "---"
        for i in range(len(table.columns))
    ]
    return "\n".join([row(table.columns), "|" + "|".join(marks) + "|", *map(row, table.rows)])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
