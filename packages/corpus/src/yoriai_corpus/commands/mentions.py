"""``mentions``: which groups of people a corpus names, and beside which words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoriai import NotFound, console
from yoriai_corpus.commands import folder, open_kind

if TYPE_CHECKING:
    from yoriai_corpus.account.co_occurrence import Association, Mentions
    from yoriai_corpus.account.group_terms import GroupTerms

MOST_SHOWN = 30  # rows of a table on the terminal; --json and --all have all


@click.command(epilog="""\b
Examples:
  yoriai corpus mentions build/tour/text@1
  yoriai corpus mentions build/tour/text@1 --terms my-words.yaml --by-source --json
""")  # fmt: skip
@click.argument("corpus", type=folder)
@click.option("--terms", type=folder, metavar="FILE", help="Words of your own, as YAML.")
@click.option("--language", default=None, help="Only this language [that of the words].")
@click.option("--by-source", is_flag=True, help="Count each source by itself, too.")
@click.option("--all", "everything", is_flag=True, help="Show what is not flagged as well.")
@console.json_option
def mentions(
    corpus: Path,
    terms: Path | None,
    language: str | None,
    by_source: bool,
    everything: bool,
    as_json: bool,
) -> None:
    """Count which groups of people CORPUS names, and what stands beside them.

    Groups and attributes are lists of words. For each group and attribute the share of documents
    that say both in one sentence is compared with the same of the other groups of the category:
    PMI, ratio and odds ratio with 95 % intervals; a ratio whose interval lies above 1.25 or below
    0.8 is flagged. Sentences whose counterpart with groups swapped (彼女 for 彼) also stands in
    the corpus are counted, and what each rule dropped. To compare rules: yoriai corpus audit
    CORPUS --terms -
    """
    from yoriai_corpus.account import co_occurrence, group_terms

    artifact = open_kind(corpus, "corpus")
    words = group_terms.read_terms(terms) if terms else group_terms.read_terms()
    asked = language or words.language
    found = co_occurrence.count(
        artifact, words, lambda name: name == asked or name.startswith((f"{asked}-", f"{asked}_"))
    )
    if not found.kept.documents:
        known = ", ".join(artifact.facts.get("by_language", {})) or "none"
        raise NotFound(
            f"{artifact.name} has no document in {asked}", hint=f"--language NAME; kept: {known}"
        )
    associations = co_occurrence.associate(found.kept, words)
    console.emit(
        _value(found, words, associations, by_source),
        as_json=as_json,
        text=lambda: _text(found, words, associations, by_source, everything),
    )


def _value(
    found: Mentions, words: GroupTerms, associations: list[Association], by_source: bool
) -> dict[str, Any]:
    from yoriai_corpus.account.co_occurrence import FLAG_ABOVE, associate, plain_counts

    names = list(words.all_groups())
    value: dict[str, Any] = {
        "kept": dict(plain_counts(found.kept, names)),
        "by_source": {
            source: dict(plain_counts(counts, names))
            for source, counts in sorted(found.by_source.items())
        },
        "dropped": {
            rule: {"documents": counts[""], "groups": {n: counts[n] for n in names}}
            for rule, counts in sorted(found.dropped.items())
        },
        "swaps": {
            "sentences": found.swaps.changing,
            "with_counterpart": found.swaps.with_counterpart,
        },
        "flag_above": FLAG_ABOVE,
        "associations": [row.plain() for row in associations],
    }
    if by_source:
        value["associations_by_source"] = {
            source: [row.plain() for row in associate(counts, words)]
            for source, counts in sorted(found.by_source.items())
        }
    return value


def _text(
    found: Mentions,
    words: GroupTerms,
    associations: list[Association],
    by_source: bool,
    everything: bool,
) -> str:
    names = list(words.all_groups())
    kept, dropped = found.kept, found.dropped
    lost = {name: sum(counts[name] for counts in dropped.values()) for name in names}
    rows = [
        (name, f"{kept.naming[name]:,}", f"{kept.naming[name] / kept.documents:.1%}",
         f"{kept.sentences_naming[name]:,}", f"{lost[name]:,}")
        for name in names
    ]  # fmt: skip
    total = sum(counts[""] for counts in dropped.values())
    parts = [
        f"{kept.documents:,} documents kept, {total:,} dropped",
        console.table(("group", "documents", "", "sentences", "in dropped documents"), rows),
    ]
    names = [name for name in names if kept.naming[name] or lost[name]]  # of wide tables
    if by_source:
        columns = ("source", "documents", *names)
        sources = [
            (source, f"{c.documents:,}", *(f"{c.naming[name]:,}" for name in names))
            for source, c in sorted(found.by_source.items())
        ]
        parts.append(console.table(columns, sources))
    if dropped:
        rules = [
            (rule, f"{counts['']:,}", *(f"{counts[name]:,}" for name in names))
            for rule, counts in sorted(dropped.items(), key=lambda item: -item[1][""])
        ]
        parts.append(console.table(("dropped by", "documents", *names), rules))
    shown = [row for row in associations if row.flagged or everything]
    shown.sort(key=lambda row: -abs(math.log(row.odds_ratio)))
    if shown:
        columns = ("group", "beside", "documents", "of the others", "ratio", "95 %", "PMI", "odds")
        cut = shown if everything else shown[:MOST_SHOWN]
        parts.append(console.table(columns, [_line(row) for row in cut]))
        if len(cut) < len(shown):
            parts.append(f"{len(shown) - len(cut)} more: --all or --json")
    else:
        parts.append("nothing stands beside one group clearly more often than beside the others")
    swaps = found.swaps
    parts.append(
        f"{swaps.changing:,} sentences change when groups are swapped; of "
        f"{swaps.with_counterpart:,} ({swaps.share:.1%}) the counterpart is in the corpus, too"
    )
    parts.append("which rules drop a group more often: yoriai corpus audit CORPUS --terms -")
    return "\n\n".join(parts)


def _line(row: Association) -> tuple[str, ...]:
    low, high = row.ratio_interval
    return (
        row.group,
        row.attribute,
        f"{row.together:,} of {row.naming:,}",
        f"{row.others_together:,} of {row.others_naming:,}",
        "–" if row.ratio is None else f"{row.ratio:.2f}",
        f"{low:.2f} – {high:.2f}" if math.isfinite(high) else f"{low:.2f} – ∞",
        "–" if row.pmi is None else f"{row.pmi:.2f}",
        f"{row.odds_ratio:.2f}",
    )
