"""Figures and tables of a corpus's account, as data (drawn by :mod:`yoriai.page`)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from yoriai import Artifact, Figure, Section, Table

COUNTS = ("in", "kept", "heldout", "dropped", "unreadable")
MOST_BARS = 12
MOST_REASONS = 10
MOST_LEFT_OUT = 20
MOST_SERIES = 6
_SIDE_BINS = 6
_WIDE = 100.0  # a range is cut in equal ratios if its ends are this many times apart


def account_table(facts: Mapping[str, Any]) -> Table:
    """Documents by source: what came in and what became of it, with the share kept."""

    def row(name: str, counts: Mapping[str, Any]) -> tuple[Any, ...]:
        values = [counts.get(key, 0) for key in COUNTS]
        kept = values[1] + values[2]
        share = f"{kept / values[0]:.1%}" if values[0] else "–"
        passed = counts.get("passed_over", {})
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in _falling(passed).items())
        return (name, *values, share, kinds or "–")

    rows = [row(source, counts) for source, counts in facts.get("by_source", {}).items()]
    columns = ("source", *COUNTS, "share kept", "passed over, by kind")
    return Table(columns=columns, rows=[*rows, row("all", facts)])


def reason_table(facts: Mapping[str, Any]) -> Table:
    """Why records were unreadable: the commonest reasons, with their share of these."""
    reasons = _falling(facts.get("unreadable_by_reason", {}))
    total = sum(reasons.values()) or 1
    rows = [(name, n, f"{n / total:.1%}") for name, n in [*reasons.items()][:MOST_REASONS]]
    return Table(columns=("why unreadable", "records", "share"), rows=rows)


def left_out_table(facts: Mapping[str, Any]) -> Table:
    """What readers left out of sentences, by source: the commonest first."""
    rows = [
        (source, kind, count)
        for source, counts in facts.get("by_source", {}).items()
        for kind, count in [*_falling(counts.get("left_out", {})).items()][:MOST_LEFT_OUT]
    ]
    return Table(columns=("source", "left out of sentences", "times"), rows=rows)


def rule_table(facts: Mapping[str, Any]) -> Table:
    """Rules: documents dropped, with the share of all that came in, and edited."""
    total = facts.get("in", 0)
    edits = facts.get("edited_by_rule", {})
    drops = facts.get("dropped_by_rule", {})
    names = [*_falling(drops), *(name for name in edits if name not in drops)]
    rows = []
    for name in names:
        documents, characters = edited(edits.get(name, 0))
        dropped = drops.get(name, 0)
        share = f"{dropped / total:.2%}" if total else "–"
        rows.append((name, dropped, share, documents, characters))
    columns = ("rule", "dropped", "share of all", "edited", "characters edited")
    return Table(columns=columns, rows=rows)


def source_rule_table(facts: Mapping[str, Any]) -> Table:
    """For each source and rule that dropped any: how many, and the share of that source."""
    rows = [
        (source, rule, count, f"{count / counts['in']:.2%}" if counts.get("in") else "–")
        for source, counts in facts.get("by_source", {}).items()
        for rule, count in _falling(counts.get("dropped_by_rule", {})).items()
    ]
    return Table(columns=("source", "rule", "dropped", "share of source"), rows=rows)


def size_table(facts: Mapping[str, Any], key: str, name: str) -> Table:
    """``by_language`` or ``by_licence``: documents and megabytes kept, with the share of bytes."""
    sizes = facts.get(key, {})
    total = sum(row.get("bytes", 0) for row in sizes.values())
    rows = [
        (label or "unstated", row.get("documents", 0), row.get("bytes", 0) / 1e6,
         f"{row.get('bytes', 0) / total:.1%}" if total else "–")
        for label, row in sizes.items()
    ]  # fmt: skip
    return Table(columns=(name, "documents", "MB", "share of bytes"), rows=rows)


def edited(value: Any) -> tuple[int, int]:
    """Documents and characters of an ``edited_by_rule`` entry (older ledgers: documents only)."""
    if isinstance(value, Mapping):
        return value.get("documents", 0), value.get("characters", 0)
    return int(value), 0


def dropped_by_rule(facts: Mapping[str, Any]) -> list[Figure]:
    """Bars by rule; of several sources a series for each that lost most, the others together."""
    drops = facts.get("dropped_by_rule", {})
    rules = list(_falling(drops))[:MOST_BARS]
    if not rules:
        return []
    by_source = {
        source: counts.get("dropped_by_rule", {})
        for source, counts in facts.get("by_source", {}).items()
    }
    totals = _falling({source: sum(counts.values()) for source, counts in by_source.items()})
    shown = [source for source, count in totals.items() if count]
    most = MOST_SERIES if len(shown) <= MOST_SERIES else MOST_SERIES - 1
    series: dict[str, list[tuple[str, float]]] = {
        source: [(rule, by_source[source].get(rule, 0)) for rule in rules]
        for source in shown[:most]
    }
    if shown[most:]:
        others = Counter[str]()
        for source in shown[most:]:
            others.update(by_source[source])
        series["other sources"] = [(rule, others[rule]) for rule in rules]
    title = "What was dropped, by rule and source"
    if len(by_source) <= 1:
        title = "What was dropped, by rule"
        series = {"dropped": [(rule, drops[rule]) for rule in rules]}
    return [Figure(kind="bar", title=title, x_label="", y_label="documents", series=series)]


def kept_by_language(facts: Mapping[str, Any]) -> list[Figure]:
    sizes = facts.get("by_language", {})
    bars = [(name or "unstated", row.get("bytes", 0) / 1e6) for name, row in sizes.items()]
    if not bars:
        return []
    title = "What was kept"
    series = {"kept": bars[: 2 * MOST_BARS]}
    return [Figure(kind="bar", title=title, x_label="language", y_label="MB", series=series)]


# --- what needs the tables ----------------------------------------------------------------


def measured_values(corpus: Artifact) -> list[Figure]:
    """For each rule that measures: how its values are spread among what it dropped.

    The bars stop at the limits; between them stands what was kept, of which the tables hold
    no value.
    """
    from yoriai_corpus import tables
    from yoriai_corpus.account.audit import paths_of

    values: dict[str, dict[float, list[float]]] = {}
    columns = ("rule", "value", "threshold")
    for row in tables.read_rows(paths_of(corpus, "dropped"), columns):
        if row["value"] is not None and row["threshold"] is not None:
            by_limit = values.setdefault(row["rule"], {})
            by_limit.setdefault(row["threshold"], []).append(row["value"])
    figures = []
    for rule, by_limit in sorted(values.items()):
        below = {t: found for t, found in by_limit.items() if max(found) < t}
        above = {t: found for t, found in by_limit.items() if min(found) >= t < max(found)}
        # A rule with many limits (one a language, say), or none of this kind, has no picture.
        if len(below) > 1 or len(above) > 1 or len(below) + len(above) < len(by_limit):
            continue
        bars = [bar for limit, found in below.items() for bar in _bins(found, min(found), limit)]
        bars.append(("(kept)", 0.0))
        bars += [bar for limit, found in above.items() for bar in _bins(found, limit, max(found))]
        limits = [f"below {t:.4g}" for t in below] + [f"above {t:.4g}" for t in above]
        figures.append(
            Figure(
                kind="bar",
                title=f"{rule}: dropped {' and '.join(limits)}",
                x_label="measured value (lower end of each bar)",
                y_label="documents",
                series={"dropped": bars},
            )
        )
    return figures


def _bins(values: Sequence[float], least: float, most: float) -> list[tuple[str, float]]:
    """Counts in bins from ``least`` to ``most``, each named by its lower end."""
    if least == most:
        return [(f"{least:.3g}", len(values))]
    wide = least > 0 and most / least > _WIDE
    if wide:
        step = (most / least) ** (1 / _SIDE_BINS)
        edges = [least * step**i for i in range(_SIDE_BINS)]
    else:
        edges = [least + (most - least) * i / _SIDE_BINS for i in range(_SIDE_BINS)]
    counts = [0] * len(edges)
    for value in values:
        place = sum(value >= edge for edge in edges) - 1
        counts[max(0, place)] += 1
    names = [f"{edge:.3g}" for edge in edges]
    merged: Counter[str] = Counter()  # edges that read alike are one bar
    for name, count in zip(names, counts, strict=True):
        merged[name] += count
    return [(name, merged[name]) for name in dict.fromkeys(names)]


def lengths(corpus: Artifact) -> list[Figure]:
    """How long documents are, kept and dropped, in bins that double."""
    from yoriai_corpus.account.audit import paths_of

    series = {}
    counts = {
        "kept": _lengths([*paths_of(corpus, "documents"), *paths_of(corpus, "heldout")]),
        "dropped": _lengths(paths_of(corpus, "dropped")),
    }
    present = [size for found in counts.values() for size in found]
    if not present:
        return []
    sizes = range(min(present), max(present) + 1)
    for name, found in counts.items():
        if found:
            series[name] = [(_size(size), found[size]) for size in sizes]
    return [
        Figure(
            kind="bar",
            title="How long documents are",
            x_label="characters, up to",
            y_label="documents",
            series=series,
        )
    ]


def _lengths(paths: Iterable[Any]) -> Counter[int]:
    """How many texts have at most 2**n characters, and more than half of that, by n."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    found: Counter[int] = Counter()
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(512, columns=["text"]):
                for length in pc.utf8_length(batch.column(0)).to_pylist():
                    found[max(3, math.ceil(math.log2(max(1, length))))] += 1
    return found


def _size(power: int) -> str:
    for unit, bits in (("M", 20), ("k", 10)):
        if power >= bits:
            return f"{2 ** (power - bits)}{unit}"
    return str(2**power)


def _falling(counts: Mapping[str, int]) -> dict[str, int]:
    """Largest first; equal ones by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def section(corpus: Artifact, *, with_tables: bool) -> Section:
    """The account of a corpus. ``with_tables`` also draws what must be read from its tables."""
    facts = corpus.facts
    tables = [account_table(facts), rule_table(facts), source_rule_table(facts)]
    tables += [left_out_table(facts)]
    tables += [size_table(facts, "by_language", "language"),
               size_table(facts, "by_licence", "licence")]  # fmt: skip
    figures = [*dropped_by_rule(facts), *kept_by_language(facts)]
    if with_tables:
        figures += [*lengths(corpus), *measured_values(corpus)]
    return Section(
        title=f"Corpus · コーパス: {corpus.step}",
        text="\n\n".join(facts.get("headline", ())),
        tables=[table for table in tables if table.rows],
        figures=figures,
    )
