"""The leaderboard as a page: tables, pictures, and nothing that needs a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yoriai.redaction import Redactor
from yoriai_eval.report import below_tables, plots
from yoriai_eval.report.boards import MOST_AXES, radar
from yoriai_eval.report.markup import NOTHING, asset, escape, number, page, span
from yoriai_eval.report.model import Board, Cell, Column, Value
from yoriai_eval.report.words import PAGES, Language, heading, reading, say, why

# Pictures as SVG by table and column; of a table's categories under "".
Pictures = Mapping[tuple[int, str], str]
SURE = "sure of "  # before a column's key: its reliability diagram


def draw(boards: Sequence[Board]) -> Pictures:
    """All pictures, once for the pages of all languages; none without matplotlib."""
    found = {}
    for board in boards:
        found[board.number, ""] = _radar(board)
        for column in board.columns:
            found[board.number, column.key] = _forest(board, column)
            found[board.number, SURE + column.key] = _reliability(board, column)
    return {place: picture for place, picture in found.items() if picture}


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
        f'<p><a href="{PAGES[other]}" lang="{other}" hreflang="{other}">'
        f"{say('other_language', language)}</a></p>",
        f"<h1>{escape(title)}</h1>",
        f"<details open><summary>{say('read', language)}</summary><ul>"
        + "".join(f"<li>{escape(text)}</li>" for text in reading(language))
        + "</ul></details>",
        "" if pictures else f"<p>{say('no_plots', language)}</p>",
        *(_board(board, language, redactor, pictures) for board in boards),
    ]
    links = f'<link rel="alternate" hreflang="{other}" href="{PAGES[other]}">'
    return page(title, language, "\n".join(parts), script=asset("table.js"), head=links)


def _board(board: Board, language: Language, redactor: Redactor, pictures: Pictures) -> str:
    def grid(columns: Sequence[Column]) -> str:
        return "\n".join(
            below_tables.task(board, c, language, pictures.get((board.number, c.key), ""))
            for c in columns
        )

    categories = pictures.get((board.number, ""), "")
    parts = [
        f'<section id="table-{board.number}"><h2>{escape(heading(board, language))}</h2>',
        *(f"<p>{escape(why(d, language))}</p>" for d in board.differences),
    ]
    if board.tasks:
        parts += [
            _filters(board, language),
            _table(board, board.tasks, language),
            f"<h3>{say('radar', language)}</h3><figure>{categories}</figure>" if categories else "",
            f"<h3>{say('tasks', language)}</h3>",
            below_tables.key(board, language),
            f'<div class="grid">{grid(board.tasks)}</div>',
            below_tables.overlap(board, language),
            below_tables.sureness(
                board,
                language,
                {c.key: pictures.get((board.number, SURE + c.key), "") for c in board.tasks},
            ),
            below_tables.written(board, language),
        ]
    if board.texts:
        parts += [
            f"<h3>{say('texts', language)}</h3>",
            _table(board, board.texts, language),
            f'<div class="grid">{grid(board.texts)}</div>',
        ]
    parts += [below_tables.asked(board, language, redactor), "</section>"]
    return "\n".join(part for part in parts if part)


# --- the table ----------------------------------------------------------------------------


def _filters(board: Board, language: Language) -> str:
    """Hidden until the script shows them, as they do nothing without it."""
    boxes = "".join(
        f'<label><input type="checkbox" name="task" value="{escape(c.key)}" checked> '
        f"{escape(c.key)}</label>"
        for c in board.tasks
    )
    return (
        '<form class="filters" hidden>'
        f'<label>{say("find_model", language)} <input type="search" name="model"></label>'
        f"<fieldset>{boxes}</fieldset>"
        f'<label><input type="checkbox" name="floor"> {say("hide_floor", language)}</label></form>'
    )


def _table(board: Board, columns: Sequence[Column], language: Language) -> str:
    means = columns[0].kind == "task" and any(line.average for line in board.lines)
    names = board.categories if columns[0].kind == "task" else []
    head = [f"<th>{say('model', language)}</th>"]
    head += [f'<th class="n">{say("average", language)}</th>'] if means else []
    head += [f'<th class="n">{escape(name)}</th>' for name in names]
    head += [_head(board, column, language) for column in columns]
    body = []
    for line in board.lines:
        if not any(c.key in line.cells for c in columns):
            continue
        row = [f"<th>{escape(line.label)}</th>"]
        row += [_mean(line.average, language)] if means else []
        row += [_mean(line.categories.get(name), language) for name in names]
        row += [_cell(line.cells.get(c.key), c, language) for c in columns]
        body.append(f'<tr data-m="{escape(line.label)}">{"".join(row)}</tr>')
    return (
        f'<div class="wide"><table class="board"><thead><tr>{"".join(head)}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody>"
        f"<tfoot>{_floors(board, columns, means, names, language)}</tfoot></table></div>"
    )


def _head(board: Board, column: Column, language: Language) -> str:
    told = [column.metric + (" %" if column.unit == "share" else "")]
    if column.samples:
        told.append(f"{column.samples:,} {say('samples', language)}")
    if column.split:
        told.append(f"{say('split', language)} {column.split}")
    every = {c.shots for c in board.tasks}
    if column.shots is not None and len(every) > 1:
        told.append(f"{column.shots} {say('shots', language)}")
    lower = " data-lower" if column.lower_is_better else ""
    return (
        f'<th class="n" data-c="{escape(column.key)}"{lower}>'
        f"<span>{escape(column.key)}</span>"
        + "".join(f"<small>{escape(t)}</small>" for t in told)
        + "</th>"
    )


def _cell(cell: Cell | None, column: Column, language: Language) -> str:
    if cell is None:
        return f'<td class="n" data-c="{escape(column.key)}">{NOTHING}</td>'
    link = next(iter(cell.links.values()), "")
    return _td(cell.value, column.unit, language, link=link, key=column.key)


def _mean(value: Value | None, language: Language) -> str:
    if value is None:
        return f'<td class="n mean">{NOTHING}</td>'
    return _td(value, "share", language, kind="mean")


def _td(
    value: Value, unit: str, language: Language, *, link: str = "", key: str = "", kind: str = ""
) -> str:
    """Score, interval, rank and floor."""
    score = f"<b>{number(value.score, unit)}</b>"
    if link:
        score = f'<a href="{escape(link)}">{score}</a>'
    told = [f"<small>{span(value, unit)}</small>"]
    if value.rank:
        told.append(f"<small>{_rank(value.rank, language)}</small>")
    if value.floor is not None:
        word = say("at_floor" if value.at_floor else "floor", language)
        told.append(f"<small>{word} {number(value.floor, unit)}</small>")
    classes = " ".join(c for c in ("n", kind, "floor" if value.at_floor else "") if c)
    column = f' data-c="{escape(key)}"' if key else ""
    return f'<td class="{classes}"{column} data-v="{value.score}">{score}{"".join(told)}</td>'


def _rank(rank: tuple[int, int], language: Language) -> str:
    told = str(rank[0]) if rank[0] == rank[1] else f"{rank[0]}–{rank[1]}"
    word = say("place", language)
    return f"{told} {word}" if language == "ja" else f"{word} {told}"


def _floors(
    board: Board, columns: Sequence[Column], means: bool, names: Sequence[str], language: Language
) -> str:
    """A row for each kind of floor, and one for the best."""
    kinds = list(dict.fromkeys(kind for c in columns for kind in c.floors))
    if not kinds:
        return ""
    rows = []
    for kind in kinds:
        cells = ["<td></td>"] * (means + len(names))
        cells += [_floor_cell(c, c.floors.get(kind)) for c in columns]
        rows.append(f"<tr><th>{say('floor', language)}: {escape(kind)}</th>{''.join(cells)}</tr>")
    if means or names:
        averages = [line.average for line in board.lines if line.average]
        best = [_floor_of(averages)] if means else []
        best += [
            _floor_of([x.categories[name] for x in board.lines if name in x.categories])
            for name in names
        ]
        cells = [f'<td class="n mean">{cell}</td>' for cell in best]
        cells += [_floor_cell(c, c.floor) for c in columns]
        rows.append(f"<tr><th>{say('best_floor', language)}</th>{''.join(cells)}</tr>")
    return "".join(rows)


def _floor_of(values: Sequence[Value]) -> str:
    floors = [v.floor for v in values if v.floor is not None]
    return number(floors[0], "share") if floors else ""


def _floor_cell(column: Column, value: float | None) -> str:
    told = "" if value is None else number(value, column.unit)
    return f'<td class="n" data-c="{escape(column.key)}">{told}</td>'


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
