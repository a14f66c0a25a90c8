"""The drills in their short form: random attacks, and nothing that did not hold."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

DRILLS = Path(__file__).parent.parent / "drills"
pytestmark = pytest.mark.slow


@pytest.fixture
def drills(monkeypatch):
    monkeypatch.syspath_prepend(str(DRILLS))
    for file in DRILLS.glob("*.py"):  # other tests may have imported a "run" of their own
        monkeypatch.delitem(sys.modules, file.stem, raising=False)
    before = set(sys.modules)
    yield importlib.import_module("run").DRILLS
    for name in set(sys.modules) - before:  # names as common as "plugins" and "recipes"
        if str(DRILLS) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize(
    "name", ["recipes", "readers", "plugins", "secrets", "families", "flips", "disk", "kills"]
)
def test_a_short_drill_holds(name, drills, tmp_path):
    drill, few, _ = drills[name]
    counts, faults = drill(tmp_path / name, few, 41)
    assert counts
    assert not faults, faults[:5]


def test_every_drill_has_a_short_form_that_is_tested(drills):
    assert list(drills) == [
        "recipes",
        "readers",
        "plugins",
        "secrets",
        "families",
        "flips",
        "disk",
        "kills",
    ]
