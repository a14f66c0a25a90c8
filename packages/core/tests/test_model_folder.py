"""Folders that somebody else made are data: refused in words, and never run."""

import re
from pathlib import Path

import pytest

from yoriai import NotFound, Refused
from yoriai.model_folder import opening

PACKAGES = Path(__file__).parents[2]


def test_what_a_library_raises_is_one_short_refusal():
    with pytest.raises(Refused, match="is refused as a model: ") as told, opening("m"):
        raise ValueError("x" * 5000)
    assert len(told.value.message) < 400
    with pytest.raises(Refused, match="code of its own, which is never done"), opening("m"):
        raise ValueError("Please pass the argument `trust_remote_code=True` to allow custom code")


@pytest.mark.parametrize("error", [NotFound("no"), ImportError("torch"), MemoryError()])
def test_our_own_errors_and_those_of_the_machine_pass(error):
    with pytest.raises(type(error)) as told, opening("m"):
        raise error
    assert told.value is error


def test_every_call_that_opens_a_folder_is_told_to_run_nothing():
    calls = 0
    for path in PACKAGES.glob("*/src/**/*.py"):
        text = path.read_text(encoding="utf-8")
        for found in re.finditer(r"= (Auto\w+)\.from_pretrained\((.{,150})", text, re.DOTALL):
            if found[2].startswith('"FOLDER"'):  # a line that a model card shows to its readers
                continue
            calls += 1
            wanted = "WEIGHTS" if "Model" in found[1] else "AS_DATA"
            assert wanted in found[2] or "**weights" in found[2], f"{path}: {found[0]}"
    assert calls or not (PACKAGES / "train").exists()
