"""``remove`` and ``absent``: taking documents out of everything, and showing that they are gone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from yoriai import UsageError, YoriaiError, console
from yoriai_corpus.commands import folder

if TYPE_CHECKING:
    from yoriai_corpus.removal.folder import RemovalPlan


@click.command(epilog="""\b
Examples:
  yoriai corpus remove build/tour --id mercurial-files/COPYING --reason "as asked" --dry-run
  yoriai corpus remove build/tour --url https://example.jp/1 --reason "no licence" --by office
  yoriai corpus remove build/tour --resume
""")  # fmt: skip
@click.argument("root", type=folder, metavar="FOLDER")
@click.option("--id", "ids", multiple=True, metavar="SOURCE/ID", help="The document of this name.")
@click.option("--url", "urls", multiple=True, help="All documents of this address.")
@click.option("--query", "queries", multiple=True, metavar="TEXT", help="All that hold this text.")
@click.option("--again", is_flag=True, help="All that the log of FOLDER names: after a new build.")
@click.option("--resume", is_flag=True, help="Go on with a removal that was begun.")
@click.option("--reason", default="", help="Why; it is written into the log.")
@click.option("--by", default="", metavar="NAME", help="Who asked; it is written into the log.")
@click.option(
    "--twins", type=click.Choice(("all", "promote")), default="all", show_default=True,
    help="Near duplicates: all go, or one is kept in its place. Equal texts always go.",
)  # fmt: skip
@click.option(
    "--key", type=click.Path(path_type=Path, dir_okay=False),
    help="Sign the entry of the log with this private key.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@console.json_option
def remove(
    root: Path, ids: tuple[str, ...], urls: tuple[str, ...], queries: tuple[str, ...],
    again: bool, resume: bool, reason: str, by: str, twins: Any, key: Path | None,
    dry_run: bool, as_json: bool,
) -> None:  # fmt: skip
    """Take documents out of all corpora, indexes and token shards in FOLDER.

    Every artifact that holds them is replaced by one without, under a new digest, and what it was
    is deleted. In shards their tokens become end marks. Models are not changed: those that saw
    them are named; releases that hold them are deleted. What was done goes to removals.jsonl,
    without the text or the names.
    """
    from yoriai_corpus.account.removals import logged
    from yoriai_corpus.removal import folder as removals
    from yoriai_corpus.removal.selection import RemovalRequest

    if resume:
        planned = removals.resume(root)
    else:
        digests: frozenset[str] = frozenset()
        if again:
            entries = logged(root)
            digests = frozenset(d for entry in entries for d in entry["names_sha256"])
            reason = reason or "removed before, and built again"
        planned = removals.plan(root, RemovalRequest(
            reason=reason, ids=ids, urls=urls, queries=queries, name_digests=digests, by=by,
            twins=twins,
        ))  # fmt: skip
    value = planned.plain()
    if not dry_run:
        sign = None
        if key is not None:
            from yoriai import signing

            private = signing.read_private(key)
            sign = lambda data: signing.sign(private, data)  # noqa: E731
        value = {**value, "entry": removals.apply(planned, sign=sign)}
    console.emit(value, as_json=as_json, text=lambda: _text(planned, value, dry_run=dry_run))


def _text(planned: RemovalPlan, value: dict[str, Any], *, dry_run: bool) -> str:
    from yoriai_corpus.removal.folder import COPIES

    rows = [
        (row["name"], row["kind"],
         ", ".join(f"{name} {count:,}" for name, count in row["holds"].items()) or "new digests")
        for row in value["artifacts"]
    ]  # fmt: skip
    verb = "would be removed" if dry_run else "removed"
    parts = [
        f"{value['documents']:,} documents {verb}, {len(value['promoted']):,} kept in place of one",
        console.table(("artifact", "kind", "documents"), rows),
    ]
    if gone := [row for row in value["artifacts"] if row["kind"] in COPIES]:
        names = ", ".join(f"{row['path']} ({row['kind']})" for row in gone)
        parts.append(f"{'to be ' if dry_run else ''}deleted, and to be made anew: {names}")
    if value["saw"]:
        names = ", ".join(f"{row['name']} ({row['kind']})" for row in value["saw"])
        parts.append(f"made from them, and not changed: {names}")
    if value["promoted"]:
        parts.append("token shards do not hold what was kept in their place: encode them anew")
    if dry_run:
        shown = value["names"][:20]
        parts.append("\n".join([*shown, *(["…"] if len(value["names"]) > len(shown) else [])]))
    else:
        parts.append(f"written down in {planned.root / 'removals.jsonl'}")
        parts.append(f"see for yourself: yoriai corpus absent {planned.root} TEXT")
    return "\n\n".join(parts)


@click.command(epilog="""\b
Examples:
  yoriai corpus absent build/tour "a sentence that was removed"
  yoriai corpus absent build/tour - < removed.txt
""")  # fmt: skip
@click.argument("root", type=folder, metavar="FOLDER")
@click.argument("texts", nargs=-1, required=True, metavar="TEXT...|-")
@console.json_option
def absent(root: Path, texts: tuple[str, ...], as_json: bool) -> None:
    """Look into every file in FOLDER for TEXT, and fail if it is anywhere.

    Corpora, indexes, token shards, packed files, pages and run files are read as what they are.
    What could not be looked into is named. With - each line of standard input is a text.
    """
    from yoriai_corpus.removal import absence

    if texts == ("-",):
        try:
            lines = sys.stdin.buffer.read().decode().splitlines()
        except UnicodeDecodeError as error:
            raise UsageError("standard input is no UTF-8", hint="give it as text") from error
        texts = tuple(line for line in lines if line.strip())
    report = absence.look(root, texts)
    value = {
        "absent": not report.found,
        "files": report.looked,
        "found": [{"file": p.path, "as": p.form, "text": p.text} for p in report.found],
        "not_looked_into": [{"file": path, "why": why} for path, why in report.closed],
    }
    closed = [f"not looked into: {path}: {why}" for path, why in report.closed]
    if report.found and not as_json:
        shown = [f"{p.path} holds text {p.text + 1} ({p.form})" for p in report.found]
        raise YoriaiError(
            "\n".join([*shown, *closed]), hint=f"yoriai corpus remove {root} --query TEXT"
        )
    console.emit(
        value, as_json=as_json,
        text=lambda: "\n".join([f"absent from {report.looked:,} files", *closed]),
    )  # fmt: skip
    if report.found:
        raise SystemExit(YoriaiError.exit_code)
