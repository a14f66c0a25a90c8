"""Figures as inline SVG, by matplotlib."""

from __future__ import annotations

import io
import warnings
from typing import Any

from yoriai.section import Figure

# Okabe and Ito's palette: distinct for colour-blind readers too.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000")
MARKED = 12  # points of a line up to which each is shown; a line of one is nothing but its point


def draw(figure: Figure) -> str:
    """A figure as inline SVG; what is written in it is text.

    Raises ImportError where matplotlib is not installed.
    """
    import matplotlib

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
