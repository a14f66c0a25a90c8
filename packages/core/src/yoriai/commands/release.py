"""``yoriai release``: an artifact as a folder to publish, and, when told so, its upload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yoriai import console
from yoriai.artifact import open_artifact

folder = click.Path(path_type=Path)


@click.command(epilog="""\b
Examples:
  yoriai release build/tour/base@1 --out release/base
  yoriai release build/tour/text@1 --out release/text --json
  yoriai release release/base --push example-lab/tour-base
""")  # fmt: skip
@click.argument("path", type=folder)
@click.option("--out", "target", type=folder, help="The new folder to write the release to.")
@click.option(
    "--scores", "scored", type=folder, multiple=True, metavar="ARTIFACT",
    help="Scores for the card; without it those beside the model.",
)  # fmt: skip
@click.option(
    "--probes", "looked", type=folder, multiple=True, metavar="ARTIFACT",
    help="Probes for the card; without it those beside the model.",
)  # fmt: skip
@click.option(
    "--failures", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
    help="Markdown of what you know to fail, for the card.",
)  # fmt: skip
@click.option("--with-dropped", is_flag=True, help="Release a corpus's dropped text as well.")
@click.option(
    "--push", "repository", metavar="ORG/NAME", help="Upload the release; needs HF_TOKEN."
)
@click.option("--private", is_flag=True, help="Make a new repository private.")
@click.option("--endpoint", metavar="URL", help="Another server than huggingface.co.")
@console.json_option
def release(
    path: Path,
    target: Path | None,
    scored: tuple[Path, ...],
    looked: tuple[Path, ...],
    failures: Path | None,
    with_dropped: bool,
    repository: str | None,
    private: bool,
    endpoint: str | None,
    as_json: bool,
) -> None:
    """Write the artifact PATH as a folder ready to publish: card, licences, provenance, digests.

    Nothing leaves this machine without --push; with it, PATH may be a release made before.
    """
    from yoriai import files
    from yoriai import release as releases
    from yoriai.errors import UsageError
    from yoriai.plain_markdown import neutralise

    made: dict[str, Any]
    place = target or path
    if target is not None:
        words = (
            neutralise(files.read_small(failures, releases.MOST_TEXT).decode()) if failures else ""
        )
        made = releases.assemble(
            open_artifact(path), target,
            scores=[open_artifact(one) for one in scored],
            probes=[open_artifact(one) for one in looked], failures=words,
            with_dropped=with_dropped, watch=console.watch,
        )  # fmt: skip
        for name, lines in made["hidden"].items():
            console.note(f"{name}: a secret, a home path or a name hidden in {lines} lines")
        if made["left_out"]:
            console.note(f"{made['left_out']} files were left out (dropped text and its tables)")
    elif repository:
        made = releases.check(path)
    else:
        raise UsageError("where to? --out is missing", hint=f"yoriai release {path} --out FOLDER")
    value = {"folder": str(place), "files": len(made["files"]) + 1, "pushed": ""}
    if repository:
        from yoriai.hub_upload import push

        value["pushed"] = push(place, repository, private=private, endpoint=endpoint)

    def text() -> str:
        size = sum(row["bytes"] for row in made["files"].values()) / 1e6
        line = f"{place}: {value['files']} files, {size:.2f} MB, {made['licence'] or 'no licence'}"
        return f"{line}\npushed: {value['pushed']}" if value["pushed"] else line

    console.emit(value, as_json=as_json, text=text)
