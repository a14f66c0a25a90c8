"""``yoriai key`` and ``yoriai sign``: who vouches for an artifact."""

from __future__ import annotations

from pathlib import Path

import click

from yoriai import artifact as artifacts
from yoriai import console, files, oms, signatures, signing


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
  yoriai sign build/tour/base@1 --oms --key ~/keys/p256.pem
""")  # fmt: skip
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--key", "key_path", required=True, type=click.Path(path_type=Path, dir_okay=False),
    help="The private key: PEM, Ed25519; with --oms on P-256, P-384 or P-521.",
)  # fmt: skip
@click.option(
    "--oms", "as_bundle", is_flag=True,
    help="Write a bundle of OpenSSF Model Signing instead, for its tools.",
)  # fmt: skip
@console.json_option
def sign(path: Path, key_path: Path, as_bundle: bool, as_json: bool) -> None:
    """Sign the artifact PATH; every byte is compared first.

    The signature is written beside it, as PATH.signature.json. It is of the artifact's name and
    digest, and so of every file, and of the root over a corpus's records.

    With --oms a Sigstore bundle over the sha256 of each file is written, as PATH.oms.json: it is
    checked by ``model_signing verify key PATH --signature PATH.oms.json --public_key FILE``.
    """
    if as_bundle:
        curve = oms.read_private(key_path)
        place = oms.place_of(path)
        value = oms.make(artifacts.open_checked(path), curve)
        files.write_atomically(place, files.canonical_json(value))
        told = {"path": str(place), "key": value["verificationMaterial"]["publicKey"]["hint"]}
        console.emit(told, as_json=as_json, text=lambda: f"signed by {told['key'][:16]}: {place}")
        return
    private = signing.read_private(key_path)
    found = artifacts.open_checked(path)
    value = signatures.make(found, private)
    place = signatures.place_of(path)
    files.write_atomically(place, files.canonical_json(value))
    console.emit(
        {**value, "path": str(place)}, as_json=as_json,
        text=lambda: f"signed by {value['key'][:16]}: {place}",
    )  # fmt: skip
