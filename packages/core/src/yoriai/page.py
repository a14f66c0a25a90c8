"""A run as one static page: what was made, from what, and what came of it.

Plugins hand over sections as data (text, tables, figures); only this module turns them into
HTML, so every page looks alike and no plugin can inject markup: whatever is put into a
``Markup`` is escaped unless it is one itself. Figures are drawn by matplotlib as inline SVG;
where it is not installed the numbers are shown as a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from yoriai import blame, files
from yoriai import figure as figures
from yoriai.artifact import Artifact
from yoriai.redaction import Redactor, count_hidden, say_hidden
from yoriai.registry import Registry
from yoriai.section import Figure, Section, Table

NOTHING = Markup("")


STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #0072b2;
  --good: #007a59; --bad: #b34700; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --accent: #56b4e9;
  --good: #2fc79b; --bad: #ff8c42; --paper: #121212; }
  .badge { color: #000 !important; } }
body { font: 16px/1.65 system-ui, "Hiragino Sans", "Noto Sans JP", "Noto Sans CJK JP", sans-serif;
  max-width: 54rem; margin: 2rem auto; padding: 0 1rem; background: var(--paper); }
h1 { line-height: 1.25; } h2 { margin-top: 2.4rem; border-bottom: 1px solid var(--line); }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { padding: .25rem .8rem .25rem 0; text-align: left; border-bottom: 1px solid var(--line);
  vertical-align: top; } th.n, td.n { text-align: right; font-variant-numeric: tabular-nums; }
td:first-child { overflow-wrap: anywhere; min-width: 8rem; }
pre { background: var(--soft); padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
figure { margin: 1rem 0; overflow-x: auto; } figure svg { width: 100%; min-width: 32rem;
  height: auto; } figure svg text { fill: currentColor !important; }
figure svg [style*="stroke: #000000"] { stroke: currentColor !important; }
nav ul { columns: 16rem; padding-left: 1.2rem; } h2 { scroll-margin-top: 1rem; }
.held { color: var(--good); } .failed { color: var(--bad); } .held, .failed { font-weight: 600; }
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
                place = blame.find(error, registry.plugins)
                where = f" ({place.file}:{place.line})" if place else ""
                text = f"Plugin {name!r} could not describe {artifact.name}: {error!r}{where}"
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
    english = titles.get("en")
    badge = Markup('<p><span class="badge">{}</span> {}@{} · run <code>{}</code> · {}</p>')
    parts = [
        Markup("<h1>{}</h1>").format(title),
        Markup('<p lang="en">{}</p>').format(english) if english and english != title else NOTHING,
        badge.format(run["state"], run["recipe"], run["version"], run["id"], run["started"]),
        *(
            Markup('<p lang="{}">{}</p>').format(language, text)
            for language, text in in_short(run, artifacts, record).items()
        ),
        _TOC,
        _predictions(record),
        Markup("<h2>Steps · 手順</h2>"),
        _table(
            Table(
                columns=("step", "uses", "state", "seconds", "processor seconds", "digest"),
                rows=[
                    (
                        name,
                        run["resolved"]["steps"][name]["uses"],
                        row.get("state", ""),
                        row.get("seconds", ""),
                        row.get("processor_seconds", ""),
                        row.get("digest", "")[:12],
                    )
                    for name, row in run["steps"].items()
                ],
            )
        ),
        *[_section(section) for section in sections],
        Markup("<h2>Sources · 出典</h2>"),
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
        Markup("<h2>Downloads · ダウンロード</h2>"),
        _downloads(folder, run, artifacts),
        _hidden(run),
        Markup("<h2>Environment · 環境</h2>"),
        _pre("\n".join(f"{k}: {v}" for k, v in _flat(run["environment"]))),
    ]
    path = folder / "index.html"
    files.write_atomically(path, _html(title, parts).encode())
    return path


def _hidden(run: Mapping[str, Any]) -> Markup:
    if not (told := say_hidden(count_hidden(run), "the run file")):
        return NOTHING
    return Markup('<p lang="en">{}.</p>').format(told)


def render(title: str, sections: Sequence[Section]) -> str:
    """Sections alone as one HTML page, in the same form as a run's."""
    return _html(title, [Markup("<h1>{}</h1>").format(title), *map(_section, sections)])


# Nothing runs, nothing is fetched and nothing is sent: the page is one file.
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
_TOC = Markup("<!-- contents -->")
_HEADING = re.compile(r"<h2>(.*?)</h2>", re.DOTALL)


_PAGE = Markup(
    '<!doctype html><html lang="ja"><head><meta charset="utf-8">'
    '<meta http-equiv="Content-Security-Policy" content="{policy}">'
    '<meta name="viewport" content="width=device-width">'
    "<title>{title}</title><style>{style}</style></head><body><main>{body}</main></body></html>\n"
)


