"""Make the pages of the site that nobody should write by hand.

``nox -s docs`` runs this before mkdocs. The hand-written pages of ``docs/`` are copied to
``build/docs``; beside them come the reference (hooks, commands, entries and their keys,
exit codes) from the installed packages, the experiment records, and the project's own
documents. The result is plain Markdown, and the same sources give the same bytes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from sitemaker.allowed import refuse_active
from sitemaker.benchmarks import benchmark_page
from sitemaker.contracts import contract_pages
from sitemaker.directory import directory_page
from sitemaker.figures import tour_figures
from sitemaker.hub_figures import hub_figures
from sitemaker.hub_tables import hub_pages
from sitemaker.markdown import join_japanese
from sitemaker.nav import config_with_records, mark_language, mark_source
from sitemaker.project import project_pages
from sitemaker.published import published_pages
from sitemaker.records import record_pages, record_titles
from sitemaker.reference import reference_pages
from sitemaker.timeline import timeline_page

from yoriai.plugins import load_registry
from yoriai.registry import Registry

ROOT = Path(__file__).resolve().parent.parent


def write_site(out: Path, registry: Registry, root: Path = ROOT) -> list[Path]:
    """Write every page below ``out``, which is emptied first; returns the pages."""
    shutil.rmtree(out, ignore_errors=True)
    hidden = shutil.ignore_patterns("*.py", "sitemaker", "__pycache__", ".*")
    shutil.copytree(root / "docs", out, ignore=hidden)
    pages: dict[str, str] = {
        **reference_pages(registry),
        **contract_pages(registry, root),
        "reference/plugins.md": directory_page(registry, root),
        **record_pages(root),
        "records/timeline.md": timeline_page(root),
        **published_pages(root),
        **benchmark_page(root),
        **tour_figures(root),
        **hub_figures(root),
        **hub_pages(root),
        **project_pages(root),
    }
    for name, text in pages.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.rstrip() + "\n", encoding="utf-8")
    written = sorted(out.rglob("*.md"))
    names = {path.relative_to(out).as_posix(): path for path in written}
    for name, path in names.items():
        text = mark_language(name, path.read_text(encoding="utf-8"), names)
        text = mark_source(name, text, root)
        path.write_text(join_japanese(text), encoding="utf-8")
    return written


def write_config(root: Path, place: Path) -> None:
    """The configuration of a build, beside the folder of its pages."""
    config = (root / "mkdocs.yml").read_text(encoding="utf-8")
    place.write_text(config_with_records(config, record_titles(root)), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs")
    out = parser.parse_args(argv).out
    registry = load_registry()
    for plugin in registry.broken():
        print(f"left out: {plugin.name} is {plugin.status}: {plugin.reason}", file=sys.stderr)
    print(f"{len(write_site(out, registry))} pages in {out}")
    print(f"{refuse_active(out, ROOT / 'mkdocs.yml')} pages of records and plugins hold no markup")
    write_config(ROOT, out.parent / "mkdocs.yml")


if __name__ == "__main__":
    main()
