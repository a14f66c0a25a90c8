"""The workflows use actions by the commit, which nobody can move, and not by a tag."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

WORKFLOWS = sorted((Path(__file__).parent.parent / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit_and_says_its_version(path):
    lines = [line for line in path.read_text("utf-8").splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert re.search(r"uses: [\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+$", line), line


def test_the_list_with_hashes_is_the_list_of_constraints_but_for_torch():
    root = Path(__file__).parent.parent
    pins = re.findall(r"(?m)^([\w.-]+)==(\S+)$", (root / "constraints.txt").read_text())
    hashed = re.findall(
        r"(?m)^([\w.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}$",
        (root / "constraints-hashes.txt").read_text(),
    )

    def plain(rows):
        return {(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in rows}

    assert plain(pins) - plain(hashed) == {p for p in plain(pins) if p[0] == "torch"}
    assert plain(hashed) <= plain(pins)
