"""``yoriai records``: experiments, failures included."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import yaml

from yoriai import console, files
from yoriai import record as records_of
from yoriai.config import unknown_name
from yoriai.errors import NotFound, Refused, UsageError
from yoriai.recipe import NAME
from yoriai.record import Filed
from yoriai.record_faults import check_records
from yoriai.record_history import FROZEN, freeze, frozen_faults, list_stated, tree_id

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path),
    default=Path("records"),
    show_default=True,
    help="The folder of records.",
)
language_option = click.option(
    "--language",
    type=click.Choice(["en", "ja"]),
    default="en",
    envvar="YORIAI_LANG",
    show_default=True,
    help="Of titles and lessons, where a record has both.",
)


@click.group(epilog="""\b
Examples:
  yoriai records list
  yoriai records search tokenizer
""")  # fmt: skip
def records() -> None:
    """List, read, check, compare, cite and export experiment records."""


def _find(root: Path, *numbers: str) -> list[Filed]:
    """The records of these numbers; ``42`` is ``0042``."""
    filed = {f.record.id: f for f in records_of.list_records(root)}
    found = []
    for number in numbers:
        number = number.zfill(4)
        if number not in filed:
            raise unknown_name(number, filed, "record")
        found.append(filed[number])
    return found


def _in(texts: dict[Any, str], language: str) -> str:
    return texts.get(language) or next(iter(texts.values()), "")


def _row(filed: Filed, language: str) -> tuple[str, ...]:
    r = filed.record
    return (r.id, r.state, r.execution or "", r.verdict or "", _in(dict(r.title), language))


COLUMNS = ("id", "state", "execution", "verdict", "title")


@records.command("list", epilog="""\b
Examples:
  yoriai records list
  yoriai records list --cause dependency-drift
""")  # fmt: skip
@root_option
@click.option("--verdict", default="", help="supported, refuted, inconclusive or not-tested")
@click.option("--cause", default="", help="Only records with a failure of this cause.")
@language_option
@console.json_option
def list_records(root: Path, verdict: str, cause: str, language: str, as_json: bool) -> None:
    """List the records."""
    if cause and cause not in records_of.CAUSES:
        raise unknown_name(cause, records_of.CAUSES, "cause")
    if verdict and verdict not in records_of.VERDICTS:
        raise unknown_name(verdict, records_of.VERDICTS, "verdict")
    rows = [
        filed
        for filed in records_of.list_records(root)
        if (not verdict or filed.record.verdict == verdict)
        and (not cause or cause in {f.cause for f in filed.record.failures})
    ]
    value = {"records": [f.record.model_dump(mode="json", by_alias=True) for f in rows]}

    def text() -> str:
        return console.table(COLUMNS, [_row(filed, language) for filed in rows])

    console.emit(value, as_json=as_json, text=text)


@records.command("show", epilog="""\b
Examples:
  yoriai records show 6
  yoriai records show 0006 --language ja
""")  # fmt: skip
@click.argument("record_id")
@root_option
@language_option
@console.json_option
def show(record_id: str, root: Path, language: str, as_json: bool) -> None:
    """Show one record: what was predicted and when, what came of it, what was learned."""
    [one] = _find(root, record_id)
    stated = list_stated(root, [one])[one.folder.name]
    record = one.record
    value = record.model_dump(mode="json", by_alias=True) | {
        "folder": one.folder.name,
        "stated": [{"standing": s.standing, "commit": s.commit, "time": s.time} for s in stated],
    }

    def text() -> str:
        lines = [f"{record.id}  {_in(dict(record.title), language)}", ""]
        lines += [" · ".join(filter(None, (record.state, record.execution, record.verdict))), ""]
        lines += [record.hypothesis, ""] if record.hypothesis else []
        for p, s in zip(record.predictions, stated, strict=True):
            measured = "" if p.measured is None else f"  (measured {p.measured:g} {p.unit})"
            lines += [f"{p.verdict:13}{p.text}{measured}", f"{'':13}{s.words(language)}"]
        for f in record.failures:
            lines += ["", f"{f.cause}: {f.symptom}", *([f"  fix: {f.fix}"] if f.fix else [])]
        lines += ["", *(f"* {_in(dict(x.text), language)}" for x in record.lessons)]
        story = one.folder / "README.md"
        lines += (
            ["", story.read_text(encoding="utf-8", errors="replace")] if story.is_file() else []
        )
        return _printable("\n".join(lines))

    console.emit(value, as_json=as_json, text=text)


def _printable(text: str) -> str:
    """No escape character of a stranger reaches the terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


