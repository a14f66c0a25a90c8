"""One question, two models: what was published of answers, and the page that shows them.

``docs/publish.py --questions`` puts ``STEP.answers.json`` into ``published/RUN``. A browser shows
it as text (``assets/site.js``); without scripts the page says where the file is.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sitemaker.markdown import code, table
from yoriai.plain_markdown import escape

FILE = "records/answers.json"


def answers_pages(root: Path) -> dict[str, str]:
    """The page and the file that it shows; sets of several runs stand under ``RUN: SET``."""
    found: dict[str, Any] = {}
    for path in sorted((root / "published").glob("*/*.answers.json")):
        for task, told in json.loads(path.read_bytes()).items():
            found[f"{path.parent.name}: {task}"] = told
    return {
        FILE: json.dumps(found, ensure_ascii=False, separators=(",", ":"), sort_keys=True),
        "records/side-by-side.md": _page(found),
    }


def _page(found: dict[str, Any]) -> str:
    rows = [
        (escape(name), str(len(told["rows"])), code(told["licence"]))
        for name, told in found.items()
    ]
    parts = [
        "# One question, two models · 一問ずつ",
        "Each question with its right answer, and what two models said. Only sets whose licence "
        "allows it are shown, and only where somebody decided so: what stands on a page teaches "
        "models that are trained on the web. · 問題と正解を、二つのモデルの答えと並べます。"
        "ライセンスが許し、載せると決めた問題集だけがあります。",
    ]
    if not rows:
        return "\n\n".join([*parts, "Nothing is published yet."])
    return "\n\n".join(
        [
            *parts,
            table(("set", "questions", "licence"), rows),
            '<div class="answers" data-answers="../answers.json" markdown>\n\nThis needs '
            "JavaScript and a web server; the same is in [answers.json](answers.json). · "
            "JavaScript とウェブサーバが要ります。\n\n</div>",
        ]
    )
