"""Tracebacks name packages, not the folders of a machine."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path

import pytest

from yoriai.code_places import shorten_places

ROOTS = ["", "/", "/data/me/house/packages/train/src", "/data/me", "/usr/lib/python3.11"]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/data/me/house/packages/train/src/yoriai_train/job/loop.py", "yoriai_train/job/loop.py"),
        ("/srv/env/lib/python3.11/site-packages/torch/nn/x.py", "torch/nn/x.py"),
        ("/usr/lib/python3/dist-packages/numpy/a.py", "numpy/a.py"),
        ("/usr/lib/python3.11/runpy.py", "runpy.py"),
        ("/data/me/script.py", "script.py"),
        ("/somewhere/else/of/people/tool.py", "people/tool.py"),
        ("/tool.py", "tool.py"),
        ("<string>", "<string>"),
        ("own/relative.py", "own/relative.py"),
    ],
)
def test_a_file_is_told_from_its_package_on(path: str, told: str) -> None:
    text = (
        f'Traceback (most recent call last):\n  File "{path}", line 120, in run\nValueError: "/a"'
    )
    assert shorten_places(text, ROOTS) == text.replace(path, told)


def test_a_real_traceback_names_no_folder_of_this_machine() -> None:
    try:
        json.loads("{")
    except ValueError as error:
        text = shorten_places("".join(traceback.format_exception(error)))
    assert 'File "json/decoder.py"' in text
    assert str(Path(__file__).parents[1]) not in text
    assert sys.prefix not in text
    assert Path(__file__).name in text
