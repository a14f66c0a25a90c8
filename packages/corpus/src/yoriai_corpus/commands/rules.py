"""``judge`` and ``score-rules``: what rules say of documents at hand."""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoriai import NotFound, Refused, UsageError, console
from yoriai.cli import Context
from yoriai_corpus.commands import folder, open_kind

if TYPE_CHECKING:
    from yoriai import Document, Filter
    from yoriai_corpus.rules.judging import RuleAnswer

_SHOWN = 3  # places of an edit, and documents wrongly dropped, that are shown


def rules_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The ways to say which rules are meant."""
    for option in (
        click.option("--step", default="", help="The step of --recipe whose rules are meant."),
        click.option("--recipe", type=folder, help="Rules of a recipe's step."),
        click.option(
            "--rules",
            "names",
            default="",
            metavar="NAMES",
            help="Rules by name (a,b), or as YAML: '{use: corpus/min-length, characters: 5}'.",
        ),
        click.option(
            "--rules-of", type=folder, metavar="CORPUS", help="Rules a corpus was built with."
        ),
    ):
        command = option(command)
    return command


def _rules(
    shared: Context, rules_of: Path | None, names: str, recipe: Path | None, step: str
) -> list[Filter]:
    from yoriai_corpus.rules import judging

    given = [rules_of is not None, bool(names), recipe is not None]
    if sum(given) != 1:
        raise UsageError(
            "say which rules: one of --rules-of, --rules and --recipe",
            hint="--rules corpus/min-length,corpus/kana; their names: yoriai list filters",
        )
    if rules_of is not None:
        return judging.rules_of_corpus(open_kind(rules_of, "corpus"), shared.registry)
    if recipe is not None:
        return judging.rules_of_recipe(recipe, step, shared.registry)
    return judging.rules_named(names, shared.registry)


@click.command(epilog="""\b
Examples:
  yoriai corpus judge page.txt --rules-of build/tour/text@1 --language ja
  yoriai corpus judge pages.jsonl --row 3 --recipe recipes/tour.yaml --step text
  yoriai corpus judge - --rules corpus/min-length,corpus/kana --language ja
  yoriai corpus judge --of build/tour/text@1 mercurial-translation-ja/hg/00042
""")  # fmt: skip
@click.argument("name", metavar="FILE|SOURCE/ID")
@click.option("--of", "corpus", type=folder, metavar="CORPUS", help="Take SOURCE/ID from a corpus.")
@rules_options
@click.option(
    "--row",
    default=1,
    show_default=True,
    type=click.IntRange(1, 10**9),
    help="Which row of a JSON or JSON Lines file.",
)
@click.option("--text-field", default="text", show_default=True, help="The key of the text.")
@click.option("--language", default="", help="Language of the text, where the row does not say.")
@click.option("--url", default="", help="Address of the text, where the row does not say.")
@console.json_option
@click.pass_obj
def judge(
    shared: Context,
    name: str,
    corpus: Path | None,
    rules_of: Path | None,
    names: str,
    recipe: Path | None,
    step: str,
    row: int,
    text_field: str,
    language: str,
    url: str,
    as_json: bool,
) -> None:
    """Show what every rule measures on one document, its limits and its verdict.

    FILE is plain text, a JSON or JSON Lines file, or - for standard input. With --of it is a
    document of a corpus, as the tables hold it: after the edits of the build. All rules are
    asked, each on the text as edited before it, also after the first one that drops it.
    Duplicates, contamination and what is held out are found by comparing, not by rules, and
    are not part of this: see yoriai corpus why.
    """
    from yoriai_corpus.commands.one_document import read_document
    from yoriai_corpus.rules import judging

    recorded: list[dict[str, Any]] = []
    if corpus is not None:
        document, recorded = _from_corpus(corpus, name)
        if not (rules_of or names or recipe):
            rules_of = corpus
    else:
        document = read_document(name, row, text_field, sys.stdin.buffer)
    document = dataclasses.replace(
        document, language=document.language or language, url=document.url or url
    )
    answers = judging.judge(document, _rules(shared, rules_of, names, recipe, step))
    first = judging.dropped_first(answers)
    value = {
        "source": document.source,
        "id": document.id,
        "language": document.language,
        "dropped_by": first,
        "rules": [_plain(answer) for answer in answers],
        "recorded": recorded,
    }

    def text() -> str:
        return "\n\n".join(_told(document, answers, first, recorded))

    console.emit(value, as_json=as_json, text=text)


replay = copy.copy(judge)
"""The former name of ``yoriai corpus judge``: it answers for one release, and says so."""
replay.deprecated = True
replay.epilog = (judge.epilog or "").replace("corpus judge", "corpus replay")


def _from_corpus(path: Path, name: str) -> tuple[Document, list[dict[str, Any]]]:
    """A document and what the corpus says became of it."""
    from yoriai import Document
    from yoriai_corpus.account import lookup
    from yoriai_corpus.tables import COLUMNS

    corpus = open_kind(path, "corpus")
    rows = [row for row in lookup.find(corpus, name) if "text" in row]
    if not rows:
        raise NotFound(
            f"{corpus.name} has no text of {name!r}", hint=f"yoriai corpus why {path} {name}"
        )
    recorded = [{key: row[key] for key in _RECORDED if key in row} for row in rows]
    return Document(**{column: rows[0][column] for column in COLUMNS}), recorded


_RECORDED: tuple[str, ...] = ("state", "rule", "rule_version", "value", "threshold")


def _plain(answer: RuleAnswer) -> dict[str, Any]:
    row = dataclasses.asdict(answer)
    return {**row, "changes": [change._asdict() for change in answer.changes]}


def _told(
    document: Document, answers: list[RuleAnswer], first: str, recorded: list[dict[str, Any]]
) -> list[str]:
    rows = [
        (
            answer.rule,
            answer.version,
            "" if answer.value is None else f"{answer.value:.4g}",
            answer.limits,
            answer.verdict,
            answer.reason or (f"at {answer.span!r}" if answer.span else _changed(answer)),
        )
        for answer in answers
    ]
    parts = [console.table(("rule", "version", "value", "limits", "verdict", ""), rows)]
    for answer in answers:
        if answer.changes:
            lines = [
                f"  line {change.line}: {change.before!r} → {change.after!r}"
                for change in answer.changes[:_SHOWN]
            ]
            parts.append("\n".join([f"{answer.rule} edits:", *lines]))
    name = f"{document.source}/{document.id}"
    verdict = f"would be dropped by {first}" if first else "passes every rule"
    size = f"{len(document.text):,} characters, language {document.language or 'unknown'}"
    parts.append(f"{name} ({size}) {verdict}")
    for row in recorded:
        by = f" by {row['rule']} (version {row['rule_version']})" if row.get("rule") else ""
        parts.append(f"the corpus says: {row['state']}{by}")
    return parts


def _changed(answer: RuleAnswer) -> str:
    if answer.verdict != "edit":
        return ""
    from yoriai_corpus.rules.judging import MAX_CHANGES

    count = len(answer.changes)
    return f"{count}{'+' if count == MAX_CHANGES else ''} place{'s' * (count != 1)} changed"


@click.command("score-rules", epilog="""\b
Examples:
  yoriai corpus score-rules labelled.jsonl --rules-of build/tour/text@1
  yoriai corpus score-rules labelled.jsonl --rules corpus/letters,corpus/compression --json
  yoriai corpus score-rules labelled.jsonl --recipe recipes/tour.yaml --step text --least-recall 0.8
