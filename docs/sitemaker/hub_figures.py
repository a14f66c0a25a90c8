"""Figures of the hub's own model, drawn from what was published of its run (``published/hub``).

``python docs/generate.py`` draws them anew. What was not reached in the run has no figure.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sitemaker.figures import COLOURS, GREY, STYLE, WIDTH, bars

WORDS = {
    "en": {
        "text": "The text of the hub's model",
        "text-below": "What the recipe kept and dropped of what it read",
        "kept": "kept, MB",
        "dropped": "dropped, documents",
        "loss": "Loss of the hub's model in training",
        "loss-below": "nats a token (up) by optimizer step (right)",
        "scores": "Bits per byte of text the hub's model has not seen; less is better",
        "scores-below": "Grey needs no model",
    },
    "ja": {
        "text": "ハブのモデルが読む文章",
        "text-below": "読んだもののうち、レシピが残したものと落としたもの",
        "kept": "残したもの（MB）",
        "dropped": "落としたもの（文書）",
        "loss": "ハブのモデルの学習中の損失",
        "loss-below": "縦は 1 トークン当たりの損失（nat）、横は更新の回数",
        "scores": "ハブのモデルが見ていない文章の、1 バイト当たりのビット数（小さいほど良い）",
        "scores-below": "灰色はモデルの要らない方法",
    },
}


def hub_figures(root: Path) -> dict[str, str]:
    """SVG by name, in both languages, of those things that are published."""
    folder = root / "published" / "hub"
    made: dict[str, str] = {}
    for language, words in WORDS.items():
        if text := _read(folder / "text-1.artifact.json"):
            kept, dropped = _account(text["facts"], words)
            made[f"assets/hub-kept-{language}.svg"] = kept
            made[f"assets/hub-dropped-{language}.svg"] = dropped
        curve = folder / "base-1.training.jsonl"
        if curve.is_file():
            rows = [json.loads(line) for line in curve.read_text(encoding="utf-8").splitlines()]
            points = [(float(row["step"]), float(row["loss"])) for row in rows]
            made[f"assets/hub-loss-{language}.svg"] = line(
                words["loss"], words["loss-below"], points
            )
        if (folder / "scores-1.scores.json").is_file():
            models, floors = scores_in_order(folder)
            made[f"assets/hub-scores-{language}.svg"] = _scores(models, floors, words)
    return made


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_bytes()) if path.is_file() else {}


def scores_in_order(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What each model scored, in the order in which they were made, and the floors of texts."""
    scores = _read(folder / "scores-1.scores.json")
    made = {name: _read(folder / f"{name}-1.artifact.json")["circumstances"]["made"]
            for name in scores["models"]}  # fmt: skip
    models = {name: scores["models"][name] for name in sorted(made, key=made.__getitem__)}
    return models, scores["floors"]


def _account(facts: Mapping[str, Any], words: Mapping[str, str]) -> tuple[str, str]:
    kept = [(k, v["bytes"] / 1e6, COLOURS[0]) for k, v in sorted(facts["by_language"].items())]
    dropped = sorted(facts["dropped_by_rule"].items(), key=lambda pair: -pair[1])
    rows = [(name.partition("/")[2], float(count), COLOURS[4]) for name, count in dropped]
    return bars(words["text"], words["text-below"], {words["kept"]: kept}), bars(
        words["text"], words["text-below"], {words["dropped"]: rows}, places=0
    )


def _scores(models: Mapping[str, Any], floors: Mapping[str, Any], words: Mapping[str, str]) -> str:
    groups: dict[str, list[tuple[str, float, str]]] = {}
    named = [(name, bits, GREY) for name, bits in floors.items()]
    named += [(name, one["bits_per_byte"], COLOURS[n % len(COLOURS)])
              for n, (name, one) in enumerate(models.items())]  # fmt: skip
    for label, bits, colour in named:
        for corpus, by in bits.items():
            for language, value in by.items():
                groups.setdefault(f"{corpus}: {language}", []).append((label, value, colour))
    return bars(words["scores"], words["scores-below"], groups)


def line(title: str, subtitle: str, points: Sequence[tuple[float, float]]) -> str:
    """One curve with its first and last value written at its ends."""
    top, bottom, left, right = 80, 300, 60, WIDTH - 70
    first_x, last_x = points[0][0], points[-1][0]
    low, high = min(y for _, y in points), max(y for _, y in points)
    spread = (high - low) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        across = left + (x - first_x) / ((last_x - first_x) or 1.0) * (right - left)
        return across, bottom - (y - low) / spread * (bottom - top)

    path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in points)
    (x0, y0), (x1, y1) = points[0], points[-1]
    told = f"step {x0:.0f}: {y0:.2f}; step {x1:.0f}: {y1:.2f}; lowest {low:.2f}"
    ends = ""
    for x, y in (points[0], points[-1]):
        across, down = place(x, y)
        ends += f'<text class="n" x="{across:.1f}" y="{down - 8:.1f}">{y:.2f}</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 340" role="img" '
        f'aria-labelledby="t d"><title id="t">{html.escape(title)}</title>'
        f'<desc id="d">{html.escape(told)}</desc><style>{STYLE}</style>'
        f'<rect class="b" width="{WIDTH}" height="340" rx="8"/>'
        f'<text class="t" x="12" y="26">{html.escape(title)}</text>'
        f'<text class="s" x="12" y="45">{html.escape(subtitle)}</text>'
        f'<polyline points="{path}" fill="none" stroke="{COLOURS[0]}" stroke-width="2"/>{ends}'
        f'<text class="s" x="{left}" y="325">{x0:.0f}</text>'
        f'<text class="s" x="{right}" y="325" text-anchor="end">{x1:.0f}</text></svg>\n'
    )