@records.command("search", epilog="""\b
Examples:
  yoriai records search "loss spike"
  yoriai records search トークナイザ --language ja
""")  # fmt: skip
@click.argument("words")
@root_option
@language_option
@console.json_option
def search(words: str, root: Path, language: str, as_json: bool) -> None:
    """Find the records that hold all of WORDS, in keys or story."""
    from yoriai.record_search import search as find

    rows = find(records_of.list_records(root), words)
    value = {"records": [{"id": f.record.id, "hits": hits, "title": dict(f.record.title)}
                         for hits, f in rows]}  # fmt: skip

    def text() -> str:
        return console.table(COLUMNS, [_row(filed, language) for _, filed in rows])

    console.emit(value, as_json=as_json, text=text)


@records.command("diff", epilog="""\b
Examples:
  yoriai records diff 6 10
""")  # fmt: skip
@click.argument("one")
@click.argument("other")
@root_option
@console.json_option
def diff(one: str, other: str, root: Path, as_json: bool) -> None:
    """Put two records side by side: what they say, and how their runs were configured."""
    from yoriai.record_search import differences

    left, right = _find(root, one, other)
    rows = differences(left, right)
    names = (left.record.id, right.record.id)
    value = {"records": names, "differences": [{"key": k, "left": a, "right": b}
                                               for k, a, b in rows]}  # fmt: skip

    def text() -> str:
        cut = [(key, *(_printable(str(v if v is not None else "–"))[:44] for v in pair))
               for key, *pair in rows]  # fmt: skip
        return console.table(("key", *names), cut)

    console.emit(value, as_json=as_json, text=text)


@records.command("lineage", epilog="""\b
Examples:
  yoriai records lineage 6
""")  # fmt: skip
@click.argument("record_id")
@root_option
@console.json_option
def lineage(record_id: str, root: Path, as_json: bool) -> None:
    """Show which records lead to one, and which came of it."""
    from yoriai.record_search import lineage as walk

    [one] = _find(root, record_id)
    rows = walk(records_of.list_records(root), one.record.id)
    value = {"record": one.record.id, "edges": [{"from": a, "how": how, "to": b}
                                                for a, how, b in rows]}  # fmt: skip

    def text() -> str:
        if not rows:
            return f"{one.record.id} names no other record, and none names it"
        return console.table(("record", "how", "other"), rows)

    console.emit(value, as_json=as_json, text=text)


@records.command("check", epilog="""\b
Examples:
  yoriai records check
""")  # fmt: skip
@root_option
@console.json_option
def check(root: Path, as_json: bool) -> None:
    """Check every record: keys, verdicts, run files, references, markup, secrets, frozen bytes."""
    problems = check_records(root)
    if problems and not as_json:
        raise Refused("\n".join(map(_printable, problems)))
    count = len(list(root.glob("*/record.yaml")))
    value = {"records": count, "problems": problems}
    console.emit(value, as_json=as_json, text=lambda: f"{count} records, nothing wrong")
    if problems:
        raise SystemExit(4)


@records.command("freeze", epilog="""\b
Examples:
  yoriai records freeze 6
""")  # fmt: skip
@click.argument("record_id")
@root_option
@console.json_option
def freeze_record(record_id: str, root: Path, as_json: bool) -> None:
    """Close a record that has ended: from now on errata, validity and links may change."""
    [one] = _find(root, record_id)
    path = freeze(one, datetime.date.today())
    console.emit({"frozen": str(path)}, as_json=as_json, text=lambda: f"wrote {path}")


@records.command("verify", epilog="""\b
Examples:
  yoriai records verify
  yoriai records verify 6
""")  # fmt: skip
@click.argument("record_id", default="")
@root_option
@console.json_option
def verify(record_id: str, root: Path, as_json: bool) -> None:
    """Compare frozen records with their digests, offline, and print the tree of each."""
    filed = _find(root, record_id) if record_id else records_of.list_records(root)
    problems = [problem for one in filed for problem in frozen_faults(one)]
    rows = [(one.record.id, "frozen" if (one.folder / FROZEN).is_file() else "open",
             f"swh:1:dir:{tree_id(one.folder)}") for one in filed]  # fmt: skip
    if problems and not as_json:
        raise Refused("\n".join(problems))
    value = {"records": [{"id": a, "state": b, "tree": c} for a, b, c in rows],
             "problems": problems}  # fmt: skip
    console.emit(
        value, as_json=as_json, text=lambda: console.table(("id", "state", "git tree"), rows)
    )
    if problems:
        raise SystemExit(4)


@records.command("cite", epilog="""\b
Examples:
  yoriai records cite 6
  yoriai records cite 6 --style cff
""")  # fmt: skip
@click.argument("record_id")
@click.option("--style", type=click.Choice(["bibtex", "cff"]), default="bibtex", show_default=True,
              help="BibTeX, or CITATION.cff.")  # fmt: skip
