"""An index whose disk fills up while it is made: a file system of its own, of a few megabytes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from yoriai import Artifact
from yoriai.files import is_disk_trouble
from yoriai_corpus.search import part

Make = Callable[..., Artifact]
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")  # what a tmpfs gives


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of two megabytes; skips where nothing may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(words, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def pages(size: int) -> int:
    return -(-size // PAGE_BYTES)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_disk_that_is_full_keeps_what_was_made_and_the_rest_comes_out_the_same(
    make_corpus: Make, tmp_path: Path, small_disk: Path
) -> None:
    corpus = make_corpus([f"吾輩は猫である。{n} " + "x" * n for n in range(60)])
    [pieces] = part.cut([("c@1", "kept", corpus.files_under("documents"))], 2**30)
    (tmp_path / "whole").mkdir()
    part.make(part.IndexTask(0, tuple(pieces), tmp_path / "whole"))
    wanted = bytes_of(tmp_path / "whole")
    ballast = small_disk / "ballast"
    parts = small_disk / "parts"
    parts.mkdir()
    task = part.IndexTask(0, tuple(pieces), parts)
    names = sorted(wanted, key=lambda name: [".text", ".names", ".documents"].index(name[5:]))
    made: set[str] = set()
    for name in names:  # as each of the three files is written, the disk is full
        for path in (ballast, *parts.iterdir()):
            path.unlink(missing_ok=True)
        room = sum(pages(len(wanted[n])) for n in made) + pages(len(wanted[name])) - 1
        free = os.statvfs(small_disk)
        ballast.write_bytes(bytes((free.f_bavail - room) * free.f_bsize))
        with pytest.raises(Exception) as raised:
            part.make(task)
        error: Any = raised.value
        assert is_disk_trouble(error), error
        assert set(bytes_of(parts)) == made, "whole files, and no other"
        assert all(bytes_of(parts)[each] == wanted[each] for each in made)
        made.add(name)
    ballast.unlink()
    part.make(task)
    assert bytes_of(parts) == wanted
