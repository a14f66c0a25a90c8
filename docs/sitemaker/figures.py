"""Figures of the site as SVG, drawn from numbers that stand in the project; no library is needed.

Colours are Okabe and Ito's (distinct for colour-blind readers). A figure has its own dark form, so
it is right in either scheme of the reader's system, and its numbers stand in it as text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

COLOURS = ("#0072b2", "#009e73", "#cc79a7", "#e69f00", "#d55e00", "#56b4e9")
GREY = "#8a8a8a"
STYLE = Markup(
    "text{fill:#222;font:14px system-ui,'Hiragino Sans','Noto Sans JP','Noto Sans CJK JP',"
    "sans-serif}.t{font-weight:600;font-size:16px}.n{font-variant-numeric:tabular-nums}"
    ".s{fill:#555;font-size:12.5px}.b{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#e6e6e6}.s{fill:#aaa}.b{fill:#1b1d24}}"
)
WIDTH, LEFT, ROW, NUMBER = 760, 170, 20, 70
_GROUP = Markup('<text x="12" y="{y}" font-weight="600">{name}</text>')
_BAR = Markup(
    '<text x="{label_end}" y="{line}" text-anchor="end">{label}</text>'
    '<rect x="{left}" y="{top}" width="{length}" height="{height}" rx="2" fill="{colour}"/>'
    '<text class="n" x="{end}" y="{line}">{said}</text>'
)
_FIGURE = Markup(
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
    'aria-labelledby="t d"><title id="t">{title}</title>'
    '<desc id="d">{words}</desc><style>{style}</style>'
    '<rect class="b" width="{width}" height="{height}" rx="8"/>'
    '<text class="t" x="12" y="26">{title}</text>'
    '<text class="s" x="12" y="45">{subtitle}</text>{rows}</svg>\n'
)


def bars(
    title: str,
    subtitle: str,
    groups: Mapping[str, Sequence[tuple[str, float, str]]],
    *,
    unit: str = "",
    places: int = 2,
) -> str:
    """Horizontal bars: for each group its rows of (label, value, colour)."""
    largest = max((value for rows in groups.values() for _, value, _ in rows), default=0.0) or 1.0
    scale = (WIDTH - LEFT - NUMBER) / largest
    y, parts = 58, []
    for name, rows in groups.items():
        if name:
            parts.append(_GROUP.format(y=y + 16, name=name))
            y += 24
        for label, value, colour in rows:
            length = max(1.0, value * scale)
            parts.append(
                _BAR.format(
                    label_end=LEFT - 10,
                    left=LEFT,
                    line=y + 15,
                    top=y + 3,
                    length=f"{length:.1f}",
                    height=ROW - 7,
                    colour=colour,
                    label=label,
                    end=f"{LEFT + length + 8:.1f}",
                    said=f"{value:.{places}f}{unit}",
                )
            )
            y += ROW
        y += 10
    return _FIGURE.format(
        width=WIDTH,
        height=y + 6,
        title=title,
        subtitle=subtitle,
        words=_words(groups, unit, places),
        style=STYLE,
        rows=Markup("").join(parts),
    )


def _words(groups: Mapping[str, Sequence[tuple[str, float, str]]], unit: str, places: int) -> str:
    return ". ".join(
        (f"{name}: " if name else "")
        + ", ".join(f"{label} {value:.{places}f}{unit}" for label, value, _ in rows)
        for name, rows in groups.items()
    )


def read_table(page: str, first: str) -> list[list[str]]:
    """The rows of the Markdown table whose header begins with the cell ``first``."""
    lines = page.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first} |"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("**", "") for cell in line.strip("|").split("|")])
    return [rows[0], *rows[2:]]


def tour_figures(root: Path) -> dict[str, str]:
    """The bits per byte that the tour's page tells, drawn in both languages."""
    pages = {
        "en": ("text", "Bits per byte of text the model has not seen; less is better",
               "What five minutes on two cores taught a model of 2.2 million parameters"),
        "ja": ("文章", "モデルが見ていない文章の、1 バイト当たりのビット数（小さいほど良い）",
               "2 コア 5 分の学習で、220 万パラメータのモデルが身に付けたこと"),
    }  # fmt: skip
    made = {}
    for language, (first, subtitle, title) in pages.items():
        path = root / "docs" / language / "tour.md"
        if not path.is_file():
            continue
        header, *rows = read_table(path.read_text(encoding="utf-8"), first)
        groups = {}
        for name, *values in rows:
            drawn = []
            for label, value in zip(header[1:], values, strict=True):
                place = header[1:].index(label)
                colour = GREY if place < 2 else COLOURS[(place - 2) % len(COLOURS)]
                drawn.append((label, float(re.sub(r"[^\d.]", "", value)), colour))
            groups[name] = drawn
        made[f"assets/tour-{language}.svg"] = bars(title, subtitle, groups)
    return made
