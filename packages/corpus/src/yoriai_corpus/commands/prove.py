"""``prove`` and ``check-proof``: that a document is in a corpus, shown without the corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yoriai import UsageError, console
from yoriai_corpus.commands import folder, open_kind


@click.command(epilog="""\b
Examples:
  yoriai corpus prove build/tour/text@1 mercurial-files/README.rst --out proof.json
""")  # fmt: skip
@click.argument("corpus", type=folder)
@click.argument("name", metavar="SOURCE/ID")
@click.option("--out", type=folder, metavar="FILE", help="Write the proof there.")
@console.json_option
def prove(corpus: Path, name: str, out: Path | None, as_json: bool) -> None:
    """Prove that a document is among the kept ones of CORPUS: some digests, and no text."""
    from yoriai import files
    from yoriai_corpus.build import records

    value = records.prove(open_kind(corpus, "corpus"), name)
    if out is not None:
        files.write_atomically(out, files.canonical_json(value))
    text = f"record {value['index']:,} of {value['count']:,}, root {value['root']}"
    console.emit(value, as_json=as_json, text=lambda: text)


@click.command("check-proof", epilog="""\b
Examples:
  yoriai corpus check-proof proof.json --root 5dc9da79a70659a9ad559cb701ded9a2
""")  # fmt: skip
@click.argument("proof", type=folder)
@click.option("--root", default="", metavar="HEX", help="The root that the corpus published.")
@click.option("--corpus", type=folder, help="Or the corpus itself.")
@click.option("--text", type=folder, metavar="FILE", help="Also that the document's text is this.")
@console.json_option
def check_proof(
    proof: Path, root: str, corpus: Path | None, text: Path | None, as_json: bool
) -> None:
    """Check that PROOF leads to the root of a corpus; the corpus need not be here."""
    from yoriai_corpus.build import records

    if bool(root) == (corpus is not None):
        raise UsageError("give either --root or --corpus")
    if corpus is not None:
        root = str(open_kind(corpus, "corpus").facts.get("records", {}).get("root", ""))
    value: dict[str, Any] = records.read_proof(proof)
    written = None
    if text is not None:
        try:
            written = text.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{text} cannot be read as UTF-8") from error
    records.check(value, root, written)
    name = f"{value['source']}/{value['id']}"
    console.emit(
        {"in_corpus": True, "name": name, "root": root}, as_json=as_json,
        text=lambda: f"{name} is record {value['index']:,} of {value['count']:,} under {root}",
    )  # fmt: skip


@click.command(epilog="""\b
Examples:
  yoriai corpus altered build/tour/text@1
""")  # fmt: skip
@click.argument("corpus", type=folder)
@console.json_option
def altered(corpus: Path, as_json: bool) -> None:
    """Name the records of CORPUS that are not those that were sealed, and fail if there are any.

    yoriai verify names the file; each record of an altered file of kept documents is compared with
    its digest in records.sha256.
    """
    from yoriai import Altered, artifact
    from yoriai_corpus.build import records

    opened = artifact.open_artifact(corpus)
    if opened.kind != "corpus":
        raise UsageError(f"{corpus} is no corpus", hint=f"yoriai verify {corpus}")
    _, findings = artifact.verify(corpus)
    lines = [f"{finding.file} {finding.problem}" for finding in findings]
    for finding in findings:
        lines += records.altered(opened, finding.file)
    if lines and not as_json:
        raise Altered("\n".join(lines), hint="restore the folder from a copy")
    console.emit(
        {"whole": not lines, "altered": lines}, as_json=as_json, text=lambda: f"{corpus} is whole"
    )
    if lines:
        raise SystemExit(Altered.exit_code)
