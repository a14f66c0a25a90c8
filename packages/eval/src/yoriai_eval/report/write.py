"""The folder of a report: which may be written into, and what is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yoriai import Artifact, NotFound, Refused, UsageError, console, files
from yoriai.artifact import MANIFEST
from yoriai.redaction import Redactor
from yoriai_eval.comparison import compare as comparison
from yoriai_eval.comparison.contestants import contestants
from yoriai_eval.report import boards as leaderboard
from yoriai_eval.report import page, reliability, sample_pages, words
from yoriai_eval.report.boards import Places
from yoriai_eval.report.model import Given
from yoriai_eval.scoring.rows import rows_of

MARK = "report.json"  # what says that a folder is a report, and holds its numbers
# Rows times pairs of models up to which paired tests are made: they hold the rows in memory.
MOST_TESTED = 5_000_000


def write(opened: Sequence[Artifact], out: Path, title: str = "") -> dict[str, Any]:
    """Write the pages of scores and contamination artifacts; what ``report.json`` holds.

    Nothing is written before all artifacts are read and found whole.
    """
    scores = [artifact for artifact in opened if artifact.kind == "scores"]
    ledgers = [artifact for artifact in opened if artifact.kind == "contamination"]
    for artifact in opened:
        if artifact not in scores and artifact not in ledgers:
            raise NotFound(
                f"{artifact.name} is a {artifact.kind}, this command reads scores",
                hint="name the folder that a step with eval/run left",
            )
    if not scores:
        raise NotFound("no scores are given", hint="yoriai eval report SCORES... --out DIR")
    redactor = Redactor()
    given = [_given(artifact, number) for number, artifact in enumerate(scores, 1)]
    boards = leaderboard.boards(
        given, [_ledger(a, scores) for a in ledgers], lambda group: _places(group, scores)
    )
    sure = {a.digest: reliability.read(rows_of(a)) for a in scores}
    boards = [reliability.beside(board, given, sure) for board in boards]
    pictures = page.draw(boards)
    texts = {
        name: page.render(boards, title, language, redactor, pictures)
        for language, name in words.PAGES.items()
    }
    told: dict[str, Any] = {
        "kind": "yoriai-report",
        "schema": 1,
        "title": title,
        "artifacts": [{"name": a.name, "kind": a.kind, "digest": a.digest} for a in opened],
        "tables": [leaderboard.as_json(board) for board in boards],
        "samples": sum(tally.rows for one in given for tally in one.tallies),
        "pages": sum(
            -(-tally.rows // sample_pages.ROWS) for one in given for tally in one.tallies
        ) + len(texts),
    }  # fmt: skip
    _clear(out)
    # The mark comes first, so that what an interruption leaves can be replaced.
    files.write_atomically(out / MARK, files.canonical_json({**told, "pages": 0}))
    for artifact, one in zip(scores, given, strict=True):
        sample_pages.write(out, rows_of(artifact), one.tallies, redactor)
    for name, text in texts.items():
        files.write_atomically(out / name, text.encode("utf-8"))
    files.write_atomically(out / MARK, files.canonical_json(told))
    return told


def _given(artifact: Artifact, number: int) -> Given:
    return Given(
        name=artifact.name,
        digest=artifact.digest,
        facts=artifact.facts,
        config=artifact.config,
        outside=artifact.manifest.get("outside", {}),
        tallies=sample_pages.survey(rows_of(artifact), str(number)),
    )


def _ledger(artifact: Artifact, scores: Sequence[Artifact]) -> dict[str, Any]:
    """A contamination artifact's facts, and whose scores it halves."""
    made_from = artifact.facts.get("of") or [i["digest"] for i in artifact.manifest["inputs"]]
    given = {a.digest for a in scores}
    if artifact.facts.get("scores") and not given & set(made_from):
        console.note(f"{artifact.name} was made from other scores; of these it halves none")
    return {"tasks": {}, **artifact.facts, "of": list(made_from)}


def _places(group: Sequence[Given], scores: Sequence[Artifact]) -> Places:
    """Places by paired tests, where there are not too many rows to hold."""
    models = [(one, model) for one in group for model in one.models]
    rows = sum(tally.rows for one in group for tally in one.tallies)
    if len(models) < 2 or rows * (len(models) - 1) / 2 > MOST_TESTED:
        return {}
    by_digest = {artifact.digest: artifact for artifact in scores}
    people = contestants([(by_digest[one.digest], model) for one, model in models])
    who = {person.name: (person.scores.digest, person.model) for person in people}
    try:
        order = comparison.standings(comparison.compare(people))
    except NotFound:  # no two have a task in common
        return {}
    return {
        (*who[standing.name], _column(task)): (standing.best, standing.worst)
        for task, some in order.items()
        for standing in some
    }


def _column(task: str) -> str:
    """The column of a comparison's task; of texts the comparison names task and group."""
    return task.partition(" ")[2] or task


# --- the folder ---------------------------------------------------------------------------


def refuse_out(out: Path) -> None:
    """Refuse a folder that holds something else, or lies in a sealed artifact."""
    for parent in (out.absolute(), *out.absolute().parents):
        if (parent / MANIFEST).is_file():
            raise UsageError(
                f"{out} lies in a sealed artifact", hint="choose another folder with --out"
            )
    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"{out} is no folder", hint="choose another one with --out")
    if any(out.iterdir()) and not _is_report(out):
        raise Refused(
            f"{out} holds something that is no report; it is left as it is",
            hint="choose a new folder with --out",
        )


def _is_report(out: Path) -> bool:
    try:
        return bool(json.loads((out / MARK).read_bytes())["kind"] == "yoriai-report")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _clear(out: Path) -> None:
    """Delete the pages of the report that stands there, and nothing else."""
    root = out / sample_pages.FOLDER
    folders = sorted(root.iterdir()) if root.is_dir() and not root.is_symlink() else []
    for place in (root, *folders):
        if place.is_symlink():
            raise Refused(f"{place} is a link; pages are written into --out alone")
    for folder in folders:
        if not folder.is_dir():
            continue
        for path in folder.glob("*.html"):
            path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
    for name in words.PAGES.values():
        (out / name).unlink(missing_ok=True)
