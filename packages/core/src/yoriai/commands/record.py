"""``yoriai records``: experiments, failures included."""

from __future__ import annotations

import datetime
from pathlib import Path

import click
import yaml

from yoriai import console, files
from yoriai import record as records_of
from yoriai.config import unknown_name
from yoriai.errors import Refused, UsageError
from yoriai.recipe import NAME
from yoriai.record_faults import check_records

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("records"),
    show_default=True,
    help="The folder of records.",
)


@click.group()
def records() -> None:
    """List, show and check experiment records."""


@records.command("list", epilog="""\b
Examples:
  yoriai records list
  yoriai records list --cause dependency-drift
""")  # fmt: skip
@root_option
@click.option("--verdict", default="", help="supported, refuted, inconclusive or not-tested")
@click.option("--cause", default="", help="Only records with a failure of this cause.")
@console.json_option
def list_records(root: Path, verdict: str, cause: str, as_json: bool) -> None:
    """List the records."""
    if cause and cause not in records_of.CAUSES:
        raise unknown_name(cause, records_of.CAUSES, "cause")
    rows = [
        filed.record
        for filed in records_of.list_records(root)
        if (not verdict or filed.record.verdict == verdict)
        and (not cause or cause in {f.cause for f in filed.record.failures})
    ]
    value = {"records": [r.model_dump(mode="json", by_alias=True) for r in rows]}

    def text() -> str:
        return console.table(
            ("id", "state", "execution", "verdict", "title"),
            [
                (r.id, r.state, r.execution or "", r.verdict or "", next(iter(r.title.values())))
                for r in rows
            ],
        )

    console.emit(value, as_json=as_json, text=text)


@records.command("show", epilog="""\b
Examples:
  yoriai records show 0001
""")  # fmt: skip
@click.argument("record_id")
@root_option
@console.json_option
def show(record_id: str, root: Path, as_json: bool) -> None:
    """Show one record."""
    filed = {f.record.id: f for f in records_of.list_records(root)}
    if record_id not in filed:
        raise unknown_name(record_id, filed, "record")
    one = filed[record_id]
    value = one.record.model_dump(mode="json", by_alias=True)

    def text() -> str:
        story = one.folder / "README.md"
        body = story.read_text(encoding="utf-8") if story.is_file() else ""
        return f"{yaml.safe_dump(value, allow_unicode=True, sort_keys=False)}\n{body}"

    console.emit(value, as_json=as_json, text=text)


@records.command("check", epilog="""\b
Examples:
  yoriai records check
""")  # fmt: skip
@root_option
@console.json_option
def check(root: Path, as_json: bool) -> None:
    """Check every record: schema, headings, ids, no secrets, no home paths."""
    problems = check_records(root)
    if problems and not as_json:
        raise Refused("\n".join(problems))
    count = len(list(root.glob("*/record.yaml")))
    value = {"records": count, "problems": problems}
    console.emit(value, as_json=as_json, text=lambda: f"{count} records, nothing wrong")
    if problems:
        raise SystemExit(4)


@records.command("new", epilog="""\b
Examples:
  yoriai records new warmup-length --title-en "Does a longer warm-up help at 2M?"
""")  # fmt: skip
@click.argument("slug")
@click.option("--title-en", default="", help="Title in English.")
@click.option("--title-ja", default="", help="Title in Japanese.")
@root_option
@console.json_option
def new(slug: str, title_en: str, title_ja: str, root: Path, as_json: bool) -> None:
    """Start the next record, called SLUG."""
    if not NAME.fullmatch(slug):
        raise UsageError(f"{slug!r} is no plain name (a-z, 0-9, '-', '_')")
    if not (title_en or title_ja):
        raise UsageError("a record needs a title", hint="add --title-en or --title-ja")
    root.mkdir(parents=True, exist_ok=True)
    taken = [int(f.record.id) for f in records_of.list_records(root)]
    number = f"{max(taken, default=0) + 1:04d}"
    folder = root / f"{number}-{slug}"
    title = {key: text for key, text in (("ja", title_ja), ("en", title_en)) if text}
    value = {
        "schema": 1,
        "id": number,
        "title": title,
        "state": "proposed",
        "opened": datetime.date.today(),
        "hypothesis": "",
        "predictions": [],
    }
    text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    files.write_atomically(folder / "record.yaml", text.encode())
    story = "\n\n".join([f"# {title_en or title_ja}", *(f"## {h}" for h in records_of.HEADINGS)])
    files.write_atomically(folder / "README.md", story.encode() + b"\n")
    console.emit({"folder": str(folder)}, as_json=as_json, text=lambda: f"wrote {folder}")
