"""The page of benchmarks beside others, from ``published/benchmarks.yaml``.

A ratio above one says that ours is faster or smaller, below one that the peer is. What was missed
is told first.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sitemaker.markdown import table
from yoriai.plain_markdown import escape

HEAD = (
    "what · 項目",
    "ours · 本作",
    "peer · 比較相手",
    "theirs · 相手",
    "ratio · 比",
    "goal · 目標",
)
INTRO = (
    "# Beside others · ほかとの比較\n\n"
    "What was measured beside named peers, with the machine and the day. A ratio above 1 says that "
    "ours is faster or smaller, below 1 that the peer is. One command repeats each group. Machines "
    "were shared: read the ratios, which come from one run of both sides, and not the numbers. · "
    "名前を挙げた相手と並べて測ったものを、計算機と日付とともに示します。比が 1 を超えれば本作が"
    "速いか小さく、1 を下回れば相手です。どの組もコマンド一つで測り直せます。計算機は共用なので、"
    "数値そのものより、同じ実行で両方を測った比を見てください。"
)


def ratio_of(row: Mapping[str, Any]) -> float:
    """Ours by theirs where higher is better, theirs by ours where lower is, or as it was told."""
    if "ratio" in row:
        return float(row["ratio"])
    ours, theirs = float(row["ours"]), float(row["theirs"])
    return ours / theirs if row["better"] == "higher" else theirs / ours


def benchmark_page(root: Path) -> dict[str, str]:
    """``records/benchmarks.md``, or nothing where nothing is published."""
    path = root / "published" / "benchmarks.yaml"
    if not path.is_file():
        return {}
    groups = yaml.safe_load(path.read_text(encoding="utf-8"))
    missed = [
        f"* {escape(group['title']['en'])} · {escape(group['title']['ja'])}: "
        f"{escape(row['what'])}, {ratio_of(row):.2f} ({escape(row['peer'])}; {row['goal']})"
        for group in groups
        for row in group["rows"]
        if "goal" in row and ratio_of(row) < row["goal"]
    ]
    parts = [
        INTRO,
        "## Goals that were missed · 届かなかった目標",
        "\n".join(missed) or "None · なし",
    ]
    return {"records/benchmarks.md": "\n\n".join([*parts, *map(_group, groups)])}


def _group(group: Mapping[str, Any]) -> str:
    rows = [
        (
            escape(row["what"]),
            _number(row.get("ours"), row["unit"]),
            escape(row["peer"]),
            _number(row.get("theirs"), row["unit"]),
            f"**{ratio_of(row):.2f}**",
            f"{row['goal']}" if "goal" in row else "–",
        )
        for row in group["rows"]
    ]
    told = f"`{group['command']}`, {group['day']}: {escape(group['machine'])}."
    if "guide" in group:
        told += f" [en](../en/{group['guide']}) · [ja](../ja/{group['guide']})"
    title = f"## {escape(group['title']['en'])} · {escape(group['title']['ja'])}"
    return "\n\n".join([title, told, table(HEAD, rows)])


def _number(value: float | None, unit: str) -> str:
    return "–" if value is None else f"{value:,} {escape(unit)}".strip()
