"""axe finds nothing on our pages: contrast, names, headings, what the keyboard reaches.

axe-core (MPL-2.0) is not part of this repository: ``npm install axe-core`` somewhere, and name its
file in ``YORIAI_AXE``.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from browser import Browser, browse, serve

from yoriai.testing import run_cli

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
PAGES = (
    "", "ja/", "en/corpus/", "ja/corpus/", "records/", "records/compare/", "records/leaderboard/",
    "records/side-by-side/", "records/timeline/", "en/contracts/backend/",
    "records/0006-two-million-parameters-in-five-minutes/", "records/what-did-not-work/",
    "reference/plugins/", "en/contracts/filter/", "ja/contracts/filter/",
)  # fmt: skip
# The theme's own: it labels a list of links and the heading above it by the same words.
THEIRS = ("landmark-unique",)
RUN = """
axe.run(document, {resultTypes: ["violations"]}).then(found => found.violations.flatMap(
  one => one.nodes.map(node => `${one.id}: ${node.target.join(" ")}: ${node.failureSummary}`)))
"""
RECIPE = """\
name: read
licence: CC0-1.0
question:
  title: {en: Does it drop what is loud?, ja: 大きな声を落とすか}
  hypothesis: It does.
  predictions:
    - {fact: text.by_language.en.documents, above: 0}
    - {fact: text.by_language.en.documents, above: 99}
steps:
  text:
    uses: corpus/build
    sources: [{use: corpus/text-files, paths: [texts], language: en, licence: CC0-1.0}]
    rules: [{use: corpus/min-length, characters: 30}]
    heldout: 0
    dedup: {exact: true, near: null}
"""


@pytest.fixture(scope="module")
def axe() -> str:
    place = os.environ.get("YORIAI_AXE", "")
    if not place:
        pytest.skip("YORIAI_AXE names no axe.min.js: npm install axe-core, outside this repository")
    return Path(place).read_text(encoding="utf-8")


def violations(tab: Browser, axe: str) -> list[str]:
    tab.evaluate(f"{axe}; 0")
    found: list[str] = tab.evaluate(RUN)
    return [line for line in found if not line.startswith(THEIRS)]


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_axe_finds_nothing_on_the_site(axe, site, width, dark):
    found = {}
    with serve(site) as address, browse() as tab:
        tab.size(width, 900, dark=dark)
        for page in PAGES:
            tab.open(address + page)
            assert tab.evaluate("document.body.dataset.mdColorScheme") == (
                "slate" if dark else "default"
            )
            found[page] = violations(tab, axe)
    assert {page: lines for page, lines in found.items() if lines} == {}


@pytest.fixture(scope="module")
def run_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    (root / "texts").mkdir()
    (root / "texts" / "long.txt").write_text("Here is a quiet text, with some words in it. " * 9)
    (root / "texts" / "short.txt").write_text("A short one.")
    (root / "read.yaml").write_text(RECIPE)
    done = run_cli("run", "read.yaml", cwd=root, YORIAI_WORKERS="1")
    assert done.code == 0, done.err
    return root / "build" / "read" / "page"


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (390, False)])
def test_axe_finds_nothing_on_the_page_of_a_run(axe, run_page, width, dark):
    with serve(run_page) as address, browse() as tab:
        tab.size(width, 900, dark=dark)
        tab.open(address)
        assert "Prediction and outcome" in tab.evaluate("document.body.innerText")
        assert violations(tab, axe) == []
