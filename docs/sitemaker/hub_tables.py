"""Tables of the hub's own model, filled from what was published of its run (``published/hub``).

The page is written by hand and holds ``<!-- hub: NAME -->`` where a table stands: what was read,
bits per byte, tasks, and the digests. So a number of a table is typed by nobody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sitemaker.hub_figures import scores_in_order

PLACE = re.compile(r"^<!-- hub: (\w+) -->$", re.MULTILINE)
# As the recipe and the packages state them.
LICENCES = {
    "tatoeba-ja": "CC BY 2.0 FR", "tatoeba-en": "CC BY 2.0 FR",
    "mercurial-translation-ja": "GPL-2.0-or-later", "mercurial-files": "GPL-2.0-or-later",
    "Trac-translation-ja": "BSD", "Trac-files": "BSD",
    "python-topics": "PSF-2.0", "python-code": "PSF-2.0",
}  # fmt: skip
TITLES = {
    "en": {
        "tatoeba-ja": "Tatoeba, Japanese sentences",
        "tatoeba-en": "Tatoeba, their English translations",
        "mercurial-translation-ja": "messages of Mercurial, translated by people",
        "Trac-translation-ja": "messages of Trac, translated by people",
        "mercurial-files": "help texts of Mercurial",
        "Trac-files": "wiki pages of Trac",
        "python-topics": "Python's language reference",
        "python-code": "Python's standard library",
        "sources": ["source", "licence", "read", "kept", "held out", "dropped", "MB kept"],
        "text": "text", "ja": "Japanese", "en": "English", "code": "code",
        "notebooks": "the domain",
        "documents": "{name}, {count:,} documents",
        "gzip": "gzip", "unigram": "unigram",
        "task": "task", "floor": "floor",
        "ja-forms": "which of two Japanese forms is right",
        "ja-language": "name the language of a snippet",
        "interval": "{score} % ({low} to {high})",
        "artifact": "artifact", "digest": "digest",
    },
    "ja": {
        "tatoeba-ja": "Tatoeba の日本語の文",
        "tatoeba-en": "Tatoeba の、その英訳",
        "mercurial-translation-ja": "Mercurial のメッセージ（人による翻訳）",
        "Trac-translation-ja": "Trac のメッセージ（人による翻訳）",
        "mercurial-files": "Mercurial のヘルプ",
        "Trac-files": "Trac のウィキページ",
        "python-topics": "Python の言語リファレンス",
        "python-code": "Python の標準ライブラリ",
        "sources": [
            "出典", "ライセンス", "読んだ数", "残した数", "取り分けた数", "落とした数", "残した MB",
        ],
        "text": "文章", "ja": "日本語", "en": "英語", "code": "コード", "notebooks": "分野",
        "documents": "{name}、{count:,} 文書",
        "gzip": "gzip", "unigram": "ユニグラム",
        "task": "課題", "floor": "下限",
        "ja-forms": "二つの日本語のどちらが正しい形か",
        "ja-language": "断片の言語を答える",
        "interval": "{score} %（{low}～{high}）",
        "artifact": "成果物", "digest": "ダイジェスト",
    },
}  # fmt: skip


def hub_pages(root: Path) -> dict[str, str]:
    """The hub model's page in both languages with its tables; an unknown table is an error."""
    folder, pages = root / "published" / "hub", {}
    for language, words in TITLES.items():
        name = f"{language}/hub-model.md"
        if (root / "docs" / name).is_file():

            def table(match: re.Match[str], words: Mapping[str, Any] = words) -> str:
                return TABLES[match[1]](folder, words)

            text = (root / "docs" / name).read_text(encoding="utf-8")
            pages[name] = PLACE.sub(table, text)
    return pages


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_bytes()))


def _table(head: list[str], rows: list[list[str]], numbers_from: int = 1) -> str:
    marks = ["---" if n < numbers_from else "--:" for n in range(len(head))]
    lines = [head, marks, *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _sources(folder: Path, words: Mapping[str, Any]) -> str:
    by_source = _read(folder / "text-1.artifact.json")["facts"]["by_source"]
    rows = [
        [words.get(name, name), LICENCES[name], f"{one['in']:,}", f"{one['kept']:,}",
         f"{one['heldout']:,}", f"{one['dropped']:,}", f"{one['bytes'] / 1e6:.2f}"]
        for name, one in sorted(by_source.items(), key=lambda pair: -pair[1]["bytes"])
    ]  # fmt: skip
    return _table(words["sources"], rows, numbers_from=2)


def _bits(folder: Path, words: Mapping[str, Any]) -> str:
    models, floors = scores_in_order(folder)
    first = next(iter(models.values()))
    rows = []
    for corpus, by_language in first["bits_per_byte"].items():
        for language in by_language:
            count = first["bits_per_byte_documents"][corpus][language]
            named = words[language] if corpus == "text" else words[corpus]
            values = {name: one["bits_per_byte"][corpus][language] for name, one in models.items()}
            best = min(values.values())
            rows.append(
                [words["documents"].format(name=named, count=count)]
                + [f"{bits[corpus][language]:.2f}" for bits in floors.values()]
                + [f"**{v:.2f}**" if f"{v:.2f}" == f"{best:.2f}" else f"{v:.2f}"
                   for v in values.values()]
            )  # fmt: skip
    return _table([words["text"], *(words[name] for name in floors), *models], rows)


def _tasks(folder: Path, words: Mapping[str, Any]) -> str:
    models, _ = scores_in_order(folder)
    rows = []
    for task, first in next(iter(models.values()))["tasks"].items():
        row = [words[task], f"{100 * max(first['floors'].values()):.1f} %"]
        for one in models.values():
            low, high = one["tasks"][task]["interval"]
            score = one["tasks"][task]["score"]
            row.append(
                words["interval"].format(
                    score=f"{100 * score:.1f}", low=f"{100 * low:.1f}", high=f"{100 * high:.1f}"
                )
            )
        rows.append(row)  # fmt: skip
    return _table([words["task"], words["floor"], *models], rows)


def _digests(folder: Path, words: Mapping[str, Any]) -> str:
    found = [(path.name.partition("-1.artifact")[0], _read(path))
             for path in folder.glob("*-1.artifact.json")]  # fmt: skip
    found.sort(key=lambda pair: pair[1]["circumstances"]["made"])
    rows = [[f"`{name}`", f"`{one['digest']}`"] for name, one in found]
    return _table([words["artifact"], words["digest"]], rows, numbers_from=2)


TABLES: Mapping[str, Callable[[Path, Mapping[str, Any]], str]] = {
    "sources": _sources,
    "bits": _bits,
    "tasks": _tasks,
    "digests": _digests,
}
