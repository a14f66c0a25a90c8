"""What stands below a table: each task by itself, contamination, and how models were run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from yoriai.redaction import Redactor
from yoriai_eval.probes.calibration import COLDEST, HOTTEST
from yoriai_eval.report.markup import (
    NO_MARKUP,
    NOTHING,
    fill,
    joined,
    number,
    span,
    without_paths,
)
from yoriai_eval.report.model import Board, Cell, Column
from yoriai_eval.report.words import Language, say
from yoriai_eval.scoring.abstention import KINDS
from yoriai_eval.scoring.sections import REASONS

FEW = 10  # samples; of fewer, a score says next to nothing
FOUND = ("exact", "near", "too_short")
ASKED_FIRST = ("backend", "model", "dtype", "precision")


def task(board: Board, column: Column, language: Language, picture: Markup) -> Markup:
    return fill(
        '<div class="task" data-c="{}"><h4>{}</h4>{}{}{}{}</div>',
        column.key,
        column.key,
        _how_ranked(board, column, language),
        fill("<figure>{}</figure>", picture) if picture else NO_MARKUP,
        _bars(board, column, language),
        _details(board, column, language),
    )


def _how_ranked(board: Board, column: Column, language: Language) -> Markup:
    if not any(x.cells[column.key].value.rank for x in board.lines if column.key in x.cells):
        return NO_MARKUP
    return fill("<small>{}</small>", say("by_pairs" if column.paired else "by_intervals", language))


def key(board: Board, language: Language) -> Markup:
    found = {r for x in board.lines for cell in x.cells.values() for r in cell.reasons}
    if not found:
        return NO_MARKUP
    reasons = (
        fill('<span><i class="{}"></i>{}</span>', r, say(r, language))
        for r in REASONS
        if r in found
    )
    return fill('<p class="key">{}: {}</p>', say("reasons", language), joined(reasons))


def _bars(board: Board, column: Column, language: Language) -> Markup:
    """What became of the answers: a bar a model, parts as wide as their share."""
    rows = []
    for line in board.lines:
        cell = line.cells.get(column.key)
        if cell is None or not cell.reasons:
            continue
        total = sum(cell.reasons.values())
        told = ", ".join(f"{say(r, language)} {n:,}" for r, n in cell.reasons.items())
        parts = joined(
            fill('<i class="{}" style="width:{}%"></i>', r, f"{100 * cell.reasons[r] / total:.3f}")
            for r in REASONS
            if cell.reasons.get(r)
        )
        name = '<span class="name" data-m="{}" title="{}">{}</span>'
        bar = '<span class="bar" data-m="{}" role="img" title="{}" aria-label="{}">{}</span>'
        rows.append(fill(name, line.label, line.label, line.label))
        rows.append(fill(bar, line.label, told, told, parts))
    return fill('<div class="bars">{}</div>', joined(rows)) if rows else NO_MARKUP


def _details(board: Board, column: Column, language: Language) -> Markup:
    """Counts, groups, other metrics and the answers of each form, folded away."""
    cells = [(x.label, x.cells[column.key]) for x in board.lines if column.key in x.cells]
    model, parts = say("model", language), []
    reasons = [r for r in REASONS if any(cell.reasons.get(r) for _, cell in cells)]
    if reasons:
        counts = [(x, [f"{cell.reasons.get(r, 0):,}" for r in reasons]) for x, cell in cells]
        table = _plain([model, *(say(r, language) for r in reasons)], counts)
        parts.append(_folded(say("reasons", language), table))
    sizes = {g: row["samples"] for _, cell in cells for g, row in cell.groups.items()}
    if sizes:
        rows = [
            (f"{group} ({size:,})", [_group(cell, group, column) for _, cell in cells])
            for group, size in sizes.items()
        ]
        table = _plain([say("group", language), *(x for x, _ in cells)], rows)
        parts.append(_folded(say("groups", language), table))
    names = list(dict.fromkeys(m for _, cell in cells for m in cell.metrics))
    if len(names) > 1:
        values = [
            (x, [f"{cell.metrics[m]:.4f}" if m in cell.metrics else NOTHING for m in names])
            for x, cell in cells
        ]
        parts.append(_folded(say("metrics", language), _plain([model, *names], values)))
    fewer = [
        (x, [", ".join(f"{n}: {count:,}" for n, count in sorted(cell.shots.items()))])
        for x, cell in cells
        if cell.shots
    ]
    if fewer:
        table = _plain([model, say("shots", language)], fewer)
        parts.append(_folded(say("fewer_shots", language), table))
    links = [fill("<li>{}: {}</li>", x, _links(cell)) for x, cell in cells if cell.links]
    if links:
        parts.append(_folded(say("answers", language), fill("<ul>{}</ul>", joined(links))))
    return joined(parts)


def _group(cell: Cell, group: str, column: Column) -> str:
    return number(cell.groups[group]["score"], column.unit) if group in cell.groups else NOTHING


def _links(cell: Cell) -> Markup:
    return joined((fill('<a href="{}">{}</a>', to, x) for x, to in cell.links.items()), " · ")


def _folded(title: str, body: Markup) -> Markup:
    return fill("<details><summary>{}</summary>{}</details>", title, body)


def _plain(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> Markup:
    head = joined(
        fill('<th class="n">{}</th>' if place else "<th>{}</th>", c)
        for place, c in enumerate(columns)
    )
    body = joined(
        fill(
            "<tr><th>{}</th>{}</tr>",
            name,
            joined(fill('<td class="n">{}</td>', value) for value in values),
        )
        for name, values in rows
    )
    return fill('<div class="wide"><table><tr>{}</tr>{}</table></div>', head, body)


def overlap(board: Board, language: Language) -> Markup:
    """Clean and dirty halves beside each other."""
    rows = []
    for column in board.tasks:
        for line in board.lines:
            cell = line.cells.get(column.key)
            if cell is None or not (cell.clean or cell.dirty):
                continue
            rows.append((f"{column.key}: {line.label}", _halves(cell, column, language)))
    counts = [(c.key, _found(c.overlap, language)) for c in board.tasks if c.overlap]
    if not rows and not counts:
        return NO_MARKUP
    parts = [fill("<h3>{}</h3><p>{}</p>", say("overlap", language), say("overlap_text", language))]
    if board.searched:
        searched = ", ".join(board.searched)
        parts.append(fill("<p>{}: {}</p>", say("searched", language), searched))
    if counts:
        columns = [say(key, language) for key in ("task", "samples", *FOUND, "is_dirty")]
        parts.append(_plain([*columns, say("between", language)], counts))
    if rows:
        columns = [say(key, language) for key in ("task", "all", "clean", "dirty", "difference")]
        parts.append(fill("<p>{}</p>", say("halves_text", language)))
        parts.append(_plain(columns, rows))
    return joined(parts)


def _found(overlap: Mapping[str, Any], language: Language) -> list[str]:
    """Counts of a ledger; a kind that was not looked for has none."""
    told = [
        f"{overlap[key]:,}" if key in overlap else NOTHING for key in ("samples", *FOUND, "dirty")
    ]
    found = [
        f"{place} {count:,}{note}"
        for kind, note in (("between", ""), ("swapped", f" ({say('swapped', language)})"))
        for place, count in _whole(overlap.get(kind, {})).items()
    ]
    return [*told, ", ".join(found)]


def _whole(places: Mapping[str, int]) -> dict[str, int]:
    """Counts by split; where all splits of a set are counted together, that count alone."""
    summed = {place.rpartition("/")[0] for place in places if "+" in place}
    return {p: n for p, n in places.items() if "+" in p or p.rpartition("/")[0] not in summed}


def _halves(cell: Cell, column: Column, language: Language) -> list[str]:
    told = []
    for value in (cell.value, cell.clean, cell.dirty):
        if value is None:
            told.append(NOTHING)
            continue
        few = f", {say('few', language)}" if value.samples < FEW else ""
        interval = span(value, column.unit)
        told.append(f"{number(value.score, column.unit)} ({interval}; {value.samples:,}{few})")
    if not (cell.clean and cell.dirty):
        return [*told, NOTHING]
    scale = 100 if column.unit == "share" else 1
    return [*told, f"{(cell.dirty.score - cell.clean.score) * scale:+.3g}"]


def sureness(board: Board, language: Language, pictures: Mapping[str, Markup]) -> Markup:
    """Calibration of ranked tasks: a diagram a task, and a row for each model and task."""
    if not board.reliability:
        return NO_MARKUP
    parts = [fill("<h3>{}</h3><p>{}</p>", say("sure", language), say("sure_text", language))]
    one_task = '<div class="task" data-c="{}"><h4>{}</h4><figure>{}</figure></div>'
    figures = [fill(one_task, key, key, picture) for key, picture in pictures.items() if picture]
    if figures:
        parts.append(fill('<div class="grid">{}</div>', joined(figures)))
    rows = []
    for one in board.reliability:
        low, high = (number(v, "bits") for v in one.brier_interval)
        under, over = (number(v, "bits") for v in one.area_interval)
        chance = one.calibrated
        values = [
            f"{one.samples:,}" + (f" (−{one.left_out:,})" if one.left_out else ""),
            number(one.right, "share"),
            number(one.sure, "share"),
            f"{number(one.error, 'bits')} (≤ {number(chance.below, 'bits')})",
            number(one.debiased, "bits"),
            f"{number(one.brier, 'bits')} ({low}–{high})",
            f"{number(one.area, 'bits')} ({under}–{over}; {number(one.chance_area, 'bits')})",
            f"{_temperature(one.temperature)}, {say('on_' + one.fitted_on, language)}",
            number(one.error_after, "bits"),
        ]
        rows.append((f"{one.task}: {one.label}", values))
    names = ("samples", "right", "confidence", "ece", "debiased", "brier", "aurc", "temperature",
             "ece_after")  # fmt: skip
    return joined(
        [*parts, _plain([say("task", language), *(say(n, language) for n in names)], rows)]
    )


def _temperature(value: float) -> str:
    """At an end of what was looked at, the best one lies beyond."""
    if value > 0.99 * HOTTEST:
        return f"≥ {HOTTEST:g}"
    return f"≤ {COLDEST:.2g}" if value < 1.01 * COLDEST else f"{value:.3g}"


def written(board: Board, language: Language) -> Markup:
    """What became of written answers, those that are none apart from wrong ones."""
    if not board.written:
        return NO_MARKUP
    kinds = [k for k in KINDS if any(counts.get(k) for counts in board.written.values())]
    rows = [
        (f"{task}: {label}", [f"{counts.get(kind, 0):,}" for kind in kinds])
        for (label, task), counts in board.written.items()
    ]
    columns = [say("task", language), *(say(f"kind {kind}", language) for kind in kinds)]
    return fill(
        "<h3>{}</h3><p>{}</p>{}",
        say("written", language),
        say("written_text", language),
        _plain(columns, rows),
    )


def asked(board: Board, language: Language, redactor: Redactor) -> Markup:
    """How each model was run, without paths and secrets."""
    rows = [
        (
            line.label,
            [f"{line.artifact} {line.digest[:12]}", told_with(line.asked_with, redactor)],
        )
        for line in board.lines
    ]
    columns = [say("model", language), say("artifact", language), say("asked_with", language)]
    head = joined(fill("<th>{}</th>", c) for c in columns)
    body = joined(
        fill("<tr><th>{}</th>{}</tr>", name, joined(fill("<td>{}</td>", value) for value in values))
        for name, values in rows
    )
    table = fill('<div class="wide"><table><tr>{}</tr>{}</table></div>', head, body)
    return _folded(say("asked_with", language), table)


def told_with(asked: Mapping[str, Any], redactor: Redactor) -> str:
    """``asked_with`` in one line, backend and model first."""
    safe = redactor.value(dict(asked))
    keys = [k for k in ASKED_FIRST if k in safe] + [k for k in safe if k not in ASKED_FIRST]
    return without_paths(", ".join(f"{key} {_flat(safe[key])}" for key in keys))[:600]


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} {_flat(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flat, value)) + "]"
    return str(value)
