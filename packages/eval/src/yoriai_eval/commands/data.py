"""``yoriai eval data``: which data sets there are, whether their files are here and whole."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from yoriai import NotFound, YoriaiError, console
from yoriai.errors import Altered
from yoriai_eval.sets import store

SPLITS = ("dev", "test", "train")
mirror_option = click.option(
    "--mirror",
    "mirror",
    multiple=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of DATASET/PATH; may be given again [YORIAI_MIRROR].",
)
names_argument = click.argument("names", nargs=-1, metavar="[DATASET]...")


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  yoriai eval data
  yoriai eval data --check --mirror /mnt/eval
  yoriai eval data get jamp janli
  yoriai eval data export --protocol v1.3 --split dev jamp | sha256sum
""",
)
@click.option("--check", "checks", is_flag=True, help="Check all files (as: data check).")
@mirror_option
@console.json_option
@click.pass_context
def data(ctx: click.Context, checks: bool, mirror: tuple[Path, ...], as_json: bool) -> None:
    """List, fetch, check and export the data sets."""
    if ctx.invoked_subcommand is None:
        if checks:
            _check((), mirror, as_json)
        else:
            _list(as_json)
    elif checks or mirror or as_json:
        raise click.UsageError(f"options belong behind {ctx.invoked_subcommand!r}", ctx)


@data.command(
    "list",
    epilog="""\b
Examples:
  yoriai eval data list
  yoriai eval data list --json
""",
)
@console.json_option
def list_sets(as_json: bool) -> None:
    """List the data sets with their origin and licence."""
    _list(as_json)


@data.command("check", epilog="""\b
Examples:
  yoriai eval data check
  yoriai eval data check --mirror /mnt/eval jnli jsquad --json
""")  # fmt: skip
@names_argument
@mirror_option
@console.json_option
def check(names: tuple[str, ...], mirror: tuple[Path, ...], as_json: bool) -> None:
    """Check the files of data sets (default: all); download nothing.

    The exit code is 3 if a file is missing and 4 if one is changed.
    """
    _check(names, mirror, as_json)


@data.command("get", epilog="""\b
Examples:
  yoriai eval data get
  yoriai eval data get jamp janli
""")  # fmt: skip
@names_argument
@mirror_option
@console.json_option
def get(names: tuple[str, ...], mirror: tuple[Path, ...], as_json: bool) -> None:
    """Download what is missing of data sets (default: all) into the cache."""
    rows: list[dict[str, Any]] = []
    failed: list[YoriaiError] = []
    for name, path in _files(names, only_upstream=not names):
        try:
            place = store.locate(name, path, given=mirror)
            state = store.look(name, path, given=mirror).state
            rows.append(_row(name, path, state, place))
        except YoriaiError as error:
            failed.append(error)
            rows.append(_row(name, path, "failed", None, error.message))
    _tell(rows, failed, as_json)


@data.command("export", epilog="""\b
Examples:
  yoriai eval data export --protocol v1.3 --split dev jamp > jamp.json
  yoriai eval data export --split test --mirror /mnt/eval jsem | sha256sum
""")  # fmt: skip
@click.option(
    "--protocol",
    "protocol_name",
    type=click.Choice(["v1.3", "oct2023"]),
    default="v1.3",
    show_default=True,
    help="Version of llm-jp-eval.",
)
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Rows.")
@mirror_option
@click.argument("name", metavar="DATASET")
@console.json_option
def export(
    protocol_name: str, split: Any, mirror: tuple[Path, ...], name: str, as_json: bool
) -> None:
    """Write llm-jp-eval's processed JSON file of DATASET to standard output.

    Its bytes are those of llm-jp-eval; with --json it stands under "data" of one object.
    """
    from yoriai_eval.tasks import datasets

    written = datasets.processed(protocol_name, name, split, mirrors=mirror)
    if as_json:
        value = {"dataset": name, "split": split, "protocol": protocol_name}
        console.emit({**value, "data": json.loads(written)}, as_json=True, text=str)
        return
    sys.stdout.buffer.write(written)
    sys.stdout.buffer.flush()


def _files(names: Sequence[str], *, only_upstream: bool = False) -> list[tuple[str, str]]:
    """Data set and path of every file meant; raises NotFound for a name that is unknown."""
    chosen = [(name, store.origin(name)) for name in names or store.origins()]
    return [
        (name, path)
        for name, origin in chosen
        if not only_upstream or (origin.download and not origin.extra)
        for path in origin.files
    ]


def _list(as_json: bool) -> None:
    rows = [
        {
            "name": name,
            **origin.model_dump(exclude={"files"}),
            "files": [
                {"path": path, "bytes": file.bytes, "checksum": file.checksum}
                for path, file in origin.files.items()
            ],
            "unverified": sum(file.unverified for file in origin.files.values()),
        }
        for name, origin in store.origins().items()
    ]

    def text() -> str:
        columns = ("name", "licence", "files", "unverified", "MB", "title")
        return console.table(
            columns,
            [
                (
                    row["name"],
                    row["licence"],
                    len(row["files"]),
                    row["unverified"] or "",
                    f"{sum(f['bytes'] for f in row['files']) / 1e6:.1f}"
                    + ("+" if any(not f["bytes"] for f in row["files"]) else ""),
                    row["title"],
                )
                for row in rows
            ],
        )

    console.emit({"datasets": rows}, as_json=as_json, text=text)


def _check(names: Sequence[str], mirror: Sequence[Path], as_json: bool) -> None:
    rows, failed = [], []
    for name, path in _files(names):
        found = store.look(name, path, given=mirror)
        state, message = str(found.state), ""
        source = store.origin(name)
        if state == "missing" and not names and (source.extra or not source.download):
            state = "optional"  # nobody asked for it, or can fetch it
        elif state not in ("ok", "unverified"):
            failed.append(store.complaint(found))
            message = failed[-1].message
        rows.append(_row(name, path, state, found.place, message))
    _tell(rows, failed, as_json)


def _row(name: str, path: str, state: str, place: Path | None, message: str = "") -> dict[str, Any]:
    return {
        "dataset": name,
        "file": path,
        "state": state,
        "place": str(place or ""),
        "message": message,
    }


def _tell(rows: list[dict[str, Any]], failed: Sequence[YoriaiError], as_json: bool) -> None:
    """Print what was found of each file; leave with the gravest error's code if any failed."""

    def text() -> str:
        lines = [f"{row['state']:10}  {row['dataset']}: {row['file']}" for row in rows]
        whole = sum(row["state"] == "ok" for row in rows)
        loose = sum(row["state"] == "unverified" for row in rows)
        told = f", {loose} of them here without a checksum" if loose else ""
        return "\n".join([*lines, f"{whole} of {len(rows)} files are whole{told}"])

    console.emit({"whole": not failed, "files": rows}, as_json=as_json, text=text)
    if not failed:
        return
    gravest = max(failed, key=lambda error: (isinstance(error, Altered), error.exit_code))
    if as_json:  # the rows are the answer; a second object would spoil the first
        raise SystemExit(gravest.exit_code)
    kind = type(gravest) if isinstance(gravest, (Altered, NotFound)) else YoriaiError
    raise kind("\n".join(error.message for error in failed), hint=gravest.hint)