""")  # fmt: skip
@click.argument("labels", type=folder)
@rules_options
@click.option("--text-field", default="text", show_default=True, help="The key of the text.")
@click.option("--label-field", default="", help="The key of the label [label, or meta.label].")
@click.option(
    "--keep", default="", metavar="LABELS", help="Labels (a,b) that say keep; all others say drop."
)
@click.option("--language", default="", help="Language of rows that do not say.")
@click.option("--least-precision", type=console.Finite(0, 1), help="Exit with 4 below this.")
@click.option("--least-recall", type=console.Finite(0, 1), help="Exit with 4 below this.")
@console.json_option
@click.pass_obj
def score_rules(
    shared: Context,
    labels: Path,
    rules_of: Path | None,
    names: str,
    recipe: Path | None,
    step: str,
    text_field: str,
    label_field: str,
    keep: str,
    language: str,
    least_precision: float | None,
    least_recall: float | None,
    as_json: bool,
) -> None:
    """Measure rules on LABELS, documents that people labelled: precision and recall.

    LABELS is a JSON Lines file: text, label, and if known id, lang, url. Labels are keep or
    drop; acceptable, harmful or low-quality; or LLM-jp's 0, 1 and 2 for these three; other
    words with --keep. Precision is the share of what a rule drops that should be dropped,
    recall the share of what should be dropped that it drops; intervals are of 95 %.
    """
    from yoriai_corpus.account import agreement as labelling

    rules = _rules(shared, rules_of, names, recipe, step)
    wanted = [word.strip() for word in keep.split(",") if word.strip()]
    rows, unusable = labelling.read_labels(
        labels, text_field=text_field, label_field=label_field, keep=wanted, language=language
    )
    scores = labelling.score(rows, rules)
    value = {
        "documents": len(rows),
        "to_drop": sum(row.drop for row in rows),
        "unusable": [{"id": row.id, "reason": row.reason} for row in unusable],
        "rules": [score.plain() for score in scores],
    }

    def text() -> str:
        columns = ("rule", "asked", "rightly", "wrongly", "alone", "precision", "recall", "F1")
        lines = [
            (
                *(score.rule, score.asked, score.true, score.false),
                f"{score.alone_true}/{score.alone_false}",
                *map(_measure, score.measures().values()),
            )
            for score in scores
        ]
        parts = [
            f"{len(rows):,} documents, {value['to_drop']:,} of them to be dropped",
            console.table(columns, lines),
            "alone: dropped rightly/wrongly by this rule and no other",
        ]
        for score in scores[:-1]:
            if score.wrongly:
                rest = len(score.wrongly) - 4 * _SHOWN
                more = f" and {rest:,} more" if rest > 0 else ""
                listed = ", ".join(score.wrongly[: 4 * _SHOWN])
                parts.append(f"{score.rule} wrongly drops {listed}{more}")
        if unusable:
            parts.append(f"{len(unusable):,} rows left out; {unusable[0].id}: {unusable[0].reason}")
        return "\n\n".join(parts)

    console.emit(value, as_json=as_json, text=text)
    whole = scores[-1].measures()
    for name, least in (("precision", least_precision), ("recall", least_recall)):
        measured = whole[name]["value"]
        if least is not None and (measured is None or measured < least):
            said = "not defined" if measured is None else f"{measured:.3f}"
            raise Refused(f"{name} of all rules is {said}, asked for is {least}")


def _measure(row: dict[str, float | None]) -> str:
    if row["value"] is None:
        return "–"
    return f"{row['value']:.2f} ({row['low']:.2f}–{row['high']:.2f})"
