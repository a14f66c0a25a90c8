"""Signatures of artifacts: by this key, of these bytes, or refused."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yoriai import Altered, NotFound, Refused, UsageError, artifact, signatures, signing


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    signing.new_key(path)
    return path


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder, target = tmp_path / "out", tmp_path / "text@1"
    folder.mkdir()
    (folder / "file").write_text("content")
    identity = {
        "kind": "corpus", "name": "a/text@1", "step": "x/y", "config": {}, "code": [], "seed": 0,
        "outside": {}, "inputs": [], "sources": [], "licence": "", "facts": {},
    }  # fmt: skip
    artifact.seal(folder, target, identity=identity, circumstances={})
    return target


def test_a_signature_is_of_these_bytes_by_this_key(key: Path, tmp_path: Path) -> None:
    private, public = signing.read_private(key), signing.read_public(tmp_path / "key.pem.pub")
    made = signing.sign(private, b"these bytes")
    signing.check(public, b"these bytes", made)
    with pytest.raises(Altered, match="altered after"):
        signing.check(public, b"other bytes", made)
    with pytest.raises(Altered, match="altered after"):
        signing.check(public, b"these bytes", {**made, "signature": "no base64!"})
    with pytest.raises(Altered, match="not known"):
        signing.check(public, b"these bytes", {**made, "algorithm": "none"})
    signing.new_key(tmp_path / "other")
    with pytest.raises(Altered, match="another key"):
        signing.check(signing.read_public(tmp_path / "other.pub"), b"these bytes", made)


def test_openssl_reads_our_keys_and_we_read_its(key: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.pem"
    try:
        subprocess.run(
            ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(theirs)],
            check=True, capture_output=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("no openssl here")
    signing.sign(signing.read_private(theirs), b"")
    shown = subprocess.run(
        ["openssl", "pkey", "-in", str(key), "-pubout"], check=True, capture_output=True
    ).stdout
    assert shown == (tmp_path / "key.pem.pub").read_bytes()


def test_a_private_key_is_its_owners_alone_and_never_overwritten(key: Path) -> None:
    assert key.stat().st_mode & 0o077 == 0
    before = key.read_bytes()
    with pytest.raises(Refused, match="is there already"):
        signing.new_key(key)
    assert key.read_bytes() == before


def test_what_is_no_key_is_named(key: Path, tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"junk")
    for read in (signing.read_private, signing.read_public):
        with pytest.raises(UsageError, match="junk"):
            read(tmp_path / "junk")
        with pytest.raises(NotFound, match="nowhere") as caught:
            read(tmp_path / "nowhere")
        assert caught.value.hint == "yoriai key FILE"
    with pytest.raises(UsageError, match="no public"):
        signing.read_public(key)


@pytest.mark.slow
def test_verify_with_a_key_asks_for_its_signature(
    key: Path, sealed: Path, tmp_path: Path, yoriai_cli: Callable[..., Any]
) -> None:
    public = f"{key}.pub"
    unsigned = yoriai_cli("verify", str(sealed), "--key", public)
    assert unsigned.code == Altered.exit_code
    assert "not signed" in unsigned.err
    assert yoriai_cli("sign", str(sealed), "--key", str(key)).code == 0
    whole = yoriai_cli("verify", str(sealed), "--key", public, "--json").json
    assert whole["artifacts"][0]["signed_by"] == signing.fingerprint(
        signing.read_public(Path(public))
    )
    assert yoriai_cli("verify", str(sealed)).code == 0
    yoriai_cli("key", str(tmp_path / "other"))
    other = yoriai_cli("verify", str(sealed), "--key", str(tmp_path / "other.pub"))
    assert (other.code, "another key" in other.err) == (Altered.exit_code, True)
    path = tmp_path / "text@1.signature.json"
    value = json.loads(path.read_bytes())
    path.write_text(json.dumps({**value, "digest": "0" * 64}))
    altered = yoriai_cli("verify", str(sealed), "--key", public)
    assert (altered.code, "another digest" in altered.err) == (Altered.exit_code, True)


def test_what_was_altered_is_not_signed(
    key: Path, sealed: Path, yoriai_cli: Callable[..., Any]
) -> None:
    (sealed / "file").write_text("altered")
    assert yoriai_cli("sign", str(sealed), "--key", str(key)).code == Altered.exit_code


def test_a_key_or_a_signature_that_is_a_device_is_refused(sealed: Path, key: Path) -> None:
    with pytest.raises(UsageError, match="no ordinary file"):
        signing.read_private(Path("/dev/zero"))
    signatures.place_of(sealed).symlink_to("/dev/zero")
    with pytest.raises(Altered, match="no ordinary file"):
        signatures.check(artifact.open_artifact(sealed), signing.read_public(Path(f"{key}.pub")))


@pytest.mark.parametrize("path", ["", ".", "..", "/"])
def test_a_new_key_needs_a_name(path: str) -> None:
    with pytest.raises(UsageError, match="names no file"):
        signing.new_key(Path(path))
