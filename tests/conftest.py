"""The tour at reduced size, run once for all tests that look at it."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from tours import Tour, run_tour


@pytest.fixture(scope="session", autouse=True)
def _offline() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"


@pytest.fixture(scope="session")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    """The reduced tour, finished without interruption."""
    for name in ("mercurial", "Trac", "jupyterlab-language-pack-ja-JP"):
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed: pip install 'yoriai-corpus[tour]'")
    return run_tour(tmp_path_factory.mktemp("tour") / "work")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, as ``nox -s docs`` builds it."""
    from browser import find_browser

    from yoriai.plugins import load_registry

    pytest.importorskip("material", reason="mkdocs-material is not installed")
    find_browser()
    root = Path(__file__).resolve().parent.parent
    sys.path.insert(0, str(root / "docs"))
    try:
        import generate
        import languages
        import lighten
        import protect
    finally:
        sys.path.remove(str(root / "docs"))
    out = tmp_path_factory.mktemp("site")
    generate.write_site(out / "docs", load_registry())
    generate.write_config(root, out / "mkdocs.yml")
    words = [sys.executable, "-m", "mkdocs", "build", "-q", "--strict"]
    subprocess.run([*words, "-f", str(out / "mkdocs.yml")], check=True, capture_output=True)
    lighten.load_on_demand(out / "site")
    lighten.pack_index(out / "site")
    lighten.size_figures(out / "site")
    list(languages.write_languages(out / "site"))
    languages.write_sitemap(out / "site")
    protect.protect(out / "site")
    return out / "site"
