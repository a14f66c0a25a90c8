"""The leaderboard as a page: tables, pictures, and nothing that needs a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from yoriai.redaction import Redactor
from yoriai_eval.report import below_tables, plots
from yoriai_eval.report.boards import MOST_AXES, radar
from yoriai_eval.report.markup import (
    NO_MARKUP,
    NOTHING,
    asset,
    fill,
    joined,
    number,
    page,
    span,
)
from yoriai_eval.report.model import Board, Cell, Column, Value
from yoriai_eval.report.words import PAGES, Language, heading, reading, say, why

# Pictures as SVG by table and column; of a table's categories under "".
Pictures = Mapping[tuple[int, str], Markup]
SURE = "sure of "  # before a column's key: its reliability diagram


def draw(boards: Sequence[Board]) -> Pictures:
    """All pictures, once for the pages of all languages; none without matplotlib."""
    found = {}
    for board in boards:
        found[board.number, ""] = _radar(board)
        for column in board.columns:
            found[board.number, column.key] = _forest(board, column)
            found[board.number, SURE + column.key] = _reliability(board, column)
    # matplotlib writes what stands in a picture as text.
    return {place: Markup(picture) for place, picture in found.items() if picture}


def render(
    boards: Sequence[Board],
    title: str,
    language: Language,
    redactor: Redactor,
    pictures: Pictures,
) -> str:
    """The whole page in one language. The same boards and title give the same text."""
    title = title or say("title", language)
    other: Language = "en" if language == "ja" else "ja"
    parts = [
        fill(
            '<p><a href="{}" lang="{}" hreflang="{}">{}</a></p>',
            PAGES[other],
            other,
            other,
            say("other_language", language),
        ),
        fill("<h1>{}</h1>", title),
        fill(
            "<details open><summary>{}</summary><ul>{}</ul></details>",
            say("read", language),
            joined(fill("<li>{}</li>", text) for text in reading(language)),
        ),
        NO_MARKUP if pictures else fill("<p>{}</p>", say("no_plots", language)),
        *(_board(board, language, redactor, pictures) for board in boards),
    ]
    links = fill('<link rel="alternate" hreflang="{}" href="{}">', other, PAGES[other])
    return page(title, language, joined(parts, "\n"), script=asset("table.js"), head=links)


def _board(board: Board, language: Language, redactor: Redactor, pictures: Pictures) -> Markup:
    def grid(columns: Sequence[Column]) -> Markup:
        tasks = (
            below_tables.task(board, c, language, pictures.get((board.number, c.key), NO_MARKUP))
            for c in columns
        )
        return fill('<div class="grid">{}</div>', joined(tasks, "\n"))

    categories = pictures.get((board.number, ""), NO_MARKUP)
    parts = [
        fill('<section id="table-{}"><h2>{}</h2>', board.number, heading(board, language)),
        *(fill("<p>{}</p>", why(d, language)) for d in board.differences),
    ]
    if board.tasks:
        parts += [
            _filters(board, language),
            _table(board, board.tasks, language),
            fill("<h3>{}</h3><figure>{}</figure>", say("radar", language), categories)
            if categories
            else NO_MARKUP,
            fill("<h3>{}</h3>", say("tasks", language)),
            below_tables.key(board, language),
            grid(board.tasks),
            below_tables.overlap(board, language),
            below_tables.sureness(
                board,
                language,
                {c.key: pictures.get((board.number, SURE + c.key), NO_MARKUP) for c in board.tasks},
            ),
            below_tables.written(board, language),
        ]
    if board.texts:
        parts += [
            fill("<h3>{}</h3>", say("texts", language)),
            _table(board, board.texts, language),
            grid(board.texts),
        ]
    parts += [below_tables.asked(board, language, redactor), Markup("</section>")]
    return joined((part for part in parts if part), "\n")


# --- the table ----------------------------------------------------------------------------


def _filters(board: Board, language: Language) -> Markup:
    """Hidden until the script shows them, as they do nothing without it."""
    boxes = joined(
        fill(
            '<label><input type="checkbox" name="task" value="{}" checked> {}</label>',
            c.key,
            c.key,
        )
        for c in board.tasks
    )
    return fill(
        '<form class="filters" hidden>'
        '<label>{} <input type="search" name="model"></label><fieldset>{}</fieldset>'
        '<label><input type="checkbox" name="floor"> {}</label></form>',
        say("find_model", language),
        boxes,
        say("hide_floor", language),
    )


def _table(board: Board, columns: Sequence[Column], language: Language) -> Markup:
    means = columns[0].kind == "task" and any(line.average for line in board.lines)
    names = board.categories if columns[0].kind == "task" else []
    head = [fill("<th>{}</th>", say("model", language))]
    head += [fill('<th class="n">{}</th>', say("average", language))] if means else []
    head += [fill('<th class="n">{}</th>', name) for name in names]
    head += [_head(board, column, language) for column in columns]
    body = []
    for line in board.lines:
        if not any(c.key in line.cells for c in columns):
            continue
        row = [fill("<th>{}</th>", line.label)]
        row += [_mean(line.average, language)] if means else []
        row += [_mean(line.categories.get(name), language) for name in names]
        row += [_cell(line.cells.get(c.key), c, language) for c in columns]
        body.append(fill('<tr data-m="{}">{}</tr>', line.label, joined(row)))
    return fill(
        '<div class="wide"><table class="board"><thead><tr>{}</tr></thead>'
        "<tbody>{}</tbody><tfoot>{}</tfoot></table></div>",
        joined(head),
        joined(body),
        _floors(board, columns, means, names, language),
    )


def _head(board: Board, column: Column, language: Language) -> Markup:
    told = [column.metric + (" %" if column.unit == "share" else "")]
    if column.samples:
        told.append(f"{column.samples:,} {say('samples', language)}")
    if column.split:
        told.append(f"{say('split', language)} {column.split}")
    every = {c.shots for c in board.tasks}
    if column.shots is not None and len(every) > 1:
        told.append(f"{column.shots} {say('shots', language)}")
    return fill(
        '<th class="n" data-c="{}"{}><span>{}</span>{}</th>',
        column.key,
        " data-lower" if column.lower_is_better else "",
        column.key,
        joined(fill("<small>{}</small>", t) for t in told),
    )


def _cell(cell: Cell | None, column: Column, language: Language) -> Markup:
    if cell is None:
        return fill('<td class="n" data-c="{}">{}</td>', column.key, NOTHING)
    link = next(iter(cell.links.values()), "")
    return _td(cell.value, column.unit, language, link=link, key=column.key)


def _mean(value: Value | None, language: Language) -> Markup:
    if value is None:
        return fill('<td class="n mean">{}</td>', NOTHING)
    return _td(value, "share", language, kind="mean")


def _td(
    value: Value, unit: str, language: Language, *, link: str = "", key: str = "", kind: str = ""
) -> Markup:
    """Score, interval, rank and floor."""
    score = fill("<b>{}</b>", number(value.score, unit))
    if link:
        score = fill('<a href="{}">{}</a>', link, score)
    told = [fill("<small>{}</small>", span(value, unit))]
    if value.rank:
        told.append(fill("<small>{}</small>", _rank(value.rank, language)))
    if value.floor is not None:
        word = say("at_floor" if value.at_floor else "floor", language)
        told.append(fill("<small>{} {}</small>", word, number(value.floor, unit)))
    classes = " ".join(c for c in ("n", kind, "floor" if value.at_floor else "") if c)
    column = fill(' data-c="{}"', key) if key else NO_MARKUP
    return fill(
        '<td class="{}"{} data-v="{}">{}{}</td>', classes, column, value.score, score, joined(told)
    )


def _rank(rank: tuple[int, int], language: Language) -> str:
    told = str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}–{rank[1]}"
    word = say("place", language)
    return f"{told} {word}" if language == "ja" else f"{word} {told}"


def _floors(
    board: Board, columns: Sequence[Column], means: bool, names: Sequence[str], language: Language
) -> Markup:
    """A row for each kind of floor, and one for the best."""
    kinds = list(dict.fromkeys(kind for c in columns for kind in c.floors))
    if not kinds:
        return NO_MARKUP
    rows = []
    for kind in kinds:
        cells = [Markup("<td></td>")] * (means + len(names))
        cells += [_floor_cell(c, c.floors.get(kind)) for c in columns]
        rows.append(fill("<tr><th>{}: {}</th>{}</tr>", say("floor", language), kind, joined(cells)))
    if means or names:
        averages = [line.average for line in board.lines if line.average]
        best = [_floor_of(averages)] if means else []
        best += [
            _floor_of([x.categories[name] for x in board.lines if name in x.categories])
            for name in names
        ]
        cells = [fill('<td class="n mean">{}</td>', cell) for cell in best]
        cells += [_floor_cell(c, c.floor) for c in columns]
        rows.append(fill("<tr><th>{}</th>{}</tr>", say("best_floor", language), joined(cells)))
    return joined(rows)


def _floor_of(values: Sequence[Value]) -> str:
    floors = [v.floor for v in values if v.floor is not None]
    return number(floors[0], "share") if floors else ""


def _floor_cell(column: Column, value: float | None) -> Markup:
    told = "" if value is None else number(value, column.unit)
    return fill('<td class="n" data-c="{}">{}</td>', column.key, told)


# --- pictures and details -----------------------------------------------------------------


def _radar(board: Board) -> str:
    lines, names = radar(board), board.categories
    if not lines:
        return ""
    series = {x.label: [x.categories[name].score for name in names] for x in lines}
    floors = [floor for name in names if (floor := lines[0].categories[name].floor) is not None]
    return plots.radar(names, series, floors if len(floors) == len(names) else ())


def _rows(
    board: Board, column: Column
) -> list[tuple[str, float, float | None, float | None, bool]]:
    cells = [(x.label, x.cells[column.key].value) for x in board.lines if column.key in x.cells]
    scale = 100 if column.unit == "share" else 1
    return [
        (
            label,
            v.score * scale,
            None if v.low is None else v.low * scale,
            None if v.high is None else v.high * scale,
            v.at_floor,
        )
        for label, v in cells
    ]


def _reliability(board: Board, column: Column) -> str:
    of = [one for one in board.reliability if one.task == column.key][:MOST_AXES]
    if not of:
        return ""
    series = {one.label: [(b.confidence, b.share, *b.interval) for b in one.bins] for one in of}
    # One picture stands in both pages.
    return plots.reliability(series, ("確信度 · confidence", "正答の割合 · share right"))


def _forest(board: Board, column: Column) -> str:
    scale = 100 if column.unit == "share" else 1
    label = f"{column.metric}, %" if column.unit == "share" else column.metric
    floors = {name: value * scale for name, value in column.floors.items()}
    return plots.intervals(_rows(board, column), floors, label)
