"""Records and decisions in the order of their dates, newest first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sitemaker.markdown import table
from yoriai.plain_markdown import escape
from yoriai.record import Filed, list_records

_ROW = re.compile(r"^\| (\d{4}-\d\d-\d\d) \| (.+?) \|", re.MULTILINE)


def timeline_page(root: Path) -> str:
    """Each record when it was opened and when it ended, each decision when it was made."""
    folder = root / "records"
    filed = list_records(folder) if folder.is_dir() else []
    rows = sorted({*_of_records(filed), *_of_decisions(root)}, reverse=True)
    shown = [(date, kind, text) for date, _, kind, text in rows]
    head = ("date", "what", "which")
    opened = '<div class="sortable" data-facets="what" markdown>'
    return "\n\n".join(
        [
            "# Timeline · 年表",
            "What was asked, what came of it, and what was decided, newest first. A record stands "
            "here when it was opened and when it ended. · 問い、その結果、決めたことを新しい順に"
            "並べます。記録は、始めた日と終えた日に現れます。",
            f"{opened}\n\n{table(head, shown)}\n\n</div>" if rows else "There is nothing yet.",
        ]
    )


def _of_records(filed: Sequence[Filed]) -> Iterator[tuple[str, str, str, str]]:
    for one in filed:
        record = one.record
        title = " · ".join(escape(record.title[k]) for k in ("en", "ja") if k in record.title)
        text = f"[{record.id} {title}]({one.folder.name}.md)"
        yield str(record.opened), f"{record.id} a", "record opened", text
        if record.ended:
            ended = f"record ended: {record.verdict or record.execution or 'no verdict'}"
            yield str(record.ended), f"{record.id} b", ended, text


def _of_decisions(root: Path) -> Iterator[tuple[str, str, str, str]]:
    """Rows of the two pages of decisions, which are twins line by line."""
    tables = [
        _ROW.findall(path.read_text(encoding="utf-8"))
        for language in ("en", "ja")
        if (path := root / "docs" / language / "decisions.md").is_file()
    ]
    for number, rows in enumerate(zip(*tables, strict=True)):
        texts = " · ".join(text for _, text in rows)
        link = "[decisions](../en/decisions.md) · [決めたこと](../ja/decisions.md)"
        yield rows[0][0], f"9999 {number:04d}", "decision", f"{texts} ({link})"
