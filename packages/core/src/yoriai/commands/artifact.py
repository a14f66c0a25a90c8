"""``yoriai verify`` and ``yoriai lineage``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from yoriai import artifact as artifacts
from yoriai import console, run_folder, signatures, signing
from yoriai.artifact import MANIFEST, Artifact
from yoriai.errors import Altered, NotFound, UsageError


@click.command(epilog="""\b
Examples:
  yoriai verify build/tour
  yoriai verify build/tour/text@1 --json
  yoriai verify build/tour/text@1 --key ~/keys/corpus.pub
  yoriai verify build/tour --absent "a sentence that was removed"
""")  # fmt: skip
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--key", "key_path", type=click.Path(path_type=Path, dir_okay=False),
    help="Also that each is signed by this public key.",
)  # fmt: skip
@click.option(
    "--absent", "texts", multiple=True, metavar="TEXT",
    help="Instead that this is in no file of the folder PATH: yoriai corpus absent PATH TEXT.",
)  # fmt: skip
@console.json_option
@click.pass_context
def verify(
    shared: click.Context, path: Path, key_path: Path | None, texts: tuple[str, ...], as_json: bool
) -> None:
    """Check every byte of the artifact PATH, or of all artifacts in the folder PATH.

    An altered file is named; of a corpus yoriai corpus altered names the altered record. In the
    folder of a recipe an artifact that was renamed, replaced or is gone, a link and a pipe are
    named too; inputs that stood elsewhere, and folders that no run writes, are told in notes.
    """
    if texts:
        if key_path:
            raise UsageError("--absent looks at texts, --key at signatures", hint="give one")
        _absent(shared, path, texts, as_json)
        return
    public = signing.read_public(key_path) if key_path else None
    alone = (path / MANIFEST).exists()
    folders = [path] if alone else run_folder.artifacts_below(path)
    if not folders:
        raise NotFound(f"{path} is no artifact and holds none", hint="ls build/")
    rows: list[dict[str, Any]] = []
    opened: dict[str, Artifact | None] = {}
    for folder in console.watch(folders, "verify"):
        if (folder / MANIFEST).is_file():
            found, findings = artifacts.verify(folder)
        else:
            found, findings = None, [artifacts.Finding(MANIFEST, "is missing")]
        opened[folder.name] = found
        signed_by = ""
        if found is not None and not findings and public is not None:
            try:
                signatures.check(found, public)
                signed_by = signing.fingerprint(public)
            except Altered as error:
                findings = [artifacts.Finding("", error.message)]
        rows.append(
            {
                "signed_by": signed_by,
                "path": str(folder),
                "name": found.name if found else "",
                "digest": found.digest if found else "",
                "files": len(found.manifest["files"]) if found else 0,
                "findings": [{"file": f.file, "problem": f.problem} for f in findings],
            }
        )
    whole = run_folder.Folder() if alone else run_folder.look(path, opened)
    bad = [
        f"{r['path']}/{f['file']} {f['problem']}" if f["file"] else f["problem"]
        for r in rows
        for f in r["findings"]
    ] + [_line(path, finding) for finding in whole.findings]
    value = {
        "whole": not bad,
        "artifacts": rows,
        "findings": [{"file": f.file, "problem": f.problem} for f in whole.findings],
        "notes": [{"file": f.file, "problem": f.problem} for f in whole.notes],
    }
    for finding in () if as_json else whole.notes:
        console.note(f"note: {_line(path, finding)}")
    if bad:
        if as_json:  # the findings are the answer; a second object would spoil the first
            console.emit(value, as_json=True, text=str)
            raise SystemExit(Altered.exit_code)
        raise Altered(
            "\n".join(bad),
            hint="restore the folder from a copy, or delete it and run the recipe again",
        )

    def text() -> str:
        return "\n".join(
            f"whole  {row['path']}  {row['files']} files  {row['digest'][:12]}" for row in rows
        )

    console.emit(value, as_json=as_json, text=text)


def _line(root: Path, finding: artifacts.Finding) -> str:
    return f"{root}/{finding.file} {finding.problem}" if finding.file else finding.problem


def _absent(shared: click.Context, path: Path, texts: tuple[str, ...], as_json: bool) -> None:
    """Have the command answer that knows the formats, if its plugin is installed."""
    registry = shared.obj.registry
    command = registry.load(registry.get("commands", "corpus/absent"))
    shared.invoke(command, root=path, texts=texts, as_json=as_json)


@click.command(epilog="""\b
Examples:
  yoriai lineage build/tour/scores@1
  yoriai lineage build/tour/base@1 --json
""")  # fmt: skip
@click.argument("path", type=click.Path(path_type=Path))
@console.json_option
def lineage(path: Path, as_json: bool) -> None:
    """Walk from the artifact PATH back to the sources it was made from."""
    tree = artifacts.lineage(artifacts.open_artifact(path))
    console.emit(tree, as_json=as_json, text=lambda: "\n".join(_draw(tree, "", set())))


def _draw(tree: Mapping[str, Any], indent: str, seen: set[str]) -> Iterator[str]:
    if not tree.get("here", True):
        yield f"{indent}{tree['name']}  {tree['digest'][:12]}  (not here: {tree['problem']})"
        return
    line = f"{indent}{tree['name']}  {tree['kind']} by {tree['step']}  {tree['digest'][:12]}"
    if tree["digest"] in seen:
        yield f"{line}  (as above)"
        return
    seen.add(tree["digest"])
    yield line
    for item in tree["inputs"]:
        yield from _draw(item, indent + "  ", seen)
    if not tree["inputs"]:
        for source in tree["sources"]:
            version = f" {source['version']}" if source.get("version") else ""
            name, licence = source.get("name", ""), source.get("licence", "")
            yield f"{indent}  source {name}{version}  [{licence}]"
