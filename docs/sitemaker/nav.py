"""What is written onto every page and into the navigation: twins, ways out, records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sitemaker.project import PROJECT, REPOSITORY

ONLY_ENGLISH = "英語だけのページです · only in English"
RECORDS = "      # each record is named here in a build (docs/generate.py)\n"
BOTH = ("records/", "reference/plugins.md")  # pages that speak both languages


def twin_of(name: str) -> str:
    """The page in the other language: ``en/tour.md`` and ``ja/tour.md``; empty if of no pair."""
    if name in ("index.md", "ja/index.md"):
        return "ja/index.md" if name == "index.md" else "index.md"
    folder, _, rest = name.partition("/")
    return {"en": f"ja/{rest}", "ja": f"en/{rest}"}.get(folder, "")


# Pages that are made, and where what they say is written.
_HOOKSPECS = "packages/core/src/yoriai/hookspecs.py"
MADE = {
    "reference/hooks.md": _HOOKSPECS,
    "reference/recipe.md": "packages/core/src/yoriai/recipe.py",
    "reference/exit-codes.md": "packages/core/src/yoriai/errors.py",
    "records/compare.md": "docs/sitemaker/records.py",
    "records/timeline.md": "docs/sitemaker/timeline.py",
    "records/leaderboard.md": "docs/sitemaker/published.py",
    "records/side-by-side.md": "docs/sitemaker/answers.py",
    "records/cards.md": "docs/sitemaker/published.py",
    "records/index.md": "docs/sitemaker/records.py",
    "records/what-did-not-work.md": "docs/sitemaker/records.py",
}


def source_of(name: str, root: Path) -> str:
    """The file of the repository in which a page is written; of a made page, what makes it."""
    if (root / "docs" / name).is_file():
        return f"docs/{name}"
    record = re.fullmatch(r"records/(\d{4}-.+)\.md", name)
    if record:
        story = f"records/{record[1]}/README.md"
        return story if (root / story).is_file() else f"records/{record[1]}/record.yaml"
    if name.startswith("records/cards/"):
        return "docs/sitemaker/published.py"
    if name.startswith("en/contracts/"):
        return _HOOKSPECS
    if name.startswith("ja/contracts/"):
        return "docs/sitemaker/contracts_ja.yaml"
    project = {page: file for file, page in PROJECT.items()}
    return project.get(name) or MADE.get(name) or "docs/sitemaker/reference.py"


def mark_source(name: str, text: str, root: Path) -> str:
    """Put a way to change a page below its heading; it stands at the right, and is not searched."""
    word = "このページを直す" if name.startswith("ja/") else "Edit this page"
    word = "Edit · 直す" if name.startswith(BOTH) else word
    place = f"{REPOSITORY}/edit/main/{source_of(name, root)}"
    line = f"[{word}]({place}){{ .edit data-search-exclude }}"
    return re.sub(r"^(# .+)$", lambda m: f"{m[1]}\n\n{line}", text, count=1, flags=re.MULTILINE)


def mark_language(name: str, text: str, pages: Mapping[str, object]) -> str:
    """Put the way to the other language below a page's heading, or say that there is none."""
    twin = twin_of(name)
    if name.startswith(BOTH):
        return text
    if twin in pages:
        up = "../" * name.count("/")
        word, language = ("English", "en") if name.startswith("ja/") else ("日本語", "ja")
        marks = f".twin lang={language} hreflang={language} data-search-exclude"
        line = f"[{word}]({up}{twin}){{ {marks} }}"
    else:
        line = f"*{ONLY_ENGLISH}*{{ .twin data-search-exclude }}"
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
