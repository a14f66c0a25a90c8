"""``yoriai key`` and ``yoriai sign``: who vouches for an artifact."""

from __future__ import annotations

from pathlib import Path

import click

from yoriai import artifact as artifacts
from yoriai import console, files, signatures, signing


@click.command(epilog="""\b
Examples:
  yoriai key ~/keys/corpus
""")  # fmt: skip
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE")
@console.json_option
def key(path: Path, as_json: bool) -> None:
    """Make a key for signatures: FILE is private, FILE.pub is for everybody."""
    mark = signing.new_key(path)
    value = {"private": str(path), "public": f"{path}.pub", "key": mark}
    console.emit(value, as_json=as_json, text=lambda: f"{mark[:16]}  publish {path}.pub")


@click.command(epilog="""\b
Examples:
  yoriai sign build/tour/text@1 --key ~/keys/corpus
""")  # fmt: skip
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--key", "key_path", required=True, type=click.Path(path_type=Path, dir_okay=False),
    help="The private key: PEM, Ed25519.",
)  # fmt: skip
@console.json_option
def sign(path: Path, key_path: Path, as_json: bool) -> None:
    """Sign the artifact PATH; every byte is compared first.

    The signature is written beside it, as PATH.signature.json. It is of the artifact's name and
    digest, and so of every file, and of the root over a corpus's records.
    """
    private = signing.read_private(key_path)
    found = artifacts.open_checked(path)
    value = signatures.make(found, private)
    place = signatures.place_of(path)
    files.write_atomically(place, files.canonical_json(value))
    console.emit(
        {**value, "path": str(place)}, as_json=as_json,
        text=lambda: f"signed by {value['key'][:16]}: {place}",
    )  # fmt: skip
