"""The drills in their short form: random attacks, and nothing that did not hold."""

from __future__ import annotations

import contextlib
import importlib
import sys
from pathlib import Path

import pytest

from yoriai.errors import YoriaiError

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
    "name",
    ["recipes", "readers", "plugins", "secrets", "families", "flips", "disk", "kills", "removals"],
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
        "removals",
    ]


def test_every_fuzzed_reader_begins_with_an_input_that_it_accepts(drills, tmp_path):
    # Of bytes that are refused at once nothing but the refusal is attacked.
    readers = importlib.import_module("fuzz_readers").READERS
    accepted = set()
    for number, (name, (make, seeds)) in enumerate(readers.items()):
        (folder := tmp_path / str(number)).mkdir()
        read = make(folder)
        for data in seeds():
            with contextlib.suppress(YoriaiError):
                read(data)
                accepted.add(name)
    assert accepted == set(readers)
