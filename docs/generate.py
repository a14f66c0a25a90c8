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

from sitemaker.contracts import contract_pages
from sitemaker.markdown import join_japanese
from sitemaker.project import project_pages
from sitemaker.records import record_pages
from sitemaker.reference import reference_pages

from yoriai.plugins import Registry, load_registry

ROOT = Path(__file__).resolve().parent.parent


def write_site(out: Path, registry: Registry, root: Path = ROOT) -> list[Path]:
    """Write every page below ``out``, which is emptied first; returns the pages."""
    shutil.rmtree(out, ignore_errors=True)
    hidden = shutil.ignore_patterns("generate.py", "sitemaker", "__pycache__", ".*")
    shutil.copytree(root / "docs", out, ignore=hidden)
    pages: dict[str, str] = {
        **reference_pages(registry),
        **contract_pages(registry, root),
        **record_pages(root),
        **project_pages(root),
    }
    for name, text in pages.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.rstrip() + "\n", encoding="utf-8")
    written = sorted(out.rglob("*.md"))
    for path in written:
        path.write_text(join_japanese(path.read_text(encoding="utf-8")), encoding="utf-8")
    return written


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "docs")
    out = parser.parse_args(argv).out
    registry = load_registry()
    for plugin in registry.broken():
        print(f"left out: {plugin.name} is {plugin.status}: {plugin.reason}", file=sys.stderr)
    print(f"{len(write_site(out, registry))} pages in {out}")


if __name__ == "__main__":
    main()
