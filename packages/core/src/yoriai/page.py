"""A run as one static page: what was made, from what, and what came of it.

Plugins hand over sections as data (text, tables, figures); only this module turns them into
HTML, so every page looks alike and no plugin can inject markup. Figures are drawn by
matplotlib as inline SVG; where it is not installed the numbers are shown as a table.
"""

from __future__ import annotations

import html
import io
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from yoriai import files
from yoriai.artifact import Artifact
from yoriai.redaction import Redactor, count_hidden, say_hidden
from yoriai.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure as data. ``series`` maps a name to its (x, y) points; bars use x as labels."""

    kind: Literal["line", "bar"]
    title: str
    x_label: str
    y_label: str
    series: Mapping[str, Sequence[tuple[Any, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of a page. ``text`` is plain text; an empty line starts a new paragraph."""

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Figure] = ()
    quote: str = ""


# Okabe and Ito's palette: distinct for colour-blind readers too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --accent: #56b4e9; }
  .badge { color: #000 !important; } }
body { font: 16px/1.65 system-ui, "Hiragino Sans", "Noto Sans JP", "Noto Sans CJK JP", sans-serif;
  max-width: 54rem; margin: 2rem auto; padding: 0 1rem; }
h1 { line-height: 1.25; } h2 { margin-top: 2.4rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; } th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; }
td:first-child { overflow-wrap: anywhere; }
pre { background: var(--soft); padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
figure { margin: 1rem 0; overflow-x: auto; } figure svg { width: 100%; min-width: 32rem;
  height: auto; } figure svg text { fill: currentColor !important; }
figure svg [style*="stroke: #000000"] { stroke: currentColor !important; }
nav ul { columns: 16rem; padding-left: 1.2rem; } h2 { scroll-margin-top: 1rem; }
.held { color: #009e73; } .failed { color: #d55e00; } .held, .failed { font-weight: 600; }
 .badge { color: #fff; background: var(--accent); border-radius: .3rem;
  padding: .1rem .5rem; font-size: .9rem; } a { color: var(--accent); } small { opacity: .75; }
"""


def collect_sections(
    registry: Registry, artifacts: Mapping[str, Artifact], redactor: Redactor
) -> list[Section]:
    """Ask every plugin about every artifact; a plugin that raises gets a visible section."""
    sections: list[Section] = []
    # Results first: what readers look for stands on top.
    ordered = sorted(artifacts.values(), key=lambda a: a.kind != "scores")
    for artifact in ordered:
        for name, hook in registry.moments("yoriai_sections"):
            try:
                answer = [_redact(section, redactor) for section in hook(artifact=artifact) or ()]
                for section in answer:
                    _section(section)  # what cannot be drawn raises here, where it is known whose
            except Exception as error:
                text = f"Plugin {name!r} could not describe {artifact.name}: {error!r}"
                title = f"{artifact.name}: no description"
                answer = [Section(title=title, text=redactor.text(text))]
            sections += answer
    return sections


def _redact(section: Section, redactor: Redactor) -> Section:
    # Text before it is HTML: escaping would hide a secret from the rules.
    return Section(
        title=redactor.text(section.title),
        text=redactor.text(section.text),
        quote=redactor.text(section.quote),
        tables=[
            Table(columns=redactor.value(t.columns), rows=redactor.value(t.rows))
            for t in section.tables
        ],
        figures=[
            Figure(
                kind=f.kind,
                title=redactor.text(f.title),
                x_label=redactor.text(f.x_label),
                y_label=redactor.text(f.y_label),
                series={redactor.text(k): redactor.value(v) for k, v in f.series.items()},
            )
            for f in section.figures
        ],
    )


def write_page(
    folder: Path,
    run: Mapping[str, Any],
    artifacts: Mapping[str, Artifact],
    sections: Sequence[Section],
    record: Mapping[str, Any] | None,
) -> Path:
    """Write ``index.html`` (one file, no scripts, nothing fetched) and return its path."""
    question = run["resolved"].get("question") or {}
    titles = question.get("title") or {}
    title = titles.get("ja") or titles.get("en") or run["recipe"]
    parts = [
        f"<h1>{_esc(title)}</h1>",
        f'<p lang="en">{_esc(titles["en"])}</p>'
        if titles.get("en") and titles.get("en") != title
        else "",
        f'<p><span class="badge">{_esc(run["state"])}</span> {_esc(run["recipe"])}'
        f"@{_esc(run['version'])} · run <code>{_esc(run['id'])}</code> · {_esc(run['started'])}"
        "</p>",
        *(
            f'<p lang="{language}">{_esc(text)}</p>'
            for language, text in in_short(run, artifacts, record).items()
        ),
        _TOC,
        _predictions(record),
        "<h2>Steps · 手順</h2>",
        _table(
            Table(
                columns=("step", "uses", "state", "seconds", "digest"),
                rows=[
                    (
                        name,
                        run["resolved"]["steps"][name]["uses"],
                        row.get("state", ""),
                        row.get("seconds", ""),
                        row.get("digest", "")[:12],
                    )
                    for name, row in run["steps"].items()
                ],
            )
        ),
        *[_section(section) for section in sections],
        "<h2>Sources · 出典</h2>",
        _table(
            Table(
                columns=("source", "version", "licence", "languages"),
                rows=sorted(
                    {
                        (
                            *(str(s.get(key) or "") for key in ("name", "version", "licence")),
                            ", ".join(s.get("languages") or ()),
                        )
                        for a in artifacts.values()
                        for s in a.manifest["sources"]
                    }
                ),
            )
        ),
        "<h2>Downloads · ダウンロード</h2>",
        _downloads(folder, run, artifacts),
        _hidden(run),
        "<h2>Environment · 環境</h2>",
        "<pre>" + _esc("\n".join(f"{k}: {v}" for k, v in _flat(run["environment"]))) + "</pre>",
    ]
    path = folder / "index.html"
    files.write_atomically(path, _html(title, parts).encode())
    return path


def _hidden(run: Mapping[str, Any]) -> str:
    if not (told := say_hidden(count_hidden(run), "the run file")):
        return ""
    return f'<p lang="en">{_esc(told[:1].upper() + told[1:])}.</p>'


def render(title: str, sections: Sequence[Section]) -> str:
    """Sections alone as one HTML page, in the same form as a run's."""
    return _html(title, [f"<h1>{_esc(title)}</h1>", *map(_section, sections)])


# Nothing runs, nothing is fetched and nothing is sent: the page is one file.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
_TOC = "<!-- contents -->"
_HEADING = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)


def _html(title: str, parts: Sequence[str]) -> str:
    body = "\n".join(part for part in parts if part)
    headings: list[str] = []

    def number(found: re.Match[str]) -> str:
        headings.append(found[1])
        return f'<h2 id="part-{len(headings)}">{found[1]}</h2>'

    body = _HEADING.sub(number, body)
    rows = (f'<li><a href="#part-{n}">{text}</a></li>' for n, text in enumerate(headings, 1))
    contents = f'<nav aria-label="Contents · 目次"><ul>{"".join(rows)}</ul></nav>'
    return (
        '<!doctype html><html lang="ja"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{_esc(title)}</title><style>{STYLE}</style></head><body><main>"
        + body.replace(_TOC, contents, 1)
        + "</main></body></html>\n"
    )


def in_short(
    run: Mapping[str, Any], artifacts: Mapping[str, Artifact], record: Mapping[str, Any] | None
) -> dict[str, str]:
    """What happened, in three sentences and the verdict, by language."""
    steps = run["steps"].values()
    minutes = sum(step.get("seconds", 0) for step in steps) / 60
    rows = (record or {}).get("predictions") or []
    held = sum(row["verdict"] == "held" for row in rows)
    failed = sum(row["verdict"] == "failed" for row in rows)
    verdict = (record or {}).get("verdict", "not-tested")
    made = len(artifacts)
    english = (
        f"The recipe {run['recipe']} ran {len(steps)} steps in {minutes:.1f} minutes and "
        f"{_ENDED_EN.get(run['state'], run['state'])}. "
        f"It made {made} artifact{'' if made == 1 else 's'}, each with a digest for every file. "
        + (
            f"Of {len(rows)} predictions {held} held, {failed} failed and "
            f"{len(rows) - held - failed} could not be measured. Verdict: {verdict}."
            if rows
            else "It stated no predictions. Verdict: not tested."
        )
    )
    japanese = (
        f"レシピ {run['recipe']} は {len(steps)} 段階を {minutes:.1f} 分で実行し、"
        f"{_ENDED_JA.get(run['state'], run['state'])}。"
        f"{made} 個の成果物を作り、どのファイルにもダイジェストがあります。"
        + (
            f"予測 {len(rows)} 件のうち {held} 件が当たり、{failed} 件が外れ、"
            f"{len(rows) - held - failed} 件は測れませんでした。判定: {_VERDICT_JA[verdict]}。"
            if rows
            else "予測は立てていません。判定: 未検証。"
        )
    )
    return {"ja": japanese, "en": english}


_ENDED_EN = {
    "completed": "came to its end",
    "failed": "failed",
    "cancelled": "was stopped",
    "timed-out": "ran out of time",
}
_ENDED_JA = {
    "completed": "最後まで終わりました",
    "failed": "失敗しました",
    "cancelled": "中止されました",
    "timed-out": "時間切れになりました",
}
_VERDICT_JA = {
    "supported": "支持",
    "refuted": "反証",
    "inconclusive": "決められない",
    "not-tested": "未検証",
}


def _predictions(record: Mapping[str, Any] | None) -> str:
    if not record or not record.get("predictions"):
        return ""
    head = ("prediction · 予測", "measured · 測定値", "predicted · 予測値", "verdict · 判定")
    rows = "".join(
        f"<tr><td>{_esc(p['text'])}</td><td class='n'>{_side(p['measured'])}</td>"
        f"<td class='n'>{_esc(p.get('relation', ''))} {_side(p.get('limit'))}</td>"
        f'<td class="{_esc(p["verdict"])}">{_esc(p["verdict"])}</td></tr>'
        for p in record["predictions"]
    )
    columns = "".join(f"<th>{_esc(text)}</th>" for text in head)
    return (
        "<h2>Prediction and outcome · 予測と結果</h2>"
        f"<table><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _side(value: float | None) -> str:
    return "–" if value is None else _number(value)


def _downloads(folder: Path, run: Mapping[str, Any], artifacts: Mapping[str, Artifact]) -> str:
    """Links beside the page: the run file, its metrics, and the manifest of each artifact."""
    root = folder.parent
    named = [f"runs/{run['id']}.json", f"runs/{run['id']}.metrics.jsonl"]
    for artifact in artifacts.values():
        if artifact.path.resolve().is_relative_to(root.resolve()):
            place = artifact.path.resolve().relative_to(root.resolve())
            named.append(f"{place.as_posix()}/artifact.json")
    rows = [
        f'<li><a href="../{_esc(quote(name))}" download>{_esc(name)}</a></li>'
        for name in named
        if (root / name).is_file()
    ]
    return f"<ul>{''.join(rows)}</ul>"


def _section(section: Section) -> str:
    parts = [f"<h2>{_esc(section.title)}</h2>"]
    parts += [f"<p>{_esc(p)}</p>" for p in section.text.split("\n\n") if p.strip()]
    parts += [_table(table) for table in section.tables]
    parts += [f"<figure>{draw(figure)}</figure>" for figure in section.figures]
    if section.quote:
        parts.append(f"<pre>{_esc(section.quote)}</pre>")
    return "\n".join(parts)


def _table(table: Table) -> str:
    numeric = [
        bool(table.rows) and all(isinstance(row[i], (int, float)) for row in table.rows)
        for i in range(len(table.columns))
    ]
    head = "".join(
        f'<th class="n">{_esc(column)}</th>' if number else f"<th>{_esc(column)}</th>"
        for column, number in zip(table.columns, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="n">{_number(c)}</td>'
            if isinstance(c, (int, float)) and not isinstance(c, bool)
            else f"<td>{_esc(c)}</td>"
            for c in row
        )
        + "</tr>"
        for row in table.rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


MARKED = 12  # points of a line up to which each is shown; a line of one is nothing but its point


def draw(figure: Figure) -> str:
    """A figure as inline SVG, or as a table where matplotlib is missing."""
    try:
        import matplotlib
    except ImportError:
        return _as_table(figure)
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text: the browser has the Japanese fonts
        "svg.hashsalt": "yoriai",  # the same figure gives the same bytes
        "text.parse_math": False,  # a dollar sign in a plugin's text is a dollar sign
        "font.size": 11,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # matplotlib only measures with its own fonts; the browser's hold every glyph.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        canvas = Canvas(figsize=(7.4, 3.6), layout="constrained")
        axes = canvas.subplots()
        if figure.kind == "line":
            for position, (name, points) in enumerate(figure.series.items()):
                x, y = [p[0] for p in points], [p[1] for p in points]
                colour, mark = COLOURS[position % len(COLOURS)], "o" if len(x) <= MARKED else ""
                axes.plot(x, y, label=name, color=colour, linewidth=1.8, marker=mark)
        else:
            _draw_bars(axes, figure)
        axes.set(title=figure.title, xlabel=figure.x_label, ylabel=figure.y_label)
        axes.grid(axis="y", alpha=0.3)
        if len(figure.series) > 1:
            canvas.legend(loc="outside right upper", frameon=False)  # never over the bars
        stream = io.StringIO()
        canvas.savefig(
            stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _draw_bars(axes: Any, figure: Figure) -> None:
    labels = list(dict.fromkeys(str(x) for points in figure.series.values() for x, _ in points))
    width = 0.8 / max(1, len(figure.series))
    for position, (name, points) in enumerate(figure.series.items()):
        heights = {str(x): y for x, y in points}
        places = [i + (position - (len(figure.series) - 1) / 2) * width for i in range(len(labels))]
        axes.bar(
            places,
            [heights.get(label, 0.0) for label in labels],
            width,
            label=name,
            color=COLOURS[position % len(COLOURS)],
        )
    long = max((len(label) for label in labels), default=0) > 12
    axes.set_xticks(
        range(len(labels)), labels, rotation=25 if long else 0, ha="right" if long else "center"
    )


def _as_table(figure: Figure) -> str:
    rows = [(name, x, y) for name, points in figure.series.items() for x, y in points]
    if len(rows) > 40:
        rows = rows[:: len(rows) // 40 + 1]
    table = Table(columns=("series", figure.x_label, figure.y_label), rows=rows)
    return f"<figcaption>{_esc(figure.title)}</figcaption>{_table(table)}"


def _esc(value: Any) -> str:
    return html.escape(str(value))


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _flat(value: Mapping[str, Any], place: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, item in value.items():
        name = f"{place}.{key}" if place else str(key)
        rows += _flat(item, name) if isinstance(item, Mapping) else [(name, item)]
    return rows
