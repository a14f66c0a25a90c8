"""Pictures of a leaderboard as inline SVG: intervals of one task, and a radar of categories.

matplotlib draws with colours that stand for others; they become colours of the page, so a picture
is legible in light and in dark. Where matplotlib is not installed there is no picture: the tables
hold the same numbers.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from unicodedata import east_asian_width

from yoriai_eval.report.markup import visible

# What is drawn, and what it becomes. Nothing else may be drawn in the left ones.
INK, ACCENT, FLOOR = "#010101", "#010102", "#010103"
SERIES = tuple(f"#0102{n:02x}" for n in range(6))
_COLOURS = {
    INK: "currentColor",
    ACCENT: "var(--accent)",
    FLOOR: "var(--floor)",
    **{colour: f"var(--s{n})" for n, colour in enumerate(SERIES)},
}
MARKERS = "os^Dvp"
WIDTH = 4.6  # inches of a forest plot: its text stays legible on a phone
MOST_LABEL = 24  # characters of a model's name in a picture
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: the browser has the fonts
    "svg.hashsalt": "yoriai",  # the same figure gives the same bytes
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.18,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def intervals(
    rows: Sequence[tuple[str, float, float | None, float | None, bool]],
    floors: Mapping[str, float],
    label: str,
) -> str:
    """A forest plot: (model, score, low, high, at its floor) a row, the floors as lines.

    A score at its floor has an open mark. ``label`` stands below the axis.
    """
    lines = _together(floors)
    names = [short(name) for name, *_ in rows]
    top, bottom = 0.08 + 0.15 * len(lines), 0.48
    height = top + bottom + 0.26 * max(2, len(rows))

    def draw(canvas: Any) -> None:
        left = (0.2 + 0.078 * max(map(_width, names), default=0)) / WIDTH
        axes = canvas.add_axes((left, bottom / height, 0.97 - left, 1 - (top + bottom) / height))
        for place, (_, score, low, high, at_floor) in enumerate(rows):
            if low is not None and high is not None:
                axes.plot([low, high], [place, place], color=ACCENT, linewidth=1.8)
            axes.plot(
                [score],
                [place],
                marker="o",
                markersize=6,
                color=ACCENT,
                markerfacecolor="none" if at_floor else ACCENT,
            )
        for number, (value, kinds) in enumerate(lines):
            axes.axvline(value, color=FLOOR, linestyle="--", linewidth=1.2)
            axes.annotate(
                ", ".join(kinds),
                (value, 1),
                (-2 if value > _middle(rows, floors) else 2, 2 + 10.5 * number),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="right" if value > _middle(rows, floors) else "left",
                color=FLOOR,
                fontsize=8,
            )
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(label, fontsize=9)
        axes.grid(axis="x")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)

    return _svg(draw, (WIDTH, height))


def _width(name: str) -> int:
    """Columns of a name, where a Japanese character takes two."""
    return sum(2 if east_asian_width(c) in "WF" else 1 for c in name)


def _together(floors: Mapping[str, float]) -> list[tuple[float, list[str]]]:
    """Floors of one value get one line."""
    found: dict[float, list[str]] = {}
    for name, value in floors.items():
        found.setdefault(value, []).append(name)
    return sorted(found.items())


def _middle(
    rows: Sequence[tuple[str, float, float | None, float | None, bool]],
    floors: Mapping[str, float],
) -> float:
    ends = [v for _, *values, _ in rows for v in values if v is not None] + list(floors.values())
    return (min(ends) + max(ends)) / 2


def radar(
    axes_names: Sequence[str], series: Mapping[str, Sequence[float]], floors: Sequence[float] = ()
) -> str:
    """Shares from 0 to 1 by category, at most six models, with the floors as a broken line."""
    turns = [2 * math.pi * n / len(axes_names) for n in range(len(axes_names))]

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes((0.05, 0.1, 0.5, 0.8), projection="polar")
        axes.set_theta_offset(math.pi / 2)
        axes.set_theta_direction(-1)
        closed = [*turns, turns[0]]
        for number, (name, values) in enumerate(series.items()):
            colour = SERIES[number % len(SERIES)]
            axes.plot(
                closed,
                [*values, values[0]],
                color=colour,
                marker=MARKERS[number % len(MARKERS)],
                markersize=5,
                linewidth=1.7,
                label=short(name),
            )
        if floors:
            label = "最良の床 · best floors"  # one picture stands in both pages
            axes.plot(closed, [*floors, floors[0]], color=FLOOR, linestyle="--", label=label)
        most = max([v for values in series.values() for v in values] + list(floors) + [0.01])
        top = min(1.0, math.ceil(most * 10) / 10)
        axes.set_ylim(0, top)
        axes.set_rlabel_position(180 / len(axes_names))  # between two axes
        axes.set_yticks([top * n / 4 for n in range(1, 5)])
        axes.set_yticklabels([f"{top * n / 4:.0%}" for n in range(1, 5)], fontsize=8)
        axes.set_xticks(turns, list(axes_names))
        axes.spines["polar"].set_alpha(0.3)
        canvas.legend(loc="upper left", bbox_to_anchor=(0.62, 0.98), frameon=False, fontsize=9)

    return _svg(draw, (6.6, 3.6))


def reliability(
    series: Mapping[str, Sequence[tuple[float, float, float, float]]], labels: tuple[str, str]
) -> str:
    """Share of right answers over confidence: (confidence, share, low, high) a bin, by model.

    The diagonal is what a calibrated model has. ``labels`` stand at the axes.
    """

    def draw(canvas: Any) -> None:
        axes = canvas.add_axes((0.13, 0.13, 0.5, 0.8))
        axes.plot([0, 1], [0, 1], color=INK, linestyle=":", linewidth=1.0)
        for number, (name, bins) in enumerate(series.items()):
            colour = SERIES[number % len(SERIES)]
            for sure, _, low, high in bins:
                axes.plot([sure, sure], [low, high], color=colour, linewidth=1.0, alpha=0.6)
            axes.plot(
                [sure for sure, *_ in bins],
                [share for _, share, *_ in bins],
                color=colour,
                marker=MARKERS[number % len(MARKERS)],
                markersize=5,
                linewidth=1.4,
                label=short(name),
            )
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel(labels[0], fontsize=9)
        axes.set_ylabel(labels[1], fontsize=9)
        axes.grid()
        canvas.legend(loc="upper left", bbox_to_anchor=(0.66, 0.95), frameon=False, fontsize=9)

    return _svg(draw, (5.6, 3.6))


def short(name: str) -> str:
    """A model's name that fits beside a picture."""
    name = visible(name)
    return name if len(name) <= MOST_LABEL else name[: MOST_LABEL - 1] + "…"


def _svg(draw: Callable[[Any], None], size: tuple[float, float]) -> str:
    """The picture as inline SVG; "" where matplotlib is not installed."""
    try:
        import matplotlib.style
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        return ""
    # From matplotlib's own defaults, so that nobody's matplotlibrc changes the bytes.
    with matplotlib.style.context(["default", _SETTINGS]), warnings.catch_warnings():
        # matplotlib only measures with its own fonts; the browser's hold every glyph.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        canvas = Canvas(figsize=size)
        draw(canvas)
        stream = io.StringIO()
        canvas.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(stream.getvalue())


def _inline(text: str) -> str:
    """The picture alone, in the page's colours, without names that would be there twice."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z0-9]+_\d+"', "", text)
    text = re.sub(r"#010[12][0-9a-f]{2}", lambda found: _COLOURS[found[0]], text)
    text = re.sub(r"\n\s*", "\n", text)
    return text.replace("<svg ", '<svg aria-hidden="true" ', 1)