@root_option
@console.json_option
def cite(record_id: str, style: str, root: Path, as_json: bool) -> None:
    """Print a citation of one record."""
    from yoriai.record_export import citation

    [one] = _find(root, record_id)
    body = citation(one, style)
    console.emit({"style": style, "citation": body}, as_json=as_json, text=body.rstrip)


@records.command("env", epilog="""\b
Examples:
  yoriai records env 6
""")  # fmt: skip
@click.argument("record_id")
@root_option
@console.json_option
def env(record_id: str, root: Path, as_json: bool) -> None:
    """Print the packages of a record's newest run, as lines for pip."""
    from yoriai.record_export import requirements

    [one] = _find(root, record_id)
    lines = requirements(one)
    if not lines:
        raise NotFound(f"{one.record.id} has no run file", hint=f"ls {one.folder}")
    console.emit({"requirements": lines}, as_json=as_json, text=lambda: "\n".join(lines))


@records.command("export", epilog="""\b
Examples:
  yoriai records export
  yoriai records export --form ro-crate 6
""")  # fmt: skip
@click.argument("record_ids", nargs=-1)
@click.option("--form", type=click.Choice(["json", "sqlite", "atom", "ro-crate"]), default="json",
              show_default=True, help="records.json, SQLite, Atom, or RO-Crates.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/records"),
              show_default=True, help="The folder to write to.")  # fmt: skip
@root_option
@console.json_option
def export(record_ids: Sequence[str], form: str, out: Path, root: Path, as_json: bool) -> None:
    """Write records in a form that others read; all of them, or RECORD_IDS."""
    from yoriai.record_export import export as write

    filed = _find(root, *record_ids) if record_ids else records_of.list_records(root)
    written = write(filed, list_stated(root, filed), out, form)
    value = {"written": [str(path) for path in written]}
    console.emit(value, as_json=as_json, text=lambda: "\n".join(f"wrote {p}" for p in written))


@records.command("new", epilog="""\b
Examples:
  yoriai records new warmup-length --title-en "Does a longer warm-up help at 2M?"
  yoriai records new warmup-again --title-en "And twice as long?" --from-run build/tour/runs/X.json
""")  # fmt: skip
@click.argument("slug")
@click.option("--title-en", default="", help="Title in English.")
@click.option("--title-ja", default="", help="Title in Japanese.")
@click.option("--from-run", type=click.Path(path_type=Path), metavar="RUN",
              help="A run file; it is copied, and fills the machine's part.")  # fmt: skip
@root_option
@console.json_option
def new(
    slug: str, title_en: str, title_ja: str, from_run: Path | None, root: Path, as_json: bool
) -> None:
    """Start the next record, called SLUG."""
    if not NAME.fullmatch(slug):
        raise UsageError(f"{slug!r} is no plain name (a-z, 0-9, '-', '_')")
    run = _read_run(from_run) if from_run else {}
    titles = dict((run.get("resolved") or {}).get("question", {}).get("title") or {})
    titles |= {key: text for key, text in (("ja", title_ja), ("en", title_en)) if text}
    if not titles:
        raise UsageError("a record needs a title", hint="add --title-en or --title-ja")
    root.mkdir(parents=True, exist_ok=True)
    taken = [int(f.record.id) for f in records_of.list_records(root)]
    number = f"{max(taken, default=0) + 1:04d}"
    folder = root / f"{number}-{slug}"
    value: dict[str, Any] = {
        "schema": 1,
        "id": number,
        "title": titles,
        "state": "proposed",
        "opened": str(datetime.date.today()),
        "hypothesis": "",
        "predictions": [],
    }
    if run:
        from yoriai.record_draft import facts_of_run

        value |= facts_of_run(run)
        files.write_atomically(folder / "runs" / f"{run['id']}.json", files.ordered_json(run))
    text = yaml.safe_dump(value, allow_unicode=True, sort_keys=False)
    files.write_atomically(folder / "record.yaml", text.encode())
    head = titles.get("en") or titles["ja"]
    story = "\n\n".join([f"# {head}", *(f"## {h}" for h in records_of.HEADINGS)])
    files.write_atomically(folder / "README.md", story.encode() + b"\n")
    console.emit({"folder": str(folder)}, as_json=as_json, text=lambda: f"wrote {folder}")


def _read_run(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise NotFound(f"no run file {path}", hint="ls build/*/runs")
    try:
        value = json.loads(path.read_bytes())
        if not {"id", "state", "started", "steps", "recipe", "resolved"} <= value.keys():
            raise ValueError("it lacks keys of a run")
        if not str(value["id"]).replace("-", "").isalnum():
            raise ValueError("its id is no plain name")
    except (ValueError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is no run file: {error}", hint="ls build/*/runs") from error
    return dict(value)
