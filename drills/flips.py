"""Bit flips over every file of a finished run: each is named, and none is used.

In each file of each artifact one random bit is turned, ``rounds`` times. ``yoriai verify`` must
name the file, and whoever opens the artifact to use it must be refused. A sample is given to the
command line as well, which must end with exit code 4 and without a traceback.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from small import call, write_small

from yoriai.artifact import MANIFEST, open_checked, verify
from yoriai.errors import Altered


def drill(folder: Path, rounds: int, seed: int) -> tuple[Counter[str], list[str]]:
    """Counts by what happened, and what did not hold, in words."""
    recipe = write_small(folder)
    out = folder / "whole"
    if not out.exists():
        done = call("run", str(recipe), "--out", str(out))
        assert done.returncode == 0, done.stderr[-2000:]
    chosen = random.Random(seed)
    counts: Counter[str] = Counter()
    faults: list[str] = []
    artifacts = sorted(path.parent for path in out.glob("*/artifact.json"))
    places = [
        (artifact, path)
        for artifact in artifacts
        for path in sorted(artifact.rglob("*"))
        if path.is_file() and path.stat().st_size
    ]
    sample = set(chosen.sample(range(len(places)), min(6, len(places))))
    for number, (artifact, path) in enumerate(places):
        whole = path.read_bytes()
        for turn in range(rounds):
            bit = chosen.randrange(len(whole) * 8)
            data = bytearray(whole)
            data[bit // 8] ^= 1 << bit % 8
            path.write_bytes(data)
            name = path.relative_to(artifact).as_posix()
            where = f"{artifact.name}/{name}, bit {bit}"
            counts["flips"] += 1
            _, findings = verify(artifact)
            if any(finding.file in (name, MANIFEST) for finding in findings):
                counts["named by verify"] += 1
            else:
                faults.append(f"{where}: verify does not name it")
            try:
                open_checked(artifact)
                faults.append(f"{where}: opened for use")
            except Altered:
                counts["refused on use"] += 1
            if number in sample and turn == 0:
                counts["given to the command line"] += 1
                answer = call("verify", str(artifact))
                if answer.returncode != 4 or "Traceback" in answer.stderr:
                    faults.append(f"{where}: verify ends with {answer.returncode}")
        path.write_bytes(whole)
    assert all(not verify(artifact)[1] for artifact in artifacts), "the drill put all bytes back"
    counts["files"] = len(places)
    return counts, faults
