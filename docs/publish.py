"""Take what a finished run says of itself into ``published/``, from which the site makes its cards.

    python docs/publish.py build/tour
    python docs/publish.py build/tour --questions eval/ja-forms --questions eval/ja-language
    python docs/publish.py build/hub --report build/hub-transparency

Copied are the manifests of its artifacts, the scores, what probes measured and the curves of
training: numbers, digests, licences and sources, no weights and no text of a corpus.
Every artifact is verified first. Questions and right answers are copied of the sets that are named,
if their licence allows it: what stands on a page teaches models that are trained on the web, so
each set is somebody's decision. ``--report`` copies a transparency report, page and JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoriai import artifact as artifacts
from yoriai.errors import Refused
from yoriai.plugins import load_registry

ROOT = Path(__file__).resolve().parent.parent
# Licences under which a set may be shown with its name and licence beside it.
MAY_BE_SHOWN = (
    "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause",
)  # fmt: skip


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


def answers(scores: Path, tasks: Sequence[str]) -> dict[str, Any]:
    """Every question of the named sets, its right answer, and what each model said, by set."""
    registry = load_registry()
    told = {}
    for task in tasks:
        entry = registry.get("tasks", task)
        licence = entry.entry.licence
        if licence not in MAY_BE_SHOWN:
            raise Refused(f"{entry.name} is under {licence or 'no licence'}: it may not be shown")
        words = ("eval", "samples", str(scores), "--task", entry.name, "--limit", "1000000")
        line = [sys.executable, "-m", "yoriai", *words, "--json"]
        done = subprocess.run(line, check=True, capture_output=True, text=True)
        rows: dict[str, dict[str, Any]] = {}
        for row in json.loads(done.stdout)["samples"]:
            if "question" not in row:
                raise Refused(f"the questions of {entry.name} are not here: yoriai eval data check")
            one = rows.setdefault(
                row["id"],
                {key: row.get(key, "") for key in ("id", "group", "question", "gold")} | {"by": {}},
            )
            one["by"][row["model"]] = [row.get("output", ""), row["reason"], row["score"]]
        told[entry.name] = {"licence": licence, "rows": list(rows.values())}
    return told


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("workspace", type=Path, help="the folder of a run, e.g. build/tour")
    parser.add_argument(
        "--questions",
        action="append",
        default=[],
        metavar="TASK",
        help="show this set's questions and right answers, if its licence allows",
    )
    parser.add_argument(
        "--report", type=Path, metavar="FOLDER", help="what yoriai eval transparency --out wrote"
    )
    given = parser.parse_args(argv)
    out = ROOT / "published" / given.workspace.resolve().name
    made = publish(given.workspace, out)
    for path in sorted(out.glob("*.scores.json")) if given.questions else []:
        scores = given.workspace / path.name.partition(".")[0].replace("-", "@")
        told = json.dumps(answers(scores, given.questions), ensure_ascii=False, sort_keys=True)
        made.append(path.with_name(path.name.replace(".scores.json", ".answers.json")))
        made[-1].write_text(told.replace('{"by"', '\n{"by"') + "\n", encoding="utf-8")
    for name in ("index.html", "transparency.json") if given.report else ():
        made.append(out / f"transparency{Path(name).suffix}")
        shutil.copyfile(given.report / name, made[-1])
    print(f"{len(made)} files; commit them, and nox -s docs makes their pages")


if __name__ == "__main__":
    main()