def _html(title: str, parts: Sequence[Markup]) -> str:
    body = _lines(parts)
    headings: list[Markup] = []

    def number(found: re.Match[str]) -> str:
        headings.append(Markup(found[1]))  # what stands in a page is escaped already
        return f'<h2 id="part-{len(headings)}">{found[1]}</h2>'

    body = Markup(_HEADING.sub(number, body))
    contents = Markup('<nav aria-label="Contents · 目次"><ul>{}</ul></nav>').format(
        _joined(
            Markup('<li><a href="#part-{}">{}</a></li>').format(n, text)
            for n, text in enumerate(headings, 1)
        )
    )
    body = body.replace(_TOC, contents, 1)
    return str(_PAGE.format(policy=Markup(POLICY), title=title, style=Markup(STYLE), body=body))


def _joined(parts: Iterable[Markup]) -> Markup:
    return NOTHING.join(parts)


def _lines(parts: Iterable[Markup]) -> Markup:
    return Markup("\n").join(part for part in parts if part)


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


def _predictions(record: Mapping[str, Any] | None) -> Markup:
    if not record or not record.get("predictions"):
        return NOTHING
    head = ("prediction · 予測", "measured · 測定値", "predicted · 予測値", "verdict · 判定")
    row = Markup(
        '<tr><td>{}</td><td class="n">{}</td><td class="n">{} {}</td><td class="{}">{}</td></tr>'
    )
    rows = (
        row.format(
            p["text"],
            _side(p["measured"]),
            p.get("relation", ""),
            _side(p.get("limit")),
            p["verdict"],
            p["verdict"],
        )
        for p in record["predictions"]
    )
    return Markup(
        "<h2>Prediction and outcome · 予測と結果</h2>"
        '<table tabindex="0"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>'
    ).format(_joined(Markup("<th>{}</th>").format(text) for text in head), _joined(rows))


def _side(value: float | None) -> str:
    return "–" if value is None else _number(value)


def _downloads(folder: Path, run: Mapping[str, Any], artifacts: Mapping[str, Artifact]) -> Markup:
    """Links beside the page: the run file, its metrics, and the manifest of each artifact."""
    root = folder.parent
    named = [f"runs/{run['id']}.json", f"runs/{run['id']}.metrics.jsonl"]
    for artifact in artifacts.values():
        if artifact.path.resolve().is_relative_to(root.resolve()):
            place = artifact.path.resolve().relative_to(root.resolve())
            named.append(f"{place.as_posix()}/artifact.json")
    rows = (
        Markup('<li><a href="../{}" download>{}</a></li>').format(quote(name), name)
        for name in named
        if (root / name).is_file()
    )
    return Markup("<ul>{}</ul>").format(_joined(rows))


def _section(section: Section) -> Markup:
    parts = [Markup("<h2>{}</h2>").format(section.title)]
    parts += [Markup("<p>{}</p>").format(p) for p in section.text.split("\n\n") if p.strip()]
    parts += [_table(table) for table in section.tables]
    parts += [
        Markup('<figure tabindex="0">{}</figure>').format(draw(figure))
        for figure in section.figures
    ]
    if section.quote:
        parts.append(_pre(section.quote))
    return _lines(parts)


def _pre(text: str) -> Markup:
    return Markup("<pre>{}</pre>").format(text)


# A wide table scrolls; so that it does by the keyboard too, it can be stepped to.
_TABLE = '<table tabindex="0"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>'


def _table(table: Table) -> Markup:
    numeric = [
        bool(table.rows) and all(isinstance(row[i], (int, float)) for row in table.rows)
        for i in range(len(table.columns))
    ]
    head = (
        Markup('<th class="n">{}</th>' if number else "<th>{}</th>").format(column)
        if column
        else Markup("<td></td>")  # an empty cell heads nothing
        for column, number in zip(table.columns, numeric, strict=True)
    )
    body = (
        Markup("<tr>{}</tr>").format(_joined(_table_cell(value) for value in row))
        for row in table.rows
    )
    return Markup(_TABLE).format(_joined(head), _joined(body))


def _table_cell(value: Any) -> Markup:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Markup('<td class="n">{}</td>').format(_number(value))
    return Markup("<td>{}</td>").format(str(value))


def draw(figure: Figure) -> Markup:
    """A figure as inline SVG, or as a table where matplotlib is missing."""
    try:
        return Markup(figures.draw(figure))  # matplotlib escapes what is written in it
    except ImportError:
        return _as_table(figure)


def _as_table(figure: Figure) -> Markup:
    rows = [(name, x, y) for name, points in figure.series.items() for x, y in points]
    if len(rows) > 40:
        rows = rows[:: len(rows) // 40 + 1]
    table = Table(columns=("series", figure.x_label, figure.y_label), rows=rows)
    return Markup("<figcaption>{}</figcaption>{}").format(figure.title, _table(table))


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _flat(value: Mapping[str, Any], place: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, item in value.items():
        name = f"{place}.{key}" if place else str(key)
        rows += _flat(item, name) if isinstance(item, Mapping) else [(name, item)]
    return rows
