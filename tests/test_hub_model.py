"""The hub's own recipe reads nothing but packages; its figures are those of what was published."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from yoriai import config
from yoriai.plugins import load_registry
from yoriai.recipe import load_recipe

ROOT = Path(__file__).parent.parent
PACKAGES = {"corpus/gettext", "corpus/package-files", "corpus/python-topics", "corpus/python-code"}

sys.path.insert(0, str(ROOT / "docs"))
try:
    from sitemaker.hub_figures import hub_figures, line
    from sitemaker.hub_tables import hub_pages
    from sitemaker.published import _facts, list_published
finally:
    sys.path.remove(str(ROOT / "docs"))


def test_the_hubs_recipe_reads_only_packages_and_archives_pinned_by_a_checksum() -> None:
    loaded = load_recipe(ROOT / "recipes" / "hub.yaml", load_registry())
    sources: list[dict[str, Any]] = [
        row for planned in loaded.steps for row in config.describe(planned.step).get("sources", ())
    ]
    assert len(sources) == 9
    for row in sources:
        paths = row.get("paths", [])
        assert row["use"] in PACKAGES or paths
        assert all(path.startswith("pypi:") and "#sha256=" in path for path in paths)


def test_a_curve_says_its_first_and_last_value_in_words() -> None:
    drawn = line("Loss", "nats", [(1.0, 9.0), (2.0, 4.0), (3.0, 5.0)])
    assert "step 1: 9.00; step 3: 5.00; lowest 4.00" in drawn
    assert '<polyline points="60.0' in drawn


def test_the_figures_of_what_is_published_are_drawn_in_both_languages() -> None:
    made = hub_figures(ROOT)
    assert {name[-6:-4] for name in made} in (set(), {"en", "ja"})
    assert len([n for n in made if "-en" in n]) == len([n for n in made if "-ja" in n])


def test_nothing_is_drawn_of_a_run_that_is_not_published(tmp_path: Path) -> None:
    assert hub_figures(tmp_path) == {}


def test_the_size_of_a_model_leaves_out_its_early_checkpoints() -> None:
    [hub] = [run for run in list_published(ROOT) if run.name == "hub"]
    scores = hub.scores["scores"]["models"]["base"]
    # 9,998,400 weights in fp32 are 40.0 MB; eight early checkpoints are eight times that.
    assert "40.0" in _facts(hub, "base", scores)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_tables_of_the_hubs_page_are_those_of_what_was_published(language: str) -> None:
    page = hub_pages(ROOT)[f"{language}/hub-model.md"]
    scores = json.loads((ROOT / "published/hub/scores-1.scores.json").read_bytes())
    base = scores["models"]["base"]
    assert f"**{base['bits_per_byte']['text']['ja']:.2f}**" in page
    assert f"{100 * base['tasks']['ja-forms']['score']:.1f} %" in page
    for path in (ROOT / "published" / "hub").glob("*.artifact.json"):
        assert f"`{json.loads(path.read_bytes())['digest']}`" in page, path.name
    assert "<!-- hub:" not in page
