"""``stats``, ``audit`` and ``datasheet``: a corpus as a whole."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoriai import NotFound, UsageError, console
from yoriai_corpus.commands import folder, open_kind

if TYPE_CHECKING:
    from yoriai import Table
    from yoriai_corpus.account.audit import AuditComparison


@click.command(epilog="""\b
Examples:
  yoriai corpus stats build/tour/text@1
  yoriai corpus stats build/tour/text@1 --plot text.html
""")  # fmt: skip
@click.argument("corpus", type=folder)
@click.option("--plot", type=folder, metavar="FILE|FOLDER", help="Also draw it, as one HTML page.")
@console.json_option
def stats(corpus: Path, plot: Path | None, as_json: bool) -> None:
    """Show the account of CORPUS by source and rule, and draw it."""
    from yoriai_corpus.account import charts

    artifact = open_kind(corpus, "corpus")
    facts = dict(artifact.facts)
    if plot is not None:
        from yoriai import files, page

        path = plot if plot.suffix in (".html", ".htm") else plot / "index.html"
        sections = [charts.section(artifact, with_tables=True)]
        files.write_atomically(path, page.render(artifact.name, sections).encode())
        console.note(f"drawn: {path}")

    def text() -> str:
        found = [
            charts.account_table(facts),
            charts.reason_table(facts),
            charts.rule_table(facts),
            charts.source_rule_table(facts),
            charts.size_table(facts, "by_language", "language"),
            charts.size_table(facts, "by_licence", "licence"),
        ]
        return "\n\n".join(_plain(table) for table in found if table.rows)

    console.emit(facts, as_json=as_json, text=text)


def _plain(table: Table) -> str:
    def cell(value: Any) -> Any:
        if isinstance(value, float):
            return f"{value:,.4g}"
        return f"{value:,}" if isinstance(value, int) else value

    return console.table(table.columns, [[cell(value) for value in row] for row in table.rows])


@click.command(epilog="""\b
Examples:
  yoriai corpus audit build/tour/text@1
  yoriai corpus audit build/tour/text@1 --groups regions.jsonl --all
  yoriai corpus audit build/tour/text@1 --terms -
""")  # fmt: skip
@click.argument("corpus", type=folder)
@click.option(
    "--groups", type=folder, metavar="FILE", help="JSON Lines of your own groups: id, group."
)
@click.option(
    "--terms",
    type=folder,
    metavar="FILE",
    help="Groups of people by words, as YAML; - for those of yoriai corpus mentions.",
)
@click.option(
    "--language", default=None, help="Only this language [ja and unknown; all with --groups]."
)
@click.option("--all", "everything", is_flag=True, help="Show what is not flagged as well.")
@console.json_option
def audit(
    corpus: Path,
    groups: Path | None,
    terms: Path | None,
    language: str | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Find kinds of text that rules drop more often than the rest of CORPUS.

    Law, poetry, tables, medical text, text on minorities, dialogue, Japanese mixed with Latin,
    text for children and dialect are recognised by simple marks. For each and for each rule
    the share that was dropped is compared with that of all other documents. A ratio whose
    95 % interval lies above 1.25 is flagged: read a sample before you change the rule. Groups
    of your own are named by rows {"id": "SOURCE/ID", "group": "NAME"}, or known by words (women,
    the old, people from abroad) with --terms.
    """
    from yoriai_corpus.account import audit as audits
    from yoriai_corpus.account import group_terms

    if groups and terms:
        raise UsageError("give --groups or --terms, not both", hint="two calls answer both")
    artifact = open_kind(corpus, "corpus")
    asked = audits.read_groups(groups) if groups else audits.by_register
    if terms:
        words = group_terms.read_terms(group_terms.OWN_FILE if str(terms) == "-" else terms)
        asked, language = group_terms.by_terms(words), language or words.language

    def wanted(name: str) -> bool:
        if language is not None:
            return name == ("" if language == "unknown" else language)
        return groups is not None or name in ("ja", "") or name.startswith(("ja-", "ja_"))

    counts = audits.count(artifact, asked, wanted)
    if not counts.total:
        known = ", ".join(artifact.facts.get("by_language", {})) or "none"
        raise NotFound(
            f"{artifact.name} has no document in {language or 'Japanese'}",
            hint=f"--language NAME; kept: {known}",
        )
    found = audits.compare(counts)
    value = {
        "documents": counts.total,
        "groups": dict(sorted(counts.group_total.items())),
        "flag_above": audits.FLAG_ABOVE,
        "comparisons": [row.plain() for row in found],
    }

    def text() -> str:
        if not counts.group_total:
            return f"none of {counts.total:,} documents belongs to a group"
        overall = [row for row in found if row.rule == audits.ANY]
        rules = [row for row in found if row.rule != audits.ANY and (row.flagged or everything)]
        columns = ("group", "documents", "dropped", "of the rest", "ratio", "95 %", "")
        parts = [
            f"{counts.total:,} documents, {counts.dropped[audits.ANY]:,} of them dropped",
            console.table(columns, [_line(row, row.group, f"{row.of:,}") for row in overall]),
        ]
        columns = ("group", "rule", "dropped", "of the rest", "ratio", "95 %", "")
        if rules:
            rules.sort(key=lambda row: (-row.low, row.group, row.rule))
            parts.append(console.table(columns, [_line(r, r.group, r.rule) for r in rules]))
        else:
            parts.append("no rule drops a group clearly more often than the rest")
        parts.append("a flag is a reason to look: yoriai corpus sample CORPUS --dropped-by RULE")
        return "\n\n".join(parts)

    console.emit(value, as_json=as_json, text=text)


