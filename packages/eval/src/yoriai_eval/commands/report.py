"""``yoriai eval report``: scores artifacts as a leaderboard of plain files."""

from __future__ import annotations

from pathlib import Path

import click

from yoriai import console
from yoriai.artifact import open_checked


@click.command(epilog="""\b
Examples:
  yoriai eval report build/nine/scores@1 --out leaderboard
  yoriai eval report build/a/scores@1 build/b/scores@1 --out leaderboard --title "Small models"
  yoriai eval report build/nine/scores@1 build/nine/overlap@1 --out leaderboard --json
""")  # fmt: skip
@click.argument(
    "artifacts", nargs=-1, required=True, metavar="SCORES...", type=click.Path(path_type=Path)
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the pages: a new or empty one, or a report to replace.",
)
@click.option("--title", default="", help="Heading of the pages.")
@console.json_option
def report(artifacts: tuple[Path, ...], out: Path, title: str, as_json: bool) -> None:
    """Write a leaderboard of SCORES as static pages, in Japanese and English.

    SCORES are scores artifacts, and contamination artifacts whose halves are to stand beside them.
    The same artifacts give the same bytes; open OUT/index.html, or put OUT on any web server.
    """
    from yoriai_eval.report import write

    opened = [open_checked(path) for path in artifacts]
    write.refuse_out(out)
    told = write.write(opened, out, title)

    def text() -> str:
        lines = []
        for table in told["tables"]:
            names = ", ".join(model["model"] for model in table["models"])
            what = f"table {table['number']}: {table['protocol']}, {table['split']}"
            lines.append(f"{what}, {len(table['tasks'])} tasks: {names}")
        lines.append(f"{told['pages']} pages with {told['samples']:,} answers")
        return "\n".join([*lines, f"open {out / 'index.html'}"])

    console.emit(told, as_json=as_json, text=text)
