"""Take what a finished run says of itself into ``published/``, from which the site makes its cards.

    python docs/publish.py build/tour

Copied are the manifests of its artifacts, the scores, what probes measured and the curves of
training: numbers, digests, licences and sources, no weights and no text of a corpus.
Every artifact is verified first.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from yoriai import artifact as artifacts
from yoriai.errors import Refused

ROOT = Path(__file__).resolve().parent.parent


def publish(workspace: Path, out: Path) -> list[Path]:
    """Copy manifests and numbers of every artifact of a workspace to ``out``; returns the files."""
    made = []
    for folder in sorted(workspace.glob("*@*")):
        found, findings = artifacts.verify(folder)
        if findings or found is None:
            faults = "; ".join(f"{f.file} {f.problem}" for f in findings)
            raise Refused(f"{folder.name} is not what was sealed: {faults}")
        out.mkdir(parents=True, exist_ok=True)
        numbers = {"scores": "scores.json", "probes": "probes.json", "model": "training.jsonl"}
        name = numbers.get(found.kind, "")
        names = [artifacts.MANIFEST, *([name] if name in found.manifest["files"] else [])]
        for name in names:
            target = out / f"{folder.name.replace('@', '-')}.{name}"
            shutil.copyfile(folder / name, target)
            made.append(target)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workspace", type=Path, help="the folder of a run, e.g. build/tour")
    given = parser.parse_args(argv)
    made = publish(given.workspace, ROOT / "published" / given.workspace.resolve().name)
    print(f"{len(made)} files; commit them, and nox -s docs makes their pages")


if __name__ == "__main__":
    main()
