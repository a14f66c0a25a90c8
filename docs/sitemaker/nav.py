"""What is written onto every page and into the navigation: twins, ways out, records."""

from __future__ import annotations

import re
from collections.abc import Mapping

ONLY_ENGLISH = "英語だけのページです · only in English"
RECORDS = "      # each record is named here in a build (docs/generate.py)\n"
BOTH = ("records/", "reference/plugins.md")  # pages that speak both languages


def twin_of(name: str) -> str:
    """The page in the other language: ``en/tour.md`` and ``ja/tour.md``; empty if of no pair."""
    if name in ("index.md", "ja/index.md"):
        return "ja/index.md" if name == "index.md" else "index.md"
    folder, _, rest = name.partition("/")
    return {"en": f"ja/{rest}", "ja": f"en/{rest}"}.get(folder, "")


def mark_language(name: str, text: str, pages: Mapping[str, object]) -> str:
    """Put the way to the other language below a page's heading, or say that there is none."""
    twin = twin_of(name)
    if name.startswith(BOTH):
        return text
    if twin in pages:
        up = "../" * name.count("/")
        word, language = ("English", "en") if name.startswith("ja/") else ("日本語", "ja")
        line = f"[{word}]({up}{twin}){{ .twin lang={language} hreflang={language} }}"
    else:
        line = f"*{ONLY_ENGLISH}*{{ .twin }}"
    return re.sub(r"^(# .+)$", lambda m: f"{m[1]}\n\n{line}", text, count=1, flags=re.MULTILINE)


def config_with_records(config: str, titles: Mapping[str, str]) -> str:
    """``mkdocs.yml`` for a build: every record in the navigation, paths as seen from ``build/``."""
    lines = [f"          - {_quoted(title)}: {page}" for page, title in titles.items()]
    section = "\n".join(["      - One by one:", *lines, ""]) if lines else ""
    text = config.replace("docs_dir: build/docs", "docs_dir: docs")
    text = text.replace("site_dir: build/site", "site_dir: site")
    return text.replace(RECORDS, section)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
