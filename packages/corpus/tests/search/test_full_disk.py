"""An index whose files do not fit on the disk any more, by a limit on the size of files."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yoriai import Artifact
from yoriai.files import is_disk_trouble
from yoriai_corpus.search import part

Make = Callable[..., Artifact]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_does_not_fit_is_not_half_there_and_comes_out_the_same_later(
    make_corpus: Make, tmp_path: Path
) -> None:
    corpus = make_corpus([f"吾輩は猫である。{n} " + "x" * n for n in range(60)])
    [pieces] = part.cut([("c@1", "kept", corpus.files_under("documents"))], 2**30)

    def task(name: str) -> part.IndexTask:
        (tmp_path / name).mkdir()
        return part.IndexTask(0, tuple(pieces), tmp_path / name)

    part.make(task("whole"))
    wanted = bytes_of(tmp_path / "whole")
    sizes = sorted(map(len, wanted.values()))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (64, sizes[0] - 1, sizes[1] - 1, sizes[2] - 1):
        cramped = task(f"of-{limit}")
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
        try:
            with pytest.raises(Exception) as raised:
                part.make(cramped)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        error: Any = raised.value
        assert is_disk_trouble(error), error
        assert set(bytes_of(cramped.folder)) < set(wanted)
        part.make(cramped)
        assert bytes_of(cramped.folder) == wanted
