"""What stands below a table: each task by itself, contamination, and how models were run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yoriai.redaction import Redactor
from yoriai_eval.probes.calibration import COLDEST, HOTTEST
from yoriai_eval.report.markup import NOTHING, escape, number, span, without_paths
from yoriai_eval.report.model import Board, Cell, Column
from yoriai_eval.report.words import Language, say
from yoriai_eval.scoring.abstention import KINDS
from yoriai_eval.scoring.sections import REASONS

FEW = 10  # samples; of fewer, a score says next to nothing
FOUND = ("exact", "near", "too_short")
ASKED_FIRST = ("backend", "model", "dtype", "precision")


def task(board: Board, column: Column, language: Language, picture: str) -> str:
    key = escape(column.key)
    return (
        f'<div class="task" data-c="{key}"><h4>{key}</h4>'
        f"{_how_ranked(board, column, language)}"
        + (f"<figure>{picture}</figure>" if picture else "")
        + f"{_bars(board, column, language)}{_details(board, column, language)}</div>"
    )


def _how_ranked(board: Board, column: Column, language: Language) -> str:
    if not any(x.cells[column.key].value.rank for x in board.lines if column.key in x.cells):
        return ""
    return f"<small>{say('by_pairs' if column.paired else 'by_intervals', language)}</small>"


def key(board: Board, language: Language) -> str:
    found = {r for x in board.lines for cell in x.cells.values() for r in cell.reasons}
    return (
        f'<p class="key">{say("reasons", language)}: '
        + "".join(
            f'<span><i class="{r}"></i>{say(r, language)}</span>' for r in REASONS if r in found
        )
        + "</p>"
        if found
        else ""
    )


def _bars(board: Board, column: Column, language: Language) -> str:
    """What became of the answers: a bar a model, parts as wide as their share."""
    rows = []
    for line in board.lines:
        cell = line.cells.get(column.key)
        if cell is None or not cell.reasons:
            continue
        total = sum(cell.reasons.values())
        told = ", ".join(f"{say(r, language)} {n:,}" for r, n in cell.reasons.items())
        parts = "".join(
            f'<i class="{r}" style="width:{100 * cell.reasons[r] / total:.3f}%"></i>'
            for r in REASONS
            if cell.reasons.get(r)
        )
        label = escape(line.label)
        rows.append(
            f'<span class="name" data-m="{label}" title="{label}">{label}</span>'
            f'<span class="bar" data-m="{label}" role="img" title="{told}" '
            f'aria-label="{told}">{parts}</span>'
        )
    return f'<div class="bars">{"".join(rows)}</div>' if rows else ""


def _details(board: Board, column: Column, language: Language) -> str:
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
    links = [f"<li>{escape(x)}: {_links(cell)}</li>" for x, cell in cells if cell.links]
    if links:
        parts.append(_folded(say("answers", language), f"<ul>{''.join(links)}</ul>"))
    return "".join(parts)


def _group(cell: Cell, group: str, column: Column) -> str:
    return number(cell.groups[group]["score"], column.unit) if group in cell.groups else NOTHING


def _links(cell: Cell) -> str:
    return " · ".join(f'<a href="{escape(to)}">{escape(x)}</a>' for x, to in cell.links.items())


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{body}</details>"


def _plain(columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    head = "".join(
        f'<th class="n">{escape(c)}</th>' if place else f"<th>{escape(c)}</th>"
        for place, c in enumerate(columns)
    )
    body = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(f'<td class="n">{escape(value)}</td>' for value in values)
        + "</tr>"
        for name, values in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def overlap(board: Board, language: Language) -> str:
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
        return ""
    parts = [f"<h3>{say('overlap', language)}</h3><p>{say('overlap_text', language)}</p>"]
    if board.searched:
        parts.append(f"<p>{say('searched', language)}: {escape(', '.join(board.searched))}</p>")
    if counts:
        columns = [say(key, language) for key in ("task", "samples", *FOUND, "is_dirty")]
        parts.append(_plain([*columns, say("between", language)], counts))
    if rows:
        columns = [say(key, language) for key in ("task", "all", "clean", "dirty", "difference")]
        parts.append(f"<p>{say('halves_text', language)}</p>")
        parts.append(_plain(columns, rows))
    return "".join(parts)


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


def sureness(board: Board, language: Language, pictures: Mapping[str, str]) -> str:
    """Calibration of ranked tasks: a diagram a task, and a row for each model and task."""
    if not board.reliability:
        return ""
    parts = [f"<h3>{say('sure', language)}</h3><p>{say('sure_text', language)}</p>"]
    figures = [
        f'<div class="task" data-c="{escape(key)}"><h4>{escape(key)}</h4>'
        f"<figure>{picture}</figure></div>"
        for key, picture in pictures.items()
        if picture
    ]
    parts.append(f'<div class="grid">{"".join(figures)}</div>' if figures else "")
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
    return "".join(
        [*parts, _plain([say("task", language), *(say(n, language) for n in names)], rows)]
    )


def _temperature(value: float) -> str:
    """At an end of what was looked at, the best one lies beyond."""
    if value > 0.99 * HOTTEST:
        return f"≥ {HOTTEST:g}"
    return f"≤ {COLDEST:.2g}" if value < 1.01 * COLDEST else f"{value:.3g}"


def written(board: Board, language: Language) -> str:
    """What became of written answers, those that are none apart from wrong ones."""
    if not board.written:
        return ""
    kinds = [k for k in KINDS if any(counts.get(k) for counts in board.written.values())]
    rows = [
        (f"{task}: {label}", [f"{counts.get(kind, 0):,}" for kind in kinds])
        for (label, task), counts in board.written.items()
    ]
    columns = [say("task", language), *(say(f"kind {kind}", language) for kind in kinds)]
    return f"<h3>{say('written', language)}</h3><p>{say('written_text', language)}</p>" + _plain(
        columns, rows
    )


def asked(board: Board, language: Language, redactor: Redactor) -> str:
    """How each model was run, without paths and secrets."""
    rows = [
        (
            line.label,
            [f"{line.artifact} {line.digest[:12]}", told_with(line.asked_with, redactor)],
        )
        for line in board.lines
    ]
    columns = [say("model", language), say("artifact", language), say("asked_with", language)]
    head = "".join(f"<th>{escape(c)}</th>" for c in columns)
    body = "".join(
        f"<tr><th>{escape(name)}</th>" + "".join(f"<td>{escape(v)}</td>" for v in values) + "</tr>"
        for name, values in rows
    )
    table = f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
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