def _line(row: AuditComparison, *names: str) -> tuple[str, ...]:
    high = f"{row.high:.2f}" if math.isfinite(row.high) else "∞"
    return (
        *names,
        f"{row.dropped:,} ({row.share:.1%})",
        f"{row.rest_share:.1%}",
        "–" if row.ratio is None else f"{row.ratio:.2f}",
        f"{row.low:.2f} – {high}",
        "over-dropped" if row.flagged else "",
    )


@click.command(epilog="""\b
Examples:
  yoriai corpus datasheet build/tour/text@1
  yoriai corpus datasheet build/tour/text@1 --out sheet --creator "Example Lab"
""")  # fmt: skip
@click.argument("corpus", type=folder)
@click.option(
    "--out", type=folder, metavar="FOLDER", help="Write datasheet.md and croissant.json there."
)
@click.option("--url", default="", help="Where the corpus is published (croissant.json).")
@click.option("--creator", default="", help="Who made the corpus (croissant.json).")
@click.option("--published", default="", metavar="DATE", help="When, YYYY-MM-DD (croissant.json).")
@console.json_option
def datasheet(
    corpus: Path, out: Path | None, url: str, creator: str, published: str, as_json: bool
) -> None:
    """Write a datasheet of CORPUS from its account, and its Croissant description.

    What the build did not measure is listed as not recorded. Without --out the datasheet is
    printed; --json prints the Croissant description with it.
    """
    from yoriai_corpus.account import croissant as croissants
    from yoriai_corpus.account import datasheet as datasheets

    artifact = open_kind(corpus, "corpus")
    manifest = artifact.manifest
    facts, sources = artifact.facts, manifest["sources"]
    known = {"name": artifact.name, "licence": manifest["licence"]}
    more = {"files": manifest["files"], "url": url, "creator": creator, "published": published}
    described = croissants.describe(facts, sources, **known, **more)
    lacks = croissants.missing(described)
    written: list[str] = []
    if out is not None:
        datasheets.write(
            out, facts, sources, artifact.config, **known, seed=manifest["seed"], **more
        )
        written = [str(out / datasheets.NAME), str(out / datasheets.CROISSANT)]
        if lacks:
            console.note(f"Croissant also asks for: {', '.join(lacks)}")
    sheet = datasheets.describe(facts, sources, artifact.config, **known, seed=manifest["seed"])
    value = {
        "written": written,
        "datasheet": sheet,
        "croissant": described,
        "croissant_lacks": lacks,
    }
    console.emit(value, as_json=as_json, text=lambda: "\n".join(written) or sheet.rstrip())
